"""Build a plan, and the source of its target, from the options that a user gave."""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loadtests.errors import UsageError
from loadtests.plan import limits
from loadtests.plan.connect_options import ConnectOptions
from loadtests.plan.distribution import Distribution, DistributionKind
from loadtests.plan.plan import Plan
from loadtests.plan.run_options import OPTIONS, Given, flag_of, values_of
from loadtests.plan.stages import Stages
from loadtests.plan.target_source import TargetSource


def plan_of(given: Given, parameters: Mapping[str, Any] | None = None) -> Plan:
    """Return the plan of a run, or of one kind of its users.

    Args:
        given: the options given, by name.
        parameters: the scenario's parameters from a file; those in ``given`` take precedence.

    Raises:
        UsageError: an invalid value, or values that cannot be combined.
    """
    url_of(given)
    values = values_of({name: it for name, it in given.items() if name != "user"}, Plan)
    values["parameters"] = {**(parameters or {}), **values.get("parameters", {})}
    values |= _by_stages(values) | _by_profile(values)
    if isinstance(sizes := values.get("payload_bytes"), Distribution):
        is_fixed = len(sizes.numbers) == 1 and sizes.kind is DistributionKind.CHOICE
        values["payload_bytes"] = round(sizes.numbers[0]) if is_fixed else 64
        values["payload_sizes"] = None if is_fixed else sizes
    values.setdefault("seed", random.getrandbits(32))
    if "processes" not in values:
        connections = values.get("connections", OPTIONS["count"].default)
        values["processes"] = limits.processes_for(connections, limits.read_limits())
    return Plan(**values, options=ConnectOptions(**values_of(given, ConnectOptions)))


def _by_stages(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plan values that stages imply, if they are given as the connection count."""
    stages = values.get("connections")
    if not isinstance(stages, Stages):
        return {}
    if "duration_seconds" in values:
        raise UsageError("stages set their own duration; leave --duration out")
    return {
        "connections": stages.most,
        "population": stages,
        "live": True,
        "duration_seconds": stages.seconds,
    }


def _by_profile(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the mean rate and the duration of a profile."""
    profile = values.get("profile")
    if profile is None:
        return {}
    if "rate" in values or "duration_seconds" in values:
        raise UsageError("--profile sets rate and duration; leave --rate and --duration out")
    return {"rate": profile.arrivals / profile.seconds, "duration_seconds": profile.seconds}


def url_of(given: Given) -> str:
    """Return the address. Raises UsageError if none was given."""
    if "url" not in given:
        raise UsageError("no address was given; name one like ws://localhost:8000/ws")
    return str(given["url"])


def seed_of(given: Given) -> int:
    """Return the seed, drawn if none was given. Raises UsageError."""
    values = values_of({name: it for name, it in given.items() if name == "seed"}, Plan)
    return int(values.get("seed", random.getrandbits(32)))


def source_of(given: Given) -> TargetSource:
    """Return the source of the server under test.

    Raises:
        UsageError: an invalid value, or one that is only allowed with a command.
    """
    source = TargetSource(**values_of(given, TargetSource))
    if not source.command:
        for name in ("target_env", "target_dir", "target_ready"):
            if given.get(name):
                raise UsageError(
                    f"{flag_of(name)} can only be used with --target-cmd; leave it out, or use both"
                )
    if source.ready is not None and not source.ready.startswith("/"):
        raise UsageError(f"--target-ready {source.ready!r} is not a path; write it like /healthz")
    if source.directory is not None and not Path(source.directory).is_dir():
        raise UsageError(f"--target-dir {source.directory!r} is not a directory")
    return source
