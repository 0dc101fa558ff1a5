"""Write a file as a whole or not at all."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from reports.record import RecordError


def write_whole(name: str, text: str, records: Sequence[Path]) -> None:
    """Write a file as a whole or not at all; ``-`` is standard output.

    Args:
        name: the name of the file.
        text: what to write.
        records: the records it is made from, which it must not overwrite.

    Raises:
        RecordError: the file cannot be written, or is one of the records.
    """
    if name == "-":
        sys.stdout.write(text)
        return
    path = Path(name)
    if any(path.exists() and path.samefile(record) for record in records):
        raise RecordError(f"{path} is the record itself; name another file to write")
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.is_fifo() or path.is_char_device():
            path.write_text(text, encoding="utf-8")
        else:
            beside.write_text(text, encoding="utf-8")
            beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise RecordError(f"cannot write {path}: {error.strerror}") from None
