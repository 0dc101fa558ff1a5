"""What a load has to meet, what a run says of it, and how that is told."""

from collections.abc import Mapping, Sequence

import pytest

from benchmarks.capacity.load import Load, Searched
from benchmarks.capacity.objective import objective_of, result_of
from benchmarks.capacity.result_text import (
    SearchResult,
    condition_heads,
    document,
    limit_line,
    notes,
    rows,
    run_line,
    search_result,
    sentence,
)
from benchmarks.capacity.searching import Made, Search
from benchmarks.judging.capacity import Span, TrialResult
from benchmarks.judging.run_figures import RunFigures
from benchmarks.runs.targets import Target
from benchmarks.runs.workload import Case, Workload
from loadtests.errors import UsageError
from loadtests.plan.plan import Plan
from loadtests.plan.scenario_file import ScenarioFile
from loadtests.plan.target_source import TargetSource
from reports.outcome import ExitStatus
from reports.tables.capacity_table import loads_markdown

GOOD = {"latency.p99_seconds": 0.004, "errors": 0.0, "integrity.lost": 0.0}
BUSY = {"swarm.runnable_ratio": 0.3, "server.busiest_thread_ratio": 0.99}


def plan(scenario: str = "echo") -> Plan:
    return Plan("ws://h/", 10, scenario, {})


def run(figures: Mapping[str, float], **changes: object) -> RunFigures:
    values: dict[str, object] = {"valid": True, "reasons": ()}
    return RunFigures(figures=figures, **(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("texts", "scenario", "expected"),
    [
        ((), "echo", ["latency.p99_seconds <= 50.0 ms", "errors <= 0", "integrity.lost <= 0"]),
        (
            (),
            "broadcast",
            ["delivered.p99_seconds <= 50.0 ms", "errors <= 0", "integrity.lost <= 0"],
        ),
        ((), "hold", ["errors <= 0"]),
        (("server.memory_bytes<2GB",), "hold", ["server.memory_bytes < 2.00 GB", "errors <= 0"]),
        (("errors<=5",), "hold", ["errors <= 5"]),
    ],
)
def test_nothing_may_go_wrong_unless_the_objective_says_what_may(
    texts: Sequence[str], scenario: str, expected: Sequence[str]
) -> None:
    assert [*map(str, objective_of(texts, plan(scenario)))] == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("latency.p9_seconds<=1s", "did you mean latency.p99_seconds"),
        ("latency.p99_seconds", "is not a threshold"),
        ("latency.p99_seconds<=soon", "--objective: 'soon' is not a duration"),
    ],
)
def test_an_objective_that_cannot_be_meant_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        objective_of([text], plan())


@pytest.mark.parametrize(
    ("made", "result", "broken"),
    [
        (run(GOOD), TrialResult.HELD, []),
        (run(GOOD | {"latency.p99_seconds": 0.2}), TrialResult.BROKE, ["latency.p99_seconds"]),
        (
            run(GOOD | {"latency.p99_seconds": float("nan")}),
            TrialResult.BROKE,
            ["latency.p99_seconds"],
        ),
        (run({"errors": 0.0, "integrity.lost": 0.0}), TrialResult.BROKE, ["latency.p99_seconds"]),
        (run(GOOD | {"integrity.duplicated": 1.0}), TrialResult.BROKE, ["integrity.duplicated"]),
        (run(GOOD, valid=False, reasons=("sent late",)), TrialResult.NOTHING, []),
        (run(GOOD, valid=False, reasons=("gone",), failures=("gone",)), TrialResult.BROKE, []),
        (
            run({}, valid=False, reasons=("no start",), failures=("no start",)),
            TrialResult.NOTHING,
            [],
        ),
    ],
)
def test_only_a_judged_run_in_which_all_was_measured_and_held_counts_as_held(
    made: RunFigures, result: TrialResult, broken: list[str]
) -> None:
    found, breaches = result_of(made, objective_of((), plan()))
    assert (found, [it.condition.figure for it in breaches]) == (result, broken)


def told(*runs: tuple[float, RunFigures], command: Sequence[str] = ("server",)) -> SearchResult:
    """Tell a search for a rate, of which these runs were made."""
    content = ScenarioFile({"scenario": "echo"})
    target = Target("target", TargetSource(tuple(command)))
    load = Load(Case(target, Workload(content=content)), Searched.RATE)
    asked = Search(load, Span(100, 400, precision=1.0), objective_of((), plan()))
    made = [
        Made(load, f"{number:02}-run", run, *result_of(run, asked.objective))
        for number, (load, run) in enumerate(runs, 1)
    ]
    return search_result(
        asked, made, most="--to 400", unfinished="Not found within the budget of 1m"
    )


def test_the_sentence_says_what_holds_where_it_breaks_at_what_and_who_was_the_limit() -> None:
    slow = run(GOOD | BUSY | {"latency.p99_seconds": 0.071})
    found = told(*((100, run(GOOD)),) * 1, *((200, run(GOOD)),) * 3, *((400, slow),) * 3)
    assert found.status is ExitStatus.HELD
    result = sentence(found)
    assert result.startswith("Holds 200 messages a second (95 % interval ")
    assert result.endswith("; breaks at 400: latency.p99_seconds 71.0 ms, more than 50.0 ms.")
    assert "The limit at 400: server (the server's busiest thread used 99.0 %" in limit_line(found)
    assert [(it.load, it.kind, it.runs) for it in rows(found)] == [
        ("100", "held", "1 of 1"),
        ("200", "held", "3 of 3"),
        ("400", "broke", "0 of 3"),
    ]
    table = loads_markdown("messages a second", condition_heads(found), rows(found))
    assert "| 400 | ✘ 0 of 3 | 71.0 ms ✘ | 0 | 0 | server |" in table
    assert document(found, "folder")["holds"] == 200


