"""Who is in which room: both sides of it agree, and leaving costs what was joined."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from target_app.connections.rooms import Rooms


class Member:
    """As much of a connection as rooms look at."""

    def __init__(self):
        self.rooms = ()


class CountedName(str):
    """The name of a room that counts how often it is compared."""

    __slots__ = ()
    compared = 0

    __hash__ = str.__hash__

    def __eq__(self, other):
        CountedName.compared += 1
        return str.__eq__(self, other)

    def __ne__(self, other):
        CountedName.compared += 1
        return str.__ne__(self, other)


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["join", "leave", "leave_all"]), st.integers(0, 3), st.sampled_from("abcd")
    )
)


@given(MOVES)
def test_rooms_and_their_members_agree_after_any_moves(moves):
    rooms, members = Rooms(), [Member() for _ in range(4)]
    expected = set()
    for move, who, room in moves:
        if move == "leave_all":
            rooms.leave_all(members[who])
            expected = {(other, name) for other, name in expected if other != who}
        else:
            getattr(rooms, move)(members[who], room)
            (expected.add if move == "join" else expected.discard)((who, room))
    assert {(who, name) for who in range(4) for name in members[who].rooms} == expected
    assert all(len(set(member.rooms)) == len(member.rooms) for member in members)
    for name in "abcd":
        inside = {members.index(member) for member in rooms.members(name)}
        assert inside == {who for who, room in expected if room == name}
    assert rooms.sizes() == {
        name: size for name in "abcd" if (size := sum(room == name for _, room in expected))
    }, "a room exists while somebody is in it"


def test_leaving_all_rooms_compares_no_room_with_the_others():
    rooms, member, stays = Rooms(), Member(), Member()
    names = [CountedName(n) for n in range(200)]
    for name in names:
        rooms.join(member, name)
        rooms.join(stays, name)
    CountedName.compared = 0
    rooms.leave_all(member)
    # Looking a room up may compare its name once; with each other room it would be 200 times that.
    assert CountedName.compared <= 2 * len(names)
    assert member.rooms == ()
    assert rooms.sizes() == dict.fromkeys(names, 1)
