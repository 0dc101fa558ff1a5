"""Large packages are loaded only by what needs them: they cost memory in each process, and time."""

import subprocess
import sys

import pytest

from benchmarks.cli import MODULES

SERVER = """
from fastapi.testclient import TestClient

from target_app.app import create_app
from target_app.settings import Settings

with TestClient(create_app(Settings({settings}))) as client:
    assert client.get("/healthz").status_code == 200
"""


@pytest.mark.parametrize(
    ("program", "package", "is_loaded"),
    [
        (SERVER.format(settings=""), "redis", False),
        # Nobody listens there; the server waits for it to come.
        (SERVER.format(settings="redis_url='redis://127.0.0.1:1/0'"), "redis", True),
        (f"import benchmarks.cli, {', '.join(sorted({*MODULES.values()}))}", "scipy", False),
        ("import benchmarks.cli", "numpy", False),
        ("import loadtests.cli", "jinja2", False),
        ("import loadtests.run.swarm", "loadtests.scenarios.echo", False),
        ("import loadtests.run.swarm", "loadtests.scenarios.drain", False),
        (SERVER.format(settings=""), "zmq", False),
        (SERVER.format(settings=""), "websockets.asyncio.client", False),
    ],
)
def test_what_is_not_used_is_not_loaded(program: str, package: str, *, is_loaded: bool) -> None:
    program += f"\nimport sys\nprint({package!r} in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=240
    )
    assert done.stdout == f"{is_loaded}\n"
