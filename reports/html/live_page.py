"""The page of runs in progress: their verdict so far, then what a tester looks for, each once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from reports.figures import catalogue_of, figure
from reports.html.charts import Chart, live_charts
from reports.html.page import (
    HEALTH,
    RunVerdict,
    Table,
    Tile,
    close_codes,
    counted,
    duration_tiles,
    durations,
    headlines,
    judged,
    rendered,
    server_tiles,
)
from reports.html.trend import Trend
from reports.limit import limit_of
from reports.summary import Summary, Totals
from reports.terminal import Progress
from reports.units import format_bytes, format_count, format_rate, format_ratio, format_seconds

if TYPE_CHECKING:
    from reports.histogram import Histogram

# What is shown whenever there is a ledger; the rest is shown only if it is not 0.
_ALWAYS: Final = ("expected", "lost", "duplicated", "reordered")
_AT_TIMES: Final = {"missed": "missed", "late": "late", "corrupted": "arrived corrupted"}
_PHASES: Final = {
    "": "starting",
    "open": "opening connections",
    "measure": "measuring",
    "collect": "waiting for outstanding messages",
    "close": "closing connections",
}


@dataclass(frozen=True, slots=True)
class Worker:
    """One swarm process, as its leader sees it.

    Attributes:
        open: the number of connections it has now.
        health: whether it keeps up, in a few words; ``is_well`` is the same for the style sheet.
        resident_bytes: 0 if it was not read.
        clock_error_ns: by how much its clock may be off, 0 if it is the reference clock.
    """

    process: int
    host: str
    open: int
    health: str
    is_well: bool
    resident_bytes: float = 0.0
    clock_error_ns: int = 0


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended.

    Attributes:
        missed: thresholds that do not hold, in addition to those of the run's header.
        status: the exit status in words.
    """

    summary: Summary
    missed: tuple[str, ...]
    status: str


@dataclass(frozen=True, slots=True)
class LiveRun:
    """All that is known about one run.

    Attributes:
        name: its name, such as the class of its users.
        url: the address that it connects to.
        problems: why its figures could not be judged if it ended now; ``failures`` is what the
            target failed at.
        opening: the number of connections being opened now.
        end: None while it is in progress.
    """

    name: str
    url: str
    record: str
    progress: Progress
    trend: Trend
    workers: Sequence[Worker]
    problems: Sequence[str] = ()
    failures: Sequence[str] = ()
    opening: int = 0
    end: End | None = None

    @property
    def asked(self) -> int:
        """The number of connections most recently requested."""
        asked = self.trend.asked()
        return asked[-1][1] if asked else self.progress.requested


@dataclass(frozen=True, slots=True)
class _Section:
    """One run, ready to be shown."""

    name: str
    lead: str
    verdict: RunVerdict
    tiles: tuple[Tile, ...]
    limit: str
    charts: tuple[Chart, ...]
    tables: tuple[Table, ...]
    durations: Table
    workers: Table
    unwell: frozenset[str]
    record: str


def live_page(runs: Sequence[LiveRun], script: str, problem: str = "") -> str:
    """Render the page; ``script`` is the address of the script that keeps it up to date."""
    return rendered("live.html.j2", part=live_part(runs, problem), script=script)


def live_part(runs: Sequence[LiveRun], problem: str = "") -> str:
    """Render the part of the page that changes; ``problem`` is why there are no runs."""
    return rendered("live_part.html.j2", sections=[_section(run) for run in runs], problem=problem)


def _section(run: LiveRun) -> _Section:
    totals = run.progress.totals
    summary = run.end.summary if run.end else _so_far(run)
    figures, workers = summary.figures, run.workers
    scenario = summary.header.scenario
    now = f"ended, {run.end.status}" if run.end else _PHASES.get(totals.phase, totals.phase)
    limit = limit_of(figures)
    return _Section(
        name=run.name,
        lead=f"{scenario} on {run.url}: {now}, after {format_seconds(run.trend.seconds)}",
        verdict=judged(summary, run.end.missed) if run.end else _verdict(summary),
        tiles=tuple(_tiles(run, summary)),
        limit="not known yet: no load was measured" if limit is None else str(limit),
        charts=live_charts(run.trend, summary.header),
        tables=tuple(_tables(run, summary)),
        durations=durations(
            figures, catalogue_of(summary.header), headlines(summary), "Other durations"
        ),
        workers=_workers(totals, workers),
        unwell=frozenset(str(it.process) for it in workers if not it.is_well),
        record=run.record,
    )


def _so_far(run: LiveRun) -> Summary:
    """Return what would be reported if the run ended now."""
    return replace(
        run.progress.totals.summary(),
        valid=not run.problems,
        reasons=tuple(run.problems),
        failures=tuple(run.failures),
    )


def _verdict(summary: Summary) -> RunVerdict:
    """Return the verdict so far."""
    verdict = judged(summary)
    tried = summary.figures["connections.opened"] + summary.figures["connections.failed"]
    if verdict.state == "invalid":
        return verdict
    if verdict.state == "failed":
        sentence = "The generator keeps up, so it is not the cause."
        return replace(verdict, word="Failed so far", sentence=sentence)
    if not tried:
        return RunVerdict("waiting", "Starting", "No connection has been attempted yet.", (), ())
    sentence = "Nothing has failed, and the generator keeps up."
    return replace(verdict, word="Valid so far", sentence=sentence)


