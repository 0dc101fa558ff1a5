"""What ``swarmgate run`` can be told: each flag is declared here, once, and read into a plan.

A flag is a field: its name, its type as the command line has it, and its help. The same flags are
the keys of a run's TOML file (:mod:`loadtests.run.scenario_file`), stand in ``--user``
(:mod:`loadtests.run.user_kinds`), and in what Locust is told (:mod:`loadtests.locust.arguments`).
"""

import inspect
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer

from loadtests.errors import UsageError
from loadtests.plan.bounds import Bounds, parse_bounds
from loadtests.plan.connect_options import Client, ConnectOptions
from loadtests.plan.distribution import DistributionKind, parse_distribution
from loadtests.plan.feed import FeedPolicy
from loadtests.plan.plan import Plan
from loadtests.plan.rate_profile import Profile, parse_profile
from loadtests.plan.schedule import ArrivalKind
from loadtests.plan.stages import are_stages, parse_stages
from loadtests.plan.target_source import TargetSource, split_command
from loadtests.run import limits
from loadtests.scenarios.registry import SCENARIOS
from reports.units import parse_bytes, parse_count, parse_rate, parse_seconds

Read = TypeVar("Read")

_load = partial(typer.Option, rich_help_panel="Load")
_connections = partial(typer.Option, rich_help_panel="Connections")
_before = partial(typer.Option, rich_help_panel="Before the load")
_handshake = partial(typer.Option, rich_help_panel="Handshake")
_target = partial(typer.Option, rich_help_panel="Target")
_verdict = partial(typer.Option, rich_help_panel="Verdict")
_run = partial(typer.Option, rich_help_panel="This run")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """The flags of ``swarmgate run``, as they are written."""

    url: Annotated[
        str,
        typer.Argument(help="ws:// or wss:// address; {n} in it is the connection's number."),
    ]
    count: Annotated[
        str,
        typer.Argument(
            help="Connections, such as 10k; or stages: '0..2k in 30s, 2k for 1m, 500 in 5s'."
        ),
    ] = "100"
    scenario: Annotated[
        str,
        _load(
            "--scenario",
            "-s",
            help=f"One of {', '.join(SCENARIOS)}, or a Python file; "
            "with --help after it, its parameters are told too.",
        ),
    ] = "hold"
    param: Annotated[
        list[str] | None, _load(metavar="KEY=VALUE", help="A parameter of the scenario.")
    ] = None
    user: Annotated[
        list[str] | None,
        _load(
            metavar="'NAME=SHARE FLAGS'",
            help="Users of several kinds in one run: 'watcher=70% --scenario hold' "
            "'talker=30% /echo --scenario echo --rate 500'. May be repeated.",
        ),
    ] = None
    duration: Annotated[
        str | None,
        _load("--duration", "-d", metavar="TIME", help="Measured time. \\[default: 10s]"),
    ] = None
    rate: Annotated[
        str | None,
        _load(
            "--rate",
            "-r",
            metavar="N",
            help="Messages a second over all connections (open model). "
            "Without it, echo sends the next after the reply (closed model).",
        ),
    ] = None
    per_connection: Annotated[
        bool, _load("--per-connection", help="The rate is of each connection.")
    ] = False
    profile: Annotated[
        str | None,
        _load(help="A rate that changes: '0..1k/s for 10s, 1k/s for 30s, 5k/s for 2s'."),
    ] = None
    think: Annotated[
        str | None,
        _load(help="Closed model: time from reply to next, '1s', 'exp 1s', 'uniform …'."),
    ] = None
    arrivals: Annotated[ArrivalKind, _load(help="How arrivals are spaced.")] = ArrivalKind.CONSTANT
    payload: Annotated[
        str,
        _load(metavar="SIZE", help="Of a message; or 'uniform 64B..4KiB', '64B 70%, 4KiB 30%', …."),
    ] = "64B"
    payload_file: Annotated[
        str | None, _load(metavar="FILE", help="Fill messages with its lines.")
    ] = None
    binary: Annotated[bool, _load("--binary", help="Send binary, not text.")] = False
    late: Annotated[
        str, _load(metavar="TIME", help="A reply that takes longer is counted as late.")
    ] = "1s"
    reply_timeout: Annotated[
        str,
        _load(
            metavar="TIME",
            help="When a reply is taken for lost, until it comes after all; in a closed model the "
            "user goes on then.",
        ),
    ] = "10s"
    concurrent: Annotated[
        str, _connections("--concurrent", "-c", metavar="K", help="Handshakes under way at once.")
    ] = "256"
    ramp: Annotated[
        str, _connections(metavar="TIME", help="Spread the opening over this long.")
    ] = "0s"
    ramp_down: Annotated[
        str, _connections(metavar="TIME", help="Spread the closing over this long.")
    ] = "0s"
    steps: Annotated[
        str,
        _connections(
            metavar="N", help="Open in so many steps, reading memory at each: 4 give a slope."
        ),
    ] = "1"
    timeout: Annotated[
        str, _connections(metavar="TIME", help="How long one handshake may take.")
    ] = "10s"
    processes: Annotated[
        str | None,
        _connections(
            "--processes", "-p", metavar="N", help="Swarm processes. \\[default: as few as fit]"
        ),
    ] = None
    seed: Annotated[
        str | None,
        _connections(metavar="N", help="Seed of every random choice. \\[default: drawn]"),
    ] = None
    setup: Annotated[
        Path | None,
        _before(
            help="Python file with setup(), called once in each process, and handshake(client), "
            "called for each connection, such as for a login. \\[default: a script's own]"
        ),
    ] = None
    feed: Annotated[
        Path | None,
        _before(help="CSV or JSON lines: a row of data for each connection."),
    ] = None
    feed_policy: Annotated[
        FeedPolicy,
        _before(help="For connections beyond its rows: begin again, open none, or refuse."),
    ] = FeedPolicy.CYCLE
    ready: Annotated[
        list[str] | None,
        _before(
            metavar="'SEND => EXPECT'",
            help="Before a connection counts as open: send this, wait for an answer with that in "
            "it (either may be left out). May be repeated.",
        ),
    ] = None
    answer: Annotated[
        list[str] | None,
        _before(
            metavar="'MESSAGE => ANSWER'",
            help="Whenever the server says just that, such as a ping of its protocol's own, answer "
            "it; 'regex:PATTERN => ANSWER' acknowledges what has it in it. May be repeated.",
        ),
    ] = None
    header: Annotated[
        list[str] | None,
        _handshake("--header", "-H", metavar="'NAME: VALUE'", help="Add to the handshake."),
    ] = None
    subprotocol: Annotated[list[str] | None, _handshake(help="Offer, best first.")] = None
    cookie: Annotated[list[str] | None, _handshake(metavar="NAME=VALUE", help="Send.")] = None
    bearer: Annotated[
        str | None,
        _handshake(metavar="TOKEN", help="Authorization; {n} and {feed.NAME} are filled in."),
    ] = None
    origin: Annotated[str | None, _handshake(help="The Origin header.")] = None
    deflate: Annotated[
        bool, _handshake("--deflate/--no-deflate", help="Offer permessage-deflate.")
    ] = False
    ca: Annotated[str | None, _handshake(metavar="FILE", help="Trust these only.")] = None
    cert: Annotated[str | None, _handshake(metavar="FILE", help="Client certificate.")] = None
    key: Annotated[str | None, _handshake(metavar="FILE", help="Its key.")] = None
    insecure: Annotated[bool, _handshake("--insecure", help="Accept any certificate.")] = False
    source: Annotated[
        list[str] | None,
        _handshake(metavar="ADDRESS", help="Connect from it; 127.0.0.0/28 is all of them."),
    ] = None
    unix_socket: Annotated[
        str | None, _handshake(metavar="PATH", help="Connect to it, not to the host.")
    ] = None
    proxy: Annotated[
        str | None, _handshake(metavar="URL", help="Connect through it (HTTP CONNECT).")
    ] = None
    max_message: Annotated[
        str,
        _handshake(metavar="SIZE", help="Of a message of the server's; else closed with 1009."),
    ] = "16MiB"
    client: Annotated[
        Client, _handshake(help="Library; auto is picows unless something needs the other.")
    ] = Client.AUTO
    pid: Annotated[
        list[int] | None,
        _target(help="Watch this process. \\[default: what listens on the port here]"),
    ] = None
    target_cmd: Annotated[
        str | None, _target(help="Start the server with this, {port} where its port goes.")
    ] = None
    target_env: Annotated[
        list[str] | None,
        _target(metavar="NAME=VALUE", help="A variable of its environment. May be repeated."),
    ] = None
    target_dir: Annotated[
        str | None, _target(metavar="DIR", help="Where it is started. \\[default: here]")
    ] = None
    target_ready: Annotated[
        str | None,
        _target(metavar="/PATH", help="It is ready once GET of this has a 2xx status."),
    ] = None
    target_timeout: Annotated[
        str, _target(metavar="TIME", help="How long it may take until it listens and is ready.")
    ] = "30s"
    warmup: Annotated[
        str,
        _target(metavar="TIME", help="Put the same load on it first, and keep nothing of that."),
    ] = "0s"
    threshold: Annotated[
        list[str] | None,
        _verdict(
            metavar="'FIGURE<=VALUE'",
            help="What a figure must be, else the exit status is 1: 'latency.p99_seconds<=20ms'. "
            "May be repeated.",
        ),
    ] = None
    abort_on: Annotated[
        list[str] | None,
        _verdict(
            metavar="'FIGURE>VALUE'",
            help="End the run as failed once a figure is that: 'errors>100'. Looked at once a "
            "second. May be repeated.",
        ),
    ] = None
    bound: Annotated[
        list[str] | None,
        _verdict(
            metavar="NAME=VALUE",
            help="What the generator must keep to, else the run is invalid: "
            "'lateness_p99_seconds=20ms' (docs/figures.md). May be repeated.",
        ),
    ] = None
    fail_fast: Annotated[
        bool, _verdict("--fail-fast", help="End at the first error of a script.")
    ] = False
    file: Annotated[
        Path | None,
        _run("--file", "-f", help="TOML with any of these by name; flags go before it."),
    ] = None
    dry_run: Annotated[bool, _run("--dry-run", help="Tell what it comes to, and open nothing.")] = (
        False
    )
    output: Annotated[
        Path | None,
        _run("--output", "-o", help="The record. \\[default: under reports/runs/]"),
    ] = None
    json_output: Annotated[
        bool, _run("--json", help="Print one JSON document and nothing else.")
    ] = False
    quiet: Annotated[bool, _run("--quiet", "-q", help="Show nothing meanwhile.")] = False


