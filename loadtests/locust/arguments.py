"""The arguments of Locust users: flags of ``swarmgate run`` in one text, turned into a plan.

All flags for what connections do are available; how many there are, when they come and where the
target is are set by Locust's own options or its web UI.
"""

import argparse
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from loadtests.errors import UsageError
from loadtests.plan.command_line import read_words
from loadtests.plan.from_options import plan_of
from loadtests.plan.masking import masked
from loadtests.plan.plan import Plan, split_url
from loadtests.plan.replay import plan_words
from loadtests.plan.run_options import flag_of
from loadtests.run.run import checked
from loadtests.scenarios.registry import parse_parameters, scenario_kind
from loadtests.scenarios.scenario import Scenario
from reports.threshold import Threshold, parse_threshold

# A live load lasts until it is ended; this is longer than any load.
_FOR_EVER_SECONDS: Final = 1e8
_OPTION: Final = "--swarm-flags"
# Flags that are given in another way, or make no sense here.
_ELSEWHERE: Final[Mapping[str, str]] = {
    "count": "give the address with Locust's --host, the number with --users",
    "user": "write one user class for each kind",
    "processes": "each worker has one; start more workers",
    "ramp": "use Locust's --spawn-rate",
    "ramp_down": "users leave when Locust stops them",
    "steps": "use a load shape",
    "profile": "use a load shape, or --rate",
    "source": "each worker has its own",
    "unix_socket": "use swarmgate run",
    "proxy": "use swarmgate run",
    **dict.fromkeys(
        ("target_cmd", "target_env", "target_dir", "target_ready", "target_timeout"),
        "start the target yourself",
    ),
    "warmup": "use swarmgate run",
    "abort_on": "use swarmgate run",
    "fail_fast": "use swarmgate run",
    "file": "write its flags here",
    "dry_run": "use swarmgate run",
    "output": "use --swarm-record",
    "json": "use Locust's --json",
    "quiet": "use Locust's --loglevel",
}
# Flags that a class cannot have, because they belong to the test.
_OF_A_TEST: Final[Mapping[str, str]] = {
    **_ELSEWHERE,
    "scenario": "it is an attribute of the class",
    **dict.fromkeys(("threshold", "pid", "seed"), f"it applies to the whole test: use {_OPTION}"),
}


@dataclass(frozen=True, slots=True)
class UserClass:
    """The settings of a class of swarm users.

    Attributes:
        name: the name of the class.
        scenario: its name; empty if ``--swarm-flags`` is to name it.
        path: appended to a host that has none.
        parameters: the parameters of the scenario.
        rate, think: used if the flags do not give them.
        flags: its own flags, followed by those of ``--swarm-flags``.
    """

    name: str
    scenario: str
    path: str
    parameters: Mapping[str, Any]
    rate: float | None
    think: str
    flags: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add our arguments to Locust's, all of them texts, because the web UI sends texts."""
    parser.add_argument(
        _OPTION,
        default="",
        env_var="SWARMGATE_FLAGS",
        help="Flags of swarmgate run: --rate 500 --payload 1KiB -H 'X-Api-Key: k' "
        "--threshold 'latency.p99_seconds<=5ms'; --duration is the length of a round.",
    )
    parser.add_argument(
        "--swarm-record",
        default="",
        env_var="SWARMGATE_RECORD",
        include_in_web_ui=False,
        help="File of the record, or its folder.",
    )
    parser.add_argument(
        "--swarm-clock",
        default="auto",
        choices=["auto", "estimate"],
        env_var="SWARMGATE_CLOCK",
        include_in_web_ui=False,
        help="Estimate offsets even between workers that share a clock.",
    )


def given_in(options: argparse.Namespace, user: UserClass | None = None) -> dict[str, Any]:
    """Return the values of the flags, which follow a user class's own.

    Raises:
        UsageError: a flag is unknown, has an invalid value, or has no place here.
    """
    own = _words(f"{user.name}.flags", user.flags, _OF_A_TEST) if user is not None else []
    words = _words(_OPTION, options.swarm_flags, _ELSEWHERE)
    return read_words([*own, *words])


