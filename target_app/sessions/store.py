"""Where the state of sessions is kept: in memory, or in Redis."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

KEPT_ANSWERS = 16
"""Answers that wait for one session to come back; older ones are forgotten."""


@dataclass(slots=True)
class SessionState:
    """What is known of a session beyond its connection."""

    progress: dict[str, Any] | None = None
    """The payload of its last ``READING_PROGRESS``."""
    classes: list[str] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)
    """Answers that were ready while nobody was connected."""
    changed: float = 0.0
    """When, in seconds since 1970: the later of two states of one session is the right one."""

    def without_answers(self) -> SessionState:
        """Return a copy that has no answers waiting."""
        return SessionState(self.progress, self.classes, [], self.changed)

    def to_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        return {
            "progress": self.progress,
            "classes": self.classes,
            "answers": self.answers,
            "changed": self.changed,
        }


class SessionStore(Protocol):
    """Keeps the state of each session until it has not been active for ``session_seconds``.

    Both stores count a load as activity.
    """

    async def load(self, session_id: str) -> SessionState | None:
        """Return the state, without its answers, or None if there is none."""
        ...

    async def save(self, session_id: str, state: SessionState) -> None:
        """Keep progress and classes of ``state``."""
        ...

    async def touch(self, session_id: str) -> None:
        """Note that the session is active."""
        ...

    async def keep_answer(self, session_id: str, answer: dict[str, Any]) -> None:
        """Keep an answer until it is delivered."""
        ...

    async def forget_answer(self, session_id: str, answer: dict[str, Any]) -> None:
        """Forget an answer that was delivered."""
        ...

    async def take_answers(self, session_id: str) -> list[dict[str, Any]]:
        """Return the answers that were kept, oldest first, and forget them."""
        ...

    async def give_away(self, session_id: str) -> SessionState | None:
        """Return the state with its answers and keep it no longer, if only this worker has it."""
        ...

    async def join_class(self, class_id: str, session_id: str) -> None:
        """Note that the session is a member of a class and connected."""
        ...

    async def leave_class(self, class_id: str, session_id: str) -> None:
        """Note that the session is not, or no longer connected."""
        ...

    async def sweep(self) -> None:
        """Forget the sessions whose time is over, where nothing else does."""
        ...


class MemoryStore:
    """Keeps sessions in this process."""

    def __init__(self, session_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._session_seconds = session_seconds
        self._clock = clock
        self._states: dict[str, SessionState] = {}
        # In the order of activity, so that a sweep stops at the first that is not due.
        self._active: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._states)

    async def load(self, session_id: str) -> SessionState | None:
        """See :meth:`SessionStore.load`."""
        state = self._states.get(session_id)
        if state is not None:
            await self.touch(session_id)
        return state

    async def save(self, session_id: str, state: SessionState) -> None:
        """See :meth:`SessionStore.save`."""
        self._states[session_id] = state
        await self.touch(session_id)

    async def touch(self, session_id: str) -> None:
        """See :meth:`SessionStore.touch`."""
        if session_id in self._states:
            self._active.pop(session_id, None)
            self._active[session_id] = self._clock()

    async def keep_answer(self, session_id: str, answer: dict[str, Any]) -> None:
        """See :meth:`SessionStore.keep_answer`."""
        state = self._states.setdefault(session_id, SessionState())
        state.answers = [*state.answers, answer][-KEPT_ANSWERS:]
        await self.touch(session_id)

    async def forget_answer(self, session_id: str, answer: dict[str, Any]) -> None:
        """See :meth:`SessionStore.forget_answer`."""
        if (state := self._states.get(session_id)) is not None:
            state.answers = [kept for kept in state.answers if kept != answer]

    async def take_answers(self, session_id: str) -> list[dict[str, Any]]:
        """See :meth:`SessionStore.take_answers`."""
        if (state := self._states.get(session_id)) is None:
            return []
        answers, state.answers = state.answers, []
        return answers

    async def give_away(self, session_id: str) -> SessionState | None:
        """See :meth:`SessionStore.give_away`."""
        self._active.pop(session_id, None)
        return self._states.pop(session_id, None)

    async def join_class(self, class_id: str, session_id: str) -> None:
        """See :meth:`SessionStore.join_class`: the rooms know."""

    async def leave_class(self, class_id: str, session_id: str) -> None:
        """See :meth:`SessionStore.leave_class`: the rooms know."""

    async def sweep(self) -> None:
        """See :meth:`SessionStore.sweep`."""
        due = self._clock() - self._session_seconds
        while self._active:
            session_id, active = next(iter(self._active.items()))
            if active > due:
                return
            del self._active[session_id]
            self._states.pop(session_id, None)


class RedisStore:
    """Keeps sessions in Redis, for all workers and machines; Redis lets them expire.

    The state is under ``session:{id}``, the time of the last activity under ``activity:{id}``,
    answers that wait under ``answers:{id}``; all three end ``session_seconds`` after the activity.
    """

    def __init__(self, redis: Redis, session_seconds: float) -> None:
        self._redis = redis
        self._milliseconds = max(1, round(session_seconds * 1000))

    async def load(self, session_id: str) -> SessionState | None:
        """See :meth:`SessionStore.load`."""
        found = await self._redis.get(f"session:{session_id}")
        if found is None:
            return None
        await self.touch(session_id)
        state = json.loads(found)
        return SessionState(state["progress"], state["classes"], [], state["changed"])

    async def save(self, session_id: str, state: SessionState) -> None:
        """See :meth:`SessionStore.save`."""
        kept = json.dumps(state.to_json() | {"answers": []})
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.set(f"session:{session_id}", kept, px=self._milliseconds)
            pipe.set(f"activity:{session_id}", time.time(), px=self._milliseconds)
            await pipe.execute()

    async def touch(self, session_id: str) -> None:
        """See :meth:`SessionStore.touch`."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.set(f"activity:{session_id}", time.time(), px=self._milliseconds)
            pipe.pexpire(f"session:{session_id}", self._milliseconds)
            pipe.pexpire(f"answers:{session_id}", self._milliseconds)
            await pipe.execute()

    async def keep_answer(self, session_id: str, answer: dict[str, Any]) -> None:
        """See :meth:`SessionStore.keep_answer`."""
        key = f"answers:{session_id}"
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.rpush(key, json.dumps(answer))
            pipe.ltrim(key, -KEPT_ANSWERS, -1)
            pipe.pexpire(key, self._milliseconds)
            await pipe.execute()

    async def forget_answer(self, session_id: str, answer: dict[str, Any]) -> None:
        """See :meth:`SessionStore.forget_answer`."""
        await self._redis.lrem(f"answers:{session_id}", 0, json.dumps(answer))

    async def take_answers(self, session_id: str) -> list[dict[str, Any]]:
        """See :meth:`SessionStore.take_answers`."""
        key = f"answers:{session_id}"
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.lrange(key, 0, -1)
            pipe.delete(key)
            answers, _ = await pipe.execute()
        return [json.loads(answer) for answer in answers]

    async def give_away(self, session_id: str) -> SessionState | None:
        """See :meth:`SessionStore.give_away`: every worker has it already."""

    async def join_class(self, class_id: str, session_id: str) -> None:
        """See :meth:`SessionStore.join_class`; the members are under ``class:{class_id}``."""
        await self._redis.sadd(f"class:{class_id}", session_id)

    async def leave_class(self, class_id: str, session_id: str) -> None:
        """See :meth:`SessionStore.leave_class`."""
        await self._redis.srem(f"class:{class_id}", session_id)

    async def sweep(self) -> None:
        """See :meth:`SessionStore.sweep`: Redis does."""
