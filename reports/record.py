"""The run record: one run is one append-only file of JSON lines, readable up to its last second.

Line types are distinguished by their ``type`` key: :class:`Header`, :class:`Interval`,
:class:`Sample`, :class:`Event`, :class:`Footer`. Times named ``t_ns`` are nanoseconds of
CLOCK_MONOTONIC since the start of the run. Histograms are HdrHistogram V2 texts in nanoseconds
(:mod:`reports.histogram`).
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Final, Literal, Self, TextIO

from pydantic import Field, TypeAdapter, ValidationError

from reports.measures import Measures

# History of the format. A reader accepts every version up to its own.
#   1  the first
FORMAT_VERSION: Final = 1
RECORD_SUFFIX: Final = ".run.jsonl"


class RecordError(Exception):
    """A run record that cannot be read or written; the message names the file and what to do."""


class RecordCutError(RecordError):
    """A line that can no longer be written, for instance on a full disk; earlier ones remain."""


@dataclass(frozen=True, slots=True)
class Target:
    """What was put under load.

    Attributes:
        url: the WebSocket address.
        address: the numeric address and port that connections went to.
        command: the command that started the target, empty if it was already running.
        pids: roots of the watched process trees, empty if the target is not on this machine.
    """

    url: str
    address: str
    command: tuple[str, ...] = ()
    pids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine that the swarm ran on."""

    hostname: str
    kernel: str
    cpu_model: str
    cores: int
    memory_bytes: int
    python: str


@dataclass(frozen=True, slots=True)
class UserHeader:
    """One of several kinds of users of a run.

    Attributes:
        name: its name, with which its figures begin.
        share: its share of all connections, 1 being all of them.
        scenario, parameters, load, url, measures: as for a whole run.
        processes: the numbers of its swarm processes.
    """

    name: str
    share: float
    scenario: str
    parameters: Mapping[str, Any]
    load: Mapping[str, Any]
    url: str
    processes: tuple[int, ...]
    measures: Measures = field(default_factory=Measures)


