"""One session while it is connected."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from target_app.connections.names import Room
from target_app.protocol import CLASSES
from target_app.sessions.state import NOBODY, SessionState

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    offered_to: Claim = NOBODY
    """The claim that another worker made, which was told what is known of it here."""
    base: SessionState = SessionState()  # noqa: RUF009 - it is frozen
    """What the others knew of it when it was claimed."""
    elsewhere: dict[str, int] = field(default_factory=dict)
    """How many of its questions each other worker has still to answer, as far as it has said."""
    counted: float = -math.inf
    """When the others were asked for that again."""


def session_of(connection: Connection) -> Session:
    """Return the session of a connection of the session endpoint."""
    assert isinstance(connection.state, Session)
    return connection.state


def class_room(class_id: str) -> Room:
    """Return the room where the members of a class are."""
    return Room(CLASSES, class_id)


def merged(kept: SessionState | None, *pending: SessionState) -> SessionState:
    """Return ``kept`` with the changes of those who did not know it when they made them.

    Return a partial state if there are such changes only.
    """
    state = kept or SessionState(partial=True)
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


def known(complete: Iterable[SessionState], pending: Iterable[SessionState]) -> SessionState:
    """Return what is known of a session of which several have a state.

    Of the ``complete`` ones the newest counts; those that were made without knowing any, and what
    is ``pending``, are changes of it.
    """
    states = [state for state in complete if state.changes or state.progress is not None]
    newest = max((state for state in states if not state.partial), key=age_of, default=None)
    changes = [*(state for state in states if state.partial), *pending]
    return merged(newest, *sorted(changes, key=age_of))


def rebased(
    state: SessionState, before: SessionState, after: SessionState, claim: Claim
) -> SessionState:
    """Return ``after`` with what was changed from ``before`` to ``state`` by who has ``claim``."""
    gone = {*before.classes, *state.left} - {*state.classes}
    joined = [name for name in state.classes if name not in before.classes]
    classes = tuple(dict.fromkeys((*(n for n in after.classes if n not in gone), *joined)))
    progress = after.progress if state.progress == before.progress else state.progress
    if (progress, classes) == (after.progress, after.classes):
        return after
    left = tuple(name for name in (*after.left, *state.left) if name not in classes)
    newer = replace(after, changes=max(state.changes, after.changes), left=left)
    return newer.changed(claim, progress=progress, classes=classes)


def age_of(state: SessionState) -> tuple[Claim, int]:
    """Return what orders the states of one session."""
    return state.age
