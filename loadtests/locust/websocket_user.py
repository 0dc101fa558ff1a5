"""A WebSocket user for Locust: ordinary tasks, microseconds, many connections per process.

::

    from locust import between, task

    from loadtests.locust.websocket_user import WebSocketUser

    class Talker(WebSocketUser):
        host = "ws://127.0.0.1:8000"
        wait_time = between(1, 2)

        def on_start(self):
            self.connect("/ws")
            self.subscribe(lambda message: None, name="announcement")

        @task
        def talk(self):
            self.ask("hello", matching="hello", within=2, name="hello")

Run it with ``locust -f FILE``; in your own program, import ``locust`` before anything else.

A message is passed or failed by hand like a response of Locust's clients, for the same reasons::

    with self.ask("order", within=2, name="order", catch_response=True) as response:
        if "sold out" in response.message:
            response.failure("sold out")

Every operation is one request of type ``WS`` in Locust's statistics. Its time is in fractional
milliseconds, measured with the performance counter; averages and listeners to Locust's ``request``
event get it in full, but Locust's percentiles are whole milliseconds, unless you replace
``locust.stats.bucket_response_time``. A failure is named by its cause alone: ``connect:refused``,
``upgrade:http-403``, ``timeout``, ``closed:1006``.

A ``push`` is a message that nobody waited for. It answers no request, so its time is the time since
the user's last push, or since it connected: how often the server sends. An end of a connection that
the user did not ask for is a failure named ``connection``, timed since the connection opened.
Locust's "Aggregated" row mixes these times with those of requests; read the rows by their names.
"""

import functools
import logging
import random
import re
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any, Final, Literal, NoReturn, overload
from urllib.parse import urlsplit

import gevent
from gevent.hub import Waiter
from locust import User

from loadtests.clients.backoff import Backoff
from loadtests.clients.dial import classify
from loadtests.errors import HandshakeError, LoadTestError, UsageError
from loadtests.locust.caught_response import CaughtResponse
from loadtests.locust.gevent_connection import GeventConnection, Message
from loadtests.locust.gevent_dial import Opener, Opening

__all__ = [
    "CaughtResponse",
    "ConnectError",
    "ConnectionEndedError",
    "Message",
    "ReplyTimeoutError",
    "WebSocketUser",
    "WebSocketUserError",
]

Matching = str | bytes | re.Pattern[str] | re.Pattern[bytes] | Callable[[Message], bool] | None
"""Text or bytes that a message contains, a pattern to find in it, or a function; None: any."""

Handler = Callable[[Message], object]

_TIMED_OUT: Final = object()
_USAGE_STATUS: Final = 2
_LOGGER: Final = logging.getLogger(__name__)


class WebSocketUserError(LoadTestError):
    """An operation that failed; its text is the cause, the same for all that fail in this way."""


class ConnectError(WebSocketUserError):
    """The connection did not open: ``phase:cause``, as the swarm names it."""


class ConnectionEndedError(WebSocketUserError):
    """There is no connection, or it has since ended: ``closed:CODE`` (RFC 6455 section 7.4)."""


class ReplyTimeoutError(WebSocketUserError):
    """What was awaited did not come in time: ``timeout``. The connection stays open."""


@dataclass(frozen=True, slots=True)
class _Subscription:
    handler: Handler
    matching: Matching
    name: str


