"""Claims as data: servers, the experiments that run on them, and the sentences that they test.

A claim states a sentence and names the figure, the bound and the experiment that test it; an
experiment describes how the figure is measured, and may serve several claims; a target is a server
that experiments run on. :mod:`benchmarks.claims.reading` reads them from a file.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field

from benchmarks.runs.experiments import Experiments, LoadExperiment, check_known, on_targets
from benchmarks.runs.tables import InputFileError, Names, Table
from benchmarks.runs.targets import Target
from benchmarks.runs.workload import Case
from reports.outcome import Verdict
from reports.units import format_figure, parse_figure

_ANY: Final = "any"


def _verdicts(given: object) -> object:
    """Parse an expected verdict, or one for each of several servers; None accepts any verdict."""
    if isinstance(given, str):
        return None if given == _ANY else _verdict(given)
    if isinstance(given, dict):
        return {name: _verdicts(verdict) for name, verdict in given.items()}
    return given


def _verdict(text: str) -> Verdict:
    known = [it.value for it in (Verdict.HOLDS, Verdict.REFUTED, Verdict.INCONCLUSIVE)]
    if text not in known:
        raise ValueError(
            f"{text!r} is not a verdict to expect; there are {', '.join(known)}, {_ANY}"
        )
    return Verdict(text)


class Claim(Table):
    """One sentence and what would make it true.

    Attributes:
        says: the sentence, as it was found; ``source`` is where it was found.
        experiment: the experiment whose runs are judged.
        targets: the servers that it is about; if none, all that the experiment runs on.
        baseline: another experiment; the ratio to it, run by run, is then judged.
        baseline_target: another server; the ratio is then to what was measured on that server.
        metric: the figure, with its unit in its name.
        comparison: ``at_most``, ``at_least``, or ``within`` a relative ``tolerance``.
        value: the bound, in the metric's unit; a plain factor when there is a baseline.
        context: figures shown alongside the judged one.
        expected: the known and accepted verdict, for all servers or by name; None (``any`` in a
            file) where it depends on how fast the machine is.
        despite_faults: also judge runs in which messages were lost, or something else went wrong.
    """

    id: str
    says: str
    source: str
    experiment: str
    targets: Names = ()
    baseline: str | None = None
    baseline_target: str | None = None
    metric: str
    comparison: Literal["at_most", "at_least", "within"]
    value: float | str
    tolerance: Annotated[float, Field(gt=0, lt=1)] | None = None
    context: Names = ()
    expected: Annotated[
        Verdict | Mapping[str, Verdict | None] | None, BeforeValidator(_verdicts)
    ] = Verdict.HOLDS
    despite_faults: bool = False

    @property
    def is_ratio(self) -> bool:
        """Whether the judged value is a ratio to another measurement."""
        return self.baseline is not None or self.baseline_target is not None

    @property
    def limit(self) -> float:
        """The bound as a number in the metric's unit. Raises ValueError for a wrong unit."""
        if isinstance(self.value, float):
            return self.value
        return parse_figure("ratio" if self.is_ratio else self.metric, self.value)

    def expected_of(self, target: str) -> Verdict | None:
        """Return the known and accepted verdict for a server; None if any is accepted."""
        if isinstance(self.expected, Mapping):
            return self.expected.get(target, Verdict.HOLDS)
        return self.expected

    def bound(self) -> str:
        """Return the bound in words."""
        limit = f"{self.limit:g} times" if self.is_ratio else format_figure(self.metric, self.limit)
        if self.baseline_target is not None:
            limit += f" {self.baseline_target}"
        match self.comparison:
            case "at_most":
                return f"at most {limit}"
            case "at_least":
                return f"at least {limit}"
            case "within":
                return f"{limit} ± {(self.tolerance or 0) * 100:g} %"


@dataclass(frozen=True, slots=True)
class ClaimsFile(Experiments):
    """A claims file, checked."""

    claims: tuple[Claim, ...] = ()

    def case(self, experiment: str, target: str) -> Case:
        """Return an experiment's load on a server; where no time is judged, lateness is allowed."""
        case = Experiments.case(self, experiment, target)
        claims = [it for it in self.claims if experiment in (it.experiment, it.baseline)]
        judged = [name for it in claims for name in (it.metric, *it.context)]
        return replace(case, bounds=case.workload.bounds_for(judged) if judged else None)

    def judged_on(self, claim: Claim) -> tuple[str, ...]:
        """Return the servers that a claim is judged on; none if its baseline target is missing."""
        made_on, beside = self.targets_of(claim.experiment), claim.baseline_target
        if beside and beside not in self.targets_of(claim.baseline or claim.experiment):
            return ()
        wanted = claim.targets or made_on
        return tuple(it for it in made_on if it in wanted and it != claim.baseline_target)

    def against_warm_memory(self, claim: Claim) -> Iterator[tuple[str, str]]:
        """Yield, with why not, each key of a claim on memory per connection after a warm-up."""
        for key, name in (("experiment", claim.experiment), ("baseline", claim.baseline)):
            if name is not None and (complaint := self.against_warmup(name, claim.metric)):
                yield key, complaint


def choose(file: ClaimsFile, ids: Sequence[str], targets: Sequence[str] = ()) -> ClaimsFile:
    """Return the file with only the named claims and targets, or all of them if none is named.

    Raises:
        InputFileError: there is no claim or target with that name.
    """
    check_known(file.path, "claim", ids, [claim.id for claim in file.claims])
    chosen = on_targets(file, targets)
    wanted = (it for it in file.claims if not ids or it.id in ids)
    return replace(chosen, claims=tuple(it for it in wanted if chosen.judged_on(it)))


def needed(file: ClaimsFile) -> ClaimsFile:
    """Return the file with only the experiments that some claim uses."""
    used = {claim.experiment for claim in file.claims}
    used |= {claim.baseline for claim in file.claims if claim.baseline}
    return replace(file, experiments={k: v for k, v in file.experiments.items() if k in used})


def about(file: ClaimsFile, target: Target) -> ClaimsFile:
    """Return the same claims about another server only; claims about no server are left out.

    The file's expected verdicts are for its own servers; for this one every claim is expected to
    hold.

    Raises:
        InputFileError: the server renames a path that no load has.
    """
    if complaint := file.against_paths(target):
        raise InputFileError(f"{file.path}: {complaint}")
    experiments = {
        name: replace(held, targets=(), arguments={})
        for name, held in file.experiments.items()
        if isinstance(held, LoadExperiment)
    }
    claims = tuple(
        claim.model_copy(update={"targets": (), "expected": Verdict.HOLDS})
        for claim in file.claims
        if claim.experiment in experiments and claim.baseline_target is None
    )
    return ClaimsFile(file.path, {target.name: target}, experiments, claims=claims)
