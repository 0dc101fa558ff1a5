"""How each connection is made: what goes into its handshake, and what carries it."""

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from enum import StrEnum
from ipaddress import ip_address, ip_network
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as pydantic_dataclass

from loadtests.errors import UsageError
from loadtests.plan.forms import BYTES, SWITCH, TEXT, TEXTS, one_of
from loadtests.plan.option import Group, Option, Scope
from loadtests.plan.template import check_places, fill, fill_secret

# RFC 9110 section 5.6.2; subprotocols and cookie names are tokens as well.
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# The client library makes these; a second one would break the handshake (RFC 6455 section 4.1).
_OURS: Final = frozenset(
    {
        *("upgrade", "connection", "sec-websocket-key", "sec-websocket-version"),
        *("sec-websocket-extensions", "sec-websocket-protocol"),
    }
)
_SECRET_NAME: Final = re.compile(
    r"auth|token|secret|passw|passphrase|pwd|credential|session|cookie|signature|ticket|jwt"
    r"|key$|(?:^|[-_])(?:pass|sig|sid)$",
    re.IGNORECASE,
)
_MOST_SOURCES: Final = 4096
DEFAULT_MAX_MESSAGE_BYTES: Final = 16 * 2**20


class Client(StrEnum):
    """The library that makes a connection."""

    AUTO = "auto"
    PICOWS = "picows"
    WEBSOCKETS = "websockets"


