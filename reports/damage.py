"""Report a record that cannot be used in one line that names it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reports.record import RecordError


@contextmanager
def naming_damage(path: Path) -> Iterator[None]:
    """Turn any error caused by the content of a record into one that names the record.

    Raises:
        RecordError: the record is damaged, or cannot be read.
    """
    try:
        yield
    except RecordError:
        raise
    except Exception as error:
        # Each line has the form of one of ours, but its content may be anything.
        why = f"{type(error).__name__}: {error}"
        raise RecordError(f"{path} is damaged, or was not written by swarmgate ({why})") from error