def _words(where: str, text: str, elsewhere: Mapping[str, str]) -> list[str]:
    """Split a text of flags and check them; an error names where they were given."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{where} {text!r}: {error}") from None
    try:
        given = read_words(words)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    if "url" in given:
        raise UsageError(f"{where}: {given['url']!r} is not a flag; {_ELSEWHERE['count']}")
    for name in given.keys() & elsewhere.keys():
        raise UsageError(f"{where}: {flag_of(name)} cannot be used here; {elsewhere[name]}")
    return words


def thresholds_of(options: argparse.Namespace) -> tuple[Threshold, ...]:
    """Return the thresholds of the run. Raise UsageError if one is invalid."""
    thresholds = []
    for text in given_in(options).get("threshold", ()):
        try:
            thresholds.append(parse_threshold(text))
        except ValueError as error:
            raise UsageError(f"{_OPTION}: --threshold: {error}") from None
    return tuple(thresholds)


def flags_text(plan: Plan, thresholds: Sequence[str], *, with_scenario: bool) -> str:
    """Write the flags that repeat what users of a plan do, with secrets masked."""
    without = frozenset({"concurrent", "duration", "processes", "threshold", "scenario"})
    # Locust has no scenario by default.
    words = ["--scenario", plan.scenario] if with_scenario else []
    words += plan_words(masked(plan), without)
    if plan.rounds:
        words += ["--duration", f"{plan.duration_seconds:g}s"]
    words += [word for text in thresholds for word in ("--threshold", text)]
    return shlex.join(words)


def address(host: str | None, path: str) -> str:
    """Return the address to connect to, with the host's own path, otherwise the user class's.

    Raises:
        UsageError: there is no host, or it is not a WebSocket address.
    """
    if not host:
        raise UsageError("no target: give --host, such as ws://127.0.0.1:8000")
    parts = split_url(host)
    if parts.path not in ("", "/"):
        return host
    query = urlsplit(path)
    return urlunsplit(parts._replace(path=query.path or "/", query=query.query or parts.query))


def plan_for(
    user: UserClass,
    options: argparse.Namespace,
    host: str | None,
    *,
    users: int,
    workers: int,
    seed: int,
    known_elsewhere: Collection[str] = (),
) -> Plan:
    """Return the plan of one user class.

    Args:
        user: the settings of the class.
        options: the custom arguments.
        host: Locust's host.
        users: the initial number of users.
        workers: the number of workers.
        seed: the seed of every random choice.
        known_elsewhere: parameters of the other classes that run together; of one set of
            parameters, each class takes those that it knows.

    Raises:
        LoadTestError: the plan cannot be carried out.
    """
    given = given_in(options, user)
    scenario = user.scenario or given.get("scenario", "")
    if not scenario:
        raise UsageError(f"no script: give {_OPTION} '--scenario FILE', a Python file")
    kind = scenario_kind(scenario)
    if kind.stops_target:
        raise UsageError(f"scenario {scenario!r} stops the server: use swarmgate run for it")
    given |= {
        "url": address(host, user.path),
        "count": str(max(1, users)),
        "scenario": scenario,
        "processes": str(min(workers, max(1, users))),
        "seed": str(seed),
    }
    given.pop("threshold", None)
    if user.rate is not None:
        given.setdefault("rate", str(user.rate))
    if user.think and "rate" not in given:
        given.setdefault("think", user.think)
    try:
        plan = plan_of(given, user.parameters)
    except UsageError as error:
        raise UsageError(f"{_OPTION}: {error}") from None
    known = kind.parameters_type.names()
    parameters = {
        key: value
        for key, value in plan.parameters.items()
        if key in known or key not in known_elsewhere
    }
    try:
        return checked(_live(plan, kind, parameters, workers))
    except UsageError as error:
        raise UsageError(f"{user.name}: {error}") from None


def _live(
    plan: Plan, kind: type[Scenario[Any]], parameters: Mapping[str, Any], workers: int
) -> Plan:
    """Return the plan of a live load, in which users come and go."""
    return replace(
        plan,
        url=kind.address(plan.url, parse_parameters(plan.scenario, parameters)),
        parameters=parameters,
        concurrent=plan.concurrent * workers,
        duration_seconds=_FOR_EVER_SECONDS if kind.joins else plan.duration_seconds,
        live=True,
        rounds=not kind.joins,
    )
