"""The gate from outside: what it compares, what it decides, and how it ends."""

import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from benchmarks.gate.journal import JOURNAL, read_journal
from reports.record import read_record
from tests.interrupting import interrupted
from tests.servers.launch import ROOT, launch

DEADLINE_SECONDS = 240.0
# As patient as the fixtures of the load tests: what is asked is not how fast this machine is.
PATIENT = 'bound = ["lateness_p99_seconds=30s", "loop_lag_p99_seconds=30s", "gc_pause_seconds=30s"]'
LOAD = f"""
[load.echo]
scenario = "echo"
path = "/echo"
connections = 4
rate = 40
duration = "300ms"
{PATIENT}
"""
# One that never decides for the worse, whatever the machine does.
LENIENT = """
[[metric]]
load = "echo"
figure = "latency.p50_seconds"
effect = "900%"
"""
# One that is the same in every run, whatever the machine does.
STEADY = """
[[metric]]
load = "echo"
figure = "connections.opened"
better = "higher"
effect = "10%"
"""
FAST = 'blocks = 2\nfalse_alarms = "40%"\nfalse_passes = "60%"\n'
PLAIN = "{python} -m tests.servers.plain_websockets {port}"


def swarmgate(
    *arguments: str, cwd: Path, environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def config(folder: Path, text: str) -> str:
    path = folder / "gate.toml"
    path.write_text(text)
    return str(path)


def gate(folder: Path, text: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    words = ("gate", "--config", config(folder, text), "-q", "-o", "runs", "--seed", "1")
    return swarmgate(*words, *arguments, cwd=folder)


def commands(base: str = PLAIN, head: str = PLAIN) -> tuple[str, ...]:
    return "--base-cmd", base, "--head-cmd", head


def last(done: "subprocess.CompletedProcess[str]") -> str:
    return (done.stdout or done.stderr).splitlines()[-1]


def test_a_server_that_is_the_same_passes_and_everything_is_kept(tmp_path: Path) -> None:
    done = gate(
        tmp_path, FAST + LOAD + STEADY, *commands(), "--junit", "j.xml", "--markdown", "m.md"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert last(done).startswith("HELD: ")
    journal = read_journal(tmp_path / "runs" / JOURNAL)
    assert journal.begin.seed == 1
    assert {block.order for block in journal.blocks} <= {"AB", "BA"}
    block = journal.blocks[0]
    records = sorted((tmp_path / "runs").glob("01-*.run.jsonl"))
    sides = ["base" if letter == "A" else "head" for letter in block.order]
    assert [record.name for record in records] == [
        f"01-{turn}-{side}-echo.run.jsonl" for turn, side in enumerate(sides, 1)
    ]
    # Each run has a process of its own.
    assert len({read_record(record).header.target.pids for record in records}) == 2
    suite = ET.parse(tmp_path / "j.xml").getroot()  # noqa: S314 - we have written it
    assert (suite.get("tests"), suite.get("failures")) == ("2", "0")
    names = [case.get("name") for case in suite.iter("testcase")]
    assert names == ["echo: connections opened", "runs with faults"]
    assert "| ✔ **passes** | echo: connections opened |" in (tmp_path / "m.md").read_text()


APP = """
import os

KEPT = []

async def app(scope, receive, send):
    if scope["type"] != "websocket":
        return
    await receive()
    await send({{"type": "websocket.accept"}})
    kept = bytes({memory}) + b"x"
    while (message := await receive())["type"] == "websocket.receive":
        for _ in range({calls}):
            os.getppid()
        await send({{"type": "websocket.send", "text": message["text"]}})
"""
SETTINGS = """
[tool.swarmgate.gate]
command = "{python} -m uvicorn app:app --port {port}"
blocks = 8
prepare = []

[tool.swarmgate.gate.count.own]
app = "app:app"
broadcast = false
echo_path = "/"
connections = 40
messages = 10

[[tool.swarmgate.gate.metric]]
load = "own"
figure = "counts.memory_per_connection_bytes"
effect = "5%"
"""


def repository(folder: Path, *versions: Mapping[str, int]) -> Path:
    """Make a repository with a commit for each version of an application; return its folder."""
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    for version in versions:
        (folder / "app.py").write_text(APP.format(**{"memory": 0, "calls": 0} | version))
        (folder / "pyproject.toml").write_text(SETTINGS)
        git(folder, "add", ".")
        git(folder, "commit", "--allow-empty", "-qm", "a version")
    return folder


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("versions", "arguments", "status", "said"),
    [
        (({}, {}), ("--base", "HEAD~1"), 0, "HELD: .*no metric is worse"),
        (
            ({}, {"memory": 2048}),
            ("--base", "HEAD~1"),
            1,
            "FAILED: .*own: memory a connection",
        ),
        (({"memory": 2048}, {}), ("--base", "HEAD~1"), 0, "HELD: "),
        (({}, {"memory": 2048}, {}), ("--base", "HEAD~2", "--head", "HEAD~1"), 1, "FAILED: "),
    ],
)
def test_two_commits_are_checked_out_side_by_side(
    tmp_path: Path,
    versions: Sequence[Mapping[str, int]],
    arguments: Sequence[str],
    status: int,
    said: str,
) -> None:
    place = repository(tmp_path / "project", *versions)
    done = swarmgate("gate", *arguments, "-q", "-o", "../runs", cwd=place)
    assert done.returncode == status, done.stdout + done.stderr
    assert re.match(said, last(done)), last(done)
    # Nothing is left of the checkouts.
    assert git(place, "worktree", "list").count("\n") == 0
    assert git(place, "status", "--porcelain") == ""


def test_the_working_tree_is_what_is_judged(tmp_path: Path) -> None:
    place = repository(tmp_path / "project", {})
    (place / "app.py").write_text(APP.format(memory=4096, calls=0))
    done = swarmgate("gate", "--base", "HEAD", "-q", "-o", "../runs", cwd=place)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "head: working tree" in done.stdout
    # It is as it was.
    assert "4096" in (place / "app.py").read_text()
    assert git(place, "status", "--porcelain") == "M app.py"
    assert git(place, "stash", "list") == ""


def test_what_git_does_not_follow_is_not_judged_and_that_is_said(tmp_path: Path) -> None:
    place = repository(tmp_path / "project", {})
    (place / "more.py").write_text("")
    done = swarmgate("gate", "--base", "HEAD", "-q", "-o", "../runs", cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "head: the working tree without 1 of its files, such as more.py, which" in done.stderr


def test_a_working_tree_in_the_middle_of_a_merge_is_told_in_one_line(tmp_path: Path) -> None:
    place = repository(tmp_path / "project", {}, {"calls": 1})
    git(place, "checkout", "-q", "-b", "other", "HEAD~1")
    (place / "app.py").write_text("other = 1\n")
    git(place, "commit", "-qam", "another")
    with pytest.raises(subprocess.CalledProcessError):
        git(place, "merge", "main")
    done = swarmgate("gate", "--base", "main", "-q", "-o", "../runs", cwd=place)
    assert done.returncode == 3
    assert "cannot make a commit of the working tree: " in last(done)
    assert "Traceback" not in done.stderr


def test_a_head_that_does_not_do_what_is_counted_fails(tmp_path: Path) -> None:
    place = repository(tmp_path / "project", {})
    text = (place / "app.py").read_text()
    (place / "app.py").write_text(text.replace('message["text"]', '"something else"'))
    done = swarmgate("gate", "--base", "HEAD", "-q", "-o", "../runs", cwd=place)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.match("FAILED: own of head: ", last(done))


def test_a_tool_without_which_a_metric_cannot_be_counted_is_named_at_once(tmp_path: Path) -> None:
    place = repository(tmp_path / "project", {})
    path = place / "pyproject.toml"
    figure = "counts.memory_per_connection_bytes"
    path.write_text(path.read_text().replace(figure, "counts.instructions_per_echo"))
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "git").symlink_to(shutil.which("git") or "")
    words = ("gate", "--base", "HEAD", "-q", "-o", "../runs")
    done = swarmgate(*words, cwd=place, environment={"PATH": str(tools)})
    assert done.returncode == 3, done.stdout + done.stderr
    assert re.search(
        r"own of \w+: cannot count instructions: valgrind is not installed",
        last(done),
    )


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        ('["false"]', r"base \(HEAD \w{12}\) does not build: 'false' ended with 1"),
        ('["no-such-program x"]', r"base .* does not build: .* No such file or directory"),
        ('["sh \'x"]', r'prepare "sh \'x": No closing quotation'),
        (
            """["sh -c 'echo no wheel for it >&2; exit 3'"]""",
            "its last words: no wheel for it; all",
        ),
    ],
)
def test_a_base_that_does_not_build_is_told(tmp_path: Path, prepare: str, said: str) -> None:
    place = repository(tmp_path / "project", {})
    path = place / "pyproject.toml"
    path.write_text(path.read_text().replace("prepare = []", f"prepare = {prepare}"))
    done = swarmgate("gate", "--base", "HEAD", "-q", "-o", "../runs", cwd=place)
    assert done.returncode == (2 if "quotation" in said else 3)
    assert re.search(said, last(done)), done.stderr
    assert "Traceback" not in done.stderr


