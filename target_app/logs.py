"""What the log contains: a line for what clients do wrong, a traceback for what we do wrong.

The underlying server logs errors and tracebacks for faults of its clients. They are recognised by
their cause, not by their level, and become one line at ``info``; everything else passes unchanged,
except for tokens.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import sys
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_plus

from starlette.requests import ClientDisconnect
from starlette.websockets import WebSocketDisconnect

from target_app.misread import is_misread

SERVERS: Final = ("uvicorn.error", "asyncio")
"""Loggers of the underlying server and of its event loop."""
REQUESTS: Final = ("uvicorn.error", "uvicorn.access", "uvicorn.asgi")
"""Loggers of the underlying server that log requests; at ``debug``, with their headers."""
PARAMETER: Final = re.compile(r"""(?<![^\s&?'"])([^\s&?'"=]+)=([^\s&]*)""")
BEARER: Final = re.compile(r"(\bbearer\s)\s*\S.*", re.IGNORECASE | re.DOTALL)
MASK: Final = "***"
CLIENT_LEFT: Final = (ClientDisconnect, WebSocketDisconnect)
"""Raised by an endpoint that goes on reading after its client has gone."""
UNREADABLE: Final = {"send_receive_event_to_app", "opening handshake failed"}
"""Where uvicorn decodes a text message, and what its older implementation logs about a header."""
BAD_REQUESTS: Final = ("Invalid HTTP request received.", "Unsupported upgrade request.")
UNANSWERED: Final = "ASGI callable returned without completing handshake."
WRITTEN_TO_NOBODY: Final = "socket.send() raised exception."
SHOWN_CHARACTERS: Final = 200


class ClientFaults(logging.Filter):
    """A filter that turns a record about a client's fault into one line at ``info``."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether ``record`` should be written (see :class:`logging.Filter`)."""
        if not is_clients_fault(record):
            return True
        if not logging.getLogger(record.name).isEnabledFor(logging.INFO):
            return False
        if record.exc_info and (error := record.exc_info[1]) is not None:
            record.msg = one_line(f"{record.getMessage().strip()}: {described(error)}")
            record.args = None
        record.levelno = logging.INFO
        record.levelname = logging.getLevelName(logging.INFO)
        record.exc_info = record.exc_text = None
        return True


class Tokens(logging.Filter):
    """A filter that masks the tokens in a record, and passes every record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True (see :class:`logging.Filter`)."""
        # One by one: uvicorn's formatter unpacks the arguments of an access log record.
        if isinstance(record.args, Mapping):
            record.args = {name: _masked(value) for name, value in record.args.items()}
        elif record.args:
            record.args = tuple(map(_masked, record.args))
        # The handler reports a record that cannot be formatted.
        with contextlib.suppress(TypeError, ValueError, KeyError):
            text = record.getMessage()
            if (safe := without_tokens(text)) != text:
                record.msg, record.args = safe, None
        return True


def _masked(value: object) -> object:
    text = str(value)
    return value if (safe := without_tokens(text)) == text else safe


def is_clients_fault(record: logging.LogRecord) -> bool:
    """Return whether ``record``, from the underlying server, reports a client's fault."""
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        # No application code runs where these are raised.
        where = (record.funcName, record.msg)
        is_unreadable = isinstance(error, UnicodeError) and not UNREADABLE.isdisjoint(where)
        return is_unreadable or is_of_the_client(error)
    if record.msg == UNANSWERED:
        return _was_refused()
    return record.msg in BAD_REQUESTS or record.msg == WRITTEN_TO_NOBODY


def is_of_the_client(error: BaseException) -> bool:
    """Return whether ``error`` means that the client left, or sent what its endpoint does not read.

    In a group, as raised by several tasks of an endpoint, this has to hold for each error.
    """
    if isinstance(error, BaseExceptionGroup):
        return all(is_of_the_client(each) for each in error.exceptions)
    return isinstance(error, CLIENT_LEFT) or is_misread(error)


def _was_refused() -> bool:
    # uvicorn 0.54 mistakes a handshake answered with an HTTP response for an unanswered one. Its
    # protocol object, which owns the coroutine that logs, knows better.
    task = asyncio.current_task()
    frame = getattr(task.get_coro(), "cr_frame", None) if task is not None else None
    protocol = frame.f_locals.get("self") if frame is not None else None
    return bool(
        getattr(protocol, "initial_response", None) or getattr(protocol, "response_started", False)
    )


def described(error: BaseException) -> str:
    """Return the type and text of ``error``; for a group, also those of its first error.

    Its ``repr`` would repeat the whole of a message that could not be decoded or encoded.
    """
    text = f"{type(error).__name__}: {error}".removesuffix(": ")
    if isinstance(error, BaseExceptionGroup):
        return f"{text}: {described(error.exceptions[0])}"
    return text


def one_line(text: str | bytes, characters: int = SHOWN_CHARACTERS) -> str:
    """Return ``text``, which anyone may have sent, as one line of at most ``characters``."""
    # A character takes at most four bytes in UTF-8.
    some = text[: 4 * characters + 4].decode(errors="replace") if isinstance(text, bytes) else text
    some = some[: characters + 1]
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in some)
    return safe if len(safe) <= characters else f"{safe[: characters - 2]} …"


