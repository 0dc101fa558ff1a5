"""Figures as attributes: by their names with and without unit, and never one that is not there."""

import copy
import pickle
from collections import Counter
from pathlib import Path

import pytest

from reports.figure import STATISTICS
from reports.figures import CATALOGUE
from swarmgate.result import _UNITS, Result, result_of

EVERY = [
    *CATALOGUE.single,
    *(f"{kind}.{statistic}" for kind in CATALOGUE.durations for statistic in STATISTICS),
]


def result(figures: dict[str, float]) -> Result:
    return result_of(
        {
            "outcome": "HELD: nothing went wrong",
            "record": "kept/a.run.jsonl",
            "figures": figures,
            "texts": {name: f"{value} units" for name, value in figures.items()},
            "errors": {},
            "close_codes": {"1000": 3},
            "warnings": [],
            "users": {},
            "again": "swarmgate run",
        }
    )


@pytest.mark.parametrize("name", [name for name in EVERY if "." in name])
def test_every_figure_is_an_attribute_with_and_without_its_unit(name: str) -> None:
    kind, _, rest = name.partition(".")
    of_kind = getattr(result({name: 4.5, "errors": 0.0}), kind.replace("-", "_"))
    short = next((rest.removesuffix(unit) for unit in _UNITS[1:] if rest.endswith(unit)), rest)
    assert (getattr(of_kind, rest), getattr(of_kind, short)) == (4.5, 4.5)


def test_no_attribute_means_two_figures() -> None:
    # One whose whole name is asked for is meant; the others must not differ by their units alone.
    short = Counter(
        next((name.removesuffix(unit) for unit in _UNITS[1:] if name.endswith(unit)), name)
        for name in EVERY
    )
    twice = {name for name, count in short.items() if count > 1}
    assert all(name in EVERY for name in twice)


def test_what_was_not_measured_is_no_attribute_and_the_nearest_are_named() -> None:
    found = result({"latency.p99_seconds": 0.1, "errors": 0.0})
    with pytest.raises(AttributeError, match=r"no latency\.p98; .* latency\.p99_seconds"):
        _ = found.latency.p98
    with pytest.raises(AttributeError, match=r"no latencies; .* latency"):
        _ = found.latencies
    assert not hasattr(found, "delivery")
    assert "latency" in dir(found)
    assert "p99_seconds" in dir(found.latency)


def test_a_result_is_told_and_copied_like_any_other_object() -> None:
    found = result({"latency.p99_seconds": 0.1, "errors": 2.0})
    assert repr(found) == "<HELD: nothing went wrong; record kept/a.run.jsonl>"
    assert repr(found.latency) == "<latency: p99 0.1 units>"
    assert (found.outcome, found.errors, found.record) == ("HELD", 2, Path("kept/a.run.jsonl"))
    assert found.close_codes == {1000: 3}
    assert copy.deepcopy(found) == pickle.loads(pickle.dumps(found)) == found  # noqa: S301
    with pytest.raises(AttributeError):
        found.outcome = "FAILED"  # type: ignore[misc]
