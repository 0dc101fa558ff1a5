"""What a run is to do: the whole of it for the fleet, and each process's share of it."""

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
from loadtests.plan.option import Above, Group, Least, Option, SaidOf, Unchecked, check_ranges
from loadtests.plan.rate_profile import Profile
from loadtests.plan.schedule import ArrivalKind, share
from loadtests.plan.stages import Stages
from loadtests.plan.template import check_places
from reports.threshold import parse_threshold


@dataclass(frozen=True, slots=True)
class User:
    """One of several kinds of users.

    Attributes:
        name: what it is called; its figures begin with it.
        share: of all connections, above 0, at most 1.
        plan: what these do, with as many connections and swarm processes as are theirs.
    """

    name: str
    share: float
    plan: "Plan"


@pydantic_dataclass(frozen=True, slots=True, config=ConfigDict(use_attribute_docstrings=True))
class Plan:
    """A whole run, or what the users of one kind do in it.

    Its fields are the options of a run, as they are said and as help tells them; what has no
    :class:`Option` follows from others.
    """

    url: Annotated[str, Option(Group.TARGET, TEXT, default="that of --file")]
    """Address, ws:// or wss://; {n} in it is the connection's number."""

    connections: Annotated[
        int, Option(Group.CONNECTIONS, NUMBER_OR_STAGES, name="count", said_of=SaidOf.RUN), Least(1)
    ] = 100
    """Connections, such as 10k; or stages: '0..2k in 30s, 2k for 1m, 500 in 5s'."""

    scenario: Annotated[
        str, Option(Group.LOAD, TEXT, short="-s", metavar="NAME", said_of=SaidOf.KIND)
    ] = "hold"
    """A scenario (`swarmgate scenarios` lists them) or a Python file; with --help after it, its
    parameters are told too."""

    parameters: Annotated[
        Mapping[str, Any],
        Option(
            Group.LOAD, pairs("KEY=VALUE"), name="param", metavar="KEY=VALUE", said_of=SaidOf.KIND
        ),
    ] = Field(default_factory=dict)
    """A parameter of the scenario."""

    users: Annotated[
        tuple[User, ...],
        Unchecked(),
        Option(Group.LOAD, TEXTS, name="user", metavar="'NAME=SHARE FLAGS'", said_of=SaidOf.RUN),
    ] = ()
    """Users of several kinds in one run: 'watcher=70% --scenario hold' 'talker=30% /echo
    --scenario echo --rate 500'. May be repeated."""

    duration_seconds: Annotated[
        float,
        Option(Group.LOAD, SECONDS, short="-d", metavar="TIME", said_of=SaidOf.RUN),
        Above(0),
    ] = 10.0
    """Measured time."""

    rate: Annotated[
        float | None,
        Option(Group.LOAD, RATE, short="-r", metavar="N", said_of=SaidOf.KIND),
    ] = None
    """Messages a second over all connections (open model). Without it, echo sends the next after
    the reply (closed model)."""

    per_connection: Annotated[bool, Option(Group.LOAD, SWITCH, said_of=SaidOf.KIND)] = False
    """Apply the rate per connection."""

    profile: Annotated[
        Profile | None, Option(Group.LOAD, PROFILE, metavar="RATES", said_of=SaidOf.KIND)
    ] = None
    """A rate that changes: '0..1k/s for 10s, 1k/s for 30s, 5k/s for 2s'."""

    think: Annotated[
        Distribution | None, Option(Group.LOAD, TIMES, metavar="TIME", said_of=SaidOf.KIND)
    ] = None
    """Closed model: time from reply to next, '1s', 'exp 1s', 'uniform …'."""

    arrivals: Annotated[ArrivalKind, Option(Group.LOAD, one_of(ArrivalKind))] = ArrivalKind.CONSTANT
    """How arrivals are spaced."""

    payload_bytes: Annotated[
        int, Option(Group.LOAD, SIZES, name="payload", metavar="SIZE"), Least(1)
    ] = 64
    """Of a message; or 'uniform 64B..4KiB', '64B 70%, 4KiB 30%', …."""

    payload_file: Annotated[str | None, Option(Group.LOAD, TEXT, metavar="FILE")] = None
    """Fill messages with its lines."""

    binary: Annotated[bool, Option(Group.LOAD, SWITCH)] = False
    """Send binary, not text."""

    late_seconds: Annotated[float, Option(Group.LOAD, SECONDS, metavar="TIME"), Above(0)] = 1.0
    """A reply or a delivery that takes longer is counted as late."""

    reply_timeout_seconds: Annotated[
        float, Option(Group.LOAD, SECONDS, metavar="TIME"), Above(0)
    ] = 10.0
    """When a reply is taken for lost, until it comes after all; in a closed model the user goes on
    then."""

    warmup_seconds: Annotated[
        float, Option(Group.LOAD, SECONDS, metavar="TIME", said_of=SaidOf.RUN), Least(0)
    ] = 0.0
    """Put the same load on first, and keep nothing of that."""

    concurrent: Annotated[
        int,
        Option(Group.CONNECTIONS, COUNT, short="-c", metavar="K", said_of=SaidOf.RUN),
        Least(1),
    ] = 256
    """Handshakes under way at once."""

    ramp_seconds: Annotated[
        float, Option(Group.CONNECTIONS, SECONDS, metavar="TIME", said_of=SaidOf.RUN), Least(0)
    ] = 0.0
    """Spread the opening over this long."""

    ramp_down_seconds: Annotated[
        float, Option(Group.CONNECTIONS, SECONDS, metavar="TIME", said_of=SaidOf.RUN), Least(0)
    ] = 0.0
    """Spread the closing over this long."""

    steps: Annotated[
        int, Option(Group.CONNECTIONS, COUNT, metavar="N", said_of=SaidOf.RUN), Least(1)
    ] = 1
    """Open in so many steps, reading memory at each: 4 give a slope."""

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
            default="as few as fit",
            said_of=SaidOf.RUN,
        ),
        Least(1),
    ] = 1
    """Swarm processes."""

    seed: Annotated[
        int,
        Option(Group.CONNECTIONS, COUNT, metavar="N", default="drawn", said_of=SaidOf.RUN),
    ] = 0
    """Seed of every random choice."""

    setup: Annotated[
        str | None, Option(Group.BEFORE, TEXT, metavar="FILE", default="a script's own")
    ] = None
    """Python file with setup(), called once in each process, and handshake(client), called for each
    connection, such as for a login."""

    feed: Annotated[str | None, Option(Group.BEFORE, TEXT, metavar="FILE")] = None
    """CSV or JSON lines: a row of data for each connection."""

    feed_policy: Annotated[FeedPolicy, Option(Group.BEFORE, one_of(FeedPolicy))] = FeedPolicy.CYCLE
    """For connections beyond its rows: begin again, open none, or refuse."""

    ready: Annotated[tuple[str, ...], Option(Group.BEFORE, TEXTS, metavar="'SEND => EXPECT'")] = ()
    """Before a connection counts as open: send this, wait for an answer with that in it (either may
    be left out). May be repeated."""

    answers: Annotated[
        tuple[str, ...], Option(Group.BEFORE, TEXTS, name="answer", metavar="'MESSAGE => ANSWER'")
    ] = ()
    """Whenever the server says just that, such as a ping of its protocol's own, answer it;
    'regex:PATTERN => ANSWER' acknowledges what has it in it. May be repeated."""

    thresholds: Annotated[
        tuple[str, ...],
        Option(
            Group.VERDICT,
            TEXTS,
            name="threshold",
            metavar="'FIGURE<=VALUE'",
            said_of=SaidOf.RUN,
        ),
    ] = ()
    """What a figure must be, else the exit status is 1: 'latency.p99_seconds<=20ms'. May be
    repeated."""

    abort_on: Annotated[
        tuple[str, ...],
        Option(Group.VERDICT, TEXTS, metavar="'FIGURE>VALUE'", said_of=SaidOf.RUN),
    ] = ()
    """End the run as failed once a figure is that: 'errors>100'. Looked at once a second. May be
    repeated."""

    bounds: Annotated[
        Bounds,
        Option(Group.VERDICT, BOUNDS, name="bound", metavar="NAME=VALUE", said_of=SaidOf.RUN),
    ] = Field(default_factory=Bounds)
    """What the generator must keep to, else the run is invalid: 'lateness_p99_seconds=20ms'
    (docs/validity.md). May be repeated."""

    fail_fast: Annotated[bool, Option(Group.VERDICT, SWITCH, said_of=SaidOf.RUN)] = False
    """End at the first error of a script."""

    options: ConnectOptions = Field(default_factory=ConnectOptions)
    """How each connection is made, which is options as well."""

    payload_sizes: Distribution | None = None
    """Sizes of messages where they differ."""

    population: Stages | None = None
    """How many connections there are at each moment of the load, where they come and go by stages;
    ``connections`` is then how many there are at most, and the plan is ``live``."""

    live: bool = False
    """Connections come and go while the load lasts, and it lasts until it is ended unless it has a
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
                f"{self.processes} processes cannot share {self.connections} connections; "
                "ask for fewer processes"
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
            raise UsageError("--think is for the closed model; leave --rate and --profile out")
        if self.per_connection and (self.rate is None or self.profile is not None):
            raise UsageError("--per-connection needs a --rate, the same all the time")
        if self.population is not None and self.profile is not None:
            raise UsageError("--profile and stages of connections; let one of them stay the same")
        if self.population is not None and (self.steps > 1 or self.ramp_seconds):
            raise UsageError("stages say when connections open; leave --steps and --ramp out")
        if self.payload_sizes is not None and self.payload_file is not None:
            raise UsageError("both --payload and --payload-file; leave one of them out")

    @property
    def parts(self) -> "tuple[Plan, ...]":
        """The plans that are carried out side by side: of each kind of users, or this one."""
        return tuple(user.plan for user in self.users) or (self,)

    @property
    def total_rate(self) -> float | None:
        """Arrivals a second over all connections, whether or not the rate is of each."""
        if self.rate is None or not self.per_connection:
            return self.rate
        return self.rate * self.connections

    @property
    def openings(self) -> int:
        """How many connections are opened in all, each as often as it comes."""
        if self.users:
            return sum(user.plan.openings for user in self.users)
        return self.connections if self.population is None else self.population.openings

    def row_for(self, text: str | None) -> Callable[[int], Row | None]:
        """Return what gives rows of the feed by number, for a text that has places for them."""
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
    """Where connections go, resolved once: no name is looked up while connections open."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """One swarm process's share of a run.

    Attributes:
        plan: the whole run, or what users of its kind do.
        process: the number of this process among those of the plan, from 0.
        endpoint: where to connect.
        sources: source addresses to bind to in turn; empty lets the kernel choose.
        origin_ns: CLOCK_MONOTONIC time of the start of the run.
        first_number, number_step: the numbers of this process's connections; by default those of
            all processes in turn.
        clock_ns: what is added to CLOCK_MONOTONIC here to have the time that the whole fleet
            goes by; 0 where all processes are on one host.
        clock_error_ns: how far a message may seem to come from the future, for clocks of two hosts
            are never quite the same; 0 where all processes are on one host.
        user: the name of its kind of users, where there are several.
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
        """The number of this process among all of the run, as the record has it."""
        return self.before + self.process

    def now_ns(self) -> int:
        """Return the time now by the clock that the whole fleet goes by."""
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
        """How many handshakes this process may have under way at once."""
        return max(1, share(self.plan.concurrent, self.plan.processes, self.process))

    def reached(self, stage: int, total: int) -> int:
        """Return how many this process has open when ``stage`` of the ``total`` of the run are."""
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
    """Take a WebSocket address apart (RFC 6455 section 3).

    Raises:
        UsageError: not a ``ws://`` or ``wss://`` address with a host.
    """
    example = "expected something like ws://127.0.0.1:8000/ws"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{url!r} is no WebSocket address ({error}); {example}") from None
    if parts.scheme not in ("ws", "wss"):
        raise UsageError(f"{url!r} is no WebSocket address (scheme {parts.scheme!r}); {example}")
    if not parts.hostname:
        raise UsageError(f"{url!r} names no host; {example}")
    if port == 0:
        raise UsageError(f"{url!r} names port 0; {example}")
    if parts.fragment:
        raise UsageError(f"{url!r} has a fragment, which RFC 6455 section 3 forbids; {example}")
    return parts


def port_of(url: str) -> int:
    """Return the port of an address, 80 or 443 when it names none (RFC 6455 section 3)."""
    parts = split_url(url)
    return parts.port or (443 if parts.scheme == "wss" else 80)
