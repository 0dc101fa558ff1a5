"""One session while it is connected."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from target_app.connections.names import Room
from target_app.protocol import CLASSES
from target_app.sessions.state import NOBODY, SessionState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from target_app.connections.connection import Connection
    from target_app.sessions.state import Claim


class Handed(NamedTuple):
    """What a session was given from its store: the answer's name, and when (monotonic clock)."""

    name: str
    at: float


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
    """The claim that was told what is known of it here, or one that is less."""
    handed_on: float = -math.inf
    """When whoever has it was told that unasked, by the monotonic clock."""
    base: SessionState = SessionState()  # noqa: RUF009 - it is frozen
    """What the others knew of it when it was claimed."""
    elsewhere: dict[str, int] = field(default_factory=dict)
    """How many of its questions each other worker has still to answer, as far as it has said."""
    counted: float = -math.inf
    """When the others were asked for that again."""
    handed: tuple[Handed, ...] = ()
    """The answers that it was just given from the store, and that were not heard of here since."""

    @property
    def owes(self) -> bool:
        """Whether its store may not have what changed of it."""
        return self.state.changes > 0 and (self.unsaved or self.saving)


def session_of(connection: Connection) -> Session:
    """Return the session of a connection of the session endpoint."""
    assert isinstance(connection.state, Session)
    return connection.state


def class_room(class_id: str) -> Room:
    """Return the room where the members of a class are."""
    return Room(CLASSES, class_id)


def known(found: Iterable[SessionState]) -> SessionState:
    """Return what is known of a session of which several have a state, or only changes.

    Of what is not partial the newest counts; what is, and is newer, are changes of it. Whoever
    joined or left a class may not have heard how far it had come by then, so that counts by itself.
    Return a partial state if there are changes only.
    """
    states = [state for state in found if state.changes or state.progress is not None]
    nothing = SessionState(partial=True)
    whole = max((state for state in states if not state.partial), key=age_of, default=nothing)
    changes = [state for state in states if state.partial and state.age > whole.age]
    read = (state for state in states if state.progress is not None)
    newest = max(read, key=lambda state: state.noted, default=nothing)
    state = merged(whole, *sorted(changes, key=age_of))
    return replace(state, progress=newest.progress, noted=newest.noted)


def merged(state: SessionState, *changes: SessionState) -> SessionState:
    """Return ``state`` with the classes of those who did not know it when they changed theirs."""
    for change in changes:
        before = tuple(name for name in state.classes if name not in change.left)
        left = tuple(name for name in state.left if name not in change.classes)
        state = state.changed(
            change.claim,
            classes=tuple(dict.fromkeys((*before, *change.classes))),
            left=tuple(dict.fromkeys((*left, *change.left))),
        )
    return state


def rebased(
    state: SessionState, before: SessionState, after: SessionState, claim: Claim
) -> SessionState:
    """Return ``after`` with what was changed from ``before`` to ``state`` by who has ``claim``."""
    gone = {*before.classes, *state.left} - {*state.classes}
    joined = [name for name in state.classes if name not in before.classes]
    classes = tuple(dict.fromkeys((*(n for n in after.classes if n not in gone), *joined)))
    has_read = state.progress is not None and state.noted != before.noted
    if not has_read and classes == after.classes:
        return after
    left = tuple(name for name in (*after.left, *state.left) if name not in classes)
    newer = replace(after, changes=max(state.changes, after.changes), left=left)
    newer = newer.changed(claim, classes=classes)
    return replace(newer, progress=state.progress, noted=newer.age) if has_read else newer


def age_of(state: SessionState) -> tuple[Claim, int]:
    """Return what orders the states of one session."""
    return state.age