Answer = TypeVar("Answer")


def takes_flags(function: Callable[..., Answer]) -> Callable[..., Answer]:
    """Make a command of the command line of what takes the flags as one.

    Args:
        function: takes the context, the flags, and by name the parameters of the command's own. One
            of these that is called like a flag takes its place.
    """
    own = [*inspect.signature(function).parameters.values()][2:]
    names = {it.name for it in own}
    flags = [it for it in fields(Flags) if it.name not in names]

    def command(ctx: typer.Context, **given: Any) -> Answer:  # noqa: ANN401 - each flag's own
        further = {name: given.pop(name) for name in names}
        return function(ctx, Flags(**given), **further)

    empty = inspect.Parameter.empty
    of_run = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=empty if field.default is MISSING else field.default,
            annotation=field.type,
        )
        for field in flags
    ]
    context = inspect.Parameter(
        "ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )
    parameters = (context, *own, *of_run)
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {it.name: it.annotation for it in parameters}
    command.__name__, command.__doc__ = function.__name__, function.__doc__
    return command


def read_flags(words: Sequence[str], defaults: Mapping[str, Any]) -> tuple[Flags, frozenset[str]]:
    """Read the words of a command line, without one; tell also which flags are among them.

    Args:
        words: as a shell would give them.
        defaults: what is not among them, by name.

    Raises:
        UsageError: an unknown flag, or a value that it cannot have.
    """
    try:
        read: tuple[Flags, frozenset[str]] = _reader().main(
            list(words), standalone_mode=False, default_map=dict(defaults)
        )
    except typer.TyperException as error:
        raise UsageError(_message(error)) from None
    return read


@cache
def _reader() -> Any:  # noqa: ANN401 - of the library's own copy of click, whose types are not public
    """Make the command that gives what it has read, once: that takes as long as to read."""

    def note(ctx: typer.Context, flags: Flags) -> tuple[Flags, frozenset[str]]:
        sources = ((field.name, ctx.get_parameter_source(field.name)) for field in fields(flags))
        given = (name for name, source in sources if source and source.name == "COMMANDLINE")
        return flags, frozenset(given)

    reader = typer.Typer(add_completion=False)
    reader.command(add_help_option=False)(takes_flags(note))
    return typer.main.get_command(reader)


OF_THE_TARGET: Final = (
    *("url", "pid", "target_cmd", "target_env", "target_dir", "target_ready", "target_timeout"),
)
"""What is said of the server itself, and not of the load that is put on it."""


def flag_of(name: str) -> str:
    """Give the flag of a field, as it is written."""
    return "COUNT" if name == "count" else f"--{name.removesuffix('_output').replace('_', '-')}"


def as_mapping(flags: Flags) -> dict[str, Any]:
    """Give what flags say by their names, but for those that are not given."""
    given = ((field.name, getattr(flags, field.name)) for field in fields(flags))
    return {name: value for name, value in given if value is not None}


def _message(error: typer.TyperException) -> str:
    # The library's own text of it, whose type is not public.
    return str(getattr(error, "format_message", lambda: error)())


def plan_of(flags: Flags, parameters: Mapping[str, Any] | None = None) -> Plan:
    """Give the plan of a run, or of one kind of its users.

    Args:
        flags: as they are written.
        parameters: the scenario's own, from a file; those of the flags have precedence.

    Raises:
        UsageError: a value that cannot be read, or values that do not go together.
    """
    stages = _read("COUNT", flags.count, parse_stages) if are_stages(flags.count) else None
    if stages is not None and flags.duration is not None:
        raise UsageError("stages say how long they last; leave --duration out")
    connections = _read("COUNT", flags.count, parse_count) if stages is None else stages.most
    profile = None if flags.profile is None else _read("--profile", flags.profile, parse_profile)
    if profile is not None and (flags.rate is not None or flags.duration is not None):
        raise UsageError("--profile says rate and duration; leave --rate and --duration out")
    sizes = _read("--payload", flags.payload, lambda text: parse_distribution(text, parse_bytes))
    is_fixed = len(sizes.numbers) == 1 and sizes.kind is DistributionKind.CHOICE
    lasting = profile or stages
    return Plan(
        url=flags.url,
        connections=connections,
        scenario=flags.scenario,
        parameters={**(parameters or {}), **_pairs("--param", flags.param or (), "KEY=VALUE")},
        concurrent=_read("--concurrent", flags.concurrent, parse_count),
        duration_seconds=lasting.seconds
        if lasting
        else _read("--duration", flags.duration or "10s", parse_seconds),
        population=stages,
        live=stages is not None,
        rate=_rate(flags.rate, profile),
        per_connection=flags.per_connection,
        profile=profile,
        think=None
        if flags.think is None
        else _read("--think", flags.think, lambda text: parse_distribution(text, parse_seconds)),
        arrivals=flags.arrivals,
        payload_bytes=round(sizes.numbers[0]) if is_fixed else 64,
        payload_sizes=None if is_fixed else sizes,
        payload_file=flags.payload_file,
        binary=flags.binary,
        ramp_seconds=_read("--ramp", flags.ramp, parse_seconds),
        ramp_down_seconds=_read("--ramp-down", flags.ramp_down, parse_seconds),
        steps=_read("--steps", flags.steps, parse_count),
        setup=None if flags.setup is None else str(flags.setup),
        feed=None if flags.feed is None else str(flags.feed),
        feed_policy=flags.feed_policy,
        late_seconds=_read("--late", flags.late, parse_seconds),
        fail_fast=flags.fail_fast,
        thresholds=tuple(flags.threshold or ()),
        abort_on=tuple(flags.abort_on or ()),
        bounds=_bounds(flags.bound or ()),
        ready=tuple(flags.ready or ()),
        answers=tuple(flags.answer or ()),
        handshake_timeout_seconds=_read("--timeout", flags.timeout, parse_seconds),
        reply_timeout_seconds=_read("--reply-timeout", flags.reply_timeout, parse_seconds),
        processes=limits.processes_for(connections, limits.read_limits())
        if flags.processes is None
        else _read("--processes", flags.processes, parse_count),
        options=_connect_options(flags),
        warmup_seconds=_read("--warmup", flags.warmup, parse_seconds),
        seed=seed_of(flags),
    )


def source_of(flags: Flags) -> TargetSource:
    """Give where the server under test comes from.

    Raises:
        UsageError: a value that cannot be read, or one that has no place without a command.
    """
    pids = tuple(flags.pid or ())
    if flags.target_cmd is None:
        for name in ("target_env", "target_dir", "target_ready"):
            if getattr(flags, name) is not None:
                raise UsageError(f"{flag_of(name)} goes with --target-cmd, and only with it")
        return TargetSource(pids=pids)
    if flags.target_ready is not None and not flags.target_ready.startswith("/"):
        raise UsageError(
            f"--target-ready {flags.target_ready!r} is no path; write it like /healthz"
        )
    if flags.target_dir is not None and not Path(flags.target_dir).is_dir():
        raise UsageError(f"--target-dir {flags.target_dir!r} is no directory")
    return TargetSource(
        split_command(flags.target_cmd),
        pids,
        environment=_pairs("--target-env", flags.target_env or (), "NAME=VALUE"),
        directory=flags.target_dir,
        ready=flags.target_ready,
        start_seconds=_read("--target-timeout", flags.target_timeout, parse_seconds),
    )


def seed_of(flags: Flags) -> int:
    """Give the seed, drawn where none is given. Raises UsageError."""
    if flags.seed is None:
        return random.getrandbits(32)
    return _read("--seed", flags.seed, parse_count)


def _connect_options(flags: Flags) -> ConnectOptions:
    return ConnectOptions(
        headers=tuple(flags.header or ()),
        subprotocols=tuple(flags.subprotocol or ()),
        cookies=tuple(flags.cookie or ()),
        bearer=flags.bearer,
        origin=flags.origin,
        deflate=flags.deflate,
        ca=flags.ca,
        cert=flags.cert,
        key=flags.key,
        insecure=flags.insecure,
        sources=tuple(flags.source or ()),
        unix_socket=flags.unix_socket,
        proxy=flags.proxy,
        max_message_bytes=_read("--max-message", flags.max_message, parse_bytes),
        client=flags.client,
    )


def _read(option: str, text: str, parse: Callable[[str], Read]) -> Read:
    """Read a value with its unit; an error names the option."""
    try:
        return parse(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def _rate(text: str | None, profile: Profile | None) -> float | None:
    if profile is not None:
        return profile.arrivals / profile.seconds
    return None if text is None else _read("--rate", text, parse_rate)


def _bounds(texts: Sequence[str]) -> Bounds:
    try:
        return parse_bounds(texts)
    except ValueError as error:
        raise UsageError(f"--bound: {error}") from None


def _pairs(option: str, given: Sequence[str], form: str) -> dict[str, str]:
    pairs = {}
    for item in given:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise UsageError(f"{option} takes {form}, not {item!r}")
        pairs[key] = value
    return pairs
