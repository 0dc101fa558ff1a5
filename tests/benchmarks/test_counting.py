"""Counting an application without a network: what it gives, what it sees, what it refuses."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.server import ServerProtocol

from benchmarks.counting import instructions, system_calls
from benchmarks.counting.count import (
    allocations_of,
    count,
    countable,
    instructions_of,
    memory_of,
    system_calls_of,
)
from benchmarks.counting.counted import client, loop, machine_code
from benchmarks.counting.figures import FIGURES, KINDS
from benchmarks.counting.process import COUNTED, CountError, Load, Subject, SubjectError, run
from tests.servers.launch import ROOT

QUICK = Load(connections=40, messages=20)

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
needs_valgrind = pytest.mark.skipif(
    shutil.which("valgrind") is None, reason="valgrind is not installed"
)

needs_machine_code = pytest.mark.skipif(
    not machine_code.IS_AVAILABLE, reason="allocations are only counted on x86-64"
)

APP = """
import asyncio
import os

room = []

async def app(scope, receive, send):
    assert scope["type"] == "websocket"
    await receive()
    await send({"type": "websocket.accept"})
    kept = KEPT
    if scope["path"] == "/ws":
        room.append(send)
    while (message := await receive())["type"] == "websocket.receive":
        WORK
        answer = {"type": "websocket.send", "text": message["text"]}
        if scope["path"] == "/ws":
            BROADCAST
            for other in tuple(room):
                await other(answer)
        else:
            await send(answer)
"""


def subject(folder: Path, source: str = APP, app: str = "served:app", **parts: str) -> Subject:
    parts = {"KEPT": "None", "WORK": "pass", "BROADCAST": "pass"} | parts
    for name, text in parts.items():
        source = source.replace(name, text)
    (folder / "served.py").write_text(source)
    return Subject(app, sys.executable, folder)


@pytest.fixture
def without_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tools = tmp_path / "tools"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    return tools


def test_without_tools_memory_allocations_and_writes_are_counted(
    tmp_path: Path, without_tools: Path
) -> None:
    counted = count(subject(tmp_path), QUICK)
    assert counted.figures["counts.writes_per_echo"] == 1
    assert counted.figures["counts.writes_per_broadcast"] == QUICK.connections
    assert counted.figures["counts.memory_per_connection_bytes"] > 5_000
    if machine_code.IS_AVAILABLE:
        echo = counted.figures["counts.allocations_per_echo"]
        assert 20 < echo < counted.figures["counts.allocations_per_broadcast"]
    assert counted.python == ".".join(map(str, sys.version_info[:3]))


def test_a_tool_that_is_not_installed_is_named_and_its_figures_are_absent(
    tmp_path: Path, without_tools: Path
) -> None:
    counted = count(subject(tmp_path), QUICK)
    assert {kind: missing.reason for kind, missing in counted.missing.items()} == {
        "system_calls": "strace is not installed",
        "instructions": "valgrind is not installed",
    }
    assert not any(missing.is_failure for missing in counted.missing.values())
    absent = {name for name in FIGURES if name not in counted.figures}
    assert {FIGURES[name][0] for name in absent} == {"system_calls", "instructions"}


def test_what_nobody_asks_for_is_not_counted(tmp_path: Path, without_tools: Path) -> None:
    said: list[str] = []
    asked = {"counts.memory_per_connection_bytes"}
    counted = count(subject(tmp_path), QUICK, said.append, asked)
    assert counted.figures.keys() == asked
    assert counted.missing == {}
    assert said == ["Memory"]


def test_what_a_load_does_not_have_and_no_tool_counts_is_not_countable(without_tools: Path) -> None:
    assert countable(Load(broadcasts=False, echo_path=None)) == [
        "counts.memory_per_connection_bytes",
        "counts.allocations_per_connection",
    ]
    (without_tools / "strace").symlink_to("/bin/true")
    assert {FIGURES[name] for name in countable(Load(broadcasts=False))} == {
        ("bytes", "connection"),
        *(
            (kind, each)
            for kind in ("allocations", "system_calls")
            for each in ("connection", "echo")
        ),
        ("writes", "echo"),
    }


def test_a_tool_that_fails_is_a_failure_and_no_figure(tmp_path: Path, without_tools: Path) -> None:
    fake = without_tools / "strace"
    fake.write_text("#!/bin/sh\necho 'strace: ptrace(PTRACE_TRACEME): not permitted' >&2\nexit 1\n")
    fake.chmod(0o755)
    missing = count(subject(tmp_path), QUICK).missing["system_calls"]
    assert missing.is_failure
    assert "not permitted" in missing.reason


def test_the_same_application_has_the_same_figures(tmp_path: Path, without_tools: Path) -> None:
    first, second = (count(subject(tmp_path), QUICK).figures for _ in range(2))
    memory = "counts.memory_per_connection_bytes"
    assert first.pop(memory) == pytest.approx(second.pop(memory), abs=64)
    for name in first:
        # A table of what is found by its address may grow a connection earlier.
        assert second[name] == pytest.approx(first[name], rel=0.001), name


def test_two_kibibytes_more_a_connection_are_found(tmp_path: Path) -> None:
    base = memory_of(subject(tmp_path), QUICK).totals["connection"]
    head = memory_of(subject(tmp_path, KEPT="bytearray(2048)"), QUICK).totals["connection"]
    assert 2048 - 64 <= head - base <= 2048 + 200


@needs_machine_code
def test_one_allocation_more_a_message_is_found(tmp_path: Path) -> None:
    base = allocations_of(subject(tmp_path), QUICK).totals["echo"]
    head = allocations_of(subject(tmp_path, WORK="kept = object()"), QUICK).totals["echo"]
    assert head - base == pytest.approx(QUICK.messages, abs=2)


@needs_strace
def test_one_system_call_more_a_broadcast_is_found_and_named(tmp_path: Path) -> None:
    base = system_calls_of(subject(tmp_path), QUICK)
    head = system_calls_of(subject(tmp_path, BROADCAST="os.getppid()"), QUICK)
    assert head.totals["broadcast"] - base.totals["broadcast"] == QUICK.messages
    assert head.totals["echo"] == base.totals["echo"]
    assert head.calls["broadcast"]["getppid"] == QUICK.messages
    assert "getppid" not in base.calls["broadcast"]


@needs_strace
def test_a_system_call_of_another_thread_is_found(tmp_path: Path) -> None:
    threaded = subject(tmp_path, BROADCAST="await asyncio.to_thread(os.getppid)")
    assert system_calls_of(threaded, QUICK).calls["broadcast"]["getppid"] == QUICK.messages


@needs_valgrind
@needs_machine_code
def test_one_percent_more_work_a_message_is_found(tmp_path: Path) -> None:
    base = instructions_of(subject(tmp_path), QUICK).totals["echo"]
    # About 1,500 instructions.
    head = instructions_of(subject(tmp_path, WORK="for _ in range(8): pass"), QUICK)
    assert 1.005 < head.totals["echo"] / base < 1.02


def test_the_reference_server_serves_what_it_adopts_as_under_uvicorn(tmp_path: Path) -> None:
    spied = subject(
        tmp_path,
        """
