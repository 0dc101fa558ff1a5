"""The names of publications: the same at every worker that has heard the same mark."""

from __future__ import annotations

from target_app.sessions.publications import Publications


def test_whoever_has_heard_the_same_mark_gives_the_same_names():
    early, late = Publications(), Publications()
    early.begin("a")
    early.marked(b"a")
    early.next()
    late.begin("b")
    for each in (early, late):
        each.marked(b"b")
    names = [[each.next() for _ in range(3)] for each in (early, late)]
    assert names[0] == names[1]
    assert len(set(names[0])) == 3


def test_what_is_heard_before_ones_own_mark_has_a_name_that_nothing_else_has():
    one, other = Publications(), Publications()
    names = []
    for each, mark in ((one, "a"), (other, "b")):
        each.begin(mark)
        names += [each.next(), each.next()]
    one.marked(b"a")
    names += [one.next(), one.next()]
    assert len(set(names)) == 6
