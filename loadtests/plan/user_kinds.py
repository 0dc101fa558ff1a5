"""Several kinds of users in one run, each with a share of the connections and separate options.

``--user 'NAME=SHARE FLAGS'``, or a table ``[[user]]`` in the run's TOML file. Options of the run
apply to each kind unless it sets them itself.
"""

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from loadtests.errors import UsageError
from loadtests.plan import limits
from loadtests.plan.command_line import read_words
from loadtests.plan.from_options import plan_of
from loadtests.plan.option import Scope
from loadtests.plan.plan import Plan, User, split_url
from loadtests.plan.run_options import OPTIONS, Given, flag_of, names_in
from loadtests.plan.scenario_file import ScenarioFile
from loadtests.plan.stages import Stages

_OF_THE_RUN: Final = frozenset(names_in(Scope.RUN))
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]*", re.IGNORECASE)
_FORM: Final = re.compile(r"\s*(?:([^\s=]+)=)?(\d*\.?\d+%?)(?:\s+(.*))?", re.DOTALL)
# Messages of two kinds are distinguished by their seeds, from which their tags are made.
_SEEDS_APART: Final = 1_000_003
_NEARLY: Final = 1e-6


@dataclass(frozen=True, slots=True)
class UserKind:
    """One kind of users, as written.

    Attributes:
        where: the place it was read from, for errors.
        name: its name; if empty, that of its scenario is used.
        share: its share of all connections, 1 being all of them.
        words: options as written on a command line.
        given: options by name, as given in a file.
        parameters: the scenario's parameters, from a file.
    """

    where: str
    name: str
    share: float
    words: Sequence[str] = ()
    given: Given = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)


def parse_user(text: str) -> UserKind:
    """Parse a kind of users, written like ``talker=30% /echo --scenario echo``.

    Raises:
        UsageError: invalid text.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise UsageError(
            f"--user {text!r} is not a kind of users; write it like 'talker=30% /echo --scenario "
            "echo'"
        )
    name, share, rest = match.groups()
    # The rest may contain a secret.
    where = f"--user {name or share}"
    if not 0 < _share(share) <= 1:
        raise UsageError(
            f"{where}: a share of {share} is out of range; it must be above 0 and at most 1 (100%)"
        )
    try:
        words = shlex.split(rest or "")
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from None
    return UserKind(where, name or "", _share(share), words)


def plan_of_run(given: Given, file: ScenarioFile) -> Plan:
    """Return the plan of a run, whether its users are of one kind or of several.

    Args:
        given: options from a command line, for example; they take precedence over the file.
        file: the run's file.

    Raises:
        UsageError: an invalid value, or values that cannot be combined.
    """
    given = {**file.given, **given}
    kinds = [*map(parse_user, given.get("user", ()))] or [
        UserKind(user.where, user.name, user.share, (), user.given, user.parameters)
        for user in file.users
    ]
    if not kinds:
        return plan_of(given, file.parameters)
    if file.parameters:
        raise UsageError(
            "[parameters] must be given for each kind of users: write [user.parameters]"
        )
    return mixed(given, kinds)


def mixed(run: Given, kinds: Sequence[UserKind]) -> Plan:
    """Return the plan of a run with users of several kinds.

    Raises:
        UsageError: a misplaced option, shares that do not add up to 1, or too few connections.
    """
    for name in names_in(Scope.KIND):
        if name in run and OPTIONS[name].read(run[name]) != OPTIONS[name].default:
            raise UsageError(
                f"{flag_of(name)} must be given for each kind of users; put it into its --user"
            )
    total = sum(kind.share for kind in kinds)
    if abs(total - 1) > _NEARLY:
        raise UsageError(f"the shares of users add up to {total:.4g}; they must add up to 1")
    whole = plan_of({name: it for name, it in run.items() if name in {*_OF_THE_RUN, "url"}})
    counts = parts_of(whole.connections, kinds)
    processes = _processes(whole.processes if "processes" in run else None, counts)
    users = tuple(
        User(
            kind.name or Path(plan.scenario).stem,
            kind.share,
            replace(
                plan,
                connections=counts[number],
                population=whole.population and _stages(whole.population, kinds, number),
                processes=processes[number],
                seed=whole.seed + (number + 1) * _SEEDS_APART,
            ),
        )
        for number, (kind, plan) in enumerate((kind, _plan_of(kind, run, whole)) for kind in kinds)
    )
    _check_names(users)
    scenario = "+".join(Path(user.plan.scenario).stem for user in users)
    return replace(
        whole,
        scenario=scenario,
        concurrent=sum(user.plan.concurrent for user in users),
        processes=sum(processes),
        users=users,
    )


def parts_of(count: int, kinds: Sequence[UserKind]) -> list[int]:
    """Divide a number of connections so that the parts add up to it, and grow with it.

    Each next one goes to the kind whose share is the largest for what it has (Webster's method, the
    only usual one in which no part shrinks while the total grows: Balinski and Young, Fair
    Representation).
    """
    # No kind ends up with fewer, so these need not be assigned one by one.
    parts = [max(0, math.floor(count * kind.share) - len(kinds)) for kind in kinds]
    for _ in range(count - sum(parts)):
        neediest = max(range(len(kinds)), key=lambda it: kinds[it].share / (2 * parts[it] + 1))
        parts[neediest] += 1
    return parts


def _share(text: str) -> float:
    return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)


def _stages(stages: Stages, kinds: Sequence[UserKind], number: int) -> Stages:
    """Return one kind's part of the stages."""
    return Stages(
        tuple(
            replace(
                stage,
                begin=parts_of(stage.begin, kinds)[number],
                end=parts_of(stage.end, kinds)[number],
            )
            for stage in stages.stages
        )
    )


