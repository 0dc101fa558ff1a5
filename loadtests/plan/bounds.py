"""Bounds beyond which the generator itself affects the figures; each process is judged alone."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace

from reports.units import format_figure, parse_figure


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds that a generator must stay within for its run to be valid.

    Attributes:
        lateness_p99_seconds: how late 1 % of the messages (at least three of them) may be sent.
        loop_lag_p99_seconds: how late the swarm's event loop may handle what is due, in 1 % of
            checks. A closed model keeps the loop busy on purpose, so it is not judged by this;
            neither is a process that receives a broadcast, because the server causes the burst.
        gc_pause_seconds: how long a garbage collection may stop everything.
        runnable_ratio: the share of the time that a process may run or wait for a core. A closed
            model is not judged by this; a warning states that the generator limits its latencies.
        achieved_ratio: the share of the requested rate that must have been sent.
        steal_ratio: the share of CPU time taken by a hypervisor above which a warning is given.
    """

    lateness_p99_seconds: float = 0.005
    loop_lag_p99_seconds: float = 0.05
    gc_pause_seconds: float = 0.1
    runnable_ratio: float = 0.95
    achieved_ratio: float = 0.99
    steal_ratio: float = 0.05


def parse_bounds(texts: Iterable[str]) -> Bounds:
    """Parse texts such as ``lateness_p99_seconds=20ms``; bounds not named keep their defaults.

    Raises:
        ValueError: unknown bound, or invalid value.
    """
    names = [field.name for field in fields(Bounds)]
    bounds = Bounds()
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name not in names:
            raise ValueError(
                f"{text!r} is not a bound; write NAME=VALUE, with one of {', '.join(names)}"
            )
        number = parse_figure(name, value)
        if not number >= 0:
            raise ValueError(f"{text!r}: a bound must be 0 or more")
        bounds = replace(bounds, **{name: number})
    return bounds


def changed(bounds: Bounds) -> Iterator[str]:
    """Yield the texts of the bounds that differ from their defaults."""
    for field in fields(Bounds):
        value = getattr(bounds, field.name)
        if value != field.default:
            yield f"{field.name}={value:g}"


def formatted(bounds: Bounds) -> Iterator[tuple[str, str]]:
    """Yield the names and formatted values of the same bounds, for display."""
    for text in changed(bounds):
        name, _, value = text.partition("=")
        yield name, format_figure(name, float(value))
