"""A record that cannot be used is reported in one line that names it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reports.record import RecordError


@contextmanager
def naming_damage(path: Path) -> Iterator[None]:
    """Let whatever goes wrong with what is in a record be an error that names it.

    Raises:
        RecordError: it is damaged, or cannot be read.
    """
    try:
        yield
    except RecordError:
        raise
    except Exception as error:
        # Each line is one of ours by its form; what is in it may be anything.
        why = f"{type(error).__name__}: {error}"
        raise RecordError(f"{path} is damaged, or was not written by swarmgate ({why})") from error