SILENT = "{python} -c 'import sys, time; time.sleep(1000)' {port}"
BROKEN = "{python} -c 'raise SystemExit(7)' {port}"


@pytest.mark.parametrize(
    ("text", "arguments", "status", "said"),
    [
        (LOAD, (), 2, "nothing to compare with; give --base REF"),
        (LOAD, ("--base-cmd", PLAIN), 2, "--base-cmd and --head-cmd go together"),
        (LOAD, ("--base", "main", *commands()), 2, "compare a pair of one kind"),
        (LOAD, commands("serve"), 2, "command 'serve' has no {port}"),
        ("", commands(), 2, "has no table"),
        ("blocks = 2\n", commands(), 2, "nothing is measured; add a load, such as"),
        (LOAD.replace('"echo"', '"hello"'), commands(), 2, "no scenario is called 'hello'"),
        (LOAD + LENIENT.replace("p50", "p55"), commands(), 2, "did you mean latency.p50_seconds"),
        (LOAD + LENIENT.replace('"echo"', '"eco"'), commands(), 2, "no load is called 'eco': echo"),
        (LOAD + LENIENT.replace("900%", "0%"), commands(), 2, "metric.0.effect"),
        ("block = 2\n" + LOAD, commands(), 2, "no such key is known; did you mean blocks"),
        ('warmup = "1s"\n' + LOAD, commands(), 2, "load.echo: after a warm-up, .* warmup = 0"),
        ("blocks = 3\n" + LOAD, commands(), 2, "3 blocks cannot decide .* it takes \\d+ or more"),
        (LOAD, (*commands(), "--blocks", "1"), 2, "--blocks: 1 blocks cannot decide"),
        (LOAD, (*commands(), "--budget", "soon"), 2, "--budget: 'soon' is not a duration"),
        (
            LOAD,
            (*commands(), "--budget", "3s"),
            2,
            "budget of 3.00 s has room for .* raise --budget",
        ),
        ("timeout = 0.5\n" + LOAD, commands(SILENT), 3, "echo on base, 3 times: .* does not"),
        (
            LOAD,
            commands(PLAIN, BROKEN),
            1,
            "FAILED: echo on head, 3 times: .* ended with status 7 before it listened",
        ),
        (LOAD.replace('"/echo"', '"/"').replace("echo]", "x]"), commands(), 2, "no load is called"),
        (LOAD + '[count.echo]\napp = "app:app"\n', commands(), 2, "a load has the same name"),
        ('[count.one]\napp = "app:app"\n', commands(), 2, "only counts, which needs checkouts"),
        (
            LOAD + LENIENT.replace("latency.p50_seconds", "messages.sent"),
            commands(),
            2,
            "metric.0.better: whether a higher or a lower messages.sent is better is not known",
        ),
        (LOAD, (*commands(), "--json", "--markdown", "-"), 2, "--json and --markdown - both print"),
        (LOAD, (*commands(), "--junit", "no/x.xml"), 2, "--junit: cannot write no/x.xml"),
        (LOAD, (*commands(), "-o", "."), 2, "--output . is not empty; name another folder"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(
    tmp_path: Path, text: str, arguments: Sequence[str], status: int, said: str
) -> None:
    if "x]" in text:
        text += LENIENT
    done = gate(tmp_path, text, *arguments)
    told = (done.stdout + done.stderr).strip()
    assert done.returncode == status, told
    assert re.search(said, told), told
    assert "Traceback" not in told


def test_a_head_that_loses_messages_fails_however_fast_it_is(tmp_path: Path) -> None:
    known = "{python} -m benchmarks.calibration.known_server {port}"
    text = 'blocks = 8\nfalse_alarms = "30%"\n' + LOAD + LENIENT
    words = ("--junit", str(tmp_path / "j.xml"))
    done = gate(tmp_path, text, *commands(known, f"{known} --lose-every 5"), *words)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.match(
        r"FAILED: .*runs with faults: (\d) of \1 of head and 0 of base, such as .* messages lost",
        last(done),
    )
    suite = ET.parse(tmp_path / "j.xml").getroot()  # noqa: S314 - we have written it
    (case,) = [it for it in suite.iter("testcase") if it.find("failure") is not None]
    assert case.get("name") == "runs with faults"


def test_code_that_is_not_checked_out_is_not_counted(tmp_path: Path) -> None:
    count = '[count.code]\napp = "app:app"\n'
    done = gate(tmp_path, FAST + LOAD + STEADY + count, *commands(), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not counted: code: counting needs checkouts" in done.stderr
    names = [metric["name"] for metric in json.loads(done.stdout)["metrics"]]
    assert names == ["echo: connections.opened", "runs with faults"]


def test_a_usual_metric_that_base_does_not_have_is_not_judged(tmp_path: Path) -> None:
    """Of a server that ran before nobody knows which memory is new."""
    plain = "tests.servers.plain_websockets"
    with launch(plain, "0") as one, launch(plain, "0") as other:
        urls = ("--base-url", one.url(), "--head-url", other.url())
        done = gate(tmp_path, FAST.replace("2", "3", 1) + LOAD, *urls)
    # How it is decided is up to the machine.
    assert done.returncode in (0, 1, 4), done.stdout + done.stderr
    name = "server.memory_growth_per_connection_bytes"
    assert f"not judged: echo: {name}: not measured" in done.stderr
    assert "memory growth" not in done.stdout
    assert "echo: server CPU per message" in done.stdout


def test_servers_that_run_already_are_compared_too(tmp_path: Path) -> None:
    plain = "tests.servers.plain_websockets"
    with launch(plain, "0") as one, launch(plain, "0") as other:
        urls = ("--base-url", one.url(), "--head-url", other.url())
        done = gate(tmp_path, FAST + LOAD + STEADY, *urls, "--json")
        counted = one.stop(), other.stop()
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(done.stdout)
    assert document["verdict"] == "passes"
    assert document["base"] == one.url()
    records = [read_record(path) for path in (tmp_path / "runs").glob("*.run.jsonl")]
    # Four connections a run, half of the runs on each.
    assert all(it is not None and it["handshakes"] == 2 * len(records) for it in counted)


def test_a_gate_that_is_interrupted_goes_on_where_it_was(tmp_path: Path) -> None:
    # Nothing can be decided before the last block.
    text = (
        'blocks = 6\nfalse_alarms = "30%"\nfalse_passes = "30%"\n'
        + LOAD
        + LENIENT.replace("900%", "0.001%")
    )
    words = ("gate", "--config", config(tmp_path, text), *commands())
    cut = interrupted(*words, "-o", "runs", when="block 2 of at most 6, run 2", cwd=tmp_path)
    said = cut.stderr
    assert cut.returncode == 130, said
    assert re.search("interrupted; continue with swarmgate gate .*--resume runs", said), said
    assert "Traceback" not in said
    journal = tmp_path / "runs" / JOURNAL
    before = read_journal(journal)
    assert len(before.blocks) == 1

    changed = config(tmp_path, text.replace("0.001%", "1%"))
    refused = swarmgate("gate", "--config", changed, *commands(), "--resume", "runs", cwd=tmp_path)
    assert refused.returncode == 2
    assert "plan is not what it was when the gate began" in refused.stderr

    config(tmp_path, text)
    for others, said in (
        ((), "the gate began with .* and .*; give them again"),
        (commands(PLAIN, f"{PLAIN} more"), "head is not what it was when the gate began, .*; undo"),
    ):
        refused = swarmgate(*words[:3], *others, "--resume", "runs", cwd=tmp_path)
        assert refused.returncode == 2, refused.stderr
        assert re.search(said, refused.stderr)
    # As where a machine ended while it wrote.
    with journal.open("a") as file:
        file.write('{"block": 1, "ord')
    done = swarmgate(*words, "--resume", "runs", "-q", cwd=tmp_path)
    # How it is decided is up to the machine; one that is alike may pass, too.
    assert done.returncode in (0, 1, 4), done.stdout + done.stderr
    after = read_journal(journal)
    assert after.begin == before.begin
    assert after.blocks[:1] == before.blocks
    assert len(after.blocks) > 1
    # Records of the block that was not whole are kept apart.
    assert list((tmp_path / "runs" / "unfinished").glob("*02-1-*.run.jsonl"))


@pytest.mark.parametrize("cut", ["", "{", "[]\n", '{"type": "begin"}\n'])
def test_a_damaged_journal_is_told_in_one_line(tmp_path: Path, cut: str) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / JOURNAL).write_text(cut)
    words = ("gate", "--config", config(tmp_path, LOAD), *commands(), "--resume", "runs")
    done = swarmgate(*words, cwd=tmp_path)
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "is damaged, or is not the journal of a gate" in done.stderr


def test_without_settings_it_says_what_to_write(tmp_path: Path) -> None:
    done = swarmgate("gate", "--base", "HEAD", cwd=tmp_path)
    assert done.returncode == 2
    assert "[tool.swarmgate.gate.load.echo]" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_summary_of_a_ci_run_gets_the_table(tmp_path: Path) -> None:
    words = ("gate", "--config", config(tmp_path, FAST + LOAD + STEADY), *commands(), "-q")
    summary = {"GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}
    done = swarmgate(*words, cwd=tmp_path, environment=summary)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "summary.md").read_text()
    assert text.startswith("✔ HELD")
    assert "<details>" in text
