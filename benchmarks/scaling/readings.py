"""From folders of records to series: runs of one scenario that differ in one thing."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from benchmarks.judging.alike import without_port
from benchmarks.scaling.laws import KERNEL_MEMORY, Axis
from reports.limit import limit_of
from reports.printable import printable
from reports.record import RECORD_SUFFIX, Header, Record, RecordError, Sample, read_record
from reports.summary import MARK_MEASURE_BEGIN, MARK_START, Summary, summarise

# The parts of a load that change its figures. The generator's processes, the length of the run and
# the way connections open may differ from size to size.
_SAME_LOAD: Final = (
    *("per_connection", "profile", "think", "arrivals", "payload_bytes", "payload_sizes"),
    *("payload_file", "binary", "ready", "answers", "population"),
)
_SAME_OPTIONS: Final = ("headers", "subprotocols", "deflate", "unix_socket", "proxy")
# Two boots of the same virtual machine differ by some kilobytes of memory.
_SAME_MEMORY: Final = 0.01
_WORKERS: Final = re.compile(
    r"(?:(?<=\s)-w|[-\w]*workers|WEB_CONCURRENCY)[\s=]*(\d+)\b", re.IGNORECASE
)


class SeriesError(Exception):
    """Records that do not form a series; the message names what is wrong, and what to do."""


class TooFewError(SeriesError):
    """Records that belong together but are too few to say anything."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One run of a series.

    Attributes:
        size: connections, messages per second or workers, whichever the series varies.
        limit: what limited the run; empty if nothing did, or if that could not be seen.
    """

    path: Path
    size: float
    figures: Mapping[str, float]
    limit: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A record that says nothing here, and why."""

    path: Path
    why: str


@dataclass(frozen=True, slots=True)
class Series:
    """Runs of one scenario that differ in one thing.

    Attributes:
        header: the header of the first run, for what all have in common.
        workers: the server's workers according to its command; 1 if it does not say.
        sends: whether the load sends messages.
        shares_machine: whether server and generator ran on the same machine.
        notes: what differs between records and may matter, one sentence each.
    """

    header: Header
    axis: Axis
    readings: tuple[Reading, ...]
    workers: int
    sends: bool
    shares_machine: bool
    notes: tuple[str, ...] = ()

    @property
    def sizes(self) -> tuple[float, ...]:
        """The distinct sizes, smallest first."""
        return tuple(sorted({it.size for it in self.readings}))


@dataclass(frozen=True, slots=True)
class _Run:
    """One valid record that was read; ``sizes`` is what may change in a series, as requested."""

    path: Path
    header: Header
    figures: Mapping[str, float]
    sizes: Mapping[Axis, float | None]


def read_series(folders: Sequence[Path]) -> tuple[tuple[Series, ...], tuple[LeftOut, ...]]:
    """Read folders of records: each has one scenario; folders with the same one form a series.

    Records that are invalid, cut off, interrupted or damaged are left out.

    Raises:
        RecordError: no such folder, or no record in it.
        SeriesError: records that do not belong together, or differ in several things.
        TooFewError: records that differ in nothing.
    """
    runs: dict[str, list[_Run]] = {}
    left_out: list[LeftOut] = []
    for folder in folders:
        own = [_read(path) for path in _records_in(folder)]
        left_out += [it for it in own if isinstance(it, LeftOut)]
        valid = [it for it in own if isinstance(it, _Run)]
        _check_scenario(folder, valid)
        for run in valid:
            runs.setdefault(run.header.scenario, []).append(run)
    return tuple(_series(found) for found in runs.values()), tuple(left_out)


def workers_of(command: Sequence[str]) -> int:
    """Return the number of workers that a server's command asks for, 1 if it does not say.

    The number follows ``--workers``, ``-w``, or a word like ``WEB_CONCURRENCY=``.
    """
    found = _WORKERS.search(" ".join(command))
    return int(found[1]) if found else 1


def _records_in(folder: Path) -> list[Path]:
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise RecordError(f"no folder {folder}; name one with records, *{RECORD_SUFFIX}")
    found = sorted(folder.rglob(f"*{RECORD_SUFFIX}"))
    if not found:
        raise RecordError(f"no record (*{RECORD_SUFFIX}) in {folder}")
    return found


def _read(path: Path) -> _Run | LeftOut:
    try:
        return _read_whole(path)
    except RecordError as error:
        return LeftOut(path, printable(str(error)))
    except Exception as error:  # noqa: BLE001 - a line may contain anything
        return LeftOut(path, printable(f"damaged ({type(error).__name__}: {error})"))


def _read_whole(path: Path) -> _Run | LeftOut:
    record = read_record(path)
    summary = summarise(record)
    if why := _unfit(summary):
        return LeftOut(path, printable(why))
    header = record.header
    rate = header.load.get("rate")
    sizes = {
        Axis.CONNECTIONS: float(header.load["connections"]),
        Axis.RATE: None if rate is None else float(rate),
        Axis.WORKERS: float(workers_of(header.target.command)),
    }
    return _Run(path, header, {**summary.figures, **_kernel_memory(record)}, sizes)


