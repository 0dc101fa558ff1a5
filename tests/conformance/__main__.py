"""Each client in the Autobahn test suite: ``python -m tests.conformance PYTHON27 SUITE FOLDER``.

PYTHON27 is a CPython 2.7, SUITE the folder that the suite was installed into; FOLDER gets the
reports, which a browser shows.
"""

import asyncio
import json
import logging
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from loadtests.clients import picows_client
from tests.conformance.echoing import CLIENTS, visitor
from tests.servers.launch import launch
from tests.servers.ports import nobody_listens

SERVER = Path(__file__).with_name("fuzzing_server.py2")
PASSED = frozenset({"OK", "NON-STRICT", "INFORMATIONAL"})
# Of the libraries, so the same in every program that uses them. picows 2.3 looks at a frame before
# it hands over the one before, so that a second close frame is answered in place of the first;
# websockets 17.4 answers a close frame within a fragmented message with 1002.
KNOWN: dict[str, frozenset[str]] = {
    "picows": frozenset({"7.1.2"}),
    "websockets": frozenset({"7.1.5"}),
    "gevent": frozenset({"7.1.5"}),
}


async def visit_all(name: str, server: str) -> int:
    """Have a client do every case; return how many there are."""
    picows_client.count_alone(asyncio.get_running_loop())
    visit = visitor(name)
    told: list[bytes] = []
    await visit(f"{server}/getCaseCount", told.append)
    count = int(told[0])
    for case in range(1, count + 1):
        await visit(f"{server}/runCase?case={case}&agent={name}", lambda _payload: None)
    await visit(f"{server}/updateReports?agent={name}", lambda _payload: None)
    return count


def failed(report: dict[str, dict[str, str]]) -> Iterator[str]:
    """Yield the cases that were not passed, or whose closing handshake was wrong."""
    for case, found in sorted(report.items()):
        if not {found["behavior"], found["behaviorClose"]} <= PASSED:
            yield case


def main(python27: str, suite: Path, folder: Path) -> bool:
    """Print how each client did; tells whether all did what is theirs."""
    with nobody_listens() as port:
        command = [python27, str(SERVER), str(suite), str(port), str(folder)]
    with launch(command) as server:
        counts = {name: asyncio.run(visit_all(name, server.url().rstrip("/"))) for name in CLIENTS}
        server.kill()
    reports = json.loads((folder / "index.json").read_text())
    is_well = True
    for name, count in counts.items():
        wrong = set(failed(reports[name]))
        news = wrong ^ KNOWN[name]
        behaviors = Counter(found["behavior"] for found in reports[name].values())
        listed = ", ".join(f"{behavior.lower()} {n}" for behavior, n in behaviors.most_common())
        print(f"{name}: {count} cases, {listed}; failed: {', '.join(sorted(wrong)) or 'none'}")
        if news:
            print(f"{name}: not as known: {', '.join(sorted(news))}")
        is_well = is_well and not news and len(reports[name]) == count
    return is_well


if __name__ == "__main__":
    # What the suite does wrong on purpose would be a line each.
    logging.disable(logging.CRITICAL)
    sys.exit(not main(sys.argv[1], Path(sys.argv[2]).absolute(), Path(sys.argv[3]).absolute()))
