"""From a record's lines to its figures: added up as they arrive, or read from the file.

A figure has a dotted name whose last part carries its unit (``latency.p99_seconds``,
``server.memory_bytes``, ``server.cpu_ratio``). A figure that was not measured is absent, never
zero.
"""

import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from reports.histogram import Histogram, merged
from reports.record import Event, Footer, Header, Interval, Line, Record, Sample

PERCENTILES: Final = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}
# What a ledger distinguishes; see :class:`reports.record.Interval`.
LEDGER: Final = ("expected", "lost", "missed", "duplicated", "reordered", "late", "corrupted")
# The durations that a swarm process measures of itself.
OWN: Final = ("lateness", "loop_lag", "gc_pause")
# The durations of opening a connection.
HANDSHAKE: Final = ("tcp_connect", "tls", "upgrade", "open", "setup", "ready")
# How long a broadcast takes to reach part of its receivers: human-readable name, and figure.
DELIVERY: Final = {"first": "first", "half": "half", "99 %": "most", "last": "last"}
# A line through fewer counts is not a usable slope (two always fit, three barely test it).
STEPS_FOR_SLOPE: Final = 4
# How a machine's cores spend their time; steal is spent on others.
_CPU_PARTS: Final = ("busy", "idle", "steal")

# Readings taken on purpose, by their mark.
MARK_START: Final = "start"
MARK_STEP: Final = "step"
MARK_MEASURE_BEGIN: Final = "measure_begin"
MARK_MEASURE_END: Final = "measure_end"


@dataclass(frozen=True, slots=True)
class Summary:
    """What one run measured.

    Attributes:
        valid: whether the figures may be judged; ``reasons`` says why not.
        failures: what the target or a script failed at, so that the load ended early or never
            began.
        figures: the figures by name.
        errors: what went wrong, by ``phase:cause``.
        close_codes: how connections ended, by code.
        counts: what the scenario itself counted; these are figures too.
        negotiated: how many connections agreed on what in the opening handshake.
        users: the same for each kind of users, if there are several.
    """

    header: Header
    valid: bool
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    interrupted: bool
    figures: Mapping[str, float]
    errors: Mapping[str, int]
    close_codes: Mapping[int, int]
    counts: Mapping[str, int] = field(default_factory=dict)
    negotiated: Mapping[str, int] = field(default_factory=dict)
    failures: tuple[str, ...] = ()
    users: Mapping[str, "Summary"] = field(default_factory=dict)

    @property
    def judged_figures(self) -> Mapping[str, float]:
        """The figures, and those of each kind of users, which begin with its name."""
        return _with_those(self.figures, {name: own.figures for name, own in self.users.items()})


# A broadcast: the kind of users that published it, and its sequence number.
_Message = tuple[str, int]


@dataclass(frozen=True, slots=True)
class _Delivered:
    """How long broadcasts took to arrive, in nanoseconds.

    Attributes:
        columns: for each broadcast, the time to its first receiver, to half of them, to 99 % and to
            the last one; half and most only for those whose times are all on the record.
        times: every delivery of these.
    """

    columns: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    times: Histogram = field(default_factory=Histogram)

    def with_those(self, parts: Mapping[_Message, Sequence[tuple[int, int, str]]]) -> "_Delivered":
        """Add broadcasts, each as the first, the last and all times at each swarm process."""
        columns = {name: list(column) for name, column in self.columns.items()}
        times = merged((self.times,))
        for of_one in parts.values():
            columns.setdefault("first", []).append(min(first for first, _, _ in of_one))
            columns.setdefault("last", []).append(max(last for _, last, _ in of_one))
            if all(text for _, _, text in of_one):
                histogram = merged(Histogram.decode(text) for _, _, text in of_one)
                # The bins of a histogram are coarser than the exact time of the last delivery.
                last = columns["last"][-1]
                columns.setdefault("half", []).append(min(histogram.percentile_ns(50), last))
                columns.setdefault("most", []).append(min(histogram.percentile_ns(99), last))
                times.merge(histogram)
        return _Delivered({name: tuple(column) for name, column in columns.items()}, times)


