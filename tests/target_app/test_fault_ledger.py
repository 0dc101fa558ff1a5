"""The ledger of the fault injection finds what it is there to find."""

from __future__ import annotations

import pytest

from tests.target_app.ledger import Count, Counts, Heard, Line, judge

NOBODY = frozenset()


def line(name, worker, said=0, close_code=None, **heard):
    """Return a line that says n at 10 n, which comes back one later and to all others two later."""
    made = Line(name, worker, close_code=close_code)
    made.said_at = [10.0 * n for n in range(1, said + 1)]
    made.back_at = [at + 1 for at in made.said_at]
    made.heard.update({who: [Heard(n, 10.0 * n + 2) for n in ns] for who, ns in heard.items()})
    return made


def counted(*counts):
    """Return what a worker said when it was asked at some moments, and answered at once."""
    return Counts([Count(at, at + 0.5, *told) for at, *told in counts])


def wrong(lines, counts=None, killed=NOBODY):
    return judge(lines, counts or {}, killed).wrong


def test_nothing_is_wrong_where_everybody_heard_everything():
    lines = [line("a", 1, 3, a=[1, 2, 3], b=[1, 2]), line("b", 2, 2, a=[1, 2, 3], b=[1, 2])]
    judged = judge(lines, {}, NOBODY)
    assert (judged.wrong, judged.announced, judged.unknown) == ([], 0, 0)
    assert judged.due > 0


@pytest.mark.parametrize("numbers", [[1, 2, 2], [1, 3, 2]])
def test_what_comes_twice_or_out_of_order_is_wrong_also_where_a_worker_was_killed(numbers):
    lines = [line("a", 1, 3, a=[1, 2, 3]), line("b", 2, a=numbers)]
    assert "b heard a twice or out of order" in wrong(lines, killed={2})


def test_what_is_missing_on_the_same_worker_is_wrong_whatever_was_announced():
    lines = [line("a", 1, 3, a=[1, 2, 3]), line("b", 1, a=[1, 3])]
    assert wrong(lines, {1: counted((0, 0), (99, 9))}) == ["b missed 2 of a, on the same worker"]


def test_what_came_to_another_line_of_the_worker_is_wrong_whatever_was_announced():
    lines = [line("a", 1, 3, a=[1, 2, 3]), line("b", 2, a=[1, 3]), line("c", 2, a=[1, 2, 3])]
    assert wrong(lines, {2: counted((0, 0), (99, 9))}) == [
        "b missed 2 of a, which came to its worker"
    ]


@pytest.mark.parametrize(
    ("counts", "is_wrong"),
    [
        ({}, True),
        ({2: counted((0, 0), (99, 1))}, True),
        ({2: counted((0, 0), (99, 2))}, False),
        ({1: counted((0, 0), (99, 9)), 2: counted((0, 0), (99, 0))}, True),
        ({2: counted((0, 0), (15, 9), (99, 9))}, True),
        ({2: counted((0, 0), (15, 0), (45, 2), (99, 2))}, False),
        ({2: counted((0, 0), (45, 0), (99, 9))}, True),
        ({2: counted((0, 0))}, True),
    ],
    ids=[
        "nothing announced",
        "one of two announced",
        "both announced",
        "announced by another worker",
        "announced before",
        "announced in time",
        "announced afterwards",
        "not asked again",
    ],
)
def test_what_did_not_come_to_a_worker_has_to_be_announced_by_it_at_that_time(counts, is_wrong):
    lines = [line("a", 1, 4, a=[1, 2, 3, 4]), line("b", 2, a=[1, 4]), line("c", 2, a=[1, 4])]
    assert bool(wrong(lines, counts)) is is_wrong


def test_what_is_announced_excuses_one_message_once():
    lines = [line("a", 1, 7, a=[1, 2, 3, 4, 5, 6, 7]), line("b", 2, a=[1, 3, 5, 7])]
    once = counted((0, 0), (15, 0), (35, 2), (45, 2), (55, 2), (65, 2), (75, 3), (99, 3))
    assert wrong(lines, {2: once}) == ["worker 2 lost 1 messages where it announced 0"]
    each = counted((0, 0), (35, 1), (55, 2), (75, 3))
    judged = judge(lines, {2: each}, NOBODY)
    assert (judged.wrong, judged.announced) == ([], 3)


def test_what_was_lost_last_is_wrong_once_something_later_of_the_same_worker_was_heard():
    lines = [line("a", 1, 2, a=[1, 2]), line("b", 2, a=[1])]
    assert wrong(lines) == []
    lines += [line("c", 1, 4, a=[1, 2], c=[1, 2, 3, 4])]
    lines[1].heard["c"] = [Heard(4, 42.0)]
    assert "worker 2 was not asked after it lost" in " ".join(wrong(lines))


def test_what_a_killed_worker_could_not_announce_any_more_is_not_known():
    lines = [line("a", 1, 3, a=[1, 2, 3]), line("b", 2, a=[1, 3])]
    judged = judge(lines, {2: counted((0, 0))}, {2})
    assert (judged.wrong, judged.unknown) == ([], 1)


@pytest.mark.parametrize(
    ("code", "killed", "is_wrong"),
    [(1006, NOBODY, True), (1011, NOBODY, True), (1006, {1}, False), (1001, NOBODY, False)],
)
def test_a_connection_that_ends_has_to_have_a_reason(code, killed, is_wrong):
    assert bool(wrong([line("a", 1, close_code=code)], killed=killed)) is is_wrong


@pytest.mark.parametrize(
    ("counts", "was_interrupted"),
    [
        (counted((0, 0, 1), (30, 0, 1)), False),
        (counted((0, 0, 1), (30, 0, 2)), True),
        (counted((0, 0, 1), (30, 0, 1, False)), True),
        (counted((0, 0, 1, False), (30, 0, 2)), True),
        (counted((0, 0, 1), (5, 0, 2), (30, 0, 2), (40, 0, 3)), False),
        (counted((0, 0, 1)), False),
    ],
)
def test_a_bus_was_interrupted_if_its_worker_said_so_at_that_time(counts, was_interrupted):
    assert counts.was_interrupted(10, 20) is was_interrupted
