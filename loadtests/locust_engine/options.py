"""What a Locust user asks of the swarm: custom arguments, which its web UI shows too, to a plan."""

import argparse
import shlex
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from loadtests.distribution import Distribution, DistributionKind, parse_distribution
from loadtests.errors import UsageError
from loadtests.masking import masked_header
from loadtests.options import ConnectOptions
from loadtests.plan import Plan, split_url
from loadtests.run import checked
from loadtests.scenarios import parse_parameters, scenario_kind
from loadtests.schedule import ArrivalKind
from reports.threshold import Threshold, parse_thresholds
from reports.units import parse_bytes, parse_count, parse_rate, parse_seconds

# A live load lasts until it is ended; this is longer than any.
_FOR_EVER_SECONDS: Final = 1e8
_SEPARATOR: Final = "|"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ours to Locust's arguments. Texts throughout: the web UI sends texts."""

    def add(name: str, default: str, about: str, **more: Any) -> None:  # noqa: ANN401
        variable = "SWARMGATE_" + name.upper().replace("-", "_")
        parser.add_argument(
            f"--swarm-{name}", default=default, help=about, env_var=variable, **more
        )

    add("param", "", "Parameters of the scenario: 'KEY=VALUE KEY=VALUE'; see swarmgate scenarios.")
    add("rate", "", "Messages a second (open model), such as 500; empty is the scenario's own.")
    add("rate-of", "all", "Whose rate it is.", choices=["all", "each connection"])
    add("arrivals", "constant", "How they are spaced.", choices=[str(it) for it in ArrivalKind])
    add("think", "", "Closed model: time from a reply to the next message, such as 'exp 1s'.")
    add("payload", "64B", "Size of a message, or 'uniform 64B..4KiB', '64B 70%%, 4KiB 30%%'.")
    add("script", "", "Python file that ScriptSwarm runs.")
    add("round", "10s", "Length of a round: broadcast, chat, storm and others are made of them.")
    add("late", "1s", "A reply that takes longer is counted as late.")
    add("timeout", "10s", "How long one handshake may take.")
    add("concurrent", "256", "Handshakes under way at once, of each worker.")
    add("headers", "", f"Added to the handshake: 'Name: value', with {_SEPARATOR} between them.")
    add("subprotocol", "", "Offered in the handshake.")
    add("feed", "", "CSV or JSON lines: a row of data for each connection of a script.")
    add("insecure", "no", "Accept any certificate.", choices=["no", "yes"])
    add("thresholds", "", "What must hold: 'latency.p99_seconds<=5ms, errors<=0'.")
    add("seed", "", "Seed of every random choice; drawn when empty.", include_in_web_ui=False)
    add("record", "", "The record, or its folder.", include_in_web_ui=False)
    add("pid", "", "Process of the server to watch.", include_in_web_ui=False)
    add(
        *("clock", "auto", "Estimate offsets even between workers that share a clock."),
        choices=["auto", "estimate"],
        include_in_web_ui=False,
    )


def thresholds_of(options: argparse.Namespace) -> tuple[Threshold, ...]:
    """Give what the run must hold to. Raises UsageError."""
    try:
        return parse_thresholds(options.swarm_thresholds)
    except ValueError as error:
        raise UsageError(f"--swarm-thresholds: {error}") from None


def masked_headers(text: str) -> str:
    """Give what was said of headers as it may be told to anybody."""
    return f" {_SEPARATOR} ".join(map(masked_header, _headers(text)))


def _headers(text: str) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, text.split(_SEPARATOR))))


def address(host: str | None, path: str) -> str:
    """Give the address that users connect to: the host's own path, else the user class's.

    Raises:
        UsageError: no host, or none that is a WebSocket address.
    """
    if not host:
        raise UsageError("no target: give --host, such as ws://127.0.0.1:8000")
    parts = split_url(host)
    if parts.path not in ("", "/"):
        return host
    query = urlsplit(path)
    return urlunsplit(parts._replace(path=query.path or "/", query=query.query or parts.query))


def plan_of(
    user: Mapping[str, Any],
    options: argparse.Namespace,
    host: str | None,
    *,
    users: int,
    workers: int,
    seed: int,
) -> Plan:
    """Give the plan of one user class.

    Args:
        user: what the class says: its scenario, path, parameters and rate.
        options: the custom arguments.
        host: Locust's host.
        users: how many there are to be at first.
        workers: over how many workers.
        seed: of every random choice.

    Raises:
        LoadTestError: it cannot be carried out.
    """
    scenario = user["scenario"] or options.swarm_script
    if not scenario:
        raise UsageError("no script: give --swarm-script, a Python file")
    if scenario == "drain":
        raise UsageError("scenario 'drain' stops the server, once: use swarmgate run for it")
    kind = scenario_kind(scenario)
    given = {**user["parameters"], **_parameters(options.swarm_param)}
    # One set of parameters serves all classes that run together; each takes those it knows.
    known = kind.parameters_type.names()
    others = user["known_elsewhere"]
    given = {key: value for key, value in given.items() if key in known or key not in others}
    sizes = _read("payload", options, lambda text: parse_distribution(text, parse_bytes))
    is_fixed = len(sizes.numbers) == 1 and sizes.kind is DistributionKind.CHOICE
    rate = _read("rate", options, parse_rate) if options.swarm_rate else user["rate"]
    think = options.swarm_think or (user["think"] if rate is None else "")
    joins = kind.joins
    parameters = parse_parameters(scenario, given)
    plan = Plan(
        url=kind.address(address(host, user["path"]), parameters),
        connections=max(1, users),
        scenario=scenario,
        parameters=given,
        concurrent=_read("concurrent", options, parse_count) * workers,
        duration_seconds=_FOR_EVER_SECONDS if joins else _read("round", options, parse_seconds),
        rate=rate,
        per_connection=rate is not None and options.swarm_rate_of != "all",
        think=_parse("think", think, _distribution) if think else None,
        arrivals=ArrivalKind(options.swarm_arrivals),
        payload_bytes=round(sizes.numbers[0]) if is_fixed else 64,
        payload_sizes=None if is_fixed else sizes,
        feed=options.swarm_feed or None,
        late_seconds=_read("late", options, parse_seconds),
        handshake_timeout_seconds=_read("timeout", options, parse_seconds),
        options=ConnectOptions(
            headers=_headers(options.swarm_headers),
            subprotocols=(options.swarm_subprotocol,) if options.swarm_subprotocol else (),
            insecure=options.swarm_insecure == "yes",
        ),
        processes=min(workers, max(1, users)),
        live=True,
        rounds=not joins,
        seed=seed,
    )
    return checked(plan)


def _distribution(text: str) -> Distribution:
    return parse_distribution(text, parse_seconds)


def _read(name: str, options: argparse.Namespace, parse: Any) -> Any:  # noqa: ANN401
    return _parse(name, getattr(options, f"swarm_{name}"), parse)


def _parse(name: str, text: str, parse: Any) -> Any:  # noqa: ANN401
    try:
        return parse(text)
    except ValueError as error:
        raise UsageError(f"--swarm-{name.replace('_', '-')}: {error}") from None


def _parameters(text: str) -> dict[str, str]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--swarm-param {text!r}: {error}") from None
    parameters = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals):
            raise UsageError(f"--swarm-param takes 'KEY=VALUE KEY=VALUE', not {word!r}")
        parameters[key] = value
    return parameters