@pytest.mark.parametrize(
    ("busy", "who"),
    [
        ({"swarm.runnable_ratio": 0.95, "server.busiest_thread_ratio": 0.2}, "generator"),
        ({"swarm.runnable_ratio": 0.95}, "generator"),
        ({"swarm.runnable_ratio": 0.3, "machine.cpu_ratio": 1.0}, "machine"),
    ],
)
def test_a_time_that_a_busy_generator_or_machine_made_long_is_no_capacity(
    busy: Mapping[str, float], who: str
) -> None:
    slow = run(GOOD | busy | {"latency.p99_seconds": 0.071})
    found = told(*((200, run(GOOD)),) * 3, *((400, slow),) * 3)
    assert found.status is ExitStatus.INCONCLUSIVE
    assert sentence(found).startswith("Holds 200 messages a second at least; breaks at 400: ")
    assert sentence(found).endswith(f", but there the {who} was the limit.")
    assert told((100, slow), (100, slow)).status is ExitStatus.INCONCLUSIVE
    lossy = run(GOOD | busy | {"integrity.lost": 3.0})
    assert told(*((200, run(GOOD)),) * 3, *((400, lossy),) * 3).status is ExitStatus.HELD


def test_errors_are_told_with_their_most_frequent_kind() -> None:
    refused = run(GOOD | {"errors": 3.0}, errors={"open:http-503": 2.0, "open:reset": 1.0})
    found = told((100, refused), (100, refused))
    assert found.status is ExitStatus.FAILED
    assert sentence(found) == (
        "Does not hold even 100 messages a second; breaks at 100: errors 3 (mostly "
        "open:http-503), more than 0."
    )


def test_a_server_that_failed_is_told_by_its_failure() -> None:
    gone = run({"errors": 9.0}, valid=False, reasons=("it died",), failures=("it died",))
    assert "breaks at 100: it died." in sentence(told((100, gone), (100, gone)))


def test_a_figure_that_was_never_measured_is_no_verdict_on_the_server() -> None:
    silent = run({"errors": 0.0, "integrity.lost": 0.0})
    found = told((100, silent), (100, silent))
    assert found.status is ExitStatus.INVALID
    assert "breaks at 100: latency.p99_seconds not measured" in sentence(found)
    assert any("does not pass" in note for note in notes(found))


def test_a_server_that_fails_before_anything_is_measured_has_failed_all_the_same() -> None:
    gone = run({"errors": 0.0, "integrity.lost": 0.0}, valid=False, failures=("it died",))
    assert told((100, gone), (100, gone)).status is ExitStatus.FAILED


def test_a_figure_that_is_no_number_is_told_as_not_measured() -> None:
    odd = run(GOOD | {"latency.p99_seconds": float("nan")})
    found = told((100, odd), (100, odd))
    assert rows(found)[0].figures[0] == "–"
    assert "latency.p99_seconds not measured" in run_line(found.asked, found.made[0])


def test_where_the_generator_was_the_limit_the_sentence_says_so_and_what_to_do() -> None:
    late = run(GOOD, valid=False, reasons=("sent late; use more --processes",))
    found = told((100, run(GOOD)), (200, late), (141, late), (119, late), *((100, run(GOOD)),) * 2)
    assert found.status is ExitStatus.INCONCLUSIVE
    assert sentence(found) == (
        "Holds 100 messages a second at least; with 119 the generator or this machine was the "
        "limit, not the server: sent late; use more --processes."
    )
    assert "cannot be judged: sent late" in run_line(found.asked, found.made[1])
    # It held in one of the runs that could be judged, and breaks where it is told to.
    slow = run(GOOD | {"latency.p99_seconds": 0.071})
    both = told(
        *((100, run(GOOD)),) * 3, *((400, slow),) * 2, (200, run(GOOD)), *((200, late),) * 2
    )
    assert "with 200 the generator or this machine was the limit" in sentence(both)
    assert sentence(both).endswith(
        "sent late; use more --processes; breaks at 400: "
        "latency.p99_seconds 71.0 ms, more than 50.0 ms."
    )


def test_where_no_run_can_be_judged_nothing_is_said_of_the_server() -> None:
    found = told((100, run({}, valid=False, reasons=("the server did not start",))))
    assert found.status is ExitStatus.INVALID
    assert sentence(found) == (
        "No result: no run with 100 messages a second could be judged: the server did not start."
    )


def test_a_search_that_ran_out_of_time_or_of_span_says_what_holds_so_far() -> None:
    short = told((100, run(GOOD)))
    assert short.status is ExitStatus.INCONCLUSIVE
    assert sentence(short) == (
        "Not found within the budget of 1m: 100 messages a second held in 1 of 1 run."
    )
    whole = told((100, run(GOOD)), (200, run(GOOD)), *((400, run(GOOD)),) * 3)
    assert whole.status is ExitStatus.INCONCLUSIVE
    assert sentence(whole) == (
        "Holds 400 messages a second at least, the largest load to be tried: --to 400."
    )
    assert sentence(told()).endswith("no load has held in enough runs yet.")


def test_a_server_that_ran_all_the_time_is_told() -> None:
    assert any("kept running" in note for note in notes(told((100, run(GOOD)), command=())))
