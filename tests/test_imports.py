"""Large packages are loaded only by what needs them: they cost memory in each process, and time."""

import subprocess
import sys
import tomllib

import pytest

from benchmarks.cli import MODULES
from tests.servers.launch import ROOT

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
        ("import loadtests.run.swarm", "reports.catalogue", False),
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

class Missing:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in {missing}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = {
    *("anyio", "fastapi", "starlette", "httptools", "opentelemetry", "prometheus_client"),
    *("pydantic_settings", "zmq", "redis", "uvicorn"),
}
NEED_AN_EXTRA = (
    *("benchmarks.cost", "benchmarks.servers", "benchmarks.gate_power", "loadtests.locust"),
    # Run by their paths, or as commands.
    *(
        "swarmgate.locust",
        "swarmgate.__main__",
        "benchmarks.__main__",
        "benchmarks.counting.counted",
    ),
)
EVERY = f"""
for room in ("reports", "loadtests", "benchmarks", "swarmgate"):
    path = importlib.import_module(room).__path__
    for module in pkgutil.walk_packages(path, f"{{room}}.", onerror=lambda name: None):
        if not module.name.startswith({NEED_AN_EXTRA!r}):
            importlib.import_module(module.name)
"""


def test_the_load_generator_needs_no_package_of_an_extra() -> None:
    program = WITHOUT.format(missing=PACKAGES | {"locust", "gevent", "flask"}) + EVERY
    subprocess.run([sys.executable, "-c", program], check=True, timeout=240)


@pytest.mark.parametrize("package", sorted(PACKAGES - {"starlette"}))
def test_serve_names_the_extra_that_it_needs(package: str) -> None:
    program = WITHOUT.format(missing={package}) + (
        "import importlib.util\n"
        "sys.argv[1:] = ['serve']\n"
        "from benchmarks import cli\n"
        f"cli.find_spec = lambda name: None if name == {package!r} else True\n"
        "cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 2
    assert done.stderr == (
        f"swarmgate: serve needs the package {package}; pip install 'swarmgate[server]'\n"
    )


def test_the_extra_is_what_the_servers_image_has_beyond_the_load_generator() -> None:
    base, server = PROJECT["project"]["dependencies"], PROJECT["dependency-groups"]["server"]
    assert {*PROJECT["project"]["optional-dependencies"]["server"]} == {*server} - {*base}


@pytest.mark.parametrize("module", ["swarmgate", "swarmgate.locust"])
def test_what_people_import_is_there(module: str) -> None:
    program = f"import {module} as it\n[getattr(it, name) for name in it.__all__]"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=240)
