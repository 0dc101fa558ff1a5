"""A socket under gevent, with or without TLS, while a greenlet opens a connection on it."""

import errno
import os
import ssl

# The C type itself: what Locust leaves in the socket module blocks the calling greenlet.
from _socket import (
    AI_NUMERICHOST,
    IPPROTO_TCP,
    SO_ERROR,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_NODELAY,
    gaierror,
    getaddrinfo,
    socket,
)
from typing import Any, Final

from gevent import get_hub
from gevent.socket import getaddrinfo as look_up

READABLE: Final = 1
WRITABLE: Final = 2
READ_BYTES: Final = 2**16
_IN_PROGRESS: Final = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR})


class Tls:
    """TLS without a socket: it is fed what is read, and what it returns is written."""

    __slots__ = ("_incoming", "_object", "_outgoing")

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    def is_secured(self) -> bool:
        """Continue the handshake; return whether it is done."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def feed(self, data: bytes) -> None:
        """Take the data received, or the end of the stream."""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def decrypt(self, data: bytes) -> bytes | None:
        """Return what ``data`` and earlier leftovers contain; None without a complete record."""
        self.feed(data)
        plain = []
        try:
            while piece := self._object.read(READ_BYTES):
                plain.append(piece)
        except ssl.SSLWantReadError:
            return b"".join(plain) or None
        except ssl.SSLError:
            # The end of the stream without TLS's own close, or garbage: the end in either case.
            pass
        return b"".join(plain)

    def encrypt(self, data: bytes) -> bytes:
        """Return the bytes to write for ``data``."""
        self._object.write(data)
        return self.pending()

    def pending(self) -> bytes:
        """Return what TLS itself has to send, such as its handshake."""
        return self._outgoing.read()


class Wire:
    """A connected socket during the opening, read and written by a greenlet that may block."""

    __slots__ = ("socket", "tls")

    def __init__(self, connected: socket) -> None:
        self.socket = connected
        self.tls: Tls | None = None

    def secure(self, context: ssl.SSLContext, host: str) -> None:
        """Perform the TLS handshake."""
        tls = Tls(context, host)
        while not tls.is_secured():
            self._write(tls.pending())
            tls.feed(self._read())
        self._write(tls.pending())
        self.tls = tls

    def read(self) -> bytes:
        """Return the data received, at least one byte; empty at the end of the stream."""
        while True:
            data: bytes | None = self._read()
            if self.tls is not None:
                data = self.tls.decrypt(data or b"")
                self._write(self.tls.pending())
            if data is not None:
                return data

    def write(self, data: bytes) -> None:
        """Write all of the data."""
        self._write(data if self.tls is None else self.tls.encrypt(data))

    def _read(self) -> bytes:
        while True:
            try:
                return self.socket.recv(READ_BYTES)
            except BlockingIOError:
                _wait(self.socket, READABLE)

    def _write(self, data: bytes) -> None:
        while data:
            try:
                data = data[self.socket.send(data) :]
            except BlockingIOError:
                _wait(self.socket, WRITABLE)


def connect(host: str, port: int) -> Wire:
    """Connect to the first address of a host that accepts.

    Raises:
        OSError: none did; the error is that of the last one.
    """
    try:
        found: list[Any] = getaddrinfo(host, port, 0, SOCK_STREAM, 0, AI_NUMERICHOST)
    except gaierror:
        # A name is looked up in gevent's thread pool, which an address need not wait for.
        found = look_up(host, port, 0, SOCK_STREAM)
    error: OSError | None = None
    for family, kind, protocol, _, address in found:
        unconnected = socket(family, kind, protocol)
        try:
            _connect(unconnected, address)
        except OSError as failed:
            unconnected.close()
            error = failed
        except BaseException:
            unconnected.close()
            raise
        else:
            return Wire(unconnected)
    assert error is not None
    raise error


def _connect(unconnected: socket, address: Any) -> None:  # noqa: ANN401 - depends on the family
    unconnected.setblocking(False)
    # Messages are small and each is waited for: Nagle's algorithm would hold them back.
    unconnected.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
    number = unconnected.connect_ex(address)
    if number in _IN_PROGRESS:
        _wait(unconnected, WRITABLE)
        number = unconnected.getsockopt(SOL_SOCKET, SO_ERROR)
    if number:
        raise OSError(number, os.strerror(number))


def _wait(waiting: socket, for_what: int) -> None:
    hub = get_hub()
    watcher = hub.loop.io(waiting.fileno(), for_what)
    try:
        hub.wait(watcher)
    finally:
        watcher.close()
