"""Several workers: one server to its clients, whoever starts it and whatever happens to one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import threading
import time

import httpx
import psutil
import pytest
import uvicorn

import target_app.__main__
from target_app.lifecycle import supervisor
from target_app.lifecycle.workers import Worker, run_dir
from tests.target_app.conftest import DEADLINE_SECONDS, kill_group, spawn, until
from tests.target_app.session_messages import event_of, question, said

SHUTTING_DOWN = "Server is shutting down, please disconnect."
WORKERS = 3
PATIENT = {"TARGET_DRAIN_TIMEOUT_SECONDS": "1000", "TARGET_DRAIN_ANNOUNCE_SECONDS": "1000"}


@pytest.fixture(params=["swarmgate", "uvicorn"])
def start(request, serve):
    """Start a server with several workers, in one of the two ways, and wait until all are there."""

    async def begin(**environment):
        options = {} if request.param == "swarmgate" else {"app": "target_app.app:app"}
        module = "target_app" if request.param == "swarmgate" else "uvicorn"
        flags = ["--workers", str(WORKERS)]
        if module == "uvicorn":
            # It kills a worker that has not answered for five seconds, on a busy machine as well;
            # and it waits so long for one that was killed just when it had been asked.
            flags += ["--timeout-worker-healthcheck", str(round(DEADLINE_SECONDS / 2))]
        server = await serve(*flags, module=module, **options, **environment)
        await until_all_answer(server)
        return server

    return begin


async def until_all_answer(server, workers=WORKERS):
    async def all_answer():
        seen = await workers_of(server)
        return len(seen) == workers and {w["bus"]["peers"] for w in seen} == {workers - 1}

    await until(all_answer)


async def until_replaced(server, pid):
    async def replaced():
        pids = {worker["pid"] for worker in await workers_of(server)}
        return len(pids) == WORKERS and pid not in pids

    await until(replaced)


async def workers_of(server):
    """Return the workers that answer; none while the one that was asked comes or goes."""
    try:
        return (await server.stats())["workers"]
    except httpx.TransportError:
        return []


async def clients_of(server, path="/ws"):
    """Return clients until every worker has at least two."""
    clients = []
    while True:
        stats = await server.stats()
        counts = [sum(worker["open"].values()) for worker in stats["workers"]]
        if len(counts) == WORKERS and min(counts) >= 2:
            return clients
        clients += [await server.connect(path) for _ in range(8)]


def processes(server):
    """Return all processes of the server, itself first."""
    master = psutil.Process(server.process.pid)
    return [master, *master.children(recursive=True)]


async def ended(server, tree):
    """Assert that the server ends with 0 and nothing of it is left behind."""
    directory = run_dir(None, server.process.pid)
    status = await server.exit_status()
    assert status == 0, server.lines
    await nothing_is_left_of(tree)
    assert not directory.exists()


async def nothing_is_left_of(tree):
    # Python's own resource tracker ends when it sees that its parent has.
    async def all_gone():
        return not any(process.is_running() for process in tree)

    await until(all_gone)


async def heard(client, text):
    """Read on until ``text`` comes."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await client.recv() != text:
            pass


async def test_a_broadcast_reaches_the_clients_of_every_worker(start):
    server = await start()
    clients = await clients_of(server)
    await clients[0].send("hello")
    for client in clients:
        assert await client.recv() == "hello"
    await server.until_reached(len(clients), message="all")
    await server.until_stats(
        open={"/ws": len(clients)}, rooms={"chat:lobby": len(clients)}, silent_workers=0
    )


async def test_the_order_of_each_sender_is_kept_across_workers(start):
    server = await start()
    clients = await clients_of(server)
    senders, each = clients[:4], 50

    async def send_all(name, client):
        for n in range(each):
            await client.send(f"{name}:{n}")

    async def receive_all(client):
        return [await client.recv() for _ in range(each * len(senders))]

    async with asyncio.TaskGroup() as group:
        reading = [group.create_task(receive_all(client)) for client in clients]
        for name, client in enumerate(senders):
            group.create_task(send_all(name, client))
    for task in reading:
        for name in range(len(senders)):
            own = [text for text in task.result() if text.startswith(f"{name}:")]
            assert own == [f"{name}:{n}" for n in range(each)]


