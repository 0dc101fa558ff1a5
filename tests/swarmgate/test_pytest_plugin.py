"""The pytest plugin as a project uses it: whole sessions, on servers that are not ours."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from loadtests.plan.bounds import changed
from reports.record import read_record
from tests.loadtests.conftest import PATIENT
from tests.servers.launch import ROOT
from tests.servers.ports import nobody_listens

pytest_plugins = ["pytester"]

DEADLINE_SECONDS = 240.0
PLAIN = f"{sys.executable} -m tests.servers.plain_websockets {{port}}"
# On any machine: what is tested is not how fast it is.
BEGINNING = f"""
import json, os, signal, sys
import pytest
ROOT = {str(ROOT)!r}
PLAIN = {{"command": {PLAIN!r}, "cwd": ROOT}}
LOAD = {{"bound": {[*changed(PATIENT)]!r}, "reply_timeout": 60, "timeout": 60, "duration": 0.5}}
SMALL = {{**LOAD, "connections": 4, "rate": 40}}
"""
SILENT = """
import asyncio, sys
from websockets.asyncio.server import serve

async def main():
    async def take(connection):
        async for message in connection:
            pass
    async with serve(take, "127.0.0.1", int(sys.argv[1])):
        await asyncio.Event().wait()

asyncio.run(main())
"""
DYING = SILENT.replace("            pass", "            import os; os._exit(7)")
TELLING = SILENT.replace(
    "async for", "open(sys.argv[2], 'w').write(str(__import__('os').getpid()))\n        async for"
)


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project that has this plugin and no other."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p swarmgate.pytest_plugin -W error")
    for name, text in {"silent": SILENT, "dying": DYING, "telling": TELLING}.items():
        (pytester.path / f"{name}.py").write_text(text)
    return pytester


def run(project: pytest.Pytester, test: str, *options: str) -> pytest.RunResult:
    """Run a session of pytest over one file."""
    project.makepyfile(test_project=BEGINNING + test)
    return project.runpytest_subprocess(*options, timeout=DEADLINE_SECONDS)


def test_a_test_asserts_figures_of_a_server_that_is_not_ours(project: pytest.Pytester) -> None:
    done = run(
        project,
        """
def test_fanout(swarmgate):
    result = swarmgate.run("broadcast", **PLAIN, **SMALL)
    assert 0 < result.delivery.first <= result.delivery.half <= result.delivery.last
    assert result.delivery.last == result.delivery.last_seconds
    assert result.delivery.last == result.figures["delivery.last_seconds"]
    assert result.connections.open == 4
    assert (result.errors, result.integrity.lost, result.integrity.expected) == (0, 0, 80)
    assert result.server.memory > 1e6
    assert result.server.cpu >= 0
    assert result.close_codes == {1000: 4}
    assert result.outcome == "HELD"
    assert result.record.exists()
    assert "--target-dir" in result.again
    with pytest.raises(AttributeError, match="no latency"):
        result.latency
    with pytest.raises(AttributeError, match="no delivery.lost; the nearest that it did: deliv"):
        result.delivery.lost

def test_kinds(swarmgate):
    users = ["watcher=50% --scenario hold", "talker=50% /echo --scenario echo --rate 40"]
    result = swarmgate.run("hold", user=users, connections=4, **PLAIN, **LOAD)
    assert result.users["talker"].latency.count == result.figures["talker.latency.count"] == 20
""",
    )
    done.assert_outcomes(passed=2)


def test_a_figure_that_is_too_large_is_told_with_its_unit_and_its_record(
    project: pytest.Pytester,
) -> None:
    done = run(
        project,
        """
def test_echo(swarmgate, tmp_path):
    result = swarmgate.run("echo", path="/echo", **PLAIN, **SMALL)
    print("in", tmp_path)
    assert result.latency.p99 < 0
