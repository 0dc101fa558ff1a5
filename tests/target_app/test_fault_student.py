"""The student of the fault injection finds what is missing of a session, and excuses little."""

from __future__ import annotations

from collections import defaultdict

import pytest

from tests.target_app.ledger import Count, Counts
from tests.target_app.student import Sitting, Student

HERE, THERE = 1, 2
AVAILABLE = ()
AWAY = ("STORE_UNAVAILABLE",)
BACK = ("STORE_UNAVAILABLE", "STORE_AVAILABLE")


class Clock:
    """Goes on by one each time that it is looked at."""

    now = 0.0

    def __call__(self):
        self.now += 1
        return self.now


@pytest.fixture
def student():
    return Student("student", Clock(), {})


def sits(student, worker, *before, notes):
    """Let a student hear some things on a new connection, and note pages up to one."""
    sitting = Sitting(student, None, worker)
    for kind in before:
        sitting._hear(kind, {})
    student.page = notes
    sitting._hear("INTERRUPTION_ACKNOWLEDGED", {})


def finds(student, page, worker=HERE):
    Sitting(student, None, worker)._hear("SESSION_RESTORED", {"page": page})


def wrong(student, *interrupted):
    """Return how often it found too little, with some workers' bus interrupted all the time."""
    counts = defaultdict(Counts)
    for worker in (HERE, THERE):
        reconnects = int(worker in interrupted)
        counts[worker].told += [Count(0, 0.5, 0), Count(99, 99.5, 0, reconnects)]
    return len(student.judged(counts).wrong)


@pytest.mark.parametrize("before", [AVAILABLE, BACK])
@pytest.mark.parametrize(("page", "is_wrong"), [(9, False), (8, True), (0, True)])
def test_what_was_acknowledged_has_to_be_found(student, before, page, is_wrong):
    sits(student, HERE, *before, notes=9)
    finds(student, page)
    assert wrong(student, THERE) == is_wrong


def test_what_was_acknowledged_has_to_be_found_at_another_worker_that_could_ask(student):
    sits(student, HERE, notes=9)
    finds(student, 8, THERE)
    assert wrong(student) == 1
    assert wrong(student, HERE) == wrong(student, THERE) == 0


def test_too_little_is_said_once(student):
    sits(student, HERE, notes=9)
    finds(student, 8)
    finds(student, 8)
    assert wrong(student) == 1


def test_a_page_that_nobody_noted_is_wrong(student):
    sits(student, HERE, notes=9)
    finds(student, 10)
    assert student.wrong


def test_what_was_told_before_the_session_was_read_need_not_be_found(student):
    sits(student, HERE, notes=5)
    sits(student, THERE, *AWAY, notes=9)
    finds(student, 5)
    assert wrong(student) == 0
    finds(student, 4)
    assert wrong(student) == 1


def test_nothing_restored_is_wrong_where_something_was_kept(student):
    sits(student, HERE, notes=5)
    assert not student.wrong
    sits(student, HERE, notes=6)
    assert student.wrong


@pytest.mark.parametrize(
    ("killed", "page", "is_wrong"),
    [(HERE, 7, False), (HERE, 6, True), (THERE, 7, True), (THERE, 9, False)],
)
def test_a_killed_worker_takes_along_what_it_knew_and_redis_did_not(
    student, killed, page, is_wrong
):
    sits(student, HERE, notes=9)
    student.loses(killed, 7)
    student.ended[killed] = student.clock()
    finds(student, page, 3)
    assert wrong(student) == is_wrong


def test_what_a_worker_said_before_it_was_killed_and_was_read_after_that_does_not_count(student):
    sits(student, HERE, notes=9)
    student.loses(HERE, 9)
    student.ended[HERE] = student.clock()
    sits(student, HERE, *BACK, notes=10)
    assert student.due == 9
