"""The bus between machines: pub/sub over Redis or Valkey, which may go away and come back."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import TYPE_CHECKING, Final

from target_app.backoff import Backoff
from target_app.bounded_queue import BytesQueue
from target_app.bus import BusStatus
from target_app.bus.sequence import Arrivals, Stamp
from target_app.redis_client import FAILURES, TIMEOUT_SECONDS, make_redis

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis.asyncio import Redis

    from target_app.bus import Deliver

    Waiting = tuple[bytes, asyncio.Future[int] | None]

CHANNEL: Final = "swarmgate:bus"
QUEUED: Final = 1_000
"""Payloads that may wait to be published before publishers have to wait as well."""
QUEUED_BYTES: Final = 2**26
"""The same limit, in bytes for all of them together."""
STALLED_SECONDS: Final = 0.1
"""Time without an answer from Redis after which nobody waits for room any more."""
AT_ONCE: Final = 128
"""Payloads in one round trip."""
BACKOFF: Final = Backoff(first_seconds=0.1, longest_seconds=5.0)

logger = logging.getLogger(__name__)


class RedisBus:
    """The bus of a server on several machines: one connection to publish, one to subscribe.

    While Redis is unavailable or hangs, payloads are dropped and counted: nobody waits, clients
    stay connected, and what is sent here is still received here. Receivers count what they missed
    by its numbers. What was being published when Redis closed the connection is published again;
    receivers accept it once.
    """

    def __init__(self, url: str, *, channel: str = CHANNEL) -> None:
        self.status = BusStatus("redis", connected=False)
        self._url = url
        self._channel = channel
        self._stamp = Stamp()
        self._arrivals = Arrivals(self._stamp.publisher)
        self._waiting: BytesQueue[Waiting] = BytesQueue(QUEUED, QUEUED_BYTES)
        self._asked_at: float | None = None
        self._up = {"publishing": False, "subscribed": False}
        self._tried = {what: asyncio.Event() for what in self._up}
        self._lost_at: float | None = None

    async def publish(self, payload: bytes) -> int:
        """See :meth:`Bus.publish`."""
        handed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        await self._wait_for_turn(payload, handed)
        return await handed

    async def post(self, payload: bytes) -> None:
        """See :meth:`Bus.post`."""
        await self._wait_for_turn(payload, None)

    async def run(self, deliver: Deliver, ready: asyncio.Event) -> None:
        """See :meth:`Bus.run`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep("publishing", self._publish_waiting))
            group.create_task(self._keep("subscribed", lambda redis: self._listen(redis, deliver)))
            for tried in self._tried.values():
                await tried.wait()
            ready.set()

    async def _wait_for_turn(self, payload: bytes, handed: asyncio.Future[int] | None) -> None:
        waiting = self._stamp.put(payload), handed
        if not self._up["publishing"] or not await self._has_room_for(waiting):
            self._drop([waiting])
        elif not self._up["publishing"]:  # lost while this waited for room
            self._drop_waiting()

    async def _has_room_for(self, waiting: Waiting) -> bool:
        size = len(waiting[0])
        try:
            self._waiting.put_nowait(waiting, size)
        except asyncio.QueueFull:
            if self._stalled():
                return False
            try:
                async with asyncio.timeout(STALLED_SECONDS):
                    await self._waiting.put(waiting, size)
            except TimeoutError:
                return False
        return True

    def _stalled(self) -> bool:
        asked_at = self._asked_at
        return asked_at is not None and time.monotonic() - asked_at > STALLED_SECONDS

    def look_around(self) -> None:
        """See :meth:`Bus.look_around`; Redis knows who listens."""

    async def _keep(self, what: str, work: Callable[[Redis], Awaitable[None]]) -> None:
        # Do ``work`` on a dedicated connection, and again on a new one whenever that is lost.
        failures = 0
        while True:
            try:
                # Closing it may fail as well: whatever happens to a connection, another follows.
                async with make_redis(self._url, connections=1) as redis:
                    try:
                        await redis.ping()
                        failures = 0
                        await work(redis)
                    finally:
                        self._set_up(what, up=False)
                        self._drop_waiting()
            except FAILURES as error:
                logger.warning("bus over Redis, %s: %s", what, error)
            await asyncio.sleep(BACKOFF.seconds(failures, random.random()))
            failures += 1

    async def _publish_waiting(self, redis: Redis) -> None:
        self._set_up("publishing", up=True)
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < AT_ONCE and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            self._asked_at = time.monotonic()
            try:
                async with redis.pipeline(transaction=False) as pipe:
                    for packet, _ in batch:
                        pipe.publish(self._channel, packet)
                    receivers = await pipe.execute()
            except BaseException:
                self._drop(batch)
                raise
            finally:
                self._asked_at = None
            for (_, handed), count in zip(batch, receivers, strict=True):
                self.status.published += 1
                self.status.peers = max(0, count - self._up["subscribed"])
                if handed is not None and not handed.done():
                    handed.set_result(self.status.peers)

    async def _listen(self, redis: Redis, deliver: Deliver) -> None:
        async with redis.pubsub() as subscription:
            await subscription.subscribe(self._channel)
            heard_at = time.monotonic()
            while True:
                message = await subscription.get_message(timeout=TIMEOUT_SECONDS / 2)
                now = time.monotonic()
                if message is None:
                    if now - heard_at > 2 * TIMEOUT_SECONDS:
                        raise ConnectionError(f"nothing heard for {now - heard_at:.1f} s")
                    await subscription.ping()
                    continue
                heard_at = now
                if message["type"] == "subscribe":
                    self._set_up("subscribed", up=True)
                elif message["type"] == "message":
                    self._take(message["data"], deliver)

    def _take(self, packet: bytes, deliver: Deliver) -> None:
        try:
            payload = self._arrivals.take(packet)
            self.status.missed = self._arrivals.missed
            if payload is not None:
                self.status.received += 1
                deliver(payload)
        except Exception:
            logger.exception("a payload of another worker")

    def _set_up(self, what: str, *, up: bool) -> None:
        self._up[what] = up
        self._tried[what].set()
        connected = all(self._up.values())
        if self.status.connected and not connected:
            self._lost_at = time.monotonic()
        elif connected and not self.status.connected and self._lost_at is not None:
            self.status.reconnects += 1
            self.status.gap_seconds += time.monotonic() - self._lost_at
            self._lost_at = None
        self.status.connected = connected

    def _drop_waiting(self) -> None:
        if not self._up["publishing"]:
            while not self._waiting.empty():
                self._drop([self._waiting.get_nowait()])

    def _drop(self, batch: list[Waiting]) -> None:
        for _, handed in batch:
            self.status.dropped += 1
            if handed is not None and not handed.done():
                handed.set_result(0)
