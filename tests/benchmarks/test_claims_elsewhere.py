"""Claims about servers that are not ours: the example files, and the command line on a stranger."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.cli import app
from loadtests.plan.bounds import changed
from reports.record import read_record
from reports.summary import summarise
from tests.interrupting import interrupted
from tests.loadtests.conftest import PATIENT
from tests.loadtests.test_other_servers import node_command
from tests.servers.launch import ROOT, launch
from tests.servers.ports import nobody_listens

DEADLINE_SECONDS = 600.0
# A busy machine makes a generator late, and a run of a late one is invalid: these are not about it.
PATIENTLY = ("--flags", " ".join(f"--bound {text}" for text in changed(PATIENT)))
TUTORIAL = [sys.executable, "examples/tutorial_server.py", "0"]

SMALL = """\
[target.a]
command = "{python} -m tests.servers.plain_websockets {port}"

[experiment.echo]
scenario = "echo"
path = "/talk"
connections = 5
rate = 50.0
duration = "0.5s"
repeats = 2

[[claim]]
id = "loss"
says = "nothing is lost"
source = "ours"
experiment = "echo"
metric = "integrity.lost"
comparison = "at_most"
value = "0"
context = ["connections.open"]
"""


@dataclass(frozen=True)
class Judged:
    """What the command printed, and the verdicts of its table, by claim and column."""

    status: int
    output: str
    errors: str
    folder: Path

    @property
    def last(self) -> str:
        return self.output.splitlines()[-1]

    def rows(self) -> dict[str, list[str]]:
        table = (self.folder / "claims.md").read_text().split("\n\n", 1)[1]
        rows = [re.split(r"(?<!\\) \| ", line.strip("| ")) for line in table.splitlines()[2:]]
        return {next(it for it in row if it.startswith("“")).strip("“”"): row for row in rows}


def claims(folder: Path, *arguments: str) -> Judged:
    done = subprocess.run(
        [*(sys.executable, "-m", "benchmarks", "claims"), *arguments, "-q", "-o", str(folder)],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return Judged(done.returncode, done.stdout, done.stderr, folder)


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "claims.toml"
    path.write_text(text)
    return str(path)


def figures_of(record: Path) -> dict[str, float]:
    return dict(summarise(read_record(record)).figures)


def counted_by(record: Path) -> dict[str, int]:
    """Return what a server printed last into the log beside a record."""
    log = record.with_name(record.name.replace(".run.jsonl", ".target.log"))
    counts: dict[str, int] = json.loads(log.read_text().splitlines()[-1])
    return counts


def records(folder: Path, name: str = "*") -> Sequence[Path]:
    found = sorted(folder.glob(f"{name}.run.jsonl"))
    assert found
    return found


@pytest.mark.long
def test_the_claims_about_node_are_judged_beside_fastapi_and_counted_as_node_counts(
    tmp_path: Path,
) -> None:
    node_command()
    done = claims(tmp_path, "examples/claims_node_ws.toml", "--repeats", "2", *PATIENTLY)
    rows = done.rows()
    # Not of these: what depends on how fast the machine is, or how noisy.
    for says, figure in {
        "1,000 connections at once": "✔ **holds**, 2 runs: 1,000 in every run",
        "and none of them fails": "✔ **holds**, 2 runs: 0 in every run",
        "it makes use of more than one core": "✘ **refuted**, 2 runs: 1 in every run",
        "every message is echoed": "✔ **holds**, 2 runs: 0 in every run; duplicated 0",
        "every one of 500 gets every broadcast": "✔ **holds**, 2 runs: 0 in every run; dupl",
    }.items():
        assert [cell.startswith(figure) for cell in rows[says][2:4]] == [True, True], rows[says]
    ratio = rows["a message takes at most twice the CPU that it takes in FastAPI"]
    assert ratio[1] == "at most 2 times fastapi"
    assert re.search(r"2 runs: [\d.]+ times \([\d.]+ to", ratio[2].replace("\xa0", " "))
    assert ratio[3] == "–"
    assert done.status in (0, 1, 4), done.output
    assert not re.search(r"connected|errors|echoed|delivered|cores", done.last)
    for name in ("*-idle-ws-*", "*-broadcast-ws-*"):
        for record in records(tmp_path, name):
            figures, counted = figures_of(record), counted_by(record)
            assert counted["handshakes"] == figures["connections.opened"]
            assert counted["received"] == figures["messages.sent"]
            assert counted["sent"] == figures["messages.received"]
    for record in records(tmp_path, "*-echo-ws-*"):
        figures, counted = figures_of(record), counted_by(record)
        # Its warm-up has as many connections of its own, and of its messages nothing is kept.
        assert counted["handshakes"] == 2 * figures["connections.opened"] == 400
        assert counted["received"] == counted["sent"] > figures["messages.sent"] == 1000


def test_the_claims_about_a_protocol_of_its_own_are_judged_by_flags_alone(tmp_path: Path) -> None:
    only = ("--only", "cost", "--only", "answered")
    done = claims(tmp_path, "examples/claims_pubsub.toml", "--repeats", "2", *only, *PATIENTLY)
    rows = done.rows()
    assert rows["every call is answered"][0] == "✔ **holds**", done.output
    assert re.match(
        r"[\d.]+ times \(",
        rows["a call takes no more than four times the CPU of a plain echo"][3].replace(
            "\xa0", " "
        ),
    )
    assert done.status in (0, 1, 4)
    assert "answered" not in done.last
    assert {record.name[3:-12] for record in records(tmp_path)} == {
        "calls-pubsub",
        "plain-echo-plain",
    }


def test_the_same_claims_are_judged_on_another_server_which_counts_the_same(
    tmp_path: Path,
) -> None:
    app = shlex.join(("env", f"--chdir={ROOT / 'examples'}", f"PYTHONPATH={ROOT}"))
    command = f"{app} {{python}} -m tests.servers.counted pubsub_app:app {{port}}"
    done = claims(
        *(tmp_path, "examples/claims_pubsub.toml", "--repeats", "2", *PATIENTLY),
        *("--target-cmd", command),
    )
    rows = done.rows()
    # What the file expects is of its own servers: here every claim is expected to hold.
    assert done.status == 1, done.output
    assert "nothing-else: refuted, expected holds" in done.last
    # A ratio to another server of the file is none of this one.
    assert not [says for says in rows if "plain echo" in says]
    assert {
        says: rows[says][0] for says in rows if "within" not in says and "100 KB" not in says
    } == {
        "400 subscribers at once": "✔ **holds**",
        "every call is answered": "✔ **holds**",
        "every subscriber gets every message, once and in order": "✔ **holds**",
        "and nothing else": "✘ **refuted**",
    }
    for record in records(tmp_path):
        figures, counted = figures_of(record), counted_by(record)
        assert counted["websocket.accept"] == figures["connections.opened"]
        assert counted["websocket.receive"] == sum(
            figures.get(name, 0) for name in ("messages.sent", "ready.sent", "answers.sent")
        )
        assert counted["websocket.send"] == sum(
            figures.get(name, 0) for name in ("messages.received", "ready.received")
        )
    published = figures_of(records(tmp_path, "*published*")[0])
    assert published["answers.sent"] == published["integrity.expected"] == 400


@pytest.mark.long
def test_our_claims_are_judged_on_a_stranger_as_far_as_they_can_be_measured_there(
    tmp_path: Path,
) -> None:
    """It has no ``/echo``, and speaks a protocol of its own, so that no broadcast comes back."""
    done = claims(
        *(tmp_path, "--quick", "--path", "/ws=/pubsub", "--only", "errors", "--only", "latency"),
        *("--only", "broadcast", "--target-cmd"),
        f"{{python}} -P -m uvicorn --app-dir {ROOT / 'examples'} pubsub_app:app --port {{port}} "
        "--log-level critical",
    )
    rows = {says: row[0] for says, row in done.rows().items()}
    assert rows == {
        "10,000 concurrent connections, 0 errors": "✔ **holds**",
        "avg latency: 0.5 ms": "– **not measured**",
        "thousands can wait while one message is broadcast": "– **not measured**",
    }
    assert (done.status, done.last) == (3, "INVALID: not measured: latency, broadcast")
    told = " ".join(done.output.split())
    assert re.search(
        r"– latency: run 1 of echo is invalid: no connection to ws://127\.0\.0\.1:\d+/echo could "
        r"be opened; [\d,]+ errors \(upgrade:http-403 × [\d,]+\)",
        told,
    )
    assert re.search(r"– broadcast: run 1 of broadcast: [\d,]+ errors, [\d,]+ messages lost", told)
    # Told once, whatever number of claims it keeps from being judged.
    assert told.count("upgrade:http-403") == 1


def test_a_server_that_runs_is_judged_where_it_is_its_paths_renamed(tmp_path: Path) -> None:
    file = written(tmp_path, SMALL)
    with launch(TUTORIAL) as server:
        url = server.url("")
        done = claims(tmp_path / "a", file, "--url", url, "--path", "/talk=/echo", *PATIENTLY)
        assert server.process.poll() is None
        found = {read_record(it).header.target.pids for it in records(tmp_path / "a")}
        assert found == {(server.pid,)}
        unnamed = claims(tmp_path / "c", file, "--url", url, *PATIENTLY)
    assert done.status == 0, done.output
    assert done.rows()["nothing is lost"][3] == "0 in every run; connections open 5"
    assert unnamed.status == 3
    assert "(upgrade:http-403 × 5)" in " ".join(unnamed.output.split())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--target-cmd", "serve"), "command 'serve' has no {port}"),
        (
            ("--target-cmd", "serve {prot} {port}"),
            "{prot} is not a placeholder of a command; did",
        ),
        (("--target-cmd", "serve '{port}"), "No closing quotation"),
        (("--target-cmd", "serve {port}", "--url", "ws://127.0.0.1:9"), "leave one of them out"),
        (("--target-cmd", "serve {port}", "--pid", "1"), "--pid goes with --url"),
        (("--pid", "1"), "--pid and --path go with --target-cmd or --url"),
        (("--url", "127.0.0.1:9"), "is not a WebSocket address"),
        (("--url", "ws://127.0.0.1:9", "--path", "talk=x"), "--path takes OLD=NEW"),
        (
            ("--url", "ws://127.0.0.1:9", "--path", "/nowhere=/x"),
            "no experiment uses /nowhere; there are /talk",
        ),
        (("--flags", "--bearer 'x"), '--flags "--bearer \'x": No closing quotation'),
        (("--flags", "--brearer x"), "No such option: --brearer"),
        (("--only", "losses"), "no claim is called 'losses'; did you mean loss"),
        (("--target", "b"), "no target is called 'b'; there are a"),
        (
            ("--flags", "--target-ready /x"),
            "--target-ready belongs to the server, not to a load on it",
        ),
        (
            ("--url", "ws://127.0.0.1:9", "--flags", "--target-env A=1"),
            "--target-env can only be used with --target-cmd",
        ),
    ],
)
def test_a_command_that_cannot_be_is_refused_in_a_line_before_anything_runs(
    tmp_path: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    done = claims(tmp_path / "runs", written(tmp_path, SMALL), *arguments)
    assert done.status == 2
    assert complaint in done.errors
    assert len(done.errors.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("flags", "status", "told"),
    [
        ("--target-ready /healthz --target-timeout 60s", 0, ""),
        # Whether it listens within the time is a matter of the machine.
        (
            "--target-ready /no-such-path --target-timeout 2s",
            3,
            r"does not .+ on port \d+ after 2 s",
        ),
    ],
)
def test_a_stranger_is_waited_for_until_it_is_ready(
    tmp_path: Path, flags: str, status: int, told: str
) -> None:
    command = "{python} -m target_app --port {port} --log-level warning"
    where = ("--target-cmd", command, "--path", "/talk=/echo", "--flags", f"{PATIENTLY[1]} {flags}")
    done = claims(tmp_path / "runs", written(tmp_path, SMALL), *where)
    assert done.status == status, done.output + done.errors
    assert re.search(told, " ".join(done.output.split()))


def test_memory_is_not_judged_after_a_warm_up_that_comes_with_flags(tmp_path: Path) -> None:
    metric = "server.memory_growth_per_connection_bytes"
    file = written(tmp_path, SMALL.replace("integrity.lost", metric).replace('"0"', '"9kB"'))
    done = claims(tmp_path / "runs", file, "--flags", "--warmup 1s")
    assert done.status == 2
    assert done.errors.endswith(
        f"claim loss: after a warm-up, {metric} misses the memory that the warm-up left behind; "
        "give echo warmup = 0\n"
    )


def test_a_figure_that_there_is_not_is_answered_with_those_that_come_near(tmp_path: Path) -> None:
    file = written(tmp_path, SMALL.replace("integrity.lost", "integrity.loss"))
    done = claims(tmp_path / "runs", file)
    assert done.status == 2
    assert ":17: claim.0.metric: no figure is called 'integrity.loss'" in done.errors
    assert "did you mean integrity.lost" in done.errors


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (
            "-m tests.servers.plain_websockets {port}",
            "-c 'import time; time.sleep(999)' {port}\"\ntimeout = \"0.5s",
            r"the target .* does not listen on port \d+ after 0\.5 s; its output is in .*01-echo-a",
        ),
        (
            "-m tests.servers.plain_websockets {port}",
            "-c 'import no_such_module' {port}",
            r"ended with status 1 before it listened on port \d+; its last words: ModuleNotFoundE",
        ),
        ("{python} -m", "no-such-program", "cannot start the target no-such-program"),
    ],
)
def test_a_server_that_never_gets_ready_is_not_measured_nor_waited_for_twice(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    done = claims(tmp_path / "runs", written(tmp_path, SMALL.replace(old, new)))
    assert (done.status, done.last) == (3, "INVALID: not measured: loss")
    assert re.search(f"– loss: run 1 of echo is invalid: .*{reason}", " ".join(done.output.split()))
    assert len(list((tmp_path / "runs").glob("*.target.log"))) <= 1


def test_a_server_that_dies_in_the_middle_is_not_measured(tmp_path: Path) -> None:
    text = SMALL.replace(
        "tests.servers.plain_websockets", "benchmarks.calibration.known_server"
    ).replace("{port}", "{port} --die-at-message 5")
    done = claims(tmp_path / "runs", written(tmp_path, text), *PATIENTLY)
    assert (done.status, done.last) == (3, "INVALID: not measured: loss"), done.output
    told = " ".join(done.output.split())
    # Whichever is noticed first: that the process is gone, or that nobody is connected.
    died = r"died in the middle of the run \(process \d+\): (it ended with status 1; )?its last"
    ended = rf"the target ({died} words: |ended every connection in the middle of the run)"
    assert re.search(f"loss: run 1 of echo is invalid: {ended}", told), told


def test_an_address_where_nobody_listens_is_not_measured(tmp_path: Path) -> None:
    with nobody_listens() as port:
        done = claims(
            tmp_path / "runs", written(tmp_path, SMALL), "--url", f"ws://127.0.0.1:{port}"
        )
    assert done.status == 3
    assert "could be opened; 5 errors (connect:refused × 5)" in " ".join(done.output.split())


def test_a_port_that_another_has_is_told(tmp_path: Path) -> None:
    with launch(TUTORIAL) as server:
        taken = f"sh -c 'exec {{python}} -m tests.servers.plain_websockets {server.port}' {{port}}"
        plain = "{python} -m tests.servers.plain_websockets {port}"
        assert plain in SMALL
        done = claims(tmp_path / "runs", written(tmp_path, SMALL.replace(plain, taken)))
    assert done.status == 3
    assert "address already in use" in " ".join(done.output.split())


def test_what_was_measured_is_kept_when_a_person_ends_it_in_the_middle(tmp_path: Path) -> None:
    file = written(tmp_path, SMALL.replace('"0.5s"', '"60s"'))
    cut = interrupted("claims", file, "-o", str(tmp_path / "runs"), when="measure")
    assert cut.returncode == 130, cut.stderr
    assert "Traceback" not in cut.stderr
    assert cut.stdout == ""
    (line,) = [line for line in cut.stderr.splitlines() if line.startswith("swarmgate: ")]
    assert line == (
        f"swarmgate: 01-echo-a-1 was interrupted; the records so far are in {tmp_path / 'runs'}"
    )
    (record,) = records(tmp_path / "runs")
    footer = read_record(record).footer
    assert footer is not None
    assert footer.interrupted


def test_a_person_may_end_it_between_two_runs_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmarks.commands.claims.run_all", ended)
    done = CliRunner().invoke(
        app, ["claims", written(tmp_path, SMALL), "-q", "-o", str(tmp_path / "runs")]
    )
    assert done.exit_code == 130
    assert done.stderr == (
        f"swarmgate: interrupted between two runs; the records so far are in {tmp_path / 'runs'}\n"
    )
