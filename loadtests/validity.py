"""Whether a run measured the server or its own generator: pure arithmetic on what was recorded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from loadtests.dial import LOCAL_CAUSES
from loadtests.plan import Plan
from reports.summary import Totals

ADVICE: Final = "use more --processes, or less load for each"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Beyond these the generator itself is in the figures.

    Attributes:
        lateness_p99_seconds: how late 1 % of the messages may be sent.
        loop_lag_p99_seconds: how late the swarm's event loop may get to what is due, in 1 % of
            looks. A closed model keeps the loop busy on purpose, so it is not judged by it.
        achieved_ratio: the share of the asked rate that must have been sent.
        steal_ratio: CPU time taken by a hypervisor, above which figures are warned about.
    """

    lateness_p99_seconds: float = 0.005
    loop_lag_p99_seconds: float = 0.05
    achieved_ratio: float = 0.99
    steal_ratio: float = 0.05


def reasons_against(plan: Plan, totals: Totals, thresholds: Thresholds) -> tuple[str, ...]:
    """Say why a run's figures may not be judged; nothing when they may."""
    figures = totals.figures()
    reasons = [
        *_connection_reasons(plan, totals),
        *_generator_reasons(plan, figures, totals.errors["send:closed"], thresholds),
    ]
    if totals.counts["clipped"]:
        reasons.append(f"{totals.counts['clipped']} durations were above one hour and are cut off")
    return tuple(reasons)


def _connection_reasons(plan: Plan, totals: Totals) -> list[str]:
    reasons = []
    if not totals.counts["opened"]:
        causes = ", ".join(f"{kind} × {count:,}" for kind, count in totals.errors.most_common(3))
        reasons.append(
            f"no connection to {plan.url} could be opened ({causes or 'none was tried'})"
        )
    for kind, count in totals.errors.items():
        if kind.partition(":")[2] in LOCAL_CAUSES:
            reasons.append(
                f"{count:,} connections failed with {kind}, a limit of this machine and not of "
                "the server; `swarmgate doctor` says which"
            )
    return reasons


def _generator_reasons(
    plan: Plan, figures: Mapping[str, float], closed: int, thresholds: Thresholds
) -> list[str]:
    reasons = []
    late = figures.get("lateness.p99_seconds", 0.0)
    if late > thresholds.lateness_p99_seconds:
        reasons.append(
            f"the generator sent late: 1 % of messages by {late * 1e3:.1f} ms or more, allowed "
            f"are {thresholds.lateness_p99_seconds * 1e3:.0f} ms; {ADVICE}"
        )
    if plan.rate is None:
        return reasons
    lag = figures.get("loop_lag.p99_seconds", 0.0)
    if plan.scenario != "broadcast" and lag > thresholds.loop_lag_p99_seconds:
        reasons.append(
            f"the generator's event loop lagged: 1 % of the time by {lag * 1e3:.0f} ms or more, "
            f"allowed are {thresholds.loop_lag_p99_seconds * 1e3:.0f} ms; {ADVICE}"
        )
    if plan.scenario == "hold":
        return reasons
    asked = plan.rate * plan.duration_seconds
    # A message that found its connection closed was tried in time; that is the server's doing.
    sent = figures.get("messages.sent", 0.0) + closed
    # One message more or less is the schedule's edge, not a generator that fell behind; arrivals
    # of a Poisson process scatter by the root of their number.
    slack = 1 + (4 * asked**0.5 if plan.arrivals == "poisson" else 0)
    if sent < asked * thresholds.achieved_ratio - slack:
        reasons.append(
            f"the load was not reached: {sent:,.0f} messages sent of {asked:,.0f} asked for; "
            f"{ADVICE}, or look at the errors"
        )
    return reasons


def warnings_about(totals: Totals, thresholds: Thresholds) -> tuple[str, ...]:
    """Say what a reader of the figures should know, though they stand."""
    figures = totals.figures()
    warnings = []
    steal = figures.get("machine.steal_ratio", 0.0)
    if steal > thresholds.steal_ratio:
        warnings.append(
            f"other machines took {steal:.0%} of the CPU time (steal): compare figures only "
            "within one run"
        )
    overflows = figures.get("kernel.listen_overflows", 0.0)
    if overflows:
        warnings.append(
            f"the server's accept queue overflowed {overflows:,.0f} times, which delays connects "
            "by 1 s or 3 s; fewer --concurrent, or a larger backlog"
        )
    return tuple(warnings)
