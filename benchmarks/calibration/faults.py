"""What the known server does wrong, and when: arithmetic on sequence numbers, without a socket."""

from collections import Counter
from dataclasses import dataclass
from enum import Enum, auto
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Fate(Enum):
    """What becomes of one delivery."""

    SENT = auto()
    LOST = auto()
    DUPLICATED = auto()
    HELD = auto()


@dataclass(frozen=True, slots=True)
class Faults:
    """What to inject; 0 is never. All numbers but ``close_after`` count server-wide, from 1.

    A *delivery* is one message on its way to one client: one for an echo, one per receiver, in the
    order in which they connected, for a broadcast.

    Attributes:
        delay_seconds: how long after its arrival everything leaves; the median if delays vary.
        delay_sigma: the standard deviation of the logarithm of delays, which are then log-normal.
        delay_path: only replies on paths with this ending are delayed; on all, if it is empty.
        other_delay_seconds: how long replies on all other paths are held, always the same.
        stalls: how many times the server stalls, by the clock: the first time a second after the
            first message, and then once every ``stall_every_seconds``.
        stall_every_seconds: the time from the start of one such stall to that of the next.
        stall_at_message: the message at whose arrival the server stalls.
        stall_seconds: how long it stalls.
        lose_every: every n-th delivery is not sent.
        duplicate_every: every n-th delivery is sent twice in a row.
        reorder_every: every n-th delivery changes places with the next to its client.
        damage_every: every n-th delivery has a wrong last byte.
        refuse_every: every n-th handshake is refused.
        refuse_status: the HTTP status that refuses it (RFC 6455 section 4.2.2).
        close_after: the message of a connection after whose reply the server closes it.
        close_code: the close code it then sends (RFC 6455 section 7.4).
        die_at_message: the message at whose arrival the process ends with status 1.
        fragment: send every message as three frames (RFC 6455 section 5.4).
        greet: send an unsolicited message to every client that connects.
    """

    delay_seconds: float = 0.0
    delay_sigma: float = 0.0
    delay_path: str = ""
    other_delay_seconds: float = 0.0
    stalls: int = 0
    stall_every_seconds: float = 2.0
    stall_at_message: int = 0
    stall_seconds: float = 0.0
    lose_every: int = 0
    duplicate_every: int = 0
    reorder_every: int = 0
    damage_every: int = 0
    refuse_every: int = 0
    refuse_status: int = 403
    close_after: int = 0
    close_code: int = 1000
    die_at_message: int = 0
    fragment: bool = False
    greet: bool = False

    def fate(self, delivery: int) -> Fate:
        """Return the fate of that delivery; if several are due, the first one listed here."""
        if _is_due(delivery, self.lose_every):
            return Fate.LOST
        if _is_due(delivery, self.duplicate_every):
            return Fate.DUPLICATED
        if _is_due(delivery, self.reorder_every):
            return Fate.HELD
        return Fate.SENT

    def damages(self, delivery: int) -> bool:
        """Return whether that delivery is damaged, if it is sent."""
        return _is_due(delivery, self.damage_every) and self.fate(delivery) is not Fate.LOST

    def refuses(self, handshake: int) -> bool:
        """Return whether that handshake is refused."""
        return _is_due(handshake, self.refuse_every)


class Outbox(Generic[Item]):
    """A queue that puts the items for one client in the order in which they are sent.

    Counts, in ``injected``, what was ``lost``, ``duplicated`` and ``held``, and what became of the
    held items: ``reordered`` behind a successor, or ``flushed`` if none came.
    """

    __slots__ = ("_held", "_injected")

    def __init__(self, injected: Counter[str]) -> None:
        self._injected = injected
        self._held: list[Item] = []

    def put(self, item: Item, fate: Fate) -> list[Item]:
        """Take one item; return what is to be sent now."""
        if fate is Fate.LOST:
            self._injected["lost"] += 1
            return []
        if fate is Fate.HELD and not self._held:
            # One at a time: of two neighbours, only one can be behind the other.
            self._injected["held"] += 1
            self._held.append(item)
            return []
        out = [item]
        if fate is Fate.DUPLICATED:
            self._injected["duplicated"] += 1
            out.append(item)
        return out + self._release("reordered")

    def flush(self) -> list[Item]:
        """Return what waits for a successor that will not come."""
        return self._release("flushed")

    def _release(self, count: str) -> list[Item]:
        released, self._held = self._held, []
        self._injected[count] += len(released)
        return released


def damaged(payload: bytes) -> bytes:
    """Return a payload with its last byte changed, whatever it is; text stays UTF-8."""
    return payload[:-1] + bytes([payload[-1] ^ 1]) if payload else b"?"


def _is_due(number: int, every: int) -> bool:
    return every > 0 and number % every == 0
