"""How an answer finds its session again, whichever worker it is connected to by then."""

from __future__ import annotations

from typing import Any, Protocol


class Answers(Protocol):
    """A carrier of answers to the worker that holds the session; it stores those nobody takes.

    ``owner`` is the one who asked, and nobody else gets the answer; None is a client that has not
    identified itself.
    """

    async def asked(self, session_id: str, question: dict[str, Any]) -> bool:
        """Announce a question to everyone interested; return whether that was possible."""
        ...

    async def send(self, session_id: str, answer: bytes, owner: str | None) -> None:
        """Deliver ``answer`` wherever the session is, or store it until the session comes back."""
        ...

    async def keep_again(self, session_id: str, answer: bytes, owner: str | None) -> None:
        """Store ``answer`` again: it was taken from the store for a session that did not get it."""
        ...

    async def wait_sent(self) -> None:
        """Wait until every answer is delivered or stored."""
        ...

    async def run(self) -> None:
        """Deliver what other workers send to the sessions here, until cancelled."""
        ...
