"""What a user sees in a terminal: a live view while a run is in progress, its summary at the end.

The live view goes to standard error: on a terminal as a panel that redraws itself, otherwise as
plain lines. The summary is text for standard output.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from reports.figures import CATALOGUE, catalogue_of, figure
from reports.limit import limit_of
from reports.printable import printable
from reports.record import Event, Footer, Header, Interval, Line
from reports.summary import DELIVERY, HANDSHAKE, LEDGER, OWN, Summary, Totals
from reports.units import format_bytes, format_count, format_rate, format_ratio, format_seconds

_PLAIN_SECONDS: Final = 5.0
# The others last only a moment; a log is read for what takes time.
_PRINTED_PHASES: Final = ("open", "measure", "drain", "collect")
_REFRESH_PER_SECOND: Final = 4


def result_console(width: int) -> Console:
    """Return the console that prints a result on standard output.

    Args:
        width: the number of columns if that is a file or a pipe, unless COLUMNS is set.
    """
    console = Console(highlight=False, markup=False)
    if console.is_terminal or os.environ.get("COLUMNS", "").isdigit():
        return console
    return Console(highlight=False, markup=False, width=width)


class Progress:
    """What is known about a run in progress, from the lines of its record so far."""

    def __init__(self) -> None:
        self.totals = Totals()
        self.rate_sent = 0.0
        self.rate_received = 0.0
        self._sent: dict[int, float] = {}
        self._received: dict[int, float] = {}
        self._cpu: tuple[int, float] | None = None
        self.server_cpu_ratio: float | None = None
        self.server_memory_bytes: float | None = None
        self._phase_begun = time.monotonic()
        self._phase_seconds: float | None = None
        self._open_at_phase = 0
        self.has_shown_error = False

    def add(self, line: Line) -> None:
        """Add one line."""
        self.totals.add(line)
        if isinstance(line, Event) and line.name == "phase":
            self._phase_begun = time.monotonic()
            self._phase_seconds = line.detail.get("seconds")
            self._open_at_phase = self.totals.open
        elif isinstance(line, Interval) and line.duration_ns:
            self._sent[line.process] = line.sent / line.duration_ns * 1e9
            self._received[line.process] = line.received / line.duration_ns * 1e9
            self.rate_sent, self.rate_received = (
                sum(self._sent.values()),
                sum(self._received.values()),
            )
        elif line.type == "sample" and line.source == "server":
            self._note_cpu(line.t_ns, line.values["cpu_seconds"])
            # Memory is not read while messages are timed: keep showing the last value.
            self.server_memory_bytes = line.values.get("pss_bytes", self.server_memory_bytes)

    def _note_cpu(self, t_ns: int, cpu_seconds: float) -> None:
        if self._cpu is not None and t_ns - self._cpu[0] > 0.2e9:
            self.server_cpu_ratio = (cpu_seconds - self._cpu[1]) / (t_ns - self._cpu[0]) * 1e9
        self._cpu = (t_ns, cpu_seconds)

    @property
    def requested(self) -> int:
        """The number of connections that the run should open."""
        header = self.totals.header
        return int(header.load["connections"]) if header else 0

    def done_ratio(self) -> float | None:
        """Return the completed share of the phase, or None if it cannot be known."""
        if self.totals.phase == "open" and self.requested:
            return self.totals.open / self.requested
        if self._phase_seconds:
            return min(1.0, (time.monotonic() - self._phase_begun) / self._phase_seconds)
        return None

    def seconds_left(self) -> float | None:
        """Estimate the time left in this phase."""
        elapsed = time.monotonic() - self._phase_begun
        if self.totals.phase == "open":
            opened = self.totals.open - self._open_at_phase
            return (self.requested - self.totals.open) * elapsed / opened if opened > 0 else None
        if self._phase_seconds:
            return max(0.0, self._phase_seconds - elapsed)
        return None


@contextmanager
def live_view(
    console: Console, title: str = "", *, quiet: bool = False
) -> Iterator[Callable[[Line], None]]:
    """Show a run in progress; yield a function that accepts every line of its record.

    Args:
        console: where to show it: as a panel on a terminal, as plain lines otherwise.
        title: the text above it, such as which of several runs this is.
        quiet: show nothing.
    """
    progress = Progress()
    if quiet:
        yield lambda _line: None
    elif console.is_terminal:
        with Live(
            get_renderable=lambda: _panel(progress, title),
            console=console,
            refresh_per_second=_REFRESH_PER_SECOND,
            transient=True,
        ):

            def add(line: Line) -> None:
                progress.add(line)
                for text in _printed_texts(line, progress):
                    console.print(Text(printable(text)), soft_wrap=True)

            yield add
    else:
        yield _plain_lines(console, progress, title)


def _printed_texts(line: Line, progress: Progress) -> Iterator[str]:
    """Yield what a swarm process's script printed, and the first exception that scripts raised."""
    if not isinstance(line, Event):
        return
    if line.name == "printed":
        yield f"swarm process {line.detail['process']}: {line.detail['text']}"
    elif line.name == "script_error" and not progress.has_shown_error:
        progress.has_shown_error = True
        yield f"swarm process {line.detail['process']}: {line.detail['kind']}"
        yield from line.detail["traceback"].splitlines()


