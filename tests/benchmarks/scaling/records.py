"""Records of runs whose figures a test has made up, written as a run would write them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from reports.record import Delivery, Event, Line, RecordWriter, Sample, Target
from tests.reports.builders import footer, header, interval

SECOND_NS = 10**9
COMMAND = ("server", "--port", "50001", "--workers", "2")
KERNEL = {
    "slab_bytes": 1e8,
    "listen_overflows": 0.0,
    "cpu_busy_seconds": 1.0,
    "cpu_idle_seconds": 1.0,
    "cpu_steal_seconds": 0.0,
}
SERVER = {
    "rss_bytes": 1e8,
    "threads": 1.0,
    "files": 1.0,
    "processes": 1.0,
    "unreadable": 0.0,
}


def write_run(
    path: Path,
    connections: int,
    *,
    memory_bytes: float,
    kernel_bytes: float = 1e7,
    cpu_seconds: float = 0.1,
    last_seconds: float | None = None,
    received: int = 0,
    command: tuple[str, ...] = COMMAND,
    ended: bool = True,
    valid: bool = True,
    opened: int | None = None,
    **changes: Any,
) -> Path:
    """Write one run of one measured second."""
    load = {"connections": connections, "rate": None, "duration_seconds": 1.0}
    values = {"scenario": "hold", "load": load | changes.pop("load", {})} | changes
    target = Target("ws://127.0.0.1:50001/ws", "127.0.0.1:50001", command, (1,))
    begun = {"connections": float(connections)}

    def kernel(t_ns: int, mark: str, held: float, **more: float) -> Sample:
        return Sample(t_ns, "kernel", KERNEL | {"tcp_memory_bytes": held} | more, mark)

    def server(t_ns: int, mark: str, cpu: float) -> Sample:
        read = {"cpu_seconds": cpu, "pss_bytes": memory_bytes}
        return Sample(t_ns, "server", SERVER | read | begun, mark)

    open_now = float(connections if opened is None else opened)
    deliveries = (
        ()
        if last_seconds is None
        else (Delivery(0, connections, 1, round(last_seconds * SECOND_NS), ""),)
    )
    lines: list[Line] = [
        replace(header(**values), target=target),
        kernel(1, "start", 0.0, connections=0.0),
        Event(2, "phase", {"phase": "measure"}),
        server(3, "measure_begin", 0.0),
        kernel(3, "measure_begin", kernel_bytes, **begun),
        interval(1.0, open=connections, deliveries=deliveries, received=received, sent=received),
        server(3 + SECOND_NS, "measure_end", cpu_seconds),
        kernel(3 + SECOND_NS, "measure_end", kernel_bytes, connections=open_now),
    ]
    if ended:
        lines.append(footer(valid=valid, reasons=() if valid else ("sent late",)))
    with RecordWriter(path) as writer:
        for line in lines:
            writer.write(line)
    return path
