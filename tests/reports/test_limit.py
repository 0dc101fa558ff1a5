"""Who was the limit of a run follows from what was busy, and is said with its evidence."""

import pytest

from reports.limit import limit_of
from reports.record import Line, Sample
from reports.summary import MARK_MEASURE_BEGIN, MARK_MEASURE_END, Totals
from tests.reports.builders import event, footer, header, interval

FREE = {
    "server.busiest_thread_ratio": 0.4,
    "swarm.runnable_ratio": 0.3,
    "machine.cpu_ratio": 0.5,
}


@pytest.mark.parametrize(
    ("busy", "who"),
    [
        ({}, "none of them"),
        ({"server.busiest_thread_ratio": 0.97}, "server"),
        ({"swarm.runnable_ratio": 0.9}, "generator"),
        ({"server.busiest_thread_ratio": 0.9, "swarm.runnable_ratio": 1.0}, "server and generator"),
        ({"machine.cpu_ratio": 0.96}, "machine"),
        ({"machine.cpu_ratio": 0.94}, "none of them"),
    ],
)
def test_whatever_was_busy_was_the_limit(busy: dict[str, float], who: str) -> None:
    limit = limit_of(FREE | busy)
    assert limit is not None
    assert limit.who == who
    assert len(limit.evidence) == 2 + ("machine" in limit.parts)


def test_a_server_that_was_not_watched_is_not_acquitted() -> None:
    limit = limit_of({"swarm.runnable_ratio": 0.3})
    assert limit is not None
    assert (
        str(limit)
        == "not the generator (the generator ran or waited for a core 30.0 % of the time)"
    )


def test_a_run_without_a_load_has_no_limit() -> None:
    assert limit_of({"connections.opened": 1.0}) is None


def second(t_seconds: float, source: str, mark: str = "", **values: float) -> Sample:
    return Sample(round(t_seconds * 1e9), source, values | {"connections": 1.0}, mark)


def kernel(t_seconds: float, mark: str, busy: float, idle: float) -> Sample:
    times = {"cpu_busy_seconds": busy, "cpu_idle_seconds": idle, "cpu_steal_seconds": 0.0}
    return second(t_seconds, "kernel", mark, listen_overflows=0.0, tcp_memory_bytes=0.0, **times)


def test_the_busy_shares_are_of_the_measured_phase_alone() -> None:
    rest = {"cpu_seconds": 1.0, "rss_bytes": 1.0, "pss_bytes": 1.0, "threads": 1.0, "files": 1.0}
    rest["processes"] = 1.0
    lines: list[Line] = [
        header(),
        interval(1, "open", opened=100, cpu_ns=10**9),
        second(1, "server", busiest_thread_ratio=0.9, **rest),
        event("phase", phase="measure"),
        second(2, "server", MARK_MEASURE_BEGIN, busiest_thread_ratio=0.8, **rest),
        kernel(2, MARK_MEASURE_BEGIN, busy=10, idle=10),
        second(3, "server", busiest_thread_ratio=0.5, **rest),
        interval(4, cpu_ns=500_000_000, waited_ns=250_000_000),
        second(5, "server", MARK_MEASURE_END, busiest_thread_ratio=0.2, **rest),
        kernel(5, MARK_MEASURE_END, busy=13, idle=11),
        event("phase", phase="close"),
        second(6, "server", busiest_thread_ratio=1.0, **rest),
        footer(),
    ]
    totals = Totals()
    for line in lines:
        totals.add(line)
    figures = totals.figures()
    assert figures["server.busiest_thread_ratio"] == pytest.approx((0.5 * 1 + 0.2 * 2) / 3)
    assert figures["swarm.runnable_ratio"] == pytest.approx(0.75)
    assert figures["swarm.cpu_ratio"] == pytest.approx(0.5)
    assert figures["machine.cpu_ratio"] == pytest.approx(0.75)
