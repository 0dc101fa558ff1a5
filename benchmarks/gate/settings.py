"""A gate's settings: loads, metrics with the smallest effect that matters, budget, error rates.

They are in ``[tool.swarmgate.gate]`` of a ``pyproject.toml``, or at the top of a separate file.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter

from benchmarks.counting.count import countable
from benchmarks.counting.figures import FIGURES
from benchmarks.counting.process import Load
from benchmarks.judging.plan import ExactMetric, Metric, Plan, SampledMetric, plan_gate
from benchmarks.runs.tables import (
    InputFileError,
    Place,
    StartTable,
    Table,
    TableReader,
    human,
    parsed,
)
from benchmarks.runs.targets import Target
from benchmarks.runs.workload import Case, Workload
from loadtests.errors import LoadTestError
from loadtests.plan.target_source import TargetSource
from reports.figure import Better, Figure
from reports.figures import CATALOGUE, nearest
from reports.units import parse_ratio, parse_seconds

PYPROJECT: Final = "pyproject.toml"
_IN_PYPROJECT: Final[Place] = ("tool", "swarmgate", "gate")
MOST_BLOCKS: Final = 48
BUDGET_SECONDS: Final = 600.0

DEFAULT_COUNT_EFFECT: Final = 0.02
# For a load without its own metrics, those of these that base's first run has.
DEFAULT_METRICS: Final[Mapping[str, float]] = {
    "server.cpu_per_message_seconds": 0.05,
    "server.memory_growth_per_connection_bytes": 0.05,
}


class _MetricTable(Table):
    """A figure of a load, and the smallest change for the worse that matters.

    Attributes:
        better: the direction in which it is better, for a figure without one in the catalogue.
    """

    load: str
    figure: str
    effect: Annotated[float, human(parse_ratio), Field(gt=0, lt=10)]
    better: Literal["lower", "higher"] | None = None


class _GateTable(StartTable):
    """The gate itself.

    Attributes:
        prepare: the commands that make a checkout ready.
        directory: where these and the server's command are run, relative to the checkout.
        blocks: the largest number of blocks; ``budget`` is the most time that they may take.
        false_alarms: the permitted chance of failing an unchanged head, over all metrics and looks.
        false_passes: the permitted chance of passing one that is worse by more than matters.
    """

    prepare: Annotated[tuple[str, ...], Field(strict=False)] | None = None
    directory: str = "."
    blocks: Annotated[int, Field(ge=1)] = MOST_BLOCKS
    budget: Annotated[float, human(parse_seconds), Field(gt=0)] = BUDGET_SECONDS
    false_alarms: Annotated[float, human(parse_ratio), Field(gt=0, lt=1)] = 0.01
    false_passes: Annotated[float, human(parse_ratio), Field(gt=0, lt=1)] = 0.05


class _CountTable(Table):
    """What is counted in an application without a network: see ``swarmgate count``."""

    app: str
    connections: Annotated[int, Field(ge=40)] = 100
    messages: Annotated[int, Field(ge=10)] = 50
    path: str = "/ws"
    broadcast: bool = True
    echo_path: str = "/echo"
    echo: bool = True
    message: str = "{token}"


_GATE: Final = TypeAdapter(_GateTable)
_COUNT: Final = TypeAdapter(_CountTable)
_METRICS: Final[TypeAdapter[tuple[_MetricTable, ...]]] = TypeAdapter(
    Annotated[tuple[_MetricTable, ...], Field(strict=False)]
)
_TABLES: Final = ("load", "count", "metric")


@dataclass(frozen=True, slots=True)
class GateMetric:
    """A figure that is judged.

    Attributes:
        load: the load, or the count, that it is measured in.
        figure: its name.
        effect: the smallest change for the worse that matters, as a share.
        higher_is_better: whether a lower value is worse.
        is_usual: whether it is a default, not requested: it is judged if it can be measured.
    """

    load: str
    figure: str
    effect: float
    higher_is_better: bool = False
    is_usual: bool = False

    @property
    def name(self) -> str:
        """Its name among the metrics of a gate."""
        return f"{self.load}: {self.figure}"


@dataclass(frozen=True, slots=True)
class Counted:
    """An application whose own code is counted, and the load that is put on it."""

    app: str
    load: Load


@dataclass(frozen=True, slots=True)
class Server:
    """What starts the server in a checkout.

    Attributes:
        command: the command line; empty if no checkout is compared.
        prepare: the commands that make a checkout ready; None to detect them.
        directory: where it is run, relative to the checkout.
        source: its environment, and how long to wait for it.
        warmup: how long the same load runs beforehand, as a flag.
    """

    command: str
    prepare: tuple[str, ...] | None
    directory: str
    source: TargetSource
    warmup: str

    def target(self, name: str, words: tuple[str, ...], directory: str | None) -> Target:
        """Return one side as a server to put loads on."""
        source = replace(self.source, command=words, directory=directory)
        return Target(name, source, warmup=self.warmup)


@dataclass(frozen=True, slots=True)
class GateSettings:
    """A gate, before it is known what is compared.

    Attributes:
        path: the file that these settings come from.
        loads: loads by name; ``counts`` is what is counted without a network.
        metrics: what is judged, and in which load or count.
        blocks: the largest number of blocks; ``budget_seconds`` is the most time.
        false_alarms, false_passes: the permitted chances.
    """

    path: Path
    server: Server
    loads: Mapping[str, Workload]
    counts: Mapping[str, Counted]
    metrics: tuple[GateMetric, ...]
    blocks: int = MOST_BLOCKS
    budget_seconds: float = BUDGET_SECONDS
    false_alarms: float = 0.01
    false_passes: float = 0.05

    def case(self, load: str, target: Target) -> Case:
        """Return a load on a side."""
        workload = self.loads[load]
        judged = (it.figure for it in self.metrics if it.load == load)
        return Case(target, workload, workload.bounds_for(judged))

    def plan(self) -> Plan:
        """Return what is fixed before the first run.

        Raises:
            ValueError: so few blocks can decide nothing.
        """
        metrics = tuple(map(self._metric, self.metrics))
        return plan_gate(metrics, self.blocks, self.false_alarms, self.false_passes)

    def without(self, metrics: Collection[GateMetric]) -> "GateSettings":
        """Return these settings without some metrics, and without counts that only they need."""
        kept = tuple(it for it in self.metrics if it not in metrics)
        loads = {it.load for it in kept}
        counts = {name: it for name, it in self.counts.items() if name in loads}
        return replace(self, metrics=kept, counts=counts)

    def label(self, metric: GateMetric) -> str:
        """Return the human-readable name of a metric."""
        return f"{metric.load}: {_known(self.loads, metric).label}"

    def _metric(self, metric: GateMetric) -> Metric:
        higher = metric.higher_is_better
        if metric.load in self.counts:
            return ExactMetric(metric.name, share=metric.effect, higher_is_better=higher)
        return SampledMetric(metric.name, metric.effect, higher_is_better=higher)


def find_settings(start: Path) -> Path:
    """Return the nearest ``pyproject.toml`` that contains a gate, from a directory upwards.

    Raises:
        InputFileError: there is none; the message says what to write.
    """
    for folder in (start, *start.parents):
        path = folder / PYPROJECT
        if path.is_file() and "[tool.swarmgate.gate" in path.read_text(encoding="utf-8"):
            return path
    raise InputFileError(
        f"no {PYPROJECT} from here upwards has a table [tool.swarmgate.gate]; add one, such as\n"
        f"{EXAMPLE}"
    )


EXAMPLE: Final = """\
    [tool.swarmgate.gate]
    command = "{python} -m uvicorn app:app --port {port}"

    [tool.swarmgate.gate.load.echo]
    scenario = "echo"
    path = "/ws"
    connections = 200
    rate = 2000
    duration = "3s"