""",
    )
    done.assert_outcomes(failed=1)
    done.stdout.re_match_lines(
        [
            r"E .*<latency: count 20, mean \S+ .?s, .*p99 \S+ .?s",
            ".*Captured swarmgate call.*",
            "HELD: nothing went wrong",
            r"record: \S+test_echo\S*\.run\.jsonl",
            "again:  swarmgate run .*",
        ]
    )
    (record,) = {line.split()[1] for line in done.outlines if line.startswith("record: ")}
    assert read_record(Path(record)).header.scenario == "echo"


WRONG = {
    "refuses": (
        "echo, command=f'{sys.executable} -m tests.servers.json_chat {{port}}', cwd=ROOT",
        "RunFailedError",
        "upgrade:http-403",
    ),
    "dies": ("echo, command=f'{sys.executable} dying.py {{port}}'", "RunFailedError", "closed"),
    "dead": ("hold, url=os.environ['DEAD']", "RunFailedError", "could be opened"),
    "misses": (
        "echo, path='/echo', thresholds=['errors>0'], **PLAIN",
        "RunFailedError",
        "errors > 0",
    ),
    "ends": ("hold, command='false {port}'", "NoRunError", "ended with status 1"),
    "misspelt": ("hold, conections=9, **PLAIN", "NoRunError", "did you mean connections"),
    "set": ("hold, ramp={1, 2}, **PLAIN", "NoRunError", "neither text, number"),
}


def test_what_is_wrong_fails_the_test_with_one_line_of_why(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    tests = ""
    for name, (call, *_) in WRONG.items():
        scenario, _, keywords = call.partition(", ")
        load = "LOAD, rate=40" if scenario == "echo" else "LOAD"
        given = f"{keywords}{', ' if keywords else ''}**{load}"
        tests += f"\ndef test_{name}(swarmgate):\n    swarmgate.run({scenario!r}, {given})\n"
    with nobody_listens() as port:
        monkeypatch.setenv("DEAD", f"ws://127.0.0.1:{port}/")
        done = run(project, tests, "-rN")
    done.assert_outcomes(failed=len(WRONG))
    told = [line for line in done.outlines if line.startswith("E ") and "Error: " in line]
    for line, (_, error, why) in zip(told, WRONG.values(), strict=True):
        assert error in line
        assert why in line
    assert "Traceback" not in done.stdout.str() + done.stderr.str()
    failed = sum(error == "RunFailedError" for _, error, _ in WRONG.values())
    assert done.stdout.str().count("\nrecord: ") == failed


def test_a_run_that_failed_may_be_looked_at_all_the_same(project: pytest.Pytester) -> None:
    done = run(
        project,
        """
def test_silence(swarmgate):
    SMALL["reply_timeout"] = 1
    result = swarmgate.run("echo", command=[sys.executable, "silent.py", "{port}"], check=False,
                           **SMALL)
    assert result.outcome == "FAILED"
    assert result.integrity.lost == result.integrity.expected == 20
""",
    )
    done.assert_outcomes(passed=1)


def test_an_invalid_run_is_made_again_and_is_never_a_pass(project: pytest.Pytester) -> None:
    done = run(
        project,
        """
def test_starved(swarmgate):
    SMALL["bound"] = ["lateness_p99_seconds=0s"]
    swarmgate.run("echo", path="/echo", check=False, **PLAIN, **SMALL)
""",
        "--swarmgate-records=kept",
    )
    done.assert_outcomes(failed=1)
    done.stdout.re_match_lines([r"E .*RunInvalidError: after 3 attempts: INVALID: .*"])
    records = [*(project.path / "kept").glob("*-test_starved-*.run.jsonl")]
    assert len(records) == 3
    for path in records:
        assert str(path) in done.stdout.str()


def test_one_server_may_be_kept_over_several_runs(project: pytest.Pytester) -> None:
    done = run(
        project,
        """
