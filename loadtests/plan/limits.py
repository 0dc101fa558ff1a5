"""The limits of this machine that a load can hit, their values, and what lifts each."""

import math
import resource
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import psutil

from loadtests.errors import LimitError
from loadtests.plan.connect_options import ConnectOptions
from loadtests.plan.plan import Endpoint

# Open files of a swarm process that are not connections: pipes, timers, the loop's own.
SPARE_FILES: Final = 64
# Ports are found by trying; near exhaustion that takes long, so a share is left unused.
USABLE_PORT_SHARE: Final = 0.95
# Enough for a swarm connection and a lean server's end of it; a heavier server needs more.
BYTES_PER_CONNECTION: Final = 64 * 1024

_SYSCTL: Final = Path("/proc/sys")


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits as read from this machine.

    Attributes:
        files, files_hard: open files a process may have now, and may ask for (RLIMIT_NOFILE).
        files_machine: open files on the whole machine.
        port_low, port_high: the ephemeral ports, one for each connection to one address from one
            source address.
        listen_backlog: connections that may wait to be accepted (somaxconn).
        syn_backlog: TCP handshakes that may be half done.
        tcp_memory_bytes: socket buffers on the whole machine before TCP refuses (tcp_mem, maximum).
        memory_available_bytes: memory free for new use.
    """

    files: int
    files_hard: int
    files_machine: int
    port_low: int
    port_high: int
    listen_backlog: int
    syn_backlog: int
    tcp_memory_bytes: int
    memory_available_bytes: int

    @property
    def ports(self) -> int:
        """Ephemeral ports that one source address can be expected to find."""
        return int((self.port_high - self.port_low + 1) * USABLE_PORT_SHARE)

    @property
    def connections_per_process(self) -> int:
        """Connections that fit within one swarm process's limit of open files."""
        return self.files_hard - SPARE_FILES

    def as_record(self) -> dict[str, int]:
        """Return the limits by name, for a record's header."""
        return asdict(self)


def read_limits() -> Limits:
    """Read the limits in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low, high = _sysctl("net/ipv4/ip_local_port_range")
    return Limits(
        files=soft,
        files_hard=hard,
        files_machine=_sysctl("fs/file-max")[0],
        port_low=low,
        port_high=high,
        listen_backlog=_sysctl("net/core/somaxconn")[0],
        syn_backlog=_sysctl("net/ipv4/tcp_max_syn_backlog")[0],
        tcp_memory_bytes=_tcp_memory_bytes(),
        memory_available_bytes=psutil.virtual_memory().available,
    )


def processes_for(connections: int, limits: Limits) -> int:
    """Return the smallest number of swarm processes whose open files allow these connections."""
    return math.ceil(connections / limits.connections_per_process)


def sources_for(
    connections: int, endpoint: Endpoint, limits: Limits, options: ConnectOptions
) -> tuple[str, ...]:
    """Return source addresses with enough ports; none if the kernel may choose.

    Raises:
        LimitError: more connections than ports, to an address outside this machine's
            127.0.0.0/8, the only network where more source addresses come at no cost.
    """
    if options.unix_socket is not None:
        return ()
    if given := options.source_addresses():
        if connections > len(given) * limits.ports:
            raise LimitError(
                f"{connections:,} connections from {len(given)} source address(es) need as many "
                f"ports; each has {limits.ports:,}. Name more with --source. What fits now: "
                f"{len(given) * limits.ports:,}"
            )
        return given
    if connections <= limits.ports:
        return ()
    if not (ip_address(endpoint.host).version == 4 and ip_address(endpoint.host).is_loopback):
        raise LimitError(
            f"{connections:,} connections to {endpoint} need as many ephemeral ports; "
            f"net.ipv4.ip_local_port_range leaves {limits.ports:,}. Lift it with: sysctl -w "
            f"net.ipv4.ip_local_port_range='1024 65535'. What fits now: {limits.ports:,}"
        )
    needed = math.ceil(connections / limits.ports)
    return tuple(f"127.0.0.{number}" for number in range(1, needed + 1))


def check_files(connections: int, processes: int, limits: Limits) -> None:
    """Check that each process may open its share of the connections.

    Raises:
        LimitError: it may not.
    """
    needed = math.ceil(connections / processes) + SPARE_FILES
    if needed <= limits.files_hard:
        return
    fits = processes * limits.connections_per_process
    raise LimitError(
        f"{connections:,} connections in {processes} process(es) need {needed:,} open files each; "
        f"RLIMIT_NOFILE allows {limits.files_hard:,}. Use --processes "
        f"{processes_for(connections, limits)}, or lift the limit with: ulimit -Hn {needed}. "
        f"What fits now: {fits:,}"
    )


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report.

    Attributes:
        name: the limit, by its system name.
        value: its value, for display.
        fits: how many connections it allows, or None if it bounds something else.
        meaning: what happens at the limit.
        remedy: the command that lifts it.
    """

    name: str
    value: str
    fits: int | None
    meaning: str
    remedy: str


def diagnose(limits: Limits) -> tuple[Finding, ...]:
    """Return what each limit allows and how to lift it."""
    return (
        Finding(
            "RLIMIT_NOFILE",
            f"{limits.files_hard:,} (now {limits.files:,})",
            limits.connections_per_process,
            "connections per swarm process, and per server process; EMFILE beyond it",
            "ulimit -Hn 200000, or LimitNOFILE= of the service",
        ),
        Finding(
            "fs.file-max",
            f"{limits.files_machine:,}",
            limits.files_machine // 2,
            "open files of all processes; a loopback connection takes two; ENFILE beyond it",
            "sysctl -w fs.file-max=2000000",
        ),
        Finding(
            "net.ipv4.ip_local_port_range",
            f"{limits.port_low}-{limits.port_high}",
            limits.ports,
            "connections per source address to one port; EADDRNOTAVAIL beyond it "
            "(127.0.0.0/8 is spread over by itself)",
            "sysctl -w net.ipv4.ip_local_port_range='1024 65535'",
        ),
        Finding(
            "net.core.somaxconn",
            f"{limits.listen_backlog:,}",
            None,
            "connections waiting for accept; beyond it connects take 1 s or 3 s",
            "sysctl -w net.core.somaxconn=65535, and the server's own backlog",
        ),
        Finding(
            "net.ipv4.tcp_max_syn_backlog",
            f"{limits.syn_backlog:,}",
            None,
            "TCP handshakes half done; beyond it connects are retried",
            "sysctl -w net.ipv4.tcp_max_syn_backlog=65535",
        ),
        Finding(
            "net.ipv4.tcp_mem",
            f"{limits.tcp_memory_bytes / 1e9:.2f} GB",
            None,
            "socket buffers in use on the machine; beyond it TCP drops",
            "sysctl -w net.ipv4.tcp_mem='1000000 2000000 4000000'",
        ),
        Finding(
            "memory available",
            f"{limits.memory_available_bytes / 1e9:.1f} GB",
            limits.memory_available_bytes // BYTES_PER_CONNECTION,
            f"at {BYTES_PER_CONNECTION // 1024} KiB for both ends of a connection",
            "a larger machine, or fewer connections",
        ),
    )


def _tcp_memory_bytes() -> int:
    try:
        return _sysctl("net/ipv4/tcp_mem")[2] * resource.getpagesize()
    except FileNotFoundError:
        # A container with its own network does not see it; memory itself is the limit then.
        return int(psutil.virtual_memory().total)


def _sysctl(name: str) -> list[int]:
    return [int(word) for word in (_SYSCTL / name).read_text().split()]