def _panel(progress: Progress, title: str) -> RenderableType:
    totals = progress.totals
    grid = Table.grid(padding=(0, 2))
    for _ in range(2):
        grid.add_column(style="dim", justify="right")
        grid.add_column(min_width=26)
    cells = list(live_rows(progress))
    for left, right in zip(cells[::2], [*cells[1::2], ("", "")], strict=False):
        grid.add_row(*(printable(text) for text in (*left, *right)))
    done = progress.done_ratio()
    left_seconds = progress.seconds_left()
    bar: RenderableType = ProgressBar(total=1.0, completed=done or 0.0, pulse=done is None)
    header = totals.header
    name = title or (f"{header.scenario} on {header.target.url}" if header else "starting")
    remaining = "" if left_seconds is None else f", {left_seconds:.0f} s left"
    return Panel(
        Group(grid, Text(), bar),
        title=Text(printable(name), style="bold"),
        subtitle=Text(f"{totals.phase or 'starting'}{remaining}"),
        width=96,
    )


def live_rows(progress: Progress) -> Iterator[tuple[str, str]]:
    """Yield the current state, row by row, as name and value."""
    totals = progress.totals
    errors = totals.errors.total()
    yield "connections", f"{format_count(totals.open)} of {format_count(progress.requested)}"
    yield "errors", _errors(totals) if errors else "0"
    yield "sent", format_rate(progress.rate_sent)
    yield "received", format_rate(progress.rate_received)
    latency = totals.histograms.get("latency")
    if latency is not None and latency.count:
        yield figure("latency.p50_seconds").label, format_seconds(latency.percentile_ns(50) / 1e9)
        yield figure("latency.p99_seconds").label, format_seconds(latency.percentile_ns(99) / 1e9)
    if totals.header is not None and totals.header.measures.are_replies:
        answered = latency.count if latency is not None else 0
        yield "unanswered", format_count(max(0, totals.counts["sent"] - answered))
    if progress.server_memory_bytes is not None:
        yield figure("server.memory_bytes").label, format_bytes(progress.server_memory_bytes)
    if progress.server_cpu_ratio is not None:
        yield (
            figure("server.cpu_ratio").label,
            f"{format_ratio(progress.server_cpu_ratio)} of a core",
        )


def _errors(totals: Totals) -> str:
    kind, count = totals.errors.most_common(1)[0]
    return f"{format_count(totals.errors.total())} ({kind} × {format_count(count)})"


