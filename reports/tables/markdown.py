"""Tables as Markdown (GitHub's): the content of a cell never escapes it."""

from collections.abc import Iterable, Sequence


def markdown_table(rows: Iterable[Sequence[str]]) -> str:
    """Write rows of cells; the second is the rule under the headings (``---``, ``--:``)."""
    return "".join(f"| {' | '.join(map(escaped, row))} |\n" for row in rows)


def escaped(text: str) -> str:
    """Return a text that ends neither its cell nor its row."""
    return text.replace("|", "\\|").replace("\n", " ")
