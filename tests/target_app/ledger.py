"""What each connection said and heard while faults were injected, and what that comes to."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field


@dataclass
class Line:
    """One connection of somebody who chats."""

    name: str
    worker: int
    """Pid of the process that serves it."""
    said: int = 0
    """How many messages it has sent; they are numbered from 1."""
    heard: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """Numbers of what each line said, its own too, in the order they came."""
    killed: bool = False
    """Whether its worker was killed, and with it what that had counted."""

    @property
    def accepted(self) -> int:
        """The last of its messages that came back to it."""
        return max(self.heard[self.name], default=0)

    def missing(self, other: str) -> set[int]:
        """Return what ``other`` said between the first and the last of it that was heard."""
        numbers = self.heard[other]
        return set(range(min(numbers), max(numbers))) - set(numbers)


@dataclass
class Dropped:
    """What a worker has announced: messages of its own and of others that did not get through."""

    published: int = 0
    missed: int = 0


def faults_of(lines: list[Line], dropped: dict[int, Dropped]) -> list[str]:
    """Return what is wrong, in words: what was accepted, not heard, and not announced either."""
    wrong = []
    workers = {line.name: line.worker for line in lines}
    lost = defaultdict(set)
    for line in lines:
        for other, numbers in line.heard.items():
            if numbers != sorted(set(numbers)):
                wrong.append(f"{line.name} heard {other} twice or out of order")
            if workers[other] == line.worker:
                if missing := line.missing(other):
                    wrong.append(f"{line.name} missed {missing} of {other}, on the same worker")
            elif not line.killed:
                lost[line.worker] |= {(other, number) for number in line.missing(other)}
    for worker, messages in lost.items():
        others = sum(counts.published for pid, counts in dropped.items() if pid != worker)
        announced = dropped[worker].missed + others
        if len(messages) > announced:
            wrong.append(f"worker {worker} lost {len(messages)} and announced {announced}")
    return wrong