def test_both(swarmgate):
    with swarmgate.server(PLAIN["command"], cwd=ROOT) as server:
        once, twice = [
            swarmgate.run("echo", url=server.url("/echo"), pid=pid, **SMALL)
            for pid in (server.pid, None)
        ]
        assert once.server.memory > 1e6 and twice.server.memory > 1e6
        assert once.latency.count == twice.latency.count == 20
        assert os.path.exists(f"/proc/{server.pid}")
    assert not os.path.exists(f"/proc/{server.pid}")
    assert [result.record for result in swarmgate.results] == [once.record, twice.record]

def test_none(swarmgate):
    with pytest.raises(Exception, match="ended with status 1 before it listened"):
        with swarmgate.server("false {port}"):
            pass

def test_where_a_shell_has_put_us_in_the_background(swarmgate):
    kept = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with swarmgate.server(PLAIN["command"], cwd=ROOT) as server:
            pass
        assert not os.path.exists(f"/proc/{server.pid}")
    finally:
        signal.signal(signal.SIGINT, kept)

@pytest.mark.parametrize("size", [0, 10**6])
def test_no_process(swarmgate, monkeypatch, size):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(Exception, match="the process of the run ended with status 1"):
        swarmgate.run("hold", url="ws://127.0.0.1:1/" + size * "x")
""",
    )
    done.assert_outcomes(passed=5)


def test_an_async_test_awaits_its_run_while_its_own_server_answers(
    project: pytest.Pytester,
) -> None:
    done = run(
        project,
        """
from websockets.asyncio.server import serve

async def echo(connection):
    async for message in connection:
        await connection.send(message)

