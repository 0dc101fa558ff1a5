"""Steps that make a connection ready: log in, subscribe, join, wait for a welcome.

A step is a text: ``SEND => EXPECT`` sends a message and waits for an answer, ``SEND`` only sends,
``=> EXPECT`` only waits. EXPECT is a text that the answer contains, or ``regex:PATTERN``; what the
named groups of a pattern match is saved, to be filled in as ``{saved.NAME}`` in what is sent or
expected later.
"""

import asyncio
import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from picows import WSMsgType

from loadtests.clients.connection import Connection
from loadtests.measure.recorder import Recorder
from loadtests.plan.template import fill, saved_names, split_places

_ARROW: Final = "=>"
_REGEX: Final = "regex:"


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        send: the message, with placeholders to be filled in; None sends nothing.
        expect: what an answer must contain, or the pattern that must be found in it, with
            placeholders to be filled in; None waits for nothing.
        is_pattern: whether ``expect`` is a pattern.
    """

    send: str | None
    expect: str | None
    is_pattern: bool = False

    def pattern(
        self, number: int, row: Mapping[str, Any] | None, saved: Mapping[str, str]
    ) -> re.Pattern[bytes]:
        """Return the pattern to look for in an answer to one connection."""
        assert self.expect is not None
        if self.is_pattern:
            text = fill(self.expect, number, row, saved, quote=re.escape)
        else:
            text = re.escape(fill(self.expect, number, row, saved))
        return re.compile(text.encode(), re.DOTALL)


class EndedError(Exception):
    """The end of a connection before it was ready."""


def parse_steps(texts: Sequence[str]) -> tuple[Step, ...]:
    """Parse steps.

    Raises:
        ValueError: an invalid step, or one that fills in what no earlier step saves.
    """
    steps: list[Step] = []
    known: set[str] = set()
    for text in texts:
        step = _parse(text)
        if unknown := saved_names(" ".join(texts_of(step))) - known:
            raise ValueError(
                f"{text!r} refers to {{saved.{min(unknown)}}}, which no step before it keeps; name "
                "a group (?P<name>…) in what is expected"
            )
        known |= kept_names(step)
        steps.append(step)
    return tuple(steps)


def kept_names(step: Step) -> set[str]:
    """Return the names of what a step saves from the answer."""
    return set(_compiled(step.expect).groupindex) if step.is_pattern and step.expect else set()


def texts_of(step: Step) -> tuple[str, ...]:
    """Return the texts of a step that have placeholders to be filled in."""
    return tuple(text for text in (step.send, step.expect) if text is not None)


def _parse(text: str) -> Step:
    send, arrow, expect = f" {text} ".rpartition(f" {_ARROW} ")
    if not arrow:
        send, expect = text, ""
    send, expect = send.strip(), expect.strip()
    if not expect and (arrow or not send):
        raise ValueError(f"{text!r} is not a step; write SEND => EXPECT, SEND, or => EXPECT")
    if not expect.startswith(_REGEX):
        return Step(send or None, expect or None)
    try:
        _compiled(pattern := expect.removeprefix(_REGEX))
    except re.error as error:
        raise ValueError(f"{text!r} expects {expect!r}: {error}") from None
    return Step(send or None, pattern, is_pattern=True)


def _compiled(pattern: str) -> re.Pattern[bytes]:
    """Compile a pattern whose placeholders are not filled in yet. Raises re.error."""
    return re.compile("".join(before for before, _ in split_places(pattern)).encode(), re.DOTALL)


class Preparation:
    """The preparation of one connection; what it sends and receives is not part of the load."""

    def __init__(self, steps: Sequence[Step], recorder: Recorder, *, binary: bool) -> None:
        self._steps = steps
        self._recorder = recorder
        self._kind = WSMsgType.BINARY if binary else WSMsgType.TEXT
        self._held: deque[tuple[bytes, int]] = deque()
        self._is_over = False
        self._news = asyncio.Event()

    def receive(self, connection: Connection, payload: bytes, now_ns: int) -> None:  # noqa: ARG002
        """Queue a message for the step that waits."""
        self._recorder.received -= 1
        self._recorder.received_bytes -= len(payload)
        self._held.append((payload, now_ns))
        self._news.set()

    def ended(self, connection: Connection) -> None:  # noqa: ARG002
        """End the wait of any step."""
        self._is_over = True
        self._news.set()

    async def carry_out(
        self, connection: Connection, row: Mapping[str, Any] | None
    ) -> Mapping[str, str]:
        """Carry out the steps; return what they saved.

        Raises:
            EndedError: the connection ended first.
        """
        saved: dict[str, str] = {}
        for step in self._steps:
            if step.send is not None and not self._is_over:
                text = fill(step.send, connection.number, row, saved)
                connection.transport.send(self._kind, text.encode())
                self._recorder.counts["ready.sent"] += 1
            if step.expect is not None:
                saved |= await self._answer(step.pattern(connection.number, row, saved))
        if self._is_over:
            raise EndedError
        return saved

    async def _answer(self, expect: re.Pattern[bytes]) -> dict[str, str]:
        while True:
            while self._held:
                payload, _ = self._held.popleft()
                self._recorder.counts["ready.received"] += 1
                if found := expect.search(payload):
                    return {
                        name: value.decode(errors="replace")
                        for name, value in found.groupdict(b"").items()
                    }
            if self._is_over:
                raise EndedError
            self._news.clear()
            await self._news.wait()

    def hand_over(self, connection: Connection) -> None:
        """Pass what came after the last answer to the connection."""
        while self._held:
            connection.take(*self._held.popleft())
