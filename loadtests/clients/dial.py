"""Open one connection: TCP, TLS, WebSocket handshake; a failure is named by phase and cause."""

import asyncio
import errno
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import perf_counter_ns
from typing import Any, Final

from picows import (
    WSError,
    WSInvalidHeaderError,
    WSInvalidMessageError,
    WSInvalidStatusError,
)

from loadtests.clients import picows_client, websockets_client
from loadtests.clients.connection import Connection
from loadtests.clients.request import Request
from loadtests.clients.setup import Handshake
from loadtests.errors import HandshakeError
from loadtests.measure.recorder import Recorder
from loadtests.plan.connect_options import Client
from loadtests.plan.feed import NoRowError, row_of
from loadtests.plan.plan import ProcessPlan
from loadtests.plan.template import fill

# Linux; the socket module names it from Python 3.14 on.
_IP_BIND_ADDRESS_NO_PORT: Final = 24

_CAUSES: Final = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.ETIMEDOUT: "timeout",
    errno.EADDRNOTAVAIL: "no-free-port",
    errno.EADDRINUSE: "no-free-port",
    errno.EMFILE: "no-free-file",
    errno.ENFILE: "no-free-file",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENOMEM: "no-memory",
    errno.ENOBUFS: "no-memory",
    errno.ENOENT: "no-such-socket",
    errno.EAGAIN: "backlog-full",
}

# Causes that lie with this machine: the server is not to blame, so the run is not a measurement.
LOCAL_CAUSES: Final = frozenset({"no-free-port", "no-free-file", "no-memory"})


