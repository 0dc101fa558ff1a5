"""What was to reach a receiver that came or went: all that was sent while it was there."""

from hypothesis import given
from hypothesis import strategies as st

from loadtests.clients.connection import Connection
from loadtests.measure.recorder import Recorder
from loadtests.scenarios.presence import Attendance, Presence

TIMES = st.lists(st.integers(0, 1000), max_size=50).map(sorted)


@given(TIMES, st.integers(0, 1000), st.none() | st.integers(0, 1000), st.integers(0, 100))
def test_it_is_what_was_sent_from_its_coming_to_shortly_before_its_going(
    sent_ns: list[int], begin_ns: int, end_ns: int | None, late_ns: int
) -> None:
    first, last = Presence(begin_ns, end_ns).due(sent_ns, None, late_ns)
    due = [
        number
        for number, at_ns in enumerate(sent_ns)
        if at_ns > begin_ns and (end_ns is None or at_ns <= end_ns - late_ns)
    ]
    assert list(range(first, last)) == due


@given(TIMES, st.integers(0, 1000), st.none() | st.integers(0, 1000), st.data())
def test_whatever_was_heard_and_all_between_was_to_come(
    sent_ns: list[int], begin_ns: int, end_ns: int | None, data: st.DataObject
) -> None:
    low = data.draw(st.integers(0, max(0, len(sent_ns) - 1)))
    high = data.draw(st.integers(low, len(sent_ns)))
    presence = Presence(begin_ns, end_ns)
    first, last = presence.due(sent_ns, (low, high), 0)
    alone = presence.due(sent_ns, None, 0)
    bounds = (low, high) if alone[0] == alone[1] else (min(low, alone[0]), max(high, alone[1]))
    assert (first, last) == bounds


def test_its_first_end_counts() -> None:
    connection = Connection(Recorder(0, 0, 1), lambda *_: None, "mine")
    attendance = Attendance()
    attendance.come(connection, 1)
    assert list(attendance.here) == [connection]
    attendance.go(connection, 5)
    attendance.go(connection, 9)
    assert attendance.presences == {"mine": Presence(1, 5)}
    assert not attendance.here
