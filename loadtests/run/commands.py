"""The commands that the leader of a load sends to a swarm process, one JSON line each.

The process answers with lines of a run record, including an event for each command that names one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter

from loadtests.plan.plan import ProcessPlan


@dataclass(frozen=True, slots=True)
class Prepare:
    """Begin with this share of the plan, always the first command; the answer is ``ready``."""

    share: ProcessPlan
    do: Literal["prepare"] = "prepare"


@dataclass(frozen=True, slots=True)
class Open:
    """Open connections until there are ``until``; the answer is ``opened``."""

    until: int
    do: Literal["open"] = "open"


@dataclass(frozen=True, slots=True)
class Settle:
    """Come to rest before the next step, or before the load; the answer is ``settled``."""

    is_last: bool
    do: Literal["settle"] = "settle"


@dataclass(frozen=True, slots=True)
class Serve:
    """Begin round ``number`` with the connections open now; the answer is ``serving``."""

    share: ProcessPlan
    number: int
    do: Literal["serve"] = "serve"


@dataclass(frozen=True, slots=True)
class Measure:
    """Apply the load from a moment on this process's clock; the answer is ``measured``."""

    start_ns: int
    do: Literal["measure"] = "measure"


@dataclass(frozen=True, slots=True)
class End:
    """End the load early."""

    do: Literal["end"] = "end"


@dataclass(frozen=True, slots=True)
class ExpectEnd:
    """Accept every end from now on as legitimate by the target; the answer is ``expecting``."""

    do: Literal["expect end"] = "expect end"


@dataclass(frozen=True, slots=True)
class SeeOff:
    """Observe how the target, signalled at the given moment, ends; the answer is ``drained``."""

    signal_ns: int
    do: Literal["drain"] = "drain"


@dataclass(frozen=True, slots=True)
class Return:
    """Reconnect to the target, which is back since that moment; the answer is ``returned``."""

    restarted_ns: int
    do: Literal["return"] = "return"


@dataclass(frozen=True, slots=True)
class Collect:
    """Wait for what is under way and close the ledger; the answer is ``collected``.

    Attributes:
        published: what all processes reported about what they sent.
    """

    published: Mapping[str, Any]
    do: Literal["collect"] = "collect"


@dataclass(frozen=True, slots=True)
class Close:
    """Close all connections over the given time, and end; the answer is ``closed``."""

    over_seconds: float
    do: Literal["close"] = "close"


@dataclass(frozen=True, slots=True)
class Add:
    """Add connections to a live load.

    Attributes:
        over_seconds: the time over which they open.
        order: the number of this order, so that it can be seen when it was taken.
    """

    count: int
    over_seconds: float
    order: int
    do: Literal["add"] = "add"


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove connections from a live load; ``order`` is as in :class:`Add`."""

    count: int
    order: int
    do: Literal["remove"] = "remove"


@dataclass(frozen=True, slots=True)
class TakePart:
    """Take this part of the rate that all connections of a live load share."""

    part: float
    do: Literal["take part"] = "take part"


Command = (
    Prepare
    | Open
    | Settle
    | Serve
    | Measure
    | End
    | ExpectEnd
    | SeeOff
    | Return
    | Collect
    | Close
    | Add
    | Remove
    | TakePart
)

_COMMAND: Final[TypeAdapter[Command]] = TypeAdapter(Annotated[Command, Field(discriminator="do")])


def encode_command(command: Command) -> bytes:
    """Encode a command as a line, including its newline."""
    return _COMMAND.dump_json(command) + b"\n"


def decode_command(line: bytes) -> Command:
    """Decode what :func:`encode_command` returned."""
    return _COMMAND.validate_json(line)


def command_as_data(command: Command) -> dict[str, Any]:
    """Return a command as JSON-compatible data, for a channel that encodes it itself."""
    data: dict[str, Any] = _COMMAND.dump_python(command, mode="json")
    return data


def command_of_data(data: Mapping[str, Any]) -> Command:
    """Return the command that :func:`command_as_data` turned into this data."""
    return _COMMAND.validate_python(data)
