"""The scripting interface: one connection, as its user sees it.

::

    from swarmgate import Parameters, Script

    class Ask(Parameters):
        question: str = "why?"
        \"\"\"What everybody asks.\"\"\"

    async def script(connection: Script, parameters: Ask) -> None:
        with connection.measure("answer"):
            await connection.send({"type": "ask", "text": parameters.question})
            await connection.expect({"type": "answer"}, within=2)
        await connection.pause(1)

The script is called repeatedly on every connection until the time of the run is over.
"""

import asyncio
import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter_ns
from typing import Any, Final

from loadtests.clients.connection import Connection
from loadtests.clients.pool import ConnectionPool
from loadtests.clients.setup import Client, Handshake
from loadtests.measure.load_window import LoadWindow
from loadtests.measure.recorder import Recorder
from loadtests.scenarios.parameters import Bytes, Count, Parameters, Seconds
from loadtests.scenarios.scenario import Published, Scenario
from loadtests.scenarios.script_ledger import ScriptLedger
from reports.figure import Better, Figure
from reports.measures import Measures
from reports.summary import HANDSHAKE, OWN

__all__ = [
    "Better",
    "Bytes",
    "Client",
    "Connection",
    "ConnectionEndedError",
    "ConnectionPool",
    "Count",
    "ExpectationError",
    "Expected",
    "Figure",
    "Handshake",
    "LoadWindow",
    "Measures",
    "Parameters",
    "Published",
    "Scenario",
    "Script",
    "ScriptLedger",
    "Seconds",
]

Matching = str | re.Pattern[str] | Mapping[str, Any] | Callable[[str], bool]
Expected = Any
"""The expected message: a parsed JSON object if a mapping was to match, otherwise the text."""

_HELD_MESSAGES: Final = 10_000
_OURS: Final = frozenset({*HANDSHAKE, *OWN, "first_message", "iteration"})


class ExpectationError(Exception):
    """The expected message did not arrive in time."""


class ConnectionEndedError(Exception):
    """The connection is closed."""


