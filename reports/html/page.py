"""One record as a self-contained HTML page: it loads nothing, and reports validity first."""

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reports.figures import Catalogue, catalogue_of, figure
from reports.html.charts import charts
from reports.html.over_time import Phase, end_seconds, phases
from reports.limit import limit_of
from reports.record import Event, Header, Record, UserHeader
from reports.run_outcome import outcome_of
from reports.summary import DELIVERY, LEDGER, OWN, Summary, Totals, totals_of
from reports.terminal import drain_rows
from reports.units import (
    format_bytes,
    format_count,
    format_figure,
    format_rate,
    format_ratio,
    format_seconds,
)

if TYPE_CHECKING:
    from reports.histogram import Histogram

TEMPLATES: Final = Path(__file__).with_name("templates")
# A page is for reading; anything longer can be looked up in the record.
MOST_EVENTS: Final = 200
MOST_DETAIL: Final = 160
MOST_ROWS: Final = 1000

COLUMNS: Final = {"p50": "p50", "p90": "p90", "p99": "p99", "p999": "p99.9", "max": "max"}

# Durations whose 99th percentile is a tile, in addition to those that a scenario is about.
_HEADLINES: Final = ("latency", "delivered", "arrival", "iteration", "service_time")

# What the server used, in the order in which readers look for it.
SERVER: Final = tuple(
    f"server.{name}"
    for name in (
        *("memory_bytes", "rss_peak_bytes", "rss_growth_bytes", "memory_per_connection_bytes"),
        *("memory_growth_per_connection_bytes", "kernel_memory_per_connection_bytes"),
        *("cpu_ratio", "cpu_per_message_seconds", "processes", "threads", "files"),
    )
)
# What each swarm process measures of itself.
HEALTH: Final = ("lateness.p99_seconds", "loop_lag.p99_seconds", "gc_pause.max_seconds")