async def test_programs_and_sessions_are_found_on_whichever_worker_they_are(start):
    server = await start(TARGET_ANSWER_SECONDS="0")
    programs = await clients_of(server, "/ws/py_client")
    ids = [(await server.event(program))["client_id"] for program in programs]
    for program, own_id in zip(programs, ids, strict=True):
        sent = {"event": "send_to_client", "client_id": own_id, "data": {"data": {"n": own_id}}}
        await programs[0].send(json.dumps(sent))
        assert (await server.event(program))["data"]["data"] == {"n": own_id}
    session = await server.connect("/ws/wanderer")
    await session.send(said("READING_PROGRESS", page=1))
    await session.send(question("kept?"))
    await event_of(server, session, "INTERRUPTION_ACKNOWLEDGED")
    for page in range(1, 8):
        again = await server.connect("/ws/wanderer")
        restored = await server.event(again)
        assert (restored["type"], restored["payload"]) == ("SESSION_RESTORED", {"page": page})
        await asyncio.wait_for(session.wait_closed(), DEADLINE_SECONDS)
        assert session.close_code == 4001
        await again.send(said("READING_PROGRESS", page=page + 1))
        await again.send(question("kept?"))
        await event_of(server, again, "INTERRUPTION_ACKNOWLEDGED")
        session = again


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_a_drain_tells_everyone_and_ends_when_the_last_has_left(start, signum):
    server = await start(**PATIENT)
    clients = await clients_of(server)
    tree = processes(server)
    server.send_signal(signum)
    for client in clients:
        await heard(client, SHUTTING_DOWN)
    assert await server.refused() == 503
    assert (await server.http.get("/readyz")).status_code == 503
    for client in clients[1:]:
        await client.close()
    await clients[0].send("alone")
    await heard(clients[0], "alone")
    await clients[0].close()
    await ended(server, tree)


async def test_a_drain_closes_the_rest_of_every_worker_with_1001(start):
    server = await start(**PATIENT | {"TARGET_DRAIN_TIMEOUT_SECONDS": "0.3"})
    clients = await clients_of(server)
    tree = processes(server)
    server.send_signal(signal.SIGTERM)
    for client in clients:
        await asyncio.wait_for(client.wait_closed(), DEADLINE_SECONDS)
        assert client.close_code == 1001
    await ended(server, tree)


async def test_a_terminals_ctrl_c_reaches_everyone_and_the_first_is_not_force(start):
    server = await start(**PATIENT)
    clients = await clients_of(server)
    tree = processes(server)
    os.killpg(server.process.pid, signal.SIGINT)
    for client in clients:
        await heard(client, SHUTTING_DOWN)
    await clients[0].send("still here")
    await heard(clients[0], "still here")
    for client in clients:
        await client.close()
    await ended(server, tree)


async def test_a_second_ctrl_c_forces(start):
    server = await start(**PATIENT)
    clients = await clients_of(server)
    tree = processes(server)
    os.killpg(server.process.pid, signal.SIGINT)
    for client in clients:
        await heard(client, SHUTTING_DOWN)
    os.killpg(server.process.pid, signal.SIGINT)
    for client in clients:
        await asyncio.wait_for(client.wait_closed(), DEADLINE_SECONDS)
        assert client.close_code == 1012
    await server.exit_status()
    await nothing_is_left_of(tree)


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
async def test_sigints_to_the_master_alone_force_when_there_are_two(serve, first):
    server = await serve("--workers", str(WORKERS), "--log-level", "info", **PATIENT)
    await until_all_answer(server)
    clients = await clients_of(server)
    tree, directory = processes(server), run_dir(None, server.process.pid)
    server.send_signal(first)
    for client in clients:
        await heard(client, SHUTTING_DOWN)
    server.send_signal(signal.SIGINT)
    if first == signal.SIGTERM:
        await clients[0].send("one does not force")
        await heard(clients[0], "one does not force")
        # Two that are pending at one time are one to whom they are sent (signal(7)).
        await server.says("Received SIGINT")
        server.send_signal(signal.SIGINT)
    for client in clients:
        await asyncio.wait_for(client.wait_closed(), DEADLINE_SECONDS)
        assert client.close_code == 1012
    assert await server.exit_status() == 130
    await nothing_is_left_of(tree)
    assert not directory.exists()


