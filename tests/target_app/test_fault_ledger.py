"""The ledger of the fault injection finds what it is there to find."""

from __future__ import annotations

import pytest

from tests.target_app.ledger import Dropped, Line, faults_of


def line(name, worker, *, killed=False, **heard):
    made = Line(name, worker, killed=killed)
    made.heard.update({who: list(numbers) for who, numbers in heard.items()})
    return made


def test_nothing_is_wrong_where_everybody_heard_everything():
    lines = [line("a", 1, a=[1, 2, 3], b=[1, 2]), line("b", 2, a=[2, 3], b=[1, 2])]
    assert faults_of(lines, {1: Dropped(), 2: Dropped()}) == []


@pytest.mark.parametrize("numbers", [[1, 2, 2], [1, 3, 2]])
def test_what_comes_twice_or_out_of_order_is_wrong_at_every_worker(numbers):
    lines = [line("a", 1, a=[1, 2, 3]), line("b", 2, a=numbers, killed=True)]
    assert "b heard a twice or out of order" in faults_of(lines, {})


def test_what_is_missing_on_the_same_worker_is_wrong_whatever_was_announced():
    lines = [line("a", 1, a=[1, 2, 3]), line("b", 1, a=[1, 3])]
    (told,) = faults_of(lines, {1: Dropped(published=9, missed=9)})
    assert "b missed {2} of a" in told


@pytest.mark.parametrize(
    ("dropped", "is_wrong"),
    [
        ({1: Dropped(), 2: Dropped()}, True),
        ({1: Dropped(), 2: Dropped(missed=1)}, True),
        ({1: Dropped(), 2: Dropped(missed=2)}, False),
        ({1: Dropped(published=2), 2: Dropped()}, False),
        ({1: Dropped(), 2: Dropped(published=2)}, True),
    ],
)
def test_what_is_missing_at_another_worker_has_to_be_announced(dropped, is_wrong):
    lines = [line("a", 1, a=[1, 2, 3, 4]), line("b", 2, a=[1, 4]), line("c", 2, a=[1, 4])]
    assert bool(faults_of(lines, dropped)) is is_wrong