# RFC 6455 section 7.4.1, and 1006 for a connection that ended without a close frame.
CLOSE_CODES: Final = {
    1000: "normal closure",
    1001: "going away",
    1002: "protocol error",
    1003: "unsupported data",
    1005: "no code given",
    1006: "ended without a close frame",
    1007: "invalid payload",
    1008: "policy violation",
    1009: "message too big",
    1010: "extension missing",
    1011: "internal error",
    1012: "service restart",
    1013: "try again later",
    1014: "bad gateway",
}

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tile:
    """A headline figure, and the note next to it."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under column names; the first cell of a row names it."""

    title: str
    columns: Row
    rows: tuple[Row, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class RunVerdict:
    """Whether the figures may be judged, and whether the run held.

    Attributes:
        state: ``held``, ``failed`` or ``invalid``, which the style sheet colours.
        sentence: the same in words, so that no colour is needed.
        reasons: why not, or what failed; ``warnings`` is what a reader should know in any case.
    """

    state: str
    word: str
    sentence: str
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PhaseRow:
    """A phase of the run, and what happened in it, in order of time."""

    name: str
    begin: str
    length: str
    happenings: tuple[tuple[str, str, str], ...]


def html_report(record: Record) -> str:
    """Render the page of one record.

    Raises:
        ValueError: a histogram of the record cannot be read.
        KeyError: a line of the record lacks a key that its type requires.
    """
    totals = totals_of(record)
    summary = totals.summary()
    drawn = charts(record, totals)
    return rendered(
        "report.html.j2",
        header=record.header,
        verdict=verdict_of(record, summary),
        tiles=tuple(_tiles(summary)),
        asked=_asked(record, summary),
        setting=tuple(_setting(record.header)),
        tables=tuple(table for table in _tables(summary) if table.rows),
        charts=drawn,
        generator=_generator(totals, summary),
        timeline=_timeline(record),
        figures=_figures(summary),
        command=shlex.join(record.header.command),
        record_name=record.path.name,
    )


def rendered(template: str, **values: object) -> str:
    """Render one of our templates, in which all text is escaped."""
    page = _environment().get_template(template).render(values)
    # A lone surrogate, which a damaged or hostile record may contain, cannot be encoded.
    return page.encode("utf-8", "backslashreplace").decode()


@cache
def _environment() -> Environment:
    """Compile templates only once: a live page is rendered every two seconds."""
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def verdict_of(record: Record, summary: Summary) -> RunVerdict:
    """Describe whether the figures may be judged, and whether the run held."""
    if record.footer is None:
        word, sentence = (
            "Cut off",
            "The record has no end, so these figures cannot be used to judge the server.",
        )
        verdict = RunVerdict("invalid", word, sentence, summary.reasons, summary.warnings)
    else:
        verdict = judged(summary)
    if record.truncated:
        cut = "the last line of the record is incomplete and was left out"
        verdict = replace(verdict, warnings=(*verdict.warnings, cut))
    return verdict


def judged(summary: Summary, missed: Sequence[str] = ()) -> RunVerdict:
    """Return the verdict on a run that has ended.

    Args:
        summary: what was measured.
        missed: thresholds that do not hold, in addition to those of the run's header.
    """
    warnings = summary.warnings
    if not summary.valid:
        word, sentence = "Invalid", "These figures cannot be used to judge the server."
        if summary.interrupted:
            ended = "the run was interrupted: a person or a signal ended it early"
            warnings = (ended, *warnings)
        return RunVerdict("invalid", word, sentence, summary.reasons, warnings)
    if summary.interrupted:
        word, sentence = (
            "Valid, interrupted",
            "It was ended early; the figures cover the time until then.",
        )
        return RunVerdict("held", word, sentence, summary.reasons, warnings)
    if problems := (*outcome_of(summary).problems, *missed):
        sentence = "The generator kept up, so it is not the cause."
        return RunVerdict("failed", "Failed", sentence, problems, warnings)
    sentence = "Nothing failed, and the generator kept up."
    return RunVerdict("held", "Held", sentence, (), warnings)


def _tiles(summary: Summary) -> Iterator[Tile]:
    """Yield what readers look for first; what was not measured has no tile."""
    figures = summary.figures
    requested = format_count(figures["connections.requested"])
    yield Tile(
        "Connections opened",
        format_count(figures["connections.opened"]),
        f"of {requested}, {format_count(figures['connections.failed'])} failed",
    )
    yield Tile("Errors", format_count(figures["errors"]), _worst(summary.errors))
    yield from duration_tiles(summary)
    yield from _load_tiles(figures)
    yield from server_tiles(figures)


def duration_tiles(summary: Summary) -> Iterator[Tile]:
    """Yield the durations that readers look for first."""
    figures, catalogue = summary.figures, catalogue_of(summary.header)
    for name in headlines(summary):
        judged = f"{name}.p99_seconds"
        value = format_seconds(figures[judged])
        yield Tile(catalogue.figure(judged).title, value, _rest(figures, name))
    if (last := "delivery.last_seconds") in figures:
        value = format_seconds(figures[last])
        yield Tile(f"{figure(last).title}, mean", value, _before_last(figures))


def headlines(summary: Summary) -> list[str]:
    """Return the kinds of durations that readers look for first, if there were any."""
    names = dict.fromkeys((*summary.header.measures.main, *_HEADLINES))
    return [name for name in names if f"{name}.count" in summary.figures]


def _load_tiles(figures: Mapping[str, float]) -> Iterator[Tile]:
    if "messages.sent_per_second" in figures:
        yield Tile(
            "Messages sent",
            format_rate(figures["messages.sent_per_second"]),
            f"{format_rate(figures['messages.received_per_second'])} received",
        )
    if "integrity.expected" in figures:
        faults = ("lost", "duplicated", "reordered")
        total = sum(figures.get(f"integrity.{name}", 0.0) for name in faults)
        expected = format_count(figures["integrity.expected"])
        yield Tile(
            "Lost, duplicated or reordered",
            format_count(total),
            f"of {expected} messages expected{_corrupted(figures)}",
        )


def _corrupted(figures: Mapping[str, float]) -> str:
    # A corrupted message also counts as lost.
    count = figures.get("integrity.corrupted", 0.0)
    return f", {format_count(count)} arrived corrupted" if count else ""


def server_tiles(figures: Mapping[str, float]) -> Iterator[Tile]:
    """Yield what the server used."""
    if "server.memory_bytes" in figures:
        each = figures.get(
            "server.memory_per_connection_bytes",
            figures.get("server.memory_growth_per_connection_bytes"),
        )
        note = "" if each is None else f"{format_bytes(each)} a connection"
        title = f"{figure('server.memory_bytes').title} (PSS)"
        yield Tile(title, format_bytes(figures["server.memory_bytes"]), note)
    if "server.cpu_ratio" in figures:
        title = figure("server.cpu_ratio").title
        yield Tile(title, format_ratio(figures["server.cpu_ratio"]), "of a core")


def _worst(errors: Mapping[str, int]) -> str:
    if not errors:
        return ""
    kind, count = max(errors.items(), key=lambda item: item[1])
    return f"{kind} × {format_count(count)}"


def _rest(figures: Mapping[str, float], name: str) -> str:
    return ", ".join(
        f"{COLUMNS[key]} {format_seconds(figures[f'{name}.{key}_seconds'])}"
        for key in ("p50", "p999", "max")
    )


def _before_last(figures: Mapping[str, float]) -> str:
    return ", ".join(
        f"{name} {format_seconds(figures[f'delivery.{key}_seconds'])}"
        for name, key in DELIVERY.items()
        if key != "last" and f"delivery.{key}_seconds" in figures
    )


def _asked(record: Record, summary: Summary) -> Table:
    """Return what was requested next to what was achieved."""
    load, figures = record.header.load, summary.figures
    seconds = _measured_seconds(record)
    is_open_ended = bool(load.get("live")) and load.get("population") is None
    rows = [
        (
            "Connections",
            format_count(figures["connections.requested"]),
            (
                f"{format_count(figures['connections.opened'])} opened, "
                f"at {format_rate(figures.get('connections.opened_per_second', 0.0))}"
            ),
        ),
        (
            "Measured time",
            # A load of Locust's users lasts until it is stopped.
            "–" if is_open_ended else _or_dash(load.get("duration_seconds"), format_seconds),
            _or_dash(seconds or None, format_seconds),
        ),
    ]
    rate = load.get("total_rate", load.get("rate"))
    timed = figures.get("lateness.count")
    asked_seconds = float(load.get("duration_seconds") or seconds)
    duration = seconds if is_open_ended else min(seconds, asked_seconds)
    if rate is not None or timed:
        achieved = timed / duration if timed and duration else None
        rows.append(("Rate", _or_dash(rate, format_rate), _or_dash(achieved, format_rate)))
    return Table(
        "Requested and achieved",
        ("", "requested", "achieved"),
        tuple(rows),
        _model(rate, summary),
    )


def _model(rate: float | None, summary: Summary) -> str:
    figures = summary.figures
    if summary.users:
        return "Each kind of users has its own model."
    if rate is not None or figures.get("lateness.count"):
        arrivals = summary.header.load.get("arrivals", "constant")
        return f"Open model, {arrivals} arrivals: messages come from a schedule, answered or not."
    if figures["messages.sent"]:
        return "Closed model: the next message is sent after the reply to the one before."
    return "Nothing was sent: the connections were only held open."


def _or_dash(value: Any, format_value: Any) -> str:  # noqa: ANN401 - a number of the load, or nothing
    return "–" if value is None else str(format_value(float(value)))


def _measured_seconds(record: Record) -> float:
    """Return the length of the measured phase in the process that measured longest."""
    by_process: dict[int, int] = {}
    for line in record.intervals:
        if line.phase == "measure":
            by_process[line.process] = by_process.get(line.process, 0) + line.duration_ns
    return max(by_process.values(), default=0) / 1e9


def _setting(header: Header) -> Iterator[tuple[str, str]]:
    """Yield what was run, and on what."""
    yield "Scenario", header.scenario
    if header.parameters:
        yield "Parameters", _pairs(header.parameters)
    yield "Target", header.target.url
    yield "Address", header.target.address
    if header.target.command:
        yield "Started with", shlex.join(header.target.command)
    yield "Started at", header.started_at
    machine = header.machine
    yield (
        "Machine",
        (
            f"{machine.hostname}, {machine.cpu_model}, {machine.cores} cores, "
            f"{format_bytes(machine.memory_bytes)} memory"
        ),
    )
    yield "Kernel", machine.kernel
    yield "Python", machine.python
    yield "Versions", ", ".join(f"{name} {held}" for name, held in header.versions.items())
    if header.git_commit:
        yield "Git commit", header.git_commit
    processes = header.load.get("processes")
    if processes is not None:
        yield "Swarm processes", str(processes)
    yield "Seed", str(header.seed)
    yield "Run", header.run_id


def _pairs(values: Mapping[str, Any]) -> str:
    text = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in values.items())
    return text if len(text) <= MOST_DETAIL else f"{text[: MOST_DETAIL - 1]}…"


