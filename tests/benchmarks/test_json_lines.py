"""Lines that are whole stay so, whatever was cut before them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.runs.json_lines import append_line, whole_lines

LINES = st.lists(st.from_regex(r"[^\n\r\x00]{0,9}", fullmatch=True), max_size=5)


@given(LINES, st.integers(0, 60), LINES)
def test_a_cut_line_is_dropped_and_the_next_stands_by_itself(
    tmp_path_factory: pytest.TempPathFactory, before: list[str], cut: int, after: list[str]
) -> None:
    path = tmp_path_factory.mktemp("lines") / "lines.jsonl"
    for line in before:
        append_line(path, line.encode())
    path.touch()
    left = path.read_bytes()[:cut]
    path.write_bytes(left)
    kept = whole_lines(path)
    assert len(kept) == left.count(b"\n")
    for line in after:
        append_line(path, line.encode())
    assert whole_lines(path) == kept + after
