"""Whoever starts the server: a program of somebody's own, or uvicorn's reloader, outlives it."""

from __future__ import annotations

import asyncio
import os
import signal

import httpx
import pytest

from target_app.lifecycle.workers import run_dir
from tests.target_app.conftest import DEADLINE_SECONDS, spawn, until

PATIENT = {"TARGET_DRAIN_TIMEOUT_SECONDS": "1000", "TARGET_DRAIN_ANNOUNCE_SECONDS": "1000"}
LAUNCHER = "tests.target_app.launcher"
APP = """
from fastapi import WebSocket
from target_app import create_app

app = create_app()


@app.get("/version")
async def version() -> int:
    return 1


@app.websocket("/loop")
async def loop(websocket: WebSocket) -> None:
    await websocket.accept()
    while True:
        await websocket.receive_text()
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
async def test_a_program_that_runs_the_server_in_a_process_goes_on_when_that_stops(serve, method):
    server = await serve(method, module=LAUNCHER, **PATIENT)
    await until_version(server, "/healthz", {"status": "ok"})
    [worker] = (await server.stats())["workers"]
    client = await server.connect()
    os.kill(worker["pid"], signal.SIGTERM)
    await server.until_stats(draining=True)
    await client.close()
    assert await server.exit_status() == 0
    await server.last_words()
    assert f"the launcher goes on after {-signal.SIGTERM}\n" in server.lines
    assert not any("master" in line for line in server.lines)


async def test_a_server_in_a_process_of_somebodys_program_has_nobody_to_meet(serve):
    server = await serve("spawn", module=LAUNCHER)
    await until_version(server, "/healthz", {"status": "ok"})
    [worker] = (await server.stats())["workers"]
    assert worker["bus"]["kind"] == "local"
    assert run_dir(None, worker["pid"]).exists()
    assert not run_dir(None, server.process.pid).exists()


async def test_a_wrong_setting_ends_a_process_of_somebodys_program_with_2():
    process = await spawn("-m", LAUNCHER, "spawn", "--port", "0", TARGET_TOKEN="")
    async with asyncio.timeout(DEADLINE_SECONDS):
        _, stderr = await process.communicate()
    assert "TARGET_TOKEN: Value error, it is empty" in stderr.decode()
    assert "the launcher goes on after 2\n" in stderr.decode()


@pytest.fixture
def reloaded(serve, tmp_path):
    """Start ``uvicorn --reload``; return the server and what edits its application."""
    file = tmp_path / "edited.py"

    async def begin():
        file.write_text(APP)
        server = await serve(
            *("--reload", "--reload-dir", str(tmp_path), "--app-dir", str(tmp_path)),
            module="uvicorn",
            app="edited:app",
            # Both versions are as long, and may be written within one tick of the file system.
            PYTHONDONTWRITEBYTECODE="1",
            **PATIENT,
        )
        await until_version(server, "/version", 1)

        async def edit():
            file.write_text(APP.replace("return 1", "return 2"))

            # The reloader has to have seen the file once to notice that it is newer.
            async def noticed():
                file.touch()
                return any("Reloading" in line for line in server.lines)

            await until(noticed)

        return server, edit

    return begin


async def until_version(server, path, version):
    """Wait until ``path`` is answered with ``version``: a process comes, or another has gone."""

    async def answered():
        try:
            return await server.get(path) == version
        except httpx.TransportError:
            return False

    await until(answered)


async def test_an_edit_reloads_the_server_and_leaves_the_reloader(reloaded):
    server, edit = await reloaded()
    await edit()
    await until_version(server, "/version", 2)
    assert (await server.stats())["workers"][0]["bus"]["kind"] == "local"
    server.send_signal(signal.SIGTERM)
    await server.exit_status()
    await server.last_words()
    assert any("Stopping reloader process" in line for line in server.lines)
    assert not any("master" in line for line in server.lines)


async def test_a_reload_closes_who_is_connected_with_1012_and_does_not_wait(reloaded):
    server, edit = await reloaded()
    clients = [await server.connect(path) for path in ("/ws", "/ws/a-session", "/loop")]
    deaf = await server.connect_raw()
    await edit()
    async with asyncio.timeout(DEADLINE_SECONDS):
        for client in clients:
            await client.wait_closed()
            assert client.close_code == 1012
    assert await deaf.close_code(answer=False) == 1012
    await until_version(server, "/version", 2)


async def test_ctrl_c_ends_a_server_that_reloads_and_does_not_wait(reloaded):
    server, _ = await reloaded()
    client = await server.connect()
    os.killpg(server.process.pid, signal.SIGINT)
    async with asyncio.timeout(DEADLINE_SECONDS):
        await client.wait_closed()
    assert client.close_code == 1012
    await server.exit_status()