async def test_a_master_that_replaces_its_workers_still_hears_that_it_should_stop(serve):
    server = await serve("--workers", str(WORKERS), **PATIENT)
    await until_all_answer(server)
    clients = await clients_of(server)
    server.send_signal(signal.SIGHUP)
    told = {asyncio.create_task(heard(client, SHUTTING_DOWN)) for client in clients}
    await asyncio.wait(told, return_when=asyncio.FIRST_COMPLETED, timeout=DEADLINE_SECONDS)
    tree = processes(server)
    server.send_signal(signal.SIGTERM)
    await asyncio.wait(told, timeout=DEADLINE_SECONDS)
    for client in clients:
        await client.close()
    await ended(server, tree)


async def test_a_master_whose_worker_hangs_still_hears_that_it_should_stop(serve):
    server = await serve(
        "--workers", str(WORKERS), "--worker-healthcheck-seconds", "1000", "--log-level", "info"
    )
    await until_all_answer(server)
    hung, workers = (await server.stats())["workers"][0]["pid"], len(processes(server))
    os.kill(hung, signal.SIGSTOP)
    # Once it has started another, it asks all of them whether they are alive.
    server.send_signal(signal.SIGTTIN)

    async def one_more():
        return len(processes(server)) > workers

    await until(one_more)
    tree = processes(server)
    server.send_signal(signal.SIGTERM)
    await server.says("Received SIGTERM")
    os.kill(hung, signal.SIGCONT)
    await ended(server, tree)


@pytest.mark.parametrize(("flags", "seconds"), [((), 60), (("7",), 7)])
def test_the_master_gives_a_worker_a_minute_to_answer_or_what_it_is_told(
    monkeypatch, flags, seconds
):
    given = []

    class Recorded:
        failed = forced = False

        def __init__(self, config, _sockets, _on_ready):
            given.append(config.timeout_worker_healthcheck)

        def run(self):
            pass

    monkeypatch.setattr(target_app.__main__, "Supervisor", Recorded)
    # What it tells its workers there would be told to other tests, too.
    monkeypatch.setattr(os, "environ", dict(os.environ))
    flags = [part for flag in flags for part in ("--worker-healthcheck-seconds", flag)]
    assert target_app.__main__.main(["--port", "0", "--workers", "2", *flags]) == 0
    assert given == [seconds]


async def test_a_worker_that_hangs_is_killed_in_its_time_and_not_in_uvicorns(serve):
    # uvicorn's own time is 5 s. One hangs for as long as two others, which are asked one after the
    # other, take to be killed after 4 s each.
    flags = ("--workers", "2", "--log-level", "info", "--worker-healthcheck-seconds")
    patient, impatient = await serve(*flags, "1000"), await serve(*flags, "4")
    for server in (patient, impatient):
        await until_all_answer(server, workers=2)
    stays = (await workers_of(patient))[0]["pid"]
    killed = [worker["pid"] for worker in await workers_of(impatient)]
    for hung in (stays, *killed):
        os.kill(hung, signal.SIGSTOP)
    for hung in killed:
        await impatient.says(f"Waiting for child process [{hung}]")
    os.kill(stays, signal.SIGCONT)
    await until_all_answer(patient, workers=2)
    assert stays in {worker["pid"] for worker in await workers_of(patient)}


