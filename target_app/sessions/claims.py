"""Which connection has a session: the one that claimed it last, whichever worker it is with."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from target_app.sessions.state import Claim, handed_over, to_hand_over
from target_app.sessions.store import NotOwnerError

if TYPE_CHECKING:
    from target_app.bus.hub import Envelope, Hub
    from target_app.sessions.session import Session
    from target_app.sessions.state import SessionState

ATTEMPTS: Final = 8
"""To claim a session before the other one, that claims it as often, may have it."""


@dataclass(slots=True)
class Yielded:
    """What was known of a session where it was until now."""

    complete: list[SessionState] = field(default_factory=list)
    pending: list[SessionState] = field(default_factory=list)
    """Changes of connections that never knew what was kept."""
    waiting: int = 0
    """Questions that are still to be answered there."""

    def add(self, session: Session) -> None:
        """Add what is not kept yet of ``session``."""
        if not session.loaded:
            self.pending.append(session.state)
        elif session.unsaved or session.saving:
            self.complete.append(session.state)

    def add_answer(self, answer: dict[str, Any]) -> None:
        """Add what another worker has answered."""
        self.complete += [handed_over(found) for found in answer["complete"]]
        self.pending += [handed_over(found) for found in answer["pending"]]
        self.waiting += int(answer["waiting"])

    def as_answer(self) -> dict[str, Any]:
        """Return it as the answer to another worker."""
        return {
            "complete": [to_hand_over(state) for state in self.complete],
            "pending": [to_hand_over(state) for state in self.pending],
            "waiting": self.waiting,
        }


class Holder(Protocol):
    """Has the sessions of this worker."""

    async def give_up(
        self, session_id: str, claim: Claim, owner: str | None, *, final: bool
    ) -> Yielded | Claim:
        """End what is here of a session that another worker claims; return what is known of it.

        Return the greater claim if one is here. Raise :class:`NotOwnerError` if the session is not
        for ``owner``. ``final`` is a claim that a store has granted that all share.
        """
        ...


class Claims:
    """Numbers claims in the order in which they come, and makes them known to the other workers.

    A worker's next number is greater than every one that it has seen (L. Lamport, "Time, clocks,
    and the ordering of events in a distributed system", 1978): no clock is asked. Where all share a
    Redis, Redis gives the numbers. Two claims at the same moment are decided by the names of their
    workers: a claim is known everywhere before it is good, so exactly one of them stays.
    """

    def __init__(self, hub: Hub, holder: Holder, worker: str) -> None:
        self._hub = hub
        self._holder = holder
        self._worker = worker
        self._greatest = 0
        hub.handle("claim session", self._on_claim)

    def next(self) -> Claim:
        """Return a claim that is greater than all that were seen here."""
        self._greatest += 1
        return Claim(self._greatest, self._worker)

    def saw(self, claim: Claim) -> None:
        """Let the next claims be greater than ``claim``."""
        self._greatest = max(self._greatest, claim.number)

    async def make_known(self, session: Session, *, final: bool) -> Yielded:
        """Have every other worker give up the session; return what they know of it.

        A worker that has it with a greater claim keeps it if ours is ``final``; else we claim it
        again, because it may be only that we have not heard of that one. Raise
        :class:`NotOwnerError` if the session belongs to somebody else.
        """
        yielded = Yielded()
        for _ in range(ATTEMPTS):
            asked = json.dumps([*session.claim, session.owner, final])
            answers, _ = await self._hub.ask("claim session", session.id, asked)
            greater = [Claim(*answer["greater"]) for answer in answers if "greater" in answer]
            for answer in answers:
                if "complete" in answer:
                    yielded.add_answer(answer)
            if any("refused" in answer for answer in answers) or session.refused:
                raise NotOwnerError
            if not greater or session.lost:
                return yielded
            self.saw(max(greater))
            if final:
                break
            session.claim = self.next()
        session.lost = True
        return yielded

    async def _on_claim(self, envelope: Envelope) -> dict[str, Any]:
        number, worker, owner, final = json.loads(envelope.data or "null")
        claim = Claim(number, worker)
        self.saw(claim)
        try:
            found = await self._holder.give_up(envelope.target, claim, owner, final=final)
        except NotOwnerError:
            return {"refused": True}
        return {"greater": list(found)} if isinstance(found, Claim) else found.as_answer()
