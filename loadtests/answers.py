"""What is answered by itself whenever the server says it, such as a ping of a protocol of its own.

An answer is a text, ``MESSAGE => ANSWER``: a message that is just that is answered with the other.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from picows import WSMsgType

from loadtests.connection import Connection, Receive
from loadtests.meter import Meter

_ARROW: Final = " => "


def parse_answers(texts: Sequence[str]) -> Mapping[bytes, bytes]:
    """Read answers, each by the message that it is given to.

    Raises:
        ValueError: one that is none, or a second one to the same message.
    """
    answers: dict[bytes, bytes] = {}
    for text in texts:
        message, _, answer = (part.strip() for part in f" {text} ".partition(_ARROW))
        if not (message and answer):
            raise ValueError(f"{text!r} is no answer; write MESSAGE => ANSWER")
        if answers.setdefault(message.encode(), answer.encode()) != answer.encode():
            raise ValueError(f"{text!r}: {message!r} has another answer already")
    return answers


def answering(
    receive: Receive, answers: Mapping[bytes, bytes], meter: Meter, *, binary: bool
) -> Receive:
    """Give what answers by itself, and hands all other messages on.

    What is answered is no message of the load.
    """
    if not answers:
        return receive
    kind = WSMsgType.BINARY if binary else WSMsgType.TEXT

    def take(connection: Connection, payload: bytes, now_ns: int) -> None:
        if (answer := answers.get(payload)) is None:
            receive(connection, payload, now_ns)
            return
        meter.received -= 1
        meter.received_bytes -= len(payload)
        if connection.is_open:
            meter.counts["answers.sent"] += 1
            connection.transport.send(kind, answer)

    return take