async def test_of_a_server_in_this_process(swarmgate):
    async with serve(echo, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        result = await swarmgate.arun("echo", url=f"ws://127.0.0.1:{port}/", **SMALL)
    assert (result.errors, result.latency.count) == (0, 20)

async def test_that_would_wait_for_itself(swarmgate):
    with pytest.raises(RuntimeError, match="await swarmgate.arun"):
        swarmgate.run("echo", url="ws://127.0.0.1:1/", **SMALL)
""",
        *("-p", "pytest_asyncio.plugin", "-o", "asyncio_mode=auto"),
        *("-o", "asyncio_default_fixture_loop_scope=function"),
    )
    done.assert_outcomes(passed=2)


def test_two_workers_of_xdist_keep_their_records_apart(project: pytest.Pytester) -> None:
    project.makeini("[pytest]\nswarmgate_records = kept\naddopts = -p xdist.plugin -n 2\n")
    done = run(
        project,
        """
@pytest.mark.parametrize("number", range(2))
def test_each(swarmgate, number, worker_id):
    result = swarmgate.run("echo", path="/echo", **PLAIN, **SMALL)
    assert result.latency.count == 20
    assert worker_id in ("gw0", "gw1")
""",
    )
    done.assert_outcomes(passed=2)
    assert len([*(project.path / "kept").glob("*.run.jsonl")]) == 2
    assert len([*(project.path / "kept").glob("*.target.log")]) == 2


def test_runs_are_benchmarks_where_pytest_benchmark_is(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plugin is found by its entry point here, beside all others that are installed."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.setenv("PYTEST_ADDOPTS", "-W error -o asyncio_default_fixture_loop_scope=function")
    done = run(
        pytester,
        """
def test_echo(swarmgate):
    for _ in range(2):
        swarmgate.run("echo", path="/echo", **PLAIN, **SMALL)

def test_own(swarmgate, benchmark):
    load = dict(path="/echo", **PLAIN, **SMALL)
    benchmark.pedantic(swarmgate.run, ("echo",), load, rounds=1)

def test_refused(swarmgate):
    with pytest.raises(Exception, match="conections"):
        swarmgate.run("echo", conections=1)

def test_other():
    assert False, "is no benchmark"
""",
        *("--benchmark-only", "--benchmark-json=benchmarks.json", "-p", "no:randomly"),
    )
    done.assert_outcomes(passed=3, skipped=1)
    echo, own = json.loads((pytester.path / "benchmarks.json").read_text())["benchmarks"]
    runs = echo["extra_info"]["swarmgate"]
    measured = [figures["latency.mean_seconds"] for figures in runs]
    assert (echo["group"], echo["stats"]["rounds"]) == ("latency.mean_seconds", 2)
    assert echo["stats"]["min"] == pytest.approx(min(measured), rel=1e-6)
    assert echo["stats"]["max"] == pytest.approx(max(measured), rel=1e-6)
    # Of a benchmark that a test makes itself, its own time is told.
    assert own["stats"]["min"] > own["extra_info"]["swarmgate"][0]["latency.mean_seconds"]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_no_server_outlives_a_session_that_is_ended(
    project: pytest.Pytester, signum: signal.Signals
) -> None:
    listening = project.path / "listening"
    os.mkfifo(listening)
    project.makepyfile(
        test_project=BEGINNING
        + """
def test_long(swarmgate):
    command = [sys.executable, "telling.py", "{port}", "listening"]
    swarmgate.run("hold", command=command, connections=1, duration=600)
"""
    )
    words = [sys.executable, "-m", "pytest", "--swarmgate-records=kept"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as session:
        server = psutil.Process(int(listening.read_text()))
        session.send_signal(signum)
        output, _ = session.communicate(timeout=DEADLINE_SECONDS)
        assert session.returncode == (2 if signum == signal.SIGINT else -signum), output
        # Of a session that was killed nobody is left to wait for it.
        server.wait(DEADLINE_SECONDS)
    (record,) = (project.path / "kept").glob("*.run.jsonl")
    if signum == signal.SIGINT:
        footer = read_record(record).footer
        assert footer is not None
        assert footer.interrupted


def test_a_folder_that_cannot_be_is_told_before_anything_runs(project: pytest.Pytester) -> None:
    done = run(project, "def test_it(swarmgate): pass", "--swarmgate-records=silent.py")
    done.assert_outcomes(errors=1)
    done.stdout.re_match_lines([r"E .*no records can be kept in \S+silent.py: File exists"])


def test_a_session_that_makes_no_run_loads_nothing_of_ours_but_the_plugin() -> None:
    """A project may have packages called reports or benchmarks, which are to be its own."""
    code = "import swarmgate.pytest_plugin, sys, json; print(json.dumps([*sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, cwd="/"
    )
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {"reports", "loadtests", "benchmarks", "target_app"}
    assert not loaded & {"numpy", "scipy", "fastapi", "pydantic", "uvloop", "asyncio", "rich"}


def test_a_project_with_packages_of_our_names_is_measured(project: pytest.Pytester) -> None:
    for name in ("reports", "loadtests", "benchmarks"):
        (project.path / name).mkdir()
        (project.path / name / "__init__.py").write_text("MINE = True\n")
    done = run(
        project,
        """
import benchmarks, loadtests, reports

def test_it(swarmgate):
    assert benchmarks.MINE and loadtests.MINE and reports.MINE
    assert swarmgate.run("echo", path="/echo", **PLAIN, **SMALL).errors == 0
""",
        "--import-mode=prepend",
    )
    done.assert_outcomes(passed=1)


def test_the_example_of_the_page_passes(project: pytest.Pytester) -> None:
    page = (ROOT / "docs" / "pytest.md").read_text()
    example = page.partition("```python\n")[2].partition("```")[0]
    # As it is, but for how fast this machine has to be.
    patient = example.replace("duration=2", f"duration=2, bound={[*changed(PATIENT)]!r}")
    patient = patient.replace("last < 0.5", "last < 60")
    assert len(patient) > len(example) + 1
    (project.path / "app.py").write_text((ROOT / "examples" / "tutorial_server.py").read_text())
    project.makepyfile(test_project=patient)
    done = project.runpytest_subprocess(timeout=DEADLINE_SECONDS)
    done.assert_outcomes(passed=1)
