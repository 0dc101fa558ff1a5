"""The pytest plugin: the fixture ``swarmgate``, where its records go, and what a failure shows.

It is loaded in every test session wherever the package is installed, so it imports nothing that
such a session would notice; runs are made in separate processes (:mod:`loadtests.run.called`).
"""

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from swarmgate.as_benchmark import add_benchmarks, as_benchmark
from swarmgate.runner import Swarmgate

FIXTURE: Final = "swarmgate"
_INI: Final = "swarmgate_records"
_LONGEST_NAME: Final = 80


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options for where records are kept."""
    parser.getgroup("swarmgate").addoption(
        "--swarmgate-records",
        metavar="DIR",
        type=Path,
        help="keep the records of swarmgate's runs here (default: in the test's tmp_path)",
    )
    parser.addini(_INI, "keep the records of swarmgate's runs here, beside the ini file")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Turn each test that makes runs into a benchmark before pytest-benchmark looks for them."""
    # Under pytest-xdist it times nothing, and warns about each benchmark.
    is_worker = hasattr(config, "workerinput")
    if config.pluginmanager.hasplugin("benchmark") and not is_worker:
        add_benchmarks(FIXTURE, items)


@pytest.fixture
def swarmgate(request: pytest.FixtureRequest) -> Iterator[Swarmgate]:
    """Put load on a WebSocket server: ``swarmgate.run("echo", command=…, connections=100)``."""
    node: pytest.Item = request.node
    folder = _folder(request)
    name = re.sub(r"[^\w.-]+", "-", node.name)[:_LONGEST_NAME].strip("-")

    def name_file(suffix: str) -> Path:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        return folder / f"{stamp}-{name}-{os.urandom(4).hex()}{suffix}"

    def note(text: str) -> None:
        node.add_report_section("call", "swarmgate", text)

    with as_benchmark(request) as report:
        runs = Swarmgate(name_file, note)
        yield runs
        report(runs.results)


def _folder(request: pytest.FixtureRequest) -> Path:
    """Create the folder for records: that of the flag, of the ini file, or the test's own."""
    config = request.config
    given: Path | None = config.getoption("--swarmgate-records")
    ini = str(config.getini(_INI))
    folder: Path
    if given is not None:
        folder = config.invocation_params.dir / given
    elif ini:
        folder = (config.inipath.parent if config.inipath else config.rootpath) / ini
    else:
        folder = request.getfixturevalue("tmp_path")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise pytest.UsageError(f"no records can be kept in {folder}: {error.strerror}") from None
    return folder
