"""Start a server, wait until it answers, stop it: the target's process, and nothing of its load."""

import asyncio
import os
import shlex
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from loadtests import probe
from loadtests.errors import TargetError, UsageError
from loadtests.plan import Endpoint

_POLL_SECONDS: Final = 0.02
_PORT_TRIES: Final = 5
START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class TargetSource:
    """Where the server under test comes from.

    Attributes:
        command: what starts it, ``{port}`` in its words; empty when it runs already.
        pids: roots of its process trees; empty to look for what listens on the URL's port.
    """

    command: tuple[str, ...] = ()
    pids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class RunningTarget:
    """A server that we started.

    Attributes:
        command: what was run, its port filled in.
        pid: the root of its process tree.
        port: the port it was told to listen on.
        log: where its output goes.
        exit_status: tells its exit status, None while it runs; the negative of a signal's number
            if that ended it.
    """

    command: tuple[str, ...]
    pid: int
    port: int
    log: Path
    exit_status: Callable[[], int | None]


def split_command(template: str) -> tuple[str, ...]:
    """Split a target's command as a shell would; ``{port}`` in it is where the port goes.

    Raises:
        UsageError: unbalanced quotes, no words, or no ``{port}``.
    """
    try:
        words = shlex.split(template)
    except ValueError as error:
        raise UsageError(f"target command {template!r}: {error}") from None
    if not any("{port}" in word for word in words):
        raise UsageError(
            f"target command {template!r} has no {{port}}; "
            "write it where the server takes the port to listen on"
        )
    return tuple(words)


@asynccontextmanager
async def running(
    template: Sequence[str], log: Path, port: int | None = None
) -> AsyncIterator[RunningTarget]:
    """Run a server for as long as the context lasts, on that port or else a free one.

    A port is free only until somebody takes it: where another server was quicker, the target is
    started again on another port.

    Raises:
        TargetError: it cannot be started, ends at once, does not listen within 30 seconds, or
            another server listens on its port.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    process, target = await _listening(template, log, port)
    try:
        yield target
    finally:
        await _stop(process)


async def _listening(
    template: Sequence[str], log: Path, port: int | None
) -> tuple[asyncio.subprocess.Process, RunningTarget]:
    for _ in range(_PORT_TRIES if port is None else 1):
        process, target = await _start(template, log, port or free_port())
        try:
            await _until_listening(process, target)
            other = await asyncio.to_thread(_other_listener, target)
        except BaseException:
            await _stop(process)
            raise
        if other is None:
            return process, target
        await _stop(process)
    raise TargetError(
        f"another server (process {other}) listens on port {target.port}, which the target "
        f"{shlex.join(target.command)} was told to listen on"
    )


async def _start(
    template: Sequence[str], log: Path, port: int
) -> tuple[asyncio.subprocess.Process, RunningTarget]:
    command = tuple(word.replace("{port}", str(port)) for word in template)
    with log.open("ab") as output:
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C is for us: the target is stopped when its record is complete.
                start_new_session=True,
            )
        except OSError as error:
            raise TargetError(
                f"cannot start the target {shlex.join(command)}: {os.strerror(error.errno or 0)}"
            ) from None
    return process, RunningTarget(command, process.pid, port, log, lambda: process.returncode)


def _other_listener(target: RunningTarget) -> int | None:
    """Give the process that listens on the target's port, if it cannot be the target's doing.

    What the target starts may leave its session, as a container does, but is younger than it.
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


async def _until_listening(process: asyncio.subprocess.Process, target: RunningTarget) -> None:
    try:
        async with asyncio.timeout(START_SECONDS):
            while not await answers(Endpoint("127.0.0.1", target.port)):
                if process.returncode is not None:
                    raise TargetError(
                        f"the target {shlex.join(target.command)} ended with status "
                        f"{process.returncode} before it listened on port {target.port}; "
                        f"its last words: {_last_words(target.log)}"
                    )
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise TargetError(
            f"the target {shlex.join(target.command)} does not listen on port {target.port} "
            f"after {START_SECONDS:.0f} s; its output is in {target.log}"
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


async def answers(endpoint: Endpoint) -> bool:
    """Tell whether something accepts TCP connections there."""
    try:
        async with asyncio.timeout(5):
            _, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True


async def resolve(host: str, port: int) -> Endpoint:
    """Look a name up once, and take the first of its addresses that answers.

    ``localhost`` is often two addresses, of which a server listens on one.

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
    """Give a TCP port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _last_words(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "(none)"