def _plain_lines(console: Console, progress: Progress, title: str) -> Callable[[Line], None]:
    """Print a line for each phase that takes time, and every five seconds within a long one."""
    printed_at = 0.0
    prefix = f"{title}: " if title else ""

    def print_line(text: str) -> None:
        nonlocal printed_at
        printed_at = time.monotonic()
        console.print(Text(printable(f"{prefix}{text}")), soft_wrap=True)

    def observe(line: Line) -> None:
        progress.add(line)
        if isinstance(line, Header):
            connections = line.load["connections"]
            print_line(f"{line.scenario} on {line.target.url}, {connections:,} connections")
        elif isinstance(line, Event) and line.name == "phase":
            if line.detail["phase"] in _PRINTED_PHASES:
                print_line(f"{line.detail['phase']}: {_one_line(progress)}")
        elif isinstance(line, Event) and line.name == "trouble":
            print_line(f"trouble: {line.detail['what']}")
        elif isinstance(line, Interval) and time.monotonic() - printed_at >= _PLAIN_SECONDS:
            print_line(f"{progress.totals.phase}: {_one_line(progress)}")
        elif isinstance(line, Footer):
            verdict = f"FAILED: {'; '.join(line.failures)}" if line.failures else "valid"
            print_line(verdict if line.valid else f"INVALID: {'; '.join(line.reasons)}")
        for text in _printed_texts(line, progress):
            print_line(text)

    return observe


def _one_line(progress: Progress) -> str:
    return ", ".join(f"{name} {value}" for name, value in live_rows(progress) if value)


def summary_text(summary: Summary) -> str:
    """Return what a run measured: validity first, then what readers look for, aligned."""
    lines = [*_validity_lines(summary), *_aligned(summary_rows(summary))]
    for name, own in summary.users.items():
        lines += ["", user_title(name, own, summary)]
        lines += [f"  {line}" for line in _aligned(user_rows(own))]
    return "\n".join(map(printable, lines))


