"""The drain by itself: who is asked, told, waited for, closed, and how it is forced."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading

import pytest
import uvicorn
from websockets.asyncio.client import connect

from target_app.app import create_app
from target_app.lifecycle.drain import GracefulShutdown
from target_app.settings import Settings
from tests.target_app.conftest import DEADLINE_SECONDS, until


class FakeClients:
    """Clients that leave when told, and a note of how the rest was closed."""

    def __init__(self, count):
        self.count = count
        self.left = asyncio.Event()
        self.closed_with = None

    def __len__(self):
        return self.count

    def leave(self):
        self.count = 0
        self.left.set()

    async def wait_empty(self):
        if self.count:
            await self.left.wait()

    async def close_all(self, code, reason, within_seconds):
        self.closed_with = code
        self.leave()


def drain_of(clients, *, announce=None, announce_seconds=1000.0, timeout_seconds=1000.0):
    async def nothing():
        pass

    return GracefulShutdown(
        clients,
        announce or nothing,
        announce_seconds=announce_seconds,
        timeout_seconds=timeout_seconds,
        close_timeout_seconds=1.0,
    )


async def test_a_drain_ends_when_the_last_client_has_left():
    clients = FakeClients(1)
    announced = []

    async def announce():
        announced.append(len(clients))
        if len(announced) == 3:
            clients.leave()

    drain = drain_of(clients, announce=announce, announce_seconds=0.001)
    assert not drain.draining
    drain.ask(signal.SIGTERM)
    assert drain.draining
    await drain.run()
    # The next one may be due in the moment in which the last client leaves.
    assert announced[:3] == [1, 1, 1]
    assert clients.closed_with is None
    assert not drain.forced


async def test_a_drain_that_times_out_closes_with_1001():
    clients = FakeClients(1)
    drain = drain_of(clients, timeout_seconds=0.0)
    drain.ask(signal.SIGTERM)
    await drain.run()
    assert clients.closed_with == 1001


async def test_an_announcement_that_cannot_be_made_does_not_hold_up_the_drain():
    clients = FakeClients(1)
    drain = drain_of(clients, announce=asyncio.Event().wait, timeout_seconds=0.001)
    drain.ask(signal.SIGTERM)
    await drain.run()
    assert clients.closed_with == 1001


async def test_an_announcement_that_fails_is_logged_and_the_next_one_is_made(caplog):
    clients = FakeClients(1)
    announced = []

    async def announce():
        announced.append(1)
        if len(announced) == 3:
            clients.leave()
        raise LookupError("expected in this test")

    drain = drain_of(clients, announce=announce, announce_seconds=0.001)
    drain.ask(signal.SIGTERM)
    async with asyncio.timeout(DEADLINE_SECONDS):
        await drain.run()
    told = [record for record in caplog.records if record.message == "announcing the drain"]
    assert len(told) >= 3
    assert "expected in this test" in str(told[0].exc_info[1])


async def test_one_sigquit_forces_the_end_with_1012():
    clients = FakeClients(1)
    drain = drain_of(clients)
    drain.ask(signal.SIGQUIT)
    await drain.run()
    assert drain.forced
    assert clients.closed_with == 1012


async def test_two_sigints_force_the_end_with_1012():
    clients = FakeClients(1)
    drain = drain_of(clients)
    drain.ask(signal.SIGINT)
    drain.ask(signal.SIGINT)
    await drain.run()
    assert drain.forced
    assert clients.closed_with == 1012


async def test_the_kept_handler_is_called_after_the_drain_and_stays_installed():
    called = []

    def server_handler(signum, frame):
        called.append((signum, clients.count))

    before = {s: signal.signal(s, server_handler) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        clients = FakeClients(1)
        drain = drain_of(clients)
        task = asyncio.create_task(drain.run_and_hand_over())
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGTERM)
        while not drain.draining:  # noqa: ASYNC110 - a loop turn, not a time
            await asyncio.sleep(0)
        assert called == []
        clients.leave()
        await task
        assert called == [(signal.SIGTERM, 0)]
        assert signal.getsignal(signal.SIGTERM) is server_handler
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


async def test_the_lifespan_leaves_the_signal_handlers_as_it_found_them():
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)
    before = [signal.getsignal(s) for s in signals]
    app = create_app(Settings(heartbeat_seconds=0))
    async with app.router.lifespan_context(app):
        await asyncio.sleep(0)
        assert signal.getsignal(signal.SIGTERM) is not before[1]
    assert [signal.getsignal(s) for s in signals] == before


def test_outside_the_main_thread_the_lifespan_runs_without_catching_signals():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    async def live():
        app = create_app(Settings(heartbeat_seconds=0))
        async with app.router.lifespan_context(app):
            await asyncio.sleep(0)
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=lambda: asyncio.run(live()))
    thread.start()
    thread.join()
    assert seen == [before]


@pytest.mark.parametrize("place", ["task", "thread"])
async def test_a_program_drains_its_server_by_asking_and_stops_it_when_that_is_over(place):
    app = create_app(Settings(heartbeat_seconds=0, announce_limit=0, drain_timeout_seconds=1000))
    config = uvicorn.Config(app, log_config=None, ws="websockets-sansio")
    server = uvicorn.Server(config)
    loops = []

    async def serve(listener):
        loops.append(asyncio.get_running_loop())
        await server.serve(sockets=[listener])

    async def stop():
        app.services.drain.ask(signal.SIGTERM)
        await app.services.drain.wait_over()
        server.should_exit = True

    async def started():
        return server.started

    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}/ws"
        serving = serve(listener)
        if place == "thread":
            serving = asyncio.to_thread(asyncio.run, serving)
        serving = asyncio.create_task(serving)
        await until(started)
        async with connect(url, proxy=None, open_timeout=DEADLINE_SECONDS) as client:
            stopping = asyncio.run_coroutine_threadsafe(stop(), loops[0])
            assert await client.recv() == "Server is shutting down, please disconnect."
            assert not server.should_exit
        await asyncio.wait_for(asyncio.wrap_future(stopping), DEADLINE_SECONDS)
        await asyncio.wait_for(serving, DEADLINE_SECONDS)