async def test_a_master_that_gives_up_a_worker_still_hears_that_it_should_stop(serve):
    server = await serve("--workers", str(WORKERS), **PATIENT)
    await until_all_answer(server)
    clients = await clients_of(server)
    tree = processes(server)
    server.send_signal(signal.SIGTTOU)
    told = {asyncio.create_task(heard(client, SHUTTING_DOWN)) for client in clients}
    await asyncio.wait(told, return_when=asyncio.FIRST_COMPLETED)
    server.send_signal(signal.SIGTERM)
    await asyncio.wait(told)
    for client in clients:
        await client.close()
    await ended(server, tree)


@pytest.mark.parametrize("patience", ["0.5", "1000"])
async def test_workers_that_start_slowly_are_told_of_when_they_serve(tmp_path, patience):
    async with slowly_started(tmp_path / "serve now", patience) as (process, read_until):
        await read_until("Waiting for application startup", "Waiting for application startup")
        (tmp_path / "serve now").touch()
        assert "startup complete" in await read_until("startup complete", "listening")
        process.send_signal(signal.SIGTERM)
        await read_until("Stopping parent process")


def test_a_worker_that_is_asked_while_its_server_is_made_tells_of_that_one(monkeypatch):
    class Slow:
        def __init__(self, config):
            self.started = False
            # Whoever answers the supervisor would be the last to have made one.
            is_main = threading.current_thread().name == "serving"
            time.sleep(0.05 if is_main else 0.5)

        def run(self, sockets):
            self.started = True

    monkeypatch.setattr("uvicorn.supervisors.multiprocess.Server", Slow)
    worker = supervisor.Worker(uvicorn.Config("nothing:here"), [])
    worker.parent_conn.send(b"ping")
    threading.Thread(target=worker.target, name="serving", daemon=True).start()
    end = time.monotonic() + DEADLINE_SECONDS
    while not worker.parent_conn.recv():
        assert time.monotonic() < end
        time.sleep(0.05)
        worker.parent_conn.send(b"ping")


async def test_a_server_can_be_stopped_before_its_workers_serve(tmp_path):
    async with slowly_started(tmp_path / "serve now", "1000") as (process, read_until):
        await read_until("Waiting for application startup", "Waiting for application startup")
        process.send_signal(signal.SIGTERM)
        await read_until("Received SIGTERM")
        (tmp_path / "serve now").touch()
        assert "listening" not in await read_until("Stopping parent process")


@contextlib.asynccontextmanager
async def slowly_started(file, patience):
    """Start workers that serve once ``file`` exists; give the process and what reads its log."""
    process = await spawn("-m", "tests.target_app.slow_start", str(file), patience)

    async def read_until(*wanted):
        text = ""
        async with asyncio.timeout(DEADLINE_SECONDS):
            for words in wanted:
                line = ""
                while words not in line:
                    line = (await process.stderr.readline()).decode()
                    assert line, text
                    text += line
        return text

    try:
        yield process, read_until
    finally:
        file.touch()  # who is still starting would wait for ever
        await kill_group(process)


async def test_workers_that_are_all_told_end_the_master_themselves(start):
    server = await start(**PATIENT)
    clients = await clients_of(server)
    tree = processes(server)
    for worker in (await server.stats())["workers"]:
        os.kill(worker["pid"], signal.SIGTERM)
    for client in clients:
        await heard(client, SHUTTING_DOWN)
        await client.close()
    await ended(server, tree)


async def test_a_worker_killed_in_the_middle_blocks_nothing_and_loses_nobody_else(start):
    server = await start(**PATIENT)
    clients = await clients_of(server)
    tree = processes(server)
    victim = (await server.stats())["workers"][0]
    server.send_signal(signal.SIGTERM)
    for client in clients:
        await heard(client, SHUTTING_DOWN)
    os.kill(victim["pid"], signal.SIGKILL)

    async def lost():
        return [client for client in clients if client.close_code is not None]

    async def all_of_the_victims_are_lost():
        return len(await lost()) == victim["open"]["/ws"]

    await until(all_of_the_victims_are_lost)
    rest = [client for client in clients if client.close_code is None]
    await rest[0].send("still here")
    for client in rest:
        await heard(client, "still here")
        await client.close()
    await ended(server, tree)


