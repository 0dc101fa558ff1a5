"""The searched quantity of a load: the number of connections, or of messages a second."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Any, Final

from benchmarks.judging.alike import conditions, server_of
from benchmarks.judging.capacity import Span
from benchmarks.runs.workload import Case
from loadtests.errors import UsageError
from loadtests.plan import limits
from loadtests.plan.limits import Limits
from loadtests.plan.masking import masked
from loadtests.plan.plan import Plan, split_url
from loadtests.plan.run_options import Given
from loadtests.plan.stages import are_stages
from loadtests.run.header import run_header
from loadtests.run.run import checked
from loadtests.scenarios.registry import SCENARIOS, scenario_kind
from loadtests.scenarios.scripted import Scripted
from reports.record import Header, Target
from reports.units import significant

MOST_RATE: Final = 1e6
"""Messages a second, unless fewer are asked for."""


class Searched(StrEnum):
    """What is searched for."""

    CONNECTIONS = "connections"
    RATE = "rate"


@dataclass(frozen=True, slots=True)
class Load:
    """A load in which one quantity is searched for.

    Attributes:
        case: the load and the server; the searched value is put in its place in the workload.
        searched: the quantity that is searched for.
    """

    case: Case
    searched: Searched

    def at(self, value: float) -> Case:
        """Return the load with this value of the searched quantity."""
        name = "count" if self.searched is Searched.CONNECTIONS else "rate"
        workload = self.case.workload.with_flags(**{name: f"{value:.12g}"})
        return Case(self.case.target, workload, self.case.bounds)

    def value_of(self, header: Header) -> float:
        """Return the value of the searched quantity in a record's run."""
        return float(header.load["connections" if self.is_whole else "rate"])

    @property
    def is_whole(self) -> bool:
        """Whether the searched quantity has only whole values."""
        return self.searched is Searched.CONNECTIONS

    @property
    def unit(self) -> str:
        """The unit of the searched quantity, in words."""
        if self.searched is Searched.CONNECTIONS:
            return "connections"
        scenario = self.case.workload.scenario
        if issubclass(scenario_kind(scenario), Scripted):
            return "iterations a second"
        return f"{'broadcasts' if scenario == 'broadcast' else 'messages'} a second"

    def formatted(self, value: float) -> str:
        """Format a value of the searched quantity."""
        if self.is_whole:
            return f"{value:,.0f}"
        text = significant(value)
        return text.rstrip("0").removesuffix(".") if "." in text else text


def check_searched(searched: Searched, given: Given, scenario: str, *, has_count: bool) -> None:
    """Refuse options that fix what is searched for, or are incompatible with the search.

    Args:
        searched: what is searched for.
        given: the options given by the user, or in a file.
        scenario: the scenario of the load.
        has_count: whether the user has given the number of connections.

    Raises:
        UsageError: an option is refused; the message names it and says what to do.
    """
    count = str(given.get("count", ""))
    if searched is Searched.CONNECTIONS:
        if has_count or are_stages(count):
            raise UsageError(
                f"COUNT {count!r}: the number of connections is what is searched for; set its "
                "range with --from and --to, or search for the rate with --search rate"
            )
        return
    for name in ("rate", "profile"):
        if name in given:
            raise UsageError(
                f"--{name}: the rate is what is searched for; set its range with --from and --to, "
                "or search for the number of connections with --search connections"
            )
    if given.get("per_connection"):
        raise UsageError(
            "--per-connection: the search is for the rate of all connections together; leave it out"
        )
    if are_stages(count):
        raise UsageError("COUNT: --search rate needs a fixed number of connections, not stages")
    if "user" in given:
        raise UsageError(
            "--search rate: each kind of user has its own rate; search for connections"
        )
    kind = scenario_kind(scenario)
    if not (kind.measures.reaches_rate or issubclass(kind, Scripted)):
        sending = (name for name, it in SCENARIOS.items() if it.measures.reaches_rate)
        raise UsageError(
            f"--search rate: scenario {scenario} sends nothing at a rate; these do: "
            f"{', '.join(sorted(sending))}"
        )


def most_connections(plan: Plan, in_force: Limits, *, has_processes: bool) -> tuple[int, str]:
    """Return the most connections that this machine can be asked for, and what limits them.

    Args:
        plan: a plan of any size; its address and options matter.
        in_force: the limits of this machine.
        has_processes: whether the number of swarm processes was given.
    """
    bounds = [
        (in_force.files_machine // 2, "fs.file-max"),
        (in_force.memory_available_bytes // limits.BYTES_PER_CONNECTION, "the available memory"),
    ]
    if has_processes:
        files = plan.processes * in_force.connections_per_process
        bounds.append((files, f"RLIMIT_NOFILE of {plan.processes} swarm process(es)"))
    sources = len(plan.options.source_addresses())
    if plan.options.unix_socket is None and (sources or not _is_loopback(plan.url)):
        bounds.append((max(1, sources) * in_force.ports, "net.ipv4.ip_local_port_range"))
    return min(bounds)


def _is_loopback(url: str) -> bool:
    host = split_url(url.replace("{port}", "1")).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def identity(load: Load, span: Span) -> Mapping[str, Any]:
    """Return what runs must have in common to belong to one search, by name, without secrets."""
    plan = masked(checked(load.at(span.low).plan()))
    target = Target(plan.url, "", load.case.target.source.command, ())
    header = run_header(plan, target, limits.read_limits(), ())
    changing = ("connections", "concurrent", "processes", "rate")
    alike = {
        name: value
        for name, value in conditions(header).items()
        if name.rpartition(": ")[2] not in changing
    }
    other = plan.rate if load.is_whole else float(plan.connections)
    return {**alike, "target": server_of(header), "search": load.searched, "beside": other}
