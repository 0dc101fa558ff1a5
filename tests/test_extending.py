"""What a stranger adds is one file, or one field, and is there wherever its like is."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from benchmarks.capacity.objective import objective_of
from benchmarks.claims.reading import load_claims
from benchmarks.runs.tables import InputFileError
from loadtests.errors import UsageError
from loadtests.plan.plan import Plan
from loadtests.run.run import checked
from loadtests.scenarios.figures import against_figure
from reports.figure import Better
from reports.figures import catalogue_of
from reports.html.page import html_report
from reports.record import read_record
from tests.loadtests.conftest import DEADLINE_SECONDS
from tests.servers.launch import ROOT, launch

GREETINGS = str(ROOT / "examples/greetings.py")
CLAIMS = """
[target.theirs]
command = "server {{port}}"
[experiment.e]
scenario = "{scenario}"
connections = 2
[[claim]]
id = "c"
says = "it answers"
source = "nobody"
experiment = "e"
metric = "{metric}"
comparison = "at_most"
value = "1s"
context = ["{beside}"]
"""


def swarmgate(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tests.patient_swarmgate", "run", *words]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=DEADLINE_SECONDS
    )


@pytest.fixture(scope="module")
def greeted(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What a run of the example prints, on a server that is not ours, and its record."""
    path = tmp_path_factory.mktemp("greeted") / "a.run.jsonl"
    with launch("tests.servers.plain_websockets", "0") as server:
        done = swarmgate(
            *(server.url("/echo"), "4", "-q", "--scenario", GREETINGS, "-d", "1s"),
            *("--threshold", "greeting.p99_seconds<=60s"),
            *("--threshold", "greetings.answered>=20", "-o", str(path)),
        )
        counts = server.stop()
    assert done.returncode == 0, done.stdout + done.stderr
    assert counts["received"] == 20
    return done.stdout, path


def test_a_scenario_with_a_duration_of_its_own_is_in_the_summary(
    greeted: tuple[str, Path],
) -> None:
    printed, path = greeted
    assert "Greeting answered after: p50" in printed
    assert "20 answered" in printed
    header = read_record(path).header
    assert [it.key for it in header.measures.durations] == ["greeting"]
    known = catalogue_of(header).figure("greeting.p99_seconds")
    assert (known.label, known.better) == ("greeting answered after p99", Better.LOWER)


def test_it_is_on_the_page_as_a_headline_a_chart_and_a_row(greeted: tuple[str, Path]) -> None:
    page = html_report(read_record(greeted[1]))
    for shown in (
        "Greeting answered after p99",
        "Greeting answered after, over time",
        "Greeting answered after, by percentile",
    ):
        assert shown in page, shown


