"""The scenarios by name, and what each must offer the swarm."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from pydantic import BaseModel, ValidationError

from loadtests.connection import Connection
from loadtests.errors import UsageError
from loadtests.meter import Meter
from loadtests.plan import Plan, ProcessPlan
from loadtests.scenarios.broadcast import (
    DEFAULT_RATE,
    Broadcast,
    BroadcastParameters,
    check_broadcast,
)
from loadtests.scenarios.drain import Drain, DrainParameters, check_drain
from loadtests.scenarios.echo import Echo, EchoParameters, check_echo
from loadtests.scenarios.hold import Hold, HoldParameters, check_hold
from loadtests.wires import EventsWire, SessionWire


class Scenario(Protocol):
    """One swarm process's part of a scenario."""

    def new_state(self) -> Any:  # noqa: ANN401 - each scenario's own
        """Give what is kept for one connection, None if nothing."""

    def receive(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        """Take one message that arrived at ``now_ns``. Hot."""

    async def measure(self, connections: Sequence[Connection], start_ns: int) -> int:
        """Put the load on, from ``start_ns`` for the plan's duration.

        Returns:
            how many broadcasts this process published, 0 where the scenario has none.
        """

    def outstanding(self, published: int) -> int:
        """Count what was sent and can still arrive; ``published`` is over the whole fleet."""

    def account(self, published: int) -> None:
        """Enter the ledger's final counts into the meter."""


@dataclass(frozen=True, slots=True)
class ScenarioKind:
    """A scenario as it can be asked for.

    Attributes:
        parameters: what ``--param`` may set, with types and ranges.
        default_rate: arrivals a second where the plan names no rate; None is the closed model, or
            nothing to send.
        check: refuses, with UsageError, a plan that the scenario cannot carry out.
        make: makes one process's part from its share of the plan, the parameters and its meter.
    """

    parameters: type[BaseModel]
    default_rate: float | None
    check: Callable[[Plan, Any], None]
    make: Callable[[ProcessPlan, Any, Meter], Scenario]


SCENARIOS: Final[Mapping[str, ScenarioKind]] = {
    "broadcast": ScenarioKind(BroadcastParameters, DEFAULT_RATE, check_broadcast, Broadcast),
    "drain": ScenarioKind(DrainParameters, None, check_drain, Drain),
    "echo": ScenarioKind(EchoParameters, None, check_echo, Echo),
    "events": ScenarioKind(EchoParameters, None, check_echo, partial(Echo, make_wire=EventsWire)),
    "hold": ScenarioKind(HoldParameters, None, check_hold, Hold),
    "session": ScenarioKind(EchoParameters, None, check_echo, partial(Echo, make_wire=SessionWire)),
}


def scenario_kind(name: str) -> ScenarioKind:
    """Give the scenario of that name.

    Raises:
        UsageError: there is none.
    """
    try:
        return SCENARIOS[name]
    except KeyError:
        known = ", ".join(SCENARIOS)
        raise UsageError(f"no scenario is called {name!r}; there are {known}") from None


def parse_parameters(name: str, given: Mapping[str, Any]) -> BaseModel:
    """Check a scenario's parameters and bring them to their types.

    Raises:
        UsageError: an unknown parameter, or a value of the wrong type or outside its range.
    """
    model = scenario_kind(name).parameters
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = ", ".join(model.model_fields) or "none"
            raise UsageError(
                f"scenario {name!r} has no parameter {key!r}; it takes: {known}"
            ) from None
        raise UsageError(
            f"parameter {key} of scenario {name!r} is {first['input']!r}: {first['msg']}"
        ) from None


def check_scenario(plan: Plan) -> None:
    """Refuse, before anything is started, a plan that its scenario cannot carry out.

    Raises:
        UsageError: an unknown scenario or parameter, or a value that it cannot use.
    """
    scenario_kind(plan.scenario).check(plan, parse_parameters(plan.scenario, plan.parameters))
