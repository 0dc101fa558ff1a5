"""Find the line of a key in a TOML text: the parser does not report it, and an error must.

A scanner of table headers and of keys at the start of a line. Lines inside a multi-line string
are skipped, so that what looks like a key there is not mistaken for one.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

_ARRAY_TABLE: Final = re.compile(r"\s*\[\[\s*([^\]]+?)\s*\]\]")
_TABLE: Final = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]")
_KEY: Final = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*[^\s=]+)*)\s*=""")

Place = tuple[int | str, ...]


def line_of(text: str, place: Sequence[int | str]) -> int:
    """Return the line, from 1, of the key at ``place``, or of the nearest table around it.

    Args:
        text: the whole file.
        place: keys from the root; a number selects one of an array of tables.
    """
    lines = dict(reversed(list(_places(text))))
    wanted = tuple(place)
    while wanted not in lines and wanted:
        wanted = wanted[:-1]
    return lines.get(wanted, 1)


def _places(text: str) -> Iterator[tuple[Place, int]]:
    """Yield each table and key of the text with its line."""
    table: Place = ()
    counts: dict[Place, int] = {}
    for number, line in _code_lines(text):
        if array := _ARRAY_TABLE.match(line):
            name = _split(array[1])
            counts[name] = counts.get(name, -1) + 1
            table = (*name, counts[name])
            yield table, number
        elif header := _TABLE.match(line):
            table = _within(_split(header[1]), counts)
            yield table, number
        elif key := _KEY.match(line):
            yield (*table, *_split(key[1])), number


def _within(name: Place, counts: dict[Place, int]) -> Place:
    """Insert the number of the current element after the name of an array of tables."""
    for length in range(1, len(name)):
        if name[:length] in counts:
            return (*name[:length], counts[name[:length]], *name[length:])
    return name


def _code_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield each line that does not begin inside a multi-line string."""
    fence = ""
    for number, line in enumerate(text.splitlines(), 1):
        if not fence:
            yield number, line
            fence = next((mark for mark in ('"""', "'''") if line.count(mark) % 2), "")
        elif fence in line:
            fence = ""


def _split(dotted: str) -> Place:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
