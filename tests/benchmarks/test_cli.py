"""The command line: what it prints, where, and with which exit status."""

import json
import re
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.main import get_group

from benchmarks.cli import MODULES
from reports.record import read_record
from tests.interrupting import interrupted
from tests.servers.launch import ROOT, known, launch
from tests.servers.ports import nobody_listens

DEADLINE_SECONDS = 240.0
PATIENT = "tests.patient_swarmgate"


def swarmgate(
    *arguments: str, cwd: Path | None = None, module: str = "benchmarks"
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=cwd,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def test_a_run_that_held_prints_what_people_look_for_and_exits_with_0(tmp_path: Path) -> None:
    with known() as server:
        done = swarmgate(
            "run", server.url("/echo"), "20", "--scenario", "echo", "-r", "100", "-d", "1s",
            cwd=tmp_path, module=PATIENT,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for line in ("Connected:", "Errors:", "Avg latency:", "Server memory:", "Server CPU:"):
        assert line in done.stdout
    assert "100 /s requested" in done.stdout
    assert "measure" in done.stderr
    (record,) = (tmp_path / "reports" / "runs").glob("*.run.jsonl")
    assert str(record.relative_to(tmp_path)) in done.stdout
    assert read_record(record).header.command[:2] == ("swarmgate", "run")


def test_what_lies_in_the_working_directory_is_not_imported(tmp_path: Path) -> None:
    """A project may have folders and files of the names of ours, or of what we use."""
    for folder in ("loadtests", "reports", "benchmarks", "target_app"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").write_text("raise SystemExit('a stranger')\n")
    for file in ("uvloop", "numpy", "swarm"):
        (tmp_path / f"{file}.py").write_text("raise SystemExit('a stranger')\n")

    def installed(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(Path(sys.executable).with_name("swarmgate")), *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )

    with known() as server:
        done = installed("run", server.url("/echo"), "5", "-d", "0.5s", "-o", "a.run.jsonl")
    # On a busy machine the generator may be late, and the run invalid for that.
    assert done.returncode in (0, 3), done.stderr
    assert "5 of 5" in done.stdout
    served = installed("serve", "--help")
    assert served.returncode == 0, served.stderr
    assert "--port" in served.stdout


def test_json_is_one_document_on_standard_output_and_nothing_else(tmp_path: Path) -> None:
    output = tmp_path / "a.run.jsonl"
    with known() as server:
        done = swarmgate(
            *("run", server.url(), "5", "-d", "0.5s", "--json", "-o", str(output)), module=PATIENT
        )
    document = json.loads(done.stdout)
    assert document["valid"] is True
    assert document["figures"]["connections.opened"] == 5
    assert document["record"] == str(output)


def test_a_run_without_a_rate_is_labelled_closed_model(tmp_path: Path) -> None:
    with known() as server:
        done = swarmgate(
            "run", server.url("/echo"), "2", "--scenario", "echo", "-d", "0.5s", "-q", cwd=tmp_path
        )
    assert "closed model" in done.stdout
    assert done.stderr == ""


def test_lost_messages_exit_with_1(tmp_path: Path) -> None:
    with known("--lose-every", "5") as server:
        done = swarmgate(
            "run", server.url("/echo"), "5", "--scenario", "echo", "-r", "50", "-d", "1s", "-q",
            cwd=tmp_path, module=PATIENT,
        )  # fmt: skip
    assert done.returncode == 1
    assert "10 lost" in done.stdout
    assert done.stdout.splitlines()[-1] == "FAILED: 10 of 50 messages lost"


def test_a_threshold_decides_and_stands_on_the_record(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('threshold = ["latency.p50_seconds<=1ns", "errors<=0"]\n')
    output = tmp_path / "a.run.jsonl"
    load = ("-s", "echo", "-r", "50", "-d", "1s")
    with known() as server:
        url = server.url("/echo")
        held = swarmgate(
            *("run", url, "5", *load, "--threshold", "latency.p50_seconds<=30s"),
            *("-o", str(tmp_path / "held.run.jsonl")),
            module=PATIENT,
        )
        failed = swarmgate(
            *("run", url, "5", *load, "-f", str(file), "-o", str(output)), module=PATIENT
        )
    assert (held.returncode, held.stdout.splitlines()[-1]) == (0, "HELD: nothing went wrong")
    assert failed.returncode == 1
    last = failed.stdout.splitlines()[-1]
    assert last.startswith("FAILED: latency.p50_seconds <= ")
    assert "--threshold 'latency.p50_seconds<=1ns' --threshold 'errors<=0'" in failed.stdout
    again = swarmgate("report", str(output))
    assert (again.returncode, again.stdout.splitlines()[-1]) == (1, last)


def test_a_target_that_refuses_has_failed(tmp_path: Path) -> None:
    with nobody_listens() as port:
        done = swarmgate("run", f"ws://127.0.0.1:{port}/", "5", "-q", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == (
        f"FAILED: no connection to ws://127.0.0.1:{port}/ could be opened; "
        "5 errors (connect:refused × 5)"
    )


def test_a_target_command_is_started_and_stopped(tmp_path: Path) -> None:
    done = swarmgate(
        "run", "ws://127.0.0.1:{port}/echo", "10", "-d", "0.5s", "-q", "--json",
        "--target-cmd", f"{sys.executable} -m benchmarks.cost.picows_echo {{port}}",
        cwd=tmp_path, module=PATIENT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    header = read_record(Path(tmp_path, json.loads(done.stdout)["record"])).header
    assert header.target.command[1:3] == ("-m", "benchmarks.cost.picows_echo")
    (pid,) = header.target.pids
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["run"], "no address was given"),
        (["run", "ws://h/", "--nope"], "No such option: --nope"),
        (["runn"], "No such command 'runn'"),
        (["run", "http://h/"], "scheme 'http'"),
        (["run", "ws://h/", "10q"], "COUNT: '10q' is not a count"),
        (["run", "ws://h/", "0"], "connections is 0"),
        (["run", "ws://h/", "1", "-d", "5 parsecs"], "--duration: '5 parsecs'"),
        (["run", "ws://h/", "1", "-r", "-3"], "rate is -3"),
        (["run", "ws://h/", "1", "--scenario", "tornado"], "no scenario is called 'tornado'"),
        (["run", "ws://h/", "1", "--param", "active"], "KEY=VALUE"),
        (["run", "ws://h/", "1", "--rate", "5"], "hold sends nothing: leave --rate"),
        (["run", "ws://h/", "1", "--pid", "abc", "--dry-run"], "--pid: 'abc' is not a process ID"),
        (["run", "ws://h/", "1", "--pid", "4194305"], "--pid 4194305: there is no such process"),
        (["run", "ws://h/", "1", "--source", "192.0.2.1"], "--source 192.0.2.1 is not an address"),
        (["run", "ws://h/{room}", "1"], "unknown placeholder {room} in 'ws://h/{room}'"),
        (["run", "ws://h/", "1", "--bearer", "{feed}"], "unknown placeholder {feed}"),
        (["run", "ws://h/", "1", "--threshold", "p99"], "--threshold: 'p99' is not a threshold"),
        (["run", "ws://h/", "1", "--param", "idle=2"], "no parameter 'idle'"),
        (["run", "ws://h:{port}/", "1"], "--target-cmd"),
        (["run", "ws://h:{port}/", "1", "--target-cmd", "server"], "has no {port}"),
        (["run", "ws://h:{port}/", "1", "--target-cmd", "a 'b {port}"], "No closing quotation"),
        (["claims", "/no/such/file.toml"], "cannot read /no/such/file.toml"),
        (["claims", "--only", "coroutine", "-o", "/dev/null/x"], "cannot write /dev/null/x"),
        (["claims", "--only", "nothing"], "no claim is called 'nothing'"),
    ],
)
def test_wrong_usage_is_one_line_and_exits_with_2(
    tmp_path: Path, arguments: list[str], complaint: str
) -> None:
    done = swarmgate(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert complaint in done.stderr
    assert not list(tmp_path.rglob("*.jsonl"))


def test_a_record_that_exists_is_not_overwritten(tmp_path: Path) -> None:
    kept = tmp_path / "kept.run.jsonl"
    kept.write_text("mine")
    done = swarmgate("run", "ws://127.0.0.1:9/", "1", "-o", str(kept))
    assert done.returncode == 2
    assert "exists already" in done.stderr
    assert kept.read_text() == "mine"


@pytest.mark.parametrize(
    ("flags", "faults", "status", "last"),
    [
        ((), (), 0, "HELD: nothing went wrong"),
        ((), ("--lose-every", "2"), 1, r"FAILED: \d+ of 20 messages lost"),
        (("--threshold", "messages.sent>=1k"), (), 1, r"FAILED: messages.sent >= 1,000, found 20"),
        (
            ("--abort-on", "errors>=0", "-d", "600s"),
            (),
            1,
            r"FAILED: aborted on errors >= 0, found 0",
        ),
        (("--rate", "no"), (), 2, r"swarmgate: --rate: 'no' is not a rate; .*"),
        (
            ("--bound", "lateness_p99_seconds=0s"),
            (),
            3,
            r"INVALID: swarm process 0 sent late: .*, at most 0 ms is allowed; use more .*",
        ),
    ],
)
def test_the_last_line_says_why_the_exit_status_is_what_it_is(
    tmp_path: Path, flags: tuple[str, ...], faults: tuple[str, ...], status: int, last: str
) -> None:
    load = ("-s", "echo", "-r", "20", "-d", "1s", "-q")
    with known(*faults) as server:
        done = swarmgate(
            "run", server.url("/echo"), "5", *load, *flags, cwd=tmp_path, module=PATIENT
        )
    assert done.returncode == status, done.stdout
    lines = (done.stdout or done.stderr).splitlines()
    assert re.fullmatch(last, lines[-1]), lines[-1]
    if status == 2:
        return
    (record,) = tmp_path.rglob("*.run.jsonl")
    again = swarmgate("report", str(record))
    assert (again.returncode, again.stdout.splitlines()[-1]) == (status, lines[-1])


def test_a_record_that_cannot_be_written_any_more_ends_the_run_in_one_line(tmp_path: Path) -> None:
    """As where the disk is full; a limit on the size of a file is refused by the kernel alike."""
    path = tmp_path / "a.run.jsonl"
    run = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
sys.argv[1:] = ["run", sys.argv[1], "5", "-s", "echo", "-d", "60s", "-q", "-o", {str(path)!r}]
from benchmarks.cli import main
main()
"""
    with known() as server:
        done = subprocess.run(
            [sys.executable, "-c", run, server.url("/echo")],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_SECONDS,
        )
        injected = server.stop()
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr == (
        f"swarmgate: cannot write {path}: File too large; the record is complete up to there\n"
    )
    assert path.stat().st_size == 20_000
    record = read_record(path)
    assert record.truncated
    assert record.footer is None
    assert injected is not None
    # The swarm has ended too.
    assert injected["handshakes"] == 5


def test_ctrl_c_exits_with_130_and_leaves_the_record_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.run.jsonl"
    with known() as server:
        cut = interrupted("run", server.url(), "5", "-d", "60s", "-o", str(path), when="measure")
    assert cut.returncode == 130
    assert "Traceback" not in cut.stderr
    assert cut.stdout.splitlines()[-1] == "INTERRUPTED: the run was interrupted"
    footer = read_record(path).footer
    assert footer is not None
    assert footer.interrupted


def test_every_command_of_every_module_is_there() -> None:
    files = sorted(path.stem for path in (ROOT / "benchmarks" / "commands").glob("[a-z]*.py"))
    homes = ["loadtests.cli", "reports.cli", *(f"benchmarks.commands.{name}" for name in files)]
    there = {
        command: home for home in homes for command in get_group(import_module(home).app).commands
    }
    assert there == MODULES
    said = swarmgate("--help").stdout
    assert all(re.search(rf"│ {command} ", said) for command in (*MODULES, "serve"))


def test_the_package_is_the_command_line_and_tells_its_version() -> None:
    done = swarmgate("--version", module="swarmgate")
    assert (done.returncode, done.stdout) == (0, f"swarmgate {version('swarmgate')}\n")


@pytest.mark.parametrize(
    ("typed", "completed"),
    [("swarmgate ga", ["gate"]), ("swarmgate run --sc", ["--scenario"])],
)
def test_a_shell_completes_commands_and_their_options(typed: str, completed: list[str]) -> None:
    place = len(typed.split()) - 1
    asked = {"COMP_WORDS": typed, "COMP_CWORD": str(place), "_SWARMGATE_COMPLETE": "complete_bash"}
    program = "import sys; sys.argv[0] = 'swarmgate'; from benchmarks.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **asked},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=True,
    )
    assert done.stdout.split() == completed


def test_the_doctor_prints_limit_value_and_remedy() -> None:
    done = swarmgate("doctor")
    assert done.returncode == 0
    for part in ("RLIMIT_NOFILE", "ip_local_port_range", "sysctl -w", "ulimit -Hn"):
        assert part in done.stdout
    assert len(json.loads(swarmgate("doctor", "--json").stdout)) == 7


def test_serve_runs_the_reference_server(tmp_path: Path) -> None:
    with launch([sys.executable, "-m", "benchmarks", "serve", "--port", "0"]) as server:
        done = swarmgate(
            *("run", server.url("/ws"), "5", "-d", "0.5s", "-q"), cwd=tmp_path, module=PATIENT
        )
        server.stop()
    assert done.returncode == 0, done.stdout
    assert server.process.returncode == 0


@pytest.mark.parametrize(
    ("metric", "bound", "status", "last"),
    [
        ("connections.open", "3", 0, "HELD: every verdict is as expected"),
        ("connections.open", "4", 1, "FAILED: mine: refuted, expected holds"),
        ("latency.p99_seconds", "3", 3, "INVALID: not measured: mine"),
    ],
)
def test_claims_end_with_what_came_of_them(
    tmp_path: Path, metric: str, bound: str, status: int, last: str
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        "[experiment.few]\nscenario = 'hold'\nconnections = 3\nduration = '1s'\nrepeats = 2\n"
        "[[claim]]\nid = 'mine'\nsays = 'Many stay.'\nsource = 'us'\nexperiment = 'few'\n"
        f"metric = '{metric}'\ncomparison = 'at_least'\nvalue = {bound}\n"
    )
    done = swarmgate("claims", str(file), "-q", "-o", str(tmp_path / "runs"), cwd=tmp_path)
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == last


@pytest.mark.parametrize(
    ("command", "said"), [("run", "[default: 10s]"), ("claims", "[default: under reports/runs/]")]
)
def test_help_says_what_is_taken_where_nothing_is_given(command: str, said: str) -> None:
    text = " ".join(swarmgate(command, "--help").stdout.replace("│", " ").split())
    assert said in text
