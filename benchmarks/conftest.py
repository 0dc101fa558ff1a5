"""What the cost benchmarks share: one run against the picows echo server, and how it is judged."""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from loadtests.plan import Plan
from loadtests.run import execute
from loadtests.target import TargetSource

ECHO_SERVER = TargetSource((sys.executable, "-m", "benchmarks.picows_echo", "{port}"))

Measure = Callable[..., Mapping[str, float]]


@pytest.fixture
def measure(tmp_path: Path) -> Measure:
    """Make one run with its record and give its figures; an invalid run fails the benchmark."""
    number = 0

    def run(**changes: Any) -> Mapping[str, float]:  # noqa: ANN401 - the fields of Plan
        nonlocal number
        number += 1
        values: dict[str, Any] = {
            "url": "ws://127.0.0.1:{port}/echo",
            "parameters": {},
            "payload_bytes": 32,
            "seed": number,
        }
        plan = Plan(**(values | changes))
        path = tmp_path / f"{number}.run.jsonl"
        summary = asyncio.run(execute(plan, ECHO_SERVER, path, lambda _line: None))
        assert summary.valid, summary.reasons
        assert summary.figures["errors"] == 0
        return summary.figures

    return run


@pytest.fixture
def is_quick() -> bool:
    """Tell whether this only shows that the benchmarks run, on a machine of unknown speed."""
    return bool(os.environ.get("SWARMGATE_QUICK"))
