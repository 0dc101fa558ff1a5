"""One session while it is connected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from target_app.connections.names import Room
from target_app.protocol import CLASSES
from target_app.sessions.state import SessionState

if TYPE_CHECKING:
    from target_app.connections.connection import Connection
    from target_app.sessions.state import Claim


@dataclass(slots=True, eq=False)
class Session:
    """One session while it is connected, and until what changed of it is kept."""

    id: str
    owner: str | None
    claim: Claim
    active: float
    """When its client said something last, by the monotonic clock."""
    touched: float
    """When its store heard of that last."""
    state: SessionState = SessionState()  # noqa: RUF009 - it is frozen
    loaded: bool = False
    """Whether its store has said what was kept; before that, nothing is written."""
    loading: bool = False
    ready: bool = False
    """Whether it has been told what it was before, and may be told other things."""
    lost: bool = False
    """Whether somebody else has it now."""
    refused: bool = False
    """Whether it belongs to somebody else."""
    unsaved: bool = False
    """Whether it has changed since it was kept."""
    saving: bool = False
    told_away: bool = False
    """Whether its client knows that the store is away."""
    connected: bool = True
    told_restored: bool = False
    """Whether its client knows what its progress was before."""
    elsewhere: int = 0
    """Its questions that other workers have still to answer."""


def session_of(connection: Connection) -> Session:
    """Return the session of a connection of the session endpoint."""
    assert isinstance(connection.state, Session)
    return connection.state


def class_room(class_id: str) -> Room:
    """Return the room where the members of a class are."""
    return Room(CLASSES, class_id)


def merged(kept: SessionState | None, *pending: SessionState) -> SessionState:
    """Return ``kept`` with the changes of those who did not know it when they made them."""
    state = kept or SessionState()
    for change in pending:
        if change.changes:
            before = tuple(name for name in state.classes if name not in change.left)
            left = tuple(name for name in state.left if name not in change.classes)
            state = state.changed(
                change.claim,
                progress=state.progress if change.progress is None else change.progress,
                classes=tuple(dict.fromkeys((*before, *change.classes))),
                left=tuple(dict.fromkeys((*left, *change.left))),
            )
    return state