def address_of(client: tuple[str, int] | None) -> str:
    """Return ``ip:port`` of a client as its server saw it, ``unknown:0`` over a Unix socket.

    An IPv6 address is put in brackets, as in URLs (RFC 3986 §3.2.2).
    """
    host, port = client or ("unknown", 0)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def without_secrets(text: str) -> str:
    """Return ``text`` with every address in it stripped of user, password, query and fragment."""
    text = re.sub(r"(\w+://)[^\s/?#]*@", r"\1", text)
    return re.sub(r"(\w+://[^\s?#]*)[?#]\S*", r"\1", text)


def address_without_secrets(address: str) -> str:
    """Return ``address``, which is not valid, without what may be a password in it.

    The password may be what made it invalid, so everything before the last @ is treated as one.
    """
    return without_secrets(re.sub(r"^(\w+://)?.*@", r"\1", address, flags=re.DOTALL))


def without_tokens(text: str) -> str:
    """Return ``text`` with every value of a parameter ``token``, and what follows Bearer, masked.

    If the text goes on after an address, a quotation mark or bracket may be masked with it.
    """
    return BEARER.sub(rf"\1{MASK}", PARAMETER.sub(_without_token, text))


def _without_token(parameter: re.Match[str]) -> str:
    name, value = parameter.groups()
    # A value masked earlier may be in quotation marks by now.
    if unquote_plus(name) != "token" or value.rstrip("\"'") == MASK:
        return parameter[0]
    return f"{name}={MASK}"


def say(line: str) -> None:
    """Write ``line`` to standard error, at any log level."""
    # A reader that has gone is no reason to stop, or to exit with a different status.
    with contextlib.suppress(OSError):
        if sys.stderr is not None:  # otherwise print() would write to standard output
            print(line, file=sys.stderr, flush=True)


def install() -> None:
    """Filter what the underlying server logs, and let our own loggers write where it does.

    If logging has been set up elsewhere (the root logger or ours has a handler), only the filters
    are added. Calling this again changes nothing.
    """
    for name in SERVERS:
        _add(ClientFaults, name)
    for name in REQUESTS:
        _add(Tokens, name)
    ours = logging.getLogger(__package__)
    servers = logging.getLogger("uvicorn")
    if ours.handlers or logging.getLogger().handlers or not servers.handlers:
        return
    ours.handlers = list(servers.handlers)
    ours.setLevel(logging.getLogger("uvicorn.error").getEffectiveLevel())
    ours.propagate = False


def _add(kind: type[logging.Filter], name: str) -> None:
    logger = logging.getLogger(name)
    if not any(isinstance(known, kind) for known in logger.filters):
        logger.addFilter(kind())
