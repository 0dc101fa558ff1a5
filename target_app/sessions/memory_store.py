"""Sessions kept in this process, in a bounded number of bytes."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from target_app.sessions.state import KEPT_ANSWERS, NOBODY, SessionState, digest
from target_app.sessions.store import NotOwnerError, Opened, StoreFullError, may_open

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from target_app.sessions.state import Claim


class MemoryStore:
    """A store of sessions in this process, of ``most_bytes`` in total at most.

    At the bound, the sessions that are not connected and have been inactive the longest are
    dropped; ``on_forgotten()`` is called for each.
    """

    available = True
    remote = False
    generation = None
    newest = NOBODY

    def __init__(
        self,
        session_seconds: float,
        most_bytes: int,
        on_forgotten: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session_seconds = session_seconds
        self._most_bytes = most_bytes
        self._on_forgotten = on_forgotten
        self._clock = clock
        self._connected: dict[str, SessionState] = {}
        self._claims: dict[str, Claim] = {}  # of those that are connected
        # With the time of the last activity, and ordered by it, so that a sweep or a search for
        # room stops at the first session that stays.
        self._away: dict[str, tuple[float, SessionState]] = {}
        self.bytes = 0
        """How many bytes are kept."""

    def __len__(self) -> int:
        return len(self._connected) + len(self._away)

    async def ask(self) -> bool:
        """See :meth:`SessionStore.ask`."""
        return True

    async def open(self, session_id: str, owner: str | None, claim: Claim) -> Opened:
        """See :meth:`SessionStore.open`."""
        found = self._find(session_id)
        if found is not None and not may_open(found.owner, owner):
            raise NotOwnerError
        state = replace(found or SessionState(), owner=owner)
        self._forget(session_id)
        self._connected[session_id] = state
        self._claims[session_id] = claim
        self.bytes += state.kept_bytes()
        self._make_room(0)
        return Opened(claim, None if found is None else state)

    async def withdraw(self, session_id: str, claim: Claim) -> None:
        """See :meth:`SessionStore.withdraw`."""
        if self._has(session_id, claim):
            state = self._connected[session_id]
            await self.close(session_id, state, claim)
            if not state.changes and not state.answers:
                self._forget(session_id)

    async def save(self, session_id: str, state: SessionState, claim: Claim) -> bool:
        """See :meth:`SessionStore.save`."""
        if not self._has(session_id, claim):
            return False
        kept = self._connected[session_id]
        left = state.left if state.partial else ()
        self._replace(session_id, replace(state, answers=kept.answers, left=left))
        return True

    async def touch(self, session_id: str, state: SessionState, claim: Claim) -> bool:  # noqa: ARG002
        """See :meth:`SessionStore.touch`."""
        return self._has(session_id, claim)

    async def close(self, session_id: str, state: SessionState, claim: Claim) -> None:  # noqa: ARG002
        """See :meth:`SessionStore.close`."""
        if self._has(session_id, claim):
            del self._claims[session_id]
            self._away[session_id] = (self._clock(), self._connected.pop(session_id))
            self._make_room(0)

    async def answers(self, session_id: str) -> list[bytes]:
        """See :meth:`SessionStore.answers`."""
        found = self._find(session_id)
        return [] if found is None else list(found.answers)

    async def keep_answer(
        self,
        session_id: str,
        answer: bytes,
        owner: str | None = None,
        publication: str | None = None,  # noqa: ARG002 - nobody else hears of what is kept here
        *,
        again: bool = False,  # noqa: ARG002
    ) -> None:
        """See :meth:`SessionStore.keep_answer`."""
        found = self._find(session_id)
        if found is not None and owner not in {None, found.owner}:
            raise NotOwnerError
        if found is None:
            found = SessionState(owner=owner)
            self._away[session_id] = (self._clock(), found)
            self.bytes += found.kept_bytes()
        answers = (*(kept for kept in found.answers if kept != answer), answer)[-KEPT_ANSWERS:]
        self._replace(session_id, replace(found, answers=answers))

    async def forget_answer(
        self,
        session_id: str,
        answer: bytes,
        publication: str | None = None,  # noqa: ARG002
    ) -> bool:
        """See :meth:`SessionStore.forget_answer`."""
        found = self._find(session_id)
        if found is None or answer not in found.answers:
            return True
        rest = tuple(kept for kept in found.answers if kept != answer)
        self._replace(session_id, replace(found, answers=rest))
        return True

    async def offer(self, session_id: str) -> SessionState | None:
        """See :meth:`SessionStore.offer`."""
        return self._find(session_id)

    async def taken(self, session_id: str, claim: Claim, answers: Collection[str]) -> None:
        """See :meth:`SessionStore.taken`."""
        found = self._find(session_id)
        if found is None or self._claims.get(session_id, NOBODY) > claim:
            return
        rest = tuple(answer for answer in found.answers if digest(answer) not in answers)
        if rest:
            self._replace(session_id, SessionState(answers=rest, owner=found.owner))
        else:
            self._forget(session_id)

    async def forget(self, session_id: str) -> None:
        """See :meth:`SessionStore.forget`."""
        self._forget(session_id)

    def owned_by_other(self, session_id: str, owner: str | None) -> bool:
        """See :meth:`SessionStore.owned_by_other`."""
        found = self._find(session_id)
        return found is not None and not may_open(found.owner, owner)

    async def added_members(self, class_id: str) -> list[str]:  # noqa: ARG002
        """See :meth:`SessionStore.added_members`: nobody else can add one."""
        return []

    async def sweep(self) -> None:
        """See :meth:`SessionStore.sweep`."""
        due = self._clock() - self._session_seconds
        while self._away:
            session_id, (active, _) = next(iter(self._away.items()))
            if active > due:
                return
            self._forget(session_id)

    def _has(self, session_id: str, claim: Claim) -> bool:
        held = self._claims.get(session_id)
        return held is not None and held <= claim

    def _find(self, session_id: str) -> SessionState | None:
        if (state := self._connected.get(session_id)) is not None:
            return state
        away = self._away.get(session_id)
        return None if away is None else away[1]

    def _forget(self, session_id: str) -> SessionState | None:
        state = self._connected.pop(session_id, None)
        self._claims.pop(session_id, None)
        if state is None and (away := self._away.pop(session_id, None)) is not None:
            state = away[1]
        if state is not None:
            self.bytes -= state.kept_bytes()
        return state

    def _replace(self, session_id: str, state: SessionState) -> None:
        before = self._find(session_id)
        assert before is not None
        grown = state.kept_bytes() - before.kept_bytes()
        self._make_room(grown, keep=session_id)
        if grown > 0 and self.bytes + grown > self._most_bytes:
            raise StoreFullError(before)
        if session_id in self._connected:
            self._connected[session_id] = state
        else:
            self._away[session_id] = (self._away[session_id][0], state)
        self.bytes += grown

    def _make_room(self, size: int, keep: str = "") -> None:
        while self.bytes + size > self._most_bytes:
            oldest = next((name for name in self._away if name != keep), None)
            if oldest is None:
                return
            self._forget(oldest)
            self._on_forgotten()
