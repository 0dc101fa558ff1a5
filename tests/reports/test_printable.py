"""What others wrote does nothing to a terminal."""

from hypothesis import given
from hypothesis import strategies as st

from reports.printable import printable
from reports.terminal import summary_text
from tests.reports.test_summary import interval, summary_of


@given(st.text())
def test_a_text_is_one_line_of_printable_letters(text: str) -> None:
    assert printable(text).isprintable()
    if text.isprintable():
        assert printable(text) == text


def test_escapes_say_what_stood_there() -> None:
    assert printable("a\x1b[2Jb\n\u202ec\ud800") == r"a\x1b[2Jb\n\u202ec\ud800"


def test_a_long_text_is_cut() -> None:
    assert len(printable("x" * 10_000)) < 2_100


def test_errors_of_a_foreign_record_are_shown_without_their_controls() -> None:
    text = summary_text(summary_of(interval(errors={"script:\x1b[2J": 1})))
    assert "\x1b" not in text
    assert r"script:\x1b[2J × 1" in text
