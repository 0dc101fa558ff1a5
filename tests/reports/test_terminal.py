"""What people see says validity first, what was measured, and nothing that was not."""

import io

import pytest
from rich.console import Console

from reports.record import Line, Sample
from reports.summary import Totals
from reports.terminal import Progress, live_view, result_console, summary_text
from tests.reports.builders import encoded, event, footer, header, interval

MS = 1_000_000


def text_of(*lines: Line) -> str:
    totals = Totals()
    for line in lines:
        totals.add(line)
    return summary_text(totals.summary())


def echo_lines() -> list[Line]:
    histograms = {name: encoded([MS] * 99 + [5 * MS]) for name in ("latency", "service_time")}
    integrity = {"expected": 101, "lost": 1}
    return [
        header(),
        event("phase", phase="measure", seconds=10.0),
        interval(0, "open", opened=100),
        interval(sent=101, received=100, histograms=histograms, integrity=integrity),
    ]


def test_a_summary_has_what_people_look_for() -> None:
    text = text_of(*echo_lines(), footer())
    lines = dict(line.split(":", 1) for line in text.splitlines())
    assert lines["Connected"].strip() == "100 of 100"
    assert lines["Errors"].strip() == "0"
    assert lines["Avg latency"].strip() == "1.04 ms"
    assert "p99 1.00 ms" in lines["Latency"]
    assert "max 5.00 ms" in lines["Latency"]
    assert "1 lost, 0 missed, 0 duplicated" in lines["Ledger"]
    assert "open model, 50.0 /s requested" in lines["Messages"]
    assert "Server memory" not in lines


def test_validity_is_told_before_any_figure() -> None:
    text = text_of(*echo_lines(), footer(valid=False, reasons=("it sent late",), warnings=("w",)))
    assert text.splitlines()[:3] == [
        "INVALID: these figures cannot be used to judge the server.",
        "  - it sent late",
        "Note: w",
    ]


def test_a_held_load_says_that_it_measured_no_latency() -> None:
    text = text_of(header(scenario="hold"), interval(1, "open", opened=100), footer())
    assert "Avg latency: not measured" in text


def test_errors_are_listed_by_cause() -> None:
    errors = {"upgrade:http-403": 7, "connect:refused": 2}
    text = text_of(header(), interval(errors=errors), footer())
    assert "9 (connect:refused × 2, upgrade:http-403 × 7)" in text


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_live_view_shows_phase_connections_rate_latency_and_server(is_terminal: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=is_terminal, width=110)
    with live_view(console) as observe:
        for line in echo_lines():
            observe(line)
        observe(Sample(0, "server", {"cpu_seconds": 1.0, "pss_bytes": 5e6}))
        observe(Sample(10**9, "server", {"cpu_seconds": 1.5, "rss_bytes": 9e6}))
        observe(event("phase", phase="collect"))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    for part in ("100 of 100", "101 /s", "1.00 ms", "5.00 MB", "50.0 %"):
        assert part in shown
    assert "9.00 MB" not in shown


def test_a_quiet_view_shows_nothing() -> None:
    console = Console(file=io.StringIO(), force_terminal=True)
    with live_view(console, quiet=True) as observe:
        observe(header())
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == ""


def test_progress_estimates_the_time_left_while_opening() -> None:
    progress = Progress()
    progress.add(header())
    progress.add(event("phase", phase="open", connections=100))
    assert progress.seconds_left() is None
    progress.add(interval(phase="open", open=50))
    assert progress.done_ratio() == 0.5
    left = progress.seconds_left()
    assert left is not None
    assert left >= 0


@pytest.mark.parametrize(
    ("columns", "width"), [("80", 80), ("200", 200), (None, 132), ("", 132), ("many", 132)]
)
def test_a_result_in_a_pipe_is_as_wide_as_columns_says_or_as_it_must(
    monkeypatch: pytest.MonkeyPatch, columns: str | None, width: int
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    assert result_console(132).width == width


def test_brackets_in_a_result_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    result_console(80).print("Records: /tmp/[bold]")
    assert capsys.readouterr().out == "Records: /tmp/[bold]\n"