import pathlib
from target_app.app import create_app
from target_app.connections import wire

write = wire.write

def spying(behind, frame):
    kinds = (behind, behind.queue, behind.transport, behind.writable)
    pathlib.Path("seen").write_text(" ".join(type(it).__name__ for it in kinds))
    return write(behind, frame)

wire.write = spying
app = create_app()
""",
    )
    told = run(spied, QUICK, "memory")
    assert (tmp_path / "seen").read_text() == "BoundedWebSocket Inbox NoNetwork Gate"
    assert told.writes["broadcast"] == QUICK.messages * QUICK.connections


def test_the_tutorial_server_is_counted() -> None:
    told = run(Subject("examples.tutorial_server:app", sys.executable, ROOT), QUICK, "memory")
    assert told.writes["broadcast"] == QUICK.messages * QUICK.connections


def test_a_factory_is_called(tmp_path: Path) -> None:
    factory = subject(tmp_path, APP + "\ndef make():\n    return app\n", "served:make")
    assert run(factory, QUICK, "memory").writes["echo"] == QUICK.messages


def test_modules_of_the_application_may_be_called_as_ours(tmp_path: Path) -> None:
    for name in ("loop", "load", "transport", "client", "serve", "meters"):
        (tmp_path / f"{name}.py").write_text(f"named = {name!r}\n")
    source = f"import client, load, loop, transport\nassert load.named == 'load'\n{APP}"
    assert run(subject(tmp_path, source), QUICK, "memory").writes["echo"] == QUICK.messages


def test_who_does_not_hear_itself_is_no_receiver(tmp_path: Path) -> None:
    source = APP.replace("for other in tuple(room):", "for other in set(room) - {send}:")
    told = run(subject(tmp_path, source), QUICK, "memory")
    assert told.writes["broadcast"] == QUICK.messages * (QUICK.connections - 1)


def test_who_answers_by_a_timer_or_a_thread_is_waited_for(tmp_path: Path) -> None:
    slow = subject(
        tmp_path, WORK="await asyncio.sleep(0.001); await asyncio.to_thread(lambda: None)"
    )
    assert run(slow, QUICK, "memory").writes["broadcast"] == QUICK.messages * QUICK.connections


def test_the_number_of_a_connection_may_stand_in_the_path(tmp_path: Path) -> None:
    source = APP.replace('scope["path"] == "/ws"', 'scope["path"].startswith("/ws/")')
    seen = source.replace("KEPT", "open('paths', 'a').write(scope['path'] + ' ')")
    load = Load(connections=40, messages=10, path="/ws/{n}")
    run(subject(tmp_path, seen), load, "memory")
    paths = [f"/ws/{number}" for number in range(40)]
    assert (tmp_path / "paths").read_text().split() == [*paths, "/echo"]


@pytest.mark.parametrize(
    ("app", "named"),
    [
        ("nowhere:app", "nowhere"),
        ("served:nothing", "nothing"),
        ("served", "<module>:<attribute>"),
    ],
)
def test_what_cannot_be_loaded_is_named(tmp_path: Path, app: str, named: str) -> None:
    with pytest.raises(SubjectError, match=named):
        run(subject(tmp_path, app=app), QUICK, "memory")


def test_a_module_that_fails_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SubjectError, match=r"^served:app cannot be loaded: ZeroDivisionError: div"):
        run(subject(tmp_path, "1 / 0"), QUICK, "memory")


def test_an_interpreter_without_uvicorn_is_told_in_one_line(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(SubjectError, match="has no uvicorn"):
        run(Subject("served:app", str(bare), tmp_path), QUICK, "memory")


def test_a_startup_that_fails_is_told(tmp_path: Path) -> None:
    source = """
