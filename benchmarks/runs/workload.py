"""A load to be judged: the content of a ``swarmgate run`` file, put on any server."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from benchmarks.runs.targets import Target
from loadtests.errors import LoadTestError
from loadtests.plan.bounds import Bounds
from loadtests.plan.command_line import read_words
from loadtests.plan.plan import Plan
from loadtests.plan.run_options import OPTIONS
from loadtests.plan.scenario_file import ScenarioFile
from loadtests.plan.user_kinds import plan_of_run
from loadtests.run.run import checked
from loadtests.scenarios.figures import against_figure_of, catalogue_for
from reports.figures import CATALOGUE, Catalogue
from reports.units import unit_of

_LATE_IS_FINE: Final = Bounds(
    lateness_p99_seconds=1.0, loop_lag_p99_seconds=1.0, gc_pause_seconds=1.0
)
_OF_NEW_MEMORY: Final = (
    "server.memory_per_connection_bytes",
    "server.memory_growth_per_connection_bytes",
)


@dataclass(frozen=True, slots=True)
class Workload:
    """What is done to a server.

    Attributes:
        path: the path on it, starting with its first slash.
        content: what a file for ``swarmgate run --file`` would contain, without the address.
    """

    path: str = "/ws"
    content: ScenarioFile = field(default_factory=ScenarioFile)

    @property
    def scenario(self) -> str:
        """The scenario; with several kinds of users, that of the first."""
        given = self.content.users[0].given if self.content.users else self.content.given
        return str(given.get("scenario", "hold"))

    def against_figure(self, name: str) -> str:
        """Return why a run of it has no such figure; empty if it may, or if its flags are wrong."""
        plan = self._plan()
        return "" if plan is None else against_figure_of(plan, name)

    @property
    def catalogue(self) -> Catalogue:
        """The figures that a run of it may have."""
        plan = self._plan()
        return CATALOGUE if plan is None else catalogue_for(plan)

    def _plan(self) -> Plan | None:
        """Plan it without a server; None if its flags are wrong, which is reported elsewhere."""
        try:
            return plan_of_run({"url": f"ws://127.0.0.1:1{self.path}"}, self.content)
        except LoadTestError:
            return None

    def bounds_for(self, judged: Iterable[str]) -> Bounds | None:
        """Return the bounds within which a run is valid; None for the load's own.

        Where no time is judged, a generator that sends late affects nothing that is, so a busy
        machine need not make a run invalid.

        Args:
            judged: the figures of a run that are judged or shown.
        """
        if any(map(_is_timed, judged)) or "bound" in self.content.given:
            return None
        return _LATE_IS_FINE

    def with_flags(self, **flags: Any) -> "Workload":  # noqa: ANN401 - each flag's own
        """Return a copy with other values for some options, by name."""
        given = {**self.content.given, **{OPTIONS[name].name: it for name, it in flags.items()}}
        return replace(self, content=replace(self.content, given=given))

    def with_parameters(self, **parameters: Any) -> "Workload":  # noqa: ANN401 - a scenario's own
        """Return a copy with other values for some parameters of the scenario."""
        changed = {**self.content.parameters, **parameters}
        return replace(self, content=replace(self.content, parameters=changed))


def _is_timed(name: str) -> bool:
    """Return whether a figure is a time by the generator's clock, not a server's CPU time."""
    return unit_of(name) == "seconds" and "server." not in name


@dataclass(frozen=True, slots=True)
class Case:
    """A load on a server.

    Attributes:
        bounds: the bounds within which a run is valid, in place of those that the load names.
    """

    target: Target
    workload: Workload
    bounds: Bounds | None = None

    def plan(self, seed: int = 0) -> Plan:
        """Return the plan of a run of it, checked as far as it can be before it runs.

        Raises:
            LoadTestError: a value cannot be read, or values are incompatible.
        """
        before = {
            "seed": str(seed),
            "warmup": self.target.warmup,
            **self.workload.content.given,
            "url": self.target.address(self.workload.path),
        }
        given = {**before, **read_words(self.target.flags)}
        plan = checked(plan_of_run(given, self.workload.content))
        return plan if self.bounds is None else replace(plan, bounds=self.bounds)

    def against_warmup(self, figure: str) -> str:
        """Return why a figure misses what a warm-up has left behind; empty if it does not.

        The memory of a warm-up's connections is reused by those after them.

        Raises:
            LoadTestError: as :meth:`plan`.
        """
        if figure not in _OF_NEW_MEMORY or not self.plan().warmup_seconds:
            return ""
        return f"after a warm-up, {figure} misses the memory that the warm-up left behind"