class Totals:
    """The running total of a record's lines."""

    def __init__(self) -> None:
        self.header: Header | None = None
        self.footer: Footer | None = None
        self.counts: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.close_codes: Counter[int] = Counter()
        self.integrity: Counter[str] = Counter()
        self.scenario_counts: Counter[str] = Counter()
        self.negotiated: Counter[str] = Counter()
        self.histograms: defaultdict[str, Histogram] = defaultdict(Histogram)
        self.open_by_process: dict[int, int] = {}
        # What each swarm process measured of itself, since each is judged separately.
        self.own: defaultdict[int, defaultdict[str, Histogram]] = defaultdict(
            lambda: defaultdict(Histogram)
        )
        self.peak_open = 0
        # The rows of the data feed, if there is one.
        self.feed_rows: int | None = None
        self.phase = ""
        self._drain: dict[str, float] = {}
        # For a live load, whose number of users may grow.
        self._requested = 0
        self._asked_per_second: float | None = None
        self._clock_uncertainty_ns: dict[int, int] = {}
        self._marks: list[Sample] = []
        self._peak_rss_bytes = 0.0
        # When the server was last read, and what its busiest thread used in the measured phase.
        self._server_read_ns = 0
        self._busiest_ns = 0.0
        self._busiest_of_ns = 0
        self._measured_cpu_ns: Counter[int] = Counter()
        self._measured_waited_ns: Counter[int] = Counter()
        self._measured_ns: Counter[int] = Counter()
        self._measured: Counter[str] = Counter()
        self._opening_ns: Counter[int] = Counter()
        self._opening_cpu_ns = 0
        # Kept encoded: a histogram takes 270 KB, and there is one per broadcast and process.
        self._deliveries: defaultdict[_Message, list[tuple[int, int, str]]] = defaultdict(list)
        self._settled = _Delivered()
        # The totals of each kind of users, if there are several.
        self.users: dict[str, Totals] = {}
        self._user_of: dict[int, str] = {}

    def add(self, line: Line) -> None:
        """Add one line."""
        match line:
            case Interval():
                # Once, for these totals and for those of the kind of users: it is what takes time.
                timed = {name: Histogram.decode(text) for name, text in line.histograms.items()}
                for own in (self, *self._of_users(line.process)):
                    own.add_interval(line, timed)
            case Sample():
                if line.mark:
                    self._marks.append(line)
                if line.source == "server":
                    self._add_server(line)
            case Event():
                self._add_event(line)
                for own in self._of_users(line.detail.get("process")):
                    own.add(line)
            case Header():
                self._add_header(line)
            case Footer():
                self.footer = line

    def _add_header(self, line: Header) -> None:
        self.header = line
        for user in line.users:
            own = Totals()
            own.add(
                replace(
                    line,
                    scenario=user.scenario,
                    parameters=user.parameters,
                    load=user.load,
                    target=replace(line.target, url=user.url),
                    measures=user.measures,
                    users=(),
                )
            )
            self.users[user.name] = own
            self._user_of.update(dict.fromkeys(user.processes, user.name))

    def _of_users(self, process: int | None) -> "list[Totals]":
        """Return the totals of the users of a process, or of all if there is no process."""
        return [
            own
            for name, own in self.users.items()
            if process is None or self._user_of.get(process) == name
        ]

    @property
    def parts(self) -> "tuple[Totals, ...]":
        """The parts that ran side by side: the totals of each kind of users, or just these."""
        return tuple(self.users.values()) or (self,)

    def _add_server(self, line: Sample) -> None:
        since_ns, self._server_read_ns = self._server_read_ns, line.t_ns
        if self.phase != "measure":
            return
        self._peak_rss_bytes = max(self._peak_rss_bytes, line.values.get("rss_bytes", 0.0))
        busiest = line.values.get("busiest_thread_ratio")
        if busiest is not None and line.mark != MARK_MEASURE_BEGIN:
            self._busiest_ns += busiest * (line.t_ns - since_ns)
            self._busiest_of_ns += line.t_ns - since_ns

    @property
    def _is_live(self) -> bool:
        return self.header is not None and bool(self.header.load.get("live"))

    def _is_live_opening(self, phase: str) -> bool:
        """Return whether opening connections are new ones; in a round, they are returning."""
        is_round = self.header is not None and bool(self.header.load.get("rounds"))
        return self._is_live and not (is_round and phase == "measure")

    @property
    def open(self) -> int:
        """The number of connections open now."""
        return sum(self.open_by_process.values())

    def _add_event(self, line: Event) -> None:
        match line.name:
            case "phase":
                self.phase = str(line.detail["phase"])
            case "signal":
                self._drain["connected"] = float(line.detail["connected"])
                self._drain["processes"] = float(line.detail["processes"])
            case "feed":
                self.feed_rows = line.detail["rows"]
            case "negotiated":
                self.negotiated.update(line.detail["outcomes"])
            case "users":
                self._requested = max(self._requested, line.detail["count"])
                self._asked_per_second = line.detail.get("spawn_rate")
            case "worker":
                uncertainty_ns = line.detail["clock_uncertainty_ns"]
                self._clock_uncertainty_ns[line.detail["process"]] = uncertainty_ns
            case "process_lost":
                self.open_by_process[line.detail["process"]] = 0
                self.counts["lost_by_generator"] += line.detail["connections"]
            case "departed":
                self._add_departure(line.detail)

    def _add_departure(self, detail: Mapping[str, Any]) -> None:
        self.errors.update(detail["errors"])
        self._drain["accepted"] = float(detail["accepted"])
        self._drain["left_processes"] = float(len(detail["left"]))
        for name in ("refused_status", "refused_seconds", "exit_seconds", "exit_status"):
            if detail[name] is not None:
                self._drain[name] = float(detail[name])

    def add_interval(self, line: Interval, timed: Mapping[str, Histogram]) -> None:
        """Add an interval whose histograms are decoded already."""
        opening = line.phase == "open" or self._is_live_opening(line.phase)
        self.counts["opened" if opening else "opened_later"] += line.opened
        for name in (
            "failed",
            "closed",
            "sent",
            "received",
            "sent_bytes",
            "received_bytes",
            "unsolicited",
            "clipped",
        ):
            self.counts[name] += getattr(line, name)
        self.errors.update(line.errors)
        self.close_codes.update(line.close_codes)
        self.integrity.update(line.integrity)
        self.scenario_counts.update(line.counts)
        for name, histogram in timed.items():
            # The lag of a process that only opens connections says nothing about its load.
            if name in OWN and line.phase not in ("measure", "collect"):
                continue
            # Those of clients that arrive later do not belong to the opening.
            later = name in HANDSHAKE and not opening
            self.histograms[f"{name}_later" if later else name].merge(histogram)
            if name == "latency" and line.phase == "measure":
                self._measured["round_trips"] += histogram.count
            if name in OWN:
                self.own[line.process][name].merge(histogram)
        self.open_by_process[line.process] = line.open
        self.peak_open = max(self.peak_open, self.open)
        for delivery in line.deliveries:
            message = (self._user_of.get(line.process, ""), delivery.sequence)
            self._deliveries[message].append(
                (delivery.first_ns, delivery.last_ns, delivery.histogram)
            )
        if opening and (line.opened or not self._is_live):
            self._opening_ns[line.process] += line.duration_ns
        if line.phase == "open":
            self._opening_cpu_ns += line.cpu_ns
        if line.phase == "measure":
            self._measured_ns[line.process] += line.duration_ns
            self._measured_cpu_ns[line.process] += line.cpu_ns
            self._measured_waited_ns[line.process] += line.waited_ns
            self._measured["sent"] += line.sent
            self._measured["received"] += line.received

    def figures(self, *, with_deliveries: bool = True) -> dict[str, float]:
        """Return every figure that the lines so far allow.

        Args:
            with_deliveries: include those of broadcasts, each of which has to be decoded.
        """
        return {
            **self._connection_figures(),
            **self._message_figures(),
            **self._duration_figures(),
            **(self._delivery_figures() if with_deliveries else {}),
            **{name: float(count) for name, count in self.scenario_counts.items()},
            **self._drain_figures(),
            **self._swarm_figures(),
            **self._server_figures(),
            **self._kernel_figures(),
            **self._clock_figures(),
        }

    def judged_figures(self, *, with_deliveries: bool = True) -> dict[str, float]:
        """Return these figures and those of each kind of users, which begin with its name."""
        of_users = {
            name: own.figures(with_deliveries=with_deliveries) for name, own in self.users.items()
        }
        return _with_those(self.figures(with_deliveries=with_deliveries), of_users)

    def _connection_figures(self) -> dict[str, float]:
        figures: dict[str, float] = {
            "connections.opened": self.counts["opened"],
            "connections.failed": self.counts["failed"],
            "connections.opened_later": self.counts["opened_later"],
            "connections.lost_by_generator": self.counts["lost_by_generator"],
            "connections.open": self._open_when_measured(),
            "errors": self.errors.total(),
        }
        if self.header is not None:
            load = self.header.load
            requested = self._requested or load.get("openings", load["connections"])
            figures["connections.requested"] = requested
        if self._opening_ns:
            longest = max(self._opening_ns.values()) / 1e9
            figures["connections.opened_per_second"] = self.counts["opened"] / longest
        if self._asked_per_second is not None:
            figures["connections.asked_per_second"] = self._asked_per_second
        return figures

    def _message_figures(self) -> dict[str, float]:
        figures = {
            "messages.sent": float(self.counts["sent"]),
            "messages.received": float(self.counts["received"]),
            "messages.unsolicited": float(self.counts["unsolicited"]),
        }
        if self._measured_ns and self._measured["sent"]:
            # The phase is a little longer than the load: all processes begin it at one moment.
            seconds = max(self._measured_ns.values()) / 1e9
            if self.header is not None and not self._is_live:
                seconds = min(seconds, self.header.load["duration_seconds"])
            figures["messages.sent_per_second"] = self._measured["sent"] / seconds
            figures["messages.received_per_second"] = self._measured["received"] / seconds
        if self.integrity:
            for name in LEDGER:
                figures[f"integrity.{name}"] = float(self.integrity[name])
        return figures

    def _duration_figures(self) -> dict[str, float]:
        figures: dict[str, float] = {}
        for name, histogram in self.histograms.items():
            figures |= _statistics(name, histogram)
        return figures

    def _delivery_figures(self) -> dict[str, float]:
        """Average over broadcasts the times to the first receiver, half, most and the last."""
        delivered = self._settled.with_those(self._deliveries)
        if not delivered.columns:
            return {}
        figures = {
            f"delivery.{name}_seconds": statistics.fmean(column) / 1e9
            for name, column in delivered.columns.items()
        }
        last_ns = delivered.columns["last"]
        figures["delivery.messages"] = float(len(last_ns))
        figures["delivery.last_max_seconds"] = max(last_ns) / 1e9
        if "delivered" not in self.histograms:
            figures |= _statistics("delivered", delivered.times)
        return figures

    def durations(self, kind: str) -> Histogram:
        """Return all durations of a kind, of opening during the load as well."""
        names = (kind, f"{kind}_later")
        found = [self.histograms[name] for name in names if name in self.histograms]
        if kind == "delivered" and not found:
            found = [self._settled.times]
        return merged(found)

    def settle_deliveries(self) -> None:
        """Add up the broadcasts so far, which must be complete; each of them has to be decoded.

        Otherwise a live view would decode all of them on every refresh.
        """
        self._settled = self._settled.with_those(self._deliveries)
        self._deliveries.clear()
        for own in self.users.values():
            own.settle_deliveries()

    def _drain_figures(self) -> dict[str, float]:
        """Return how the target's stop was announced, how clients were closed, and how it ended."""
        if not self._drain:
            return {}
        figures = {f"drain.{name}": value for name, value in self._drain.items()}
        notified = self.histograms["told"]
        figures["drain.told"] = float(notified.count)
        if notified.count:
            figures["drain.told_first_seconds"] = notified.min_ns / 1e9
            figures["drain.told_median_seconds"] = notified.percentile_ns(50) / 1e9
            figures["drain.told_p99_seconds"] = notified.percentile_ns(99) / 1e9
            figures["drain.told_last_seconds"] = notified.max_ns / 1e9
        for code, count in self.close_codes.items():
            figures[f"drain.closed_{code}"] = float(count)
        return figures

    def _swarm_figures(self) -> dict[str, float]:
        figures = {}
        if self._measured_ns:
            figures["swarm.cpu_ratio"] = max(self.own_cpu_ratios().values())
            figures["swarm.runnable_ratio"] = max(self.own_runnable_ratios().values())
        cpu_seconds = self._measured_cpu_ns.total() / 1e9
        if self._measured["round_trips"]:
            each = cpu_seconds / self._measured["round_trips"]
            figures["swarm.cpu_per_round_trip_seconds"] = each
        if self._measured["received"]:
            figures["swarm.cpu_per_message_seconds"] = cpu_seconds / self._measured["received"]
        if count := self._opened_at_first():
            figures["swarm.cpu_per_handshake_seconds"] = self._opening_cpu_ns / 1e9 / count
        growth = self._growth("swarm", "pss_bytes")
        if growth is not None:
            figures["swarm.memory_per_connection_bytes"] = growth
        return figures

    def own_cpu_ratios(self) -> dict[int, float]:
        """Return the share of a core that each swarm process used in the measured phase."""
        return {
            process: self._measured_cpu_ns[process] / length
            for process, length in self._measured_ns.items()
            if length
        }

    def own_runnable_ratios(self) -> dict[int, float]:
        """Return the share of the measured phase each swarm process ran or waited for a core."""
        return {
            process: ratio + self._measured_waited_ns[process] / self._measured_ns[process]
            for process, ratio in self.own_cpu_ratios().items()
        }

    def _server_figures(self) -> dict[str, float]:
        figures = {}
        begin = self._mark("server", MARK_MEASURE_BEGIN)
        end = self._last_mark("server", MARK_MEASURE_END)
        if begin is not None and end is not None:
            used, elapsed = self._server_cpu_seconds()
            figures["server.cpu_ratio"] = used / elapsed
            if "rss_bytes" in begin.values and "rss_bytes" in end.values:
                peak = max(self._peak_rss_bytes, end.values["rss_bytes"])
                figures["server.rss_peak_bytes"] = peak
                figures["server.rss_growth_bytes"] = peak - begin.values["rss_bytes"]
            if self._measured["received"]:
                figures["server.cpu_per_message_seconds"] = used / self._measured["received"]
        start = self._mark("server", MARK_START)
        if begin is not None and start is not None and (count := self._opened_at_first()):
            used = begin.values["cpu_seconds"] - start.values["cpu_seconds"]
            figures["server.cpu_per_handshake_seconds"] = used / count
        if self._busiest_of_ns:
            figures["server.busiest_thread_ratio"] = self._busiest_ns / self._busiest_of_ns
        if end is not None and (unreadable := end.values.get("unreadable")):
            figures["server.unreadable_processes"] = unreadable
        if end is not None and "pss_bytes" in end.values:
            figures["server.memory_bytes"] = end.values["pss_bytes"]
            figures["server.rss_bytes"] = end.values["rss_bytes"]
            figures["server.threads"] = end.values["threads"]
            figures["server.files"] = end.values["files"]
            figures["server.processes"] = end.values["processes"]
        growth = self._growth("server", "pss_bytes")
        # A server that ran before may reuse memory left over from then, and so not grow.
        was_fresh = self.header is not None and bool(self.header.target.command)
        if growth is not None and was_fresh:
            figures["server.memory_growth_per_connection_bytes"] = growth
        slope = self._slope("server", ("pss_bytes",))
        if slope is not None:
            figures["server.memory_per_connection_bytes"] = slope
        return figures

    def _opened_at_first(self) -> int:
        """Return how many connections opened before a load that all of them took part in."""
        return 0 if self._is_live else self.counts["opened"]

    def _server_cpu_seconds(self) -> tuple[float, float]:
        """Return the server's CPU time while it was measured, and how long that was."""
        used = elapsed = 0.0
        for begin, end in self._measured_between("server"):
            used += end.values["cpu_seconds"] - begin.values["cpu_seconds"]
            elapsed += (end.t_ns - begin.t_ns) / 1e9
        return used, elapsed

    def _measured_between(self, source: str) -> list[tuple[Sample, Sample]]:
        """Return the readings at the beginning and at the end of each measured phase.

        A live load of rounds is measured several times; the time in between does not count.
        """
        begins = self._all_marks(source, MARK_MEASURE_BEGIN)
        return list(zip(begins, self._all_marks(source, MARK_MEASURE_END), strict=False))

    def _kernel_figures(self) -> dict[str, float]:
        figures = {}
        slope = self._slope("kernel", ("tcp_memory_bytes", "slab_bytes"))
        if slope is not None:
            figures["server.kernel_memory_per_connection_bytes"] = slope
        measured = self._measured_between("kernel")
        if spent := sum(_cpu_between(begin, end, *_CPU_PARTS) for begin, end in measured):
            busy = sum(_cpu_between(begin, end, "busy") for begin, end in measured)
            figures["machine.cpu_ratio"] = busy / spent
        start = self._mark("kernel", MARK_START)
        end = self._last_mark("kernel", MARK_MEASURE_END)
        if start is not None and end is not None:
            change = {name: end.values[name] - start.values[name] for name in end.values}
            spent = _cpu_between(start, end, *_CPU_PARTS)
            figures["kernel.listen_overflows"] = change["listen_overflows"]
            figures["kernel.tcp_memory_bytes"] = end.values["tcp_memory_bytes"]
            figures["machine.steal_ratio"] = change["cpu_steal_seconds"] / spent if spent else 0.0
        return figures

    def _clock_figures(self) -> dict[str, float]:
        """Return by how much a one-way time between two hosts may be off."""
        worst = sum(sorted(self._clock_uncertainty_ns.values())[-2:])
        return {"clock.uncertainty_seconds": worst / 1e9} if worst else {}

    def _open_when_measured(self) -> float:
        """Return how many were open at the end of the measured phase; until then, the peak."""
        end = self._last_mark("kernel", MARK_MEASURE_END)
        return self.peak_open if end is None else end.values["connections"]

    def _mark(self, source: str, mark: str) -> Sample | None:
        return next(
            (held for held in self._marks if held.source == source and held.mark == mark), None
        )

    def _last_mark(self, source: str, mark: str) -> Sample | None:
        """Return the last such reading: a live load of rounds has one for each round."""
        found = self._all_marks(source, mark)
        return found[-1] if found else None

    def _all_marks(self, source: str, mark: str) -> list[Sample]:
        return [held for held in self._marks if held.source == source and held.mark == mark]

    def _growth(self, source: str, name: str) -> float | None:
        """Return how much a reading grew from the start to the measured phase, per connection."""
        start, end = self._mark(source, MARK_START), self._mark(source, MARK_MEASURE_BEGIN)
        if start is None or end is None or not (name in start.values and name in end.values):
            return None
        # If connections come and go there may be none yet.
        connections = end.values.get("connections", self.peak_open)
        return (end.values[name] - start.values[name]) / connections if connections else None

    def _slope(self, source: str, names: tuple[str, ...]) -> float | None:
        """Fit a line through the readings at the steps: bytes against connections open."""
        steps = [
            held for held in self._all_marks(source, MARK_STEP) if set(names) <= set(held.values)
        ]
        counts = [held.values["connections"] for held in steps]
        if len(set(counts)) < STEPS_FOR_SLOPE:
            return None
        readings = [sum(held.values[name] for name in names) for held in steps]
        return statistics.linear_regression(counts, readings).slope

    def summary(self) -> Summary:
        """Summarise the lines so far; without a footer the run was cut off, so it is not valid.

        Raises:
            ValueError: there was no header.
        """
        if self.header is None:
            raise ValueError("no header was added")
        footer = self.footer or Footer(
            t_ns=0,
            valid=False,
            reasons=("the record has no end: the run was cut off",),
        )
        return Summary(
            header=self.header,
            valid=footer.valid,
            reasons=footer.reasons,
            warnings=footer.warnings,
            interrupted=footer.interrupted,
            figures=self.figures(),
            errors=dict(self.errors),
            close_codes=dict(self.close_codes),
            counts=dict(self.scenario_counts),
            negotiated=dict(self.negotiated),
            failures=footer.failures,
            users={
                name: replace(own.summary(), valid=footer.valid, reasons=())
                for name, own in self.users.items()
            },
        )


