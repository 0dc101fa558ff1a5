"""How an answer finds its session again, whichever worker it is connected to by then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Deliver = Callable[[str, bytes, str | None], bool]
    Here = Callable[[str], bool]
    CatchUp = Callable[[], Coroutine[None, None, None]]


class Answers(Protocol):
    """Carries answers to the worker that has the session, and keeps those that nobody takes.

    ``deliver(session_id, answer, owner)`` hands an answer to a client here and says whether it did,
    ``here(session_id)`` says whether there is one, and ``catch_up()`` hands those who are here
    whatever is kept for them. ``owner`` is who has asked, and nobody else gets the answer; None is
    whoever has not said who he is.
    """

    async def asked(self, session_id: str, question: dict[str, Any]) -> bool:
        """Let everyone who cares know of a question; return whether that was possible."""
        ...

    async def send(self, session_id: str, answer: bytes, owner: str | None) -> None:
        """Deliver ``answer`` wherever the session is, or keep it until it comes back."""
        ...

    async def keep_again(self, session_id: str, answer: bytes, owner: str | None) -> None:
        """Keep ``answer``, which was taken from the store for a session that did not get it."""
        ...

    async def wait_sent(self) -> None:
        """Wait until every answer is delivered or kept."""
        ...

    async def run(self, deliver: Deliver, here: Here, catch_up: CatchUp) -> None:
        """Deliver what other workers send, until cancelled."""
        ...
