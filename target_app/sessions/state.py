"""The state of a session beyond its connection, as stored and as text: no I/O, no clock."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

KEPT_ANSWERS: Final = 16
"""How many answers wait for one session to come back; older ones are dropped."""
LEFT_CLASSES: Final = 256
"""How many classes one session remembers having left, until that is saved."""
OVERHEAD_BYTES: Final = 512
"""What a session counts for beyond its texts: its objects and its dictionary entries."""
TEXT_OVERHEAD_BYTES: Final = 64
"""What one text counts for beyond its bytes."""
MOST: Final = 2**53
"""The largest count: above it, the doubles of Redis's scripts cannot tell numbers apart."""


class Claim(NamedTuple):
    """A claim to a session: of two claims, the greater one came later and holds the session.

    No worker's clock goes into it: see :class:`target_app.sessions.claims.Claims`.
    """

    number: int
    worker: str

    def __str__(self) -> str:
        return f"{self.number} {self.worker}"


NOBODY: Final = Claim(0, "")
"""Smaller than every claim."""

Age = tuple[Claim, int]
"""The claim that made a change, and which of its changes it was: the greater is the newer."""


class NotUnderstoodError(ValueError):
    """Error raised when what is stored for a session is not valid session data."""


@dataclass(frozen=True, slots=True)
class SessionState:
    """The known state of a session; the texts are compact JSON in UTF-8.

    A parsed object takes ten times the memory of its text.
    """

    progress: bytes | None = None
    """The payload of its last ``READING_PROGRESS``."""
    noted: Age = (NOBODY, 0)
    """The age of the progress: of two states with one, the newer may have the older progress."""
    classes: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    """Classes that it has left since it was last saved, the most recent one last."""
    answers: tuple[bytes, ...] = ()
    """Answers that became ready while nobody was connected."""
    owner: str | None = None
    """The owner of the session; None if the client has not identified itself."""
    claim: Claim = NOBODY
    """The claim of the connection that changed it last."""
    changes: int = 0
    """How many times progress or classes have changed."""
    partial: bool = False
    """Whether it was changed without knowledge of the earlier state, which others may have."""

    @property
    def age(self) -> Age:
        """Return the key that orders two states of one session."""
        return self.claim, self.changes

    def changed(self, claim: Claim, **values: Any) -> SessionState:  # noqa: ANN401
        """Return the state after one more change, made by the connection that has ``claim``."""
        return replace(self, claim=claim, changes=self.changes + 1, **values)

    def read_on(self, claim: Claim, progress: bytes) -> SessionState:
        """Return the state after the session has advanced to ``progress``."""
        state = self.changed(claim, progress=progress)
        return replace(state, noted=state.age)

    def without_class(self, claim: Claim, class_id: str) -> SessionState:
        """Return the state after the session has left a class, whether known to be in it or not."""
        classes = tuple(name for name in self.classes if name != class_id)
        left = (*(name for name in self.left if name != class_id), class_id)[-LEFT_CLASSES:]
        return self.changed(claim, classes=classes, left=left)

    def kept_bytes(self) -> int:
        """Return roughly how much memory the state takes."""
        names = (name.encode() for name in (*self.classes, *self.left))
        texts = [*self.answers, *names, self.progress or b""]
        return OVERHEAD_BYTES + sum(len(text) + TEXT_OVERHEAD_BYTES for text in texts)


def digest(answer: bytes) -> str:
    """Return a short name for an answer."""
    return hashlib.sha256(answer).hexdigest()[:32]


def compact(value: object) -> bytes:
    """Return ``value`` as JSON; raise :class:`ValueError` if JSON cannot represent it."""
    try:
        return json.dumps(
            value, ensure_ascii=False, allow_nan=False, separators=(",", ":")
        ).encode()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def event(kind: str, payload: bytes) -> str:
    """Return a session message whose payload is JSON already."""
    return f'{{"type":{json.dumps(kind)},"payload":{payload.decode()}}}'


def to_text(state: SessionState) -> bytes:
    """Return the text that is stored of ``state`` under ``session:{id}``."""
    rest = {"classes": state.classes, "changes": state.changes, "claim": list(state.claim)}
    if state.noted != state.age:
        rest["noted"] = [*state.noted[0], state.noted[1]]
    return b'{"progress":' + (state.progress or b"null") + b"," + compact(rest)[1:]


def from_text(text: bytes) -> SessionState:
    """Parse the state in ``text``; raise :class:`NotUnderstoodError` if there is none.

    ``text`` is what :func:`to_text` writes, or any other object: then the object is the progress
    (``{"page": 3}``), as programs alongside this server write it.
    """
    try:
        found = json.loads(text)
        if not isinstance(found, dict):
            raise NotUnderstoodError(f"not an object: {text[:200]!r}")
        if not {"progress", "classes"} <= found.keys():
            return SessionState(progress=compact(found))
        return _from_ours(found)
    except (ValueError, RecursionError) as error:
        if isinstance(error, NotUnderstoodError):
            raise
        raise NotUnderstoodError(f"not JSON ({error}): {text[:200]!r}") from error


def _from_ours(found: dict[str, Any]) -> SessionState:
    progress, classes, changes = found["progress"], found["classes"], found.get("changes", 0)
    if progress is not None and not isinstance(progress, dict):
        raise NotUnderstoodError(f"progress is not an object: {progress!r:.200}")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise NotUnderstoodError(f"classes are not texts: {classes!r:.200}")
    if not _is_count(changes):
        raise NotUnderstoodError(f"changes is not a number: {changes!r:.200}")
    claim = _claim(found.get("claim", [0, ""]))
    state = SessionState(
        None if progress is None else compact(progress),
        _age(found.get("noted", [*claim, changes])),
        tuple(classes),
        claim=claim,
        changes=changes,
    )
    to_text(state)  # what cannot be stored again is not valid: half a surrogate pair in a name
    return state


def _claim(found: object) -> Claim:
    match found:
        case [int(number), str(worker)] if _is_count(number):
            return Claim(number, worker)
    raise NotUnderstoodError(f"not a claim: {found!r:.200}")


def _age(found: object) -> Age:
    match found:
        case [number, worker, int(changes)] if _is_count(changes):
            return _claim([number, worker]), changes
    raise NotUnderstoodError(f"not an age: {found!r:.200}")


def _is_count(found: object) -> bool:
    return type(found) is int and 0 <= found <= MOST


def answer_from(text: bytes) -> bytes:
    """Return the answer stored as ``text``; raise :class:`NotUnderstoodError` if it is not one.

    An answer is an object that JSON can represent.
    """
    try:
        found = json.loads(text)
        if isinstance(found, dict):
            return compact(found)
    except (ValueError, RecursionError) as error:
        raise NotUnderstoodError(f"not JSON ({error}): {text[:200]!r}") from error
    raise NotUnderstoodError(f"an answer that is not an object: {text[:200]!r}")


def to_hand_over(state: SessionState) -> dict[str, Any]:
    """Return all of ``state`` in a form that JSON can represent, for another worker."""
    return {
        "state": to_text(state).decode(),
        "answers": [answer.decode() for answer in state.answers],
        "left": state.left,
        "partial": state.partial,
        "owner": state.owner,
    }


def handed_over(found: dict[str, Any]) -> SessionState:
    """Return the state that :func:`to_hand_over` was given."""
    return replace(
        from_text(found["state"].encode()),
        left=tuple(found["left"]),
        partial=found["partial"],
        answers=tuple(answer.encode() for answer in found["answers"]),
        owner=found["owner"],
    )