def _with_those(
    figures: Mapping[str, float], of_users: Mapping[str, Mapping[str, float]]
) -> dict[str, float]:
    """Add the figures of each kind of users, which begin with its name."""
    named = (
        (f"{name}.{key}", value) for name, own in of_users.items() for key, value in own.items()
    )
    return {**figures, **dict(named)}


def _statistics(name: str, histogram: Histogram) -> dict[str, float]:
    if not histogram.count:
        return {}
    return {
        f"{name}.count": float(histogram.count),
        f"{name}.mean_seconds": histogram.mean_ns / 1e9,
        f"{name}.max_seconds": histogram.max_ns / 1e9,
        **{
            f"{name}.{label}_seconds": histogram.percentile_ns(percentile) / 1e9
            for label, percentile in PERCENTILES.items()
        },
    }


def _cpu_between(begin: Sample, end: Sample, *parts: str) -> float:
    names = [f"cpu_{part}_seconds" for part in parts]
    return sum(end.values[name] - begin.values[name] for name in names)


def _time_ns(line: Interval | Sample | Event) -> int:
    return line.t_ns


def summarise(record: Record) -> Summary:
    """Return the figures of a record."""
    return totals_of(record).summary()


def totals_of(record: Record) -> Totals:
    """Add up all lines of a record."""
    totals = Totals()
    totals.add(record.header)
    # Events come first when times are equal: a phase begins with its event.
    lines: list[Interval | Sample | Event] = [*record.events, *record.intervals, *record.samples]
    for line in sorted(lines, key=_time_ns):
        totals.add(line)
    if record.footer is not None:
        totals.add(record.footer)
    # Nothing more will come of them, and whoever asks for figures need not decode them again.
    totals.settle_deliveries()
    return totals
