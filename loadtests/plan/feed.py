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
    """What happens to a connection for which no row is left."""

    CYCLE = "cycle"
    """It gets the first row again, and so on; the run warns about it."""
    STOP = "stop"
    """It is not opened: there are as many connections as rows."""
    ONCE = "once"
    """There must be no such connection: a run with more connections than rows is refused."""


class NoRowError(Exception):
    """The lack of a row for a connection."""


def row_of(rows: Sequence[Row], number: int, policy: FeedPolicy) -> Row | None:
    """Return the row for the connection with this number in the fleet, or None without a feed.

    Raises:
        NoRowError: there are fewer rows, and none may be given twice.
    """
    if not rows:
        return None
    if number >= len(rows) and policy is not FeedPolicy.CYCLE:
        raise NoRowError
    return rows[number % len(rows)]


def no_row(number: int) -> Row | None:  # noqa: ARG001 - called like the function for a feed
    """Return None for every connection."""
    return None


def rows_for(text: str | None, path: str | None, policy: FeedPolicy) -> Callable[[int], Row | None]:
    """Return a function from connection number to row, for a text with feed placeholders.

    The file is read only if the text has such placeholders.
    """
    if path is None or not feed_names(text or ""):
        return no_row
    return partial(row_of, read_feed(Path(path)), policy=policy)


def read_feed(path: Path) -> tuple[Row, ...]:
    """Read the rows of a file: ``.csv`` with a header line, or JSON objects, one per line.

    Raises:
        UsageError: no such file, no rows, or an invalid line.
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