@pydantic_dataclass(frozen=True, slots=True, config=ConfigDict(use_attribute_docstrings=True))
class ConnectOptions:
    """Settings common to all connections, with placeholders to be filled in (``template.py``).

    The fields are options of a run, like those of its plan.
    """

    headers: Annotated[
        tuple[str, ...],
        Option(Group.HANDSHAKE, TEXTS, name="header", short="-H", metavar="'NAME: VALUE'"),
    ] = ()
    """Add this header to the handshake."""

    subprotocols: Annotated[
        tuple[str, ...], Option(Group.HANDSHAKE, TEXTS, name="subprotocol", metavar="NAME")
    ] = ()
    """Offer this subprotocol, best first (RFC 6455 section 1.9)."""

    cookies: Annotated[
        tuple[str, ...], Option(Group.HANDSHAKE, TEXTS, name="cookie", metavar="NAME=VALUE")
    ] = ()
    """Send this cookie."""

    bearer: Annotated[str | None, Option(Group.HANDSHAKE, TEXT, metavar="TOKEN")] = None
    """Bearer token for Authorization (RFC 6750); {n} and {feed.NAME} are filled in."""

    origin: Annotated[str | None, Option(Group.HANDSHAKE, TEXT, metavar="URL")] = None
    """The Origin header, as a browser would send it."""

    deflate: Annotated[bool, Option(Group.HANDSHAKE, SWITCH, off="--no-deflate")] = False
    """Offer permessage-deflate (RFC 7692), as browsers do."""

    ca: Annotated[str | None, Option(Group.HANDSHAKE, TEXT, metavar="FILE")] = None
    """Trust only these certificates."""

    cert: Annotated[str | None, Option(Group.HANDSHAKE, TEXT, metavar="FILE")] = None
    """Client certificate."""

    key: Annotated[str | None, Option(Group.HANDSHAKE, TEXT, metavar="FILE")] = None
    """Key of the client certificate."""

    insecure: Annotated[bool, Option(Group.HANDSHAKE, SWITCH)] = False
    """Accept any certificate."""

    sources: Annotated[
        tuple[str, ...],
        Option(Group.HANDSHAKE, TEXTS, name="source", metavar="ADDRESS", scope=Scope.RUN),
    ] = ()
    """Connect from this address, in turn if there are several; 127.0.0.0/28 means all its hosts."""

    unix_socket: Annotated[
        str | None, Option(Group.HANDSHAKE, TEXT, metavar="PATH", scope=Scope.RUN)
    ] = None
    """Connect to this Unix socket instead of the host."""

    proxy: Annotated[str | None, Option(Group.HANDSHAKE, TEXT, metavar="URL", scope=Scope.RUN)] = (
        None
    )
    """Connect through this proxy (HTTP CONNECT)."""

    max_message_bytes: Annotated[int, Option(Group.HANDSHAKE, BYTES, metavar="SIZE")] = (
        DEFAULT_MAX_MESSAGE_BYTES
    )
    """Largest message accepted from the server; a larger one closes the connection with 1009."""

    client: Annotated[Client, Option(Group.HANDSHAKE, one_of(Client))] = Client.AUTO
    """Client library; auto is picows unless something needs websockets."""

    def __post_init__(self) -> None:
        self._check_texts()
        if self.max_message_bytes < 1:
            raise UsageError(f"--max-message is {self.max_message_bytes}; it must be 1 B or more")
        if self.key is not None and self.cert is None:
            raise UsageError("a key without a certificate; name the certificate with --cert")
        if self.insecure and self.ca is not None:
            raise UsageError(
                "--insecure accepts any certificate, --ca only some; leave one of them out"
            )
        if self.proxy is not None and urlsplit(self.proxy).scheme not in ("http", "https"):
            raise UsageError(f"proxy {self.proxy!r}; expected something like http://127.0.0.1:3128")
        self._check_client()

    def _check_texts(self) -> None:
        texts = (*self.headers, *self.subprotocols, *self.cookies, self.bearer, self.origin)
        for text in filter(None, texts):
            check_places(text)
        for header in self.headers:
            _check_header(header)
        for cookie in self.cookies:
            name, equals, value = cookie.partition("=")
            if not (equals and _TOKEN.fullmatch(name)) or _has_controls(value):
                raise UsageError(f"cookie {cookie!r} is not of the form name=value")
        for name in self.subprotocols:
            if not _TOKEN.fullmatch(name):
                raise UsageError(f"subprotocol {name!r} is not a token (RFC 9110 section 5.6.2)")
        for name in ("bearer", "origin"):
            text = getattr(self, name)
            if text is not None and _has_controls(text):
                raise UsageError(f"{name} {text!r} has a control character in it")

    def _check_client(self) -> None:
        beyond = self.beyond_picows()
        if self.client is Client.PICOWS and beyond:
            raise UsageError(
                f"picows does not support {beyond}; leave --client out, or use websockets"
            )
        if self.client is Client.WEBSOCKETS and self.proxy is not None:
            raise UsageError(
                "the websockets client does not support a proxy here; leave --client out"
            )
        if beyond and self.proxy is not None:
            raise UsageError(f"no client supports both a proxy and {beyond}")

    def beyond_picows(self) -> str:
        """Name the requested feature that picows lacks; empty if it supports everything."""
        if self.deflate:
            return "permessage-deflate"
        return "Unix sockets" if self.unix_socket is not None else ""

    def chosen_client(self) -> Client:
        """Return the library that makes the connections."""
        if self.client is not Client.AUTO:
            return self.client
        return Client.WEBSOCKETS if self.beyond_picows() else Client.PICOWS

    def request_headers(
        self, number: int, row: Mapping[str, Any] | None
    ) -> Iterator[tuple[str, str]]:
        """Yield the headers of one connection's request, except those the library makes."""
        for header in self.headers:
            name, _, value = header.partition(":")
            name, value = name.strip(), value.strip()
            filling = fill_secret if is_secret_name(name) else fill
            yield name, clean(name, filling(value, number, row))
        if self.cookies:
            pairs = (cookie.partition("=") for cookie in self.cookies)
            filled = (f"{name}={fill_secret(value, number, row)}" for name, _, value in pairs)
            yield "Cookie", clean("Cookie", "; ".join(filled))
        if self.bearer is not None:
            token = fill_secret(self.bearer, number, row)
            yield "Authorization", clean("Authorization", f"Bearer {token}")
        if self.origin is not None:
            yield "Origin", clean("Origin", fill(self.origin, number, row))

    def tls(self) -> ssl.SSLContext:
        """Make the TLS context of secure connections.

        Raises:
            UsageError: a certificate file cannot be used.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.cert is not None:
                context.load_cert_chain(self.cert, self.key)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(name for name in (self.ca, self.cert, self.key) if name)
            raise UsageError(f"cannot use the certificates in {files}: {error}") from None
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def source_addresses(self) -> tuple[str, ...]:
        """Return the addresses to connect from, with each network expanded to its hosts.

        Raises:
            UsageError: a source is neither an address nor a network.
        """
        found: list[str] = []
        for source in self.sources:
            try:
                if "/" in source:
                    hosts = ip_network(source, strict=False).hosts()
                    found += [str(host) for host in islice(hosts, _MOST_SOURCES)]
                else:
                    found.append(str(ip_address(source)))
            except ValueError as error:
                raise UsageError(
                    f"source {source!r}: {error}; write 127.0.0.2 or 127.0.0.0/28"
                ) from None
        return tuple(found)


def check_files(options: ConnectOptions) -> None:
    """Reject files and addresses that cannot be used, before anything is started.

    Raises:
        UsageError: one of them cannot be used; the message says which and why.
    """
    options.tls()
    for address in options.source_addresses():
        _check_source(address)
    if options.unix_socket is not None and not Path(options.unix_socket).exists():
        raise UsageError(f"there is no Unix socket {options.unix_socket}")


def _check_source(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probing:
            probing.bind((address, 0))
    except OSError as error:
        raise UsageError(
            f"--source {address} is not an address of this machine ({error.strerror}); `ip "
            "address` lists them"
        ) from None


def _check_header(header: str) -> None:
    name, colon, value = header.partition(":")
    if not colon:
        raise UsageError(f"header {header!r} is not of the form 'Name: value'")
    check_header_name(name.strip())
    clean(name.strip(), value)


def check_header_name(name: str) -> None:
    """Reject an invalid header name, or one reserved for the library. Raises UsageError."""
    if not _TOKEN.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a header name; write 'Name: value' (RFC 9110 section 5.1)"
        )
    if name.lower() in _OURS:
        raise UsageError(f"header {name} is set by the handshake itself; leave it out")


def _has_controls(text: str) -> bool:
    return any(ord(letter) < ord(" ") or ord(letter) == 0x7F for letter in text)


def is_secret_name(name: str) -> bool:
    """Return whether a header or query parameter of this name holds a secret."""
    return _SECRET_NAME.search(name) is not None


def clean(name: str, value: str) -> str:
    """Return the value, rejecting what a feed could smuggle in: a line end begins another header.

    The error does not quote the value, because it may be a secret.
    """
    if _has_controls(value):
        raise UsageError(f"the value of the header {name} has a control character in it")
    return value
