"""A claims file is checked to the line, and a verdict needs every run and the whole interval."""

import io
import math
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from benchmarks.claims.claims_file import Claim, about, choose, needed
from benchmarks.claims.judging import judge
from benchmarks.claims.reading import load_claims
from benchmarks.commands.claims import DEFAULT_CLAIMS
from benchmarks.judging.run_figures import Key, RunFigures
from benchmarks.runs.experiments import LoadExperiment
from benchmarks.runs.series import describe, quick, turns
from benchmarks.runs.tables import InputFileError
from benchmarks.runs.targets import Target
from loadtests.plan.toml_lines import line_of
from reports.claim_result import ALONE, ClaimResult, outcome_of_claims
from reports.figures import figure
from reports.outcome import ExitStatus, Verdict
from reports.tables.claims_table import tally, verdict_markdown, verdict_table

GOOD = """\
[experiment.idle]
scenario = "hold"
connections = "1k"        # one thousand
arguments = { reference = "--heartbeat-seconds 0" }

[[claim]]
id = "memory"
says = "~2 GB"
source = "somewhere"
experiment = "idle"
metric = "server.memory_bytes"
comparison = "at_most"
value = "2GB"

[[claim]]
id = "cpu"
says = '''
id = "not a key"
'''
source = "somewhere"
experiment = "idle"
metric = "server.cpu_ratio"
comparison = "within"
value = 0.01
tolerance = 0.5
"""


TARGET = '[target.a]\ncommand = "x {port}"\n'
NOWHERE = f'{TARGET}directory = "nowhere"\n\n[experiment.idle]'
NO_PATH = f'{TARGET}ready = "ok"\n\n[experiment.idle]'
UNKNOWN_PATH = f'{TARGET}paths = {{ "/chat" = "/x" }}\n\n[experiment.idle]'
UNBALANCED = f'{TARGET}flags = "--bearer \'x"\n\n[experiment.idle]'
OF_THE_SERVER = f'{TARGET}flags = "--pid 1"\n\n[experiment.idle]'
OTHER_REPEATS = """\
[experiment.more]
scenario = "hold"
repeats = 5
[[claim]]
id = "memory"
baseline = "more"
"""
MISSPELT = '[target.a]\ncomand = "x {port}"\n\n[experiment.idle]'
NO_PLACE = '[target.a]\ncommand = "x {port} {pyton}"\n\n[experiment.idle]'


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "claims.toml"
    path.write_text(text)
    return path


def test_a_claims_file_is_read_with_its_units(tmp_path: Path) -> None:
    file = load_claims(written(tmp_path, GOOD))
    idle = file.experiments["idle"]
    assert isinstance(idle, LoadExperiment)
    assert file.case("idle", "reference").plan().connections == 1000
    assert file.case("idle", "reference").target.source.command[-2:] == ("--heartbeat-seconds", "0")
    assert [claim.limit for claim in file.claims] == [2e9, 0.01]
    assert file.claims[0].bound() == "at most 2.00 GB"
    assert file.claims[1].bound() == "1.00 % ± 50 %"


