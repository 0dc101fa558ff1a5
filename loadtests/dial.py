"""Open one connection: TCP, TLS, WebSocket handshake; a failure is named by phase and cause."""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from time import perf_counter_ns
from typing import Final

from picows import (
    WSError,
    WSInvalidHeaderError,
    WSInvalidMessageError,
    WSInvalidStatusError,
    WSParsedURL,
    ws_connect,
)

from loadtests.connection import Connection
from loadtests.meter import Meter
from loadtests.plan import ProcessPlan

# The library's default of 16 KiB would be most of an idle connection's memory. It grows at need.
_READ_BUFFER_BYTES: Final = 2048
_LOG: Final = logging.LoggerAdapter(logging.getLogger(__name__))
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
}

# Causes that lie with this machine: the server is not to blame, so the run is not a measurement.
LOCAL_CAUSES: Final = frozenset({"no-free-port", "no-free-file", "no-memory"})


class DialError(Exception):
    """A connection did not open; ``kind`` is ``phase:cause``, such as ``connect:refused``."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Dialer:
    """Opens the connections of one swarm process."""

    def __init__(self, share: ProcessPlan, meter: Meter) -> None:
        self._url = share.plan.url
        self._process, self._processes = share.process, share.plan.processes
        self._address = (share.endpoint.host, share.endpoint.port)
        self._family = socket.AF_INET6 if ":" in share.endpoint.host else socket.AF_INET
        self._sources = share.sources
        self._timeout_seconds = share.plan.handshake_timeout_seconds
        self._secure = self._url.startswith("wss:")
        self._ssl = _ssl_context(insecure=share.plan.insecure) if self._secure else None
        self._connect_time = meter.durations("tcp_connect").append
        self._open_time = meter.durations("open").append
        self._dialled = 0

    async def dial(self, make_connection: Callable[[], Connection]) -> None:
        """Open one connection.

        Args:
            make_connection: called when the server's answer is in and right.

        Raises:
            DialError: it did not open.
        """
        phase = "connect"
        begun_ns = perf_counter_ns()
        number = self._dialled
        self._dialled += 1

        async def connected_socket(_url: WSParsedURL) -> socket.socket:
            nonlocal phase
            connected = await self._connect(number)
            # The library does not tell when TLS is done and the upgrade begins.
            phase = "tls+upgrade" if self._secure else "upgrade"
            self._connect_time(perf_counter_ns() - begun_ns)
            return connected

        try:
            _, listener = await ws_connect(
                make_connection,
                numbered(self._url, number * self._processes + self._process),
                ssl_context=self._ssl,
                # The library ends the connection when this is over; a timeout around the whole
                # call would leave it half open, to be opened after it was counted as failed.
                websocket_handshake_timeout=self._timeout_seconds,
                logger_name=_LOG,
                max_redirects=0,
                read_buffer_init_size=_READ_BUFFER_BYTES,
                socket_factory=connected_socket,
                # Measured on plain TCP against uvloop's own transports: a fifth more CPU a
                # round trip and 6 KiB more a connection. Over TLS it is the faster one.
                use_aiofastnet=self._secure,
                ssl_handshake_timeout=self._timeout_seconds if self._secure else None,
            )
        except (OSError, WSError) as error:
            raise DialError(classify(phase, error)) from error
        if listener is None:
            # This is the library's way to say that the peer hung up before it answered.
            raise DialError(f"{phase}:closed")
        self._open_time(perf_counter_ns() - begun_ns)

    async def _connect(self, number: int) -> socket.socket:
        unconnected = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            unconnected.setblocking(False)
            if self._sources:
                # Without this a bind takes a port for every destination, not for one.
                unconnected.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
                unconnected.bind((self._sources[number % len(self._sources)], 0))
            async with asyncio.timeout(self._timeout_seconds):
                await asyncio.get_running_loop().sock_connect(unconnected, self._address)
        except BaseException:
            unconnected.close()
            raise
        return unconnected


def numbered(url: str, number: int) -> str:
    """Fill the number of a connection in where ``url`` has ``{n}``; no two have the same."""
    return url.replace("{n}", str(number))


def classify(phase: str, error: Exception) -> str:
    """Name a failure ``phase:cause``: the phase that was under way and what ended it."""
    if isinstance(error, WSError):
        return f"upgrade:{_handshake_cause(error)}"
    if isinstance(error, ssl.SSLError):
        verified = not isinstance(error, ssl.SSLCertVerificationError)
        return "tls:not-tls" if verified else "tls:bad-certificate"
    if isinstance(error, TimeoutError):
        return f"{phase}:timeout"
    if isinstance(error, OSError) and error.errno in _CAUSES:
        return f"{phase}:{_CAUSES[error.errno]}"
    return f"{phase}:{'closed' if isinstance(error, ConnectionError) else type(error).__name__}"


def _handshake_cause(error: WSError) -> str:
    """Name what was wrong with the server's answer (RFC 6455 section 4.1)."""
    if isinstance(error, WSInvalidStatusError) and error.response is not None:
        return f"http-{int(error.response.status)}"
    if isinstance(error, WSInvalidHeaderError):
        return f"bad-{error.name.lower()}"
    return "not-http" if isinstance(error, WSInvalidMessageError) else type(error).__name__


def _ssl_context(*, insecure: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