def test_it_has_a_row_of_its_own_in_locusts_table(greeted: tuple[str, Path]) -> None:
    program = """
import sys
from pathlib import Path
from loadtests.locust.stats import rows
from reports.record import read_record

record = read_record(Path(sys.argv[1]))
for interval in record.intervals:
    for row in rows("Greeters", interval, record.header.measures):
        print(row.name)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(greeted[1])],
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_SECONDS,
    )
    assert "Greeters greeting answered after\n" in done.stdout


@pytest.mark.parametrize(
    ("figure", "meant"),
    [("greting.p99_seconds", "greeting.p99_seconds"), ("greetings.answer", "greetings.answered")],
)
def test_a_figure_that_it_does_not_declare_is_refused_before_anything_runs(
    figure: str, meant: str, tmp_path: Path
) -> None:
    done = swarmgate(
        *("ws://127.0.0.1:9/", "4", "--scenario", GREETINGS, "--threshold", f"{figure}<=1"),
        *("-o", str(tmp_path / "a.run.jsonl")),
    )
    assert done.returncode == 2
    assert f"did you mean {meant}" in done.stderr
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("metric", "beside", "meant"),
    [
        ("greeting.p99_seconds", "greetings.answered", ""),
        ("greeting.p98_seconds", "greetings.answered", "greeting.p99_seconds"),
        ("greeting.p99_seconds", "greetings.answred", "greetings.answered"),
    ],
)
def test_claims_know_what_it_declares(metric: str, beside: str, meant: str, tmp_path: Path) -> None:
    path = tmp_path / "claims.toml"
    path.write_text(CLAIMS.format(scenario=GREETINGS, metric=metric, beside=beside))
    if meant:
        with pytest.raises(InputFileError, match=f"did you mean .*{meant}"):
            load_claims(path)
    else:
        assert (
            load_claims(path).catalogue("e").figure(metric).label == "greeting answered after p99"
        )


@pytest.mark.parametrize(
    ("measures", "complaint"),
    [
        ("main=('greting',)", "'greting', which is not a kind of duration"),
        ("durations=(Figure('latency', *REST),)", "'latency', which every run has"),
        ("durations=(Figure('a.b', *REST),)", "'a.b'; its name must be like a variable's"),
        ("figures=(Figure('errors.all', *REST), Figure('errors', *REST))", "'errors'; its name"),
        ("figures=(Figure('messages.sent', *REST),)", "'messages.sent', which every run has"),
    ],
)
def test_a_declaration_that_cannot_be_kept_apart_is_refused(
    measures: str, complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / f"odd{abs(hash(measures))}.py"
    path.write_text(
        "from swarmgate import Better, Figure, Measures, Scenario\n"
        "REST = ('odd', Better.LOWER, 'It is odd.', 'By itself.')\n"
        f"class Odd(Scenario):\n    measures = Measures({measures})\n"
    )
    with pytest.raises(UsageError, match=complaint):
        checked(Plan("ws://127.0.0.1:9/", 1, str(path), {}))


def test_what_says_of_no_duration_what_it_is_about_has_no_usual_objective(tmp_path: Path) -> None:
    path = tmp_path / "silent.py"
    path.write_text(
        "from swarmgate import Measures, Scenario\n"
        "class Silent(Scenario):\n    measures = Measures(reaches_rate=True, has_ledger=True)\n"
    )
    plan = Plan("ws://127.0.0.1:9/", 1, str(path), {})
    assert [str(it) for it in objective_of([], plan)] == ["errors <= 0", "integrity.lost <= 0"]


def test_a_script_may_have_figures_that_nobody_has_declared(tmp_path: Path) -> None:
    path = tmp_path / "free.py"
    path.write_text("async def script(connection):\n    pass\n")
    assert against_figure("nothing at all like it", str(path)) == ""
    assert against_figure("nothing at all like it", "echo")


def test_a_script_may_declare_as_well(tmp_path: Path) -> None:
    path = tmp_path / "declared.py"
    path.write_text(
        "from swarmgate import Better, Figure, Measures, Script\n"
        "measures = Measures(durations=(\n"
        "    Figure('asked', 'asked and answered', Better.LOWER, 'A question.', 'By it.'),\n"
        "))\n"
        "async def script(connection: Script) -> None:\n"
        "    with connection.measure('asked'):\n"
        "        await connection.send('x')\n"
        "        await connection.receive(within=60)\n"
        "    await connection.pause(0.1)\n"
    )
    record = tmp_path / "a.run.jsonl"
    with launch("tests.servers.plain_websockets", "0") as server:
        done = swarmgate(
            *(server.url("/echo"), "2", "-q", "--scenario", str(path), "-d", "0.5s"),
            *("-o", str(record)),
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Asked and answered: p50" in done.stdout
    assert read_record(record).header.measures.main == ("iteration",)


def test_a_script_that_declares_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wrong.py"
    path.write_text("measures = 3\nasync def script(connection):\n    pass\n")
    with pytest.raises(UsageError, match="measures is 3; it must be Measures"):
        checked(Plan("ws://127.0.0.1:9/", 1, str(path), {}))


def test_a_new_option_is_one_field(tmp_path: Path) -> None:
    for room in ("benchmarks", "loadtests", "reports", "swarmgate"):
        skipped = shutil.ignore_patterns("__pycache__", "published", "runs", "cost")
        # A room of benchmarks is called runs, too.
        ignore = None if room == "benchmarks" else skipped
        shutil.copytree(ROOT / room, tmp_path / room, ignore=ignore)
    patch = (ROOT / "examples/option.patch").read_text()
    added = [line for line in patch.splitlines() if line.startswith("+") and line.strip("+ ")]
    assert len(added) == 3, "a field, its docstring, and the name of the file"
    subprocess.run(
        ["git", "apply", "-"], input=patch, text=True, cwd=tmp_path, check=True, timeout=60
    )
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/an_option_of_ones_own.py")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    places = json.loads(done.stdout)
    assert len(places) == 9
    assert {name: found for name, found in places.items() if found not in (True, "OPS-7")} == {}


async def test_a_new_endpoint_is_one_file() -> None:
    served = ["uvicorn", "--app-dir", "examples", "shout:app", "--port", "0"]
    with launch([sys.executable, "-m", *served]) as server:
        async with (
            asyncio.timeout(DEADLINE_SECONDS),
            connect(server.url("/shout")) as one,
            connect(server.url("/shout")) as other,
        ):
            await one.send("hello")
            assert [await one.recv(), await other.recv()] == ["HELLO", "HELLO"]
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
                stats = (await client.get("/stats", timeout=60)).json()
            assert stats["open"]["/shout"] == 2
            server.process.terminate()
            assert await other.recv() == "SEE YOU"


def test_the_endpoint_on_the_page_is_the_file() -> None:
    body = (ROOT / "examples/shout.py").read_text().partition('"""\n\n')[2]
    assert body in (ROOT / "docs/fastapi.md").read_text()
