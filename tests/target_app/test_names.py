"""Names of rooms and clients: no two protocols can mean the same one, whatever clients choose."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_app import ClientId, Room
from target_app.connections.connection import Connection, Endpoint
from target_app.connections.rooms import Rooms
from target_app.protocol import CHAT, CLASSES, EVENTS, SESSIONS
from tests.target_app.test_server_events import event, program

SPACES = (CHAT, EVENTS, SESSIONS, CLASSES)
SHORT = st.text(alphabet='a:/*"[],\\é ', max_size=4)
NAMES = st.tuples(st.sampled_from(SPACES) | SHORT, SHORT)


@given(NAMES, NAMES, st.sampled_from([Room, ClientId]), st.sampled_from([Room, ClientId]))
def test_two_names_are_equal_only_if_kind_space_and_name_are(one, two, kind, other):
    same = (kind, one) == (other, two)
    assert (kind(*one) == other(*two)) is same
    assert len({kind(*one), other(*two)}) == 2 - same
    if kind is other:
        assert (kind(*one).encode() == other(*two).encode()) is same


@given(NAMES, st.sampled_from([Room, ClientId]))
def test_a_name_arrives_at_another_worker_as_it_was(name, kind):
    arrived = kind.decode(kind(*name).encode())
    assert (type(arrived), arrived) == (kind, kind(*name))


@given(st.lists(st.tuples(st.integers(0, 3), NAMES), max_size=20))
def test_nobody_is_in_a_room_that_was_not_joined(joined):
    rooms, endpoint = Rooms(), Endpoint("/")
    people = [Connection(endpoint, None) for _ in range(4)]
    for person, name in joined:
        rooms.join(people[person], Room(*name))
    for _, name in joined:
        expected = {people[person] for person, other in joined if other == name}
        assert set(rooms.members(Room(*name))) == expected


# Over real sockets


@pytest.mark.parametrize("name", ["class:maths", "maths", "py_client", "events:maths", "everyone"])
async def test_a_chat_room_of_any_name_is_no_class_and_no_room_of_events(serve, name):
    server = await serve()
    chatting = await server.connect(f"/ws?room={name}")
    student = await server.connect("/ws/student")
    await student.send(json.dumps({"type": "JOIN_CLASS", "payload": {"classId": "maths"}}))
    await server.event(student)
    joined, _ = await program(server)
    await joined.send(event("join", room="maths"))
    await server.event(joined)

    await chatting.send("from the chat")
    await student.send(
        json.dumps({"type": "CLASS_MESSAGE", "payload": {"classId": "maths", "text": "hi"}})
    )
    await joined.send(event("room", room="maths"))
    await joined.send(event("broadcast", text="hi"))
    assert await chatting.recv() == "from the chat"
    assert (await server.event(student))["type"] == "CLASS_MESSAGE"
    assert [(await server.event(joined))["event"] for _ in range(2)] == ["room", "broadcast"]
    # One message each, and no more: each of them is the last that was sent.
    for client in (chatting, student, joined):
        await client.close()
    stats = await server.until_stats(open={})
    assert stats["messages_sent"] == 4 + 3  # and a connect event, CLASS_JOINED, joined


async def test_an_event_for_the_id_of_a_session_or_a_chat_client_reaches_neither(serve):
    server = await serve()
    session, chatting = await server.connect("/ws/s-1"), await server.connect("/ws/7")
    sender, _ = await program(server)
    for name in ("s-1", "7"):
        await sender.send(event("send_to_client", name, text="psst"))
        told = await server.event(sender)
        assert told["data"]["data"]["message"] == f"no client {name!r} is connected"
    await asyncio.gather(session.close(), chatting.close(), sender.close())
    stats = await server.until_stats(open={})
    assert stats["messages_sent"] == 3