def _tables(summary: Summary) -> Iterator[Table]:
    """Yield the result tables; the caller leaves out those without rows."""
    figures = summary.figures
    yield _users(summary)
    catalogue = catalogue_of(summary.header)
    yield durations(figures, catalogue)
    for name, own in summary.users.items():
        yield durations(own.figures, catalogue, title=f"Durations of {name}")
    broadcasts = format_count(figures.get("delivery.messages", 0.0))
    yield Table(
        "Delivery of a broadcast",
        ("receivers", "mean over broadcasts"),
        tuple(
            (label, format_seconds(figures[f"delivery.{name}_seconds"]))
            for label, name in {**DELIVERY, "last, of the slowest broadcast": "last_max"}.items()
            if f"delivery.{name}_seconds" in figures
        ),
        f"From the intended send time, over {broadcasts} broadcasts.",
    )
    yield Table(
        "Messages",
        ("", "count"),
        tuple(
            (name.replace("_", " "), format_count(figures[key]))
            for name, key in (
                *((name, f"messages.{name}") for name in ("sent", "received", "unsolicited")),
                *((name, f"integrity.{name}") for name in LEDGER),
            )
            if key in figures
        ),
        "Missed: sent while its receiver was not connected."
        if figures.get("integrity.missed")
        else "",
    )
    yield Table("The target’s stop", ("", ""), tuple(drain_rows(summary)))
    yield counted("Errors by kind", summary.errors)
    yield close_codes(summary)
    yield counted("Negotiated in the handshake", summary.negotiated)
    yield counted("Counted by the scenario", summary.counts)
    yield _server(figures)