def _unfit(summary: Summary) -> str:
    """Return why a run must not be fitted; empty if it may be."""
    if summary.interrupted:
        return "interrupted"
    if not summary.valid:
        return f"invalid: {'; '.join(summary.reasons) or 'no reason was recorded'}"
    if summary.failures:
        return "; ".join(summary.failures)
    asked = summary.header.load.get("connections", 0)
    opened = summary.figures.get("connections.open", 0)
    if opened != asked:
        return f"{opened:,.0f} of {asked:,} connections were open"
    return ""


def _kernel_memory(record: Record) -> dict[str, float]:
    start, begin = (
        next((it for it in record.samples if (it.source, it.mark) == ("kernel", mark)), None)
        for mark in (MARK_START, MARK_MEASURE_BEGIN)
    )
    if start is None or begin is None:
        return {}
    return {KERNEL_MEMORY: _held(begin) - _held(start)}


def _held(sample: Sample) -> float:
    return sample.values["tcp_memory_bytes"] + sample.values["slab_bytes"]


def _check_scenario(folder: Path, runs: Sequence[_Run]) -> None:
    names = {it.header.scenario: it.path for it in runs}
    if len(names) > 1:
        listed = ", ".join(f"{name} ({path.name})" for name, path in names.items())
        raise SeriesError(
            f"{folder} has records of several scenarios: {listed}; a folder must have one"
        )


def _series(runs: Sequence[_Run]) -> Series:
    first = runs[0]
    for run in runs[1:]:
        if differing := next(_differences(first.header, run.header), None):
            raise SeriesError(
                f"{run.path} does not belong to the series of {first.path}: {differing}; "
                "take one of them out of the folder"
            )
    axis = _axis(runs)
    load = first.header.load
    return Series(
        header=first.header,
        axis=axis,
        readings=tuple(_reading(run, axis) for run in runs),
        workers=workers_of(first.header.target.command),
        sends=any(run.figures.get("messages.sent", 0) > 0 for run in runs)
        or load.get("rate") is not None,
        shares_machine=bool(first.header.target.command or first.header.target.pids),
        notes=tuple(_notes(runs)),
    )


def _reading(run: _Run, axis: Axis) -> Reading:
    size = run.sizes[axis]
    if size is None:
        raise SeriesError(f"{run.path} has no rate, but the others have one; give all of them one")
    limit = limit_of(run.figures)
    return Reading(run.path, size, run.figures, limit.parts if limit else ())


def _axis(runs: Sequence[_Run]) -> Axis:
    changing = [axis for axis in Axis if len({run.sizes[axis] for run in runs}) > 1]
    if not changing:
        sizes = runs[0].sizes
        listed = ", ".join(
            f"{value:,g} {axis}" for axis, value in sizes.items() if value is not None
        )
        raise TooFewError(
            f"all {len(runs)} valid runs of {runs[0].header.scenario} are of one size ({listed}); "
            "a law needs three sizes or more"
        )
    if len(changing) > 1:
        raise SeriesError(
            f"the runs of {runs[0].header.scenario} differ in {' and '.join(changing)}; "
            "a series changes one of them"
        )
    return changing[0]


def _differences(one: Header, other: Header) -> Iterator[str]:
    """Yield the conditions in which two runs differ but must not."""
    if abs(one.machine.memory_bytes / other.machine.memory_bytes - 1) > _SAME_MEMORY:
        yield "another machine (memory)"
    for name in ("cpu_model", "cores"):
        yield from _differing(
            f"another machine ({name})", getattr(one.machine, name), getattr(other.machine, name)
        )
    yield from _differing("parameters", dict(one.parameters), dict(other.parameters))
    yield from _differing("address", urlsplit(one.target.url).path, urlsplit(other.target.url).path)
    yield from _differing("server", _command(one), _command(other))
    yield from _differing_in(_SAME_LOAD, one.load, other.load)
    yield from _differing_in(
        _SAME_OPTIONS, one.load.get("options", {}), other.load.get("options", {})
    )


def _differing(what: str, one: object, other: object) -> Iterator[str]:
    if one != other:
        yield f"{what}: {other!r} instead of {one!r}"


def _differing_in(
    names: Iterable[str], one: Mapping[str, Any], other: Mapping[str, Any]
) -> Iterator[str]:
    for name in names:
        # An older record contains less.
        if name in one and name in other:
            yield from _differing(name, one[name], other[name])


def _command(header: Header) -> str:
    """Return a server's command without what changes from run to run of a series."""
    return _WORKERS.sub("{workers}", " ".join(without_port(header.target)))


def _notes(runs: Sequence[_Run]) -> Iterator[str]:
    headers = [run.header for run in runs]
    for what, seen in (
        ("kernels", {it.machine.kernel for it in headers}),
        ("Python versions", {it.machine.python for it in headers}),
        ("commits", {it.git_commit or "unknown" for it in headers}),
        ("server versions", {it.versions.get("uvicorn", "unknown") for it in headers}),
    ):
        if len(seen) > 1:
            yield f"the records are of several {what}: {', '.join(sorted(seen))}"
