"""Which runs may be compared: those of the same load on the same machine."""

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit

from loadtests.plan.plan import Plan
from reports.record import Header, Machine, Target
from reports.units import format_bytes

# These only judge a run, or follow from the rest; they do not affect what was measured.
_NO_CONDITION: Final = frozenset(
    {
        *("url", "scenario", "parameters", "seed", "users"),
        *("thresholds", "abort_on", "bounds", "fail_fast", "total_rate", "openings"),
    }
)


class NotComparableError(Exception):
    """Base and head that did not measure the same; each line of the message says what differs."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run whose figures may be judged."""

    header: Header
    started: datetime
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Alike:
    """Runs of one side that measured the same thing.

    Attributes:
        conditions: what must be the same on the other side, by name.
        server: what was under load, which may differ.
    """

    conditions: Mapping[str, str]
    server: str
    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """Runs of base and head to compare; ``differences`` is empty unless they were forced."""

    base: Alike
    head: Alike
    differences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Matched:
    """The runs that can be compared, and those without a counterpart on the other side."""

    pairs: tuple[Pair, ...]
    base_only: tuple[Alike, ...]
    head_only: tuple[Alike, ...]


def conditions(header: Header) -> dict[str, str]:
    """Return what must be the same for figures to be comparable.

    These are scenario, parameters, load, path and machine. A part of the load that is missing from
    an older record has its default. The target's location and software may differ: they are what is
    compared.
    """
    found = _conditions_of(header.scenario, header.parameters, header.load, header.target.url)
    for user in header.users:
        own = _conditions_of(user.scenario, user.parameters, user.load, user.url)
        named = {"share": f"{user.share:g}", **own}
        found |= {f"user {user.name}: {name}": value for name, value in named.items()}
    return found | _machine(header.machine)


def server_of(header: Header) -> str:
    """Return what was under load: the command that started it without its port, or its host."""
    target = header.target
    if not target.command:
        return urlsplit(target.url).netloc
    return shlex.join(without_port(target)).replace("'{port}'", "{port}")


def without_port(target: Target) -> list[str]:
    """Return the words of a target's command with ``{port}`` wherever its port stands alone."""
    port = target.address.rpartition(":")[2]
    if not port:
        return list(target.command)
    alone = re.compile(rf"(?<!\d){re.escape(port)}(?!\d)")
    return [alone.sub("{port}", word) for word in target.command]


def grouped(runs: Iterable[Run]) -> list[Alike]:
    """Group the runs that measured the same thing on the same server, in their given order."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        key = (json.dumps(conditions(run.header), sort_keys=True), server_of(run.header))
        groups.setdefault(key, []).append(run)
    return [Alike(json.loads(key), server, tuple(held)) for (key, server), held in groups.items()]


def matched(base: Sequence[Alike], head: Sequence[Alike], *, force: bool) -> Matched:
    """Find the comparable pairs of runs of base and head.

    If one side has the same load on several servers, the other side must have the same servers.

    Args:
        base: the groups of runs of the base.
        head: those of the head.
        force: also compare what is left over, each group with the one it differs least from.

    Raises:
        NotComparableError: nothing is comparable.
    """
    pairs: list[Pair] = []
    left, right = list(base), list(head)
    for finds in (_same_server, _only_one, _any) if force else (_same_server, _only_one):
        for after in tuple(right):
            if (before := finds(after, left, right)) is not None:
                pairs.append(Pair(before, after, tuple(differences(before, after))))
                left.remove(before)
                right.remove(after)
    if not pairs:
        raise NotComparableError("\n".join(_why_none(left, right)))
    return Matched(tuple(pairs), tuple(left), tuple(right))


def differences(base: Alike, head: Alike) -> Iterator[str]:
    """Yield each difference in what must be the same, one line each."""
    for name in dict.fromkeys((*base.conditions, *head.conditions)):
        before, after = (side.conditions.get(name) or "nothing" for side in (base, head))
        if before != after:
            yield f"{name}: {before} in base, {after} in head"


def _same_server(head: Alike, left: Sequence[Alike], _right: Sequence[Alike]) -> Alike | None:
    same = (it for it in left if it.conditions == head.conditions and it.server == head.server)
    return next(same, None)


def _only_one(head: Alike, left: Sequence[Alike], right: Sequence[Alike]) -> Alike | None:
    """Return the counterpart of a group if there is only one, so that there is no ambiguity."""
    before, after = (
        [it for it in groups if it.conditions == head.conditions] for groups in (left, right)
    )
    return before[0] if len(before) == len(after) == 1 else None


def _any(head: Alike, left: Sequence[Alike], _right: Sequence[Alike]) -> Alike | None:
    return min(left, key=lambda it: len(list(differences(it, head))), default=None)


def _why_none(base: Sequence[Alike], head: Sequence[Alike]) -> Iterator[str]:
    for after in head:
        if (before := _any(after, base, head)) is None:
            continue
        yield f"{described(after.runs[0].header)}:"
        lines = list(differences(before, after))
        if not lines:
            # The same load on several servers of each side.
            servers = ", ".join(it.server for it in base if it.conditions == after.conditions)
            lines = [f"target: any of {servers} in base, {after.server} in head"]
        yield from (f"  {line}" for line in lines)


def described(header: Header) -> str:
    """Return a run's load in a few words."""
    load = header.load
    parts = [header.scenario, f"{load['connections']:,} connections"]
    if (rate := load.get("total_rate", load.get("rate"))) is not None:
        parts.append(f"{rate:,.4g} /s")
    if "payload_bytes" in load:
        parts.append(f"{load['payload_bytes']:,} B")
    if "duration_seconds" in load:
        parts.append(f"{load['duration_seconds']:g} s")
    parts += [f"{name} {value}" for name, value in header.parameters.items()]
    path = urlsplit(header.target.url)
    return f"{', '.join(parts)}, on {path.path or '/'}{'?' if path.query else ''}{path.query}"


def _conditions_of(
    scenario: str, parameters: Mapping[str, Any], load: Mapping[str, Any], url: str
) -> dict[str, str]:
    address = urlsplit(url)
    return {
        "scenario": scenario,
        **{f"parameter {name}": _text(value) for name, value in parameters.items()},
        **_unasked_load(),
        **dict(_flat(load)),
        "scheme": address.scheme,
        "path": address.path or "/",
        "query": address.query,
    }


def _flat(load: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in load.items():
        if not prefix and name in _NO_CONDITION:
            continue
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _text(value)


def _text(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Format a value so that 10 and 10.0 are the same."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value)


@cache
def _unasked_load() -> Mapping[str, str]:
    """Return the load of a plan with nothing but defaults, as it appears in a record."""
    plan = asdict(Plan("ws://localhost/", connections=1, scenario="", parameters={}))
    return dict(_flat(json.loads(json.dumps(plan))))


def _machine(machine: Machine) -> dict[str, str]:
    return {
        "machine's cores": str(machine.cores),
        "machine's CPU": machine.cpu_model,
        # What the kernel reserves for itself differs a little from boot to boot.
        "machine's memory": format_bytes(machine.memory_bytes),
        "machine's kernel": machine.kernel,
    }