def close_codes(summary: Summary) -> Table:
    """Return how connections ended."""
    return Table(
        "Close codes",
        ("code", "connections"),
        tuple(
            (f"{code} {CLOSE_CODES.get(code, '')}".strip(), format_count(count))
            for code, count in sorted(summary.close_codes.items())
        ),
    )


def counted(title: str, counts: Mapping[str, int]) -> Table:
    """Return the count of each, most frequent first."""
    most_first = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rows = tuple((name, format_count(count)) for name, count in most_first[:MOST_ROWS])
    return Table(title, ("", "count"), rows)


def _users(summary: Summary) -> Table:
    """Return the kinds of users side by side."""
    return Table(
        "Kinds of users",
        ("", "share", "scenario", "opened", "errors", "sent", "received", "p50", "p99", "lost"),
        tuple(_user_row(user, summary.users[user.name]) for user in summary.header.users),
        "p50 and p99 are those of the main duration of each kind, such as latency, delivery or "
        "iteration.",
    )


def _user_row(user: UserHeader, own: Summary) -> Row:
    figures = own.figures
    timed = next(iter(headlines(own)), "")
    return (
        user.name,
        format_ratio(user.share),
        user.scenario,
        format_count(figures["connections.opened"]),
        format_count(figures["errors"]),
        format_count(figures["messages.sent"]),
        format_count(figures["messages.received"]),
        _or_dash(figures.get(f"{timed}.p50_seconds"), format_seconds),
        _or_dash(figures.get(f"{timed}.p99_seconds"), format_seconds),
        _or_dash(figures.get("integrity.lost"), format_count),
    )


