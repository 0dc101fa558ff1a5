"""The number of connections over time: stages in which it grows, falls or holds.

Pure arithmetic. ``0..2k in 30s, 2k for 1m, 5k in 5s, 500 for 30s``, or ``+50/s for 1m``, which is a
rate of arrivals; with ``poisson`` after it, arrivals come at random.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from loadtests.plan.schedule import share
from reports.units import parse_count, parse_rate, parse_seconds

_EXAMPLE: Final = "0..2k in 30s, 2k for 1m, 500 in 5s, +50/s for 30s"
_STAGE: Final = re.compile(
    r"\s*(?:\+(?P<rate>\S+)|(?:(?P<begin>[^\s.]\S*?)\s*\.\.\s*)?(?P<end>[^\s+]\S*?))"
    r"\s+(?P<how>in|for)\s+(?P<seconds>\S+)(?P<poisson>\s+poisson)?\s*"
)


@dataclass(frozen=True, slots=True)
class Stage:
    """A period in which the number of connections goes linearly from one value to another.

    Attributes:
        begin, end: the number of connections at either end; if ``begin`` differs from the end of
            the previous stage, the number changes at once.
        is_random: connections arrive as a Poisson process, given the number of its arrivals.
    """

    begin: int
    end: int
    seconds: float
    is_random: bool = False

    def arrivals(self, seed: int) -> Iterator[float]:
        """Return when each connection that it adds should open, in seconds since its start.

        The times of a given number of arrivals of a Poisson process are that many independent
        draws, sorted (Kingman, Poisson Processes, 1993, section 2.4).
        """
        count = max(0, self.end - self.begin)
        if self.is_random:
            draw = random.Random(seed)
            return iter(sorted(draw.uniform(0, self.seconds) for _ in range(count)))
        return (number * self.seconds / count for number in range(count))

    def __str__(self) -> str:
        numbers = f"{self.end}" if self.begin == self.end else f"{self.begin}..{self.end}"
        how = "for" if self.begin == self.end else "in"
        return f"{numbers} {how} {self.seconds:.12g}s{' poisson' if self.is_random else ''}"


@dataclass(frozen=True, slots=True)
class Stages:
    """A sequence of stages; before the first there are no connections."""

    stages: tuple[Stage, ...]

    @property
    def seconds(self) -> float:
        """How long they last."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def most(self) -> int:
        """The maximum number of connections."""
        return max(max(stage.begin, stage.end) for stage in self.stages)

    @property
    def openings(self) -> int:
        """How many connections are opened in total."""
        numbers = [0, *(number for stage in self.stages for number in (stage.begin, stage.end))]
        return sum(max(0, after - before) for before, after in pairwise(numbers))

    def at(self, seconds: float) -> int:
        """Return the number of connections this long after the start of the first stage."""
        for stage in self.stages:
            if seconds < stage.seconds:
                gone = max(0.0, seconds) / stage.seconds
                return round(stage.begin + (stage.end - stage.begin) * gone)
            seconds -= stage.seconds
        return self.stages[-1].end

    def part(self, processes: int, process: int) -> "Stages":
        """Return one process's part of the stages."""
        return Stages(
            tuple(
                Stage(
                    share(stage.begin, processes, process),
                    share(stage.end, processes, process),
                    stage.seconds,
                    stage.is_random,
                )
                for stage in self.stages
            )
        )

    def __str__(self) -> str:
        return ", ".join(map(str, self.stages))


def are_stages(text: str) -> bool:
    """Return whether a text looks like stages rather than a number."""
    return bool(re.search(r"\s(in|for)\s", text))


def parse_stages(text: str) -> Stages:
    """Parse stages.

    Raises:
        ValueError: a stage is invalid; the message names it and shows the notation.
    """
    stages: list[Stage] = []
    for part in text.split(","):
        stages.append(_parse(part, stages[-1].end if stages else 0))
    read = Stages(tuple(stages))
    if not read.most:
        raise ValueError(f"{text!r} never has a connection")
    return read


def _parse(text: str, before: int) -> Stage:
    match = _STAGE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text.strip()!r} is not a stage; write stages like {_EXAMPLE}")
    seconds = parse_seconds(match["seconds"])
    if seconds <= 0:
        raise ValueError(f"{text.strip()!r} has no duration")
    is_random = match["poisson"] is not None
    if match["rate"]:
        end = before + round(parse_rate(match["rate"]) * seconds)
        return Stage(before, end, seconds, is_random)
    end = parse_count(match["end"])
    if match["begin"]:
        begin = parse_count(match["begin"])
    else:
        begin = before if match["how"] == "in" else end
    if min(begin, end) < 0:
        raise ValueError(f"{text.strip()!r} has a negative number of connections")
    return Stage(begin, end, seconds, is_random)
