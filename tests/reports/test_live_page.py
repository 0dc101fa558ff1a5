"""The page of runs that go on: the verdict first, each figure once, nothing raw of a server."""

import re
from html import unescape
from typing import Any

import pytest

from loadtests.scenarios.registry import SCENARIOS
from reports.html.charts import new_trend
from reports.html.live_page import End, LiveRun, Worker, live_page, live_part
from reports.record import Event, Line
from reports.terminal import Progress
from tests.reports.builders import encoded, event, footer, header, interval, server_sample

MS = 1_000_000
LOAD = {"connections": 10, "live": True}
WORKER = Worker(0, "here", 7, "keeps up", is_well=True)
HOSTILE = "<script>alert('x')</script>"


def run(*lines: Line, load: dict[str, Any] | None = None, **changes: Any) -> LiveRun:
    scenario = changes.pop("scenario", "echo")
    measures = SCENARIOS[scenario].measures
    first = header(scenario=scenario, load=load or LOAD, measures=measures)
    progress, trend = Progress(), new_trend(first)
    for line in (first, *lines):
        progress.add(line)
        trend.add(line)
    values = {
        "name": "Users",
        "url": "ws://there/echo",
        "record": "a.run.jsonl",
        "progress": progress,
        "trend": trend,
        "workers": (WORKER,),
    }
    return LiveRun(**(values | changes))


