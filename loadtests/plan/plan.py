"""The plan of a run: the whole plan for the fleet, and each process's share of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as pydantic_dataclass

from loadtests.errors import UsageError
from loadtests.plan.bounds import Bounds
from loadtests.plan.connect_options import ConnectOptions
from loadtests.plan.distribution import Distribution
from loadtests.plan.feed import FeedPolicy, Row, rows_for
from loadtests.plan.forms import (
    BOUNDS,
    COUNT,
    NUMBER_OR_STAGES,
    PROFILE,
    RATE,
    SECONDS,
    SIZES,
    SWITCH,
    TEXT,
    TEXTS,
    TIMES,
    one_of,
    pairs,
)
from loadtests.plan.option import Above, Group, Least, Option, Scope, Unchecked, check_ranges
from loadtests.plan.rate_profile import Profile
from loadtests.plan.schedule import ArrivalKind, share
from loadtests.plan.stages import Stages
from loadtests.plan.template import check_places
from reports.threshold import parse_threshold


@dataclass(frozen=True, slots=True)
class User:
    """One of several kinds of users.

    Attributes:
        name: its name, with which its figures begin.
        share: its share of all connections, above 0, at most 1.
        plan: what these users do, with their own number of connections and swarm processes.
    """

    name: str
    share: float
    plan: "Plan"


@pydantic_dataclass(frozen=True, slots=True, config=ConfigDict(use_attribute_docstrings=True))
class Plan:
    """The plan of a whole run, or of the users of one kind in it.

    The fields are the options of a run, with their notation and help; a field without an
    :class:`Option` follows from others.
    """

    url: Annotated[str, Option(Group.TARGET, TEXT, default="the one in --file")]
    """Address, ws:// or wss://; {n} in it is the connection's number."""

    connections: Annotated[
        int, Option(Group.CONNECTIONS, NUMBER_OR_STAGES, name="count", scope=Scope.RUN), Least(1)
    ] = 100
    """Connections, such as 10k; or stages: '0..2k in 30s, 2k for 1m, 500 in 5s'."""

    scenario: Annotated[
        str, Option(Group.LOAD, TEXT, short="-s", metavar="NAME", scope=Scope.KIND)
    ] = "hold"
    """A scenario (`swarmgate scenarios` lists them) or a Python file; with --help after it, its
    parameters are shown too."""

    parameters: Annotated[
        Mapping[str, Any],
        Option(Group.LOAD, pairs("KEY=VALUE"), name="param", metavar="KEY=VALUE", scope=Scope.KIND),
    ] = Field(default_factory=dict)
    """A parameter of the scenario."""

    users: Annotated[
        tuple[User, ...],
        Unchecked(),
        Option(Group.LOAD, TEXTS, name="user", metavar="'NAME=SHARE FLAGS'", scope=Scope.RUN),
    ] = ()
    """Users of several kinds in one run: 'watcher=70% --scenario hold' 'talker=30% /echo
    --scenario echo --rate 500'. May be repeated."""

    duration_seconds: Annotated[
        float,
        Option(Group.LOAD, SECONDS, short="-d", metavar="TIME", scope=Scope.RUN),
        Above(0),
    ] = 10.0
    """Duration of the measurement."""

    rate: Annotated[
        float | None,
        Option(Group.LOAD, RATE, short="-r", metavar="N", scope=Scope.KIND),
    ] = None
    """Messages per second over all connections (open model). Without it, echo sends the next
    message after the reply (closed model)."""

    per_connection: Annotated[bool, Option(Group.LOAD, SWITCH, scope=Scope.KIND)] = False
    """Apply the rate per connection."""

    profile: Annotated[
        Profile | None, Option(Group.LOAD, PROFILE, metavar="RATES", scope=Scope.KIND)
    ] = None
    """A rate that changes over time: '0..1k/s for 10s, 1k/s for 30s, 5k/s for 2s'."""

    think: Annotated[
        Distribution | None, Option(Group.LOAD, TIMES, metavar="TIME", scope=Scope.KIND)
    ] = None
    """Closed model: time from a reply to the next message, '1s', 'exp 1s', 'uniform …'."""

    arrivals: Annotated[ArrivalKind, Option(Group.LOAD, one_of(ArrivalKind))] = ArrivalKind.CONSTANT
    """How arrivals are spaced."""

    payload_bytes: Annotated[
        int, Option(Group.LOAD, SIZES, name="payload", metavar="SIZE"), Least(1)
    ] = 64
    """Size of a message; or 'uniform 64B..4KiB', '64B 70%, 4KiB 30%', …."""

    payload_file: Annotated[str | None, Option(Group.LOAD, TEXT, metavar="FILE")] = None
    """Fill messages with the lines of this file."""

    binary: Annotated[bool, Option(Group.LOAD, SWITCH)] = False
    """Send binary messages instead of text."""

    late_seconds: Annotated[float, Option(Group.LOAD, SECONDS, metavar="TIME"), Above(0)] = 1.0
    """A reply or a delivery that takes longer is counted as late."""

    reply_timeout_seconds: Annotated[
        float, Option(Group.LOAD, SECONDS, metavar="TIME"), Above(0)
    ] = 10.0
    """When a reply counts as lost, unless it still arrives; in a closed model the user then
    continues."""

    warmup_seconds: Annotated[
        float, Option(Group.LOAD, SECONDS, metavar="TIME", scope=Scope.RUN), Least(0)
    ] = 0.0
    """Apply the same load for this long first, and discard its results."""

    concurrent: Annotated[
        int,
        Option(Group.CONNECTIONS, COUNT, short="-c", metavar="K", scope=Scope.RUN),
        Least(1),
    ] = 256
    """Handshakes in progress at once."""

    ramp_seconds: Annotated[
        float, Option(Group.CONNECTIONS, SECONDS, metavar="TIME", scope=Scope.RUN), Least(0)
    ] = 0.0
    """Spread the opening over this long."""

    ramp_down_seconds: Annotated[
        float, Option(Group.CONNECTIONS, SECONDS, metavar="TIME", scope=Scope.RUN), Least(0)
    ] = 0.0
    """Spread the closing over this long."""

    steps: Annotated[
        int, Option(Group.CONNECTIONS, COUNT, metavar="N", scope=Scope.RUN), Least(1)
    ] = 1
    """Open in this many steps, reading memory at each: 4 give a slope."""

    handshake_timeout_seconds: Annotated[
        float, Option(Group.CONNECTIONS, SECONDS, name="timeout", metavar="TIME"), Above(0)
    ] = 10.0
    """How long one handshake may take."""

    processes: Annotated[
        int,
        Option(
            Group.CONNECTIONS,
            COUNT,
            short="-p",
            metavar="N",
            default="as few as possible",
            scope=Scope.RUN,
        ),
        Least(1),
    ] = 1
    """Number of swarm processes."""

    seed: Annotated[
        int,
        Option(Group.CONNECTIONS, COUNT, metavar="N", default="random", scope=Scope.RUN),
    ] = 0
    """Seed of every random choice."""

    setup: Annotated[
        str | None, Option(Group.BEFORE, TEXT, metavar="FILE", default="a script's own")
    ] = None
    """Python file with setup(), called once in each process, and handshake(client), called for each
    connection, for example to log in."""

    feed: Annotated[str | None, Option(Group.BEFORE, TEXT, metavar="FILE")] = None
    """CSV or JSON lines: a row of data for each connection."""

    feed_policy: Annotated[FeedPolicy, Option(Group.BEFORE, one_of(FeedPolicy))] = FeedPolicy.CYCLE
    """For connections beyond the rows of the feed: start over, open none, or refuse the run."""

    ready: Annotated[tuple[str, ...], Option(Group.BEFORE, TEXTS, metavar="'SEND => EXPECT'")] = ()
    """Before a connection counts as open: send SEND, then wait for an answer that contains EXPECT
    (either may be left out). May be repeated."""

    answers: Annotated[
        tuple[str, ...], Option(Group.BEFORE, TEXTS, name="answer", metavar="'MESSAGE => ANSWER'")
    ] = ()
    """Answer every message that equals MESSAGE, such as a ping of the server's own protocol;
    'regex:PATTERN => ANSWER' acknowledges every message that matches. May be repeated."""

    thresholds: Annotated[
        tuple[str, ...],
        Option(
            Group.VERDICT,
            TEXTS,
            name="threshold",
            metavar="'FIGURE<=VALUE'",
            scope=Scope.RUN,
        ),
    ] = ()
    """Condition that a figure must meet, otherwise the exit status is 1:
    'latency.p99_seconds<=20ms'. May be repeated."""

    abort_on: Annotated[
        tuple[str, ...],
        Option(Group.VERDICT, TEXTS, metavar="'FIGURE>VALUE'", scope=Scope.RUN),
    ] = ()
    """End the run as failed once a figure meets this condition: 'errors>100'. Checked once a
    second. May be repeated."""

    bounds: Annotated[
        Bounds,
        Option(Group.VERDICT, BOUNDS, name="bound", metavar="NAME=VALUE", scope=Scope.RUN),
    ] = Field(default_factory=Bounds)
    """Bound that the generator must stay within, otherwise the run is invalid:
    'lateness_p99_seconds=20ms' (docs/validity.md). May be repeated."""

    fail_fast: Annotated[bool, Option(Group.VERDICT, SWITCH, scope=Scope.RUN)] = False
    """End the run at the first script error."""

    options: ConnectOptions = Field(default_factory=ConnectOptions)
    """How each connection is made; its fields are options as well."""

    payload_sizes: Distribution | None = None
    """Sizes of messages if they differ."""

    population: Stages | None = None
    """How many connections there are at each moment of the load, if they come and go by stages;
    ``connections`` is then the maximum, and the plan is ``live``."""

    live: bool = False
    """Connections come and go during the load, which lasts until it is ended unless it has a
    ``population``."""

    rounds: bool = False
    """A live load runs in rounds, each with a fixed set of connections."""

    settle_seconds: Annotated[float, Least(0)] = 0.5
    """Quiet time after each step, before anything is read or sent."""

    collect_seconds: Annotated[float, Least(0)] = 5.0
    """How long to wait, at most, for what is still under way after the load."""

    def __post_init__(self) -> None:
        split_url(self.url.replace("{port}", "1"))
        check_places(self.url)
        check_ranges(self)
        if self.processes > self.connections:
            raise UsageError(
                f"{self.processes} processes cannot share {self.connections} connections; use "
                "fewer processes"
            )
        if self.rate is not None and self.rate <= 0:
            raise UsageError(f"rate is {self.rate}; it must be above 0 (leave it out for no pace)")
        self._check_model()
        self._check_thresholds()

    def _check_thresholds(self) -> None:
        for flag, texts in (("--threshold", self.thresholds), ("--abort-on", self.abort_on)):
            for text in texts:
                try:
                    parse_threshold(text)
                except ValueError as error:
                    raise UsageError(f"{flag}: {error}") from None

    def _check_model(self) -> None:
        if self.think is not None and self.rate is not None:
            raise UsageError("--think applies to the closed model; leave --rate and --profile out")
        if self.per_connection and (self.rate is None or self.profile is not None):
            raise UsageError("--per-connection needs a constant rate; give one with --rate")
        if self.population is not None and self.profile is not None:
            raise UsageError(
                "--profile cannot be combined with stages of connections; leave one of them out"
            )
        if self.population is not None and (self.steps > 1 or self.ramp_seconds):
            raise UsageError("stages set when connections open; leave --steps and --ramp out")
        if self.payload_sizes is not None and self.payload_file is not None:
            raise UsageError(
                "--payload cannot be combined with --payload-file; leave one of them out"
            )

    @property
    def parts(self) -> "tuple[Plan, ...]":
        """The plans that run side by side: one for each kind of users, or just this one."""
        return tuple(user.plan for user in self.users) or (self,)

    @property
    def total_rate(self) -> float | None:
        """Arrivals per second over all connections, even if the rate is per connection."""
        if self.rate is None or not self.per_connection:
            return self.rate
        return self.rate * self.connections

    @property
    def openings(self) -> int:
        """How many connections are opened in total, each counted every time it opens."""
        if self.users:
            return sum(user.plan.openings for user in self.users)
        return self.connections if self.population is None else self.population.openings

    def row_for(self, text: str | None) -> Callable[[int], Row | None]:
        """Return a function from connection number to row, for a text with feed placeholders."""
        return rows_for(text, self.feed, self.feed_policy)

    def stages(self) -> tuple[int, ...]:
        """Return the connection counts at which the opening pauses, the last being all of them."""
        return tuple(
            sorted(
                {self.connections * step // self.steps for step in range(1, self.steps + 1)} - {0}
            )
        )


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address connections go to, resolved once: no name is looked up while they open."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """One swarm process's share of a run.

    Attributes:
        plan: the plan of the whole run, or of its kind of users.
        process: the number of this process among those of the plan, from 0.
        endpoint: where to connect.
        sources: source addresses to bind to in turn; empty lets the kernel choose.
        origin_ns: CLOCK_MONOTONIC time of the start of the run.
        first_number, number_step: the numbers of this process's connections; by default the
            processes take numbers in turn.
        clock_ns: what is added to CLOCK_MONOTONIC here to get the common time of the whole fleet;
            0 if all processes are on one host.
        clock_error_ns: how far a message may seem to come from the future, because the clocks of
            two hosts never quite agree; 0 if all processes are on one host.
        user: the name of its kind of users, if there are several.
        before: how many processes come before those of its kind.
    """

    plan: Plan
    process: int
    endpoint: Endpoint
    sources: tuple[str, ...]
    origin_ns: int
    first_number: int | None = None
    number_step: int | None = None
    clock_ns: int = 0
    clock_error_ns: int = 0
    user: str = ""
    before: int = 0

    @property
    def process_of_run(self) -> int:
        """The number of this process among all of the run, as used in the record."""
        return self.before + self.process

    def now_ns(self) -> int:
        """Return the current time on the clock shared by the whole fleet."""
        return perf_counter_ns() + self.clock_ns

    def number(self, ordinal: int) -> int:
        """Return the number of this process's connection ``ordinal`` among those of the plan."""
        first = self.process if self.first_number is None else self.first_number
        return first + ordinal * (self.number_step or self.plan.processes)

    @property
    def connections(self) -> int:
        """How many connections this process opens."""
        return share(self.plan.connections, self.plan.processes, self.process)

    @property
    def concurrent(self) -> int:
        """How many handshakes this process may have in progress at once."""
        return max(1, share(self.plan.concurrent, self.plan.processes, self.process))

    def reached(self, stage: int, total: int) -> int:
        """Return this process's number of open connections when ``stage`` of ``total`` are open."""
        own = self.plan.connections * stage // total
        return share(own, self.plan.processes, self.process)


def processes_of(
    plan: Plan, endpoint: Endpoint, sources: tuple[str, ...], origin_ns: int
) -> tuple[ProcessPlan, ...]:
    """Return the share of every swarm process of a run, by its number."""
    names = [user.name for user in plan.users] or [""]
    shares: list[ProcessPlan] = []
    for name, part in zip(names, plan.parts, strict=True):
        before = len(shares)
        shares += [
            ProcessPlan(part, number, endpoint, sources, origin_ns, user=name, before=before)
            for number in range(part.processes)
        ]
    return tuple(shares)


def split_url(url: str) -> SplitResult:
    """Split a WebSocket address into its parts (RFC 6455 section 3).

    Raises:
        UsageError: not a ``ws://`` or ``wss://`` address with a host.
    """
    example = "expected something like ws://127.0.0.1:8000/ws"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{url!r} is not a WebSocket address ({error}); {example}") from None
    if parts.scheme not in ("ws", "wss"):
        raise UsageError(f"{url!r} is not a WebSocket address (scheme {parts.scheme!r}); {example}")
    if not parts.hostname:
        raise UsageError(f"{url!r} has no host; {example}")
    if port == 0:
        raise UsageError(f"{url!r} has port 0; {example}")
    if parts.fragment:
        raise UsageError(f"{url!r} has a fragment, which RFC 6455 section 3 forbids; {example}")
    return parts


def port_of(url: str) -> int:
    """Return the port of an address, 80 or 443 when it names none (RFC 6455 section 3)."""
    parts = split_url(url)
    return parts.port or (443 if parts.scheme == "wss" else 80)
