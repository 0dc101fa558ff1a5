"""The command line that makes a run again, from its plan: every choice in it, the seed as well."""

import shlex
from collections.abc import Iterator
from dataclasses import fields, replace

from loadtests.plan.bounds import changed
from loadtests.plan.connect_options import ConnectOptions
from loadtests.plan.plan import Plan, User
from loadtests.plan.target_source import START_SECONDS, TargetSource

# How each part of a plan is written on the command line; those not here have no option.
_OPTIONS = {
    "scenario": "--scenario {}",
    "concurrent": "--concurrent {}",
    "duration_seconds": "--duration {:.12g}s",
    "rate": "--rate {:.12g}",
    "arrivals": "--arrivals {}",
    "payload_bytes": "--payload {}B",
    "payload_sizes": "--payload {}",
    "payload_file": "--payload-file {}",
    "profile": "--profile {}",
    "think": "--think {}",
    "ramp_seconds": "--ramp {:.12g}s",
    "ramp_down_seconds": "--ramp-down {:.12g}s",
    "setup": "--setup {}",
    "feed": "--feed {}",
    "feed_policy": "--feed-policy {}",
    "late_seconds": "--late {:.12g}s",
    "steps": "--steps {}",
    "handshake_timeout_seconds": "--timeout {:.12g}s",
    "reply_timeout_seconds": "--reply-timeout {:.12g}s",
    "processes": "--processes {}",
    "warmup_seconds": "--warmup {:.12g}s",
    "seed": "--seed {}",
}
# The command line draws or computes these where they are left out.
_ALWAYS = frozenset({"processes", "seed"})
# What is said of the run, for all kinds of users together.
_OF_THE_RUN = frozenset(
    {
        *("concurrent", "duration_seconds", "ramp_seconds", "ramp_down_seconds", "steps"),
        *("processes", "seed", "fail_fast", "bounds", "warmup_seconds"),
    }
)
_FLAGS = {
    "per_connection": "--per-connection",
    "binary": "--binary",
    "insecure": "--insecure",
    "fail_fast": "--fail-fast",
    "deflate": "--deflate",
}
# Options of a connection that may be given more than once.
_REPEATED = {
    "headers": "--header",
    "subprotocols": "--subprotocol",
    "cookies": "--cookie",
    "sources": "--source",
}
_SINGLE = ("bearer", "origin", "ca", "cert", "key", "unix_socket", "proxy", "client")


def replay_command(plan: Plan, source: TargetSource) -> tuple[str, ...]:
    """Give the words of the command; what the command line has by default is left out."""
    words = ["swarmgate", "run", plan.url, str(plan.population or plan.connections)]
    words += plan_words(plan, without=frozenset({"scenario"} if plan.users else ()))
    for user in plan.users:
        words += ["--user", _user_words(user, plan)]
    return (*words, *_source_words(source))


def _source_words(source: TargetSource) -> Iterator[str]:
    if source.command:
        yield from ("--target-cmd", shlex.join(source.command))
    for name, value in source.environment.items():
        yield from ("--target-env", f"{name}={value}")
    if source.directory is not None:
        yield from ("--target-dir", source.directory)
    if source.ready is not None:
        yield from ("--target-ready", source.ready)
    if source.start_seconds != START_SECONDS:
        yield from ("--target-timeout", f"{source.start_seconds:.12g}s")
    for pid in source.pids:
        yield from ("--pid", str(pid))


def _user_words(user: User, run: Plan) -> str:
    """Write what one kind of users does as ``--user`` takes it."""
    own = user.plan
    apart = replace(own.options, sources=(), unix_socket=None, proxy=None)
    address = [] if own.url == run.url else [own.url]
    words = [*address, *plan_words(replace(own, options=apart), without=_OF_THE_RUN)]
    return f"{user.name}={user.share * 100:.12g}% {shlex.join(words)}".rstrip()


def plan_words(plan: Plan, without: frozenset[str]) -> list[str]:
    """Give the flags of what is not as by default, but for some parts of the plan."""
    words: list[str] = []
    for field in fields(plan):
        value = getattr(plan, field.name)
        if field.name in without:
            continue
        if plan.profile is not None and field.name in ("rate", "duration_seconds"):
            continue
        if plan.population is not None and field.name == "duration_seconds":
            continue
        if value is None or (value == field.default and field.name not in _ALWAYS):
            continue
        if field.name in _OPTIONS:
            words += _OPTIONS[field.name].format(value).split(" ", 1)
        elif field.name in _FLAGS:
            words.append(_FLAGS[field.name])
    words += [word for text in plan.thresholds for word in ("--threshold", text)]
    words += [word for text in plan.abort_on for word in ("--abort-on", text)]
    if "bounds" not in without:
        words += [word for text in changed(plan.bounds) for word in ("--bound", text)]
    words += [word for text in plan.ready for word in ("--ready", text)]
    words += [word for text in plan.answers for word in ("--answer", text)]
    words += _connect_words(plan.options)
    for key, value in plan.parameters.items():
        words += ["--param", f"{key}={value}"]
    return words


def _connect_words(options: ConnectOptions) -> list[str]:
    words = []
    for field in fields(options):
        value = getattr(options, field.name)
        if value == field.default:
            continue
        if field.name in _FLAGS:
            words.append(_FLAGS[field.name])
        elif field.name in _REPEATED:
            words += [word for item in value for word in (_REPEATED[field.name], item)]
        elif field.name in _SINGLE:
            words += [f"--{field.name.replace('_', '-')}", str(value)]
        elif field.name == "max_message_bytes":
            words += ["--max-message", f"{value}B"]
    return words
