"""Tables as Markdown (GitHub's): whatever stands in a cell stays in it."""

from collections.abc import Iterable, Sequence


def markdown_table(rows: Iterable[Sequence[str]]) -> str:
    """Write rows of cells, the second of them the rule under the headings (``---``, ``--:``)."""
    return "".join(f"| {' | '.join(map(escaped, row))} |\n" for row in rows)


def escaped(text: str) -> str:
    """Return a text that neither ends its cell nor its row."""
    return text.replace("|", "\\|").replace("\n", " ")
