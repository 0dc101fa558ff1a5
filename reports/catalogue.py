"""The catalogue of figures: what is measured, in groups that are measured the same way.

These are the figures that a run may have regardless of its scenario, which adds its own
(:mod:`reports.measures`); :mod:`reports.figures` looks up names.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from reports.figure import Better, Figure, Row, Subject, measured_alike


@dataclass(frozen=True, slots=True)
class Group:
    """Figures that are measured the same way."""

    title: str
    how: str
    figures: tuple[Figure, ...]


def _group(title: str, how: str, rows: Iterable[Row], subject: Subject = Subject.TARGET) -> Group:
    return Group(title, how, measured_alike(how, rows, subject))


LOWER: Final = Better.LOWER
HIGHER: Final = Better.HIGHER
NEITHER: Final = Better.NEITHER

_OPENING: Final = (
    ("open", "", "The whole of opening a connection."),
    ("tcp_connect", ": TCP connect", "Its TCP handshake."),
    ("tls", ": TLS handshake", "Its TLS handshake."),
    ("upgrade", ": WebSocket upgrade", "From the request to the answer that switches protocols."),
    ("setup", ": setup", "The setup before the handshake, such as a login."),
    ("ready", ": ready steps", "The steps that make it ready for the load."),
)

DURATION_GROUPS: Final = (
    _group(
        "Durations of messages",
        "Timed by CLOCK_MONOTONIC from the moment named until the reply or the delivery was read "
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
        ),
    ),
    _group(
        "Durations of connections",
        "Timed by CLOCK_MONOTONIC in the swarm process that has the connection.",
        (
            ("back", "back after", LOWER, "From the end of a connection until it is open again."),
            (
                "arrival",
                "arrival",
                LOWER,
                "From the intended moment until a new connection is open.",
            ),
            (
                "first_message",
                "first message",
                LOWER,
                "From open to the first message, before the load or for a later connection.",
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
        "The same for connections that open during the load.",
        ((f"{key}_later", f"opening later{part}", LOWER, what) for key, part, what in _OPENING),
    ),
    _group(
        "Durations of the generator",
        "Timed by each swarm process for itself, in the measured phase and the collection after "
        "it.",
        (
            ("lateness", "lateness", LOWER, "From the intended to the actual send time."),
            ("loop_lag", "loop lag", LOWER, "How late the event loop runs what is due."),
            ("gc_pause", "GC pause", LOWER, "A pause of the garbage collector."),
        ),
        Subject.GENERATOR,
    ),
)

GROUPS: Final = (
    _group(
        "Errors",
        "Counted by the swarm processes, by phase and cause.",
        (("errors", "errors", LOWER, "All errors, of all kinds."),),
    ),
    _group(
        "Connections",
        "Counted by the swarm processes at each handshake and at each end; the number requested "
        "is from the plan of the run, or from Locust.",
        (
            (
                "connections.requested",
                "connections requested",
                NEITHER,
                "Those requested; in a live load, the largest number of users.",
            ),
            (
                "connections.opened",
                "connections opened",
                HIGHER,
                "Those opened in the opening phase.",
            ),
            (
                "connections.opened_per_second",
                "connections opened a second",
                HIGHER,
                "Those opened in the opening phase, divided by its length.",
            ),
            (
                "connections.asked_per_second",
                "spawn rate requested",
                NEITHER,
                "Locust's last spawn rate, for all its users.",
            ),
            (
                "connections.opened_later",
                "connections opened later",
                NEITHER,
                "Those opened during the load.",
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
                "Those due for a second and not open when the load ended or they were released.",
            ),
            ("connections.failed", "connections failed", LOWER, "Those attempted but not opened."),
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
                "All that arrived, except pings and pongs.",
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
                "Those sent in the measured phase, divided by its length.",
            ),
            (
                "messages.received_per_second",
                "messages received a second",
                HIGHER,
                "Those received in the measured phase, divided by its length.",
            ),
        ),
    ),
    _group(
        "Integrity",
        "From the ledger of message numbers that each connection keeps.",
        (
            (
                "integrity.expected",
                "messages expected",
                NEITHER,
                "Replies or deliveries that should have arrived.",
            ),
            ("integrity.lost", "lost", LOWER, "Those that never arrived."),
            (
                "integrity.missed",
                "missed",
                LOWER,
                "Those sent while their receiver was not connected.",
            ),
            ("integrity.duplicated", "duplicated", LOWER, "Those that arrived again."),
            (
                "integrity.reordered",
                "reordered",
                LOWER,
                "Those that arrived after a later one (RFC 4737 section 3.3).",
            ),
            ("integrity.late", "late", LOWER, "Those that arrived, but later than `--late`."),
            (
                "integrity.corrupted",
                "corrupted",
                LOWER,
                "Those that arrived with other content than was sent.",
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
                "Broadcasts that reached at least one receiver.",
            ),
            (
                "delivery.first_seconds",
                "delivery to the first",
                LOWER,
                "To the first receiver; the mean over the broadcasts.",
            ),
            (
                "delivery.half_seconds",
                "delivery to half",
                LOWER,
                "Until half of the receivers had it; the mean over the broadcasts.",
            ),
            (
                "delivery.most_seconds",
                "delivery to 99 %",
                LOWER,
                "Until 99 % of the receivers had it; the mean over the broadcasts.",
            ),
            (
                "delivery.last_seconds",
                "delivery to the last",
                LOWER,
                "To the last receiver; the mean over the broadcasts.",
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
        "Counted by the swarm processes for each such message.",
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
                "Messages skipped or awaited by the steps before the load.",
            ),
            (
                "answers.sent",
                "answers sent",
                NEITHER,
                "Answers to messages of the server, by `--answer`.",
            ),
        ),
    ),
    _group(
        "CPU time of the server",
        "Each process's own CPU clock, of the target's whole process tree, between the readings at "
        "the beginning and at the end of the measured phase; of threads, `/proc/PID/task/*/"
        "schedstat`.",
        (
            (
                "server.cpu_ratio",
                "server CPU",
                LOWER,
                "As a share of one core, all its processes together.",
            ),
            (
                "server.cpu_per_message_seconds",
                "server CPU per message",
                LOWER,
                "CPU time divided by the messages received.",
            ),
            (
                "server.cpu_per_handshake_seconds",
                "server CPU per handshake",
                LOWER,
                "CPU time from before the first connection until the load, per connection.",
            ),
            (
                "server.busiest_thread_ratio",
                "server's busiest thread",
                LOWER,
                "As a share of one core, its busiest thread.",
            ),
        ),
    ),
    _group(
        "Memory of the server",
        "Of the target's whole process tree: PSS from `/proc/PID/smaps_rollup`, which divides "
        "shared pages among their users; RSS where stated; sockets from `/proc/net/sockstat` and "
        "slabs from `/proc/meminfo`, of all processes of the host.",
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
                "The slope of a line over four or more `--steps`.",
            ),
            (
                "server.memory_growth_per_connection_bytes",
                "server memory growth per connection",
                LOWER,
                "Growth since before the first connection, if the run started the target.",
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
                "peak server memory (RSS)",
                LOWER,
                "The maximum in the measured phase.",
            ),
            (
                "server.rss_growth_bytes",
                "server memory growth (RSS)",
                LOWER,
                "The maximum minus the value at the start of the measured phase.",
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
                "Processes of the target that cannot be inspected.",
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
            (
                "swarm.cpu_ratio",
                "generator CPU",
                LOWER,
                "As a share of one core, the busiest process.",
            ),
            (
                "swarm.runnable_ratio",
                "generator ran or waited",
                LOWER,
                "Share of the measured phase that the busiest process ran or waited for a core.",
            ),
            (
                "swarm.cpu_per_message_seconds",
                "generator CPU per message",
                LOWER,
                "CPU time of all swarm processes divided by the messages received.",
            ),
            (
                "swarm.cpu_per_round_trip_seconds",
                "generator CPU per round trip",
                LOWER,
                "CPU time of all swarm processes divided by the replies.",
            ),
            (
                "swarm.cpu_per_handshake_seconds",
                "generator CPU per handshake",
                LOWER,
                "CPU time of all swarm processes in the opening phase, per connection opened.",
            ),
            (
                "swarm.memory_per_connection_bytes",
                "generator memory per connection",
                LOWER,
                "Growth since before the first connection.",
            ),
        ),
        Subject.GENERATOR,
    ),
    _group(
        "The machine",
        "Read from `/proc/net/netstat`, `/proc/net/sockstat` and `/proc/stat` of the generator's "
        "host, so for all its processes; between hosts, clocks by the round trips of Locust's "
        "messages.",
        (
            (
                "kernel.listen_overflows",
                "accept queue overflows",
                LOWER,
                "How often an accept queue of any process on this host was full.",
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
                "Share of all cores in use while measured; the kernel's clock misses short bursts.",
            ),
            ("machine.steal_ratio", "steal", LOWER, "CPU time that a hypervisor took."),
            (
                "clock.uncertainty_seconds",
                "clock uncertainty",
                LOWER,
                "By how much a time between two hosts may be off.",
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
    ("system_calls", "system calls", "System calls except those on sockets", tuple(_EACH)),
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
                "What Python's allocators provided and still hold: the median connection.",
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
        "Measured by claims about servers whose command contains `{redis}`, which query Redis "
        "itself ten times a second.",
        (
            (
                "redis.connections_peak",
                "connections to Redis",
                LOWER,
                "The largest number of connections that the server had to it at once.",
            ),
            ("redis.looks", "Redis queries", NEITHER, "How many times it was queried."),
        ),
    ),
)
"""Figures of claims and gates that are not figures of a run."""
