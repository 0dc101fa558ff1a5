"""A run as a file: read with its units, refused with file, line, key and what is allowed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

GOOD = """
url = "ws://127.0.0.1:9/echo"
connections = "1k"
scenario = "echo"
rate = "500/s"
duration = "2s"
payload = "64B 70%, 1KiB 30%"
header = ["X-A: {n}"]
ready = ['{"join": "a"} => joined']
binary = true

[parameters]
active = 10
"""


def swarmgate(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "benchmarks", "run", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Write a scenario file; gives its name."""

    def make(text: str) -> str:
        path = tmp_path / "load.toml"
        path.write_text(text)
        return str(path)

    return make


def test_a_dry_run_shows_what_a_file_comes_to(write: Any) -> None:
    flags = ("--dry-run", "--json", "--rate", "7", "--param", "active=3")
    done = swarmgate("-f", write(GOOD), *flags, "ws://h/", "50")
    plan = json.loads(done.stdout)
    assert (plan["url"], plan["connections"], plan["rate"]) == ("ws://h/", 50, 7)
    assert plan["duration_seconds"] == 2
    assert plan["parameters"]["active"] == 3


@pytest.mark.parametrize("form", ["--file {}", "--file={}", "-f {}", "-f{}", "-f no.toml -f {}"])
def test_a_file_is_read_however_its_option_is_written(write: Any, form: str) -> None:
    words = form.format(write(GOOD)).split()
    done = swarmgate(*words, "--dry-run", "--json")
    plan = json.loads(done.stdout)
    assert (plan["scenario"], plan["connections"], plan["rate"]) == ("echo", 1000, 500)
    shown = swarmgate(*words, "--help").stdout
    assert "active: int" in shown


def test_output_as_json_is_a_key_too(write: Any) -> None:
    done = swarmgate("-f", write('url = "ws://h/"\njson = true'), "--dry-run")
    assert json.loads(done.stdout)["url"] == "ws://h/"


def test_a_dry_run_is_readable_and_opens_nothing() -> None:
    load = ("-s", "echo", "--profile", "0..10/s for 2s")
    done = swarmgate("ws://127.0.0.1:9/", "10", *load, "--dry-run")
    assert done.returncode == 0
    assert "0 /s to 10.0 /s: 10 arrivals" in done.stdout
    assert "open model: constant arrivals" in done.stdout


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            '\nduratoin = "3s"',
            ":2: duratoin is not a key of a scenario file; did you mean duration?",
        ),
        ('\n\nduration = "3x"', ":3: duration: '3x' is not a duration; write it like 30s"),
        ("steps = [3]", ":1: steps is [3]; it must be a number"),
        ('steps = "x"', ":1: steps: 'x' is not a count"),
        ('\nseed = "mine"', ":2: seed: 'mine' is not a count"),
        ("binary = 1", ":1: binary is 1; it must be true or false"),
        ('header = "A: b"', ":1: header is 'A: b'; it must be a list"),
        ('profile = "3"', ":1: profile: '3' is not part of a profile"),
        ("parameters = 3", ":1: parameters must be a table"),
        ("a b", ": not TOML"),
        ('url = "ws://h/"\nscenario = "echo"\n[parameters]\nactiv = 3', "no parameter 'activ'"),
    ],
)
def test_what_is_wrong_is_reported_with_its_place(write: Any, text: str, complaint: str) -> None:
    done = swarmgate("-f", write(text), "--dry-run")
    assert done.returncode == 2
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_file_that_is_not_there_is_named() -> None:
    done = swarmgate("-f", "nowhere.toml")
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot read the scenario file nowhere.toml" in done.stderr


def test_the_help_shows_a_scenarios_parameters() -> None:
    done = swarmgate("-s", "storm", "--help")
    assert done.returncode == 0
    assert "first: seconds = 0.1" in done.stdout
    assert "backoff: none|fixed|exponential = exponential" in done.stdout
