"""Which connection holds a session: the last one to claim it, whichever worker it is on."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from target_app.bus.hub import late
from target_app.sessions.state import NOBODY, Claim, handed_over, to_hand_over
from target_app.sessions.store import NotOwnerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_app.bus.hub import Envelope, Hub
    from target_app.sessions.session import Session
    from target_app.sessions.state import SessionState

ATTEMPTS: Final = 8
"""Attempts to claim a session before it is left to a rival that claims it as often."""


@dataclass(slots=True)
class Yielded:
    """What was known of a session where it was held until now."""

    states: list[SessionState] = field(default_factory=list)
    waiting: dict[str, int] = field(default_factory=dict)
    """How many questions each worker has yet to answer."""
    silent: int = 0
    """The number of workers that have not yet reported what they know."""

    def __bool__(self) -> bool:
        """Return whether there is anything that the worker keeps until it is taken."""
        return bool(self.states)

    def add(self, session: Session) -> None:
        """Add what has not been saved yet of ``session``."""
        if session.owes:
            self.states.append(session.state)

    def add_answer(self, answer: dict[str, Any]) -> None:
        """Add the answer of another worker."""
        self.states += [handed_over(found) for found in answer["states"]]
        self.waiting |= answer["waiting"]

    def as_answer(self) -> dict[str, Any]:
        """Return it as the answer to another worker."""
        return {
            "states": [to_hand_over(state) for state in self.states],
            "waiting": self.waiting,
        }


class Holder(Protocol):
    """The holder of this worker's sessions."""

    async def give_up(
        self, session_id: str, claim: Claim, owner: str | None, *, final: bool
    ) -> Yielded | Claim:
        """End what is here of a session that another worker claims; return what is known of it.

        What is returned is kept until it is :meth:`taken`: it may not reach the other worker.
        Return the greater claim if one is here. Raise :class:`NotOwnerError` if ``owner`` may not
        open the session. ``final`` marks a claim granted by a store that all workers share.
        """
        ...

    async def taken(self, session_id: str, claim: Claim, answers: list[str]) -> None:
        """Drop what the connection that has ``claim``, at another worker, has now."""
        ...

    def learn_late(self, session_id: str, claim: Claim, found: Yielded) -> None:
        """Add what a worker reported too late, or unasked, to what a connection here has.

        That is the connection with ``claim``, or any that came later.
        """
        ...

    def refuse_late(self, session_id: str, claim: Claim) -> None:
        """Close the connection with ``claim``: a worker knew the owner of its session."""
        ...


class Claims:
    """A numbering of claims in the order in which they come, announced to the other workers.

    A worker's next number is greater than every number it has seen (L. Lamport, "Time, clocks, and
    the ordering of events in a distributed system", 1978): no clock is asked what time it is. Where
    all workers share a Redis, Redis assigns the numbers, which are its microseconds; workers that
    can reach neither Redis nor each other for a while continue counting from the last number they
    have seen, and what they number in the meantime is ordered as well. Two claims at the same
    moment are decided by the names of their workers: a claim is known everywhere before it takes
    effect, so exactly one of them stays.
    """

    def __init__(
        self, hub: Hub, holder: Holder, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._hub = hub
        self._holder = holder
        self._clock = clock
        self.worker = hub.name
        self._greatest = 0
        self._ahead = -self._microseconds()
        """How far the source of the numbers is ahead of our clock, as far as is known."""
        hub.handle("claim session", self._on_claim)
        hub.handle(late("claim session"), self._on_late)
        hub.handle("session taken", self._on_taken)

    def next(self) -> Claim:
        """Return a claim that is greater than all those seen here."""
        self._greatest = max(self._greatest + 1, self._microseconds() + self._ahead)
        return Claim(self._greatest, self.worker)

    def saw(self, claim: Claim) -> None:
        """Make the next claims greater than ``claim``."""
        self._greatest = max(self._greatest, claim.number)
        self._ahead = max(self._ahead, claim.number - self._microseconds())

    def _microseconds(self) -> int:
        return int(self._clock() * 1_000_000)

    async def make_known(self, session: Session, *, final: bool) -> Yielded:
        """Ask every other worker to give up the session; return what they know of it.

        A worker that holds it with a greater claim keeps it if ours is ``final``; otherwise we
        claim it again, because we may simply not have heard of that claim. Raise
        :class:`NotOwnerError` if the session belongs to another owner.
        """
        for _ in range(ATTEMPTS):
            asked = json.dumps([*session.claim, session.owner, final])
            answers, silent = await self._hub.ask("claim session", session.id, asked)
            greater = [Claim(*answer["greater"]) for answer in answers if "greater" in answer]
            # Only the answers of this attempt: what was not taken is offered again.
            yielded = Yielded(silent=silent)
            for answer in answers:
                if "states" in answer:
                    yielded.add_answer(answer)
            if any("refused" in answer for answer in answers) or session.refused:
                raise NotOwnerError
            if not final:
                # Changes from now on are to be newer than what they know.
                greater += [state.claim for state in yielded.states]
            greatest = max(greater, default=NOBODY)
            if greatest < session.claim or session.lost:
                return yielded
            self.saw(greatest)
            if final:
                break
            session.claim = self.next()
        session.lost = True
        return yielded

    async def hand_on(self, session: Session, found: Yielded) -> None:
        """Send what is known of the session here to its new holder, which may not have asked us."""
        answer = found.as_answer() | {"claim": list(session.claim)}
        await self._hub.publish(late("claim session"), session.id, json.dumps(answer))

    async def announce_taken(self, session: Session, answers: list[str]) -> None:
        """Ask the others to forget what they offered, with the answers that have these digests."""
        await self._hub.publish("session taken", session.id, json.dumps([*session.claim, answers]))

    async def _on_taken(self, envelope: Envelope) -> None:
        number, worker, answers = json.loads(envelope.data or "null")
        await self._holder.taken(envelope.target, Claim(number, worker), answers)

    async def _on_late(self, envelope: Envelope) -> None:
        answer = json.loads(envelope.data or "null")
        claim = Claim(*answer["claim"])
        if "refused" in answer:
            self._holder.refuse_late(envelope.target, claim)
        elif "states" in answer:
            found = Yielded()
            found.add_answer(answer)
            self._holder.learn_late(envelope.target, claim, found)

    async def _on_claim(self, envelope: Envelope) -> dict[str, Any]:
        number, worker, owner, final = json.loads(envelope.data or "null")
        claim = Claim(number, worker)
        self.saw(claim)
        try:
            found = await self._holder.give_up(envelope.target, claim, owner, final=final)
        except NotOwnerError:
            answer: dict[str, Any] = {"refused": True}
        else:
            answer = {"greater": list(found)} if isinstance(found, Claim) else found.as_answer()
        return answer | {"claim": list(claim)}
