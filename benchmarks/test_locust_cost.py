"""What a WebSocketUser costs Locust: framing alone, an echo round trip, a connection that idles."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from timeit import repeat
from typing import Final

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from websocket import ABNF
from websocket._abnf import frame_buffer
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from benchmarks.conftest import note
from loadtests.gevent_connection import framed

ROUNDS = 3
DEADLINE_SECONDS = 120.0
SECONDS_PER_ROUND_TRIP_AT_MOST = 30e-6
BYTES_PER_CONNECTION_AT_MOST = 24 * 1024

_PAYLOAD: Final = b"x" * 32
_FROM_SERVER: Final = Frame(Opcode.TEXT, _PAYLOAD).serialize(mask=False)

Core = tuple[Callable[[], object], Callable[[], object]]
"""Frames a message; parses the server's echo of it, handed over in one piece."""


def websockets_core() -> Core:
    logger = logging.getLogger("benchmarks.silent")
    logger.disabled = True
    core = ClientProtocol(parse_uri("ws://127.0.0.1/"), state=State.OPEN, logger=logger)

    def frame() -> list[bytes]:
        core.send_text(_PAYLOAD)
        return core.data_to_send()

    def parse() -> object:
        core.receive_data(_FROM_SERVER)
        (echo,) = core.events_received()
        return echo

    return frame, parse


def our_core() -> Core:
    return lambda: framed(Opcode.TEXT, _PAYLOAD), websockets_core()[1]


def wsproto_core() -> Core:
    core = Connection(ConnectionType.CLIENT)
    text = _PAYLOAD.decode()

    def parse() -> object:
        core.receive_data(_FROM_SERVER)
        (echo,) = core.events()
        return echo

    return lambda: core.send(TextMessage(data=text)), parse


def websocket_client_core() -> Core:
    """Its parser reads from a function, two bytes for the head and then the payload."""
    unread = b""

    def read(count: int) -> bytes:
        nonlocal unread
        given, unread = unread[:count], unread[count:]
        return given

    buffer = frame_buffer(read, skip_utf8_validation=False)

    def parse() -> object:
        nonlocal unread
        unread = _FROM_SERVER
        return buffer.recv_frame()

    return lambda: ABNF.create_frame(_PAYLOAD, ABNF.OPCODE_TEXT).format(), parse


CORES: Final[Mapping[str, Callable[[], Core]]] = {
    "WebSocketUser": our_core,
    "websockets": websockets_core,
    "websocket-client": websocket_client_core,
    "wsproto": wsproto_core,
}


@pytest.fixture(scope="module")
def echo_url() -> Iterator[str]:
    """Run the picows echo server; gives its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.picows_echo", "0"],
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stderr is not None
    try:
        yield process.stderr.readline().split()[-1] + "/echo"
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()


def users(subject: str, url: str, count: int, seconds: float = 0.0) -> Mapping[str, float]:
    """Measure users of one kind in a process of their own; a failure fails the benchmark."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.locust_users", subject, url, str(count), str(seconds)],
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures: Mapping[str, float] = json.loads(done.stdout)
    assert figures["failures"] == 0
    return figures


def test_framing_and_parsing(benchmark: BenchmarkFixture, is_quick: bool) -> None:
    """A 32-byte echo through each library's own code, without a socket: why it is this core."""
    number = 100 if is_quick else 20_000
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in CORES}

    def round_() -> None:
        for name, make in CORES.items():
            frame, parse = make()
            costs[name].append(
                (
                    min(repeat(frame, number=number, repeat=3)) / number,
                    min(repeat(parse, number=number, repeat=3)) / number,
                )
            )

    benchmark.pedantic(round_, rounds=ROUNDS)  # type: ignore[no-untyped-call]
    print(f"\n{'':20}{'frame':>10}{'parse':>10}{'both':>10}   µs, best of {ROUNDS} rounds")
    for name, rounds in costs.items():
        frame, parse = (min(round_[part] for round_ in rounds) * 1e6 for part in (0, 1))
        benchmark.extra_info[name] = rounds
        print(f"{name:20}{frame:10.2f}{parse:10.2f}{frame + parse:10.2f}")
    both = {name: min(map(sum, rounds)) for name, rounds in costs.items()}
    assert is_quick or min(both, key=both.__getitem__) == "WebSocketUser"


def test_an_echo_round_trip(benchmark: BenchmarkFixture, echo_url: str, is_quick: bool) -> None:
    """CPU time of the Locust process, in turn with a user on websocket-client."""
    subjects = ("asking", "client", "tasks")
    cpu: dict[str, list[float]] = {subject: [] for subject in subjects}
    rate: dict[str, list[float]] = {subject: [] for subject in subjects}

    def round_() -> None:
        for subject in subjects:
            figures = users(subject, echo_url, 20, 0.2 if is_quick else 3.0)
            cpu[subject].append(figures["cpu_per_round_trip_seconds"])
            rate[subject].append(figures["round_trips_per_second"])

    benchmark.pedantic(round_, rounds=1 if is_quick else ROUNDS)  # type: ignore[no-untyped-call]
    for subject in subjects:
        note(benchmark, "locust.cpu_per_round_trip_seconds", cpu[subject], subject)
        note(benchmark, "locust.round_trips_per_second", rate[subject], subject)
    assert is_quick or min(cpu["asking"]) < SECONDS_PER_ROUND_TRIP_AT_MOST
    assert is_quick or min(cpu["asking"]) < min(cpu["client"])


def test_an_idle_connection(benchmark: BenchmarkFixture, echo_url: str, is_quick: bool) -> None:
    """Private memory of the Locust process, beside that of a user without a connection."""
    subjects = ("idle", "bare")
    memory: dict[str, list[float]] = {subject: [] for subject in subjects}

    def round_() -> None:
        for subject in subjects:
            figures = users(subject, echo_url, 40 if is_quick else 2_000)
            memory[subject].append(figures["memory_per_connection_bytes"])

    benchmark.pedantic(round_, rounds=1 if is_quick else ROUNDS)  # type: ignore[no-untyped-call]
    for subject in subjects:
        note(benchmark, "locust.memory_per_connection_bytes", memory[subject], subject)
    assert is_quick or max(memory["idle"]) < BYTES_PER_CONNECTION_AT_MOST
