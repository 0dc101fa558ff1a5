"""Where the state of sessions is kept: what every such place promises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from target_app.sessions.state import NotUnderstoodError

if TYPE_CHECKING:
    from collections.abc import Collection

    from target_app.sessions.state import Claim, SessionState


class StoreUnavailableError(Exception):
    """The store cannot be asked now: whether there is a state is not known."""


class StoreFullError(Exception):
    """There is no room for more, and nothing that could be forgotten."""

    def __init__(self, kept: SessionState) -> None:
        super().__init__("as much is kept as may be")
        self.kept = kept
        """What is kept of the session, now as before."""


class NotOwnerError(Exception):
    """The session belongs to somebody else."""

    def __init__(self) -> None:
        super().__init__("it belongs to somebody else")


PUBLICATION_SECONDS: Final = 10.0
"""How long it is known what became of a publication, to the workers that are late."""
NOT_KEPT: Final = (StoreUnavailableError, StoreFullError, NotUnderstoodError, NotOwnerError)
"""What is raised instead of keeping something."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What a store says to a claim."""

    claim: Claim
    state: SessionState | None
    """None if there is none, or none that is understood."""
    problem: str | None = None
    """What is wrong with what is kept, if it is not understood."""


class SessionStore(Protocol):
    """Keeps the state of each session until it has not been active for ``session_seconds``.

    Everything but :attr:`available` may raise :class:`StoreUnavailableError`, and may be asked
    again after it: to do something twice is the same as to do it once.
    """

    @property
    def available(self) -> bool:
        """Whether it could be asked when it was asked last."""
        ...

    @property
    def remote(self) -> bool:
        """Whether it has to be waited for."""
        ...

    @property
    def generation(self) -> str | None:
        """What was the same at each :meth:`ask`, unless some of what was kept may be lost."""
        ...

    @property
    def newest(self) -> Claim:
        """Not less than any claim that it had numbered when it was asked last."""
        ...

    async def ask(self) -> bool:
        """Ask whether it is there now; return :attr:`available`."""
        ...

    async def open(self, session_id: str, owner: str | None, claim: Claim) -> Opened:
        """Claim the session for a connection of ``owner``.

        Return the claim, which is ``claim`` or one that is greater, and the state. Raise
        :class:`NotOwnerError` if it is somebody else's.
        """
        ...

    async def withdraw(self, session_id: str, claim: Claim) -> None:
        """Take back a claim: the session turned out to be somebody else's."""
        ...

    async def save(self, session_id: str, state: SessionState, claim: Claim) -> bool:
        """Keep progress and classes of ``state``, with the session a connected member of them.

        It is no longer a member of the classes that it has left. Return False, having kept nothing,
        if somebody else has claimed the session. Raise :class:`StoreFullError` if it cannot be
        kept.
        """
        ...

    async def touch(self, session_id: str, state: SessionState, claim: Claim) -> bool:
        """Note that the session is active; return like :meth:`save`."""
        ...

    async def close(self, session_id: str, state: SessionState, claim: Claim) -> None:
        """Note that the session is not connected, unless somebody else has claimed it.

        For as long as it is not, it is in none of its classes.
        """
        ...

    async def answers(self, session_id: str) -> list[bytes]:
        """Return the answers that wait for the session, oldest first."""
        ...

    async def keep_answer(
        self,
        session_id: str,
        answer: bytes,
        owner: str | None = None,
        publication: str | None = None,
        *,
        again: bool = False,
    ) -> None:
        """Keep an answer until it is delivered; one that is kept already is kept once.

        The session it is kept for is that of ``owner``, None if that is not known; raise
        :class:`NotOwnerError` if it is somebody else's by now.

        One of which all workers hear has the name of its ``publication``: it is kept by the first
        of them, unless it was forgotten just now, and beside others that are equal. So is one that
        is kept ``again``, by whoever forgot it.
        """
        ...

    async def forget_answer(
        self, session_id: str, answer: bytes, publication: str | None = None
    ) -> bool:
        """Keep an answer no longer: it is being delivered.

        Return whether it may be due still: False if it was kept and is no longer. Asked twice, it
        says so the second time.
        """
        ...

    async def offer(self, session_id: str) -> SessionState | None:
        """Return the state with its answers, if only this worker has it.

        It is kept until it is known to be :meth:`taken`.
        """
        ...

    async def taken(self, session_id: str, claim: Claim, answers: Collection[str]) -> None:
        """Keep no longer what the connection that has ``claim`` took over, at another worker.

        Of the answers, those with these digests: others may have come since they were offered.
        """
        ...

    async def forget(self, session_id: str) -> None:
        """Keep nothing of the session any longer, if nothing else forgets it."""
        ...

    def owned_by_other(self, session_id: str, owner: str | None) -> bool:
        """Return whether it is known here that the session is not for ``owner``."""
        ...

    async def added_members(self, class_id: str) -> list[str]:
        """Return the members of a class that no connection made members."""
        ...

    async def sweep(self) -> None:
        """Forget what has had its time, where nothing else does."""
        ...


def may_open(owned_by: str | None, owner: str | None) -> bool:
    """Return whether ``owner`` may open a session of ``owned_by``.

    A session that began without a login goes on with one, and is its owner's from then on.
    """
    return owned_by is None or owned_by == owner
