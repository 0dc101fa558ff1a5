"""What a run is to do: the whole of it for the fleet, and each process's share of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any
from urllib.parse import SplitResult, urlsplit

from loadtests.errors import UsageError
from loadtests.plan.bounds import Bounds
from loadtests.plan.connect_options import ConnectOptions
from loadtests.plan.distribution import Distribution
from loadtests.plan.feed import FeedPolicy, Row, rows_for
from loadtests.plan.rate_profile import Profile
from loadtests.plan.schedule import ArrivalKind, share
from loadtests.plan.stages import Stages
from loadtests.plan.template import check_places
from reports.threshold import parse_threshold


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole run, or what the users of one kind do in it.

    Attributes:
        url: the WebSocket address, ``ws://`` or ``wss://``; ``{port}`` stands for the port of a
            target that the run starts, ``{n}`` for the number of each connection.
        connections: how many to open; with a ``population`` how many there are at most.
        population: how many there are at each moment of the load, where they come and go by stages;
            the plan is ``live`` then, and lasts as long as they do.
        concurrent: how many handshakes may be under way at once, over the whole fleet.
        scenario: the scenario's name; ``parameters`` are its own, as given.
        duration_seconds: length of the measured phase.
        rate: arrivals a second over all connections; None is the closed model.
        per_connection: the rate is that of each connection, which has arrivals of its own.
        profile: a rate that changes over time; rate and duration are its mean and its length.
        think: in a closed model, how long after a reply the next message is sent, in seconds.
        arrivals: how arrivals are spaced.
        payload_bytes: size of each message.
        payload_sizes: sizes of messages where they differ.
        payload_file: a file that messages are filled with (:mod:`loadtests.plan.payload`).
        binary: whether messages are binary rather than text.
        ramp_seconds: spread the opening over this long; 0 opens as fast as ``concurrent`` allows.
        ramp_down_seconds: spread the closing over this long; 0 closes as fast as it goes.
        steps: open in this many equal steps, with a reading of memory after each.
        settle_seconds: quiet time after each step, before anything is read or sent.
        handshake_timeout_seconds: how long one connection may take to open.
        reply_timeout_seconds: when a reply is taken for lost, until it comes after all; in a closed
            model the next message is sent then.
        collect_seconds: how long to wait, at most, for what is still under way after the load.
        processes: how many swarm processes.
        options: how each connection is made.
        ready: what is done on each before it counts as open (:mod:`loadtests.clients.ready`).
        answers: what is answered by itself whenever it is said (:mod:`loadtests.clients.answers`).
        setup: a Python file of what is done before handshakes (:mod:`loadtests.clients.setup`).
        feed: a file with a row of data for each connection (:mod:`loadtests.plan.feed`).
        feed_policy: what becomes of connections for which there is no row any more.
        late_seconds: a reply or a delivery that takes longer is counted as late.
        fail_fast: end the run at the first error of a user's script.
        thresholds: what figures must be for the run to hold (:mod:`reports.threshold`).
        abort_on: what a figure must not be: the run ends early, and has failed.
        bounds: what the generator must keep to for the run to be valid.
        live: connections come and go while the load lasts, and it lasts until it is ended unless it
            has a ``population``.
        rounds: a live load is one of rounds, in each of which connections are the same.
        seed: the seed of every random choice.
        warmup_seconds: for how long the same load comes first, of which nothing is kept.
        users: the kinds of users, where there are several; each has a plan of its own, and this one
            says what they have in common: address, numbers, phases and what is judged.
    """

    url: str
    connections: int
    scenario: str
    parameters: Mapping[str, Any]
    concurrent: int = 256
    duration_seconds: float = 10.0
    rate: float | None = None
    per_connection: bool = False
    profile: Profile | None = None
    think: Distribution | None = None
    arrivals: ArrivalKind = ArrivalKind.CONSTANT
    payload_bytes: int = 64
    payload_sizes: Distribution | None = None
    payload_file: str | None = None
    binary: bool = False
    ramp_seconds: float = 0.0
    ramp_down_seconds: float = 0.0
    steps: int = 1
    settle_seconds: float = 0.5
    handshake_timeout_seconds: float = 10.0
    reply_timeout_seconds: float = 10.0
    collect_seconds: float = 5.0
    processes: int = 1
    options: ConnectOptions = field(default_factory=ConnectOptions)
    ready: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    setup: str | None = None
    feed: str | None = None
    feed_policy: FeedPolicy = FeedPolicy.CYCLE
    late_seconds: float = 1.0
    fail_fast: bool = False
    thresholds: tuple[str, ...] = ()
    abort_on: tuple[str, ...] = ()
    bounds: Bounds = field(default_factory=Bounds)
    population: Stages | None = None
    live: bool = False
    rounds: bool = False
    seed: int = 0
    warmup_seconds: float = 0.0
    users: "tuple[User, ...]" = ()

    def __post_init__(self) -> None:
        split_url(self.url.replace("{port}", "1"))
        check_places(self.url)
        for name in ("connections", "concurrent", "processes", "steps", "payload_bytes"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        if self.processes > self.connections:
            raise UsageError(
                f"{self.processes} processes cannot share {self.connections} connections; "
                "ask for fewer processes"
            )
        if self.rate is not None and self.rate <= 0:
            raise UsageError(f"rate is {self.rate}; it must be above 0 (leave it out for no pace)")
        self._check_model()
        for name in (
            "duration_seconds",
            "handshake_timeout_seconds",
            "reply_timeout_seconds",
            "late_seconds",
        ):
            if getattr(self, name) <= 0:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be above 0")
        for name in (
            "ramp_seconds",
            "ramp_down_seconds",
            "settle_seconds",
            "collect_seconds",
            "warmup_seconds",
        ):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be 0 or more")
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
        """Give what gives rows of the feed by number, for a text that has places for them."""
        return rows_for(text, self.feed, self.feed_policy)

    def stages(self) -> tuple[int, ...]:
        """Give the connection counts at which the opening pauses, the last being all of them."""
        return tuple(
            sorted(
                {self.connections * step // self.steps for step in range(1, self.steps + 1)} - {0}
            )
        )


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
    plan: Plan


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
        """Give the time now by the clock that the whole fleet goes by."""
        return perf_counter_ns() + self.clock_ns

    def number(self, ordinal: int) -> int:
        """Give the number of this process's connection ``ordinal`` among those of the plan."""
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
        """Give how many this process has open when ``stage`` of the ``total`` of the run are."""
        own = self.plan.connections * stage // total
        return share(own, self.plan.processes, self.process)


def processes_of(
    plan: Plan, endpoint: Endpoint, sources: tuple[str, ...], origin_ns: int
) -> tuple[ProcessPlan, ...]:
    """Give the share of every swarm process of a run, by its number."""
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
    """Give the port of an address, 80 or 443 when it names none (RFC 6455 section 3)."""
    parts = split_url(url)
    return parts.port or (443 if parts.scheme == "wss" else 80)
