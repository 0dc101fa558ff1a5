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


WITHOUT = """
import importlib, pkgutil, sys
from importlib.metadata import requires
from re import match

class Missing:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in {missing}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""
EXTRAS = {
    "server": {
        *("anyio", "fastapi", "starlette", "httptools", "opentelemetry", "prometheus_client"),
        *("pydantic_settings", "zmq", "redis", "uvicorn"),
    },
    "locust": {"locust", "gevent", "flask"},
}
NEED_AN_EXTRA = (
    *("benchmarks.cost", "benchmarks.servers", "benchmarks.gate_power"),
    *("loadtests.locust", "swarmgate.locust", "swarmgate.__main__", "benchmarks.__main__"),
    *("benchmarks.counting.counted", "swarmgate.pytest_plugin", "swarmgate.as_benchmark"),
)
EVERY = f"""
for room in ("reports", "loadtests", "benchmarks", "swarmgate"):
    path = importlib.import_module(room).__path__
    for module in pkgutil.walk_packages(path, f"{{room}}.", onerror=lambda name: None):
        if not module.name.startswith({NEED_AN_EXTRA!r}):
            importlib.import_module(module.name)
"""


def test_the_load_generator_needs_no_package_of_an_extra() -> None:
    missing = set.union(*EXTRAS.values())
    program = WITHOUT.format(missing=missing) + EVERY
    subprocess.run([sys.executable, "-c", program], check=True, timeout=240)


def test_serve_names_the_extra_that_it_needs() -> None:
    program = (
        "import sys\nfrom unittest import mock\nimport benchmarks.cli\n"
        "sys.argv[1:] = ['serve']\n"
        "with mock.patch('benchmarks.cli.find_spec', lambda name: None):\n"
        "    benchmarks.cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 2
    assert done.stderr == (
        "swarmgate: serve needs the package uvicorn; pip install 'swarmgate[server]'\n"
    )
