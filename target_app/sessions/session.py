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
    """An answer that a session received from its store: its name, and when (monotonic clock)."""

    name: str
    at: float


@dataclass(slots=True, eq=False)
class Session:
    """One session while it is connected, and until its changes have been saved."""

    id: str
    owner: str | None
    claim: Claim
    active: float
    """When its client last sent something, by the monotonic clock."""
    touched: float
    """When its store was last informed of that."""
    state: SessionState = SessionState()  # noqa: RUF009 - it is frozen
    loaded: bool = False
    """Whether its store has returned what it had; before that, nothing is written."""
    loading: bool = False
    ready: bool = False
    """Whether it has been sent its earlier state, and may be sent other messages."""
    lost: bool = False
    """Whether another connection holds it now."""
    refused: bool = False
    """Whether it belongs to another owner."""
    unsaved: bool = False
    """Whether it has changed since it was last saved."""
    saving: bool = False
    away_announced: bool = False
    """Whether its client has been notified that the store is unavailable."""
    connected: bool = True
    restored_sent: bool = False
    """Whether its client has been sent its earlier progress."""
    offered_to: Claim = NOBODY
    """The claim to which its state here was offered, or a smaller one."""
    handed_on: float = -math.inf
    """When that state was last sent unasked to the holder, by the monotonic clock."""
    base: SessionState = SessionState()  # noqa: RUF009 - it is frozen
    """What everyone else knew of it when it was claimed."""
    elsewhere: dict[str, int] = field(default_factory=dict)
    """How many of its questions each other worker has yet to answer, as last reported."""
    counted: float = -math.inf
    """When the other workers were last asked for those numbers again."""
    handed: tuple[Handed, ...] = ()
    """The answers just received from the store, and not heard of here since."""

    @property
    def owes(self) -> bool:
        """Whether its store may lack some of its changes."""
        return self.state.changes > 0 and (self.unsaved or self.saving)


def session_of(connection: Connection) -> Session:
    """Return the session of a connection on the session endpoint."""
    assert isinstance(connection.state, Session)
    return connection.state


def class_room(class_id: str) -> Room:
    """Return the room that the members of a class are in."""
    return Room(CLASSES, class_id)


def known(found: Iterable[SessionState]) -> SessionState:
    """Return the one state that several states of a session, or only changes, add up to.

    The newest state that is not partial counts; newer partial ones are changes to it. A connection
    that joined or left a class may not have known the latest progress, so the newest progress
    counts on its own. Return a partial state if there are only changes.
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
    """Return ``state`` with the class changes of ``changes``, made without knowledge of it."""
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
    """Return ``after`` with the changes from ``before`` to ``state``, made under ``claim``."""
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
    """Return the key that orders the states of one session."""
    return state.age
