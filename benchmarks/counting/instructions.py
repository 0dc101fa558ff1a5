"""Instructions, as counted by callgrind, which writes a file at the end of each stretch."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_NAME: Final = re.compile(r"^desc: Trigger: Client Request: (\w+)$", re.MULTILINE)
_TOTAL: Final = re.compile(r"^totals: (\d+)$", re.MULTILINE)


def counting(file: Path) -> tuple[str, ...]:
    """Return the command prefix that counts instructions, once the command asks for that itself."""
    return (
        "valgrind",
        "--quiet",
        "--tool=callgrind",
        "--instr-atstart=no",
        f"--callgrind-out-file={file}",
    )


def summed(texts: Iterable[str]) -> dict[str, int]:
    """Return the instructions of each stretch from the texts of callgrind's files."""
    stretches: dict[str, int] = {}
    for text in texts:
        name, total = _NAME.search(text), _TOTAL.search(text)
        if name is not None and total is not None:
            stretches[name[1]] = int(total[1])
    return stretches
