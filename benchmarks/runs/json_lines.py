"""JSON Lines files that are whole up to the point where a process or a machine stopped."""

import os
from pathlib import Path


def append_line(path: Path, line: bytes) -> None:
    """Append a line and pass it to the operating system; drop a line before it that was cut off.

    Raises:
        OSError: it cannot be written; the earlier content stays.
    """
    with path.open("ab+", buffering=0) as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.truncate(path.read_bytes().rfind(b"\n") + 1)
        file.write(line + b"\n")


def whole_lines(path: Path) -> list[str]:
    """Read the lines, except for a last one that was cut off.

    Raises:
        OSError: there is no such file, or it cannot be read.
        UnicodeDecodeError: it is not text.
    """
    # Only whole lines are decoded: a character may be cut off as well.
    return [line.decode() for line in path.read_bytes().split(b"\n")[:-1]]
