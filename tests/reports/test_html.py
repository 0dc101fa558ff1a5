"""The page of a record: validity first, figures as they are, nothing from elsewhere."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import sync_playwright
from typer.testing import CliRunner

from reports.cli import app
from reports.html.page import html_report
from reports.html.svg import step_for
from reports.record import Footer, Header, Interval, Line, encode_line, read_record
from reports.summary import summarise
from tests.reports.builders import interval
from tests.servers.launch import ROOT

PUBLISHED = sorted((ROOT / "reports/published").rglob("*.run.jsonl"))
ECHO = next(path for path in PUBLISHED if "echo" in path.name and "claims" in str(path))
SMALLEST = min(PUBLISHED, key=lambda path: path.stat().st_size)
CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]


def lines(path: Path) -> list[Line]:
    record = read_record(path)
    assert record.footer is not None
    return [record.header, *record.events, *record.intervals, *record.samples, record.footer]


def written(path: Path, content: list[Line]) -> Path:
    path.write_bytes(b"".join(encode_line(line) for line in content))
    return path


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_committed_record_makes_a_page_that_asks_nobody(path: Path) -> None:
    page = html_report(read_record(path))
    assert page.startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
    assert len(page) < 300_000
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//|@import|url\(""", page)
    assert "nan" not in page.lower().replace("nanosec", "").split()


def test_its_figures_are_those_of_the_record() -> None:
    page = html_report(read_record(ECHO))
    figures = summarise(read_record(ECHO)).figures
    assert f"{figures['messages.sent']:,.0f}" in page
    for name in figures:
        assert name in page
    assert "swarmgate run" in page


def test_an_invalid_run_is_told_before_any_figure(tmp_path: Path) -> None:
    content = [line for line in lines(ECHO) if not isinstance(line, Footer)]
    footer = Footer(t_ns=1, valid=False, reasons=("the generator was <slow>",))
    page = html_report(read_record(written(tmp_path / "a.run.jsonl", [*content, footer])))
    told = page.index("the generator was &lt;slow&gt;")
    assert told < page.index("Connections opened")
    assert "<title>Invalid: " in page
    assert "<slow>" not in page


def test_a_failed_run_says_what_failed_before_any_figure(tmp_path: Path) -> None:
    *content, end = lines(ECHO)
    lost = interval(integrity={"lost": 3}, errors={"script:<b>": 1})
    page = html_report(read_record(written(tmp_path / "a.run.jsonl", [*content, lost, end])))
    assert "<title>Failed: " in page
    told = page.index("messages lost</li>")
    assert page.index("1 error (script:&lt;b&gt; × 1)") < told < page.index("Connections opened")
    assert "<title>Held: " in html_report(read_record(ECHO))


def test_a_record_that_was_cut_off_still_makes_a_page(tmp_path: Path) -> None:
    content = [line for line in lines(ECHO) if not isinstance(line, Footer)]
    page = html_report(read_record(written(tmp_path / "a.run.jsonl", content)))
    assert "the run was cut off" in page
    only = [line for line in content if isinstance(line, Header)]
    assert "the run was cut off" in html_report(
        read_record(written(tmp_path / "b.run.jsonl", only))
    )


def test_what_a_server_or_a_person_wrote_is_only_text(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>\ud800"
    content = [
        line if not isinstance(line, Interval) else _with_error(line, hostile)
        for line in lines(ECHO)
    ]
    page = html_report(read_record(written(tmp_path / "a.run.jsonl", content)))
    assert hostile not in page
    assert "&lt;script&gt;" in page


def _with_error(line: Interval, kind: str) -> Interval:
    return Interval(
        process=0, t_ns=line.t_ns, duration_ns=1, phase="open", open=1, errors={kind: 1}
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_shows_it(tmp_path: Path, scheme: str, width: int) -> None:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    (tmp_path / "page.html").write_text(html_report(read_record(ECHO)))
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,  # type: ignore[arg-type]
        )
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"file://{tmp_path}/page.html")
        assert page.get_by_text("Held", exact=False).first.is_visible()
        assert page.locator("svg").first.is_visible()
        # Nothing is wider than the window, on a telephone either.
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        browser.close()
    assert complaints == []


@pytest.mark.parametrize("span", [1e-9, 0.3, 1.0, 7.0, 99_999.0, 3e12])
@pytest.mark.parametrize("most", [2, 5, 9])
def test_an_axis_has_round_steps_and_not_too_many(span: float, most: int) -> None:
    step = step_for(span, most)
    assert span / step <= most
    assert f"{step:.0e}"[0] in "125"