def texts(page: str) -> str:
    """What is to be read, in one line."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def echoed(sent: int = 12, answered: int = 9, **changes: Any) -> Line:
    latency = {"latency": encoded([2 * MS] * answered)} if answered else {}
    return interval(2.0, sent=sent, received=answered, opened=7, histograms=latency, **changes)


def test_before_anything_is_tried_it_neither_holds_nor_fails() -> None:
    page = live_part([run(event("phase", phase="measure"))])
    assert "Starting No connection has been attempted yet." in texts(page)
    assert "waiting-run" in page


def test_open_stands_beside_what_is_asked_now() -> None:
    asked = [Event(MS, "users", {"count": 40}), Event(2 * MS, "users", {"count": 20})]
    told = texts(live_part([run(echoed(), *asked, opening=3)]))
    assert "Open now 7 of 20 requested, 3 being opened" in told
    assert "Open now 7 of 10 requested Latency" in texts(live_part([run(echoed())]))


def test_the_ledger_is_live() -> None:
    told = texts(live_part([run(echoed(integrity={"duplicated": 1, "late": 2}))]))
    row = "expected 12 lost 0 duplicated 1 reordered 0 unanswered so far 3 late 2"
    assert row in told
    assert "counts as lost if it is still unanswered when" in told


def test_what_is_lost_is_not_unanswered_as_well() -> None:
    left = echoed(integrity={"expected": 5, "lost": 2})
    assert "expected 12 lost 2 duplicated 0 reordered 0 unanswered so far 1" in texts(
        live_part([run(left)])
    )


def test_the_ledger_of_rounds_says_when_it_is_closed() -> None:
    told = texts(live_part([run(echoed(), load={**LOAD, "rounds": True}, scenario="broadcast")]))
    assert "counted at the end of each round" in told
    assert "unanswered" not in told


def test_where_nothing_is_to_arrive_there_is_no_ledger() -> None:
    assert "Ledger" not in live_part([run(echoed(0, 0), scenario="hold")])


def test_what_went_wrong_is_told_by_its_cause() -> None:
    wrong = echoed(errors={"closed:1006": 2, "upgrade:http-403": 5}, close_codes={1006: 2})
    page = live_part([run(wrong)])
    told = texts(page)
    assert "Failed so far The generator keeps up, so it is not the cause." in told
    assert "upgrade:http-403 5 closed:1006 2" in told
    assert "1006 ended without a close frame 2" in told
    assert "failed-run" in page


def test_a_worker_that_does_not_keep_up_is_seen_at_once() -> None:
    late = interval(2.0, process=1, opened=1, histograms={"lateness": encoded([90 * MS])})
    slow = Worker(1, "there", 3, "does not keep up", is_well=False, clock_error_ns=2 * MS)
    page = live_part([run(echoed(), late, workers=(WORKER, slow), problems=("1 sent late",))])
    assert "Invalid These figures cannot be used to judge the server. 1 sent late" in texts(page)
    assert "invalid-run" in page
    (row,) = re.findall(r'<tr class="unwell">.*</tr>', page)
    assert texts(row).startswith("1 there does not keep up 3")
    assert texts(row).endswith("90.0 ms – – ± 2.00 ms")


def test_who_is_the_limit_is_told_with_its_evidence() -> None:
    busy = [
        event("phase", phase="measure"),
        interval(1.0, opened=7, cpu_ns=950_000_000),
        server_sample(1.0, cpu_seconds=0.0),
        server_sample(2.0, cpu_seconds=0.3, busiest_thread_ratio=0.3),
    ]
    told = texts(live_part([run(*busy)]))
    assert "What is the limit generator (the server" in told
    assert "ran or waited for a core 95.0 % of the time" in told
    # Of a server that is looked at, what it takes now.
    assert "Server CPU now 30.0 % of a core" in told


@pytest.mark.parametrize(
    ("changes", "missed", "word"),
    [
        ({}, (), "Held Nothing failed, and the generator kept up."),
        ({}, ("latency.p99_seconds<=1ms, found 2 ms",), "Failed The generator kept up"),
        ({"valid": False, "reasons": ("it was slow",)}, (), "Invalid These figures cannot be used"),
        ({"interrupted": True}, (), "Valid, interrupted"),
    ],
)
def test_what_has_ended_is_told_as_its_report_tells_it(
    changes: dict[str, Any], missed: tuple[str, ...], word: str
) -> None:
    ended = run(echoed(), footer(**changes))
    summary = ended.progress.totals.summary()
    told = texts(live_part([run(echoed(), end=End(summary, missed, "exit status 1"))]))
    assert word in told
    assert "ended, exit status 1" in told
    assert "Connections opened 7 of 10 requested" in told
    assert " now" not in told
    for it in missed:
        assert it in told


def test_no_figure_is_there_twice() -> None:
    parts = {"open": encoded([MS]), "upgrade": encoded([MS]), "service_time": encoded([MS])}
    page = live_part([run(echoed(), interval(3.0, histograms=parts))])
    found = re.findall(r'class="label">([^<]+)<|scope="row">([^<]+)<', page)
    names = [name for pair in found for name in pair if name]
    assert "Latency p99" in names
    assert "Opening a connection" in names
    assert sorted(names) == sorted(set(names))


def test_several_runs_have_a_section_each() -> None:
    page = live_part([run(echoed(), name="Some"), run(echoed(), name="Others")])
    assert re.findall(r'<section class="run [^"]+" aria-label="(\w+)"', page) == ["Some", "Others"]
    assert "No swarm users" in live_part([])


def test_nothing_of_a_server_reaches_the_page_raw() -> None:
    """Causes, agreements, scripts' names and hosts are texts of others."""
    hostile = echoed(
        errors={f"upgrade:{HOSTILE}": 1},
        counts={f"script.{HOSTILE}": 3},
        close_codes={4000: 1},
    )
    agreed = event("negotiated", outcomes={HOSTILE: 7})
    timed = interval(3.0, histograms={HOSTILE: encoded([MS])})
    worker = Worker(0, HOSTILE, 1, HOSTILE, is_well=False)
    everywhere = run(
        *(hostile, agreed, timed),
        name=HOSTILE,
        url=f"ws://there/{HOSTILE}",
        record=HOSTILE,
        workers=(worker,),
        problems=(HOSTILE,),
    )
    page = live_page([everywhere], "live.js")
    assert re.findall(r"<script[^>]*>", page) == ['<script src="live.js" defer>']
    assert HOSTILE not in page
    assert page.count("&lt;script&gt;") > 8


def test_the_page_asks_nobody_else() -> None:
    page = live_page([run(echoed(), echoed())], "live.js")
    assert page.startswith("<!doctype html>")
    assert not re.search(r"""(src|href)\s*=\s*["']?(\w+:)?//|@import|url\(""", page)


def test_a_record_that_says_nothing_yet_makes_a_page() -> None:
    told = texts(live_page([run()], "live.js"))
    assert "Starting" in told
    assert "not known yet: no load was measured" in told