"""


def load_settings(path: Path) -> GateSettings:
    """Read a gate's settings.

    Raises:
        InputFileError: the file cannot be read, or something in it is wrong.
    """
    reader, raw = parsed(path)
    place = _IN_PYPROJECT if path.name == PYPROJECT else ()
    content: Any = raw
    for key in place:
        content = content.get(str(key), {}) if isinstance(content, dict) else {}
    if not isinstance(content, dict) or not content:
        raise InputFileError(
            f"{path} has no table [tool.swarmgate.gate]; add one, such as\n{EXAMPLE}"
        )
    own = {key: value for key, value in content.items() if key not in _TABLES}
    table = reader.validated(_GATE, own, place)
    loads = {
        name: reader.workload(load, (*place, "load", name))
        for name, load in reader.tables(content.get("load", {}), (*place, "load")).items()
    }
    counts = {
        name: _counted(reader, count, (*place, "count", name))
        for name, count in reader.tables(content.get("count", {}), (*place, "count")).items()
    }
    for name in loads.keys() & counts.keys():
        raise reader.complaint((*place, "count", name), "a load has the same name")
    settings = GateSettings(
        path,
        Server(
            table.command or "",
            table.prepare,
            table.directory,
            table.source(),
            f"{table.warmup:g}s",
        ),
        loads,
        counts,
        _metrics(reader, content, place, loads, counts),
        table.blocks,
        table.budget,
        table.false_alarms,
        table.false_passes,
    )
    _check(reader, settings, place)
    return settings


def _counted(reader: TableReader, content: Mapping[str, Any], place: Place) -> Counted:
    table = reader.validated(_COUNT, content, place)
    if "{token}" not in table.message:
        raise reader.complaint((*place, "message"), "it has no {token}; put it where text may be")
    echo_path = table.echo_path if table.echo else None
    load = Load(
        table.connections, table.messages, table.path, table.broadcast, echo_path, table.message
    )
    return Counted(table.app, load)


def _metrics(
    reader: TableReader,
    content: Mapping[str, Any],
    place: Place,
    loads: Mapping[str, Workload],
    counts: Mapping[str, Counted],
) -> tuple[GateMetric, ...]:
    """Return the named metrics, and the default ones of each load or count without any."""
    named = reader.validated(_METRICS, content.get("metric", ()), (*place, "metric"))
    for number, metric in enumerate(named):
        at = (*place, "metric", number)
        if metric.load in loads:
            complaint = loads[metric.load].against_figure(metric.figure)
        elif metric.load in counts:
            complaint = _against_count(metric.figure)
        else:
            there_are = ", ".join((*loads, *counts)) or "none"
            raise reader.complaint((*at, "load"), f"no load is called {metric.load!r}: {there_are}")
        if complaint:
            raise reader.complaint((*at, "figure"), complaint)
        known = _known(loads, metric)
        if known.better is Better.NEITHER and metric.better is None:
            unknown = (
                f"whether a higher or a lower {metric.figure} is better is not known; set better = "
                '"higher" or "lower"'
            )
            raise reader.complaint((*at, "better"), unknown)
    metrics = [
        GateMetric(
            it.load,
            it.figure,
            it.effect,
            (it.better or _known(loads, it).better) == Better.HIGHER,
        )
        for it in named
    ]
    for load, usual in (
        *((name, DEFAULT_METRICS) for name in loads),
        *(
            (name, dict.fromkeys(countable(it.load), DEFAULT_COUNT_EFFECT))
            for name, it in counts.items()
        ),
    ):
        if not any(metric.load == load for metric in metrics):
            metrics += [
                GateMetric(load, name, effect, is_usual=True) for name, effect in usual.items()
            ]
    return tuple(metrics)


def _known(loads: Mapping[str, Workload], metric: "_MetricTable | GateMetric") -> Figure:
    """Return what is known about the figure of a metric, which its load may have added."""
    catalogue = loads[metric.load].catalogue if metric.load in loads else CATALOGUE
    return catalogue.figure(metric.figure)


def _against_count(name: str) -> str:
    if name in FIGURES:
        return ""
    return f"no count is called {name!r}{nearest(name, FIGURES)}"


def _check(reader: TableReader, settings: GateSettings, place: Place) -> None:
    """Reject settings that could not be run, or could not decide anything."""
    if not settings.metrics:
        raise reader.complaint(place, f"nothing is measured; add a load, such as\n{EXAMPLE}")
    for name, workload in settings.loads.items():
        try:
            case = Case(settings.server.target(name, ("{port}",), None), workload)
            case.plan()
            judged = [case.against_warmup(it.figure) for it in settings.metrics if it.load == name]
        except (LoadTestError, ValueError) as error:
            raise reader.complaint((*place, "load", name), str(error)) from None
        for complaint in filter(None, judged):
            raise reader.complaint((*place, "load", name), f"{complaint}; give it warmup = 0")
    try:
        settings.plan()
    except ValueError as error:
        raise reader.complaint((*place, "blocks"), str(error)) from None
