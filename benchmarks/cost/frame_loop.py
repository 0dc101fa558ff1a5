"""The floor for idle connections: a loop that sends as many heartbeats and pings, spread alike.

Run it as ``python -m benchmarks.cost.frame_loop PORT HEARTBEAT_SECONDS PING_SECONDS``. Each
connection has a random phase, as in the reference server; the pongs are read and ignored.
"""

import random
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from websockets.frames import Frame, Opcode

from benchmarks.cost.bare_server import BareServer, allow_all_files

PHASES: Final = 100
_HEARTBEAT: Final = Frame(Opcode.TEXT, b"Server is running...").serialize(mask=False)
_PING: Final = Frame(Opcode.PING, b"ping").serialize(mask=False)


@dataclass(slots=True)
class Round:
    """A frame that is sent to every client once per interval, one phase after the other."""

    frame: bytes
    interval_seconds: float
    due_seconds: float
    phase: int = 0

    def next_phase(self) -> int:
        """Return the phase whose turn it is, and note when the turn of the next is."""
        phase = self.phase
        self.phase = (phase + 1) % PHASES
        self.due_seconds += self.interval_seconds / PHASES
        return phase


class FrameLoop(BareServer):
    """A server that sends each round's frame to the clients of a phase when it is due."""

    def __init__(self, port: int, frames: Sequence[tuple[bytes, float]]) -> None:
        super().__init__(port)
        now = time.monotonic()
        self._rounds = [Round(frame, seconds, now) for frame, seconds in frames]
        self._phases: tuple[set[socket.socket], ...] = tuple(set() for _ in range(PHASES))
        self._phase_of: dict[socket.socket, int] = {}

    def turn(self) -> float:
        """Send what is due; return the seconds until the next frame is due."""
        for each in self._rounds:
            while each.due_seconds <= time.monotonic():
                for client in self._phases[each.next_phase()]:
                    # One that has just gone is noticed when its socket is read.
                    with suppress(OSError):
                        client.send(each.frame)
        return max(0.0, min(each.due_seconds for each in self._rounds) - time.monotonic())

    def opened(self, client: socket.socket, path: str) -> None:  # noqa: ARG002
        """Give a client its phase."""
        phase = self._phase_of[client] = random.randrange(PHASES)
        self._phases[phase].add(client)

    def closed(self, client: socket.socket) -> None:
        """Send nothing more to a client."""
        self._phases[self._phase_of.pop(client)].discard(client)


if __name__ == "__main__":
    allow_all_files()
    heartbeat_seconds, ping_seconds = map(float, sys.argv[2:])
    frames = ((_HEARTBEAT, heartbeat_seconds), (_PING, ping_seconds))
    FrameLoop(int(sys.argv[1]), frames).run()
