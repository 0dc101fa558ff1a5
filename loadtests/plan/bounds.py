"""Beyond which the generator itself is in the figures: each of its processes is judged alone."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace

from reports.units import format_figure, parse_figure


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a generator must keep to for its run to be valid.

    Attributes:
        lateness_p99_seconds: how late 1 % of the messages may be sent, three of them at least.
        loop_lag_p99_seconds: how late the swarm's event loop may get to what is due, in 1 % of
            looks. A closed model keeps the loop busy on purpose, so it is not judged by it, nor is
            a process that receives a broadcast, whose burst is the server's making.
        gc_pause_seconds: the longest that a garbage collection may stop everything.
        runnable_ratio: the share of the time that a process may run or wait for a core. A closed
            model is not judged by it: a warning says that the generator bounds its latencies.
        achieved_ratio: the share of the asked rate that must have been sent.
        steal_ratio: CPU time taken by a hypervisor, above which figures are warned about.
    """

    lateness_p99_seconds: float = 0.005
    loop_lag_p99_seconds: float = 0.05
    gc_pause_seconds: float = 0.1
    runnable_ratio: float = 0.95
    achieved_ratio: float = 0.99
    steal_ratio: float = 0.05


def parse_bounds(texts: Iterable[str]) -> Bounds:
    """Read texts like ``lateness_p99_seconds=20ms``; what none of them names stays as it is.

    Raises:
        ValueError: no such bound, or a value that cannot be one.
    """
    names = [field.name for field in fields(Bounds)]
    bounds = Bounds()
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name not in names:
            raise ValueError(f"{text!r} is no bound; write NAME=VALUE, of {', '.join(names)}")
        number = parse_figure(name, value)
        if not number >= 0:
            raise ValueError(f"{text!r}: a bound must be 0 or more")
        bounds = replace(bounds, **{name: number})
    return bounds


def changed(bounds: Bounds) -> Iterator[str]:
    """Yield the texts of those that are not as they are by default."""
    for field in fields(Bounds):
        value = getattr(bounds, field.name)
        if value != field.default:
            yield f"{field.name}={value:g}"


def told(bounds: Bounds) -> Iterator[tuple[str, str]]:
    """Yield the names and values of the same for a person."""
    for text in changed(bounds):
        name, _, value = text.partition("=")
        yield name, format_figure(name, float(value))
