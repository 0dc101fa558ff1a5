"""The object behind the fixture: it makes runs, and accepts only those that say something."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any, Final

from swarmgate.result import Result, result_of

TRIES: Final = 3
"""Attempts at a run that is invalid, before the test fails."""


# A project may have a package called loadtests, and its root on the path.
_CALLED: Final = f"""
import sys
sys.path.insert(0, {str(Path(__file__).resolve().parents[1])!r})
from loadtests.run.called import main
main()
"""


class RunFailedError(AssertionError):
    """The server did something wrong, or a threshold does not hold."""


class RunInvalidError(Exception):
    """The generator could not keep up, so the run says nothing about the server."""


class NoRunError(Exception):
    """No run was made: an invalid keyword, a limit, or a server that does not start."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is kept running over several runs.

    Attributes:
        port: where it listens on 127.0.0.1.
        pid: the root of its process tree.
        log: where its output goes.
    """

    port: int
    pid: int
    log: Path

    def url(self, path: str = "/ws") -> str:
        """Return the WebSocket address of a path."""
        return f"ws://127.0.0.1:{self.port}{path}"


class Swarmgate:
    """The runs of one test.

    Attributes:
        results: the results of the valid runs so far, in order.
    """

    def __init__(self, name_file: Callable[[str], Path], note: Callable[[str], None]) -> None:
        """Set up, without making a run.

        Args:
            name_file: returns a new file for a suffix.
            note: called with a text about every run, for people.
        """
        self.results: list[Result] = []
        self._name_file = name_file
        self._note = note

    def run(self, scenario: str, *, check: bool = True, **keywords: object) -> Result:
        """Make one run.

        Args:
            scenario: one of the scenarios, or a Python file.
            check: raise if the run's own outcome is a failure.
            keywords: ``command`` with ``{port}`` or ``url``, and the flags of ``swarmgate run`` by
                their names (docs/pytest.md).

        Raises:
            RunFailedError: something went wrong, or a threshold does not hold.
            RunInvalidError: the run was invalid, and still was when repeated.
            NoRunError: there was no run.
            RuntimeError: an event loop is running here, which this would block.
        """
        __tracebackhide__ = True
        if _is_in_a_loop():
            raise RuntimeError(
                "swarmgate.run would block the event loop of this test; write: await "
                "swarmgate.arun(…)"
            )
        tries = _Tries(scenario, keywords, check)
        while True:
            with _called("run", tries.keywords, self._name_file(".run.jsonl")) as process:
                document = _answer(process)
            if (result := self._take(tries, document)) is not None:
                return result

    async def arun(self, scenario: str, *, check: bool = True, **keywords: object) -> Result:
        """Make one run, as :meth:`run` does, while the event loop of an async test keeps running.

        Raises:
            RunFailedError: something went wrong, or a threshold does not hold.
            RunInvalidError: the run was invalid, and still was when repeated.
            NoRunError: there was no run.
        """
        __tracebackhide__ = True
        from asyncio import to_thread  # noqa: PLC0415 - most test sessions never need it

        tries = _Tries(scenario, keywords, check)
        while True:
            with _called("run", tries.keywords, self._name_file(".run.jsonl")) as process:
                document = await to_thread(_answer, process)
            if (result := self._take(tries, document)) is not None:
                return result

    @contextmanager
    def server(self, command: str, **keywords: object) -> Iterator[Server]:
        """Keep one server running for as long as the context lasts.

        Args:
            command: the command that starts it, with ``{port}`` for the port.
            keywords: ``environment``, ``cwd``, ``target_ready``, ``target_timeout``.

        Raises:
            NoRunError: it did not start.
        """
        log = self._name_file(".target.log")
        with _called("serve", {"command": command, **keywords}, log) as process:
            document = _answer(process)
            if "refused" in document:
                raise NoRunError(document["refused"])
            yield Server(document["port"], document["pid"], log)

    def _take(self, tries: "_Tries", document: Mapping[str, Any]) -> Result | None:
        """Judge one attempt; return None if the run is to be repeated."""
        __tracebackhide__ = True
        if "refused" in document:
            raise NoRunError(document["refused"])
        result = result_of(document)
        warnings = "".join(f"note:   {warning}\n" for warning in result.warnings)
        self._note(f"{result.line}\n{warnings}record: {result.record}\nagain:  {result.again}")
        if not tries.settles(document, result):
            print(f"repeated: {result.line}")
            return None
        self.results.append(result)
        return result


def _is_in_a_loop() -> bool:
    import asyncio  # noqa: PLC0415 - most test sessions never need it

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class _Tries:
    """The attempts at one run, and the decision when it is settled."""

    def __init__(self, scenario: str, keywords: Mapping[str, object], check: bool) -> None:
        self.keywords = {"scenario": scenario, **keywords}
        self._check = check
        self._made = 0

    def settles(self, document: Mapping[str, Any], result: Result) -> bool:
        """Return whether the run may be judged; raise if it never will be, or has failed."""
        __tracebackhide__ = True
        self._made += 1
        message = f"{result.line}\nrecord: {result.record}"
        if document["interrupted"]:
            raise RunInvalidError(message)
        if not document["valid"]:
            if self._made < TRIES:
                return False
            raise RunInvalidError(f"after {TRIES} attempts: {message}")
        if self._check and result.outcome != "HELD":
            raise RunFailedError(message)
        return True


@contextmanager
def _called(order: str, keywords: Mapping[str, object], path: Path) -> Iterator["Popen[str]"]:
    """Start a process with an order and yield it; it does not outlive the context."""
    process = Popen(
        [sys.executable, "-P", "-c", _CALLED],
        stdin=PIPE,
        stdout=PIPE,
        encoding="utf-8",
        # Ctrl-C is for us: the process learns of it from the end of its input.
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        _send(process, {"order": order, "keywords": keywords, "path": str(path)})
        yield process
    finally:
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.wait()
        process.stdout.close()


def _send(process: "Popen[str]", order: Mapping[str, object]) -> None:
    assert process.stdin is not None
    try:
        line = json.dumps(order, default=os.fspath)
    except TypeError as error:
        raise NoRunError(f"a value is neither text, number, list nor mapping: {error}") from None
    # Its empty answer shows that it has already exited.
    with suppress(BrokenPipeError):
        process.stdin.write(f"{line}\n")
        process.stdin.flush()


def _answer(process: "Popen[str]") -> Mapping[str, Any]:
    """Wait for the answer and return it."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        return {"refused": f"the process of the run ended with status {process.wait()}"}
    document: Mapping[str, Any] = json.loads(line)
    return document