class DialError(Exception):
    """A failure to open a connection; ``kind`` is ``phase:cause``, such as ``connect:refused``."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Dialer:
    """The opener of one swarm process's connections.

    Attributes:
        negotiated: how many connections negotiated what, in readable form.
    """

    def __init__(
        self, share: ProcessPlan, recorder: Recorder, rows: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """Prepare.

        Args:
            share: the process's share of the plan.
            recorder: where each phase is timed.
            rows: the data feed.
        """
        self.negotiated: Counter[str] = Counter()
        self._plan = share.plan
        self._options = share.plan.options
        self._rows = rows
        self._address = (share.endpoint.host, share.endpoint.port)
        self._family = socket.AF_INET6 if ":" in share.endpoint.host else socket.AF_INET
        self._sources = share.sources
        self._timeout_seconds = share.plan.handshake_timeout_seconds
        self._tls = self._options.tls() if share.plan.url.startswith("wss:") else None
        is_picows = self._options.chosen_client() is Client.PICOWS
        self._open = (
            picows_client.open_connection if is_picows else websockets_client.open_connection
        )
        self._times = {
            name: recorder.durations(name).append
            for name in ("tcp_connect", "tls", "upgrade", "open")
        }
        self._dialled = 0

    async def dial(
        self, make_connection: Callable[[], Connection], number: int, own: Handshake
    ) -> Connection:
        """Open one connection.

        Args:
            make_connection: called when the server's answer has arrived and is valid.
            number: the number of the connection in the fleet.
            own: what its handshake has in addition to what all have.

        Raises:
            DialError: it did not open.
        """
        phases = _Phases(self._times, secure=self._tls is not None)
        row = self.row(number)
        turn = self._dialled
        self._dialled += 1

        async def connect() -> socket.socket:
            connected = await self._connect(turn)
            phases.connected()
            return connected

        options = self._options
        request = Request(
            url=own.url or fill(self._plan.url, number, row),
            headers=_merged(options.request_headers(number, row), own.request_headers()),
            subprotocols=tuple(fill(name, number, row) for name in options.subprotocols),
            deflate=options.deflate,
            max_message_bytes=options.max_message_bytes,
            tls=self._tls,
            proxy=options.proxy,
            timeout_seconds=self._timeout_seconds,
            connect=connect,
            secured=phases.secured,
        )
        try:
            connection = await self._open(request, make_connection)
        except (OSError, WSError, HandshakeError) as error:
            raise DialError(classify(phases.name, error)) from error
        if connection is None:
            # The peer hung up before it answered.
            raise DialError(f"{phases.name}:closed")
        phases.opened()
        self.negotiated[connection.negotiated()] += 1
        return connection

    def row(self, number: int) -> Mapping[str, Any] | None:
        """Return the row of the data feed for a connection, or None without a feed.

        Raises:
            DialError: no row is left for it.
        """
        try:
            return row_of(self._rows, number, self._plan.feed_policy)
        except NoRowError as error:
            raise DialError("feed:no row") from error

    async def _connect(self, turn: int) -> socket.socket:
        unix = self._options.unix_socket
        family = socket.AF_UNIX if unix else self._family
        unconnected = socket.socket(family, socket.SOCK_STREAM)
        try:
            unconnected.setblocking(False)
            if self._sources:
                # Without this, bind takes a port for every destination, not just for one.
                unconnected.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
                unconnected.bind((self._sources[turn % len(self._sources)], 0))
            async with asyncio.timeout(self._timeout_seconds):
                await asyncio.get_running_loop().sock_connect(unconnected, unix or self._address)
        except BaseException:
            unconnected.close()
            raise
        return unconnected


def _merged(
    common: Iterable[tuple[str, str]], own: Iterable[tuple[str, str]]
) -> tuple[tuple[str, str], ...]:
    """Replace common headers with a connection's own; combine cookies.

    A request has at most one Cookie header (RFC 6265 section 5.4).
    """
    every, own = list(common), list(own)
    if not own:
        return tuple(every)
    taken = {name.lower() for name, _ in own} | {"cookie"}
    cookies = "; ".join(value for name, value in (*every, *own) if name.lower() == "cookie")
    return (
        *((name, value) for name, value in every if name.lower() not in taken),
        *((name, value) for name, value in own if name.lower() != "cookie"),
        *([("Cookie", cookies)] if cookies else ()),
    )


class _Phases:
    """The phases of one opening: which one is in progress, and how long each finished one took."""

    def __init__(self, times: Mapping[str, Callable[[int], None]], *, secure: bool) -> None:
        self.name = "connect"
        self._times = times
        self._secure = secure
        self._begun_ns = self._since_ns = perf_counter_ns()

    def connected(self) -> None:
        self._end("tcp_connect", following="tls" if self._secure else "upgrade")

    def secured(self) -> None:
        if self._secure:
            self._end("tls", following="upgrade")

    def opened(self) -> None:
        self._end("upgrade", following="open")
        self._times["open"](self._since_ns - self._begun_ns)

    def _end(self, phase: str, following: str) -> None:
        now_ns = perf_counter_ns()
        self._times[phase](now_ns - self._since_ns)
        self._since_ns = now_ns
        self.name = following


def classify(phase: str, error: Exception) -> str:
    """Name a failure ``phase:cause``: the phase that was under way and what ended it."""
    if isinstance(error, WSError):
        return f"upgrade:{_handshake_cause(error)}"
    if isinstance(error, HandshakeError):
        return f"upgrade:{error}"
    if isinstance(error, ssl.SSLError):
        return f"tls:{_tls_cause(error)}"
    if isinstance(error, TimeoutError):
        return f"{phase}:timeout"
    if isinstance(error, OSError) and error.errno in _CAUSES:
        return f"{phase}:{_CAUSES[error.errno]}"
    return f"{phase}:{'closed' if isinstance(error, ConnectionError) else type(error).__name__}"


def _tls_cause(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "bad-certificate"
    # An alert comes from the server (RFC 8446 section 6.2), for example if it wants a certificate.
    reason = (error.reason or "").lower()
    return "refused-by-server" if "alert" in reason else "not-tls"


def _handshake_cause(error: WSError) -> str:
    """Name what was wrong with the server's answer (RFC 6455 section 4.1)."""
    if isinstance(error, WSInvalidStatusError) and error.response is not None:
        return f"http-{int(error.response.status)}"
    if isinstance(error, WSInvalidHeaderError):
        return f"bad-{error.name.lower()}"
    return "not-http" if isinstance(error, WSInvalidMessageError) else type(error).__name__