async def app(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})
"""
    with pytest.raises(SubjectError, match="startup failed: no database"):
        run(subject(tmp_path, source), QUICK, "memory")


def test_a_process_that_dies_is_told_with_its_last_words(tmp_path: Path) -> None:
    dying = subject(tmp_path, "import os\nprint('no more', flush=True)\nos._exit(7)\n")
    with pytest.raises(CountError, match="ended with status 7: no more"):
        run(dying, QUICK, "memory")


def test_a_refused_handshake_is_told(tmp_path: Path) -> None:
    source = """
async def app(scope, receive, send):
    await receive()
    await send({"type": "websocket.close"})
"""
    with pytest.raises(CountError, match=r"/ws answers a handshake with HTTP/1.1 403 Forbidden"):
        run(subject(tmp_path, source), QUICK, "memory")


def test_an_endpoint_that_fails_is_told_with_what_it_raised(tmp_path: Path) -> None:
    with pytest.raises(CountError, match=r"reached 0 of 1 .*: ZeroDivisionError: division by zero"):
        run(subject(tmp_path, WORK="1 / 0"), QUICK, "memory")


def test_a_message_that_comes_twice_is_no_broadcast(tmp_path: Path) -> None:
    source = APP.replace("await other(answer)", "await other(answer); await other(answer)")
    with pytest.raises(CountError, match="came 2 times"):
        run(subject(tmp_path, source), QUICK, "memory")


def test_time_stands_still_while_anything_runs_and_passes_while_nothing_does() -> None:
    idle_time = loop.IdleTimeLoop()

    async def work() -> tuple[float, float]:
        began = idle_time.time()
        sum(range(10**6))
        await asyncio.sleep(0)
        busy = idle_time.time() - began
        await asyncio.sleep(0.01)
        return busy, idle_time.time() - began

    try:
        busy, slept = idle_time.run_until_complete(work())
    finally:
        idle_time.close()
    assert busy == 0
    assert slept == pytest.approx(0.01)


def test_what_does_not_come_is_waited_for_until_patience_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "PATIENCE_SECONDS", 0.01)
    idle_time = loop.IdleTimeLoop()
    try:
        with pytest.raises(loop.TooLongError):
            idle_time.run_until_complete(idle_time.idle(lambda: False))
    finally:
        idle_time.close()


@given(st.text(max_size=300) | st.integers(65_500, 65_600).map(lambda size: "x" * size))
def test_a_server_reads_what_the_client_says(text: str) -> None:
    server = ServerProtocol()
    server.receive_data(client.handshake("/somewhere"))
    (request,) = server.events_received()
    server.send_response(server.accept(request))  # type: ignore[arg-type]
    assert client.refusal(b"".join(server.data_to_send())) is None
    server.receive_data(client.text_frame(text))
    (frame,) = server.events_received()
    assert frame.data.decode() == text  # type: ignore[union-attr]


@needs_machine_code
def test_allocations_are_counted_by_the_call() -> None:
    program = f"""
import sys
sys.path.insert(0, {str(COUNTED)!r})
import machine_code
counter = machine_code.Allocations()
kept = [None] * 1000
before = counter.so_far()
for number in range(1000):
    kept[number] = object()
