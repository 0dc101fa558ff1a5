"""What a container of the server promises, as far as it can be tried without a container engine."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import re
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from target_app.__main__ import _config
from target_app.app import create_app
from target_app.lifecycle.workers import WorkerCoordinator, run_dir
from target_app.settings import Settings

ROOT = Path(__file__).parents[1]
COMPOSE = (ROOT / "compose.yaml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
DEADLINE_SECONDS = 120.0


def variables():
    """Return every TARGET_ variable that the image or the composition sets."""
    found = dict(re.findall(r"^\s+TARGET_(\w+): \"?([^\"\n]+)\"?$", COMPOSE, re.MULTILINE))
    return found | dict(re.findall(r"TARGET_(\w+)=(\S+)", DOCKERFILE))


def test_every_variable_is_a_setting_and_its_value_is_valid():
    given = {name.lower(): value for name, value in variables().items()}
    assert {"bus", "redis_url", "drain_timeout_seconds", "host"} <= set(given)
    assert set(given) <= set(Settings.model_fields)
    Settings(**given)


def test_the_container_is_given_longer_to_stop_than_the_server_may_take():
    settings = Settings(**{name.lower(): value for name, value in variables().items()})
    slow_http_seconds = _config(create_app(), settings).timeout_graceful_shutdown
    needed = settings.drain_timeout_seconds + settings.close_timeout_seconds + slow_http_seconds
    grace = float(re.search(r"stop_grace_period: (\d+)s", COMPOSE)[1])
    assert needed + 5 <= grace


def test_nothing_stands_between_the_signal_and_the_server():
    assert instruction("STOPSIGNAL") == "SIGTERM"
    assert json.loads(instruction("ENTRYPOINT")) == ["python", "-m", "target_app"]
    assert not re.search(r"^(CMD|SHELL) ", DOCKERFILE, re.MULTILINE)


def test_the_server_runs_as_a_user_without_rights_from_packages_checked_by_hash():
    assert instruction("USER") not in {"root", "0"}
    assert DOCKERFILE.index("\nUSER ") < DOCKERFILE.index("\nENTRYPOINT ")
    assert re.findall(r"pip install (.*)", DOCKERFILE) == [
        "--no-cache-dir --require-hashes -r requirements.txt"
    ]


def test_the_port_that_is_checked_and_published_is_the_one_it_listens_on():
    port = str(Settings.model_fields["port"].default)
    assert "PORT" not in variables()
    assert instruction("EXPOSE") == port
    assert set(re.findall(r"127\.0\.0\.1:(\d+)/", DOCKERFILE + COMPOSE)) == {port}


def instruction(name):
    """Return what the Dockerfile says last of ``name``."""
    return re.findall(rf"^{name} (.+)$", DOCKERFILE, re.MULTILINE)[-1]


def test_the_workers_together_stay_within_50_connections_to_redis():
    workers = int(json.loads(re.search(r"command: (\[\"--workers.*\])", COMPOSE)[1])[1])
    assert workers * int(variables()["REDIS_CONNECTIONS"]) <= 50


def test_it_is_published_on_loopback_only():
    ports = re.findall(r"- \"([\d.:]+)\"$", COMPOSE, re.MULTILINE)
    assert ports == ["127.0.0.1:8000:8000"]


def imported_by_the_server():
    """Return the names of the packages that target_app imports from elsewhere."""
    names = set()
    for path in (ROOT / "target_app").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                names.add(node.module.partition(".")[0])
            elif isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
    return names - sys.stdlib_module_names - {"target_app"}


def test_the_image_has_what_the_server_imports_and_nothing_that_measures_it():
    locked = names_in("requirements.txt")
    packages = {"zmq": "pyzmq", "opentelemetry": "opentelemetry-api"}
    needed = {packages.get(name, name.replace("_", "-")) for name in imported_by_the_server()}
    assert needed <= locked
    assert locked < names_in("constraints.txt")
    assert not locked & {"numpy", "picows", "pytest", "playwright", "typer"}


def names_in(lock):
    """Return the packages of a lock file, each with its version."""
    text = (ROOT / lock).read_text()
    return set(re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE))


@pytest.fixture
def outside(monkeypatch):
    """Be a worker outside that uses the same directory for temporary files."""
    with tempfile.TemporaryDirectory() as directory:  # pytest's own is too long for a socket
        monkeypatch.setattr(tempfile, "tempdir", directory)
        monkeypatch.setenv("TMPDIR", directory)
        worker = WorkerCoordinator(run_dir(None, None), master=None)
        worker.start()
        yield worker
        worker.stop()


@pytest.fixture
async def pid_1():
    """Run the image's own entry point as PID 1 of a PID namespace; return it and its port."""
    unshare = shutil.which("unshare")
    words = json.loads(instruction("ENTRYPOINT"))
    assert words[0] == "python"
    arguments = (*(sys.executable, *words[1:]), "--port", "0", "--drain-timeout-seconds", "1000")
    arguments += ("--drain-announce-seconds", "1000")
    process = await asyncio.create_subprocess_exec(
        *(unshare or "unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *arguments),
        cwd=ROOT,
        # A client is sent nothing but what the tests ask about.
        env=os.environ
        | {"TARGET_ANNOUNCE_LIMIT": "0", "TARGET_HEARTBEAT_SECONDS": "0", "TARGET_WORKERS": "2"},
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    line = (await process.stderr.readline()).decode()
    if "Operation not permitted" in line:
        await process.communicate()
        pytest.skip("unshare may not make a PID namespace here")
    port = int(re.search(r"listening on http://[^ ]*:(\d+)", line)[1])
    yield process, port
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
    await process.communicate()


def first_of(namespace):
    """Return the process that is PID 1 in the namespace that ``unshare`` made."""
    children = Path(f"/proc/{namespace.pid}/task/{namespace.pid}/children").read_text().split()
    [first] = (int(child) for child in children)
    status = Path(f"/proc/{first}/status").read_text()
    assert re.search(r"^NSpid:\s+.*\s1$", status, re.MULTILINE), "it is not PID 1"
    return first


async def test_as_pid_1_it_leaves_alone_what_belongs_to_servers_outside(outside, pid_1):
    assert len(list(outside.directory.iterdir())) == 1


async def test_as_pid_1_it_drains_on_sigterm_and_exits_with_0(pid_1):
    process, port = pid_1
    async with asyncio.timeout(DEADLINE_SECONDS):
        clients = [await connect(f"ws://127.0.0.1:{port}/ws", proxy=None) for _ in range(4)]
        os.kill(first_of(process), signal.SIGTERM)
        for client in clients:
            assert await client.recv() == "Server is shutting down, please disconnect."
        await clients[0].send("still here")
        for client in clients:
            assert await client.recv() == "still here"
            await client.close()
        assert await process.wait() == 0


async def health(check, port):
    """Run a health check as the engine would, but on ``port``; return its exit status."""
    command = [sys.executable, *check[1:]]
    assert ":8000/" in command[-1]
    command[-1] = command[-1].replace(":8000/", f":{port}/")
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    return await process.wait()


async def test_the_image_stays_healthy_in_a_drain_while_the_service_is_no_longer_ready(pid_1):
    alive = json.loads(re.search(r"^HEALTHCHECK .*\\\n +CMD (.*)$", DOCKERFILE, re.MULTILINE)[1])
    ready = json.loads(re.search(r"test: (\[\"CMD\", \"python\".*\])", COMPOSE)[1])[1:]
    process, port = pid_1
    async with asyncio.timeout(DEADLINE_SECONDS):
        clients = [await connect(f"ws://127.0.0.1:{port}/ws", proxy=None) for _ in range(4)]
        assert (await health(alive, port), await health(ready, port)) == (0, 0)
        os.kill(first_of(process), signal.SIGTERM)
        for client in clients:
            assert await client.recv() == "Server is shutting down, please disconnect."
        # A worker without a client may not know of it yet.
        while await health(ready, port) == 0:
            pass
        assert await health(alive, port) == 0
        for client in clients:
            await client.close()
        assert await process.wait() == 0
        assert (await health(alive, port), await health(ready, port)) == (1, 1)
