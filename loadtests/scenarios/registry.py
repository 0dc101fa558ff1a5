"""The registry of scenarios by name, and how a process creates one."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from loadtests.clients.ready import kept_names, parse_steps
from loadtests.errors import UsageError
from loadtests.measure.recorder import Recorder
from loadtests.plan.feed import read_feed
from loadtests.plan.plan import Plan, ProcessPlan
from loadtests.plan.template import feed_names, fill, saved_names
from loadtests.scenarios.correlation import CorrelatedParameters
from loadtests.scenarios.parameters import Parameters
from loadtests.scenarios.scenario import Scenario
from loadtests.scenarios.scripted import load_script

_CLASSES: Final = {
    "broadcast": "broadcast.Broadcast",
    "chat": "chat.Chat",
    "churn": "churn.Churn",
    "drain": "drain.Drain",
    "echo": "echo.Echo",
    "events": "echo.Events",
    "heartbeat": "heartbeat.Heartbeat",
    "hold": "hold.Hold",
    "session": "echo.Session",
    "slow-consumer": "slow_consumer.SlowConsumer",
    "storm": "storm.Storm",
}


class _Scenarios(Mapping[str, type[Scenario[Any]]]):
    """A mapping that imports only the scenario looked up: a process of a run needs no other."""

    def __getitem__(self, name: str) -> type[Scenario[Any]]:
        module, _, kind = _CLASSES[name].partition(".")
        found: type[Scenario[Any]] = getattr(import_module(f"{__package__}.{module}"), kind)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(_CLASSES)

    def __len__(self) -> int:
        return len(_CLASSES)


SCENARIOS: Final = _Scenarios()
"""The scenarios that come with swarmgate, by name."""


def scenario_kind(name: str) -> type[Scenario[Any]]:
    """Return the scenario of that name, or the one in the Python file of that name.

    Raises:
        UsageError: there is no such scenario.
    """
    if name.endswith(".py"):
        return load_script(Path(name))
    try:
        return SCENARIOS[name]
    except KeyError:
        known = ", ".join(SCENARIOS)
        raise UsageError(
            f"no scenario is called {name!r}; there are {known}, or name a Python file (….py)"
        ) from None


def parse_parameters(name: str, given: Mapping[str, Any]) -> Parameters:
    """Check a scenario's parameters and convert them to their types.

    Raises:
        UsageError: an unknown parameter, or a value of the wrong type or outside its range.
    """
    model = scenario_kind(name).parameters_type
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = ", ".join(model.names()) or "none"
            raise UsageError(
                f"scenario {name!r} has no parameter {key!r}; it takes: {known}"
            ) from None
        # The library puts "Value error, " before the message of a check of ours.
        why = first.get("ctx", {}).get("error", first["msg"])
        raise UsageError(
            f"parameter {key} of scenario {name!r} is {first['input']!r}: {why}"
        ) from None


def check_scenario(plan: Plan) -> None:
    """Reject a plan that its scenario cannot carry out, before anything starts.

    Raises:
        UsageError: an unknown scenario or parameter, or a value that it cannot use.
    """
    kind = scenario_kind(plan.scenario)
    parameters = parse_parameters(plan.scenario, plan.parameters)
    kind.check(plan, parameters)
    if isinstance(parameters, CorrelatedParameters):
        _check_kept(plan, parameters.wrap or "")
    if plan.per_connection and not kind.is_spread:
        raise UsageError(
            f"in scenario {plan.scenario!r} not every connection sends; replace --per-connection "
            "by the rate of all connections"
        )


def _check_kept(plan: Plan, wrap: str) -> None:
    kept = {name for step in parse_steps(plan.ready) for name in kept_names(step)}
    if unknown := saved_names(wrap) - kept:
        raise UsageError(
            f"parameter wrap refers to {{saved.{min(unknown)}}}, which no step of --ready keeps"
        )
    # A row that lacks a value would fail a swarm process in the middle of the load.
    rows = read_feed(Path(plan.feed)) if plan.feed is not None and feed_names(wrap) else (None,)
    for row in rows:
        fill(wrap, 0, row, dict.fromkeys(kept, ""))


def make_scenario(share: ProcessPlan, recorder: Recorder) -> Scenario[Any]:
    """Create one process's part of the plan's scenario."""
    plan = share.plan
    parameters = parse_parameters(plan.scenario, plan.parameters)
    return scenario_kind(plan.scenario)(share, parameters, recorder)
