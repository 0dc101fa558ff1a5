"""The resolved plan of a run, shown before anything is opened."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Final

from loadtests.plan.bounds import formatted
from loadtests.plan.connect_options import ConnectOptions
from loadtests.plan.limits import Limits
from loadtests.plan.masking import masked, masked_url
from loadtests.plan.plan import Plan
from loadtests.plan.run_options import OPTIONS
from loadtests.plan.schedule import share
from loadtests.scenarios.registry import parse_parameters
from reports.threshold import parse_threshold
from reports.units import format_bytes, format_count, format_rate, format_seconds

# Options shown in dedicated rows, with what follows from them.
_WITH_A_ROW: Final = frozenset(
    {
        *("url", "count", "scenario", "param", "user", "duration", "rate", "per_connection"),
        *("profile", "think", "arrivals", "payload", "payload_file", "binary", "warmup"),
        *("concurrent", "ramp", "ramp_down", "steps", "processes", "seed", "source", "client"),
        *("ready", "answer", "threshold", "abort_on", "bound"),
    }
)


def plan_rows(plan: Plan, sources: tuple[str, ...], limits: Limits) -> Iterator[tuple[str, str]]:
    """Yield the resolved plan as pairs of a name and a text.

    Args:
        plan: the run, with its rate filled in.
        sources: source addresses, none if the kernel chooses.
        limits: the machine's limits.
    """
    yield "Target", masked_url(plan.url)
    if plan.users:
        yield "Users", f"of {len(plan.users)} kinds"
    else:
        yield from _scenario_rows(plan)
    yield "Connections", format_count(plan.connections)
    yield from _connection_rows(plan, sources, limits)
    if plan.users:
        yield "Lasts", format_seconds(plan.duration_seconds)
    else:
        yield from _load_rows(plan)
        yield from _other_rows(plan)
    for user in plan.users:
        yield (
            user.name,
            f"{user.share:.4g} of the connections: {format_count(user.plan.connections)}",
        )
        yield "  target", masked_url(user.plan.url)
        yield from ((f"  {name}", text) for name, text in _user_rows(user.plan))
    if plan.warmup_seconds:
        yield "Warm-up", f"{format_seconds(plan.warmup_seconds)} of the same load beforehand"
    yield "Closing", f"over {plan.ramp_down_seconds:g} s" if plan.ramp_down_seconds else "at once"
    for text in plan.thresholds:
        yield "Must hold", str(parse_threshold(text))
    for text in plan.abort_on:
        yield "Aborts on", str(parse_threshold(text))
    for name, value in formatted(plan.bounds):
        yield "Bound", f"{name} {value}"
    yield "Seed", str(plan.seed)


def _user_rows(plan: Plan) -> Iterator[tuple[str, str]]:
    yield from _scenario_rows(plan)
    yield from _load_rows(plan)
    yield from _other_rows(plan)


def _other_rows(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield every other option that differs from its default, secrets masked."""
    masked_plan = masked(plan)
    owners = {Plan: masked_plan, ConnectOptions: masked_plan.options}
    for name, option in OPTIONS.items():
        if option.owner in owners and name not in _WITH_A_ROW:
            value = getattr(owners[option.owner], option.field)
            if value != option.default:
                yield option.key.capitalize(), option.option.form.show(value)


def _scenario_rows(plan: Plan) -> Iterator[tuple[str, str]]:
    yield "Scenario", plan.scenario
    parameters = parse_parameters(plan.scenario, plan.parameters)
    for name, value in parameters.model_dump().items():
        yield f"  {name}", "-" if value is None else str(value)


def _connection_rows(
    plan: Plan, sources: tuple[str, ...], limits: Limits
) -> Iterator[tuple[str, str]]:
    shares = [
        share(part.connections, part.processes, number)
        for part in plan.parts
        for number in range(part.processes)
    ]
    yield "  by process", " + ".join(format_count(part) for part in shares)
    yield "  opened", _opening(plan)
    for number, stage in enumerate(plan.population.stages if plan.population else (), 1):
        yield f"  stage {number}", str(stage)
    yield "  from", _sources(sources)
    yield "  with", str(plan.options.chosen_client())
    yield "  files", f"{format_count(max(shares))} of {limits.connections_per_process:,} a process"


def _opening(plan: Plan) -> str:
    if plan.population is not None:
        total = format_count(plan.openings)
        return f"{total} in total, by stages, at most {format_count(plan.concurrent)} at once"
    pace = f"over {plan.ramp_seconds:g} s, " if plan.ramp_seconds else ""
    steps = (
        ""
        if plan.steps == 1
        else f", in {len(plan.stages())} steps: "
        + ", ".join(format_count(stage) for stage in plan.stages())
    )
    return f"{pace}at most {format_count(plan.concurrent)} at once{steps}"


def _sources(sources: tuple[str, ...]) -> str:
    if not sources:
        return "the address that the kernel chooses"
    if len(sources) == 1:
        return sources[0]
    return f"{sources[0]} to {sources[-1]} ({len(sources)} addresses)"


def _load_rows(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield what is done before the load, the load itself, and its payload."""
    for number, text in enumerate(plan.ready, 1):
        yield f"Ready {number}", text
    for text in plan.answers:
        yield "Answers", text
    yield from _pace_rows(plan)
    yield "Payload", _payload(plan)


def _pace_rows(plan: Plan) -> Iterator[tuple[str, str]]:
    rate = plan.total_rate
    if rate is None:
        think = f", after {plan.think} of think time" if plan.think else ""
        yield (
            "Load",
            f"closed model: the next message after the reply{think}, if the scenario sends any",
        )
        yield "  lasts", format_seconds(plan.duration_seconds)
        return
    each = ", separate for each connection" if plan.per_connection else ""
    yield "Load", f"open model: {plan.arrivals} arrivals{each}"
    segments = plan.profile.segments if plan.profile else ()
    for number, segment in enumerate(segments, 1):
        pace = format_rate(segment.begin)
        if segment.begin != segment.end:
            pace += f" to {format_rate(segment.end)}"
        count = format_count(round(segment.arrivals))
        yield f"  part {number}", f"{format_seconds(segment.seconds)} at {pace}: {count} arrivals"
    if not segments:
        yield "  rate", format_rate(rate)
    yield "  lasts", format_seconds(plan.duration_seconds)
    yield "  arrivals", format_count(round(rate * plan.duration_seconds))


def _payload(plan: Plan) -> str:
    kind = "binary" if plan.binary else "text"
    if plan.payload_file is not None:
        return f"{kind}, filled from {plan.payload_file}"
    if plan.payload_sizes is not None:
        return f"{kind}, {plan.payload_sizes}"
    return f"{kind}, {format_bytes(plan.payload_bytes)} each"


def plan_document(plan: Plan) -> dict[str, object]:
    """Return the resolved plan as data for a program."""
    document = asdict(masked(plan)) | {
        "total_rate": plan.total_rate,
        "stages": plan.stages(),
    }
    if plan.users:
        users = {
            user.name: {"share": user.share, **plan_document(user.plan)} for user in plan.users
        }
        return document | {"users": users}
    parameters = parse_parameters(plan.scenario, plan.parameters)
    return document | {"parameters": parameters.model_dump()}
