"""The process: heartbeat, HTTP endpoints, command line."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import socket
import tempfile

import pytest
from websockets.exceptions import ConnectionClosed

from target_app.lifecycle.workers import Worker, run_dir
from tests.target_app.conftest import (
    DEADLINE_SECONDS,
    Server,
    kill_group,
    spawn,
    spawn_unread,
    until,
)

RUNNING = "Server is running..."


async def test_the_heartbeat_reaches_every_broadcast_client_and_no_echo_client(serve):
    server = await serve("--heartbeat-seconds", "0.02")
    clients = [await server.connect() for _ in range(3)]
    echo = await server.connect("/echo")
    for client in clients:
        assert [await client.recv() for _ in range(3)] == [RUNNING] * 3
    await echo.send("mine")
    assert await echo.recv() == "mine"


async def test_the_root_says_hello(serve):
    server = await serve()
    assert await server.get("/") == {"message": "Hello World"}


async def test_healthz_is_ok_while_the_server_runs(serve):
    server = await serve()
    response = await server.http.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_stats_counts_exactly(serve):
    server = await serve()
    clients = [await server.connect() for _ in range(3)]
    echo = await server.connect("/echo")
    for sender, message in ((clients[0], "one"), (clients[1], b"two")):
        await sender.send(message)
        assert [await client.recv() for client in clients] == [message] * 3
    for _ in range(4):
        await echo.send("echo")
        await echo.recv()
    await clients[2].close(4321, "enough")
    await echo.close()
    stats = await server.until_stats(open={"/ws": 2})
    [worker] = stats["workers"]
    uptime_seconds = worker["uptime_seconds"]
    assert 0 < uptime_seconds < (await server.stats())["workers"][0]["uptime_seconds"]
    assert worker["pid"] == server.process.pid
    assert worker["event_loop"] == "uvloop"
    assert worker["bus"]["kind"] == "local"
    counts = {
        "accepted": 4,
        "refused": {},
        "messages_received": 6,
        "messages_sent": 10,
        "messages_dropped": 0,
        "broadcasts": 2,
        "lagging": 0,
        "slow_consumers_closed": 0,
        "pings_unanswered": 0,
        "rate_limited": 0,
        "sessions_forgotten": 0,
        "closed_by_code": {"1000": 1, "4321": 1},
        "rooms": {"chat:lobby": 2},
        "answers_waiting": 0,
        "draining": False,
    }
    assert {name: worker[name] for name in counts} == counts
    assert {name: stats[name] for name in counts} == counts


async def test_without_a_heartbeat_nothing_is_broadcast_by_itself(serve):
    server = await serve("--heartbeat-seconds", "0")
    client = await server.connect()
    await client.send("alone")
    assert await client.recv() == "alone"
    assert (await server.stats())["broadcasts"] == 1


async def test_a_port_in_use_is_told_in_one_line_with_status_2(run_to_end):
    with socket.create_server(("127.0.0.1", 0)) as occupant:
        port = occupant.getsockname()[1]
        status, told = await run_to_end("--port", str(port))
    assert status == 2
    assert told == (
        f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another with "
        "--host and --port (--port 0 takes any free one)\n"
    )


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--no-such-flag"], "unrecognized arguments: --no-such-flag"),
        (["--port", "70000"], "--port '70000': Input should be less than or equal to 65535"),
        (["--port", "http"], "--port 'http': Input should be a valid integer"),
        (["--drain-timeout-seconds", "-1"], "--drain-timeout-seconds '-1': Input should be gre"),
        (["--heartbeat-seconds", "nan"], "--heartbeat-seconds 'nan': Input should be a finite"),
        (["--log-level", "loud"], "--log-level 'loud': Input should be 'critical', 'error'"),
        (["--allowed-origins", "*"], "--allowed-origins '*': Value error, to allow all, do not"),
        (["--bus", "redis://:hidden@host:bad/0"], "--bus 'redis://host:bad/0': Value error, its"),
        (["--redis-url", "redis://:hidden@h/production"], "--redis-url 'redis://h/production': V"),
    ],
)
async def test_a_wrong_flag_is_told_with_status_2(run_to_end, flags, told):
    status, stderr = await run_to_end(*flags)
    assert status == 2
    assert told in stderr
    assert "Traceback" not in stderr
    assert "hidden" not in stderr


async def test_a_wrong_environment_variable_is_told_with_status_2(run_to_end):
    status, stderr = await run_to_end("--port", "0", TARGET_HEARTBEAT_SECONDS="often")
    assert status == 2
    assert "TARGET_HEARTBEAT_SECONDS 'often': Input should be a valid number" in stderr
    assert "Traceback" not in stderr


async def test_a_flag_wins_over_the_environment_even_a_wrong_one(serve):
    server = await serve("--heartbeat-seconds", "0.01", TARGET_HEARTBEAT_SECONDS="often")
    client = await server.connect()
    assert await client.recv() == RUNNING


async def test_under_another_websocket_implementation_plain_asgi_is_enough(serve):
    server = await serve(
        *("--ws", "websockets"),
        module="uvicorn",
        app="target_app.app:app",
        TARGET_SLOW_CONSUMER_SECONDS=str(DEADLINE_SECONDS),
    )
    one, two = await server.connect("/ws"), await server.connect("/ws/7")
    for sender, said, heard in ((one, "hello", "hello"), (two, "hi", "Client 7: hi")):
        await sender.send(said)
        assert [await client.recv() for client in (one, two)] == [heard] * 2
    stalled = await server.connect_raw()
    for n in range(40):
        await one.send(f"{n:>65536}")
        assert int(await one.recv()) == n
    assert [int(text) for text in await stalled.texts(40)] == list(range(40))


async def test_a_server_that_lost_one_of_its_tasks_stops_rather_than_go_on_half_alive(serve):
    server = await serve(module="uvicorn", app="tests.target_app.broken:app")
    client = await server.connect()
    with pytest.raises(ConnectionClosed):
        await client.recv()
    await server.exit_status()
    await server.last_words()
    assert any("a task of the server failed" in line for line in server.lines)
    assert any("expected in this test" in line for line in server.lines)


async def spawn_failing(how):
    return await spawn(
        "-c",
        "import sys\n"
        "from target_app import __main__ as it\n"
        "from tests.target_app import broken\n"
        f"broken.app.services.keepalive.run = broken.{how}\n"
        "it.create_app = lambda *given, **options: broken.app\n"
        "sys.exit(it.main(['--port', '0']))\n",
    )


async def test_a_server_that_failed_does_not_exit_as_one_that_was_stopped():
    server = Server(await spawn_failing("later"))
    await server.start()
    try:
        await server.connect()
        assert await server.exit_status() == 1
    finally:
        await server.stop()


async def test_a_server_that_cannot_start_exits_with_3():
    process = await spawn_failing("at_once")
    async with asyncio.timeout(DEADLINE_SECONDS):
        _, told = await process.communicate()
    assert process.returncode == 3, told.decode()


STOCK = ("-m", "uvicorn", "target_app.app:app", "--port", "0")


@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"TARGET_HEARTBEAT_SECONDS": "often"}, "TARGET_HEARTBEAT_SECONDS 'often': Input should"),
        ({"TARGET_TOKEN": ""}, "TARGET_TOKEN: Value error, it is empty"),
        ({"TARGET_ALLOWED_ORIGINS": "a.example"}, "browsers send https://a.example"),
        ({"TARGET_BUS": "redis://:pw@host:bad/0"}, "TARGET_BUS 'redis://host:bad/0': Value error"),
        ({"TARGET_REDIS_URL": "redis://host/x"}, "its database is not a number"),
        ({"TARGET_TOKNE": "x"}, "did you mean TARGET_TOKEN?"),
        ({"TARGET_RUN_DIR": "/proc/nowhere"}, "run_dir '/proc/nowhere' cannot be used"),
    ],
)
async def test_stock_uvicorn_ends_with_one_line_on_a_wrong_setting(wrong, problem, workers):
    process = await spawn(*STOCK, *workers, **wrong)
    async with asyncio.timeout(DEADLINE_SECONDS):
        _, stderr = await process.communicate()
    text = stderr.decode()
    assert "Traceback" not in text
    lines = [line for line in text.splitlines() if not line.startswith("INFO")]
    assert problem in lines[0]
    assert process.returncode == (0 if workers else 2)


@pytest.mark.parametrize("directory", ["/proc/nowhere", "/dev/null", "/dev/null/below"])
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_run_dir_that_cannot_be_made_is_told_with_status_2(run_to_end, directory, workers):
    status, told = await run_to_end("--port", "0", "--workers", workers, "--run-dir", directory)
    assert status == 2
    assert f"run_dir '{directory}' cannot be used" in told
    assert "Traceback" not in told


async def test_one_process_has_an_alive_file_while_it_runs_and_a_done_file_when_drained(serve):
    server = await serve("--drain-announce-seconds", "1000")
    directory = run_dir(None, server.process.pid)
    name = Worker.of(server.process.pid).name
    assert [file.name for file in directory.iterdir()] == [f"{name}.alive"]
    client = await server.connect()
    await server.drain()

    async def marked():
        return {file.suffix for file in directory.iterdir()} == {".alive", ".draining"}

    await until(marked)
    await client.close()
    assert await server.exit_status() == 0
    assert not directory.exists()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_server_whose_directory_was_removed_drains_all_the_same(serve, workers):
    server = await serve("--workers", workers, "--drain-announce-seconds", "1000")
    clients = [await server.connect() for _ in range(4)]
    shutil.rmtree(run_dir(None, server.process.pid))
    server.send_signal(signal.SIGTERM)
    for client in clients:
        assert await client.recv() == "Server is shutting down, please disconnect."
        await client.close()
    assert await server.exit_status() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_server_that_nobody_reads_serves_and_stops_all_the_same(serve, workers):
    server = await serve("--workers", workers, is_read=False)
    client = await server.connect()
    await client.send("hello")
    assert await client.recv() == "hello"
    await client.close()
    server.send_signal(signal.SIGTERM)
    assert await server.exit_status() == 0


@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
async def test_stock_uvicorn_ends_on_a_wrong_setting_that_nobody_is_told_of(workers):
    process = await spawn_unread(*STOCK, *workers, TARGET_TOKEN="")
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert await process.wait() == (0 if workers else 2)
    finally:
        await kill_group(process)


async def test_the_workers_end_with_a_parent_that_fails():
    process = await spawn(
        "-c",
        "from target_app import __main__ as it\n"
        "def fail(listener): raise LookupError('expected in this test')\n"
        "it._announce = fail\n"
        "it.main(['--port', '0', '--workers', '2'])\n",
    )
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            _, told = await process.communicate()
    finally:
        await kill_group(process)
    assert process.returncode == 1
    assert told.decode().splitlines()[-1] == "LookupError: expected in this test"


async def test_what_a_killed_server_left_behind_is_removed_by_the_next_one(serve):
    killed = await serve()
    directory = run_dir(None, killed.process.pid)
    assert directory.exists()
    killed.process.kill()
    await killed.process.wait()
    with tempfile.TemporaryDirectory(prefix="swarmgate-x-"):  # somebody else's
        await serve()
    assert not directory.exists()


# A handshake, or a request, that does not come to an end

HALVES = {
    "nothing": b"",
    "half a line": b"GET /ws HT",
    "headers without an end": b"GET /ws HTTP/1.1\r\nHost: x\r\n",
    "half a body": b"POST /broadcast HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
    "a second request": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /heal",
}


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_who_does_not_finish_a_request_is_cut_and_who_is_connected_stays(serve, workers):
    # Far longer than a busy machine takes for a handshake that does come to an end.
    server = await serve("--handshake-seconds", "2", "--workers", workers)
    client = await server.connect()
    cut = [await half_open(server, half) for half in HALVES.values() for _ in range(20)]
    for reader, _ in cut:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await read_to_the_end(reader)
    await client.send("still here")
    assert await client.recv() == "still here"
    for _, writer in cut:
        writer.close()


async def test_a_drop_now_and_then_does_not_keep_a_handshake_open(serve):
    server = await serve("--handshake-seconds", "0.5")
    reader, writer = await half_open(server, b"GET /ws HTTP/1.1\r\nHost: x\r\n")
    ended = asyncio.create_task(read_to_the_end(reader))

    async def drip():
        while not ended.done():
            writer.write(b"X: y\r\n")
            await asyncio.sleep(0.05)

    async with asyncio.timeout(DEADLINE_SECONDS):
        await drip()
    writer.close()


async def test_a_body_that_keeps_coming_is_waited_for(serve):
    # The next part of the body comes far sooner than this, on a busy machine too.
    server = await serve("--handshake-seconds", "3")
    started = asyncio.get_running_loop().time()

    async def slowly():
        yield b'{"message": "'
        while asyncio.get_running_loop().time() < started + 4:
            yield b"x"
            await asyncio.sleep(0.05)
        yield b'"}'

    headers = {"Content-Type": "application/json"}
    answer = await server.http.post("/broadcast", content=slowly(), headers=headers)
    assert answer.json() == {"reached": 0}


async def test_without_a_limit_a_handshake_may_take_its_time(serve):
    server = await serve("--handshake-seconds", "0")
    reader, writer = await half_open(server, b"GET /healthz HT")
    assert (await server.http.get("/healthz")).status_code == 200
    writer.write(b"TP/1.1\r\nHost: x\r\n\r\n")
    assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
    writer.close()


async def half_open(server, half):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(half)
    return reader, writer


async def read_to_the_end(reader):
    with contextlib.suppress(ConnectionResetError):
        while await reader.read(65536):
            pass
