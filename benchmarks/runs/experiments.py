"""Experiments on servers, as data: which loads are put on which servers, and how often."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field

from benchmarks.runs.tables import InputFileError, Table, human
from benchmarks.runs.targets import Target
from benchmarks.runs.workload import Case, Workload
from reports.claim_result import ALONE
from reports.figures import CATALOGUE, Catalogue, nearest
from reports.units import parse_count


@dataclass(frozen=True, slots=True)
class LoadExperiment:
    """A load on each of several servers.

    Attributes:
        workload: the load.
        repeats: the number of runs on each server.
        targets: the servers by name; all of the file if none is named.
        arguments: further words of a server's command, by the server's name.
    """

    workload: Workload
    repeats: int = 3
    targets: tuple[str, ...] = ()
    arguments: Mapping[str, str] = field(default_factory=dict)


class AloneExperiment(Table):
    """A primitive measured by itself, in a fresh process per run (:mod:`benchmarks.runs.alone`)."""

    kind: Literal["alone"]
    subject: Literal["coroutine", "thread"]
    count: Annotated[int, human(parse_count), Field(ge=1)]
    repeats: Annotated[int, Field(ge=2)] = 3


Experiment = LoadExperiment | AloneExperiment


@dataclass(frozen=True, slots=True)
class Experiments:
    """The servers of a file, and what is measured on them.

    Attributes:
        path: the file.
        targets: the servers by name.
        experiments: what is measured, by name.
        left_out: servers that are unavailable, with what is missing.
    """

    path: Path
    targets: Mapping[str, Target]
    experiments: Mapping[str, Experiment]
    left_out: Mapping[str, str] = field(default_factory=dict)

    def targets_of(self, experiment: str) -> tuple[str, ...]:
        """Return the servers that an experiment runs on; a nameless one if it needs none."""
        found = self.experiments[experiment]
        if isinstance(found, AloneExperiment):
            return (ALONE,)
        return tuple(it for it in self.targets if not found.targets or it in found.targets)

    def catalogue(self, experiment: str) -> Catalogue:
        """Return the figures that the runs of an experiment may have."""
        found = self.experiments[experiment]
        return found.workload.catalogue if isinstance(found, LoadExperiment) else CATALOGUE

    def against_paths(self, target: Target) -> str:
        """Return a complaint if a server renames a path that no load has; empty if it does not."""
        loads = (it for it in self.experiments.values() if isinstance(it, LoadExperiment))
        known = list(dict.fromkeys(it.workload.path for it in loads))
        for path in target.paths:
            if path not in known:
                return f"no experiment uses {path}; there are {', '.join(known)}"
        return ""

    def against_warmup(self, experiment: str, figure: str) -> str:
        """Return why a figure of an experiment misses what a warm-up left behind, if it does."""
        if not isinstance(self.experiments[experiment], LoadExperiment):
            return ""
        for target in self.targets_of(experiment):
            if complaint := self.case(experiment, target).against_warmup(figure):
                return f"{complaint}; give {experiment} warmup = 0"
        return ""

    def case(self, experiment: str, target: str) -> Case:
        """Return the load of an experiment on a server."""
        found = self.experiments[experiment]
        assert isinstance(found, LoadExperiment)
        server = self.targets[target]
        if words := found.arguments.get(target):
            server = server.with_arguments(words)
        return Case(server, found.workload)


Asked = TypeVar("Asked", bound=Experiments)
"""A file of experiments with what is asked of them, such as claims."""


def check_known(path: Path, kind: str, wanted: Sequence[str], known: Sequence[str]) -> None:
    """Refuse a name that a file does not have. Raises InputFileError."""
    for name in wanted:
        if name not in known:
            near = nearest(name, known) or f"; there are {', '.join(known)}"
            raise InputFileError(f"{path}: no {kind} is called {name!r}{near}")


def on_targets(file: Asked, targets: Sequence[str]) -> Asked:
    """Return the file with only the named servers, or all of them if none is named.

    Raises:
        InputFileError: there is no server with that name, or it is left out.
    """
    for name in targets:
        if name in file.left_out:
            missing = file.left_out[name]
            raise InputFileError(f"{file.path}: target {name} is left out: there is no {missing}")
    check_known(file.path, "target", targets, list(file.targets))
    return replace(
        file, targets={k: v for k, v in file.targets.items() if not targets or k in targets}
    )


def with_flags(file: Asked, words: Sequence[str]) -> Asked:
    """Return the file with further flags for each load on each of its servers."""
    targets = {name: target.with_flags(words) for name, target in file.targets.items()}
    return replace(file, targets=targets)
