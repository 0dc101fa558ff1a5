"""Answers between the workers of one server."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

from target_app.sessions.store import NOT_KEPT

if TYPE_CHECKING:
    from target_app.bus.hub import Envelope, Hub
    from target_app.sessions.recipients import Recipients
    from target_app.sessions.store import SessionStore

logger = logging.getLogger(__name__)


class HubAnswers:
    """Answers over the bus between the workers."""

    def __init__(self, hub: Hub, store: SessionStore, recipients: Recipients) -> None:
        self._hub = hub
        self._store = store
        self._recipients = recipients
        hub.handle("answer to session", self._on_answer)

    async def asked(self, session_id: str, question: dict[str, Any]) -> bool:  # noqa: ARG002
        """See :meth:`Answers.asked`: nobody else answers questions here."""
        return True

    async def send(self, session_id: str, answer: bytes, owner: str | None) -> None:
        """See :meth:`Answers.send`."""
        if not await self.deliver(session_id, answer, owner):
            await self._keep(session_id, answer, owner, again=False)

    async def keep_again(self, session_id: str, answer: bytes, owner: str | None) -> None:
        """See :meth:`Answers.keep_again`."""
        await self._keep(session_id, answer, owner, again=True)

    async def wait_sent(self) -> None:
        """See :meth:`Answers.wait_sent`: none waits here."""

    async def _keep(
        self, session_id: str, answer: bytes, owner: str | None, *, again: bool
    ) -> None:
        try:
            await self._store.keep_answer(session_id, answer, owner, again=again)
        except NOT_KEPT as error:
            logger.warning("an answer to session %r is not kept: %s", session_id, error)

    async def deliver(self, session_id: str, answer: bytes, owner: str | None) -> bool:
        """Deliver ``answer`` wherever the session is connected; return whether it is anywhere."""
        if self._recipients.deliver(session_id, answer, owner):
            return True
        addressed = json.dumps(owner).encode() + b"\n" + answer
        delivered, _ = await self._hub.ask("answer to session", session_id, addressed)
        # The session may have come here while the others were being asked.
        return any(delivered) or self._recipients.deliver(session_id, answer, owner)

    async def run(self) -> None:
        """See :meth:`Answers.run`: the hub does that."""
        await asyncio.Event().wait()

    async def _on_answer(self, envelope: Envelope) -> bool:
        assert isinstance(envelope.data, bytes)
        owner, _, answer = envelope.data.partition(b"\n")
        return self._recipients.deliver(envelope.target, answer, json.loads(owner))
