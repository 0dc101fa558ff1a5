"""What docs/scaling.md shows is what the commands say of the records that are committed."""

import os
import re
import shlex
import subprocess
import sys

import pytest

from tests.servers.launch import ROOT

PAGE = (ROOT / "docs/scaling.md").read_text()
SHOWN = re.findall(
    r"```\n\$ (swarmgate scaling [^\n]*reports/published[^\n]*)\n(.*?)```", PAGE, re.DOTALL
)


@pytest.mark.parametrize(("command", "shown"), SHOWN, ids=[command for command, _ in SHOWN])
def test_a_report_on_the_page_is_made_from_the_published_records(command: str, shown: str) -> None:
    words = [sys.executable, "-P", "-m", "benchmarks", *shlex.split(command)[1:]]
    wide = {**os.environ, "COLUMNS": "110"}
    told = subprocess.run(
        words, cwd=ROOT, env=wide, capture_output=True, text=True, check=False
    ).stdout
    for part in shown.split("…\n"):
        assert part.rstrip() in told


def test_the_page_shows_reports() -> None:
    assert len(SHOWN) == 4
