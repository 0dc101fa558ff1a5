"""Files of JSON, a line each, that are whole up to wherever a process or a machine ended."""

import os
from pathlib import Path


def append_line(path: Path, line: bytes) -> None:
    """Write a line and hand it to the operating system; a line that was cut before it is dropped.

    Raises:
        OSError: it cannot be written; what stood there still does.
    """
    with path.open("ab+", buffering=0) as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.truncate(path.read_bytes().rfind(b"\n") + 1)
        file.write(line + b"\n")


def whole_lines(path: Path) -> list[str]:
    """Read the lines but for the last one, where that was cut.

    Raises:
        OSError: there is no such file, or it cannot be read.
        UnicodeDecodeError: it is no text.
    """
    # Decoded when whole: a character may be cut as well.
    return [line.decode() for line in path.read_bytes().split(b"\n")[:-1]]
