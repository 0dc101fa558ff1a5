"""Rows of data for connections, such as user ids and tokens, from CSV or JSON lines."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from loadtests.errors import UsageError
from loadtests.plan.template import feed_names

Row = Mapping[str, Any]


class FeedPolicy(StrEnum):
    """What becomes of a connection for which there is no row any more."""

    CYCLE = "cycle"
    """It gets the first row again, and so on; the run warns of it."""
    STOP = "stop"
    """It is not opened: there are as many connections as rows."""
    ONCE = "once"
    """There must be none: a run of more connections than rows is refused."""


class NoRowError(Exception):
    """There is no row for a connection."""


def row_of(rows: Sequence[Row], number: int, policy: FeedPolicy) -> Row | None:
    """Return the row of the connection of a number in the fleet, None without a feed.

    Raises:
        NoRowError: there are fewer rows, and none is to be given twice.
    """
    if not rows:
        return None
    if number >= len(rows) and policy is not FeedPolicy.CYCLE:
        raise NoRowError
    return rows[number % len(rows)]


def no_row(number: int) -> Row | None:  # noqa: ARG001 - what is called where there is a feed
    """Return nothing, whoever asks."""
    return None


def rows_for(text: str | None, path: str | None, policy: FeedPolicy) -> Callable[[int], Row | None]:
    """Return what gives rows by the numbers of connections, for a text that has places for them.

    The file is read only if there are such places.
    """
    if path is None or not feed_names(text or ""):
        return no_row
    return partial(row_of, read_feed(Path(path)), policy=policy)


def read_feed(path: Path) -> tuple[Row, ...]:
    """Read the rows of a file: ``.csv`` with a line of names first, or JSON objects, a line each.

    Raises:
        UsageError: no such file, no rows, or a line that is none.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read the feed {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"the feed {path} is not UTF-8 (byte {error.start})") from None
    rows = _csv(path, text) if path.suffix.lower() == ".csv" else _json_lines(path, text)
    if not rows:
        raise UsageError(f"the feed {path} has no rows")
    return rows


def _csv(path: Path, text: str) -> tuple[Row, ...]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    rows = []
    try:
        for row in reader:
            if None in row or None in row.values():
                raise UsageError(
                    f"{path}, line {reader.line_num}: expected {len(reader.fieldnames or ())} "
                    "fields, as the first line has"
                )
            rows.append(row)
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}") from None
    return tuple(rows)


def _json_lines(path: Path, text: str) -> tuple[Row, ...]:
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UsageError(f"{path}, line {number}: not JSON ({error})") from None
        if not isinstance(row, dict):
            raise UsageError(f"{path}, line {number}: expected an object, found {line[:40]!r}")
        rows.append(row)
    return tuple(rows)