def _plan_of(kind: UserKind, run: Given, whole: Plan) -> Plan:
    """Return the plan of one kind, with the run's options where it sets none."""
    try:
        own = {**kind.given, **read_words(kind.words)}
        for name in own:
            if name in _OF_THE_RUN:
                raise UsageError(f"{flag_of(name)} belongs to the run, not to one kind of users")
        given = {**run, **own}
        given["url"] = _absolute(run["url"], given["url"])
        if "profile" in given:
            # A profile determines its duration itself.
            given.pop("duration", None)
        plan = plan_of(given, kind.parameters)
        _check_plan(plan, whole)
    except UsageError as error:
        raise UsageError(f"{kind.where}: {error}") from None
    # Verdicts are for the whole run, with the figures of each kind.
    concurrent = max(1, round(whole.concurrent * kind.share))
    return replace(plan, concurrent=concurrent, thresholds=(), abort_on=())


def _check_plan(plan: Plan, whole: Plan) -> None:
    """Reject what differs from the run: another server, another duration."""
    if urlsplit(plan.url)[:2] != urlsplit(whole.url)[:2]:
        raise UsageError(
            f"{plan.url} is on another server than {whole.url}; all users of a run must use the "
            "same one"
        )
    if plan.profile is not None and plan.duration_seconds != whole.duration_seconds:
        raise UsageError(
            f"--profile lasts {plan.duration_seconds:g} s, the run {whole.duration_seconds:g} s; "
            "give --duration the same value"
        )


def _check_names(users: Sequence[User]) -> None:
    names = [user.name for user in users]
    for name in names:
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"--user: {name!r} is not a name; use a letter, then letters, digits, - and _"
            )
        if names.count(name) > 1:
            raise UsageError(
                f"two kinds of users are called {name!r}; name them, like 'talker=30% …'"
            )


def _absolute(run: str, url: str) -> str:
    """Return the address of a kind of users; a mere path is on the run's server."""
    if not url.startswith("/"):
        return url
    if url.startswith("//"):
        raise UsageError(f"{url!r} is neither an address nor a path on the run's server")
    path = urlsplit(url)
    parts = split_url(run.replace("{port}", "1"))._replace(path=path.path, query=path.query)
    # The original address has the port.
    return urlunsplit(parts._replace(netloc=urlsplit(run).netloc))


def _processes(asked: int | None, counts: Sequence[int]) -> list[int]:
    """Assign swarm processes: at least one to each kind, each next to the one with most to do."""
    if not all(counts):
        raise UsageError(
            f"{sum(counts)} connections are too few for {len(counts)} kinds of users; each needs "
            "at least one"
        )
    if asked is None:
        in_force = limits.read_limits()
        return [limits.processes_for(count, in_force) for count in counts]
    if asked < len(counts):
        raise UsageError(
            f"--processes {asked}: each of the {len(counts)} kinds of users needs its own"
        )
    processes = [1] * len(counts)
    for _ in range(asked - len(counts)):
        most = max(range(len(counts)), key=lambda it: counts[it] / processes[it])
        processes[most] += 1
    return processes