def durations(
    figures: Mapping[str, float],
    catalogue: Catalogue,
    shown: Collection[str] = (),
    title: str = "Durations",
) -> Table:
    """Return every duration measured on the server, except those already shown."""
    names = [name.removesuffix(".count") for name in figures if name.endswith(".count")]
    left_out = {*OWN, *shown}
    timed = [name for name in names if name not in left_out and f"{name}.p50_seconds" in figures]
    rows = tuple(
        (
            heading,
            *(format_seconds(figures[f"{kind}.{key}_seconds"]) for key in COLUMNS),
            format_count(figures[f"{kind}.count"]),
        )
        for kind, heading in catalogue.headings(timed).items()
    )
    both = {"latency", "service_time"} <= set(timed)
    note = "Latency is from the intended send time, service time from the actual one."
    return Table(title, ("", *COLUMNS.values(), "count"), rows, note if both else "")


def _server(figures: Mapping[str, float]) -> Table:
    return Table(
        "Server",
        ("", "measured"),
        tuple(
            (figure(name).title, format_figure(name, figures[name]))
            for name in SERVER
            if name in figures
        ),
        "The whole process tree; memory is PSS unless RSS is stated; CPU in the measured phase, "
        "of a core.",
    )


def _generator(totals: Totals, summary: Summary) -> Table:
    """Return how each swarm process kept up; each is judged separately."""
    ratios, runnable = totals.own_cpu_ratios(), totals.own_runnable_ratios()
    limit = limit_of(summary.figures)
    rows = []
    for process in sorted(totals.open_by_process):
        own: Mapping[str, Histogram] = totals.own.get(process, {})
        cells = [
            format_seconds(own[name].percentile_ns(percentile) / 1e9)
            if name in own and own[name].count
            else "–"
            for name, percentile in (("lateness", 99), ("loop_lag", 99), ("gc_pause", 100))
        ]
        cells += [_or_dash(it.get(process), format_ratio) for it in (ratios, runnable)]
        rows.append((str(process), *cells))
    return Table(
        "Generator health",
        (
            "swarm process",
            *(figure(name).label for name in HEALTH),
            *("CPU of a core", "ran or waited for a core"),
        ),
        tuple(rows[:MOST_ROWS]),
        "Lateness: actual minus intended send time. All in the measured phase and its collection."
        + (f" The limit: {limit}." if limit else ""),
    )


def _timeline(record: Record) -> tuple[PhaseRow, ...]:
    """Return the phases and what happened in each; equal events of many processes are merged."""
    begun = list(phases(record))
    first = begun[0].begin if begun else end_seconds(record)
    parts = [Phase("before", 0.0, first), *begun]
    events = sorted(
        (event for event in record.events if event.name != "phase"), key=lambda event: event.t_ns
    )
    rows = []
    for number, phase in enumerate(parts):
        after = parts[number + 1].begin if number + 1 < len(parts) else float("inf")
        within = [event for event in events if phase.begin <= event.t_ns / 1e9 < after]
        if number or within:
            happenings = tuple(_happenings(within))[:MOST_EVENTS]
            length = format_seconds(phase.end - phase.begin)
            rows.append(PhaseRow(phase.name, format_seconds(phase.begin), length, happenings))
    return tuple(rows)


def _happenings(events: list[Event]) -> Iterator[tuple[str, str, str]]:
    """Yield (when, what, details), grouping events with the same name."""
    order = list(dict.fromkeys(event.name for event in events))
    for name, group in groupby(
        sorted(events, key=lambda event: order.index(event.name)), key=lambda event: event.name
    ):
        held = list(group)
        when = format_seconds(held[0].t_ns / 1e9)
        if len(held) == 1:
            yield when, name.replace("_", " "), _pairs(held[0].detail)
        elif all("process" in event.detail for event in held):
            until = format_seconds(held[-1].t_ns / 1e9)
            yield f"{when} to {until}", f"{name.replace('_', ' ')} × {len(held)}", ""
        else:
            for event in held:
                when = format_seconds(event.t_ns / 1e9)
                yield when, name.replace("_", " "), _pairs(event.detail)


def _figures(summary: Summary) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name, format_figure(name, value)) for name, value in sorted(summary.judged_figures.items())
    )[:MOST_ROWS]
