"""What a person reads of a comparison: worst first, and no verdict that looks wrong."""

import pytest

from reports.comparison import (
    Comparison,
    Difference,
    GroupComparison,
    Ratio,
    Row,
    Side,
)
from reports.figure import Better
from reports.figures import figure
from reports.tables.comparison_table import comparison_markdown, footnotes, group_lines, headline


def row(name: str, difference: Difference, ratio: Ratio | None = None, base: float = 1.0) -> Row:
    return Row(figure(name), (base,) * 4, (base,) * 4, difference, ratio, is_judged=True)


def side(**changes: object) -> Side:
    values = {"runs": 4, "server": "serve", "commits": (), "versions": ()}
    return Side(**(values | changes))


def group(*rows: Row, base: Side | None = None, head: Side | None = None) -> GroupComparison:
    equal = tuple(it for it in rows if it.difference is Difference.EQUAL)
    others = tuple(it for it in rows if it not in equal)
    return GroupComparison("echo", base or side(), head or side(), others, equal, (), ())


def cells(comparison: Comparison) -> list[list[str]]:
    lines = comparison_markdown(comparison).splitlines()
    return [[it.strip() for it in line.split("|")[1:-1]] for line in lines if line[:1] == "|"][2:]


def test_what_is_worse_comes_first_and_what_cannot_be_told_last() -> None:
    held = group(
        row("errors", Difference.NONE_DETECTED),
        row("integrity.lost", Difference.BETTER),
        row("integrity.late", Difference.CHANGED),
        row("latency.p99_seconds", Difference.WORSE),
    )
    comparison = Comparison((held,), ())
    assert [it[0] for it in cells(comparison)] == ["✘ worse", "✔ better", "≠ changed", "~"]
    assert headline(comparison) == (
        "4 figures, head against base: 1 worse, 1 better, 1 changed, "
        "1 with no detectable difference."
    )


@pytest.mark.parametrize(
    ("ratio", "told"),
    [
        (Ratio(1.814, 1.527, 2.049), "1.81 (1.53 to 2.05)"),
        (Ratio(1.0064, 1.0012, 1.0089), "1.006 (1.001 to 1.009)"),
        (Ratio(0.99971, 0.99952, 0.99982), "0.9997 (0.9995 to 0.9998)"),
        (Ratio(0.999991, 0.999982, 0.999996), "0.999991 (0.999982 to 0.999996)"),
        (Ratio(1.0, 0.998, 1.002), "1.00 (0.998 to 1.00)"),
    ],
)
def test_an_interval_beside_1_does_not_read_as_if_it_reached_there(ratio: Ratio, told: str) -> None:
    (found,) = cells(Comparison((group(row("errors", Difference.WORSE, ratio)),), ()))
    assert found[4] == told


def test_what_is_equal_in_every_run_is_no_row() -> None:
    held = group(
        row("connections.open", Difference.EQUAL, base=200.0),
        row("errors", Difference.EQUAL, base=0.0),
    )
    text = comparison_markdown(Comparison((held,), ()))
    assert "The same in every run: connections open 200." in text
    assert "0 in every run: errors." in text
    assert "| errors |" not in text


def test_versions_are_told_where_they_differ_and_a_server_once_where_it_does_not() -> None:
    same = ("picows", "2")
    base = side(versions=(("uvicorn", "1"), same), commits=("a" * 40 + "+",))
    head = side(versions=(("uvicorn", "2"), same), commits=("b" * 40,))
    assert list(group_lines(group(base=base, head=head))) == [
        "target: serve",
        "base: 4 runs; commit aaaaaaaaaaaa+; uvicorn 1",
        "head: 4 runs; commit bbbbbbbbbbbb; uvicorn 2",
    ]
    other = list(group_lines(group(base=side(server="one"), head=side(server="two", runs=1))))
    assert other == ["base: 4 runs; one", "head: 1 run; two"]


def test_how_many_would_differ_by_chance_is_said() -> None:
    names = [f"script.{number}" for number in range(40)]
    held = group(*(row(name, Difference.NONE_DETECTED) for name in names))
    assert figure(names[0]).better is Better.NEITHER
    (told,) = footnotes(Comparison((held,), ()))
    assert "Each of the 40 figures" in told
    assert "up to 2.0 of them" in told


def test_a_bar_in_a_name_does_not_break_the_table() -> None:
    held = group(row("script.a|b", Difference.NONE_DETECTED))
    assert "a\\|b" in comparison_markdown(Comparison((held,), ()))
