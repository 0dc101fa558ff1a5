"""The catalogue of figures: what is measured, in groups that are measured alike.

It is data alone; :mod:`reports.figures` looks a name up in it, and docs/figures.md is this list
with its sentences (a test holds the two together).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from reports.units import unit_of


class Better(StrEnum):
    """In which direction a figure is better."""

    LOWER = "lower"
    HIGHER = "higher"
    NEITHER = "neither"


class Subject(StrEnum):
    """What a figure says something about."""

    TARGET = "target"
    GENERATOR = "generator"
    MACHINE = "machine"


@dataclass(frozen=True, slots=True)
class Figure:
    """What is known of a figure, or of a kind of duration before its statistic.

    Attributes:
        key: its name, whose end is its unit.
        label: as a person says it in a table.
        better: whether it is better lower or higher; neither of what only says what there was.
        meaning: what it is, one sentence.
        how: how it is measured, one sentence or two.
        subject: what it says something about.
    """

    key: str
    label: str
    better: Better
    meaning: str
    how: str
    subject: Subject = Subject.TARGET

    @property
    def unit(self) -> str:
        """The unit: seconds, bytes, ratio, per_second, or none of a count."""
        return unit_of(self.key)

    @property
    def title(self) -> str:
        """The label as it begins a line."""
        return self.label[:1].upper() + self.label[1:]


@dataclass(frozen=True, slots=True)
class Statistic:
    """A statistic of each kind of duration."""

    key: str
    label: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Group:
    """Figures that are measured alike."""

    title: str
    how: str
    figures: tuple[Figure, ...]


_Row = tuple[str, str, Better, str]


def _group(title: str, how: str, rows: Iterable[_Row], subject: Subject = Subject.TARGET) -> Group:
    figures = (Figure(*row, how=how, subject=subject) for row in rows)
    return Group(title, how, tuple(figures))


LOWER: Final = Better.LOWER
HIGHER: Final = Better.HIGHER
NEITHER: Final = Better.NEITHER

_OPENING: Final = (
    ("open", "", "The whole of opening a connection."),
    ("tcp_connect", ": TCP connect", "Its TCP handshake."),
    ("tls", ": TLS handshake", "Its TLS handshake."),
    ("upgrade", ": WebSocket upgrade", "From the request to the answer that switches protocols."),
    ("setup", ": setup", "What is done before the handshake, such as a login."),
    ("ready", ": ready steps", "The steps that make it ready for the load."),
)

DURATION_GROUPS: Final = (
    _group(
        "Durations of messages",
        "Timed by CLOCK_MONOTONIC from the moment named to when the reply or the delivery was read "
        "from the socket.",
        (
            ("latency", "latency", LOWER, "From the intended send time to the reply."),
            ("service_time", "service time", LOWER, "From the actual send to the reply."),
            (
                "acknowledgement",
                "acknowledgement",
                LOWER,
                "From the intended send time to the server's acknowledgement.",
            ),
            (
                "delivered",
                "delivery at each receiver",
                LOWER,
                "From the intended send time of a broadcast to each of its receivers.",
            ),
            (
                "delivered_before",
                "delivery before slow ones",
                LOWER,
                "Delivery before there were slow receivers.",
            ),
            (
                "delivered_beside_slow",
                "delivery beside slow ones",
                LOWER,
                "Delivery to the others while some receivers are slow.",
            ),
            ("iteration", "iteration", LOWER, "One iteration of a script."),
        ),
    ),
    _group(
        "Durations of connections",
        "Timed by CLOCK_MONOTONIC in the swarm process that has the connection.",
        (
            ("back", "back after", LOWER, "From the end of a connection until it is open again."),
            ("arrival", "arrival", LOWER, "From the intended moment until a newcomer is open."),
            (
                "told",
                "told after the signal",
                LOWER,
                "From the signal to stop until a client is told of it.",
            ),
            ("ping_round_trip", "ping to pong", LOWER, "From a ping of ours to its pong."),
            ("ping_interval", "ping interval", NEITHER, "Between two pings of the server."),
            (
                "ping_jitter",
                "ping jitter",
                LOWER,
                "By how much that differs from the interval that was to be.",
            ),
            (
                "heartbeat_interval",
                "heartbeat interval",
                NEITHER,
                "Between two heartbeat messages of the server.",
            ),
            (
                "heartbeat_jitter",
                "heartbeat jitter",
                LOWER,
                "By how much that differs from the interval that was to be.",
            ),
            (
                "detected",
                "half open detected",
                LOWER,
                "From when a client falls silent until the server gives up on it.",
            ),
            (
                "first_message",
                "first message",
                LOWER,
                "From open to the first message, before the load or of who comes during it.",
            ),
        ),
    ),
    _group(
        "Durations of opening",
        "Timed by CLOCK_MONOTONIC around each step of a handshake that succeeded.",
        ((key, f"opening a connection{part}", LOWER, what) for key, part, what in _OPENING),
    ),
    _group(
        "Durations of opening during the load",
        "Likewise, of connections that open while the load lasts.",
        ((f"{key}_later", f"opening later{part}", LOWER, what) for key, part, what in _OPENING),
    ),
    _group(
        "Durations of the generator",
        "Timed by each swarm process of itself, in the measured phase and its collection.",
        (
            ("lateness", "lateness", LOWER, "From the intended to the actual send time."),
            ("loop_lag", "loop lag", LOWER, "How late the event loop gets to what is due."),
            ("gc_pause", "GC pause", LOWER, "A pause of the garbage collector."),
        ),
        Subject.GENERATOR,
    ),
)

STATISTICS: Final = {
    statistic.key: statistic
    for statistic in (
        Statistic("count", "count", "how many there were"),
        Statistic("mean_seconds", "mean", "their mean"),
        Statistic("max_seconds", "max", "the longest"),
        Statistic("p50_seconds", "p50", "the median"),
        Statistic("p90_seconds", "p90", "90 % took no longer"),
        Statistic("p99_seconds", "p99", "99 % took no longer"),
        Statistic("p999_seconds", "p99.9", "99.9 % took no longer"),
    )
}
"""The statistics of each kind of duration, as in ``latency.p99_seconds``."""

GROUPS: Final = (
    _group(
        "Errors",
        "Counted by the swarm processes, by phase and cause.",
        (("errors", "errors", LOWER, "Everything that went wrong, of all kinds together."),),
    ),
    _group(
        "Connections",
        "Counted by the swarm processes at each handshake and at each end; what was asked for is "
        "from the plan of the run, or from Locust.",
        (
            (
                "connections.requested",
                "connections requested",
                NEITHER,
                "Those asked for; in a live load the most users that there were.",
            ),
            (
                "connections.opened",
                "connections opened",
                HIGHER,
                "Those that opened in the opening phase.",
            ),
            (
                "connections.opened_per_second",
                "connections opened a second",
                HIGHER,
                "These over the length of that phase.",
            ),
            (
                "connections.asked_per_second",
                "spawn rate asked",
                NEITHER,
                "Locust's spawn rate, of all its users, as it was last.",
            ),
            (
                "connections.opened_later",
                "connections opened later",
                NEITHER,
                "Those that opened during the load.",
            ),
            (
                "connections.open",
                "connections open",
                HIGHER,
                "Those open at the end of the measured phase.",
            ),
            (
                "connections.overdue",
                "connections overdue",
                LOWER,
                "Those due for a second and not open when the load ended or they were let go.",
            ),
            ("connections.failed", "connections failed", LOWER, "Those tried and not opened."),
        ),
    ),
    _group(
        "Messages",
        "Counted by the swarm processes at each data message.",
        (
            ("messages.sent", "messages sent", NEITHER, "Those sent by the load."),
            (
                "messages.received",
                "messages received",
                NEITHER,
                "All that came, pings and pongs excepted.",
            ),
            (
                "messages.unsolicited",
                "unsolicited messages",
                NEITHER,
                "Those that were neither a reply nor a delivery, such as heartbeats.",
            ),
            (
                "messages.sent_per_second",
                "messages sent a second",
                HIGHER,
                "Those sent in the measured phase, over its length.",
            ),
            (
                "messages.received_per_second",
                "messages received a second",
                HIGHER,
                "Those that came in the measured phase, over its length.",
            ),
        ),
    ),
    _group(
        "Integrity",
        "Found in the ledger that each connection keeps of the numbers of its messages.",
        (
            (
                "integrity.expected",
                "messages expected",
                NEITHER,
                "Replies or deliveries that were to come.",
            ),
            ("integrity.lost", "lost", LOWER, "Those that never came."),
            (
                "integrity.missed",
                "missed",
                LOWER,
                "Those sent while their receiver was not connected.",
            ),
            ("integrity.duplicated", "duplicated", LOWER, "Those that came again."),
            (
                "integrity.reordered",
                "reordered",
                LOWER,
                "Those that came after a later one (RFC 4737 section 3.3).",
            ),
            ("integrity.late", "late", LOWER, "Those that came, but later than `--late`."),
            (
                "integrity.corrupted",
                "corrupted",
                LOWER,
                "Those that came with something else in them than was sent.",
            ),
        ),
    ),
    _group(
        "Delivery of broadcasts",
        "Timed for each broadcast from its intended send time, over the receivers of all swarm "
        "processes.",
        (
            (
                "delivery.messages",
                "broadcasts delivered",
                NEITHER,
                "Broadcasts of which something came.",
            ),
            (
                "delivery.first_seconds",
                "delivery to the first",
                LOWER,
                "To the first receiver, the mean over the broadcasts.",
            ),
            (
                "delivery.half_seconds",
                "delivery to half",
                LOWER,
                "Until half of the receivers had it, likewise.",
            ),
            (
                "delivery.most_seconds",
                "delivery to 99 %",
                LOWER,
                "Until 99 % of the receivers had it, likewise.",
            ),
            (
                "delivery.last_seconds",
                "delivery to the last",
                LOWER,
                "To the last receiver, likewise.",
            ),
            (
                "delivery.last_max_seconds",
                "slowest delivery to the last",
                LOWER,
                "To the last receiver of the slowest broadcast.",
            ),
        ),
    ),
    _group(
        "Steps and answers",
        "Counted by the swarm processes at each such message.",
        (
            (
                "ready.sent",
                "sent to get ready",
                NEITHER,
                "Messages sent by the steps before the load.",
            ),
            (
                "ready.received",
                "received to get ready",
                NEITHER,
                "Messages passed over or waited for by the steps before the load.",
            ),
            (
                "answers.sent",
                "answers sent",
                NEITHER,
                "Answers given to what the server said, by `--answer`.",
            ),
        ),
    ),
    _group(
        "Scenario churn",
        "Counted by the swarm processes as clients come and go.",
        (
            ("churn.arrivals", "arrivals due", NEITHER, "Clients that were to come."),
            ("churn.arrived", "arrived", HIGHER, "Clients that came."),
            ("churn.left", "left", NEITHER, "Clients that left."),
        ),
    ),
    _group(
        "Scenario heartbeat",
        "Counted by the swarm processes in the measured phase.",
        (
            ("heartbeat.beats", "heartbeats", NEITHER, "Heartbeat messages that came."),
            (
                "heartbeat.expected",
                "heartbeats expected",
                NEITHER,
                "Heartbeat messages that were to come.",
            ),
            ("heartbeat.pings_sent", "pings sent", NEITHER, "Pings that we sent."),
            ("heartbeat.pings_received", "pings received", NEITHER, "Pings from the server."),
            ("heartbeat.pongs", "pongs received", NEITHER, "Answers to our pings."),
            (
                "heartbeat.detected",
                "silent clients detected",
                HIGHER,
                "Silent clients that the server has given up on.",
            ),
        ),
    ),
    _group(
        "Scenario slow-consumer",
        "Counted by the swarm processes, of clients that stop reading.",
        (
            ("slow-consumer.slow", "slow clients", NEITHER, "Clients that became slow."),
            (
                "slow-consumer.withheld",
                "withheld from slow ones",
                NEITHER,
                "Messages that slow clients never got.",
            ),
            (
                "slow-consumer.ended",
                "slow clients ended",
                NEITHER,
                "Slow clients that the server ended.",
            ),
        ),
    ),
    _group(
        "Scenario storm",
        "Counted by the swarm processes, of connections that end at one moment and come back.",
        (
            ("storm.dropped", "connections dropped", NEITHER, "Connections that ended."),
            ("storm.back", "clients back", HIGHER, "Clients that came back."),
            ("storm.attempts", "tries to come back", LOWER, "Tries to come back."),
            (
                "storm.failed_attempts",
                "failed tries to come back",
                LOWER,
                "Those of these tries that failed.",
            ),
        ),
    ),
    _group(
        "Scenario drain",
        "Seen by the clients and by who signals the target: when clients are told, newcomers "
        "refused, and its processes gone.",
        (
            (
                "drain.attempts",
                "tries to come back",
                LOWER,
                "Tries to come back to the restarted target.",
            ),
            (
                "drain.failed_attempts",
                "failed tries to come back",
                LOWER,
                "Those of these tries that failed.",
            ),
            ("drain.connected", "clients at the signal", NEITHER, "Clients at the signal."),
            (
                "drain.processes",
                "target's processes at the signal",
                NEITHER,
                "Processes of the target at the signal.",
            ),
            ("drain.told", "clients told", HIGHER, "Clients that were told."),
            (
                "drain.told_first_seconds",
                "first client told after",
                LOWER,
                "From the signal until the first client was told.",
            ),
            (
                "drain.told_median_seconds",
                "half of the clients told after",
                LOWER,
                "From the signal until half of them were.",
            ),
            (
                "drain.told_p99_seconds",
                "99 % of the clients told after",
                LOWER,
                "From the signal until 99 % were.",
            ),
            (
                "drain.told_last_seconds",
                "last client told after",
                LOWER,
                "From the signal until the last one was.",
            ),
            (
                "drain.accepted",
                "newcomers accepted",
                LOWER,
                "Newcomers that were accepted after the signal.",
            ),
            (
                "drain.refused_status",
                "status of refusals",
                NEITHER,
                "The HTTP status that newcomers got.",
            ),
            (
                "drain.refused_seconds",
                "first refusal after",
                LOWER,
                "From the signal until the first newcomer was refused.",
            ),
            (
                "drain.exit_seconds",
                "target exited after",
                LOWER,
                "From the signal until the target had exited.",
            ),
            ("drain.exit_status", "exit status", NEITHER, "The exit status of the target."),
            (
                "drain.left_processes",
                "processes left behind",
                LOWER,
                "Processes that the target left behind.",
            ),
        ),
    ),
    _group(
        "CPU time of the server",
        "Each process's own CPU clock, of the target's whole process tree, between the readings at "
        "the beginning and at the end of the measured phase; of threads, `/proc/PID/task/*/"
        "schedstat`.",
        (
            ("server.cpu_ratio", "server CPU", LOWER, "Of a core, all its processes together."),
            (
                "server.cpu_per_message_seconds",
                "server CPU per message",
                LOWER,
                "CPU time over the messages that came.",
            ),
            (
                "server.cpu_per_handshake_seconds",
                "server CPU per handshake",
                LOWER,
                "CPU time from before the first connection until the load, over those opened.",
            ),
            (
                "server.busiest_thread_ratio",
                "server's busiest thread",
                LOWER,
                "Of a core, its busiest thread.",
            ),
        ),
    ),
    _group(
        "Memory of the server",
        "Of the target's whole process tree: PSS from `/proc/PID/smaps_rollup`, which divides "
        "shared pages among their users; RSS where it says so; sockets from `/proc/net/sockstat` "
        "and slabs from `/proc/meminfo`, of all processes of the host.",
        (
            (
                "server.memory_bytes",
                "server memory",
                LOWER,
                "Proportional set size at the end of the measured phase.",
            ),
            (
                "server.memory_per_connection_bytes",
                "server memory per connection",
                LOWER,
                "The slope of a line over the `--steps`, four or more.",
            ),
            (
                "server.memory_growth_per_connection_bytes",
                "server memory growth per connection",
                LOWER,
                "From before the first connection, of a target that the run started.",
            ),
            (
                "server.kernel_memory_per_connection_bytes",
                "kernel memory per connection, both ends",
                LOWER,
                "The slope of TCP memory and slabs of the host.",
            ),
            (
                "server.rss_bytes",
                "server memory (RSS)",
                LOWER,
                "Resident set size at the end of the measured phase.",
            ),
            (
                "server.rss_peak_bytes",
                "server memory at most (RSS)",
                LOWER,
                "The most in the measured phase.",
            ),
            (
                "server.rss_growth_bytes",
                "server memory growth (RSS)",
                LOWER,
                "The most over what it was when the measured phase began.",
            ),
        ),
    ),
    _group(
        "Processes of the server",
        "Read from `/proc` at the end of the measured phase.",
        (
            (
                "server.unreadable_processes",
                "unreadable processes",
                NEITHER,
                "Processes of the target that may not be looked at.",
            ),
            ("server.threads", "server threads", NEITHER, "Its threads."),
            ("server.files", "server files", NEITHER, "Its open files."),
            ("server.processes", "server processes", NEITHER, "Its processes."),
        ),
    ),
    _group(
        "The generator",
        "Of each swarm process: its own CPU clock and its waits for a core, by "
        "`/proc/self/schedstat`, in the measured phase, its memory as PSS, and what it had open "
        "when it ended.",
        (
            (
                "connections.lost_by_generator",
                "connections lost by the generator",
                LOWER,
                "Those open in a swarm process that ended.",
            ),
            ("swarm.cpu_ratio", "generator CPU", LOWER, "Of a core, the busiest swarm process."),
            (
                "swarm.runnable_ratio",
                "generator ran or waited",
                LOWER,
                "Of the measured phase, the process that most of it ran or waited for a core.",
            ),
            (
                "swarm.cpu_per_message_seconds",
                "generator CPU per message",
                LOWER,
                "CPU time of all swarm processes over the messages that came.",
            ),
            (
                "swarm.cpu_per_round_trip_seconds",
                "generator CPU per round trip",
                LOWER,
                "CPU time of all swarm processes over the replies.",
            ),
            (
                "swarm.cpu_per_handshake_seconds",
                "generator CPU per handshake",
                LOWER,
                "CPU time of all swarm processes in the opening phase over the connections opened.",
            ),
            (
                "swarm.memory_per_connection_bytes",
                "generator memory per connection",
                LOWER,
                "Its growth from before the first connection.",
            ),
        ),
        Subject.GENERATOR,
    ),
    _group(
        "The machine",
        "Read from `/proc/net/netstat`, `/proc/net/sockstat` and `/proc/stat` of the generator's "
        "host, so of all its processes; between hosts, clocks by the round trips of Locust's "
        "messages.",
        (
            (
                "kernel.listen_overflows",
                "accept queue overflows",
                LOWER,
                "Times that an accept queue of this host was full, anyone's.",
            ),
            (
                "kernel.tcp_memory_bytes",
                "TCP memory of the host",
                LOWER,
                "Socket buffers in use at the end of the measured phase.",
            ),
            (
                "machine.cpu_ratio",
                "machine CPU",
                LOWER,
                "Of all cores, by anyone, while measured; short bursts escape the kernel's clock.",
            ),
            ("machine.steal_ratio", "steal", LOWER, "CPU time that a hypervisor took."),
            (
                "clock.uncertainty_seconds",
                "clock uncertainty",
                LOWER,
                "By how much a time between two hosts may be wrong.",
            ),
        ),
        Subject.MACHINE,
    ),
)

_EACH: Final = {"connection": "connecting", "echo": "an echo", "broadcast": "a broadcast to all"}
_COUNTED: Final = (
    (
        "allocations",
        "allocations",
        "Calls of malloc, calloc and realloc of Python's allocators",
        tuple(_EACH),
    ),
    (
        "instructions",
        "instructions",
        "Instructions of the processor outside the kernel",
        tuple(_EACH),
    ),
    ("system_calls", "system calls", "System calls but for those on sockets", tuple(_EACH)),
    ("writes", "writes", "Writes to transports", ("echo", "broadcast")),
)

APART: Final = (
    _group(
        "Counted without a network",
        "Counted by `swarmgate count` in the server's own code, a process for each kind "
        "(docs/counting.md).",
        (
            (
                "counts.memory_per_connection_bytes",
                "memory a connection, counted",
                LOWER,
                "What Python's allocators were asked for and what stays: the median connection.",
            ),
            *(
                (
                    f"counts.{kind}_per_{each}",
                    f"{label} of {_EACH[each]}",
                    LOWER,
                    f"{what}, for {_EACH[each]}.",
                )
                for kind, label, what, of in _COUNTED
                for each in of
            ),
        ),
    ),
    _group(
        "Primitives alone",
        'Measured by `kind = "alone"` experiments of claims in a fresh process: the growth of '
        "its memory over many of them.",
        (
            (
                "coroutine.memory_bytes",
                "bare coroutine",
                LOWER,
                "Private memory of a suspended coroutine.",
            ),
            (
                "coroutine.task_memory_bytes",
                "coroutine with its task",
                LOWER,
                "The same with the asyncio task that it needs to be scheduled.",
            ),
            (
                "thread.resident_bytes",
                "thread, resident",
                LOWER,
                "Private memory of a thread that waits.",
            ),
            (
                "thread.virtual_bytes",
                "thread, virtual",
                LOWER,
                "Address space of a thread that waits.",
            ),
            (
                "thread.kernel_stack_bytes",
                "thread, kernel stack",
                LOWER,
                "The kernel's own stack of a thread that waits.",
            ),
        ),
        Subject.MACHINE,
    ),
    _group(
        "A server's Redis",
        "Seen by claims of servers whose command has a place for `{redis}`, which ask Redis itself "
        "ten times a second.",
        (
            (
                "redis.connections_peak",
                "connections to Redis",
                LOWER,
                "The most connections that the server had to it at once.",
            ),
            ("redis.looks", "looks at Redis", NEITHER, "How many times it was asked."),
        ),
    ),
)
"""Figures of claims and gates that are no figures of a run."""
