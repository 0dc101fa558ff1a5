"""What a gate has measured so far, a line a block: to go on after an interruption, and to look at.

The first line says what the gate is; it goes on only with the same.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import TypeAdapter, ValidationError

from benchmarks.runs.json_lines import append_line, whole_lines

JOURNAL: Final = "gate.jsonl"
FORMAT_VERSION: Final = 1


class JournalError(Exception):
    """A journal cannot be read or written; the message says why."""


@dataclass(frozen=True, slots=True)
class Begin:
    """What the gate is.

    Attributes:
        seed: of the orders in which runs are made.
        base, head: what is compared, for a person.
        commits: what was checked out for each, if that is what is compared.
        plan: metrics, looks and error rates.
        loads: what the metrics are measured in.
        server: what starts and prepares a side.
        started_at: when, in the time of this place.
    """

    seed: int
    base: str
    head: str
    plan: Mapping[str, Any]
    loads: Mapping[str, Any]
    server: Mapping[str, Any]
    started_at: str
    commits: Mapping[str, str] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION
    type: Literal["begin"] = "begin"


@dataclass(frozen=True, slots=True)
class MeasuredBlock:
    """One block: the values of each side's runs by metric, in the order in which they were made.

    Attributes:
        order: which side was run when: A is base, B is head.
        seconds: how long the runs took.
        counting_seconds: how long counting took beside them.
        repeated: why runs were made again, one text for each try.
        faults: what went wrong in runs that were valid, by side: errors, messages lost.
    """

    block: int
    order: str
    seconds: float
    base: Mapping[str, Sequence[float]]
    head: Mapping[str, Sequence[float]]
    counting_seconds: float = 0.0
    repeated: Sequence[str] = ()
    faults: Mapping[str, Sequence[str]] = field(default_factory=dict)
    type: Literal["block"] = "block"


_BEGIN: Final = TypeAdapter(Begin)
_BLOCK: Final = TypeAdapter(MeasuredBlock)


@dataclass(frozen=True, slots=True)
class Journal:
    """A journal read back."""

    begin: Begin
    blocks: tuple[MeasuredBlock, ...]


def append(path: Path, line: Begin | MeasuredBlock) -> None:
    """Write a line and hand it to the operating system. Raises JournalError."""
    adapter: TypeAdapter[Any] = _BEGIN if isinstance(line, Begin) else _BLOCK
    try:
        append_line(path, adapter.dump_json(line))
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise JournalError(f"cannot write {path}: {why}; it stands up to there") from None


def read_journal(path: Path) -> Journal:
    """Read a journal; a last line that was cut is left out.

    Raises:
        JournalError: there is none, or it is damaged.
    """
    try:
        whole = whole_lines(path)
    except (OSError, UnicodeDecodeError) as error:
        raise JournalError(f"cannot read {path}: {error}") from None
    try:
        begin = _BEGIN.validate_json(whole[0])
        if begin.format_version > FORMAT_VERSION:
            raise JournalError(
                f"{path} has format version {begin.format_version}, this swarmgate reads up to "
                f"{FORMAT_VERSION}; use a newer swarmgate"
            )
        blocks = tuple(_BLOCK.validate_json(line) for line in whole[1:])
    except (IndexError, ValidationError):
        raise JournalError(f"{path} is damaged, or is no journal of a gate") from None
    if [block.block for block in blocks] != list(range(len(blocks))):
        raise JournalError(f"{path} is damaged: a block is missing")
    return Journal(begin, blocks)
