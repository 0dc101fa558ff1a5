"""Automatic answers to messages of the server: pings, or messages that need an acknowledgement.

An answer is a text, ``MESSAGE => ANSWER``: a message equal to the first is answered with the
second. ``regex:PATTERN => ANSWER`` acknowledges every message in which the pattern is found; what
its named groups match is filled in as ``{saved.NAME}``.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from picows import WSMsgType

from loadtests.clients.connection import Connection, Receive
from loadtests.measure.recorder import Recorder
from loadtests.plan.template import saved_names, split_places

_ARROW: Final = " => "
_REGEX: Final = "regex:"


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The acknowledgement of messages that match a pattern.

    Attributes:
        pattern: what is found in them.
        parts: parts of the answer: a text, and the group whose match follows it; empty for none.
    """

    pattern: re.Pattern[bytes]
    parts: tuple[tuple[bytes, str], ...]

    def of(self, payload: bytes) -> bytes | None:
        """Return the answer that acknowledges a message; None if the pattern is not found."""
        found = self.pattern.search(payload)
        if found is None:
            return None
        return b"".join(
            text + ((found[group] or b"") if group else b"") for text, group in self.parts
        )


@dataclass(frozen=True, slots=True)
class Answers:
    """All automatic answers.

    Attributes:
        exact: answers by the message that they reply to.
        acknowledgements: acknowledgements of other messages; the first that matches is sent.
    """

    exact: Mapping[bytes, bytes]
    acknowledgements: tuple[Acknowledgement, ...]


def parse_answers(texts: Sequence[str]) -> Answers:
    """Parse answers.

    Raises:
        ValueError: an invalid answer, a second one to the same message, or one that fills in what
            its pattern does not save.
    """
    exact: dict[bytes, bytes] = {}
    acknowledgements: list[Acknowledgement] = []
    for text in texts:
        message, _, answer = (part.strip() for part in f" {text} ".partition(_ARROW))
        if not (message and answer):
            raise ValueError(f"{text!r} is not an answer; write MESSAGE => ANSWER")
        if message.startswith(_REGEX):
            acknowledgements.append(_acknowledgement(message, answer))
        elif exact.setdefault(message.encode(), answer.encode()) != answer.encode():
            raise ValueError(f"{text!r}: {message!r} already has another answer")
    return Answers(exact, tuple(acknowledgements))


def _acknowledgement(message: str, answer: str) -> Acknowledgement:
    try:
        pattern = re.compile(message.removeprefix(_REGEX).encode(), re.DOTALL)
    except re.error as error:
        raise ValueError(f"{message!r}: {error}") from None
    if unknown := saved_names(answer) - set(pattern.groupindex):
        keeps = ", ".join(pattern.groupindex) or "nothing"
        raise ValueError(
            f"{answer!r} refers to {{saved.{min(unknown)}}}, but its pattern keeps: {keeps}; name "
            "a group (?P<name>…) in it"
        )
    return Acknowledgement(pattern, tuple(_parts(answer)))


def _parts(answer: str) -> list[tuple[bytes, str]]:
    """Split an answer; any other placeholder is literal, as in answers without a pattern."""
    parts = []
    for text, place in split_places(answer):
        group = next(iter(saved_names(place)), "")
        parts.append(((text if group else text + place).encode(), group))
    return parts


def answering(receive: Receive, answers: Answers, recorder: Recorder, *, binary: bool) -> Receive:
    """Return a receiver that sends automatic answers and passes messages on.

    A message with an exact answer is not part of the load; an acknowledged one is.
    """
    kind = WSMsgType.BINARY if binary else WSMsgType.TEXT

    def send(connection: Connection, answer: bytes) -> None:
        if connection.is_open:
            recorder.counts["answers.sent"] += 1
            connection.transport.send(kind, answer)

    def take(connection: Connection, payload: bytes, now_ns: int) -> None:
        if (answer := answers.exact.get(payload)) is None:
            receive(connection, payload, now_ns)
            return
        recorder.received -= 1
        recorder.received_bytes -= len(payload)
        send(connection, answer)

    def acknowledge(connection: Connection, payload: bytes, now_ns: int) -> None:
        taken(connection, payload, now_ns)
        for acknowledgement in answers.acknowledgements:
            if (answer := acknowledgement.of(payload)) is not None:
                send(connection, answer)
                return

    taken = take if answers.exact else receive
    return acknowledge if answers.acknowledgements else taken
