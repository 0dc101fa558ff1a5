"""Each client as the suite wants it: it sends back what it gets, until the server ends it."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from picows import WSFrame, WSMsgType, WSTransport

from loadtests.clients.connection import Connection
from loadtests.clients.dial import Dialer, DialError
from loadtests.clients.setup import NOTHING
from loadtests.measure.recorder import Recorder
from loadtests.plan.connect_options import DEFAULT_MAX_MESSAGE_BYTES, Client, ConnectOptions
from loadtests.plan.plan import Endpoint, Plan, ProcessPlan

DEADLINE_SECONDS = 60.0
CLIENTS = ("picows", "websockets", "gevent")

Told = Callable[[bytes], None]
Visit = Callable[[str, Told], Awaitable[None]]


class Echoing(Connection):
    """A connection of the swarm that knows what kind of message it was given last."""

    kind = WSMsgType.TEXT

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Note the kind of a message, of which only the first fragment tells it."""
        if frame.msg_type in (WSMsgType.TEXT, WSMsgType.BINARY):
            self.kind = frame.msg_type
        super().on_ws_frame(transport, frame)


async def visit_with_the_swarm(client: Client, url: str, told: Told) -> None:
    """Connect, send back what comes, and return when the server has ended the connection."""
    ended = asyncio.Event()
    options = ConnectOptions(client=client)
    plan = Plan(url, 1, "hold", {}, options=options, handshake_timeout_seconds=DEADLINE_SECONDS)
    host, _, port = url.removeprefix("ws://").partition("/")[0].partition(":")
    share, recorder = ProcessPlan(plan, 0, Endpoint(host, int(port)), (), 0), Recorder(0, 0, 1)

    def receive(connection: Any, payload: bytes, _now_ns: int) -> None:
        told(payload)
        if connection.is_open:
            connection.transport.send(connection.kind, payload)

    def make() -> Connection:
        connection = Echoing(recorder, receive, None)
        connection.ended = lambda _connection: ended.set()
        return connection

    try:
        await Dialer(share, recorder).dial(make, 0, NOTHING)
    except DialError as error:
        raise AssertionError(f"{url}: {error.kind}") from error
    async with asyncio.timeout(DEADLINE_SECONDS):
        await ended.wait()


async def visit_with_gevent(url: str, told: Told) -> None:
    """Do the same with the client of Locust's users, which blocks the thread meanwhile."""
    # Not before it is needed: it takes a hub of its own for the thread.
    import gevent  # noqa: PLC0415
    from gevent.event import Event  # noqa: PLC0415
    from gevent.queue import SimpleQueue  # noqa: PLC0415

    from loadtests.locust.gevent_connection import GeventConnection  # noqa: PLC0415
    from loadtests.locust.gevent_dial import Opener, Opening  # noqa: PLC0415

    ended, came = Event(), SimpleQueue()
    seconds = DEADLINE_SECONDS
    opener = Opener(Opening(url, (), (), None, False, DEFAULT_MAX_MESSAGE_BYTES, seconds, seconds))

    def end(_connection: GeventConnection) -> None:
        came.put(None)
        ended.set()

    connection = opener.open(came.put, end)
    with gevent.Timeout(seconds, TimeoutError()):
        while (message := came.get()) is not None:
            told(message.encode() if isinstance(message, str) else message)
            if connection.is_open:
                connection.send(message, seconds)
        ended.wait()
    connection.release()


def visitor(name: str) -> Visit:
    """Return what visits an address with the client of that name."""
    if name == "gevent":
        return visit_with_gevent
    return partial(visit_with_the_swarm, Client(name))
