"""The store of session state: what every implementation guarantees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from target_app.sessions.state import NotUnderstoodError

if TYPE_CHECKING:
    from collections.abc import Collection

    from target_app.sessions.state import Claim, SessionState


class StoreUnavailableError(Exception):
    """Error raised when the store cannot be reached: whether there is a state is not known."""


class StoreFullError(Exception):
    """Error raised when there is no room for more, and nothing that could be dropped."""

    def __init__(self, kept: SessionState) -> None:
        super().__init__("as much is kept as may be")
        self.kept = kept
        """What is stored of the session, the same as before."""


class NotOwnerError(Exception):
    """Error raised when the session belongs to another owner."""

    def __init__(self) -> None:
        super().__init__("it belongs to somebody else")


PUBLICATION_SECONDS: Final = 10.0
"""How long the outcome of a publication stays known, for workers that are late."""
NOT_KEPT: Final = (StoreUnavailableError, StoreFullError, NotUnderstoodError, NotOwnerError)
"""The errors that are raised instead of storing something."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A store's answer to a claim."""

    claim: Claim
    state: SessionState | None
    """None if there is none, or if it is not understood."""
    problem: str | None = None
    """What is wrong with the stored state, if it is not understood."""


class SessionStore(Protocol):
    """A store that keeps each session's state until it has been idle for ``session_seconds``.

    Everything but :attr:`available` may raise :class:`StoreUnavailableError`, and may be called
    again after that: doing something twice is the same as doing it once.
    """

    @property
    def available(self) -> bool:
        """Whether it could be reached when it was last asked."""
        ...

    @property
    def remote(self) -> bool:
        """Whether callers have to wait for it."""
        ...

    @property
    def generation(self) -> str | None:
        """A value that is the same at each :meth:`ask`, unless stored data may have been lost."""
        ...

    @property
    def newest(self) -> Claim:
        """A claim no smaller than any that it had numbered when it was last asked."""
        ...

    async def ask(self) -> bool:
        """Check whether it can be reached now; return :attr:`available`."""
        ...

    async def open(self, session_id: str, owner: str | None, claim: Claim) -> Opened:
        """Claim the session for a connection of ``owner``.

        Return the claim, which is ``claim`` or a greater one, and the state. Raise
        :class:`NotOwnerError` if the session belongs to another owner.
        """
        ...

    async def withdraw(self, session_id: str, claim: Claim) -> None:
        """Withdraw a claim: the session turned out to belong to another owner."""
        ...

    async def save(self, session_id: str, state: SessionState, claim: Claim) -> bool:
        """Save progress and classes of ``state``, making the session a connected member of these.

        It is no longer a member of the classes that it has left. Return False, having saved
        nothing, if another connection has claimed the session. Raise :class:`StoreFullError` if the
        state cannot be saved.
        """
        ...

    async def touch(self, session_id: str, state: SessionState, claim: Claim) -> bool:
        """Record that the session is active; return the same as :meth:`save`."""
        ...

    async def close(self, session_id: str, state: SessionState, claim: Claim) -> None:
        """Record that the session is not connected, unless another connection has claimed it.

        As long as it is not connected, it is in none of its classes.
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
        """Store an answer until it is delivered; one that is stored already is stored only once.

        It is for the session of ``owner``, None if the owner is not known; raise
        :class:`NotOwnerError` if the session belongs to another owner by now.

        An answer that all workers hear of has the name of its ``publication``: the first of them
        stores it, unless it has just been forgotten, alongside any equal ones. An answer that is
        stored ``again``, by the worker that forgot it, is stored alongside equal ones as well.
        """
        ...

    async def forget_answer(
        self, session_id: str, answer: bytes, publication: str | None = None
    ) -> bool:
        """Forget an answer: it is being delivered.

        Return whether it may still be due: False if it was stored and no longer is. Called twice,
        return False the second time.
        """
        ...

    async def offer(self, session_id: str) -> SessionState | None:
        """Return the state with its answers, if only this worker has it.

        It is kept until it is known to have been :meth:`taken`.
        """
        ...

    async def taken(self, session_id: str, claim: Claim, answers: Collection[str]) -> None:
        """Drop what the connection that has ``claim``, at another worker, has taken over.

        Of the answers, drop those with these digests: others may have come since the offer.
        """
        ...

    async def forget(self, session_id: str) -> None:
        """Drop everything stored for the session, if nothing else does."""
        ...

    def owned_by_other(self, session_id: str, owner: str | None) -> bool:
        """Return whether it is known here that ``owner`` may not open the session."""
        ...

    async def added_members(self, class_id: str) -> list[str]:
        """Return the members of a class that were not added by a connection."""
        ...

    async def sweep(self) -> None:
        """Forget what has expired, where nothing else does."""
        ...


def may_open(owned_by: str | None, owner: str | None) -> bool:
    """Return whether ``owner`` may open a session of ``owned_by``.

    A session that began without a login may continue with one, and is its owner's from then on.
    """
    return owned_by is None or owned_by == owner
