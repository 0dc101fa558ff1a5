"""Listen for heartbeats, ping, and fall silent: is the interval kept, are dead clients detected?

These are timed: the interval between two heartbeat messages and between two pings of the server,
each also as its difference from what was promised (*jitter*); the round trip of our own pings
(RFC 6455 section 5.5.2), or of messages that the server answers like pings; and, for clients that
stop reading and so answer nothing, like a peer whose cable was cut, how long until the server gives
up on them (*detected*).
"""

import asyncio
import random
import socket
import struct
from itertools import count
from time import perf_counter_ns
from typing import Annotated, Any, Final

from picows import WSMsgType
from pydantic import Field

from loadtests.clients.connection import Connection
from loadtests.clients.pool import ConnectionPool
from loadtests.errors import UsageError
from loadtests.measure.load_window import LoadWindow
from loadtests.measure.pacer import Pacer
from loadtests.measure.recorder import Recorder
from loadtests.measure.stamp import ECHO_BYTES, run_tag
from loadtests.plan.plan import Plan, ProcessPlan
from loadtests.scenarios.correlation import CorrelatedParameters, Envelope, readings, rule
from loadtests.scenarios.parameters import Seconds
from loadtests.scenarios.scenario import Published, Scenario
from reports.figure import Better, measured_alike
from reports.measures import Measures

_POLL_SECONDS: Final = 0.02
_LISTENING: Final = 0.75
"""The share of the beats fitting into the duration that must arrive: the first and the last may
fall outside it."""
_TCP_ESTABLISHED: Final = 1


_MEASURES: Final = Measures(
    main=("heartbeat_interval",),
    durations=measured_alike(
        "Timed by CLOCK_MONOTONIC in the swarm process that has the connection.",
        (
            (
                "ping_round_trip",
                "ping to pong",
                Better.LOWER,
                "From a ping of the generator to its pong.",
            ),
            (
                "ping_interval",
                "ping interval",
                Better.NEITHER,
                "Between two pings of the server.",
            ),
            (
                "ping_jitter",
                "ping jitter",
                Better.LOWER,
                "By how much that differs from the interval that was to be.",
            ),
            (
                "heartbeat_interval",
                "heartbeat interval",
                Better.NEITHER,
                "Between two heartbeat messages of the server.",
            ),
            (
                "heartbeat_jitter",
                "heartbeat jitter",
                Better.LOWER,
                "By how much that differs from the interval that was to be.",
            ),
            (
                "detected",
                "half open detected",
                Better.LOWER,
                "From when a client falls silent until the server gives up on it.",
            ),
        ),
    ),
    figures=measured_alike(
        "Counted by the swarm processes in the measured phase.",
        (
            ("heartbeat.beats", "heartbeats", Better.NEITHER, "Heartbeat messages that arrived."),
            (
                "heartbeat.expected",
                "heartbeats expected",
                Better.NEITHER,
                "Heartbeat messages that should have arrived.",
            ),
            ("heartbeat.pings_sent", "pings sent", Better.NEITHER, "Pings sent to the server."),
            (
                "heartbeat.pings_received",
                "pings received",
                Better.NEITHER,
                "Pings from the server.",
            ),
            ("heartbeat.pongs", "pongs received", Better.NEITHER, "Answers to these pings."),
            (
                "heartbeat.detected",
                "silent clients detected",
                Better.HIGHER,
                "Silent clients that the server has given up on.",
            ),
        ),
    ),
)


