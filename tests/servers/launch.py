"""Start a server as a process, wait until it listens, read what it says when it ends."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

# Long past what a busy machine needs; only a failing test ever waits for them.
START_SECONDS = 60.0
STOP_SECONDS = 60.0
ROOT = Path(__file__).parents[2]
# The servers here say the first with ws, target_app with http; uvicorn says the second.
_LISTENING = re.compile(r"(?:listening|running) on (?:ws|http)://[^ ]+:(\d+)")


class Launched:
    """A server process.

    Attributes:
        process: the process itself.
        port: where it listens on 127.0.0.1.
        lines: what it has written to standard error so far.
    """

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.port = 0
        self.lines: list[str] = []
        self._output: list[str] = []
        self._listening = threading.Event()
        assert process.stdout is not None
        assert process.stderr is not None
        # Both are read for as long as it lives: a full pipe would stop it.
        self._readers = (
            _Reader(process.stdout, self._output.append),
            _Reader(process.stderr, self._on_line, self._listening.set),
        )

    def _on_line(self, line: str) -> None:
        self.lines.append(line)
        if not self.port and (found := _LISTENING.search(line)):
            self.port = int(found[1])
            self._listening.set()

    @property
    def pid(self) -> int:
        """Its process number."""
        return self.process.pid

    def url(self, path: str = "/") -> str:
        """Return the WebSocket address of a path."""
        return f"ws://127.0.0.1:{self.port}{path}"

    def await_listening(self) -> None:
        """Wait until it has named its port.

        Raises:
            AssertionError: it ended first, or named none within ``START_SECONDS``.
        """
        if not self._listening.wait(START_SECONDS) or not self.port:
            raise AssertionError(f"the server did not start: {''.join(self.lines)}")

    def stop(self) -> dict[str, Any] | None:
        """End it with SIGTERM, if it has not ended; may be called again.

        Returns:
            The JSON object that it printed last on standard output; None if it printed none.

        Raises:
            AssertionError: it did not end within ``STOP_SECONDS``.
        """
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the server did not stop: {''.join(self.lines)}") from None
        for reader in self._readers:
            reader.join(STOP_SECONDS)
        return _last_object(self._output)

    def kill(self) -> None:
        """End it and whatever it started, at once."""
        # It leads a process group of its own, which outlives it while it has children.
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for reader in self._readers:
            reader.close()


class _Reader(threading.Thread):
    """Reads a pipe line by line until its end."""

    def __init__(
        self,
        pipe: IO[str],
        on_line: Callable[[str], None],
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(daemon=True)
        self._pipe = pipe
        self._on_line = on_line
        self._on_end = on_end
        self.start()

    def run(self) -> None:
        for line in self._pipe:
            self._on_line(line)
        self._on_end()

    def close(self) -> None:
        self.join(STOP_SECONDS)
        # Closing under a thread that reads would wait for it without a limit.
        if not self.is_alive():
            self._pipe.close()


def _last_object(lines: Sequence[str]) -> dict[str, Any] | None:
    if not lines:
        return None
    try:
        value = json.loads(lines[-1])
    except json.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


@contextmanager
def launch(command: str | Sequence[str], *flags: str) -> Iterator[Launched]:
    """Run a server while the context lasts.

    Args:
        command: a module of Python, run with ``-m``, or the words of a whole command.
        flags: what is added to it.

    Yields:
        The server, once it listens.
    """
    words = [sys.executable, "-m", command] if isinstance(command, str) else list(command)
    process = subprocess.Popen(
        [*words, *flags],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    launched = Launched(process)
    try:
        launched.await_listening()
        yield launched
    finally:
        launched.kill()


@contextmanager
def known(*flags: str) -> Iterator[Launched]:
    """Run the server of known behaviour on a port of its own choice."""
    with launch("benchmarks.calibration.known_server", "0", *flags) as server:
        yield server
