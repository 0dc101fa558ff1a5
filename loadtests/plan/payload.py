"""What fills up a message after its stamp: filler of one size, of many, or lines of a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from loadtests.errors import UsageError
from loadtests.plan.plan import Plan

_VARIANTS: Final = 1024


class Fillers:
    """The filler of each message of a plan, by its sequence number.

    Attributes:
        fixed: the filler of every message if all are the same, otherwise None.
    """

    def __init__(self, plan: Plan, stamp_bytes: int) -> None:
        """Prepare the distinct fillers; random ones are the same in every process.

        Args:
            plan: gives the sizes, or the file.
            stamp_bytes: size of the stamp; a message that would be smaller is the stamp alone.
        """
        self._table = _table(plan, stamp_bytes)
        self.fixed = self._table[0] if len(self._table) == 1 else None

    def __getitem__(self, sequence: int) -> bytes:
        """Return the filler of one message."""
        return self._table[sequence % len(self._table)]


def _table(plan: Plan, stamp_bytes: int) -> Sequence[bytes]:
    if plan.payload_file is not None:
        return read_payloads(Path(plan.payload_file), binary=plan.binary)
    if plan.payload_sizes is not None:
        sizes = plan.payload_sizes.draw(plan.seed, _VARIANTS)
        return [b"x" * max(0, round(size) - stamp_bytes) for size in sizes]
    return [b"x" * max(0, plan.payload_bytes - stamp_bytes)]


def read_payloads(path: Path, *, binary: bool) -> Sequence[bytes]:
    """Read what messages are filled with: each line of a text, or the whole of a binary file.

    Raises:
        UsageError: no such file, an empty file, or invalid UTF-8 if messages are text.
    """
    try:
        content = path.read_bytes()
        content if binary else content.decode()
    except OSError as error:
        raise UsageError(f"cannot read the payload file {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(
            f"the payload file {path} is not UTF-8 (byte {error.start}); use --binary"
        ) from None
    lines = [content] if binary else [line for line in content.splitlines() if line]
    if not any(lines):
        raise UsageError(f"the payload file {path} is empty")
    return lines
