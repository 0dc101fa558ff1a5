"""Make untrusted text safe to show: a terminal obeys control characters."""

from typing import Final

_MOST_LETTERS: Final = 2000


def printable(text: str) -> str:
    r"""Return a text as one line that has no effect on a terminal.

    What is not printable (:meth:`str.isprintable`: control characters, line ends, marks that
    reverse the writing direction, lone surrogates) is replaced by its escape, such as ``\x1b``. A
    text of more than 2,000 characters is truncated.
    """
    if len(text) > _MOST_LETTERS:
        text = f"{text[:_MOST_LETTERS]} …"
    if text.isprintable():
        return text
    return "".join(it if it.isprintable() else repr(it)[1:-1] for it in text)
