"""Start a server as a process, wait until it listens, read what it says when it ends."""

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

START_SECONDS = 30.0
STOP_SECONDS = 20.0
_LISTENING = re.compile(r"(?:listening|running) on (?:ws|http)://([^ ]+):(\d+)")
ROOT = Path(__file__).parents[2]


class Launched:
    """A server process that listens."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.port = 0
        self.lines: list[str] = []
        self._listening = threading.Event()
        # Its standard error is read for as long as it lives: a full pipe would stop it.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if found := _LISTENING.search(line):
                self.port = int(found[2])
                self._listening.set()
        self._listening.set()

    def await_listening(self) -> None:
        """Wait until it has told its port."""
        if not self._listening.wait(START_SECONDS) or not self.port:
            raise AssertionError(f"the server did not start: {''.join(self.lines)}")

    @property
    def pid(self) -> int:
        """Its process number."""
        return self.process.pid

    def url(self, path: str = "/") -> str:
        """Give the WebSocket address of a path."""
        return f"ws://127.0.0.1:{self.port}{path}"

    def stop(self) -> dict[str, Any] | None:
        """End it; gives the JSON object that it prints last, None if it prints none."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        output, _ = self._communicate()
        lines = output.strip().splitlines()
        return json.loads(lines[-1]) if lines else None

    def _communicate(self) -> tuple[str, int]:
        assert self.process.stdout is not None
        output = self.process.stdout.read()
        return output, self.process.wait(STOP_SECONDS)


@contextmanager
def launch(command: str | Sequence[str], *flags: str) -> Iterator[Launched]:
    """Run a server while the context lasts.

    Args:
        command: a module of Python, run with ``-m``, or a whole command.
        flags: what is added to it.
    """
    words = [sys.executable, "-m", command] if isinstance(command, str) else list(command)
    process = subprocess.Popen(
        [*words, *flags],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    launched = Launched(process)
    try:
        launched.await_listening()
        yield launched
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
        launched._reader.join(STOP_SECONDS)
        assert process.stderr is not None
        process.stderr.close()


@contextmanager
def known(*flags: str) -> Iterator[Launched]:
    """Run the server of known behaviour."""
    with launch("tests.targets.known", "0", *flags) as server:
        yield server
