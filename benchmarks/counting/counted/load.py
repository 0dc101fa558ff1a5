"""The load: connections, echoes and broadcasts, one after the other, always the same."""

from __future__ import annotations

import contextlib
import gc
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .client import handshake, refusal, text_frame
from .loop import TooLongError
from .meters import Meter
from .transport import NoNetwork

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Sequence

    from .loop import IdleTimeLoop


class ServerError(Exception):
    """The application does not do what is to be counted."""


@dataclass(frozen=True)
class Load:
    """The load.

    Attributes:
        connections: how many are opened on ``path``, the second half of which is counted.
        messages: how many echoes and broadcasts are counted, after as many that are not.
        path: the path of the connections; ``{n}`` in it is the number of the connection.
        broadcasts: whether what one of them sends is received by the others.
        echo_path: the path of one connection, which gets back what it sends; None for none.
        message: a text, with ``{token}`` where it differs from the others.
    """

    connections: int
    messages: int
    path: str
    broadcasts: bool
    echo_path: str | None
    message: str


class Clients:
    """Clients that open connections, send, and wait for the result."""

    def __init__(self, loop: IdleTimeLoop, protocol: Callable[[], asyncio.Protocol]) -> None:
        self._loop = loop
        self._protocol = protocol

    async def open(
        self,
        path: str,
        transports: Sequence[NoNetwork],
        *,
        first: int,
        after_each: Callable[[], None] = lambda: None,
    ) -> None:
        """Do the handshakes, one after the other, numbered from ``first``.

        What the server writes afterwards is not kept: it would be memory of ours.

        Raises:
            ServerError: one was refused, or not answered.
        """
        for number, transport in enumerate(transports, first):
            transport.connect(self._protocol())
            transport.receive(handshake(path.replace("{n}", str(number))))
            try:
                await self._loop.idle(lambda it=transport: it.writes > 0)  # type: ignore[misc]
            except TooLongError:
                raise ServerError(f"{path} does not answer a handshake") from None
            if (refused := refusal(transport.written())) is not None:
                raise ServerError(
                    f"{path} answers a handshake with {refused}; name another with --path or "
                    "--echo-path"
                )
            transport.keep_nothing()
            after_each()

    async def audience(
        self, kind: str, everyone: Sequence[NoNetwork], token: bytes, frame: bytes
    ) -> list[NoNetwork]:
        """Send once from the first; return who receives it: all others, and itself if it does.

        Raises:
            ServerError: one of the others did not receive it.
        """
        sender, *others = everyone
        for transport in everyone:
            transport.make_room(1)
        sender.receive(frame)
        # A lone connection waits for its own message.
        waited_for = others or everyone
        try:
            await self._loop.idle(lambda: all(token in it.written() for it in waited_for))
        except TooLongError:
            reached = sum(token in it.written() for it in everyone)
            raise ServerError(
                f"the {kind} of a message reached {reached} of {len(everyone)} connections; name "
                f"another path, or leave these out with --no-{kind}"
            ) from None
        return [it for it in everyone if token in it.written()]

    async def send_all(
        self, sender: NoNetwork, frames: Sequence[bytes], audience: Sequence[NoNetwork]
    ) -> None:
        """Send one message after the other, each when the previous one is done.

        Raises:
            ServerError: one was not answered.
        """
        for number, frame in enumerate(frames):
            sender.receive(frame)
            try:
                await self._loop.idle(lambda n=number: all(it.writes > n for it in audience))  # type: ignore[misc]
            except TooLongError:
                raise ServerError(f"message {number + 1} in a row was not answered") from None


def messages(load: Load, kind: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield messages endlessly, all of one length: what to look for, and the frame."""
    for number in itertools.count():
        token = f"swarmgate-{kind}-{number:06}"
        yield token.encode(), text_frame(load.message.replace("{token}", token))


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """Disable the garbage collector: when it runs, and what it then does, depends on everything."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def connect(
    load: Load, meter: Meter, clients: Clients, everyone: Sequence[NoNetwork]
) -> None:
    """Open all connections; the second half is counted. Raises ServerError."""
    half = load.connections // 2
    await clients.open(load.path, everyone[:half], first=0)
    with without_collector():
        meter.begin("connection")
        await clients.open(load.path, everyone[half:], first=half, after_each=meter.look)
        meter.end("connection")


async def exchange(
    load: Load, meter: Meter, clients: Clients, kind: str, everyone: Sequence[NoNetwork]
) -> int:
    """Send the messages that are counted, after as many that are not; return the writes of all.

    Raises:
        ServerError: a message did not reach everyone, or more than once.
    """
    source = messages(load, kind)
    audience = await clients.audience(kind, everyone, *next(source))
    # CPython speeds up code that runs often (PEP 659): the first messages cost more.
    for counted_by in (Meter(), meter):
        tokens, frames = zip(*itertools.islice(source, load.messages), strict=True)
        for transport in everyone:
            transport.make_room(load.messages)
        with without_collector():
            counted_by.begin(kind)
            await clients.send_all(everyone[0], frames, audience)
            counted_by.end(kind)
        check(tokens, audience)
    return sum(transport.writes for transport in everyone)


def check(tokens: Sequence[bytes], audience: Sequence[NoNetwork]) -> None:
    """Raise ServerError unless each of the audience was sent each token once."""
    for transport in audience:
        written = transport.written()
        for token in tokens:
            if (times := written.count(token)) != 1:
                raise ServerError(f"a message came {times} times to one connection")


async def put_on(load: Load, meter: Meter, clients: Clients, loop: IdleTimeLoop) -> dict[str, int]:
    """Run the load; return how often the server wrote, by kind of message. Raises ServerError."""
    writes: dict[str, int] = {}
    everyone = [NoNetwork(loop, number) for number in range(load.connections)]
    await connect(load, meter, clients, everyone)
    if load.echo_path is not None:
        alone = [NoNetwork(loop, load.connections)]
        await clients.open(load.echo_path, alone, first=load.connections)
        writes["echo"] = await exchange(load, meter, clients, "echo", alone)
    if load.broadcasts:
        writes["broadcast"] = await exchange(load, meter, clients, "broadcast", everyone)
    return writes
