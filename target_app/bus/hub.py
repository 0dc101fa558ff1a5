"""Where a message goes: to the clients of this worker, and over the bus to the other workers."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from target_app.bounded_queue import BytesQueue
from target_app.message import Message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from target_app.bus import Bus

    Handler = Callable[["Envelope"], Awaitable[Any]]

INBOUND: Final = 10_000
"""Envelopes from other workers that may wait here for their turn."""
INBOUND_BYTES: Final = 2**26
"""The most bytes that these have in total; a single envelope, alone, may be larger."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message from worker to worker: what to do, to whom, with what."""

    kind: str
    target: str = ""
    data: str | bytes | None = None
    sender: str = ""
    question: str = ""
    """Not empty if the sender wants answers; an answer carries the same value."""

    def encode(self) -> bytes:
        """Return the envelope as bytes: a JSON header, a line feed, the data as they are."""
        is_text = isinstance(self.data, str)
        header = [self.kind, self.target, self.sender, self.question, is_text]
        data = self.data.encode() if isinstance(self.data, str) else self.data or b""
        return json.dumps(header, separators=(",", ":")).encode() + b"\n" + data

    @classmethod
    def decode(cls, payload: bytes) -> Envelope:
        """Return the envelope that was encoded; raise :class:`ValueError` if there is none."""
        header, _, data = payload.partition(b"\n")
        kind, target, sender, question, is_text = json.loads(header)
        return cls(kind, target, data.decode() if is_text else data, sender, question)

    def message(self) -> Message:
        """Return the data as a message for clients."""
        return Message("" if self.data is None else self.data)


def late(kind: str) -> str:
    """Return the kind of the envelopes that carry answers to ``kind`` that came too late."""
    return f"late {kind}"


@dataclass(slots=True)
class _Poll:
    expected: int | None = None
    answers: list[Any] = field(default_factory=list)
    complete: asyncio.Event = field(default_factory=asyncio.Event)

    def look(self) -> None:
        if self.expected is not None and len(self.answers) >= self.expected:
            self.complete.set()


class Hub:
    """A carrier of envelopes between the workers; each kind has one handler.

    What one worker publishes arrives at every other one in the order of publication. A handler's
    return value answers the question of the envelope, if it has one, and has to be representable as
    JSON. An answer that comes too late goes to the handler of ``late(kind)``, if there is one.
    ``on_silence()`` is called when a worker has not answered in time.
    """

    def __init__(self, bus: Bus, on_silence: Callable[[], None] = lambda: None) -> None:
        self.bus = bus
        self._on_silence = on_silence
        self.ready = asyncio.Event()
        self.overflowed = 0
        """Envelopes that were not handled because too many waited."""
        self.name = os.urandom(6).hex()
        """The ``sender`` of what this worker publishes."""
        self._handlers: dict[str, Handler] = {}
        self._inbound: BytesQueue[Envelope] = BytesQueue(INBOUND, INBOUND_BYTES)
        self._polls: dict[str, _Poll] = {}
        self._asked = 0

    def handle(self, kind: str, handler: Handler) -> None:
        """Register ``handler`` for the envelopes of ``kind``."""
        self._handlers[kind] = handler

    async def publish(self, kind: str, target: str, data: str | bytes | None = None) -> None:
        """Send an envelope to every other worker to handle."""
        if self.bus.status.kind != "local":
            await self.bus.post(Envelope(kind, target, data, self.name).encode())

    async def ask(
        self,
        kind: str,
        target: str = "",
        data: str | bytes | None = None,
        *,
        within_seconds: float = 1.0,
    ) -> tuple[list[Any], int]:
        """Send an envelope to every other worker to handle, and collect their answers.

        Return the answers, and how many workers did not answer within ``within_seconds``.
        """
        if self.bus.status.kind == "local":
            return [], 0
        self._asked += 1
        question = f"{self.name}:{self._asked}:{kind}"
        poll = self._polls[question] = _Poll()
        try:
            envelope = Envelope(kind, target, data, self.name, question)
            async with asyncio.timeout(within_seconds):
                poll.expected = await self.bus.publish(envelope.encode())
                poll.look()
                await poll.complete.wait()
        except TimeoutError:
            # A worker may have been killed; the next question should not wait for it again.
            self._on_silence()
            self.bus.look_around()
        finally:
            del self._polls[question]
        return poll.answers, max(0, (poll.expected or 0) - len(poll.answers))

    async def run(self) -> None:
        """Carry and handle envelopes, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.bus.run(self._deliver, self.ready))
            group.create_task(self._handle_inbound())

    def _deliver(self, payload: bytes) -> None:
        envelope = Envelope.decode(payload)
        if envelope.kind == "answer":
            if (poll := self._polls.get(envelope.question)) is not None:
                poll.answers.append(json.loads(envelope.data or "null"))
                poll.look()
                return
            asker, _, kind = envelope.question.split(":", 2)
            if asker != self.name or late(kind) not in self._handlers:
                return
            envelope = replace(envelope, kind=late(kind), question="")
        try:
            self._inbound.put_nowait(envelope, len(payload))
        except asyncio.QueueFull:
            self.overflowed += 1

    async def _handle_inbound(self) -> None:
        while True:
            envelope = await self._inbound.get()
            handler = self._handlers.get(envelope.kind)
            if handler is None:
                logger.error("an envelope of a kind nobody handles: %r", envelope.kind)
                continue
            try:
                answer = await handler(envelope)
                if envelope.question:
                    content, asked = json.dumps(answer), envelope.question
                    reply = Envelope("answer", envelope.target, content, self.name, asked)
                    await self.bus.post(reply.encode())
            except Exception:
                logger.exception("handling %r of another worker", envelope.kind)
