"""Sessions stored in Redis, for all workers and machines; Redis lets them expire."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from typing import TYPE_CHECKING, Any, Final, cast

from redis.exceptions import ResponseError

from target_app.redis_client import FAILURES
from target_app.sessions import scripts
from target_app.sessions.state import (
    KEPT_ANSWERS,
    NOBODY,
    Claim,
    NotUnderstoodError,
    from_text,
    to_text,
)
from target_app.sessions.store import (
    PUBLICATION_SECONDS,
    NotOwnerError,
    Opened,
    StoreUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from redis.asyncio import Redis
    from redis.commands.core import AsyncScript

    from target_app.sessions.state import SessionState

LEASES: Final = "class-leases"
MARK: Final = "sessions-since"
OWN_KEYS_LIVE: Final = 1.2
"""How many times as long as a state its claim, owner and memberships are kept: the activity of a
connected session is recorded ten times in the lifetime of a state."""
PUBLICATION_MS: Final = round(PUBLICATION_SECONDS * 1000)
SWEPT_AT_ONCE: Final = 1_000

logger = logging.getLogger(__name__)


class RedisStore:
    """A store of sessions in Redis, for all workers and machines.

    The state is under ``session:{id}``, the time of the last activity under ``activity:{id}``,
    answers that wait under ``answers:{id}``, the holder's claim under ``claim:{id}``, and the owner
    under ``owner:{id}``: all expire when the session has been inactive for long enough. The members
    of a class are a plain set under ``class:{id}``; for those that a connection added, a lease with
    its expiry is stored under ``class-leases``, so that those of a killed worker are removed, and
    those that somebody else added stay.

    Once Redis fails to answer, nobody else waits for it until it has answered an :meth:`ask`.
    """

    remote = True

    def __init__(self, redis: Redis, session_seconds: float) -> None:
        self._redis = redis
        self._milliseconds = max(1, round(session_seconds * 1000))
        self._own_milliseconds = max(1, round(session_seconds * 1000 * OWN_KEYS_LIVE))
        self.generation: str | None = None
        self.newest = NOBODY
        self._available = True
        self._mark = redis.register_script(scripts.MARK)
        self._open = redis.register_script(scripts.OPEN)
        self._withdraw = redis.register_script(scripts.WITHDRAW)
        self._save = redis.register_script(scripts.SAVE)
        self._touch = redis.register_script(scripts.TOUCH)
        self._close = redis.register_script(scripts.CLOSE)
        self._sweep = redis.register_script(scripts.SWEEP)
        self._added = redis.register_script(scripts.ADDED)
        self._keep = redis.register_script(scripts.KEEP)
        self._forget = redis.register_script(scripts.FORGET)

    @property
    def available(self) -> bool:
        """See :meth:`SessionStore.available`."""
        return self._available

    async def ask(self) -> bool:
        """See :meth:`SessionStore.ask`."""
        # A mark that is not ours says nothing, but Redis did answer.
        with contextlib.suppress(StoreUnavailableError, NotUnderstoodError), self._asking():
            mark, microseconds = await self._mark([MARK], [os.urandom(8).hex()])
            self.generation = mark.decode(errors="replace")
            self.newest = Claim(microseconds, "")
        return self._available

    async def open(self, session_id: str, owner: str | None, claim: Claim) -> Opened:
        """See :meth:`SessionStore.open`."""
        keys = [f"{kind}:{session_id}" for kind in ("session", "claim", "owner")]
        keys += [f"activity:{session_id}", f"answers:{session_id}"]
        arguments = [str(claim), json.dumps(owner), self._milliseconds, self._own_milliseconds]
        outcome, *found = await self._run(self._open, keys, arguments)
        if outcome == 0:
            raise NotOwnerError
        number, _, worker = found[0].decode().partition(" ")
        ours = Claim(int(number), worker)
        text = found[1] if len(found) > 1 else None
        if text is None:
            return Opened(ours, None)
        if outcome == 2:
            return Opened(ours, None, text.decode(errors="replace"))
        try:
            return Opened(ours, from_text(text))
        except NotUnderstoodError as error:
            return Opened(ours, None, str(error))

    async def withdraw(self, session_id: str, claim: Claim) -> None:
        """See :meth:`SessionStore.withdraw`."""
        await self._run(
            self._withdraw, [f"claim:{session_id}", f"owner:{session_id}"], [str(claim)]
        )

    async def save(self, session_id: str, state: SessionState, claim: Claim) -> bool:
        """See :meth:`SessionStore.save`."""
        gone = [class_id for class_id in state.left if class_id not in state.classes]
        rest = [to_text(state), len(gone), *gone, *state.classes]
        return bool(await self._note(self._save, session_id, state, claim, rest))

    async def touch(self, session_id: str, state: SessionState, claim: Claim) -> bool:
        """See :meth:`SessionStore.touch`."""
        noted = await self._note(self._touch, session_id, state, claim, [*state.classes])
        if noted == 1 and state.changes:  # Redis has lost what was saved
            return await self.save(session_id, state, claim)
        return bool(noted)

    async def close(self, session_id: str, state: SessionState, claim: Claim) -> None:
        """See :meth:`SessionStore.close`."""
        keys = [f"claim:{session_id}", LEASES]
        await self._run(self._close, keys, [str(claim), session_id, *state.classes])

    async def answers(self, session_id: str) -> list[bytes]:
        """See :meth:`SessionStore.answers`."""
        with self._asking():
            self._check()
            found = await self._redis.zrange(f"answers:{session_id}", 0, -1)
        return cast("list[bytes]", found)

    async def keep_answer(
        self,
        session_id: str,
        answer: bytes,
        owner: str | None = None,
        publication: str | None = None,
        *,
        again: bool = False,
    ) -> None:
        """See :meth:`SessionStore.keep_answer`."""
        keys = [*_answer_keys(session_id, publication), f"owner:{session_id}"]
        another = int(again or publication is not None)
        arguments = [answer, self._milliseconds, KEPT_ANSWERS, another, PUBLICATION_MS]
        arguments += [json.dumps(owner), self._own_milliseconds]
        if await self._run(self._keep, keys, arguments) == 0:
            raise NotOwnerError

    async def forget_answer(
        self, session_id: str, answer: bytes, publication: str | None = None
    ) -> bool:
        """See :meth:`SessionStore.forget_answer`."""
        keys = _answer_keys(session_id, publication)
        return bool(await self._run(self._forget, keys, [answer, PUBLICATION_MS]))

    async def offer(self, session_id: str) -> SessionState | None:
        """See :meth:`SessionStore.offer`: every worker has it already."""

    async def taken(self, session_id: str, claim: Claim, answers: Collection[str]) -> None:
        """See :meth:`SessionStore.taken`: the new holder has it from Redis."""

    async def forget(self, session_id: str) -> None:
        """See :meth:`SessionStore.forget`: Redis does that."""

    def owned_by_other(self, session_id: str, owner: str | None) -> bool:  # noqa: ARG002
        """See :meth:`SessionStore.owned_by_other`: Redis is asked when it is opened."""
        return False

    async def added_members(self, class_id: str) -> list[str]:
        """See :meth:`SessionStore.added_members`."""
        found = await self._run(self._added, [f"class:{class_id}", LEASES], [class_id])
        # A member that is not text belongs to no session, and must not be taken for one.
        return [member.decode(errors="surrogateescape") for member in found]

    async def sweep(self) -> None:
        """See :meth:`SessionStore.sweep`: Redis does the rest."""
        while await self._run(self._sweep, [LEASES], [SWEPT_AT_ONCE]) == SWEPT_AT_ONCE:
            pass

    async def _note(
        self,
        script: AsyncScript,
        session_id: str,
        state: SessionState,
        claim: Claim,
        rest: list[Any],
    ) -> int:
        kinds = ("session", "claim", "owner", "activity", "answers")
        keys = [*(f"{kind}:{session_id}" for kind in kinds), LEASES]
        owner = json.dumps(state.owner)
        lives = [self._milliseconds, self._own_milliseconds]
        arguments = [str(claim), owner, *lives, session_id, *rest]
        return int(await self._run(script, keys, arguments))

    async def _run(self, script: AsyncScript, keys: list[str], arguments: list[Any]) -> Any:  # noqa: ANN401
        with self._asking():
            self._check()
            return await script(keys, arguments)

    def _check(self) -> None:
        if not self._available:
            raise StoreUnavailableError("Redis has not answered")

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except ResponseError as error:
            # Redis is up; "WRONGTYPE" concerns one key, anything else all of them.
            if "WRONGTYPE" in str(error):
                self._available = True
                raise NotUnderstoodError(str(error)) from error
            self._lost(error)
        except FAILURES as error:
            self._lost(error)
        else:
            self._available = True

    def _lost(self, error: Exception) -> None:
        if self._available:
            logger.warning("sessions in Redis: %s", error)
        self._available = False
        raise StoreUnavailableError(str(error)) from error


def _answer_keys(session_id: str, publication: str | None) -> list[str]:
    published = [] if publication is None else [f"published:{session_id}:{publication}"]
    return [f"answers:{session_id}", *published]