@dataclass(frozen=True, slots=True)
class Header:
    """The first line: everything needed to repeat the run.

    Attributes:
        scenario: the scenario's name; ``parameters`` holds every parameter it ran with.
        load: connections, rate, duration and everything else that shaped the load, by name.
        limits: the system limits in force (:mod:`loadtests.plan.limits`).
        command: the command line that repeats the run.
        started_at: wall-clock start, ISO 8601 with offset.
        seed: the seed of every random choice.
        users: its kinds of users, if there are several.
        measures: what the scenario declares that it measures; empty in records that are older than
            such declarations.
    """

    run_id: str
    scenario: str
    parameters: Mapping[str, Any]
    load: Mapping[str, Any]
    target: Target
    machine: Machine
    limits: Mapping[str, int]
    versions: Mapping[str, str]
    command: tuple[str, ...]
    started_at: str
    seed: int
    git_commit: str | None = None
    users: tuple[UserHeader, ...] = ()
    measures: Measures = field(default_factory=Measures)
    format_version: int = FORMAT_VERSION
    type: Literal["header"] = "header"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One broadcast as one swarm process saw it arrive.

    Attributes:
        sequence: the publisher's sequence number, from 0; the bits above the lowest 24 hold the
            publisher's number.
        receivers: how many connections of this process it arrived on.
        first_ns, last_ns: delivery time to the first and to the last of them.
        histogram: delivery times to all of them; empty if there are too many broadcasts for one
            each, in which case the interval's histogram ``delivered`` covers them all.
    """

    sequence: int
    receivers: int
    first_ns: int
    last_ns: int
    histogram: str


@dataclass(frozen=True, slots=True)
class Interval:
    """About one second of one swarm process. Counts cover this interval alone.

    Attributes:
        process: the number of the swarm process, from 0.
        t_ns: end of the interval; ``duration_ns`` is its length.
        phase: the phase of the run that the interval lies in.
        open: connections open at its end.
        opened, failed, closed: connections that completed the handshake, that failed to, and that
            ended after it.
        close_codes: how the closed ones ended, by RFC 6455 section 7.4 code; 1006 stands for a
            connection that ended without a close frame.
        sent, received: data messages; ``sent_bytes`` and ``received_bytes`` are their payloads.
        unsolicited: received messages that this run did not cause, such as heartbeats.
        errors: what went wrong, by ``phase:cause``.
        integrity: the ledger's counts: expected, lost (below 0 if some that had been counted as
            lost arrived after all), missed (sent while the receiver was not connected), duplicated,
            reordered, corrupted.
        counts: what else the scenario counts, by ``scenario.what``.
        histograms: durations by name.
        deliveries: the broadcasts that arrived.
        cpu_ns: CPU time that the swarm process used.
        waited_ns: how long it was runnable but waited for a core.
    """

    process: int
    t_ns: int
    duration_ns: int
    phase: str
    open: int
    opened: int = 0
    failed: int = 0
    closed: int = 0
    sent: int = 0
    received: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    unsolicited: int = 0
    cpu_ns: int = 0
    waited_ns: int = 0
    clipped: int = 0
    close_codes: Mapping[int, int] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)
    integrity: Mapping[str, int] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    histograms: Mapping[str, str] = field(default_factory=dict)
    deliveries: tuple[Delivery, ...] = ()
    type: Literal["interval"] = "interval"


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading of a watched process tree, or of the kernel.

    Attributes:
        source: ``server``, ``swarm`` or ``kernel``.
        mark: the name of a reading taken deliberately at some moment of the run, empty otherwise.
        values: readings by name; the unit is the name's last part.
    """

    t_ns: int
    source: str
    values: Mapping[str, float]
    mark: str = ""
    type: Literal["sample"] = "sample"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: a phase began, a signal was sent, a failure was seen."""

    t_ns: int
    name: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    type: Literal["event"] = "event"


@dataclass(frozen=True, slots=True)
class Footer:
    """The last line: how the run ended. A record without one was cut off.

    Attributes:
        valid: whether the figures may be judged at all.
        reasons: why not, one sentence each.
        failures: what the target or a script failed at, so that the load ended early or never
            began, one sentence each.
        warnings: what a reader of the figures should know, one sentence each.
        interrupted: whether a user or a signal ended the run early.
    """

    t_ns: int
    valid: bool
    reasons: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    interrupted: bool = False
    type: Literal["footer"] = "footer"


Line = Header | Interval | Sample | Event | Footer

_LINE: Final[TypeAdapter[Line]] = TypeAdapter(
    Annotated[Header | Interval | Sample | Event | Footer, Field(discriminator="type")]
)
_TYPES: Final = frozenset({"header", "interval", "sample", "event", "footer"})


def encode_line(line: Line) -> bytes:
    """Encode one line, including its newline."""
    return _LINE.dump_json(line) + b"\n"


def decode_line(text: bytes | str) -> Line | None:
    """Decode one line; return None for a line type that this version does not know.

    Raises:
        ValueError: not JSON, or a known type with a missing or mistyped key.
        RecordError: the line is the header of a newer format.
    """
    try:
        raw = json.loads(text)
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None
    if not isinstance(raw, dict):
        raise ValueError(f"expected a JSON object, found {type(raw).__name__}")
    version = raw.get("format_version", FORMAT_VERSION)
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise RecordError(
            f"the record has format version {version}, this swarmgate reads up to "
            f"{FORMAT_VERSION}; use a newer swarmgate"
        )
    kind = raw.get("type")
    if not isinstance(kind, str) or kind not in _TYPES:
        return None
    try:
        return _LINE.validate_python(raw)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{place}: {first['msg']}") from error


class RecordWriter:
    """A writer that appends each line to a record at once: a few per second, so it costs little.

    The file is created with the writer, so that a bad path fails before the run.
    """

    def __init__(self, path: Path) -> None:
        """Create the file.

        Raises:
            RecordError: the file exists already or cannot be created.
        """
        self.path = path
        if path.exists():
            raise RecordError(
                f"{path} exists already; name another file, a record is never overwritten"
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: closing would try to write what is left in a buffer once more.
            self._file = path.open("xb", buffering=0)
        except OSError as error:
            raise RecordError(f"cannot write {path}: {os.strerror(error.errno or 0)}") from error

    def write(self, line: Line) -> None:
        """Append one line and pass it to the operating system.

        Raises:
            RecordCutError: it cannot be written.
        """
        self.write_encoded(encode_line(line))

    def write_encoded(self, text: bytes) -> None:
        """Append a line that :func:`encode_line` made elsewhere.

        Raises:
            RecordCutError: it cannot be written.
        """
        rest = memoryview(text)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            why = os.strerror(error.errno or 0)
            raise RecordCutError(
                f"cannot write {self.path}: {why}; the record is complete up to there"
            ) from error

    def close(self) -> None:
        """Close the file; writing afterwards is an error."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Record:
    """A record that was read back.

    Attributes:
        truncated: whether the last line was cut off, for instance by a kill in mid-write.
        footer: None if the run was cut off before its end.
    """

    path: Path
    header: Header
    intervals: tuple[Interval, ...]
    samples: tuple[Sample, ...]
    events: tuple[Event, ...]
    footer: Footer | None
    truncated: bool


def read_record(path: Path) -> Record:
    """Read a record, tolerating a truncated last line, unknown keys and unknown line types.

    Raises:
        RecordError: no such file, no header, a newer format, or a broken line that is not the last.
    """
    try:
        with path.open(encoding="utf-8", errors="surrogateescape") as file:
            lines, truncated = _read_lines(path, file)
    except OSError as error:
        raise RecordError(f"cannot read {path}: {os.strerror(error.errno or 0)}") from error
    if not lines or not isinstance(lines[0], Header):
        raise RecordError(f"{path} is no run record: its first line is not a header")
    return Record(
        path=path,
        header=lines[0],
        intervals=tuple(line for line in lines if isinstance(line, Interval)),
        samples=tuple(line for line in lines if isinstance(line, Sample)),
        events=tuple(line for line in lines if isinstance(line, Event)),
        footer=next((line for line in lines if isinstance(line, Footer)), None),
        truncated=truncated,
    )


def _read_lines(path: Path, file: TextIO) -> tuple[list[Line], bool]:
    lines: list[Line] = []
    broken: tuple[int, ValueError] | None = None
    for number, text in _numbered(file):
        if broken is not None:
            raise RecordError(f"{path}:{broken[0]}: {broken[1]}")
        try:
            line = decode_line(text)
        except ValueError as error:
            broken = (number, error)
        except RecordError as error:
            raise RecordError(f"{path}: {error}") from None
        else:
            if line is not None:
                lines.append(line)
    return lines, broken is not None


def _numbered(file: TextIO) -> Iterator[tuple[int, str]]:
    return ((number, text) for number, text in enumerate(file, 1) if text.strip())
