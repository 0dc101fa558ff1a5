"""A run, or a server for several runs, on behalf of a program: ordered and answered in JSON.

The order is the first line of standard input, an object; the answer is a line of standard output.
Standard input stays open for as long as the caller wants what it has ordered: at end of file a run
is ended early, its record complete up to then, and a server is stopped, so that nothing outlives a
caller that was killed. This is a separate process, so that the caller's modules and event loop are
left as they are.
"""

import asyncio
import json
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from loadtests.errors import LoadTestError, UsageError
from loadtests.plan.from_options import source_of
from loadtests.plan.keywords import given_by
from loadtests.plan.scenario_file import ScenarioFile
from loadtests.plan.user_kinds import plan_of_run
from loadtests.run.run import execute
from loadtests.run.target import running
from reports.outcome import ExitStatus
from reports.record import RecordError
from reports.run_outcome import outcome_of, run_document
from reports.units import format_figure

Answer = Callable[[Mapping[str, Any]], None]


async def run(keywords: Mapping[str, object], path: Path) -> Mapping[str, Any]:
    """Perform one run, and return what it measured.

    Raises:
        LoadTestError: the run cannot be made at all.
        RecordError: its record cannot be written.
    """
    given = given_by(keywords)
    plan = plan_of_run(given, ScenarioFile())
    summary = await execute(plan, source_of(given), path, lambda _line: None)
    document = run_document(path, summary, outcome_of(summary))
    for name, own in summary.users.items():
        document["users"][name]["texts"] = _texts(own.figures)
    return document | {
        "figures": summary.judged_figures,
        "texts": _texts(summary.judged_figures),
        "again": shlex.join(summary.header.command),
    }


async def serve(keywords: Mapping[str, object], log: Path, answer: Answer) -> None:
    """Keep a server running until this is cancelled, and answer with its port once it is ready.

    Raises:
        LoadTestError: it cannot be started.
    """
    source = source_of(given_by(keywords))
    if not source.command:
        raise UsageError("a server needs a command with {port} in it")
    async with running(source, log) as target:
        answer({"port": target.port, "pid": target.pid})
        await asyncio.Event().wait()


def _texts(figures: Mapping[str, float]) -> dict[str, str]:
    return {name: format_figure(name, value) for name, value in figures.items()}


def _end_with(caller: BinaryIO) -> None:
    """Wait until the caller has gone or wants no more, then end as on Ctrl-C."""
    while caller.read(4096):
        pass
    os.kill(os.getpid(), signal.SIGINT)


def _carry_out(order: Mapping[str, Any], answer: Answer) -> None:
    keywords, path = order["keywords"], Path(order["path"])
    try:
        if order["order"] == "serve":
            asyncio.run(serve(keywords, path, answer))
            return
        found = asyncio.run(run(keywords, path))
    except (LoadTestError, RecordError) as error:
        found = {"refused": str(error)}
    # A caller that has the answer wants nothing more, and exits.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(BrokenPipeError):
        answer(found)


def main() -> None:
    """Carry out the order."""
    # What a user's file prints must not get into the answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # Unbuffered: a thread that waits in a buffer's lock would keep the interpreter from exiting.
    caller = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115
    if not (line := caller.readline()):
        return
    # So that a server installed next to us is found, in an environment that nobody activated.
    beside_us = Path(sys.executable).parent
    os.environ["PATH"] = os.pathsep.join([str(beside_us), os.environ.get("PATH", os.defpath)])
    # A shell that starts something in the background makes it ignore this signal.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Thread(target=_end_with, args=(caller,), daemon=True).start()
        _carry_out(
            json.loads(line), lambda found: print(json.dumps(found), file=answers, flush=True)
        )
    except KeyboardInterrupt:
        sys.exit(ExitStatus.INTERRUPTED)
