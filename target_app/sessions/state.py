"""What is known of a session beyond its connection, as it is kept and as text: no I/O, no clock."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

KEPT_ANSWERS: Final = 16
"""Answers that wait for one session to come back; older ones are forgotten."""
LEFT_CLASSES: Final = 256
"""Classes of which one session remembers that it has left them, until that is kept."""
OVERHEAD_BYTES: Final = 512
"""What a session counts for beyond its texts: its objects and its places in dictionaries."""
TEXT_OVERHEAD_BYTES: Final = 64
"""What one text counts for beyond its bytes."""
MOST: Final = 2**53
"""Of what is counted: further on, the doubles of Redis's scripts do not tell numbers apart."""


class Claim(NamedTuple):
    """Who has a session: of two claims the greater one has it, and came later.

    No clock of a worker is in it: see :class:`target_app.sessions.claims.Claims`.
    """

    number: int
    worker: str

    def __str__(self) -> str:
        return f"{self.number} {self.worker}"


NOBODY: Final = Claim(0, "")
"""Less than every claim."""

Age = tuple[Claim, int]
"""Whose change something is, and which of his: the greater is the newer."""


class NotUnderstoodError(ValueError):
    """What is kept of a session is not what a session is."""


@dataclass(frozen=True, slots=True)
class SessionState:
    """What is known of a session; the texts are compact JSON in UTF-8.

    Parsed, an object takes ten times the memory of its text.
    """

    progress: bytes | None = None
    """The payload of its last ``READING_PROGRESS``."""
    noted: Age = (NOBODY, 0)
    """The age of that: of two states with a progress, the newer state may have the older one."""
    classes: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    """Classes that it has left since it was kept, the last one last."""
    answers: tuple[bytes, ...] = ()
    """Answers that were ready while nobody was connected."""
    owner: str | None = None
    """Whose session it is; None is whoever has not said who he is."""
    claim: Claim = NOBODY
    """Of the connection that changed it last."""
    changes: int = 0
    """How often progress or classes were changed."""
    partial: bool = False
    """Whether whoever changed it knew nothing of what was before, and somebody may."""

    @property
    def age(self) -> Age:
        """Return what orders two states of one session."""
        return self.claim, self.changes

    def changed(self, claim: Claim, **values: Any) -> SessionState:  # noqa: ANN401
        """Return the state after one more change, made by the connection that has ``claim``."""
        return replace(self, claim=claim, changes=self.changes + 1, **values)

    def read_on(self, claim: Claim, progress: bytes) -> SessionState:
        """Return the state after it has come to ``progress``."""
        state = self.changed(claim, progress=progress)
        return replace(state, noted=state.age)

    def without_class(self, claim: Claim, class_id: str) -> SessionState:
        """Return the state after it has left a class, whether it is known to be in it or not."""
        classes = tuple(name for name in self.classes if name != class_id)
        left = (*(name for name in self.left if name != class_id), class_id)[-LEFT_CLASSES:]
        return self.changed(claim, classes=classes, left=left)

    def kept_bytes(self) -> int:
        """Return about how much memory it takes."""
        names = (name.encode() for name in (*self.classes, *self.left))
        texts = [*self.answers, *names, self.progress or b""]
        return OVERHEAD_BYTES + sum(len(text) + TEXT_OVERHEAD_BYTES for text in texts)


def digest(answer: bytes) -> str:
    """Return a short name of an answer."""
    return hashlib.sha256(answer).hexdigest()[:32]


def compact(value: object) -> bytes:
    """Return ``value`` as JSON; raise :class:`ValueError` if JSON cannot hold it."""
    try:
        return json.dumps(
            value, ensure_ascii=False, allow_nan=False, separators=(",", ":")
        ).encode()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def event(kind: str, payload: bytes) -> str:
    """Return a message of sessions whose payload is JSON already."""
    return f'{{"type":{json.dumps(kind)},"payload":{payload.decode()}}}'


def to_text(state: SessionState) -> bytes:
    """Return what is kept of ``state`` under ``session:{id}``."""
    rest = {"classes": state.classes, "changes": state.changes, "claim": list(state.claim)}
    if state.noted != state.age:
        rest["noted"] = [*state.noted[0], state.noted[1]]
    return b'{"progress":' + (state.progress or b"null") + b"," + compact(rest)[1:]


def from_text(text: bytes) -> SessionState:
    """Return the state that ``text`` says; raise :class:`NotUnderstoodError` if it says none.

    That is what :func:`to_text` writes, or any other object: then the object is the progress
    (``{"page": 3}``), as programs beside this server write it.
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
    to_text(state)  # what cannot be kept again is not understood: half a surrogate pair in a name
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
    """Return the answer that is kept as ``text``; raise :class:`NotUnderstoodError` if it is none.

    An answer is an object that JSON can hold.
    """
    try:
        found = json.loads(text)
        if isinstance(found, dict):
            return compact(found)
    except (ValueError, RecursionError) as error:
        raise NotUnderstoodError(f"not JSON ({error}): {text[:200]!r}") from error
    raise NotUnderstoodError(f"an answer that is not an object: {text[:200]!r}")


def to_hand_over(state: SessionState) -> dict[str, Any]:
    """Return all of ``state`` as what JSON can hold, for another worker."""
    return {
        "state": to_text(state).decode(),
        "answers": [answer.decode() for answer in state.answers],
        "left": state.left,
        "partial": state.partial,
        "owner": state.owner,
    }


def handed_over(found: dict[str, Any]) -> SessionState:
    """Return the state of :func:`to_hand_over`."""
    return replace(
        from_text(found["state"].encode()),
        left=tuple(found["left"]),
        partial=found["partial"],
        answers=tuple(answer.encode() for answer in found["answers"]),
        owner=found["owner"],
    )
