"""Every figure by its name, with what it means: what thresholds and claims may ask for.

docs/figures.md is this list with its sentences; a test holds the two together.
"""

import difflib
import re
from collections.abc import Mapping
from typing import Final

DURATIONS: Final[Mapping[str, str]] = {
    "latency": "Latency, from the intended send time",
    "service_time": "Service time, from the actual send",
    "acknowledgement": "Acknowledgement",
    "delivered": "Delivery at each receiver",
    "delivered_before": "Delivery before there were slow receivers",
    "delivered_beside_slow": "Delivery beside slow receivers",
    "back": "Back again after",
    "arrival": "Arrival, from its intended moment",
    "iteration": "Iteration of the script",
    "told": "Told of the stop, after the signal",
    "ping_round_trip": "Ping to pong",
    "ping_interval": "Interval of pings",
    "ping_jitter": "Jitter of pings",
    "heartbeat_interval": "Interval of heartbeats",
    "heartbeat_jitter": "Jitter of heartbeats",
    "detected": "Half-open connection detected",
    "open": "Opening a connection",
    "tcp_connect": "Opening: TCP connect",
    "tls": "Opening: TLS handshake",
    "upgrade": "Opening: WebSocket upgrade",
    "setup": "Opening: what is done before the handshake",
    "ready": "Opening: made ready by its steps",
    "first_message": "First message after opening, before the load or of who comes during it",
    "open_later": "Opening during the load",
    "tcp_connect_later": "Opening during the load: TCP connect",
    "tls_later": "Opening during the load: TLS handshake",
    "upgrade_later": "Opening during the load: WebSocket upgrade",
    "setup_later": "Opening during the load: what is done before the handshake",
    "ready_later": "Opening during the load: made ready by its steps",
    "lateness": "Sent late by the generator",
    "loop_lag": "Lag of the generator's event loop",
    "gc_pause": "Pause of the generator's garbage collector",
}
"""What is timed, for a person; a script's own measures keep the names that it gave them."""

STATISTICS: Final[Mapping[str, str]] = {
    "count": "how many there were",
    "mean_seconds": "their mean",
    "max_seconds": "the longest",
    "p50_seconds": "the median",
    "p90_seconds": "90 % took no longer",
    "p99_seconds": "99 % took no longer",
    "p999_seconds": "99.9 % took no longer",
}
"""What is told of each kind of duration, as ``latency.p99_seconds``."""

