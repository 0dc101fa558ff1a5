"""Locust as its users run it: a process, with its records read back when it has ended."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import psutil

from loadtests.run.target import free_port
from reports.record import Record, RecordError, read_record
from reports.summary import Summary, summarise
from tests.servers.launch import ROOT

LOCUSTFILE = str(ROOT / "loadtests/locust/locustfile.py")
ENOUGH = str(ROOT / "tests/loadtests/locust/enough.py")
ENDURING = str(ROOT / "tests/loadtests/locust/enduring.py")
HASTY = str(ROOT / "tests/loadtests/locust/hasty.py")
ORDERS = str(ROOT / "tests/loadtests/locust/orders.py")
PATIENCE = str(ROOT / "tests/loadtests/locust/patience.py")
DEADLINE_SECONDS = 240.0


@dataclass(frozen=True)
class Done:
    """A Locust process that has ended."""

    status: int
    stdout: str
    stderr: str
    records: list[Record]

    @property
    def summary(self) -> Summary:
        """What its one record says."""
        (record,) = self.records
        return summarise(record)


def words(*options: str, locustfile: str = LOCUSTFILE, folder: Path | None = None) -> list[str]:
    more = [] if folder is None else ["--swarm-record", str(folder / "records")]
    if "--processes" in options:
        port = str(free_port())
        more += ["--master-bind-port", port, "--master-port", port]
    files = f"{locustfile},{PATIENCE}"
    return [sys.executable, "-m", "locust", "-f", files, *more, *options]


def records(folder: Path) -> list[Record]:
    return [read_record(path) for path in sorted((folder / "records").glob("*.run.jsonl"))]


def headless(folder: Path, host: str | None, *options: str, locustfile: str = LOCUSTFILE) -> Done:
    """Run a test without the web UI to its end."""
    target = () if host is None else ("--host", host)
    done = subprocess.run(
        words("--headless", *target, *options, locustfile=locustfile, folder=folder),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    return Done(done.returncode, done.stdout, done.stderr, records(folder))


def headless_until(
    enough: Callable[[Sequence[Summary]], bool],
    folder: Path,
    host: str,
    *options: str,
    locustfile: str = LOCUSTFILE,
) -> Done:
    """Run a test without the web UI until its records, one of each user class, hold enough."""
    mark = folder / "enough"
    folder.mkdir(exist_ok=True)
    with (folder / "stdout").open("w+") as stdout, (folder / "stderr").open("w+") as stderr:
        process = subprocess.Popen(
            words(
                *("--headless", "--host", host, *options),
                locustfile=f"{locustfile},{ENOUGH},{ENDURING}",
                folder=folder,
            ),
            cwd=ROOT,
            env={**os.environ, "ENOUGH": str(mark)},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
        try:
            end = time.monotonic() + DEADLINE_SECONDS
            while process.poll() is None and time.monotonic() < end and not mark.exists():
                # A record may have no header yet.
                with suppress(RecordError):
                    if enough([summarise(record) for record in records(folder)]):
                        mark.touch()
                time.sleep(0.1)
            assert mark.exists(), (folder / "stderr").read_text()
            process.wait(DEADLINE_SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        texts = [(folder / name).read_text() for name in ("stdout", "stderr")]
    return Done(process.returncode, *texts, records(folder))


def has(figure: str, least: float) -> Callable[[Sequence[Summary]], bool]:
    """Return whether the one record has so much of a figure."""
    return lambda found: any(summary.figures.get(figure, 0) >= least for summary in found)


class _Shown(HTMLParser):
    """The texts of a page: of each row, tile and verdict, by the first of them."""

    _ONE = frozenset({"tr", "div.tile", "div.limit", "section.verdict"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: dict[str, str] = {}
        self._tag, self._depth = "", 0
        self._texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        kinds = (dict(attrs).get("class") or "").split()
        if self._depth:
            self._depth += tag == self._tag
        elif self._ONE & {tag, *(f"{tag}.{kind}" for kind in kinds)}:
            self._tag, self._depth = tag, 1
            self._texts = ["Verdict"] if "verdict" in kinds else []

    def handle_data(self, data: str) -> None:
        if self._depth and data.strip():
            self._texts.append(data.strip())

    def handle_endtag(self, tag: str) -> None:
        if self._depth and tag == self._tag:
            self._depth -= 1
            if not self._depth and self._texts:
                self.rows.setdefault(self._texts[0], ", ".join(self._texts[1:]))


class Locust:
    """A Locust that runs, with its web UI if it is no worker."""

    def __init__(self, process: "subprocess.Popen[str]", port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self._log = log

    def log(self) -> str:
        return self._log.read_text()

    def ask(self, path: str, form: Mapping[str, Any] | None = None) -> Any:
        """Ask the web UI, as its page does; None while it does not answer yet."""
        data = None if form is None else urllib.parse.urlencode(form, doseq=True).encode()
        url = f"http://127.0.0.1:{self.port}{path}"
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=30) as answer:
            return json.loads(answer.read())

    def stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = self.ask("/stats/requests")
        return stats

    def page(self, path: str = "part") -> str:
        """Return what our tab shows, as HTML."""
        url = f"http://127.0.0.1:{self.port}/swarmgate/{path}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return str(answer.read().decode())

    def rows(self) -> dict[str, str]:
        """Return what our tab shows, by what stands first: of a row, of a tile, of the verdict."""
        return _Shown(self.page()).rows

    def wait(self, holds: Callable[[], bool], what: str = "") -> None:
        """Wait for a condition, with a deadline; what fails meanwhile does not hold."""
        end = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < end:
            assert self.process.poll() is None, self.log()
            with suppress(OSError, KeyError, ValueError, RecordError):
                if holds():
                    return
            time.sleep(0.1)
        raise AssertionError(f"not within {DEADLINE_SECONDS:.0f} s: {what}\n{self.log()}")

    def users(self) -> int:
        users: int = self.stats()["user_count"]
        return users

    def start(self, host: str, users: int, rate: float, kind: str, **options: str) -> None:
        """Press Start."""
        form = {"user_count": users, "spawn_rate": rate, "host": host, "user_classes": kind}
        answer = self.ask("/swarm", {**form, **options})
        assert answer["success"], answer

    def stop(self) -> None:
        """Press Stop."""
        self.ask("/stop", {})

    def end(self, signum: int = signal.SIGTERM) -> int:
        self.process.send_signal(signum)
        return self.process.wait(DEADLINE_SECONDS)


def swarms(pid: int) -> list[int]:
    """Return the swarm processes of a Locust."""
    children = psutil.Process(pid).children(recursive=True)
    return [child.pid for child in children if "loadtests.run.swarm" in child.cmdline()]


StartWorker = Callable[[str], AbstractContextManager[Locust]]


@contextmanager
def locust(
    folder: Path,
    *options: str,
    web: bool = True,
    name: str = "locust",
    enduring: bool = True,
    more: Sequence[Path] = (),
) -> Iterator[Locust]:
    """Have a Locust run while the context lasts; one that is to miss a process is not enduring."""
    port = free_port()
    page = ("--web-host", "127.0.0.1", "--web-port", str(port), "--class-picker") if web else ()
    locustfile = ",".join([LOCUSTFILE, *([ENDURING] if enduring else []), *map(str, more)])
    log = folder / f"{name}.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            words(*page, *options, locustfile=locustfile, folder=folder),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            text=True,
            start_new_session=True,
        )
    try:
        running = Locust(process, port, log)
        if web:
            running.wait(lambda: bool(running.stats()), "the web UI answers")
        yield running
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def lone_master(folder: Path) -> Iterator[tuple[Locust, StartWorker]]:
    """Have a master without workers; yield it, and what starts a worker of it by a name.

    They are not enduring: tests of who is missed have them.
    """
    port = str(free_port())

    def start(name: str) -> AbstractContextManager[Locust]:
        options = ("--worker", "--master-port", port)
        return locust(folder, *options, web=False, name=name, enduring=False)

    with locust(folder, "--master", "--master-bind-port", port, enduring=False) as master:
        yield master, start