@pytest.mark.parametrize(
    ("old", "new", "allowed_seconds"),
    [
        ("", "", 1.0),
        ("server.memory_bytes", "server.cpu_per_message_seconds", 1.0),
        ("server.memory_bytes", "latency.p99_seconds", 0.005),
        ('"2GB"', '"2GB"\ncontext = ["latency.p99_seconds"]', 0.005),
        ('"1k"', '"1k"\nbound = ["lateness_p99_seconds=20ms"]', 0.02),
    ],
)
def test_where_no_time_is_judged_or_shown_a_generator_may_be_late(
    tmp_path: Path, old: str, new: str, allowed_seconds: float
) -> None:
    text = GOOD.replace(old, new, 1)
    if old == "server.memory_bytes":
        text = text.replace("2GB", "20ms")
    plan = load_claims(written(tmp_path, text)).case("idle", "reference").plan()
    assert plan.bounds.lateness_p99_seconds == allowed_seconds


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('scenario = "hold"', "", ":1: experiment.idle.scenario: the key is missing"),
        ('"1k"', '"1q"', ":3: connections: '1q' is not a .*write it like 10k"),
        ('"1k"', "0", ":1: experiment.idle: connections is 0; it must be 1 or more"),
        ('"1k"', '"1k"\nrepeats = 1', ":4: experiment.idle.repeats: 1: .*equal to 2"),
        ('"1k"', '"1k"\nspeed = 1', ":4: speed is not a key of a scenario file"),
        ('"1k"', '"1k"\npid = [1]', ":4: experiment.idle.pid: no such key; it belongs to"),
        ('"1k"', '"1k"\nseed = 1', ":4: experiment.idle.seed: no such key; each run has its own"),
        ('"hold"', '"tornado"', ":1: experiment.idle: no scenario is called 'tornado'"),
        ('{ reference', '{ refrence', ":4: .*arguments: no target is called 'refrence'; there are"),
        ('id = "memory"', 'id = "memory"\ntargets = ["x"]', ":8: claim.0.targets: no target is"),
        ('id = "memory"', 'id = "memory"\nexpected = { x = "holds" }',
         ":8: claim.0.expected: no target is called 'x'"),
        ('id = "memory"', 'id = "memory"\nexpected = "maybe"',
         ":8: claim.0.expected: 'maybe': .*not a verdict to expect; there are holds, refuted"),
        ('id = "memory"', 'id = "memory"\nbaseline_target = "x"',
         ":8: claim.0.baseline_target: the experiment does not run on 'x', but on reference"),
        ('[experiment.idle]', '[target.a]\n\n[experiment.idle]',
         ":1: target.a: it needs either a command that starts it or a url, not neither"),
        ('[experiment.idle]', OF_THE_SERVER,
         ":1: target.a: --pid belongs to the server, not to a load on it"),
        ('[[claim]]\nid = "memory"', OTHER_REPEATS,
         ":11: claim.0.baseline: .*: give both the same number of repeats; .* 5 and idle 3"),
        ('server.cpu_ratio', 'watcher.server.cpu_ratio', ":2\\d: claim.1.metric: no figure"),
        ('[experiment.idle]', '[target.a]\ncommand = "serve"\n\n[experiment.idle]',
         ":1: target.a: command 'serve' has no {port}"),
        ('[experiment.idle]', NOWHERE, ":3: target.a.directory: .*nowhere is not a directory"),
        ('[experiment.idle]', NO_PATH, ":3: target.a.ready: 'ok': string should match"),
        ('[experiment.idle]', UNKNOWN_PATH,
         ":3: target.a.paths: no experiment uses /chat; there are /ws"),
        ('[experiment.idle]', UNBALANCED, ":1: target.a: flags \"--bearer 'x\": No closing quot"),
        ('[experiment.idle]', MISSPELT,
         ":2: target.a.comand: no such key is known; did you mean command.$"),
        ('[experiment.idle]', NO_PLACE,
         ":1: target.a: {pyton} is not a placeholder of a command; did you mean {python}.$"),
        ('[experiment.idle]', '[experiments.idle]',
         ":1: experiments: no such key is known; did you mean experiment.$"),
        ('source = "somewhere"', 'source = "somewhere"\nbase_line = "idle"',
         ":10: claim.0.base_line: no such key is known; did you mean baseline, baseline_target.$"),
        ('id = "memory"', 'id = "memory"\nidd = 1', ":8: claim.0.idd: no such key is known"),
        ('id = "cpu"', 'id = "memory"', ":16: claim.1.id: 'memory' is already the id of another"),
        ('"at_most"', '"below"', ":12: claim.0.comparison: 'below': .*'at_most'"),
        ('"2GB"', '"2s"', ":13: claim.0.value: '2s' is not a size"),
        ("0.01", "true", ":24: claim.1.value"),
        ("tolerance = 0.5", "", ":23: claim.1.comparison: a tolerance goes with"),
        ("tolerance = 0.5", "tolerance = 1.5", ":25: claim.1.tolerance: 1.5: .*less than 1"),
        ('experiment = "idle"\nmetric = "server.cpu', 'experiment = "idel"\nmetric = "server.cpu',
         ":21: claim.1.experiment: no experiment is called 'idel'; there are idle"),
        ("[[claim]]\nid = \"memory\"", "[[claim]\nid = \"memory\"", "not TOML: .*line 6"),
    ],
)  # fmt: skip
def test_a_malformed_file_is_told_with_file_line_key_and_what_was_expected(
    tmp_path: Path, old: str, new: str, complaint: str
) -> None:
    assert old in GOOD
    with pytest.raises(InputFileError, match=rf"claims\.toml:? ?{complaint}") as error:
        load_claims(written(tmp_path, GOOD.replace(old, new, 1)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("where", ["experiment", "target"])
def test_memory_a_connection_is_not_judged_after_a_warm_up(tmp_path: Path, where: str) -> None:
    """What the connections of a warm-up had, those after it use again: it would seem to be less."""
    text = GOOD.replace("server.memory_bytes", "server.memory_per_connection_bytes")
    warm = 'warmup = "1s"\n'
    if where == "experiment":
        text = text.replace("arguments", f"{warm}arguments")
    else:
        text = f"{TARGET}{warm}\n{text}".replace("reference", "a")
    complaint = (
        r"claim\.0\.experiment: after a warm-up, .* misses the memory .*; give idle warmup = 0"
    )
    with pytest.raises(InputFileError, match=complaint):
        load_claims(written(tmp_path, text))
    of_its_own = (
        text.replace(warm, "")
        if where == "experiment"
        else text.replace("arguments", "warmup = 0\narguments")
    )
    assert load_claims(written(tmp_path, of_its_own))


@pytest.mark.parametrize("key", ["experiment", "baseline"])
def test_memory_of_an_experiment_that_there_is_not_is_told_as_any_figure_is(
    tmp_path: Path, key: str
) -> None:
    text = GOOD.replace("server.memory_bytes", "server.memory_per_connection_bytes")
    old = 'experiment = "idle"\n'
    text = text.replace(old, f'{"" if key == "experiment" else old}{key} = "other"\n', 1)
    with pytest.raises(InputFileError, match=rf"claim\.0\.{key}: no experiment is called 'other'"):
        load_claims(written(tmp_path, text))


def test_figures_of_one_kind_of_users_may_be_judged(tmp_path: Path) -> None:
    kinds = """
[[experiment.idle.user]]
name = "talker"
share = 0.5
scenario = "echo"

[[experiment.idle.user]]
name = "watcher"
share = 0.5
scenario = "hold"

[[claim]]
id = "memory"
"""
    text = GOOD.replace('scenario = "hold"\n', "").replace('[[claim]]\nid = "memory"\n', kinds)
    text = text.replace("server.memory_bytes", "talker.latency.p99_seconds").replace("2GB", "20ms")
    (claim, _) = load_claims(written(tmp_path, text)).claims
    assert claim.bound() == "at most 20.0 ms"
    with pytest.raises(InputFileError, match=r"no figure is called 'latency\.p98_seconds'"):
        load_claims(written(tmp_path, text.replace("p99", "p98")))


def test_a_claim_beside_a_server_that_is_left_out_is_left_out_too(tmp_path: Path) -> None:
    servers = (
        '[target.a]\ncommand = "x {port}"\n[target.b]\ncommand = "y {port}"\n'
        'requires = "no_such_module"\n\n[experiment.idle]'
    )
    text = GOOD.replace("[experiment.idle]", servers).replace(
        'arguments = { reference = "--heartbeat-seconds 0" }\n', ""
    )
    beside = 'id = "memory"\nbaseline_target = "b"'
    text = text.replace('id = "memory"', beside).replace('"2GB"', "2.0")
    file = load_claims(written(tmp_path, text))
    assert [it.id for it in choose(file, ()).claims] == ["cpu"]
    both = load_claims(written(tmp_path, text.replace('requires = "no_such_module"\n', "")))
    assert [it.id for it in choose(both, ()).claims] == ["memory", "cpu"]
    assert [it.id for it in choose(both, (), ["a"]).claims] == ["cpu"]


def test_a_file_without_claims_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="claim: the key is missing"):
        load_claims(written(tmp_path, "[experiment]\n"))


TARGETS = """\
[target.ours]
command = "{python} serve.py {port}"
environment = { LEVEL = "high" }
directory = "."
ready = "/healthz"
timeout = "1m"
warmup = "2s"
flags = "--bearer abc"

[target.theirs]
url = "ws://127.0.0.1:9/ignored?x"
pid = 1
paths = { "/ws" = "/chat" }

[target.absent]
command = "serve {port}"
requires = "./nowhere"

"""


def test_each_target_has_its_command_or_address_and_what_its_loads_need(tmp_path: Path) -> None:
    text = GOOD.replace('{ reference = "--heartbeat-seconds 0" }', '{ ours = "--fast" }')
    file = load_claims(written(tmp_path, TARGETS + text))
    assert file.targets_of("idle") == ("ours", "theirs")
    assert file.left_out == {"absent": str(tmp_path / "nowhere")}
    ours, theirs = (file.case("idle", name) for name in ("ours", "theirs"))
    source = ours.target.source
    assert source.command == (sys.executable, "serve.py", "{port}", "--fast")
    assert (source.environment, source.ready) == ({"LEVEL": "high"}, "/healthz")
    assert (source.directory, source.start_seconds) == (str(tmp_path), 60.0)
    plan = ours.plan(seed=7)
    assert (plan.url, plan.seed, plan.warmup_seconds) == ("ws://127.0.0.1:{port}/ws", 7, 2.0)
    assert plan.options.bearer == "abc"
    assert theirs.plan().url == "ws://127.0.0.1:9/chat"
    assert theirs.target.source.pids == (1,)
    assert not theirs.target.is_fresh


def test_an_experiment_may_be_a_file_of_a_run_whose_keys_it_changes(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(
        'url = "ws://elsewhere:1/talk"\nscenario = "echo"\nconnections = 50\nrate = 5\n'
        'payload = "1KiB"\npid = [1]\n[parameters]\nactive = 3\n'
    )
    text = GOOD.replace('scenario = "hold"', 'file = "run.toml"').replace('"1k"', "60")
    plan = load_claims(written(tmp_path, text)).case("idle", "reference").plan()
    assert plan.url == "ws://127.0.0.1:{port}/talk"
    assert (plan.scenario, plan.connections, plan.rate, plan.payload_bytes) == ("echo", 60, 5, 1024)
    assert plan.parameters == {"active": 3}


def test_the_claims_about_another_server_are_all_expected_to_hold_there() -> None:
    file = load_claims(DEFAULT_CLAIMS)
    there = about(file, Target("target", file.targets["tutorial"].source))
    assert {held for it in there.experiments for held in there.targets_of(it)} == {"target"}
    assert {claim.expected_of("target") for claim in there.claims} == {Verdict.HOLDS}
    assert not {"coroutine", "thread"} & set(there.experiments)
    assert "memory" in {claim.id for claim in there.claims}


names = st.from_regex(r"[a-z]{1,8}", fullmatch=True)


@given(st.lists(names, min_size=1, max_size=6, unique=True), st.lists(names, max_size=4))
def test_lines_are_found_wherever_keys_stand(keys: list[str], blanks: list[str]) -> None:
    lines = [f"# {blank} = 1" for blank in blanks]
    expected = {}
    for number, key in enumerate(keys):
        lines += ["", "[[table]]", f"{key} = {number}"]
        expected["table", number, key] = len(lines)
    text = "\n".join(lines)
    assert {place: line_of(text, place) for place in expected} == expected


def test_the_committed_claims_are_well_formed_and_complete() -> None:
    file = load_claims(DEFAULT_CLAIMS)
    assert list(file.targets) == ["reference", "tutorial"]
    assert set(needed(file).experiments) == set(file.experiments)
    # Two runs do where what is measured lies far from its bound.
    far = {"idle", "idle-silent", "coroutine", "thread"}
    assert all(held.repeats >= (2 if name in far else 3) for name, held in file.experiments.items())
    smaller = quick(file)
    for name in smaller.experiments:
        for target in smaller.targets_of(name):
            assert describe(smaller, name, target)
            if target != ALONE:
                assert smaller.case(name, target).plan().connections <= 1_000
    assert [claim.id for claim in choose(file, ["memory"]).claims] == ["memory"]
    on_one = choose(file, [], ["tutorial"])
    assert {target for it in on_one.experiments for target in on_one.targets_of(it)} == {
        "tutorial",
        ALONE,
    }
    assert "waiting-is-free" not in {claim.id for claim in on_one.claims}
    with pytest.raises(InputFileError, match="no target is called 'x'; there are reference, tuto"):
        choose(file, [], ["x"])


def claim(**changes: Any) -> Claim:
    values = {
        "id": "c",
        "says": "it | is",
        "source": "s",
        "experiment": "e",
        "metric": "latency.mean_seconds",
        "comparison": "at_most",
        "value": 1.0,
    }
    return Claim(**(values | changes))


def runs(*values: float, experiment: str = "e", target: str = "t") -> dict[Key, list[RunFigures]]:
    return {
        (experiment, target): [
            RunFigures(True, (), {"latency.mean_seconds": value}) for value in values
        ]
    }


def runs_with(**figures: float) -> dict[Key, list[RunFigures]]:
    made = {"latency.mean_seconds": 0.5, **figures}
    return {("e", "t"): [RunFigures(True, (), made)] * 3}


def judged(claim: Claim, measured: dict[Key, list[RunFigures]]) -> ClaimResult:
    return judge(claim, "t", "how it was", measured)


@pytest.mark.parametrize(
    ("changes", "values", "verdict"),
    [
        ({}, (0.5, 0.51, 0.52), Verdict.HOLDS),
        ({}, (1.5, 1.51, 1.52), Verdict.REFUTED),
        ({}, (0.5, 1.0, 1.4), Verdict.INCONCLUSIVE),
        ({}, (1.0, 1.0, 1.0), Verdict.HOLDS),
        ({"comparison": "at_least"}, (1.5, 1.51, 1.52), Verdict.HOLDS),
        ({"comparison": "at_least"}, (0.5, 0.51, 0.52), Verdict.REFUTED),
        ({"comparison": "within", "tolerance": 0.1}, (1.0, 1.01, 0.99), Verdict.HOLDS),
        ({"comparison": "within", "tolerance": 0.1}, (2.0, 2.01, 1.99), Verdict.REFUTED),
        ({"comparison": "within", "tolerance": 0.1}, (1.05, 1.1, 1.15), Verdict.INCONCLUSIVE),
    ],
)
def test_only_an_interval_that_is_all_on_one_side_decides(
    changes: dict[str, Any], values: tuple[float, ...], verdict: Verdict
) -> None:
    assert judged(claim(**changes), runs(*values)).verdict is verdict


@pytest.mark.parametrize(
    ("measured", "reason"),
    [
        (runs(0.5), "at least 2 runs"),
        ({}, "at least 2 runs"),
        (runs(0.5, math.nan), "run 2 of e has no figure"),
        (
            {("e", "t"): [RunFigures(True, (), {})] * 3},
            "run 1 of e has no figure 'latency.mean_seconds'",
        ),
        (
            {("e", "t"): [*runs(0.5, 0.5)["e", "t"], RunFigures(False, ("sent late",), {})]},
            "run 3 of e is invalid: sent late",
        ),
        (
            runs_with(**{"integrity.lost": 3.0, "errors": 1.0}),
            "run 1 of e: 1 errors, 3 messages lost",
        ),
    ],
)
def test_what_was_not_measured_is_never_a_pass(
    measured: dict[Key, list[RunFigures]], reason: str
) -> None:
    result = judged(claim(), measured)
    assert result.verdict is Verdict.NOT_MEASURED
    assert reason in result.reasons[0]
    assert outcome_of_claims([result]).status is ExitStatus.INVALID


def test_faults_are_judged_by_themselves_and_others_despite_them_where_that_is_said() -> None:
    faulty = runs_with(**{"integrity.lost": 3.0})
    assert judged(claim(metric="integrity.lost", value=2.0), faulty).verdict is Verdict.REFUTED
    assert judged(claim(despite_faults=True), faulty).verdict is Verdict.HOLDS


@pytest.mark.parametrize(
    ("other", "changes", "bound"),
    [
        (runs(1.0, 2.0, 4.0, experiment="b"), {"baseline": "b"}, "at most 1.2 times"),
        (runs(1.0, 2.0, 4.0, target="u"), {"baseline_target": "u"}, "at most 1.2 times u"),
    ],
)
def test_a_baseline_makes_it_a_ratio_run_by_run(
    other: dict[Key, list[RunFigures]], changes: dict[str, str], bound: str
) -> None:
    result = judged(claim(value=1.2, **changes), {**runs(1.1, 2.2, 4.4), **other})
    assert result.verdict is Verdict.HOLDS
    assert result.estimate is not None
    assert result.estimate.value == pytest.approx(1.1)
    assert result.bound == bound


def result(verdict: Verdict, expected: Verdict = Verdict.HOLDS, target: str = "") -> ClaimResult:
    return replace(judged(claim(expected=expected), runs(0.5, 0.5)), verdict=verdict, target=target)


@pytest.mark.parametrize(
    ("verdicts", "status", "last"),
    [
        ([result(Verdict.HOLDS)], ExitStatus.HELD, "HELD: every verdict is as expected"),
        (
            [result(Verdict.REFUTED)],
            ExitStatus.FAILED,
            "FAILED: c: refuted, expected holds",
        ),
        (
            [result(Verdict.REFUTED, expected=Verdict.REFUTED)],
            ExitStatus.HELD,
            "HELD: every verdict is as expected",
        ),
        (
            [result(Verdict.HOLDS, expected=Verdict.REFUTED)],
            ExitStatus.FAILED,
            "FAILED: c: holds, expected refuted",
        ),
        (
            [result(Verdict.INCONCLUSIVE)],
            ExitStatus.INCONCLUSIVE,
            "INCONCLUSIVE: no decision on c",
        ),
        (
            [result(Verdict.INCONCLUSIVE), result(Verdict.REFUTED)],
            ExitStatus.FAILED,
            "FAILED: c: refuted, expected holds",
        ),
        (
            [result(Verdict.NOT_MEASURED), result(Verdict.REFUTED)],
            ExitStatus.INVALID,
            "INVALID: not measured: c",
        ),
    ],
)
def test_the_exit_status_is_that_of_the_gravest_verdict(
    verdicts: list[ClaimResult], status: ExitStatus, last: str
) -> None:
    outcome = outcome_of_claims(verdicts)
    assert outcome.status is status
    assert outcome.line == last


def test_the_table_is_markdown_whatever_a_sentence_contains() -> None:
    table = verdict_markdown([result(Verdict.HOLDS), result(Verdict.INCONCLUSIVE)])
    assert "it \\| is" in table
    rows = table.strip().splitlines()
    assert len({row.replace("\\|", "").count("|") for row in rows}) == 1
    assert tally([result(Verdict.REFUTED)]) == "1 claim: 1 refuted. Not as expected: c."


def test_several_servers_have_a_column_each() -> None:
    results = [
        result(Verdict.HOLDS, target="ours"),
        result(Verdict.REFUTED, target="theirs"),
        replace(result(Verdict.HOLDS, target=ALONE), claim="thread", says="a thread"),
    ]
    head, _, both, alone = verdict_markdown(results).strip().splitlines()
    assert (
        head == "| claim | claimed | ours, 95 % interval | theirs, 95 % interval | how | source |"
    )
    assert re.search(r"\| ✔ \*\*holds\*\*, 2 runs: 500.* \| ✘ \*\*refuted\*\*, 2 runs: 500", both)
    assert "“a thread”" in alone
    assert "| – |" in alone
    assert tally(results) == (
        "3 verdicts on 2 servers: 2 holds, 1 refuted. Not as expected: c on theirs."
    )
    assert outcome_of_claims(results).line == "FAILED: c on theirs: refuted, expected holds"


@pytest.mark.parametrize("width", [80, 100, 132, 200])
@pytest.mark.parametrize("servers", [1, 2, 3])
def test_no_number_is_told_apart_from_its_unit_at_any_width(width: int, servers: int) -> None:
    context = tuple((figure(f"latency.p{99 + i}_seconds"), (i + 1) * 1.11e-3) for i in range(9))
    results = [
        replace(result(Verdict.HOLDS, target=f"s{i}"), context=context, how="h, " * i + "9\u00a0s")
        for i in range(servers)
    ]
    missing = RunFigures(False, ("it was so late: " * 40 + "by 8.4 ms or more",), {})
    results += [replace(judged(claim(), {("e", "t"): [missing]}), target="s0", claim="d")]
    console = Console(width=width, file=io.StringIO(), highlight=False)
    console.print(verdict_table(results))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    for whole in ("9 s", "500 ms", "8.4 ms", *(f"{(i + 1) * 1.11:.2f} ms" for i in range(8))):
        assert whole in shown, shown
    assert max(len(line) for line in shown.splitlines()) <= width


def test_a_form_of_its_own_is_told_without_its_text(tmp_path: Path) -> None:
    """A page of JSON would say nothing in a table."""
    text = GOOD.replace('"hold"', '"broadcast"\nrate = 2').replace(
        "arguments =", 'parameters = { publish = \'{"text": "{}"}\' }\narguments ='
    )
    told = describe(load_claims(written(tmp_path, text)), "idle", "reference")
    assert told.startswith("broadcast on /ws, 1,000 connections, custom message format, 2.00/s, ")


def test_rounds_are_interleaved_and_every_second_one_goes_backwards(tmp_path: Path) -> None:
    text = """\
[target.x]
command = "x {port}"
[target.y]
command = "y {port}"
[experiment.a]
scenario = "hold"
[experiment.b]
kind = "alone"
subject = "thread"
count = 1
repeats = 2
"""
    claims = GOOD[GOOD.index("[[claim]]") :].replace('experiment = "idle"', 'experiment = "a"')
    order = turns(load_claims(written(tmp_path, text + claims)))
    assert [(turn.name, turn.target, turn.repeat) for turn in order] == [
        ("a", "x", 0),
        ("a", "y", 0),
        ("b", ALONE, 0),
        ("b", ALONE, 1),
        ("a", "y", 1),
        ("a", "x", 1),
        ("a", "x", 2),
        ("a", "y", 2),
    ]
