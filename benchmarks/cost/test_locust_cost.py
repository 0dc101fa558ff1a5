"""What a WebSocketUser costs Locust: framing alone, an echo round trip, an idle connection."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from time import process_time
from timeit import timeit
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

from benchmarks.cost.beside import Beside, Bound
from benchmarks.cost.conftest import judge, make_rounds, note_each
from loadtests.locust.gevent_connection import framed

ROUNDS = 6
DEADLINE_SECONDS = 300.0

NO_DEARER = Bound(at_most=1.0)
ROUND_TRIP_BESIDE_CLIENT = Bound(at_most=0.7)
BYTES_PER_CONNECTION = Bound(at_most=24 * 1024)

_PAYLOAD: Final = b"x" * 32
_FROM_SERVER: Final = Frame(Opcode.TEXT, _PAYLOAD).serialize(mask=False)

Core = tuple[Callable[[], object], Callable[[], object]]
"""Frames a message; parses the server's echo of it, passed in one piece."""


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
    """Return its core, whose parser reads from a function: two bytes of head, then the payload."""
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
    """Run the picows echo server; yield its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.cost.picows_echo", "0"],
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
    """Measure users of one kind in a separate process; a failure fails the benchmark."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.cost.locust_users",
            subject,
            url,
            str(count),
            str(seconds),
        ],
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
    """A 32-byte echo through each library's own code, without a socket: why this core is used."""
    number = 100 if is_quick else 60_000

    def cost(name: str) -> Mapping[str, float]:
        frame, parse = CORES[name]()
        framing = timeit(frame, timer=process_time, number=number) / number
        parsing = timeit(parse, timer=process_time, number=number) / number
        return {
            "frame.cpu_seconds": framing,
            "parse.cpu_seconds": parsing,
            "both.cpu_seconds": framing + parsing,
        }

    beside = Beside(list(CORES), cost)
    make_rounds(benchmark, beside, 1 if is_quick else ROUNDS)
    for figure in ("frame.cpu_seconds", "parse.cpu_seconds"):
        note_each(benchmark, figure, beside)
    if not is_quick:
        ours, *others = CORES
        judge(
            benchmark,
            *(beside.compare("both.cpu_seconds", ours, other, NO_DEARER) for other in others),
        )


def test_an_echo_round_trip(benchmark: BenchmarkFixture, echo_url: str, is_quick: bool) -> None:
    """CPU time of the Locust process, alternating with a user on websocket-client."""
    subjects = ("asking", "client", "tasks")
    beside = Beside(
        subjects, lambda subject: users(subject, echo_url, 20, 0.2 if is_quick else 3.0)
    )
    make_rounds(benchmark, beside, 1 if is_quick else ROUNDS)
    cpu = "cpu_per_round_trip_seconds"
    note_each(benchmark, cpu, beside)
    note_each(benchmark, "round_trips_per_second", beside)
    if not is_quick:
        judge(
            benchmark,
            beside.compare(cpu, "asking", "client", ROUND_TRIP_BESIDE_CLIENT),
            beside.compare(cpu, "tasks", "client", Bound()),
        )


def test_an_idle_connection(benchmark: BenchmarkFixture, echo_url: str, is_quick: bool) -> None:
    """Private memory of the Locust process, next to that of a user without a connection."""
    beside = Beside(
        ("idle", "bare"), lambda subject: users(subject, echo_url, 200 if is_quick else 2_000)
    )
    make_rounds(benchmark, beside, ROUNDS)
    memory = "memory_per_connection_bytes"
    note_each(benchmark, memory, beside)
    judge(benchmark, beside.by_itself(memory, "idle", BYTES_PER_CONNECTION))
