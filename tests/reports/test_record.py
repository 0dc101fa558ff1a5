"""A record reads back what was written, up to where it was cut."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.record import (
    FORMAT_VERSION,
    Delivery,
    RecordError,
    RecordWriter,
    decode_line,
    encode_line,
    read_record,
)
from tests.reports.builders import Lines, encoded, event, footer, header, interval, server_sample


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "a.run.jsonl"


def write(path: Path, lines: Lines) -> None:
    with RecordWriter(path) as writer:
        for line in lines:
            writer.write(line)


def full_run() -> Lines:
    return [
        header(),
        event("phase", phase="measure"),
        interval(
            close_codes={1000: 3},
            errors={"connect:refused": 2},
            histograms={"latency": encoded([5, 6])},
            deliveries=(Delivery(0, 1, 2, 3, encoded([2, 3])),),
        ),
        server_sample(1.0, rss_bytes=5.0),
        footer(),
    ]


def test_what_was_written_is_read_back(path: Path) -> None:
    lines = full_run()
    write(path, lines)
    record = read_record(path)
    assert [
        record.header,
        *record.events,
        *record.intervals,
        *record.samples,
        record.footer,
    ] == lines
    assert not record.truncated


@given(cut=st.integers(1, 200))
def test_a_cut_last_line_is_tolerated(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("cut") / "a.run.jsonl"
    last = interval(9.0)
    write(path, [header(), interval(), last])
    whole = path.read_bytes()
    # Without its newline alone, a last line is still whole.
    cut = min(cut, len(encode_line(last)) - 1) + 1
    path.write_bytes(whole[:-cut])
    record = read_record(path)
    assert record.intervals == (interval(),)
    assert record.footer is None
    assert record.truncated == (cut < len(encode_line(last)))


def test_a_writer_that_is_killed_leaves_every_line_it_wrote(path: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
from reports.record import RecordWriter
from tests.reports.builders import header, interval
writer = RecordWriter(Path({str(path)!r}))
writer.write(header())
for second in range(5):
    writer.write(interval(second))
os.kill(os.getpid(), signal.SIGKILL)
"""
    finished = subprocess.run([sys.executable, "-c", program], check=False)
    assert finished.returncode == -signal.SIGKILL
    assert len(read_record(path).intervals) == 5


def test_unknown_keys_and_line_types_are_tolerated(path: Path) -> None:
    path.parent.mkdir()
    newer = json.loads(encode_line(interval())) | {"phase_of_moon": "full"}
    path.write_bytes(
        encode_line(header()) + json.dumps(newer).encode() + b'\n{"type":"later","x":1}\n\n'
    )
    assert read_record(path).intervals == (interval(),)


def test_a_newer_format_is_refused_with_both_versions(path: Path) -> None:
    write(path, [header(format_version=FORMAT_VERSION + 1)])
    with pytest.raises(RecordError, match=f"{FORMAT_VERSION + 1}.* up to {FORMAT_VERSION}"):
        read_record(path)


def test_a_broken_line_in_the_middle_names_file_line_and_key(path: Path) -> None:
    write(path, [header()])
    with path.open("ab") as file:
        file.write(b'{"type":"footer","t_ns":1}\n' + encode_line(interval()))
    with pytest.raises(RecordError, match=r"a\.run\.jsonl:2: .*valid: Field required"):
        read_record(path)


def test_a_file_that_is_no_record_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("")
    with pytest.raises(RecordError, match="no run record"):
        read_record(path)
    with pytest.raises(RecordError, match="No such file"):
        read_record(path.with_name("none"))


def test_a_record_is_never_overwritten(path: Path) -> None:
    write(path, [header()])
    with pytest.raises(RecordError, match="exists already"):
        RecordWriter(path)


def test_a_path_below_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="cannot write"):
        RecordWriter(tmp_path / "file" / "b.run.jsonl")


def test_a_line_that_is_no_object_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON object"):
        decode_line("[1]")
