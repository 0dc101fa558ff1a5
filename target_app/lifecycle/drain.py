"""An orderly stop: ask the clients to disconnect, wait for them, then let the server stop.

uvicorn answers SIGTERM by closing every WebSocket with 1012 at once, and neither its graceful
timeout nor the lifespan can delay that. But it installs its handlers before the lifespan starts, so
these can be saved, replaced for the duration of a drain, and called after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from typing import TYPE_CHECKING, Final, Protocol

from target_app.lifecycle.ticks import Ticks
from target_app.protocol import CloseCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from types import FrameType

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)
FORCED_CLOSE_SECONDS: Final = 1.0
"""How long a closing handshake may take once the end of the drain has been forced."""

logger = logging.getLogger(__name__)


def _nothing() -> None:
    pass


async def _nothing_to_wait_for() -> None:
    pass


class Clients(Protocol):
    """The clients that must have left before the server may stop."""

    def __len__(self) -> int:
        """Return how many are still connected."""
        ...

    async def wait_empty(self) -> None:
        """Wait until nobody is connected."""
        ...

    async def close_all(self, code: int, reason: str, within_seconds: float) -> None:
        """Close every connection; return when all have ended, within about that time."""
        ...


class GracefulShutdown:
    """The drain: from the first SIGTERM or SIGINT to the moment the server may stop.

    1. :attr:`draining` becomes true; code that accepts handshakes has to refuse them from then on.
    2. ``announce()`` is awaited at once and every ``announce_seconds``.
    3. The wait ends at once when the last client has left; or after ``timeout_seconds``, when the
       rest have been closed with 1001; or when forced, when the rest have been closed with 1012.
    4. ``leave()`` is awaited, which may wait for other workers; forcing ends that too.
    5. The handlers found at the start are restored and the first signal that was caught is raised
       again, so that the server does what it would have done without the drain.

    A second SIGINT forces the end, as does one SIGQUIT, or any signal if ``at_once``. A second
    SIGTERM changes nothing, nor does a SIGINT together with a SIGTERM: uvicorn's supervisor passes
    a terminal's Ctrl-C on to workers that have received it already. Whatever ``announce()`` raises
    is logged, and it is called again.
    """

    def __init__(
        self,
        clients: Clients,
        announce: Callable[[], Awaitable[None]],
        *,
        on_asked: Callable[[], None] = _nothing,
        leave: Callable[[], Awaitable[None]] = _nothing_to_wait_for,
        announce_seconds: float,
        timeout_seconds: float,
        close_timeout_seconds: float,
        at_once: bool = False,
    ) -> None:
        self._clients = clients
        self._announce = announce
        self._on_asked = on_asked
        self._leave = leave
        self._announce_seconds = announce_seconds
        self._timeout_seconds = timeout_seconds
        self._close_timeout_seconds = close_timeout_seconds
        self._at_once = at_once
        self._received: list[signal.Signals] = []
        self._asked = asyncio.Event()
        self._forced = asyncio.Event()
        self._over = asyncio.Event()

    @property
    def draining(self) -> bool:
        """Whether the server has been asked to stop."""
        return self._asked.is_set()

    @property
    def forced(self) -> bool:
        """Whether somebody chose not to wait for the end of the drain."""
        return self._forced.is_set()

    def ask(self, signum: signal.Signals) -> None:
        """Begin the drain, or force its end, depending on ``signum``. Call it in the event loop."""
        self._received.append(signum)
        self._asked.set()
        is_impatient = signum == signal.SIGQUIT or self._received.count(signal.SIGINT) >= 2
        if self._at_once or is_impatient:
            self._forced.set()

    async def wait_over(self) -> None:
        """Wait until the drain is over: the server may stop."""
        await self._over.wait()

    async def run(self) -> None:
        """Wait until asked to stop, and return when the server may do so."""
        await self._asked.wait()
        self._on_asked()
        logger.warning("draining: %d connections open", len(self._clients))
        if await self._everyone_left():
            logger.warning("drained: everyone has left")
        elif self.forced:
            logger.warning("drain forced: closing %d connections", len(self._clients))
            await self._clients.close_all(
                CloseCode.SERVICE_RESTART, "server is restarting", FORCED_CLOSE_SECONDS
            )
        else:
            logger.warning("drain timed out: closing %d connections", len(self._clients))
            await self._clients.close_all(
                CloseCode.GOING_AWAY, "server is shutting down", self._close_timeout_seconds
            )
        await self._unless_forced(self._leave())
        self._over.set()

    async def run_and_hand_over(self) -> None:
        """Catch the signals, :meth:`run`, then restore the handlers and raise the signal again.

        Nothing is handed over if no signal came, because a program called :meth:`ask` itself, as it
        has to outside the main thread, where Python cannot handle signals: it stops the server
        after :meth:`wait_over`. Cancelling restores the handlers as well.
        """
        with self._signals_caught() as caught:
            await self.run()
        if caught:
            # No server handles SIGQUIT: it would end the process, with a core dump.
            first = caught[0]
            signal.raise_signal(signal.SIGTERM if first == signal.SIGQUIT else first)

    async def _everyone_left(self) -> bool:
        # Return False if the time ran out or somebody forced the end before that.
        announcing = asyncio.create_task(self._keep_announcing())
        try:
            return await self._unless_forced(self._clients.wait_empty(), self._timeout_seconds)
        finally:
            announcing.cancel()
            await asyncio.gather(announcing, return_exceptions=True)

    async def _unless_forced(
        self, work: Awaitable[None], within_seconds: float | None = None
    ) -> bool:
        # Return whether ``work`` was done in time, and before somebody forced the end.
        done = asyncio.ensure_future(work)
        forced = asyncio.ensure_future(self._forced.wait())
        try:
            await asyncio.wait(
                (done, forced), timeout=within_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            return done.done()
        finally:
            for task in (done, forced):
                task.cancel()
            await asyncio.gather(done, forced, return_exceptions=True)

    async def _keep_announcing(self) -> None:
        clock = asyncio.get_running_loop().time
        ticks = Ticks(clock(), self._announce_seconds)
        while True:
            try:
                await self._announce()
            except Exception:
                logger.exception("announcing the drain")
            await asyncio.sleep(ticks.after(clock()) - clock())

    @contextlib.contextmanager
    def _signals_caught(self) -> Iterator[list[signal.Signals]]:
        caught: list[signal.Signals] = []
        if threading.current_thread() is not threading.main_thread():
            yield caught
            return
        loop = asyncio.get_running_loop()

        def on_signal(signum: int, _frame: FrameType | None) -> None:
            caught.append(signal.Signals(signum))
            loop.call_soon_threadsafe(self.ask, caught[-1])

        # A handler that was not installed from Python reads as None and could not be restored.
        kept = {
            signum: handler
            for signum in SIGNALS
            if (handler := signal.getsignal(signum)) is not None
        }
        for signum in kept:
            signal.signal(signum, on_signal)
        try:
            yield caught
        finally:
            for signum, handler in kept.items():
                # Code that has replaced our handler since (uvicorn, when it ends) knows better.
                if signal.getsignal(signum) is on_signal:
                    signal.signal(signum, handler)
