"""The command line that repeats a run, from its plan, with every choice including the seed."""

import shlex
from collections.abc import Iterator
from typing import Any, Final

from loadtests.plan.command_line import words_of
from loadtests.plan.connect_options import ConnectOptions
from loadtests.plan.option import Scope
from loadtests.plan.plan import Plan, User
from loadtests.plan.run_options import ARGUMENTS, OPTIONS, names_in
from loadtests.plan.target_source import TargetSource

# The command line draws or computes these if they are left out.
_ALWAYS: Final = frozenset({"processes", "seed"})


def replay_command(plan: Plan, source: TargetSource) -> tuple[str, ...]:
    """Return the words of the command, without options at their command-line defaults."""
    words = ["swarmgate", "run", plan.url, str(plan.population or plan.connections)]
    words += plan_words(plan, without=frozenset({"scenario"} if plan.users else ()))
    for user in plan.users:
        words += ["--user", _user_words(user, plan)]
    return (*words, *_words(source, frozenset()))


def _user_words(user: User, run: Plan) -> str:
    """Write what one kind of users does as an argument of ``--user``."""
    own = user.plan
    address = [] if own.url == run.url else [own.url]
    words = [*address, *plan_words(own, without=frozenset(names_in(Scope.RUN)))]
    return f"{user.name}={user.share * 100:.12g}% {shlex.join(words)}".rstrip()


def plan_words(plan: Plan, without: frozenset[str]) -> list[str]:
    """Return the options that differ from their defaults, except those named in ``without``."""
    without |= _implied(plan) | {*ARGUMENTS, "user"}
    return [*_words(plan, without), *_words(plan.options, without)]


def _implied(plan: Plan) -> frozenset[str]:
    """Return the names of options that other options already imply."""
    if plan.profile is not None:
        return frozenset({"rate", "duration"})
    return frozenset({"duration"}) if plan.population is not None else frozenset()


def _words(owner: Plan | ConnectOptions | TargetSource, without: frozenset[str]) -> Iterator[str]:
    for name, option in OPTIONS.items():
        if option.owner is not type(owner) or name in without:
            continue
        value = _value(owner, option.field)
        if value is not None and (value != option.default or name in _ALWAYS):
            yield from words_of(option, value)


def _value(owner: Any, field: str) -> Any:  # noqa: ANN401 - each field's own
    """Return the option value of a field; varying payload sizes replace the fixed one."""
    if field == "payload_bytes" and owner.payload_sizes is not None:
        return owner.payload_sizes
    return getattr(owner, field)
