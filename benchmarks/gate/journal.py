"""What a gate has measured so far, one line per block: to resume after an interruption, or to read.

The first line identifies the gate; only the same gate can be resumed.
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
    """A journal that cannot be read or written; the message says why."""


@dataclass(frozen=True, slots=True)
class Begin:
    """The identity of the gate.

    Attributes:
        seed: the seed of the orders in which runs are made.
        base, head: what is compared, in human-readable form.
        commits: what was checked out for each, if commits are compared.
        plan: metrics, looks and error rates.
        loads: the loads in which the metrics are measured.
        server: what starts and prepares a side.
        started_at: when it started, in local time.
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
        order: the order in which the sides were run: A is base, B is head.
        seconds: how long the runs took.
        counting_seconds: how long counting took in addition.
        repeated: why runs were repeated, one text for each attempt.
        faults: what went wrong in valid runs, by side: errors, messages lost.
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
    """A journal that was read back."""

    begin: Begin
    blocks: tuple[MeasuredBlock, ...]


def append(path: Path, line: Begin | MeasuredBlock) -> None:
    """Write a line and pass it to the operating system. Raises JournalError."""
    adapter: TypeAdapter[Any] = _BEGIN if isinstance(line, Begin) else _BLOCK
    try:
        append_line(path, adapter.dump_json(line))
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise JournalError(f"cannot write {path}: {why}; it is complete up to there") from None


def read_journal(path: Path) -> Journal:
    """Read a journal, ignoring a truncated last line.

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
        raise JournalError(f"{path} is damaged, or is not the journal of a gate") from None
    if [block.block for block in blocks] != list(range(len(blocks))):
        raise JournalError(f"{path} is damaged: a block is missing")
    return Journal(begin, blocks)