def _aligned(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    rows = list(rows)
    width = max(len(name) for name, _ in rows) + 1
    return (f"{name + ':':<{width}} {value}" for name, value in rows)


def user_title(name: str, own: Summary, run: Summary) -> str:
    """Return the name of a kind of users, its share, its scenario, and where it ran."""
    share = next(user.share for user in run.header.users if user.name == name)
    url = own.header.target.url
    where = "" if url == run.header.target.url else f" on {url}"
    return f"{name}: {share:.4g} of the connections, {own.header.scenario}{where}"


def user_rows(own: Summary) -> Iterator[tuple[str, str]]:
    """Return what one kind of users measured, by name; the limit belongs to the whole run."""
    return (row for row in summary_rows(own) if row[0] != "Limit")


def _validity_lines(summary: Summary) -> Iterator[str]:
    if not summary.valid:
        yield "INVALID: these figures cannot be used to judge the server."
        yield from (f"  - {reason}" for reason in summary.reasons)
    yield from (f"Note: {warning}" for warning in summary.warnings)


def summary_rows(summary: Summary) -> Iterator[tuple[str, str]]:
    """Yield what readers look for, by name."""
    figures = summary.figures
    requested = format_count(figures["connections.requested"])
    yield "Connected", f"{format_count(figures['connections.opened'])} of {requested}"
    if summary.negotiated:
        agreed = (f"{what} × {format_count(n)}" for what, n in sorted(summary.negotiated.items()))
        yield "Negotiated", "; ".join(agreed)
    yield "Errors", _error_list(summary.errors)
    yield from _message_rows(summary)
    yield from _latency_rows(summary)
    yield from _delivery_rows(summary)
    yield from _scenario_rows(summary)
    if ledger := _ledger(figures):
        yield "Ledger", ledger
    yield from drain_rows(summary)
    yield from _server_rows(summary)
    if "open.count" in figures:
        yield (
            "Opened",
            (
                f"{format_rate(figures['connections.opened_per_second'])}{_asked(figures)}, "
                f"each in {_percentiles(figures, 'open')}"
            ),
        )
        parts = (
            f"{name} {format_seconds(figures[f'{key}.p50_seconds'])}"
            for key, name in (
                ("setup", "setup"),
                ("tcp_connect", "TCP"),
                ("tls", "TLS"),
                ("upgrade", "upgrade"),
                ("ready", "ready"),
            )
            if f"{key}.count" in figures
        )
        yield "in parts", f"{', '.join(parts)} (p50)"
    if "swarm.cpu_ratio" in figures:
        lag = figures.get("loop_lag.p99_seconds")
        yield (
            "Generator",
            f"CPU {format_ratio(figures['swarm.cpu_ratio'])} of a core"
            + ("" if lag is None else f", loop lag p99 {format_seconds(lag)}"),
        )
    if (limit := limit_of(figures)) is not None:
        yield "Limit", str(limit)


def _asked(figures: Mapping[str, float]) -> str:
    asked = figures.get("connections.asked_per_second")
    return "" if asked is None else f" of {format_rate(asked)} requested"


def _error_list(errors: Mapping[str, int]) -> str:
    if not errors:
        return "0"
    listed = ", ".join(f"{kind} × {format_count(n)}" for kind, n in sorted(errors.items()))
    return f"{format_count(sum(errors.values()))} ({listed})"


def _message_rows(summary: Summary) -> Iterator[tuple[str, str]]:
    """Yield what was sent, whether or not any of it came back."""
    figures = summary.figures
    if "messages.sent_per_second" not in figures:
        return
    load = summary.header.load
    rate = load.get("total_rate", load.get("rate"))
    if summary.users:
        sent = format_rate(figures["messages.sent_per_second"])
        yield "Messages", f"{format_count(figures['messages.sent'])} sent, {sent} (all users)"
        return
    model = "closed model" if rate is None else f"open model, {format_rate(float(rate))} requested"
    limit = limit_of(figures)
    if rate is None and limit is not None and limit.parts:
        model += f", bounded by the {limit.who}"
    yield (
        "Messages",
        (
            f"{format_count(figures['messages.sent'])} sent, "
            f"{format_rate(figures['messages.sent_per_second'])} ({model})"
        ),
    )


def _latency_rows(summary: Summary) -> Iterator[tuple[str, str]]:
    figures = summary.figures
    if "latency.mean_seconds" not in figures:
        if not (summary.header.measures.main or figures["messages.sent"]):
            yield "Avg latency", "not measured: nothing was sent (--scenario echo sends)"
        return
    yield "Avg latency", format_seconds(figures["latency.mean_seconds"])
    yield CATALOGUE.duration("latency").title, _percentiles(figures, "latency")
    yield CATALOGUE.duration("service_time").title, _percentiles(figures, "service_time")
    if "acknowledgement.count" in figures:
        yield CATALOGUE.duration("acknowledgement").title, _percentiles(figures, "acknowledgement")


def _percentiles(figures: Mapping[str, float], name: str) -> str:
    return ", ".join(
        f"{label} {format_seconds(figures[f'{name}.{key}_seconds'])}"
        for key, label in (
            ("p50", "p50"),
            ("p90", "p90"),
            ("p99", "p99"),
            ("p999", "p99.9"),
            ("max", "max"),
        )
    )


def _ledger(figures: Mapping[str, float]) -> str:
    return ", ".join(
        f"{format_count(figures[f'integrity.{name}'])} {name}"
        for name in LEDGER[1:]
        if f"integrity.{name}" in figures
    )


def _delivery_rows(summary: Summary) -> Iterator[tuple[str, str]]:
    figures = summary.figures
    if "delivery.messages" not in figures:
        return
    yield "Broadcasts", f"{format_count(figures['delivery.messages'])}"
    yield (
        "Delivery",
        ", ".join(
            f"{name} {format_seconds(figures[f'delivery.{key}_seconds'])}"
            for name, key in DELIVERY.items()
            if f"delivery.{key}_seconds" in figures
        ),
    )
    if "clock.uncertainty_seconds" in figures:
        bound = format_seconds(figures["clock.uncertainty_seconds"])
        yield "Clocks", f"a one-way time between two hosts may be off by {bound}"


# Durations that have their own row, or are only looked up.
_SHOWN_ELSEWHERE: Final = frozenset(
    {
        *("latency", "service_time", "acknowledgement", "told", "first_message", *OWN),
        *(f"{name}{later}" for name in HANDSHAKE for later in ("", "_later")),
    }
)


def _scenario_rows(summary: Summary) -> Iterator[tuple[str, str]]:
    """Yield what the scenario itself counted and timed, including a script's measures."""
    figures, catalogue = summary.figures, catalogue_of(summary.header)
    counted: dict[str, list[str]] = {}
    for name, count in summary.counts.items():
        if not CATALOGUE.has(name):
            scenario, _, what = name.partition(".")
            counted.setdefault(scenario, []).append(f"{format_count(count)} {what}")
    for scenario, counts in counted.items():
        yield scenario.capitalize(), ", ".join(counts).replace("_", " ")
    timed = (name.removesuffix(".count") for name in figures if name.endswith(".count"))
    shown = catalogue.headings(it for it in timed if it not in _SHOWN_ELSEWHERE)
    for kind, heading in shown.items():
        yield heading, _percentiles(figures, kind)


def drain_rows(summary: Summary) -> Iterator[tuple[str, str]]:
    """Yield how the target's stop was announced and how it ended; nothing if it was not stopped."""
    figures = summary.figures
    if "drain.connected" not in figures:
        return
    connected = format_count(figures["drain.connected"])
    notified = f"{format_count(figures['drain.told'])} of {connected}"
    if figures["drain.told"]:
        notified += "; after the signal: " + ", ".join(
            f"{name} {format_seconds(figures[f'drain.told_{name}_seconds'])}"
            for name in ("first", "median", "p99", "last")
        )
    yield "Notified", notified
    codes = sorted(summary.close_codes.items())
    yield "Closed", ", ".join(f"{code} × {format_count(count)}" for code, count in codes) or "none"
    if "drain.accepted" not in figures:
        return
    yield "Newcomers", _newcomers(figures)
    yield "Target", _exit(figures)


def _newcomers(figures: Mapping[str, float]) -> str:
    accepted = f"{format_count(figures['drain.accepted'])} accepted after the signal"
    if "drain.refused_status" not in figures:
        return f"{accepted}, none refused with a status"
    after = format_seconds(figures["drain.refused_seconds"])
    return f"{accepted}, refused with {figures['drain.refused_status']:.0f} after {after}"


def _exit(figures: Mapping[str, float]) -> str:
    if "drain.exit_seconds" not in figures:
        return "did not exit"
    status = figures.get("drain.exit_status")
    exited = "exited" if status is None else f"exited with {status:.0f}"
    left = format_count(figures["drain.left_processes"])
    of = format_count(figures["drain.processes"])
    after = format_seconds(figures["drain.exit_seconds"])
    return f"{exited} {after} after the signal, {left} of its {of} processes left behind"


def _server_rows(summary: Summary) -> Iterator[tuple[str, str]]:
    figures = summary.figures
    if "server.memory_bytes" in figures:
        per_connection = figures.get(
            "server.memory_per_connection_bytes",
            figures.get("server.memory_growth_per_connection_bytes"),
        )
        more = "" if per_connection is None else f" ({format_bytes(per_connection)} a connection)"
        yield (
            figure("server.memory_bytes").title,
            format_bytes(figures["server.memory_bytes"]) + more,
        )
    if figures.get("server.rss_growth_bytes", 0.0) > 0:
        peak = format_bytes(figures["server.rss_peak_bytes"])
        growth = format_bytes(figures["server.rss_growth_bytes"])
        yield "Server peak", f"{peak} resident, {growth} more than before the load"
    if "server.cpu_ratio" in figures:
        yield (
            figure("server.cpu_ratio").title,
            f"{format_ratio(figures['server.cpu_ratio'])} of a core",
        )
