"""Run the process that is counted, under the tool that counts, and read what it reports."""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Final

from reports.printable import printable

COUNTED: Final = Path(__file__).with_name("counted")
_MOST_SECONDS: Final = 300.0


class CountError(Exception):
    """It cannot be counted; the message is one line for the user."""


class SubjectError(CountError):
    """The application cannot be found, loaded or started."""


class UnavailableError(CountError):
    """This machine, or what is installed on it, cannot count it."""


_CAUSES: Final[Mapping[str, type[CountError]]] = {
    "LoadError": SubjectError,
    "ServerError": CountError,
    "UnavailableError": UnavailableError,
}


@dataclass(frozen=True, slots=True)
class Load:
    """The load put on the application; see ``counted/load.py``, which reads it.

    Attributes:
        connections: how many are opened on ``path``.
        messages: how many echoes and how many broadcasts are counted.
        path: the path of the connections; ``{n}`` in it is the number of the connection.
        broadcasts: whether what one of them sends is received by the others, and counted.
        echo_path: where a connection gets back what it sends; None for no echoes.
        message: a text with ``{token}`` in it, which differs from message to message.
    """

    connections: int = 100
    messages: int = 50
    path: str = "/ws"
    broadcasts: bool = True
    echo_path: str | None = "/echo"
    message: str = "{token}"


@dataclass(frozen=True, slots=True)
class Subject:
    """What is counted.

    Attributes:
        app: an ASGI application or a factory of one, as ``module:attribute``.
        python: the interpreter of its environment, which has uvicorn.
        cwd: the directory to run in, which is also searched for modules.
    """

    app: str
    python: str
    cwd: Path


@dataclass(frozen=True, slots=True)
class Report:
    """What the counted process reports.

    Attributes:
        python: the version of Python.
        uvicorn: the version of uvicorn.
        counts: what it counted itself, in total for each stretch.
        writes: how often it wrote to a transport, in total for each kind of message.
    """

    python: str
    uvicorn: str
    counts: Mapping[str, int]
    writes: Mapping[str, int]


def run(subject: Subject, load: Load, counted: str, under: Sequence[str] = ()) -> Report:
    """Run the process once and return what it reports.

    Args:
        subject: the application.
        load: the load put on it.
        counted: which meter of ``counted/meters.py`` it uses.
        under: the words of a command that come before its own.

    Raises:
        SubjectError: the application could not be loaded.
        UnavailableError: this cannot be counted here.
        CountError: the application does not do what is to be counted.
    """
    with tempfile.TemporaryDirectory(prefix="swarmgate-count-") as folder:
        result, output = Path(folder) / "result.json", Path(folder) / "output"
        asked = {
            "app": subject.app,
            "counted": counted,
            "load": asdict(load),
            "result": str(result),
        }
        command = [*under, subject.python, str(COUNTED), json.dumps(asked)]
        with output.open("wb") as log:
            status = _run(command, subject.cwd, log)
        return _read_report(result, output, status)


def _run(command: Sequence[str], cwd: Path, log: IO[bytes]) -> int:
    # The order of sets of text depends on this, and with it what is done.
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    try:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    except OSError as error:
        what = cwd if not cwd.is_dir() else command[0]
        raise SubjectError(f"cannot run {what}: {error.strerror}") from None
    try:
        return process.wait(_MOST_SECONDS)
    except subprocess.TimeoutExpired:
        raise CountError(f"the process did not finish within {_MOST_SECONDS:.0f} s") from None
    finally:
        # Whatever the application started is killed with it.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _read_report(result: Path, output: Path, status: int) -> Report:
    try:
        document = json.loads(result.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        raise CountError(f"the process ended {how}{_last_line(output)}") from None
    if "error" in document:
        cause = _CAUSES[document["cause"]]
        # An endpoint that failed has logged why.
        why = _last_line(output) if cause is CountError else ""
        raise cause(f"{printable(document['error'])}{why}")
    return Report(**document)


def _last_line(output: Path) -> str:
    lines = output.read_text(encoding="utf-8", errors="replace").split("\n")
    printed = [line.strip() for line in lines if line.strip()]
    return f": {printable(printed[-1])}" if printed else ""
