"""Whether a run measured the server or its own generator: pure arithmetic on what was recorded."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from loadtests.clients.dial import LOCAL_CAUSES
from loadtests.plan.bounds import Bounds
from loadtests.plan.feed import FeedPolicy
from loadtests.plan.masking import masked_url
from loadtests.plan.plan import Plan
from loadtests.scenarios.figures import measures_of
from loadtests.scenarios.registry import scenario_kind
from reports.histogram import Histogram
from reports.limit import BUSY
from reports.record import Footer
from reports.summary import Totals
from reports.units import format_ratio

ADVICE: Final = "use more --processes, or less load for each"


UNTRIED: Final = "no connection was attempted"

# One or two late messages are a hiccup of the machine, even if they are 1 % of a few.
_FEWEST_LATE: Final = 3


def failures_of(plan: Plan, totals: Totals) -> tuple[str, ...]:
    """Return failures of the target or of a script that left no load to judge."""
    if any(_is_local(kind) for kind in totals.errors):
        return ()
    if plan.users and totals.counts["opened"]:
        return tuple(
            f"{user.name}: {failure}"
            for user in plan.users
            for failure in failures_of(user.plan, totals.users[user.name])
        )
    if not totals.counts["opened"]:
        if not totals.counts["failed"]:
            return ()
        return (f"no connection to {masked_url(plan.url)} could be opened",)
    return () if _is_busy(totals) else tuple(filter(None, [_overdue(totals)]))


def reasons_against(plan: Plan, totals: Totals, *, has_failed: bool = False) -> tuple[str, ...]:
    """Return why a run's figures may not be judged; empty if they may.

    If the target or a script ``has_failed``, it is no surprise that no load was reached.
    """
    if plan.users:
        return tuple(
            f"{user.name}: {reason}"
            for user in plan.users
            for reason in reasons_against(user.plan, totals.users[user.name], has_failed=has_failed)
        )
    reasons = [
        *_local_reasons(totals),
        *(() if has_failed else _untried(totals)),
        *(
            reason
            for process in sorted(totals.open_by_process)
            for reason in process_reasons(plan, process, totals)
        ),
        *(() if has_failed else _load_reasons(plan, totals)),
        *filter(None, [_overdue(totals)] if _is_busy(totals) else []),
    ]
    if totals.counts["clipped"]:
        reasons.append(f"{totals.counts['clipped']} durations were above one hour and are cut off")
    return tuple(reasons)


def _untried(totals: Totals) -> Iterator[str]:
    if not (totals.counts["opened"] or totals.counts["failed"]):
        yield UNTRIED


def _local_reasons(totals: Totals) -> Iterator[str]:
    for kind, count in totals.errors.items():
        if _is_local(kind):
            yield (
                f"{count:,} connections failed with {kind}, a limit of this machine and not of the "
                "server; `swarmgate doctor` shows which"
            )


def _overdue(totals: Totals) -> str:
    """Return how many connections were overdue, if they come and go; empty if none was."""
    if not (count := totals.scenario_counts["connections.overdue"]):
        return ""
    figures = totals.figures()
    asked = figures.get("connections.asked_per_second")
    return (
        f"{count:,} of {figures['connections.requested']:,.0f} connections were not open a second "
        f"after they were due; {figures['connections.opened']:,.0f} were opened, "
        f"{figures.get('connections.opened_per_second', 0.0):,.0f} a second"
        f"{'' if asked is None else f' of {asked:,.0f} requested'}"
    )


def _is_busy(totals: Totals) -> bool:
    """Return whether a swarm process had no headroom left, so that it may be what was slow."""
    return any(ratio >= BUSY for ratio in totals.own_runnable_ratios().values())


def _is_local(kind: str) -> bool:
    return kind.partition(":")[2] in LOCAL_CAUSES


def process_reasons(plan: Plan, process: int, totals: Totals) -> Iterator[str]:
    """Yield why what one swarm process measured does not reflect the server alone."""
    own, bounds = totals.own[process], plan.bounds
    who = f"swarm process {process}"
    late = _percentile_seconds(own, "lateness")
    if late > bounds.lateness_p99_seconds and not _late_by_a_few(own, bounds):
        yield (
            f"{who} sent late: 1 % of messages by {late * 1e3:.1f} ms or more, at most "
            f"{bounds.lateness_p99_seconds * 1e3:.0f} ms is allowed; {ADVICE}"
        )
    pause = own["gc_pause"].max_ns / 1e9 if "gc_pause" in own else 0.0
    if pause > bounds.gc_pause_seconds:
        yield (
            f"{who} was stopped by its garbage collector for {pause * 1e3:.0f} ms, at most "
            f"{bounds.gc_pause_seconds * 1e3:.0f} ms is allowed; use more --processes, so that "
            "each has fewer connections"
        )
    if plan.rate is None:
        return
    lag = _percentile_seconds(own, "loop_lag")
    if lag > bounds.loop_lag_p99_seconds and not measures_of(plan).in_bursts:
        yield (
            f"the event loop of {who} lagged: 1 % of the time by {lag * 1e3:.0f} ms or more, at "
            f"most {bounds.loop_lag_p99_seconds * 1e3:.0f} ms is allowed; {ADVICE}"
        )
    if totals.own_runnable_ratios().get(process, 0.0) > bounds.runnable_ratio:
        allowed = format_ratio(bounds.runnable_ratio)
        yield f"{who} {_ran(totals, process)}, at most {allowed} is allowed; {ADVICE}"


def _ran(totals: Totals, process: int) -> str:
    ran = totals.own_runnable_ratios().get(process, 0.0)
    on_a_core = totals.own_cpu_ratios().get(process, 0.0)
    return (
        f"ran or waited for a core {format_ratio(ran)} of the time ({format_ratio(on_a_core)} on a "
        "core)"
    )


def _late_by_a_few(own: Mapping[str, Histogram], bounds: Bounds) -> int:
    """Return how many messages were sent late, if too few to be significant; otherwise 0."""
    if "lateness" not in own:
        return 0
    late = own["lateness"].count_above(round(bounds.lateness_p99_seconds * 1e9))
    return late if late < _FEWEST_LATE else 0


def _percentile_seconds(own: Mapping[str, Histogram], name: str) -> float:
    return own[name].percentile_ns(99) / 1e9 if name in own and own[name].count else 0.0


def _load_reasons(plan: Plan, totals: Totals) -> Iterator[str]:
    """Yield why the load was not the one that was requested."""
    if plan.rate is None or plan.live or not measures_of(plan).reaches_rate:
        return
    asked = (plan.total_rate or 0.0) * plan.duration_seconds
    # A message that found its connection closed was tried in time; that is the server's doing.
    sent = totals.counts["sent"] + totals.errors["send:closed"]
    # One message more or less is the schedule's edge, not a generator that fell behind; the number
    # of arrivals of a Poisson process varies by its square root.
    slack = 1 + (4 * asked**0.5 if plan.arrivals == "poisson" else 0)
    if sent < asked * plan.bounds.achieved_ratio - slack:
        yield (
            f"the load was not reached: {sent:,.0f} messages sent of {asked:,.0f} requested; "
            f"{ADVICE}, or look at the errors"
        )


def footer_of(
    plan: Plan,
    totals: Totals,
    t_ns: int,
    *,
    losses: Sequence[str],
    failures: Sequence[str] = (),
    was_interrupted: bool,
) -> Footer:
    """Return the last line of a record: how the run ended, and whether its figures may be judged.

    Args:
        plan: the run; ``totals`` is what was recorded of it.
        totals: the totals of all previous lines.
        t_ns: the time of the line.
        losses: what the generator lost, one sentence each.
        failures: failures of the target or a script that ended the load early.
        was_interrupted: whether the user or a signal ended it.
    """
    reasons: Sequence[str] = ("the run was interrupted",)
    if not was_interrupted:
        failures = failures or (() if losses else failures_of(plan, totals))
        reasons = reasons_against(plan, totals, has_failed=bool(failures))
    reasons = tuple(dict.fromkeys((*losses, *reasons)))
    return Footer(
        t_ns=t_ns,
        valid=not reasons,
        reasons=reasons,
        failures=tuple(failures),
        warnings=warnings_about(plan, totals),
        interrupted=was_interrupted,
    )


def warnings_about(plan: Plan, totals: Totals) -> tuple[str, ...]:
    """Return what a reader of the figures should know, although they are valid."""
    figures = totals.figures()
    names = [f"{user.name}: " for user in plan.users] or [""]
    warnings = [
        f"{name}{warning}"
        for name, part, of_part in zip(names, plan.parts, totals.parts, strict=True)
        for warning in (
            *_few_late(of_part, part.bounds),
            *_own_share(part, of_part),
            *_rows_again(part, of_part),
        )
    ]
    if unreadable := figures.get("server.unreadable_processes"):
        warnings.append(
            f"{unreadable:,.0f} of the target's processes cannot be inspected, so its memory is "
            "higher than reported"
        )
    steal = figures.get("machine.steal_ratio", 0.0)
    if steal > plan.bounds.steal_ratio:
        warnings.append(
            f"other machines took {steal:.0%} of the CPU time (steal): compare figures only "
            "within one run"
        )
    overflows = figures.get("kernel.listen_overflows", 0.0)
    if overflows:
        warnings.append(
            f"accept queues of this host overflowed {overflows:,.0f} times, the server's or "
            "another's, which delays connects by 1 s or 3 s; fewer --concurrent, or a larger "
            "backlog"
        )
    return tuple(warnings)


def _rows_again(plan: Plan, totals: Totals) -> Iterator[str]:
    """Yield a warning if rows of the feed were given to more than one connection."""
    tried = totals.counts["opened"] + totals.counts["failed"]
    # If clients return, one that comes later has been there before.
    if not scenario_kind(plan.scenario).comes_back:
        tried += totals.counts["opened_later"]
    if plan.feed_policy is FeedPolicy.CYCLE and tried > (totals.feed_rows or tried):
        yield (
            f"{plan.feed} has {totals.feed_rows:,} rows for {tried:,} connections, so rows were "
            "reused (--feed-policy)"
        )


def _own_share(plan: Plan, totals: Totals) -> Iterator[str]:
    """Yield warnings if a generator that is busy because of its model affects the figures."""
    for process, own in sorted(totals.own.items()):
        lag = _percentile_seconds(own, "loop_lag")
        lags = lag > plan.bounds.loop_lag_p99_seconds
        if (
            plan.rate is None
            and totals.counts["sent"]
            and (lags or totals.own_runnable_ratios().get(process, 0.0) >= BUSY)
        ):
            yield (
                f"swarm process {process} {_ran(totals, process)} and was {lag * 1e3:.0f} ms late "
                "or more for 1 % of what was due: latencies and rate of this closed model are "
                f"bounded by the generator; {ADVICE}"
            )
        elif measures_of(plan).in_bursts and lags:
            yield (
                f"the event loop of swarm process {process} lagged while it received: 1 % of the "
                f"time by {lag * 1e3:.0f} ms or more, which the delivery times include; {ADVICE}"
            )


def _few_late(totals: Totals, bounds: Bounds) -> Iterator[str]:
    for process, own in sorted(totals.own.items()):
        few = _late_by_a_few(own, bounds)
        if few and _percentile_seconds(own, "lateness") > bounds.lateness_p99_seconds:
            lateness = own["lateness"]
            yield (
                f"swarm process {process} sent {few} of {lateness.count:,} messages late, the "
                f"worst by {lateness.max_ns / 1e6:.1f} ms: too few to invalidate the run, but "
                "included in the figures"
            )
