"""Fix what a gate judges and how many blocks it may take before the first one, and begin it."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.gate.journal import JOURNAL, Begin, Journal, append
from benchmarks.gate.measuring import COUNTED_BLOCKS, Gate, GateError, Rehearsal, rehearse
from benchmarks.gate.settings import GateSettings
from benchmarks.gate.sides import BASE, HEAD
from benchmarks.runs.making import Watch
from loadtests.errors import UsageError
from reports.units import format_seconds

# The share of the budget for blocks: some will take longer than the rehearsal.
_PLANNED_SHARE: Final = 0.9
_UNFINISHED: Final = "unfinished"

WriteLine = Callable[[str], None]


def planned(gate: Gate, journal: Journal | None, watch: Watch, write_line: WriteLine) -> Gate:
    """Fix what is judged, and how many blocks there may be: as many as there is time for.

    Args:
        gate: the gate as its settings define it.
        journal: the journal of the same gate, if it is resumed: it has what was fixed then.
        watch: opens a live view, which receives the lines of each run.
        write_line: receives what is not judged, and why.

    Raises:
        UsageError: that is too few blocks to decide anything.
        HeadFailedError, GateError: as in :func:`rehearse`, or nothing is left to judge.
    """
    settings = gate.settings
    if journal is not None:
        names = {metric["name"] for metric in journal.begin.plan["metrics"]}
        gone = [it for it in settings.metrics if it.is_usual and it.name not in names]
        blocks = int(journal.begin.plan["looks"][-1])
        return replace(gate, settings=replace(settings.without(gone), blocks=blocks))
    shown = rehearse(gate, watch)
    for metric, why in shown.missing.items():
        write_line(f"not judged: {metric.name}: {why}")
    settings = settings.without(shown.missing.keys())
    if not settings.metrics:
        raise GateError("none of the default metrics can be measured; name others: [[metric]]")
    return replace(gate, settings=_with_room(settings, shown))


def _with_room(settings: GateSettings, shown: Rehearsal) -> GateSettings:
    """Limit the blocks to those there is time for. Raise UsageError if that is too few."""
    left = settings.budget_seconds * _PLANNED_SHARE - COUNTED_BLOCKS * shown.counting_seconds
    # If there are only counts, further blocks take no time.
    room = int(left / shown.seconds) if settings.loads else settings.blocks
    found = replace(settings, blocks=min(settings.blocks, room))
    try:
        found.plan()
    except ValueError as error:
        counting = f", and {format_seconds(COUNTED_BLOCKS * shown.counting_seconds)} of counting"
        raise UsageError(
            f"the budget of {format_seconds(settings.budget_seconds)} has room for {max(room, 0)} "
            f"blocks of {format_seconds(shown.seconds)}{counting if settings.counts else ''}: "
            f"{error}; raise --budget, or shorten the loads"
        ) from None
    return found


def begin(gate: Gate, journal: Journal | None, commits: Mapping[str, str]) -> None:
    """Write the identity of the gate, or refuse to resume a different one.

    Raises:
        UsageError: the gate differs from that of the journal.
        JournalError: it cannot be written.
    """
    settings = gate.settings
    server = settings.server
    now = Begin(
        seed=gate.seed,
        base=gate.sides[BASE].label,
        head=gate.sides[HEAD].label,
        plan=_plain(asdict(settings.plan())),
        loads=_plain(
            {name: asdict(load) for name, load in settings.loads.items()}
            | {name: asdict(counted) for name, counted in settings.counts.items()}
        ),
        server=_plain(asdict(server)),
        started_at=datetime.now().astimezone().isoformat(timespec="seconds"),
        commits=commits,
    )
    if journal is None:
        append(gate.folder / JOURNAL, now)
        return
    # A checkout is identified by its commit, whatever it is called now.
    same = ("plan", "loads", "server", *(() if commits else (BASE, HEAD)))
    for what in same:
        if getattr(journal.begin, what) != getattr(now, what):
            began = f", {getattr(journal.begin, what)}" if what in (BASE, HEAD) else ""
            raise UsageError(
                f"{what} is not what it was when the gate began{began}; undo that, or start "
                "again without --resume"
            )


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return what is left of a value after a round trip through JSON."""
    return json.loads(json.dumps(value, default=str))


def set_aside(folder: Path, done: int) -> None:
    """Move the records of an incomplete block out of the way of those that follow."""
    for path in sorted(folder.glob("[0-9]*-[0-9]-*")):
        if int(path.name.split("-")[0]) > done:
            aside = folder / _UNFINISHED
            aside.mkdir(exist_ok=True)
            shutil.move(path, aside / f"{len(list(aside.iterdir())):03}-{path.name}")