class WebSocketUser(User):
    """A user with one connection at a time.

    Attributes:
        connect_seconds: the longest time for TCP, TLS and the WebSocket handshake together.
        send_seconds: the longest time for the server to accept what is sent.
        close_seconds: the longest time for a closing handshake.
        tls: for a ``wss:`` host, instead of the system's certificates.
        insecure: accept any certificate.
        deflate: offer permessage-deflate (RFC 7692).
        largest_message_bytes: a longer one ends the connection with code 1009.
        held_messages: how many are kept for ``receive`` and ``expect``; beyond that, the oldest
            becomes a push.
        reconnect: when the server ends the connection, open it again with this backoff. Each
            attempt is a request named ``reconnect``; operations in the meantime wait.
    """

    abstract = True
    connect_seconds: float = 10.0
    send_seconds: float = 10.0
    close_seconds: float = 1.0
    tls: ssl.SSLContext | None = None
    insecure: bool = False
    deflate: bool = False
    largest_message_bytes: int = 10 * 2**20
    held_messages: int = 10_000
    reconnect: Backoff | None = None

    def __init__(self, environment: Any) -> None:  # noqa: ANN401 - Locust's own has no type
        super().__init__(environment)
        if fault := host_fault(self.host):
            end_run(environment, fault)
        self._connection: GeventConnection | None = None
        self._opening: Opening | None = None
        self._opened_ns = 0
        self._pushed_ns = 0
        self._waiter: Waiter[Any] | None = None
        self._matching: Matching = None
        self._closing: Waiter[Any] | None = None
        self._subscriptions: tuple[_Subscription, ...] = ()
        # Both are created when needed, which they never are for most users.
        self._held: deque[Message] | None = None
        self._returning: gevent.Greenlet[..., None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return self._connection is not None and self._connection.is_open

    @property
    def close_code(self) -> int | None:
        """The code that the connection ended with, 1006 if it had none; None while it is open."""
        connection = self._connection
        return None if connection is None or connection.is_open else connection.close_code

    @property
    def close_reason(self) -> str | None:
        """The server's reason for the end; None while the connection is open."""
        connection = self._connection
        return None if connection is None or connection.is_open else connection.close_reason

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol agreed on with the server."""
        return None if self._connection is None else self._connection.subprotocol

    def connect(
        self,
        path: str = "",
        *,
        name: str = "connect",
        headers: Mapping[str, str] | None = None,
        subprotocols: Sequence[str] = (),
    ) -> None:
        """Open the connection, closing an open one first.

        What this raises in ``on_start`` ends the user, as is usual in Locust. If the server may
        refuse, connect in a task, which is called again.

        Args:
            path: path and query, instead of the host's own.
            name: its name in the statistics.
            headers: added to the handshake.
            subprotocols: offered to the server, the best first.

        Raises:
            ConnectError: it did not open.
        """
        self._leave()
        while self._held:
            self._push(self._held.popleft())
        url = _url(self.host or "", path)
        self._opening = Opening(
            url=url,
            headers=tuple((headers or {}).items()),
            subprotocols=tuple(subprotocols),
            tls=self._tls_context(url),
            deflate=self.deflate,
            largest_message_bytes=self.largest_message_bytes,
            timeout_seconds=self.connect_seconds,
            linger_seconds=self.close_seconds,
        )
        self._open(self._opening, name)

    def send(self, message: Message, *, name: str = "send") -> None:
        """Send one message, a text or bytes.

        Raises:
            ConnectionEndedError: the connection is not open.
            ReplyTimeoutError: the server did not accept it within ``send_seconds``.
        """
        begun_ns = perf_counter_ns()
        try:
            connection = self._ready(self.send_seconds)
            begun_ns = perf_counter_ns()
            self._write(connection, message)
        except WebSocketUserError as error:
            self._record(name, begun_ns, 0, error)
            raise
        self._record(name, begun_ns, _size(message))

    @overload
    def receive(
        self,
        within: float | None = None,
        *,
        name: str = "receive",
        catch_response: Literal[False] = False,
    ) -> Message: ...

    @overload
    def receive(
        self, within: float | None = None, *, name: str = "receive", catch_response: Literal[True]
    ) -> CaughtResponse: ...

    def receive(
        self, within: float | None = None, *, name: str = "receive", catch_response: bool = False
    ) -> Message | CaughtResponse:
        """Return the next message, timed from this call.

        A message that goes to a subscription with its own ``matching`` is not returned.

        Args:
            within: seconds to wait for it; without it, wait forever.
            name: its name in the statistics.
            catch_response: return a :class:`CaughtResponse` and raise none of these.

        Raises:
            ReplyTimeoutError: none came in time.
            ConnectionEndedError: the connection has ended, and all that came was returned.
        """
        return self._await(None, within, name, is_caught=catch_response)

    @overload
    def expect(
        self,
        matching: Matching,
        within: float = 10.0,
        *,
        name: str = "expect",
        catch_response: Literal[False] = False,
    ) -> Message: ...

    @overload
    def expect(
        self,
        matching: Matching,
        within: float = 10.0,
        *,
        name: str = "expect",
        catch_response: Literal[True],
    ) -> CaughtResponse: ...

    def expect(
        self,
        matching: Matching,
        within: float = 10.0,
        *,
        name: str = "expect",
        catch_response: bool = False,
    ) -> Message | CaughtResponse:
        """Return the first message that matches; those before it become pushes.

        Args:
            matching: what the message must match.
            within: seconds to wait for it.
            name: its name in the statistics.
            catch_response: as for :meth:`receive`.

        Raises:
            ReplyTimeoutError: none came in time.
            ConnectionEndedError: the connection has ended.
        """
        return self._await(matching, within, name, is_caught=catch_response)

    @overload
    def ask(
        self,
        message: Message,
        matching: Matching = None,
        within: float = 10.0,
        *,
        name: str = "ask",
        catch_response: Literal[False] = False,
    ) -> Message: ...

    @overload
    def ask(
        self,
        message: Message,
        matching: Matching = None,
        within: float = 10.0,
        *,
        name: str = "ask",
        catch_response: Literal[True],
    ) -> CaughtResponse: ...

    def ask(
        self,
        message: Message,
        matching: Matching = None,
        within: float = 10.0,
        *,
        name: str = "ask",
        catch_response: bool = False,
    ) -> Message | CaughtResponse:
        """Send a message and return the first match among those that come after it.

        One request, timed from just before it is sent. What came before is kept for ``receive``.

        Args:
            message: a text or bytes.
            matching: what the answer must match; without it, any that ``receive`` would return.
            within: seconds to wait for the answer.
            name: its name in the statistics.
            catch_response: as for :meth:`receive`.

        Raises:
            ReplyTimeoutError: no answer came in time.
            ConnectionEndedError: the connection is not open, or ended before the answer.
        """
        waiter: Waiter[Any] | None = None
        begun_ns = perf_counter_ns()
        try:
            connection = self._ready(within)
            # Before the send, which can block while an answer to its beginning is already coming.
            waiter = self._wait_for(matching)
            begun_ns = perf_counter_ns()
            self._write(connection, message)
            answer = self._get(waiter, within)
        except WebSocketUserError as error:
            if catch_response:
                return self._caught(name, begun_ns, None, error)
            self._record(name, begun_ns, 0, error)
            raise
        finally:
            self._wait_no_more(waiter)
        if catch_response:
            return self._caught(name, begun_ns, answer)
        self._record(name, begun_ns, _size(answer))
        return answer

    def subscribe(self, handler: Handler, matching: Matching = None, *, name: str = "push") -> None:
        """Pass a handler the messages that nobody waits for; each is counted as a push.

        A message goes to the first subscription that it matches. The handler is called in gevent's
        hub, between all other users: it must not block, which sending, asking and sleeping do. If
        it has to, it should call ``gevent.spawn`` and block there.

        Args:
            handler: called with the message.
            matching: which messages; without it, all of them.
            name: their name in the statistics.
        """
        self._subscriptions = (*self._subscriptions, _Subscription(handler, matching, name))

    def close(self, code: int = 1000, reason: str = "", *, name: str = "close") -> None:
        """Close the connection if it is open, timed until the server has answered.

        Raises:
            ReplyTimeoutError: the server did not answer within ``close_seconds``.
            ConnectionEndedError: it ended the connection without an answer.
        """
        self._stop_returning()
        connection = self._connection
        if connection is None or not connection.is_open:
            return
        begun_ns = perf_counter_ns()
        try:
            self._shake_hands(connection, code, reason)
        except WebSocketUserError as error:
            self._record(name, begun_ns, 0, error)
            raise
        self._record(name, begun_ns, 0)

    def on_reconnect(self) -> None:
        """Do what a reopened connection needs; for a subclass to define.

        It runs before anything that waits for the connection continues.
        """

    def on_stop(self) -> None:
        """Leave with a closing handshake, which is not counted; an override should call this."""
        self._leave()

    def start(self, group: Any) -> Any:  # noqa: ANN401 - gevent has no types
        """Start the user as Locust does, and ensure that its connection ends with it."""
        greenlet = super().start(group)
        greenlet.rawlink(self._abandon)
        return greenlet

    # The hot path: a message in, a message out.

    def _ready(self, within: float | None) -> GeventConnection:
        connection = self._connection
        if connection is None or not connection.is_open:
            connection = self._back(within)
        return connection

    def _write(self, connection: GeventConnection, message: Message) -> None:
        try:
            connection.send(message, self.send_seconds)
        except TimeoutError:
            raise ReplyTimeoutError("timeout") from None
        except ConnectionError:
            raise ConnectionEndedError(f"closed:{connection.close_code}") from None

    def _wait_for(self, matching: Matching) -> "Waiter[Any]":
        if self._waiter is not None:
            raise UsageError(
                "two greenlets wait for messages of one user: let only one of them wait"
            )
        self._matching = matching
        waiter: Waiter[Any] = Waiter()
        self._waiter = waiter
        return waiter

    def _wait_no_more(self, waiter: object) -> None:
        # Once this one has its message, another greenlet may have begun to wait.
        if self._waiter is waiter:
            self._waiter = None

    def _get(self, waiter: "Waiter[Any]", within: float | None) -> Message:
        if within is None:
            message: Message = waiter.get()
            return message
        # A timer of the loop costs a quarter of a microsecond, gevent.Timeout several times that.
        timer = gevent.get_hub().loop.timer(within)
        timer.start(waiter.switch, _TIMED_OUT)
        try:
            message = waiter.get()
        finally:
            timer.stop()
            timer.close()
        if message is _TIMED_OUT:
            raise ReplyTimeoutError("timeout")
        return message

    def _take(self, message: Message) -> None:
        """Handle a message from the connection, in the hub."""
        waiter = self._waiter
        if waiter is None:
            self._take_unexpected(message)
            return
        try:
            is_it = self._is_awaited(message)
        except Exception as error:  # noqa: BLE001 - the tester's own function; its caller gets it
            self._waiter = None
            waiter.throw(error)
            return
        if is_it:
            self._waiter = None
            waiter.switch(message)
        else:
            self._push(message, self._subscription(message))

    def _is_awaited(self, message: Message) -> bool:
        if self._matching is not None:
            return _matches(self._matching, message)
        if not self._subscriptions:
            return True
        subscription = self._subscription(message)
        return subscription is None or subscription.matching is None

    def _record(
        self, name: str, begun_ns: int, length: int, error: Exception | None = None
    ) -> None:
        elapsed_ns = perf_counter_ns() - begun_ns
        self._fire(name, elapsed_ns, time.time(), length, error)

    def _fire(
        self, name: str, elapsed_ns: int, ended: float, length: int, error: Exception | None
    ) -> None:
        self.environment.events.request.fire(
            request_type="WS",
            name=name,
            response_time=elapsed_ns / 1e6,
            response_length=length,
            response=None,
            exception=error,
            context=self.context(),
            start_time=ended - elapsed_ns / 1e9,
            url=self.host if self._opening is None else self._opening.url,
        )

    # The rest.

    def _await(
        self, matching: Matching, within: float | None, name: str, *, is_caught: bool
    ) -> Message | CaughtResponse:
        begun_ns = perf_counter_ns()
        message = self._from_held(matching)
        if message is None:
            waiter: Waiter[Any] | None = None
            try:
                self._ready(within)
                begun_ns = perf_counter_ns()
                waiter = self._wait_for(matching)
                message = self._get(waiter, within)
            except WebSocketUserError as error:
                if is_caught:
                    return self._caught(name, begun_ns, None, error)
                self._record(name, begun_ns, 0, error)
                raise
            finally:
                self._wait_no_more(waiter)
        if is_caught:
            return self._caught(name, begun_ns, message)
        self._record(name, begun_ns, _size(message))
        return message

    def _caught(
        self, name: str, begun_ns: int, message: Message | None, error: Exception | None = None
    ) -> CaughtResponse:
        """Return a response that is recorded later, with the time it has taken until now."""
        elapsed_ns, ended = perf_counter_ns() - begun_ns, time.time()
        length = 0 if message is None else _size(message)

        def record(cause: Exception | None) -> None:
            self._fire(name, elapsed_ns, ended, length, cause)

        return CaughtResponse(message, error, record)

    def _from_held(self, matching: Matching) -> Message | None:
        while self._held:
            message = self._held.popleft()
            if matching is None or _matches(matching, message):
                return message
            self._push(message, self._subscription(message))
        return None

    def _take_unexpected(self, message: Message) -> None:
        if self._subscriptions and (subscription := self._subscription(message)) is not None:
            self._push(message, subscription)
            return
        if self._held is None:
            self._held = deque()
        if len(self._held) >= self.held_messages:
            self._push(self._held.popleft())
        self._held.append(message)

    def _subscription(self, message: Message) -> _Subscription | None:
        for subscription in self._subscriptions:
            if self._call(functools.partial(_matches, subscription.matching, message)):
                return subscription
        return None

    def _push(self, message: Message, subscription: _Subscription | None = None) -> None:
        since_ns, self._pushed_ns = self._pushed_ns, perf_counter_ns()
        name = "push" if subscription is None else subscription.name
        # In the hub, nobody else would catch what a listener to Locust's event raises.
        self._call(functools.partial(self._record, name, since_ns, _size(message)))
        if subscription is not None:
            self._call(functools.partial(subscription.handler, message))

    def _call(self, what: Callable[[], Any]) -> Any:  # noqa: ANN401 - the tester's type
        """Call a tester's function; report what it raises as Locust does for a task."""
        try:
            return what()
        except Exception as error:
            self.environment.events.user_error.fire(
                user_instance=self, exception=error, tb=error.__traceback__
            )
            _LOGGER.exception("%s: a handler or a listener failed", type(self).__name__)
            return None

    def _tls_context(self, url: str) -> ssl.SSLContext | None:
        if not url.startswith("wss:"):
            return None
        return self.tls or _default_tls(insecure=self.insecure)

    def _open(self, opening: Opening, name: str) -> None:
        begun_ns = perf_counter_ns()
        opener = Opener(opening)
        try:
            self._connection = opener.open(self._take, self._on_end)
        except (OSError, HandshakeError) as error:
            failure = ConnectError(classify(opener.phase, error))
            self._record(name, begun_ns, 0, failure)
            raise failure from error
        self._opened_ns = self._pushed_ns = perf_counter_ns()
        self._record(name, begun_ns, 0)

    def _on_end(self, connection: GeventConnection) -> None:
        """Handle the end of the connection, in the hub."""
        if self._connection is not None and self._connection is not connection:
            # The user has opened another one in the meantime.
            return
        error = ConnectionEndedError(f"closed:{connection.close_code}")
        if not connection.is_asked:
            self._call(functools.partial(self._record, "connection", self._opened_ns, 0, error))
            if self.reconnect is not None:
                self._returning = gevent.spawn(self._come_back, self.reconnect)
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.throw(error)
        if self._closing is not None:
            self._closing.switch(None)

    def _come_back(self, backoff: Backoff) -> None:
        assert self._opening is not None
        failures = 0
        while True:
            gevent.sleep(backoff.seconds(failures, random.random()))
            try:
                self._open(self._opening, "reconnect")
            except ConnectError:
                failures += 1
            else:
                break
        self._call(self.on_reconnect)

    def _back(self, within: float | None) -> GeventConnection:
        """Wait until the connection is open again, and return it.

        Raises:
            ConnectionEndedError: it is not coming back, or not in time.
        """
        begun_ns = perf_counter_ns()
        while self._returning and self._returning is not gevent.getcurrent():
            left = None if within is None else within - (perf_counter_ns() - begun_ns) / 1e9
            if left is not None and left <= 0:
                break
            self._returning.join(left)
            if self._connection is not None and self._connection.is_open:
                return self._connection
        raise ConnectionEndedError(f"closed:{self.close_code or 'never-opened'}")

    def _shake_hands(self, connection: GeventConnection, code: int, reason: str) -> None:
        """Close the connection, and wait for the server's answer."""
        waiter: Waiter[Any] = Waiter()
        self._closing = waiter
        connection.close(code, reason)
        try:
            self._get(waiter, self.close_seconds)
        finally:
            self._closing = None
            # If the server has answered, it already lingers, for as long as it may.
            connection.linger(0.0)
        if not connection.is_answered:
            raise ConnectionEndedError(f"closed:{connection.close_code}")

    def _leave(self) -> None:
        self._stop_returning()
        if self._connection is not None and self._connection.is_open:
            with suppress(WebSocketUserError):
                self._shake_hands(self._connection, 1000, "")

    def _abandon(self, _greenlet: object) -> None:
        """Close without waiting: the greenlet has ended, perhaps without ``on_stop``."""
        self._stop_returning()
        if self._connection is not None:
            self._connection.forget()
            self._connection.close(1000, "")
            self._connection.linger(self.close_seconds)

    def _stop_returning(self) -> None:
        returning, self._returning = self._returning, None
        if returning and returning is not gevent.getcurrent():
            returning.kill(block=False)


def host_fault(host: str | None) -> str | None:
    """Return in one line what is wrong with a host, or None."""
    if not host:
        return "no host: write host = 'ws://…' in the user class, or --host ws://…"
    parts = urlsplit(host)
    if parts.scheme in {"http", "https"}:
        right = parts._replace(scheme="ws" if parts.scheme == "http" else "wss").geturl()
        return f"the host is {host}: a WebSocketUser speaks WebSocket, write {right}"
    if parts.scheme not in {"ws", "wss"} or not parts.hostname:
        return f"the host is {host}: write ws://NAME:PORT or wss://NAME:PORT"
    return None


def end_run(environment: Any, fault: str) -> NoReturn:  # noqa: ANN401 - as in Locust
    """End a run with invalid parameters in one line, to which StopTest would add a traceback."""
    runner = environment.runner
    if runner is None:
        raise UsageError(fault)
    _LOGGER.error(fault)
    options = environment.parsed_options
    if options is not None and options.headless:
        environment.process_exit_code = _USAGE_STATUS
        gevent.spawn(runner.quit)
    else:
        gevent.spawn(runner.stop)
    # This greenlet, in which Locust starts users, would be the first to be ended.
    raise gevent.GreenletExit


def _url(host: str, path: str) -> str:
    if not path:
        return host
    parts = urlsplit(host)
    return f"{parts.scheme}://{parts.netloc}/{path.removeprefix('/')}"


@functools.cache
def _default_tls(*, insecure: bool) -> ssl.SSLContext:
    """Create the context that all users share: each one would hold the system's certificates."""
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _matches(matching: Matching, message: Message) -> bool:
    """Return whether a message is the awaited one; texts and patterns match their own type."""
    if callable(matching):
        return matching(message)
    if isinstance(matching, str):
        return isinstance(message, str) and matching in message
    if isinstance(matching, bytes):
        return isinstance(message, bytes) and matching in message
    if isinstance(matching, re.Pattern):
        pattern: re.Pattern[Any] = matching
        return isinstance(message, type(pattern.pattern)) and bool(pattern.search(message))
    return True


def _size(message: Message) -> int:
    """Return the size of a payload in bytes; asking a text whether it is ASCII costs nothing."""
    if isinstance(message, bytes) or message.isascii():
        return len(message)
    return len(message.encode())