class Script:
    """One connection, as a script uses it.

    Attributes:
        number: its number in the fleet, from 0.
        feed: its row of the data feed; empty if there is none.
        state: whatever the script wants to keep from one call to the next.
        arrived_ns: when the last message returned to the script arrived, by the clock of
            :meth:`now`.
    """

    def __init__(
        self,
        connection: Connection,
        recorder: Recorder,
        feed: Mapping[str, Any],
        clock_ns: int = 0,
    ) -> None:
        self.number = connection.number
        self.feed = feed
        self.state: dict[str, Any] = {}
        self._connection = connection
        self._recorder = recorder
        self.arrived_ns = 0
        # Converts this process's clock to the one that all share.
        self._clock_ns = clock_ns
        self._ledgers: dict[str, ScriptLedger] = {}
        self._held: deque[tuple[bytes, int]] = deque()
        self._waiting: asyncio.Future[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether messages can still be sent."""
        return self._connection.is_open

    async def send(self, message: str | bytes | Mapping[str, Any] | list[Any]) -> None:
        """Send a text, bytes as a binary message, or anything else as JSON.

        Raises:
            ConnectionEndedError: the connection is closed.
        """
        if not self._connection.is_open:
            raise ConnectionEndedError("send on a closed connection")
        plain = message if isinstance(message, str | bytes) else json.dumps(message)
        self._connection.send(plain)

    async def receive(self, within: float | None = None) -> str:
        """Return the next message that has not been returned yet, as text.

        Args:
            within: seconds to wait for it; without it, wait forever.

        Raises:
            ExpectationError: none came in time.
            ConnectionEndedError: the connection is closed, and all that came was returned.
        """
        return (await self.receive_bytes(within)).decode()

    async def receive_bytes(self, within: float | None = None) -> bytes:
        """Return the next message as :meth:`receive` does, as bytes."""
        try:
            async with asyncio.timeout(within):
                return await self._next()
        except TimeoutError:
            raise ExpectationError(f"no message within {within:g} s") from None

    async def expect(self, matching: Matching, within: float = 10.0) -> Expected:
        """Return the first message that matches; those before it are counted as unsolicited.

        Args:
            matching: a text that it contains, a pattern to find in it, the keys and values that it
                has as a JSON object, or a function of the text.
            within: seconds to wait for it.

        Raises:
            ExpectationError: none came in time.
            ConnectionEndedError: the connection was closed first.
        """
        try:
            async with asyncio.timeout(within):
                while True:
                    found = match(matching, (await self._next()).decode())
                    if found is not None:
                        return found
                    self._recorder.unsolicited += 1
        except TimeoutError:
            raise ExpectationError(f"no {_name(matching)} within {within:g} s") from None

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Time the block under ``name``; a block that fails is counted, not timed.

        Raises:
            ValueError: the swarm itself times something under that name.
        """
        _check_name("measure", name)
        begun_ns = perf_counter_ns()
        yield
        self._recorder.durations(name).append(perf_counter_ns() - begun_ns)

    def now(self) -> int:
        """Return the time in nanoseconds, by a clock that all connections of a run share.

        If all its processes are on one machine, this is CLOCK_MONOTONIC, which a server there may
        write too; on several, what two of them return differs by at most
        ``clock.uncertainty_seconds``.
        """
        return perf_counter_ns() + self._clock_ns

    def record(self, name: str, ns: int) -> None:
        """Enter a duration in nanoseconds under ``name``, as :meth:`measure` does.

        One below 0, such as from a clock other than that of :meth:`now`, is entered as 0.

        Raises:
            ValueError: the swarm itself times something under that name.
        """
        _check_name("record", name)
        self._recorder.durations(name).append(max(0, ns))

    def ledger(self, name: str = "", begin: int | None = None) -> ScriptLedger:
        """Return this connection's ledger of that name, the same one at every call.

        Args:
            name: the name of a numbered stream that the server sends, such as one of several.
            begin: the number that must come first; None accepts any.
        """
        if name not in self._ledgers:
            self._ledgers[name] = ScriptLedger(self._recorder, begin)
        return self._ledgers[name]

    def account(self) -> None:
        """Close the ledgers."""
        for ledger in self._ledgers.values():
            ledger.account()
        self._ledgers.clear()

    def count(self, name: str, times: int = 1) -> None:
        """Count something that the script defines; it is a figure of the run."""
        self._recorder.counts[f"script.{name}"] += times

    async def pause(self, seconds: float) -> None:
        """Pause for a think time."""
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        """Close with a closing handshake; the script is not called on this connection again."""
        if self._connection.is_open:
            self._connection.close()

    def take(self, payload: bytes, now_ns: int) -> None:
        """Keep a message until the script asks for it."""
        if len(self._held) >= _HELD_MESSAGES:
            self._held.popleft()
            self._recorder.errors["script:message not received"] += 1
        self._held.append((payload, now_ns))
        self._wake()

    def end(self) -> None:
        """Wake a waiting script, because nothing more will come."""
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def _next(self) -> bytes:
        while not self._held:
            if self._connection.transport.is_disconnected:
                raise ConnectionEndedError("receive on a closed connection")
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        payload, now_ns = self._held.popleft()
        self.arrived_ns = now_ns + self._clock_ns
        return payload


def _check_name(method: str, name: str) -> None:
    if name in _OURS:
        raise ValueError(
            f"{method}({name!r}): the swarm already has a duration of that name; choose another"
        )


def match(matching: Matching, text: str) -> Expected | None:
    """Return what a script gets for a message that matches, or None if it does not."""
    if isinstance(matching, str):
        return text if matching in text else None
    if isinstance(matching, re.Pattern):
        return text if matching.search(text) else None
    if isinstance(matching, Mapping):
        try:
            value = json.loads(text)
        except ValueError:
            return None
        return value if _has(value, matching) else None
    return text if matching(text) else None


def _has(value: object, wanted: Mapping[str, Any]) -> bool:
    """Return whether an object has these keys and values, including objects within it."""
    return isinstance(value, Mapping) and all(
        key in value
        and (_has(value[key], part) if isinstance(part, Mapping) else value[key] == part)
        for key, part in wanted.items()
    )


def _name(matching: Matching) -> str:
    if isinstance(matching, re.Pattern):
        return f"message like {matching.pattern!r}"
    return f"message with {matching!r}" if not callable(matching) else "matching message"
