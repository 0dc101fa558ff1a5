"""What each connection said and heard while faults were injected, and what that comes to.

Every message has a sender and a number. Who is connected has to hear it, or its worker has to have
announced, between the moment when it was said and the moment when something later of the same
worker was heard, that it missed a message: each announced one excuses one message, once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import NamedTuple

GOING_AWAY = 1001
TRY_AGAIN_LATER = 1013
EXPLAINED = {GOING_AWAY, TRY_AGAIN_LATER}
"""Close codes that say that the drain was over, or that the client read too slowly."""


class Heard(NamedTuple):
    """A message as it arrived."""

    number: int
    at: float


@dataclass
class Line:
    """One connection of somebody who chats, who says the next thing once the last has come back."""

    name: str
    worker: int
    """Pid of the process that serves it."""
    said_at: list[float] = field(default_factory=list)
    """When it sent each of its messages; they are numbered from 1."""
    back_at: list[float] = field(default_factory=list)
    """When each of them came back to it: those were accepted."""
    heard: dict[str, list[Heard]] = field(default_factory=lambda: defaultdict(list))
    """What each line said, its own too, in the order it came."""
    close_code: int | None = None
    """What the server ended it with, None if it did not."""

    def last(self, name: str) -> int:
        """Return the number of the last message of a line that came here, 0 if none did."""
        return self.heard[name][-1].number if self.heard[name] else 0


class Count(NamedTuple):
    """What a worker said of its bus when it was asked."""

    asked: float
    answered: float
    missed: int
    """How many messages of other workers did not come to it until then."""
    reconnects: int = 0
    connected: bool = True


@dataclass
class Counts:
    """What one worker said of its bus, each time it was asked; never twice at once."""

    told: list[Count] = field(default_factory=list)

    def before(self, at: float) -> Count:
        """Return the last count that was certainly made before a moment."""
        until = bisect_left(self.told, at, key=lambda count: count.answered)
        return self.told[until - 1] if until else Count(0, 0, 0)

    def after(self, at: float) -> Count | None:
        """Return the first count that was certainly made after it, None if there is none."""
        since = bisect_left(self.told, at, key=lambda count: count.asked)
        return self.told[since] if since < len(self.told) else None

    def was_interrupted(self, since: float, until: float) -> bool:
        """Return whether the worker had to connect to the bus again between two moments."""
        first, last = self.before(since), self.after(until)
        if last is None:
            return False
        return last.reconnects > first.reconnects or not (first.connected and last.connected)


class Missing(NamedTuple):
    """A message that did not come to a worker, between two moments that surround its loss."""

    line: str
    number: int
    said_at: float
    noticed_at: float


@dataclass
class Judgement:
    """What the ledger comes to."""

    wrong: list[str] = field(default_factory=list)
    """What was accepted, not heard, and not announced either, in words."""
    due: int = 0
    """How many messages had to be heard, once for each line that had to hear them."""
    announced: int = 0
    """How many were not, once for each worker, of which the worker had said so in time."""
    unknown: int = 0
    """How many were not by a worker that ended before it was asked again."""


def judge(lines: list[Line], counts: dict[int, Counts], killed: set[int]) -> Judgement:
    """Return what is wrong, and how much was looked at; ``killed`` are pids of workers."""
    found = Judgement(_out_of_order(lines) + _ended_for_no_reason(lines, killed))
    of_worker: dict[int, list[Line]] = defaultdict(list)
    for line in lines:
        of_worker[line.worker].append(line)
    for receiver, here in of_worker.items():
        lost: dict[tuple[str, int], Missing] = {}
        for sender, there in of_worker.items():
            known_at = _known_at(here, there)
            for line in here:
                for missing in _missing(line, there, known_at, found):
                    what = f"{line.name} missed {missing.number} of {missing.line}"
                    if sender == receiver:
                        found.wrong.append(f"{what}, on the same worker")
                    elif _came_to_another(here, missing):
                        found.wrong.append(f"{what}, which came to its worker")
                    else:
                        _keep_narrower(lost, missing)
        _excuse(receiver, list(lost.values()), counts.get(receiver, Counts()), killed, found)
    return found


def _out_of_order(lines: list[Line]) -> list[str]:
    return [
        f"{line.name} heard {other} twice or out of order"
        for line in lines
        for other, heard in line.heard.items()
        if any(a.number >= b.number for a, b in pairwise(heard))
    ]


def _ended_for_no_reason(lines: list[Line], killed: set[int]) -> list[str]:
    return [
        f"{line.name} was ended with {line.close_code}"
        for line in lines
        if line.close_code not in {None, *EXPLAINED} and line.worker not in killed
    ]


def _known_at(here: list[Line], there: list[Line]) -> float:
    """Return since when the worker of those here knows that of those there.

    It counts what it missed from the first message on that it got.
    """
    first = (
        line.heard[other.name][0].at for line in here for other in there if other.name in line.heard
    )
    return min(first, default=float("inf"))


def _missing(line: Line, there: list[Line], known_at: float, found: Judgement) -> list[Missing]:
    """Return what a line had to hear of the lines of one worker and did not.

    That is what was said since it was certainly there, and came back to who said it before
    something was said that the line did hear: a worker passes on in the order in which it is told.
    """
    came = sorted(
        (at, other.said_at[number - 1])
        for other in there
        if other.name in line.heard
        for number, at in line.heard[other.name]
    )
    latest = list(accumulate((said_at for _, said_at in came), max))
    joined_at = min(heard[0].at for heard in line.heard.values()) if line.heard else float("inf")
    since = joined_at if line in there else max(joined_at, known_at)
    missing = []
    for other in there if came else ():
        first = bisect_left(other.said_at, since) + 1
        end = bisect_left(other.back_at, latest[-1]) + 1
        found.due += max(0, end - first)
        gone = set(range(first, end)) - {number for number, _ in line.heard.get(other.name, ())}
        for number in sorted(gone):
            noticed_at = came[bisect_left(latest, other.back_at[number - 1])][0]
            missing.append(Missing(other.name, number, other.said_at[number - 1], noticed_at))
    return missing


def _came_to_another(here: list[Line], missing: Missing) -> bool:
    return any(
        missing.number == number for line in here for number, _ in line.heard.get(missing.line, ())
    )


def _keep_narrower(lost: dict[tuple[str, int], Missing], missing: Missing) -> None:
    """Note a loss at a worker: of two lines there, the one that noticed earlier is the witness."""
    key = missing.line, missing.number
    if key not in lost or missing.noticed_at < lost[key].noticed_at:
        lost[key] = missing


def _excuse(
    worker: int, lost: list[Missing], counts: Counts, killed: set[int], found: Judgement
) -> None:
    """Hold what did not come to a worker against what it announced.

    A message is excused by one between the count before it was said and the count after the loss
    was noticed. That each finds one of its own is so if no span of counts has more messages in it
    than it is long (P. Hall, "On representatives of subsets", 1935).
    """
    spans = []
    for missing in lost:
        after = counts.after(missing.noticed_at)
        if after is not None:
            spans.append((counts.before(missing.said_at).missed, after.missed))
        elif worker in killed:
            found.unknown += 1
        else:
            found.wrong.append(f"worker {worker} was not asked after it lost {missing}")
    too_many = [
        f"worker {worker} lost {inside} messages where it announced {last - first}"
        for first in {first for first, _ in spans}
        for last in {last for _, last in spans if last >= first}
        if (inside := sum(first <= a and b <= last for a, b in spans)) > last - first
    ]
    found.wrong += too_many[:1]
    found.announced += len(spans)