def _tiles(run: LiveRun, summary: Summary) -> Iterator[Tile]:
    """Yield the headline figures: current ones during the run, final ones once it has ended."""
    figures, progress = summary.figures, run.progress
    if run.end:
        asked = f"of {format_count(figures['connections.requested'])} requested"
        yield Tile("Connections opened", format_count(figures["connections.opened"]), asked)
    else:
        asked = f"of {format_count(run.asked)} requested"
        opening = f", {format_count(run.opening)} being opened" if run.opening else ""
        is_open = sum(worker.open for worker in run.workers)
        yield Tile("Open now", format_count(is_open), asked + opening)
    yield from duration_tiles(summary)
    if figures["messages.sent"]:
        yield _messages(run, summary)
    if run.end:
        yield from server_tiles(figures)
        return
    if progress.server_memory_bytes is not None:
        yield Tile(
            f"{figure('server.memory_bytes').title} now", format_bytes(progress.server_memory_bytes)
        )
    if progress.server_cpu_ratio is not None:
        yield Tile(
            f"{figure('server.cpu_ratio').title} now",
            format_ratio(progress.server_cpu_ratio),
            "of a core",
        )


def _messages(run: LiveRun, summary: Summary) -> Tile:
    figures, load = summary.figures, summary.header.load
    rate = load.get("total_rate", load.get("rate"))
    model = "closed model" if rate is None else f"open model, {format_rate(float(rate))} requested"
    # If each message expects an answer, the ledger shows their number.
    is_round_trip = summary.header.measures.are_replies
    in_all = "" if is_round_trip else f"{format_count(figures['messages.sent'])} sent in total, "
    if not run.end:
        received = format_rate(run.progress.rate_received)
        sent = format_rate(run.progress.rate_sent)
        return Tile("Sent now", sent, f"{received} received now, {in_all}{model}")
    sent = format_rate(figures.get("messages.sent_per_second", 0.0))
    received = format_rate(figures.get("messages.received_per_second", 0.0))
    return Tile("Messages sent", sent, f"{received} received, {in_all}{model}")


def _tables(run: LiveRun, summary: Summary) -> Iterator[Table]:
    if (ledger := _ledger(run, summary)) is not None:
        yield ledger
    none = "" if summary.errors else "None."
    yield replace(counted("Errors by cause", summary.errors), note=none)
    yield replace(
        close_codes(summary), note="" if summary.close_codes else "No connection has ended."
    )
    if counts := {name: count for name, count in summary.counts.items() if count}:
        yield counted("Counted by the scenario", counts)
    if summary.negotiated:
        yield counted("Negotiated in the handshake", summary.negotiated)


def _ledger(run: LiveRun, summary: Summary) -> Table | None:
    """Return the fate of the messages, or None if nothing is expected of them."""
    figures = summary.figures
    counts = {name: figures.get(f"integrity.{name}", 0.0) for name in (*_ALWAYS, *_AT_TIMES)}
    is_round_trip = summary.header.measures.are_replies
    rows = {name: counts[name] for name in _ALWAYS}
    note = ""
    if is_round_trip and not run.end:
        sent, answered = figures["messages.sent"], figures.get("latency.count", 0.0)
        rows["expected"] = max(sent, counts["expected"])
        rows["unanswered so far"] = max(0.0, sent - answered - counts["lost"])
        note = (
            "A message counts as lost if it is still unanswered when --reply-timeout, its "
            "connection or the load ends."
        )
    elif not run.end and summary.header.load.get("rounds"):
        note = "Expected and lost messages are counted at the end of each round."
    elif not run.progress.totals.integrity:
        return None
    rows |= {label: counts[name] for name, label in _AT_TIMES.items() if counts[name]}
    cells = tuple((name, format_count(count)) for name, count in rows.items())
    return Table("Ledger", ("", "messages"), cells, note)


def _workers(totals: Totals, workers: Sequence[Worker]) -> Table:
    """Return a table that shows for each generator whether its figures can be trusted."""
    cpu_ratios = totals.own_cpu_ratios()
    rows = []
    for worker in workers:
        own: Mapping[str, Histogram] = totals.own.get(worker.process, {})
        clock = worker.clock_error_ns
        rows.append(
            (
                str(worker.process),
                worker.host,
                worker.health,
                format_count(worker.open),
                _ratio(cpu_ratios.get(worker.process)),
                format_bytes(worker.resident_bytes) if worker.resident_bytes else "–",
                *(
                    format_seconds(own[name].percentile_ns(percentile) / 1e9)
                    if name in own and own[name].count
                    else "–"
                    for name, percentile in (("lateness", 99), ("loop_lag", 99), ("gc_pause", 100))
                ),
                f"± {format_seconds(clock / 1e9)}" if clock else "the same",
            )
        )
    columns = (
        *("worker", "machine", "health", "open", "CPU of a core", "resident"),
        *(figure(name).label for name in HEALTH),
        "clock",
    )
    return Table("Workers", columns, tuple(rows))


def _ratio(value: float | None) -> str:
    return "–" if value is None else format_ratio(value)