def command(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", "report", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_writes_page_and_figures(tmp_path: Path) -> None:
    page, figures = tmp_path / "a.html", tmp_path / "a.json"
    done = command(str(ECHO), "--html", str(page), "--json", str(figures))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert page.read_text().startswith("<!doctype html>")
    (document,) = json.loads(figures.read_text())
    assert document["figures"] == dict(summarise(read_record(ECHO)).figures)


def test_the_command_prints_what_each_record_says() -> None:
    done = command(str(ECHO), str(PUBLISHED[0]))
    assert done.returncode == 0
    assert done.stdout.count("Connected:") == 2


def test_a_record_that_is_invalid_makes_status_3(tmp_path: Path) -> None:
    content = [line for line in lines(ECHO) if not isinstance(line, Footer)]
    assert command(str(written(tmp_path / "a.run.jsonl", content))).returncode == 3


def test_the_status_is_that_of_the_run_and_the_last_line_says_why(tmp_path: Path) -> None:
    *content, end = lines(ECHO)
    lost = interval(integrity={"lost": 3})
    failed = str(written(tmp_path / "a.run.jsonl", [*content, lost, end]))
    done = command(str(ECHO), failed)
    assert done.returncode == 1
    assert re.fullmatch(r"FAILED: 3 of [\d,]+ messages lost", done.stdout.splitlines()[-1])
    assert json.loads(command(failed, "--json", "-").stdout)[0]["status"] == 1


def test_a_page_is_not_lost_to_a_record_that_cannot_be_read(tmp_path: Path) -> None:
    page, damaged = tmp_path / "a.html", tmp_path / "b.run.jsonl"
    page.write_text("what I have")
    damaged.write_text("{}\n")
    assert command(str(damaged), "--html", str(page)).returncode == 2
    assert page.read_text() == "what I have"
    assert sorted(it.name for it in tmp_path.iterdir()) == ["a.html", "b.run.jsonl"]


def damaged(data: st.DataObject, text: bytes) -> bytes:
    """Change a few bytes, or what one line says, or leave out its end."""
    how = data.draw(st.sampled_from(["bytes", "value", "cut", "nested"]))
    lines = text.splitlines(keepends=True)
    number = data.draw(st.integers(0, len(lines) - 1))
    if how == "bytes":
        changed = bytearray(text)
        for _ in range(data.draw(st.integers(1, 8))):
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
        return bytes(changed)
    if how == "cut":
        return text[: data.draw(st.integers(0, len(text)))]
    if how == "nested":
        lines[number] = b"[" * 100_000 + b"\n"
        return b"".join(lines)
    said = json.loads(lines[number])
    key = data.draw(st.sampled_from(sorted(said)))
    said[key] = data.draw(st.sampled_from([None, -1, 1e300, "x", [], {}, {"phase": 1}, [{}]]))
    lines[number] = json.dumps(said).encode() + b"\n"
    return b"".join(lines)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_record_is_told_or_refused_in_one_line(
    tmp_path: Path, data: st.DataObject
) -> None:
    record = tmp_path / "a.run.jsonl"
    record.write_bytes(damaged(data, SMALLEST.read_bytes()))
    done = CliRunner().invoke(app, [str(record), "--html", str(tmp_path / "a.html")])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    if done.exit_code == 2:
        assert done.stderr.startswith("swarmgate: ")
        assert done.stderr.count("\n") == 1


def test_the_record_is_not_overwritten(tmp_path: Path) -> None:
    record = written(tmp_path / "a.run.jsonl", lines(ECHO))
    before = record.read_bytes()
    for option in ("--html", "--json"):
        done = command(str(record), option, str(record))
        assert done.returncode == 2
        assert "is the record itself" in done.stderr
    assert record.read_bytes() == before


@pytest.mark.parametrize(
    "words",
    [("no-such.run.jsonl",), (str(ECHO), "--html", "no/such/folder/a.html"), (str(ECHO),) * 2],
)
def test_what_cannot_be_is_one_line_and_status_2(words: tuple[str, ...]) -> None:
    more = () if "--html" in words or len(words) == 1 else ("--html", "a.html")
    done = command(*words, *more)
    assert done.returncode == 2
    assert done.stderr.startswith("swarmgate: ")
    assert len(done.stderr.splitlines()) == 1
