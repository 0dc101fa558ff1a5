"""How an answer finds its session again, whichever worker it is connected to by then."""

from __future__ import annotations

from typing import Any, Protocol


class Answers(Protocol):
    """Carries answers to the worker that has the session, and keeps those that nobody takes.

    ``owner`` is who has asked, and nobody else gets the answer; None is whoever has not said who he
    is.
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

    async def run(self) -> None:
        """Deliver what other workers send to those who are here, until cancelled."""
        ...
