"""System calls, as listed by strace, between two that the counted process makes as marks."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

# "1234  epoll_wait(3, …", not "1234  <... futex resumed>" nor "1234  +++ exited".
_CALL: Final = re.compile(r"(?:\d+\s+)?([a-z_]\w*)\(")
_MARK: Final = re.compile(r'"/swarmgate/(begin|end)/(\w+)"')


def tracing(log: Path) -> tuple[str, ...]:
    """Return the command prefix that lists system calls, including those of all threads."""
    return ("strace", "-f", "-qq", "-e", "signal=none", "-o", str(log))


def listed(lines: Iterable[str]) -> dict[str, Mapping[str, int]]:
    """Return how often each system call was made in each finished stretch, without the marks."""
    stretches: dict[str, Mapping[str, int]] = {}
    calls: Counter[str] | None = None
    for line in lines:
        if (mark := _MARK.search(line)) is not None:
            if mark[1] == "begin":
                calls = Counter()
            elif calls is not None:
                stretches[mark[2]], calls = dict(calls), None
        elif calls is not None and (call := _CALL.match(line)) is not None:
            calls[call[1]] += 1
    return stretches
