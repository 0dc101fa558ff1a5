"""A numbered stream that one connection publishes and many receive: its writer and its reader.

A single publisher keeps one order, so loss, duplication and reordering are exact at every receiver.
"""

import asyncio
from array import array
from collections.abc import Callable, Iterator
from time import perf_counter_ns
from typing import Final

from picows import WSMsgType

from loadtests.clients.connection import Connection
from loadtests.errors import UsageError
from loadtests.measure.ledger import Ledger
from loadtests.measure.load_window import LoadWindow
from loadtests.measure.pacer import Pacer
from loadtests.measure.recorder import Recorder
from loadtests.measure.stamp import (
    BROADCAST_BYTES,
    INTENDED_END,
    SENT_END,
    SEQUENCE_END,
    TAG_BYTES,
    run_tag,
)
from loadtests.plan.payload import Fillers
from loadtests.plan.plan import Plan, ProcessPlan
from loadtests.scenarios.correlation import Envelope, Finder, PublishedParameters, readings
from reports.measures import Measures

DELIVERIES: Final = Measures(
    main=("delivered",), reaches_rate=True, in_bursts=True, has_ledger=True
)
"""The measures of a scenario whose messages are each delivered to many connections."""

# A number this far ahead of the last one is a damaged stamp, not a gap to enter in the ledger.
_LARGEST_GAP: Final = 1_000_000


def check_payload(plan: Plan) -> None:
    """Raise UsageError if the payload has no room for the stamp."""
    if plan.payload_bytes < BROADCAST_BYTES:
        raise UsageError(
            f"a payload of {plan.payload_bytes} bytes is too small; a broadcast message carries a "
            f"stamp, so it must have at least {BROADCAST_BYTES}"
        )


class Publisher:
    """The sender of the stream's messages.

    Attributes:
        sent_ns: when each was sent, by its number, in nanoseconds on the fleet's clock.
    """

    def __init__(
        self, share: ProcessPlan, parameters: PublishedParameters, recorder: Recorder
    ) -> None:
        plan = share.plan
        self._write = Envelope(parameters.wrap, plan.row_for(parameters.wrap)).write
        self.sent_ns = array("q")
        self._recorder = recorder
        self._clock_ns = share.clock_ns
        self._tag = run_tag(plan.seed)
        self._fillers = Fillers(plan, BROADCAST_BYTES)
        self._kind = WSMsgType.BINARY if plan.binary else WSMsgType.TEXT
        self._lateness = recorder.durations("lateness").append

    def publish(self, connection: Connection, intended_ns: int) -> None:
        """Send the next message; if the connection is closed, count an error instead."""
        if not connection.is_open:
            self._recorder.errors["send:closed"] += 1
            return
        now_ns = perf_counter_ns()
        message = b"%b%012x%016x%016x%b" % (
            self._tag,
            len(self.sent_ns),
            intended_ns + self._clock_ns,
            now_ns + self._clock_ns,
            self._fillers[len(self.sent_ns)],
        )
        payload = self._write(message, connection.number, connection.saved)
        connection.transport.send(self._kind, payload)
        self.sent_ns.append(now_ns + self._clock_ns)
        self._recorder.sent += 1
        self._recorder.sent_bytes += len(payload)
        self._lateness(now_ns - intended_ns)

    async def run(
        self,
        connection: Callable[[], Connection | None] | None,
        arrivals: Iterator[int],
        window: LoadWindow,
    ) -> None:
        """Publish on schedule for the whole load; a process without the publisher waits.

        Args:
            connection: called each time for the connection to publish on, and returns None if
                nobody is there; None if the publisher is in another process.
            arrivals: when messages are due, in nanoseconds since the start of ``window``.
            window: the load window.
        """
        if connection is None:
            await window.over()
            return

        def fire(intended_ns: int) -> None:
            if (on := connection()) is not None:
                self.publish(on, intended_ns)

        await Pacer(asyncio.get_running_loop(), arrivals, window, fire).run()


class StampReader:
    """A reader of stamps, one for each message, because every receiver gets the same bytes.

    Attributes:
        seen: the last message read, to compare with before calling :meth:`read`.
        sequence: its number.
        intended_ns: when it was due to be sent, by CLOCK_MONOTONIC here.
    """

    __slots__ = (
        "_clock_error_ns",
        "_clock_ns",
        "_fillers",
        "_finder",
        "_recorder",
        "_tag",
        "intended_ns",
        "seen",
        "sequence",
    )

    def __init__(
        self, share: ProcessPlan, parameters: PublishedParameters, recorder: Recorder
    ) -> None:
        plan = share.plan
        self._recorder = recorder
        self._clock_ns = share.clock_ns
        self._clock_error_ns = share.clock_error_ns
        self._tag = run_tag(plan.seed)
        self._finder = Finder(parameters.find, self._tag, SENT_END, recorder)
        self._fillers = Fillers(plan, BROADCAST_BYTES)
        self.seen = b""
        self.sequence = -1
        self.intended_ns = 0

    def read(self, payload: bytes, now_ns: int) -> bool:
        """Read a message that is not :attr:`seen`; return whether it belongs to this run."""
        text = self._finder.text(payload)
        if text is None:
            return False
        for _, stamped in readings(text, self._tag):
            if self._take(stamped, now_ns):
                self.seen = payload
                return True
        self._recorder.integrity["corrupted"] += 1
        return False

    def _take(self, stamped: bytes, now_ns: int) -> bool:
        """Read number and time from a stamp; return whether everything sent is there."""
        try:
            sequence = int(stamped[TAG_BYTES:SEQUENCE_END], 16)
            intended_ns = int(stamped[SEQUENCE_END:INTENDED_END], 16) - self._clock_ns
        except ValueError:
            return False
        damaged = (
            not stamped.startswith(self._fillers[sequence], SENT_END)
            or sequence > self.sequence + _LARGEST_GAP
            or intended_ns > now_ns + self._clock_error_ns
        )
        if damaged:
            return False
        self.sequence = sequence
        # The clocks of two hosts never quite agree: a delivery may seem to arrive before it is due.
        self.intended_ns = min(intended_ns, now_ns)
        return True


def observe(ledger: Ledger, sequence: int, recorder: Recorder) -> bool:
    """Enter an out-of-order arrival and count it by kind; return whether it is the first."""
    reordered = ledger.reordered
    if ledger.observe(sequence):
        recorder.integrity["reordered"] += ledger.reordered - reordered
        return True
    recorder.integrity["duplicated"] += 1
    return False