async def test_one_process_may_use_the_bus_of_several(serve):
    server = await serve("--bus", "zmq")
    client = await server.connect()
    await client.send("hello")
    await heard(client, "hello")
    assert (await server.stats())["workers"][0]["bus"]["kind"] == "zmq"
    directory = run_dir(None, server.process.pid)
    assert directory.exists()
    await client.close()
    server.send_signal(signal.SIGTERM)
    assert await server.exit_status() == 0
    assert not directory.exists()


async def test_a_killed_worker_is_asked_nothing_twice(serve, tmp_path):
    directory = {"TARGET_BUS": "zmq", "TARGET_RUN_DIR": str(tmp_path)}
    one, other = [await serve(**directory) for _ in range(2)]
    await until_all_answer(one, workers=2)
    other.process.kill()
    await other.process.wait()
    stats = await one.stats()
    assert (len(stats["workers"]), stats["silent_workers"]) == (1, 1)
    stats = await one.stats()
    assert (len(stats["workers"]), stats["silent_workers"]) == (1, 0)


async def test_a_killed_worker_is_replaced_and_the_new_one_hears_and_is_heard(start):
    server = await start()
    clients = await clients_of(server)
    victim = (await server.stats())["workers"][0]
    dead = Worker.of(victim["pid"])
    os.kill(victim["pid"], signal.SIGKILL)
    await until_replaced(server, victim["pid"])
    directory = run_dir(None, server.process.pid)
    assert not list(directory.glob(f"{dead.name}.*")), "the files of the dead are gone"
    await until_all_answer(server)
    late = await clients_of(server)
    await late[-1].send("hello again")
    for client in [*(c for c in clients if c.close_code is None), *late]:
        await heard(client, "hello again")


async def test_workers_whose_directory_was_removed_hear_each_other_and_are_found(start):
    server = await start()
    clients = await clients_of(server)
    directory = run_dir(None, server.process.pid)
    before = {path.name for path in directory.glob("*.bus")}
    shutil.rmtree(directory)

    async def there_again():
        return {path.name for path in directory.glob("*.bus")} == before

    await until(there_again)
    await clients[0].send("hello")
    for client in clients:
        await heard(client, "hello")
    victim = (await server.stats())["workers"][0]["pid"]
    os.kill(victim, signal.SIGKILL)
    await until_replaced(server, victim)
    await until_all_answer(server)
    late = await clients_of(server)
    await late[-1].send("hello again")
    for client in [*(c for c in clients if c.close_code is None), *late]:
        await heard(client, "hello again")


async def test_the_log_says_that_a_worker_died(serve):
    server = await serve("--workers", "2")
    pid = (await server.stats())["workers"][0]["pid"]
    os.kill(pid, signal.SIGKILL)
    await server.says(f"worker {pid} died")


async def test_a_rolling_restart_replaces_each_worker_and_ends_nothing(start):
    server = await start(TARGET_DRAIN_TIMEOUT_SECONDS="0.1")
    before = {worker["pid"] for worker in (await server.stats())["workers"]}
    server.send_signal(signal.SIGHUP)

    async def all_are_new():
        workers = {worker["pid"] for worker in await workers_of(server)}
        return len(workers) == WORKERS and not workers & before

    await until(all_are_new)
    await until_all_answer(server)
    client = await server.connect()
    await client.send("hello")
    await heard(client, "hello")


async def test_a_server_that_is_killed_leaves_no_responder_behind(serve):
    server = await serve("--responder", "tests.target_app.responders:own_pid")
    client = await server.connect("/ws/busy")
    await client.send(question("who works?"))
    await server.event(client)
    pid = int((await server.event(client))["payload"]["answerText"])
    assert psutil.pid_exists(pid)
    server.process.kill()

    async def gone():
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    await until(gone)
