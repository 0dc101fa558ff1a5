"""Text that somebody else wrote, made safe to show: a terminal obeys control characters."""

from typing import Final

_MOST_LETTERS: Final = 2000


def printable(text: str) -> str:
    r"""Return a text as one line that does nothing to a terminal.

    What is not printable (:meth:`str.isprintable`: controls, line ends, marks that turn the writing
    round, halves of surrogates) stands as its escape, such as ``\x1b``. A text of more than 2,000
    letters is cut.
    """
    if len(text) > _MOST_LETTERS:
        text = f"{text[:_MOST_LETTERS]} …"
    if text.isprintable():
        return text
    return "".join(it if it.isprintable() else repr(it)[1:-1] for it in text)