print(counter.so_far() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    # One each, and numbers above 256 are objects as well.
    assert 1000 + 743 <= int(done.stdout) < 1000 + 743 + 10


def test_system_calls_are_those_between_two_marks_of_all_threads() -> None:
    lines = """\
12 read(3, "", 10) = 0
12 access("/swarmgate/begin/echo", F_OK) = -1 ENOENT (No such file or directory)
12 epoll_wait(3, [], 1, 0) = 0
13 futex(0x7f, FUTEX_WAIT, 0, NULL <unfinished ...>
12 getppid() = 1
13 <... futex resumed>) = 0
12 --- SIGCHLD {si_signo=SIGCHLD} ---
12 epoll_wait(3, [], 1, 0) = 0
12 access("/swarmgate/end/echo", F_OK) = -1 ENOENT (No such file or directory)
12 read(3, "", 10) = 0
12 access("/swarmgate/begin/broadcast", F_OK) = -1 ENOENT (No such file or directory)
12 read(3, "", 10) = 0
12 +++ killed by SIGKILL +++
""".splitlines()
    # A stretch that did not end is none.
    assert system_calls.listed(lines) == {"echo": {"epoll_wait": 2, "futex": 1, "getppid": 1}}


def test_instructions_are_the_totals_of_the_stretches_that_were_asked_for() -> None:
    texts = (
        "desc: Trigger: Client Request: echo\nsummary: 0\ntotals: 1234\n",
        "desc: Trigger: Program termination\nsummary: 0\ntotals: 99\n",
        "desc: Trigger: Client Request: broadcast\n",
    )
    assert instructions.summed(texts) == {"echo": 1234}


def test_every_figure_is_of_a_kind_that_is_described() -> None:
    assert {kind for kind, _ in FIGURES.values()} == set(KINDS)


def command(*arguments: str, path: str = os.defpath) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", "count", *arguments],
        env={"PYTHONPATH": str(ROOT), "PATH": path, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_command_prints_a_table_and_what_is_missing(
    tmp_path: Path, without_tools: Path
) -> None:
    subject(tmp_path)
    done = command(
        "served:app", "--cwd", str(tmp_path), "--connections", "40", path=str(without_tools)
    )
    assert done.returncode == 0, done.stderr
    rows = {line.strip().split("  ")[0]: line.split() for line in done.stdout.splitlines()}
    assert rows["Writes"] == ["Writes", "–", "1.00", "40.0"]
    assert "Instructions are not counted: valgrind is not installed." in done.stdout
    assert done.stderr == ""


def test_the_command_prints_one_document(tmp_path: Path, without_tools: Path) -> None:
    subject(tmp_path)
    done = command(
        "served:app", "--cwd", str(tmp_path), "--connections", "40", "--json",
        path=str(without_tools),
    )  # fmt: skip
    document = json.loads(done.stdout)
    assert document["app"] == "served:app"
    assert set(document["missing"]) == {"system_calls", "instructions"}
    assert set(document["figures"]) <= set(FIGURES)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["served:app", "--cwd", "/nowhere"], "'/nowhere' is not a directory"),
        (["served:app", "--python", "/nowhere"], "'/nowhere' is not a program"),
        (["served:app", "--message", "hello"], "'hello' has no {token}"),
        (["served:app", "--connections", "1"], "40"),
        (["nowhere:app"], "nowhere"),
    ],
)
def test_a_wrong_command_is_told_in_one_line(arguments: list[str], named: str) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert named in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_application_that_leaves_some_out_of_its_broadcasts_fails(tmp_path: Path) -> None:
    subject(tmp_path, APP.replace("tuple(room)", "tuple(room)[3:]"))
    done = command("served:app", "--cwd", str(tmp_path), "--connections", "40")
    assert done.returncode == 1
    assert done.stderr.startswith("swarmgate: the broadcast of a message reached 37 of 40")


def test_broadcasts_may_be_left_out(tmp_path: Path, without_tools: Path) -> None:
    silent = subject(tmp_path, BROADCAST="room.clear()")
    figures = count(silent, replace(QUICK, broadcasts=False)).figures
    assert "counts.writes_per_echo" in figures
    assert "counts.memory_per_connection_bytes" in figures
    assert not [name for name in figures if name.endswith("broadcast")]


def test_an_interrupt_ends_the_counted_process_as_well(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pid")
    subject(
        tmp_path,
        "import os, time\nwith open('pid', 'w') as file:\n    print(os.getpid(), file=file)\n"
        "time.sleep(600)\n",
    )
    arguments = [sys.executable, "-m", "benchmarks", "count", "served:app", "--cwd", str(tmp_path)]
    with subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        counted = psutil.Process(int((tmp_path / "pid").read_text()))
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.startswith("swarmgate: interrupted")
    assert not counted.is_running()