SINGLE: Final[Mapping[str, str]] = {
    "errors": "everything that went wrong, of all kinds together",
    "connections.requested": "asked for; in a live load the most users that there were",
    "connections.opened": "opened in the opening phase",
    "connections.opened_per_second": "opened in the opening phase, over its length",
    "connections.asked_per_second": "Locust's spawn rate, of all its users, as it was last",
    "connections.opened_later": "opened during the load",
    "connections.open": "open at the end of the measured phase",
    "connections.overdue": "due for a second and not open when the load ended or they were let go",
    "connections.failed": "tried and not opened",
    "connections.lost_by_generator": "open in a swarm process that ended",
    "messages.sent": "by the load",
    "messages.received": "all that came, pings and pongs excepted",
    "messages.unsolicited": "came and were neither a reply nor a delivery",
    "messages.sent_per_second": "in the measured phase",
    "messages.received_per_second": "in the measured phase",
    "integrity.expected": "replies or deliveries that were to come",
    "integrity.lost": "never came",
    "integrity.missed": "sent while their receiver was not connected",
    "integrity.duplicated": "came again",
    "integrity.reordered": "came after a later one (RFC 4737 section 3.3)",
    "integrity.late": "came, but later than --late",
    "integrity.corrupted": "came with something else in them than was sent",
    "delivery.messages": "broadcasts of which something came",
    "delivery.first_seconds": "to the first receiver, the mean over the broadcasts",
    "delivery.half_seconds": "until half of the receivers had it, likewise",
    "delivery.most_seconds": "until 99 % of the receivers had it, likewise",
    "delivery.last_seconds": "to the last receiver, likewise",
    "delivery.last_max_seconds": "to the last receiver of the slowest broadcast",
    "ready.sent": "sent by the steps before the load",
    "ready.received": "passed over or waited for by the steps before the load",
    "answers.sent": "given to what the server said, by --answer",
    "churn.arrivals": "clients that were to come",
    "churn.arrived": "clients that came",
    "churn.left": "clients that left",
    "heartbeat.beats": "heartbeat messages of the measured phase",
    "heartbeat.expected": "heartbeat messages that were to come",
    "heartbeat.pings_sent": "by us",
    "heartbeat.pings_received": "from the server",
    "heartbeat.pongs": "answers to our pings",
    "heartbeat.detected": "silent clients that the server has given up on",
    "slow-consumer.slow": "clients that became slow",
    "slow-consumer.withheld": "messages that slow ones never got",
    "slow-consumer.ended": "slow ones that the server ended",
    "storm.dropped": "connections that ended",
    "storm.back": "clients that came back",
    "storm.attempts": "tries to come back",
    "storm.failed_attempts": "of these, those that failed",
    "drain.attempts": "tries to come back to the restarted target",
    "drain.failed_attempts": "of these, those that failed",
    "drain.connected": "clients at the signal",
    "drain.processes": "of the target at the signal",
    "drain.told": "clients that were told",
    "drain.told_first_seconds": "from the signal until the first was told",
    "drain.told_median_seconds": "until half of them were",
    "drain.told_p99_seconds": "until 99 % were",
    "drain.told_last_seconds": "until the last one was",
    "drain.accepted": "newcomers that were accepted after the signal",
    "drain.refused_status": "the HTTP status that newcomers got",
    "drain.refused_seconds": "from the signal until the first newcomer was refused",
    "drain.exit_seconds": "from the signal until the target had exited",
    "drain.exit_status": "of the target",
    "drain.left_processes": "that the target left behind",
    "server.cpu_ratio": "of a core, all processes of the target together, in the measured phase",
    "server.cpu_per_message_seconds": "its CPU time over the messages that came",
    "server.busiest_thread_ratio": "of a core, its busiest thread, in the measured phase",
    "server.unreadable_processes": "of the target, that may not be looked at",
    "server.memory_bytes": "its proportional set size at the end of the measured phase",
    "server.memory_per_connection_bytes": "the slope over the --steps, four or more",
    "server.memory_growth_per_connection_bytes": "from before the first connection, of a target "
    "that the run started",
    "server.kernel_memory_per_connection_bytes": "slope of TCP memory and slabs of the host",
    "server.rss_bytes": "its resident set size at the end of the measured phase",
    "server.rss_peak_bytes": "the most in the measured phase",
    "server.rss_growth_bytes": "the most over what it was when the phase began",
    "server.threads": "at the end of the measured phase",
    "server.files": "open at the end of the measured phase",
    "server.processes": "at the end of the measured phase",
    "swarm.cpu_ratio": "of a core, the busiest swarm process, in the measured phase",
    "swarm.runnable_ratio": "of the measured phase, the process that most of it ran or waited for "
    "a core",
    "swarm.cpu_per_message_seconds": "its CPU time over the messages that came",
    "swarm.cpu_per_round_trip_seconds": "its CPU time over the replies, in the measured phase",
    "swarm.memory_per_connection_bytes": "from before the first connection",
    "kernel.listen_overflows": "accept queues of this host that were full, anyone's",
    "kernel.tcp_memory_bytes": "of this host at the end of the measured phase",
    "machine.cpu_ratio": "of all cores of this host, by anyone, in the measured phase; short "
    "bursts escape the kernel's clock",
    "machine.steal_ratio": "CPU time that a hypervisor took",
    "clock.uncertainty_seconds": "by how much a time between two hosts may be wrong",
}

_PATTERNS: Final = (
    r"drain\.closed_\d{4}",
    r"(?:storm|drain)\.failed_attempts\[.+\]",
)
_MOST_NEAR: Final = 3


def is_known(name: str) -> bool:
    """Tell whether a run of a built-in scenario may have a figure of that name."""
    kind, _, statistic = name.rpartition(".")
    return (
        name in SINGLE
        or (kind in DURATIONS and statistic in STATISTICS)
        or any(re.fullmatch(pattern, name) for pattern in _PATTERNS)
    )


def against_figure(name: str, scenario: str) -> str:
    """Say that a run of a scenario has no such figure, and which come near; nothing if it may.

    A script, whose scenario is a file, has whatever figures it likes.
    """
    if scenario.endswith(".py") or is_known(name):
        return ""
    every = [*SINGLE, *(f"{kind}.{statistic}" for kind in DURATIONS for statistic in STATISTICS)]
    near = difflib.get_close_matches(name, every, n=_MOST_NEAR)
    meant = f"; did you mean {', '.join(near)}?" if near else ""
    return f"no figure is called {name!r}{meant} (docs/figures.md lists them)"
