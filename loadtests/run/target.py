"""Start a server, wait until it answers, stop it: only the target's process, not its load."""

import asyncio
import os
import re
import shlex
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from loadtests.errors import TargetError
from loadtests.plan.plan import Endpoint
from loadtests.plan.target_source import TargetSource
from loadtests.run import probe

_POLL_SECONDS: Final = 0.02
_LAST_LINES: Final = 40
_NAMES_AN_ERROR: Final = re.compile(r"[\w.]*(Error|Exception)\b[^:]*: ")
_PORT_TRIES: Final = 5
_ANSWER_SECONDS: Final = 5.0
STOP_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class RunningTarget:
    """A server that we started.

    Attributes:
        command: what was run, with its port filled in.
        pid: the root of its process tree.
        port: the port it was given to listen on.
        log: where its output goes.
        exit_status: returns its exit status, None while it runs; the negative of a signal's number
            if that ended it.
    """

    command: tuple[str, ...]
    pid: int
    port: int
    log: Path
    exit_status: Callable[[], int | None]

    def how_it_ended(self) -> str:
        """Return how it ended, and its last words; only the words if its status is not known."""
        status = self.exit_status()
        ended = "" if status is None else f"it {_ending(status)}; "
        return f"{ended}its last words: {_last_words(self.log)}"


@asynccontextmanager
async def running(
    source: TargetSource, log: Path, port: int | None = None
) -> AsyncIterator[RunningTarget]:
    """Run a server for as long as the context lasts, on ``port`` or, if None, a free one.

    A port is free only until something takes it: if another server was quicker, the target is
    started again on another port.

    Raises:
        TargetError: it cannot be started, ends at once, is not ready in time, or another server
            listens on its port.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    process, target = await _listening(source, log, port)
    try:
        yield target
    finally:
        await _stop(process)


async def _listening(
    source: TargetSource, log: Path, port: int | None
) -> tuple[asyncio.subprocess.Process, RunningTarget]:
    for _ in range(_PORT_TRIES if port is None else 1):
        process, target = await _start(source, log, port or free_port())
        try:
            await _until_ready(process, target, source)
            other = await asyncio.to_thread(_other_listener, target)
        except BaseException:
            await _stop(process)
            raise
        if other is None:
            return process, target
        await _stop(process)
    raise TargetError(
        f"another server (process {other}) listens on port {target.port}, which the target "
        f"{shlex.join(target.command)} should listen on; stop that server, or use another port"
    )


async def _start(
    source: TargetSource, log: Path, port: int
) -> tuple[asyncio.subprocess.Process, RunningTarget]:
    command = tuple(word.replace("{port}", str(port)) for word in source.command)
    with log.open("ab") as output:
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **source.environment},
                cwd=source.directory,
                # Ctrl-C is for us: the target is stopped when its record is complete.
                start_new_session=True,
            )
        except OSError as error:
            raise TargetError(
                f"cannot start the target {shlex.join(command)}: {os.strerror(error.errno or 0)}"
            ) from None
    return process, RunningTarget(command, process.pid, port, log, lambda: process.returncode)


def _other_listener(target: RunningTarget) -> int | None:
    """Return the process that listens on the target's port, if the target cannot have started it.

    A process started by the target may leave its session, as a container does, but is younger.
    """
    born = _born(target.pid)
    for pid in probe.listener_roots(target.port):
        with suppress(ProcessLookupError):
            if os.getsid(pid) != target.pid and (born is None or (_born(pid) or born) < born):
                return pid
    return None


def _born(pid: int) -> float | None:
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None


async def _until_ready(
    process: asyncio.subprocess.Process, target: RunningTarget, source: TargetSource
) -> None:
    endpoint = Endpoint("127.0.0.1", target.port)
    listens = False
    try:
        async with asyncio.timeout(source.start_seconds):
            while not (listens := listens or await answers(endpoint)) or not (
                source.ready is None or await _is_ready(endpoint, source.ready)
            ):
                if process.returncode is not None:
                    raise TargetError(
                        f"the target {shlex.join(target.command)} "
                        f"{_ending(process.returncode)} before it "
                        f"{'was ready' if listens else 'listened'} on port {target.port}; "
                        f"its last words: {_last_words(target.log)}"
                    )
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        missing = f"answer GET {source.ready} with a 2xx status" if listens else "listen"
        raise TargetError(
            f"the target {shlex.join(target.command)} does not {missing} on port {target.port} "
            f"after {source.start_seconds:.3g} s; its output is in {target.log}"
        ) from None


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Ask the target to end, then end it and whatever it started."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    with suppress(TimeoutError):
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


async def _is_ready(endpoint: Endpoint, path: str) -> bool:
    """Return whether GET of a path is answered with a 2xx status (RFC 9112 section 4)."""
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
            try:
                writer.write(
                    f"GET {path} HTTP/1.1\r\nHost: {endpoint}\r\nConnection: close\r\n\r\n".encode()
                )
                version, status, *_ = (await reader.readline()).split() or (b"", b"")
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError, ValueError):
        return False
    return version.startswith(b"HTTP/") and status.startswith(b"2")


async def answers(endpoint: Endpoint) -> bool:
    """Return whether something accepts TCP connections there."""
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            _, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True


async def resolve(host: str, port: int) -> Endpoint:
    """Look up a name once, and return the first of its addresses that answers.

    ``localhost`` often has two addresses, of which a server listens on one.

    Raises:
        TargetError: the name has no address.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise TargetError(
            f"host {host!r} has no address ({error.strerror}); check the URL"
        ) from None
    candidates = list(dict.fromkeys(Endpoint(str(item[4][0]), port) for item in found))
    if len(candidates) > 1:
        for candidate in candidates:
            if await answers(candidate):
                return candidate
    return candidates[0]


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _ending(status: int) -> str:
    """Say what an exit status means; a negative one is the number of a signal."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"


def _last_words(log: Path) -> str:
    """Return the last line that names an error, otherwise the last one: Node's is its version."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines[-_LAST_LINES:] if _NAMES_AN_ERROR.match(line)]
    return (errors or lines or ["(none)"])[-1]
