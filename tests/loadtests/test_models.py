"""Ways to put a load on: rates of each connection, rates that change, thinking users, payloads."""

from pathlib import Path
from typing import Any

import pytest

from loadtests.errors import UsageError
from loadtests.plan.distribution import parse_distribution
from loadtests.plan.rate_profile import parse_profile
from loadtests.plan.schedule import ArrivalKind
from loadtests.plan.target_source import TargetSource
from reports.units import parse_bytes, parse_seconds
from tests.loadtests.conftest import PLAIN, Run

URL = "ws://127.0.0.1:{port}/echo"


async def echo(run: Run, **changes: Any) -> dict[str, float]:
    summary = await run(URL, source=TargetSource(PLAIN), processes=2, **changes)
    assert summary.valid, summary.reasons
    assert summary.errors == {}
    figures = dict(summary.figures)
    for fault in ("lost", "duplicated", "reordered", "corrupted"):
        assert figures[f"integrity.{fault}"] == 0
    assert figures["messages.sent"] == figures["latency.count"]
    return figures


@pytest.mark.parametrize("kind", ArrivalKind)
async def test_a_rate_of_each_connection(run: Run, kind: ArrivalKind) -> None:
    figures = await echo(run, rate=30.0, per_connection=True, arrivals=kind)
    slack = 0 if kind is ArrivalKind.CONSTANT else 4 * 300**0.5
    assert figures["messages.sent"] == pytest.approx(300, abs=slack)


async def test_a_rate_that_changes(run: Run) -> None:
    profile = parse_profile("0..200/s for 500ms, 400/s for 250ms, 100/s for 500ms")
    rate = profile.arrivals / profile.seconds
    figures = await echo(run, profile=profile, rate=rate, duration_seconds=profile.seconds)
    assert figures["messages.sent"] == pytest.approx(50 + 100 + 50, abs=2)


async def test_users_who_think_send_no_faster_than_that(run: Run) -> None:
    think = parse_distribution("uniform 90ms..110ms", parse_seconds)
    figures = await echo(run, think=think)
    # Ten users, a message in some 100 ms each, for a second; the first after a thought. How long
    # they wait for their answers besides is the machine's affair.
    assert 10 <= figures["messages.sent"] <= 110


async def test_sizes_that_scatter_are_checked_and_counted(run: Run) -> None:
    sizes = parse_distribution("64B 50%, 2KiB 50%", parse_bytes)
    await echo(run, rate=200.0, payload_sizes=sizes)
    summary = await run(
        "ws://127.0.0.1:{port}/ws",
        "broadcast",
        source=TargetSource(PLAIN),
        rate=50.0,
        payload_sizes=sizes,
        name="broadcast",
    )
    assert summary.figures["integrity.corrupted"] == summary.figures["integrity.lost"] == 0


@pytest.mark.parametrize("binary", [False, True])
async def test_messages_filled_from_a_file(run: Run, tmp_path: Path, binary: bool) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("one\n\ntwo words\nein drittes, größeres\n")
    await echo(run, rate=100.0, payload_file=str(path), binary=binary)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"think": parse_distribution("1s", parse_seconds), "rate": 1.0}, "closed model"),
        ({"per_connection": True}, "needs a constant rate"),
        (
            {"per_connection": True, "rate": 1.0, "scenario": "broadcast"},
            "not every connection sends",
        ),
        ({"payload_file": "nowhere"}, "cannot read the payload file nowhere"),
    ],
)
async def test_what_does_not_go_together_is_refused(
    run: Run, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        await run(URL, source=TargetSource(PLAIN), **changes)


@pytest.mark.parametrize(
    ("wrap", "find"),
    [
        ('{{"text": "{}"}}'.replace("{{", "{").replace("}}", "}"), None),
        ('{"a": [{"text": "{}"}]}', "json:a.0.text"),
        ("<<{}>>", "regex:<<(.*)>>"),
    ],
)
async def test_a_server_that_wants_a_form_of_its_own(run: Run, wrap: str, find: str | None) -> None:
    parameters = {"wrap": wrap} | ({"find": find} if find else {})
    await echo(run, rate=50.0, parameters=parameters)