class HeartbeatParameters(CorrelatedParameters):
    """Parameters settable with ``--param``."""

    message: Annotated[str, Field(min_length=1)] = "Server is running"
    """A text that a heartbeat message contains."""

    interval: Annotated[Seconds, Field(gt=0)] = 10.0
    """The interval at which the server promises a heartbeat message."""

    ping_interval: Annotated[Seconds, Field(gt=0)] | None = None
    """The interval at which the server promises a ping; not judged by default."""

    half_open: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The share of the clients that fall silent at the start of the load."""

    within: Annotated[Seconds, Field(gt=0)] = 60.0
    """How long the server may take to give up on a client after it falls silent."""

    wrap: str | None = None
    """A ping in the server's own format, sent as a message instead of a ping frame, with {} for a
    text that the answer returns and {n} for the number of the connection."""

    find: str | None = None
    """Where to find that text in the answer: json:a.b.0 or regex:PATTERN with one group; without
    it, anywhere."""


class Pulse:
    """The times at which one client last received each kind of beat, 0 before the first."""

    __slots__ = ("beat_ns", "ping_ns", "pinged_ns")

    def __init__(self) -> None:
        self.beat_ns = 0
        self.ping_ns = 0
        self.pinged_ns = 0


class Heartbeat(Scenario[HeartbeatParameters]):
    """One process's part of the load; the rate is our own pings a second over all connections."""

    parameters_type = HeartbeatParameters
    default_rate = 10.0
    measures = _MEASURES

    def __init__(
        self, share: ProcessPlan, parameters: HeartbeatParameters, recorder: Recorder
    ) -> None:
        super().__init__(share, parameters, recorder)
        self._message = parameters.message.encode()
        self._interval_ns = round(parameters.interval * 1e9)
        self._ping_interval_ns = round((parameters.ping_interval or 0) * 1e9)
        self._beats = recorder.durations("heartbeat_interval").append
        self._beat_jitter = recorder.durations("heartbeat_jitter").append
        self._pings = recorder.durations("ping_interval").append
        self._ping_jitter = recorder.durations("ping_jitter").append
        self._round_trip = recorder.durations("ping_round_trip").append
        self._detected = recorder.durations("detected").append
        self._lateness = recorder.durations("lateness").append
        self._random = random.Random(share.plan.seed + share.process)
        self._beaten = 0
        # For pings sent as messages.
        row = share.plan.row_for(parameters.wrap)
        self._write = None if parameters.wrap is None else Envelope(parameters.wrap, row).write
        self._find = rule(parameters.find)
        self._tag = run_tag(share.plan.seed)
        self._kind = WSMsgType.BINARY if share.plan.binary else WSMsgType.TEXT
        self._ping_numbers = count()
        self._pinged: dict[tuple[int, bytes], int] = {}

    @classmethod
    def check(cls, plan: Plan, parameters: HeartbeatParameters) -> None:
        """Reject a duration in which no interval would be seen."""
        if plan.duration_seconds < 2 * parameters.interval:
            raise UsageError(
                f"a duration of {plan.duration_seconds:g} s is too short for an interval of "
                f"{parameters.interval:g} s; use --duration {3 * parameters.interval:g}s or more, "
                "or --param interval=… if the server sends heartbeats faster"
            )

    def new_state(self, number: int) -> Pulse:  # noqa: ARG002
        """Return the times of a new client's last beats."""
        return Pulse()

    def opened(self, connection: Connection) -> None:
        """Listen for pings and pongs too."""
        connection.on_control = self._on_control

    def receive(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        """Time a heartbeat message, or the answer to a ping sent as a message."""
        if self._pinged and self._is_answer(connection, payload, now_ns):
            return
        if self._message not in payload:
            self.recorder.unsolicited += 1
            return
        pulse: Pulse = connection.state
        self._beaten += 1
        if pulse.beat_ns:
            gap_ns = now_ns - pulse.beat_ns
            self._beats(gap_ns)
            self._beat_jitter(abs(gap_ns - self._interval_ns))
        pulse.beat_ns = now_ns

    def _is_answer(self, connection: Connection, payload: bytes, now_ns: int) -> bool:
        text = payload if self._find is None else self._find(payload)
        for _, stamped in readings(text or b"", self._tag):
            key = connection.number, stamped[:ECHO_BYTES]
            intended_ns = self._pinged.pop(key, None)
            if intended_ns is not None:
                self._round_trip(now_ns - intended_ns)
                self.recorder.counts["heartbeat.pongs"] += 1
                return True
        return False

    def _on_control(
        self, connection: Connection, kind: WSMsgType, payload: bytes, now_ns: int
    ) -> None:
        pulse: Pulse = connection.state
        if kind is WSMsgType.PONG:
            if len(payload) == struct.calcsize("q"):
                self._round_trip(now_ns - struct.unpack("q", payload)[0])
                self.recorder.counts["heartbeat.pongs"] += 1
            return
        self.recorder.counts["heartbeat.pings_received"] += 1
        if pulse.ping_ns:
            gap_ns = now_ns - pulse.ping_ns
            self._pings(gap_ns)
            if self._ping_interval_ns:
                self._ping_jitter(abs(gap_ns - self._ping_interval_ns))
        pulse.ping_ns = now_ns

    async def measure(self, pool: ConnectionPool, load: LoadWindow) -> Published:
        """Listen and ping for the duration; some clients are silent from the start."""
        await load.begun()
        here = pool.open_connections()
        silent = self._random.sample(here, round(len(here) * self.parameters.half_open))
        if silent:
            pool.report_event("half open", connections=len(silent))
        finding = asyncio.create_task(self._give_up_on(silent))
        unheard = set(silent)
        listening = [connection for connection in here if connection not in unheard]
        self._beaten = 0
        await self._ping(listening, load)
        seconds = load.seconds
        self.recorder.counts["heartbeat.beats"] += self._beaten
        expected = len(listening) * int(seconds / self.parameters.interval)
        self.recorder.counts["heartbeat.expected"] += expected
        if self._beaten < expected * _LISTENING:
            self.recorder.errors["heartbeat:too few beats"] += expected - self._beaten
        await finding
        return {}

    async def _ping(self, listening: list[Connection], load: LoadWindow) -> None:
        turn = 0

        def fire(intended_ns: int) -> None:
            nonlocal turn
            connection = listening[turn % len(listening)]
            turn += 1
            if not connection.is_open:
                self.recorder.errors["send:closed"] += 1
                return
            now_ns = perf_counter_ns()
            self._lateness(now_ns - intended_ns)
            self._send_ping(connection, intended_ns)
            self.recorder.counts["heartbeat.pings_sent"] += 1

        times = self.arrivals(1 / self.plan.processes)
        if listening:
            await Pacer(asyncio.get_running_loop(), times, load, fire).run()
        await load.over()

    def _send_ping(self, connection: Connection, intended_ns: int) -> None:
        if self._write is None:
            connection.transport.send_ping(struct.pack("q", intended_ns))
            return
        stamp = b"%b%012x" % (self._tag, next(self._ping_numbers))
        self._pinged[connection.number, stamp] = intended_ns
        connection.transport.send(
            self._kind, self._write(stamp, connection.number, connection.saved)
        )

    async def _give_up_on(self, silent: list[Connection]) -> None:
        """Wait until the server has ended every silent connection, and time each."""
        since_ns = perf_counter_ns()
        for connection in silent:
            connection.expect_end()
            connection.transport.underlying_transport.pause_reading()
        waiting = list(silent)
        while waiting and perf_counter_ns() - since_ns < self.parameters.within * 1e9:
            await asyncio.sleep(_POLL_SECONDS)
            now_ns = perf_counter_ns()
            for connection in [it for it in waiting if not _is_established(it)]:
                waiting.remove(connection)
                self._detected(now_ns - since_ns)
                self.recorder.counts["heartbeat.detected"] += 1
                connection.abort()
        if waiting:
            self.recorder.errors["heartbeat:half open not detected"] += len(waiting)


def _is_established(connection: Connection) -> bool:
    """Ask the kernel (tcp(7), TCP_INFO), because a client that does not read misses the end."""
    if connection.transport.is_disconnected:
        return False
    held: Any = connection.transport.underlying_transport.get_extra_info("socket")
    state: int = held.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return state == _TCP_ESTABLISHED
