"""``/ws/py_client``: events between programs; and the example client in the README."""

from __future__ import annotations

import asyncio
import json
import sys
import uuid

import pytest

from tests.target_app.conftest import ROOT


def event(name, client_id="", **data):
    return json.dumps({"event": name, "client_id": client_id, "data": {"data": data}})


async def program(server):
    client = await server.connect("/ws/py_client")
    granted = await server.event(client)
    assert granted["event"] == "connect"
    assert granted["data"] == {"data": {"message": "connection request granted"}}
    return client, granted["client_id"]


async def test_a_program_is_given_an_id_of_its_own_once(serve):
    server = await serve()
    (one, one_id), (_, two_id) = await program(server), await program(server)
    assert uuid.UUID(one_id).version == uuid.UUID(two_id).version == 4
    assert one_id != two_id
    await one.send(event("send_to_client", one_id, text="to myself"))
    assert (await server.event(one))["event"] == "message", "no second connect event"


async def test_an_event_reaches_the_client_it_is_for_and_nobody_else(serve):
    server = await serve()
    (one, one_id), (two, two_id), (three, _) = [await program(server) for _ in range(3)]
    await one.send(event("send_to_client", two_id, text="hello", n=[1, {"a": None}]))
    assert await server.event(two) == {
        "event": "message",
        "client_id": one_id,
        "data": {"data": {"text": "hello", "n": [1, {"a": None}]}},
    }
    await one.send(event("broadcast", text="all"))
    for client in (one, two, three):
        assert (await server.event(client))["event"] == "broadcast"


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ("no json", "not a valid event"),
        (b"\xff\xfe", "not a valid event"),
        ("[]", "not a valid event"),
        ('{"event": "x"}', "not a valid event"),
        ('{"event": "x", "client_id": "", "data": {}}', "not a valid event"),
        ('{"event": "x", "client_id": "", "data": {"data": {}}, "more": 1}', "not a valid event"),
        (event("dance"), "unknown event 'dance'; known are send_to_client, "),
        (event("send_to_client", "nobody"), "no client 'nobody' is connected"),
        (event("join"), "join needs the name of a room in data.data.room"),
        (event("join", room="x" * 65), "join needs the name of a room in data.data.room"),
        (event("room", room="blue"), "not in room 'blue'; join it first"),
    ],
)
async def test_what_is_wrong_is_told_and_the_connection_stays(serve, sent, told):
    server = await serve()
    client, own_id = await program(server)
    await client.send(sent)
    error = await server.event(client)
    assert (error["event"], error["client_id"]) == ("error", own_id)
    assert error["data"]["data"]["message"].startswith(told)
    await client.send(event("send_to_client", own_id, text="still here"))
    assert (await server.event(client))["data"]["data"] == {"text": "still here"}


async def test_a_validation_error_says_where_and_what(serve):
    server = await serve()
    client, _ = await program(server)
    await client.send('{"event": "", "client_id": "x", "data": {"data": 5}}')
    errors = (await server.event(client))["data"]["data"]["errors"]
    assert [error["at"] for error in errors] == ["event", "data.data"]
    assert all(error["problem"] for error in errors)


async def test_programs_join_and_leave_rooms(serve):
    server = await serve()
    (one, one_id), (two, _), (three, _) = [await program(server) for _ in range(3)]
    for client in (one, two):
        await client.send(event("join", room="blue"))
        assert (await server.event(client))["event"] == "joined"
    await one.send(event("room", room="blue", text="hello blue"))
    for client in (one, two):
        heard = await server.event(client)
        assert (heard["event"], heard["client_id"]) == ("room", one_id)
    await two.send(event("leave", room="blue"))
    assert (await server.event(two))["event"] == "left"
    await one.send(event("room", room="blue", text="alone"))
    assert (await server.event(one))["data"]["data"]["text"] == "alone"
    await one.send(event("broadcast", text="all"))
    for client in (one, two, three):
        assert (await server.event(client))["event"] == "broadcast", "nothing else came before"


async def test_programs_are_told_of_a_shutdown_as_an_event(serve):
    server = await serve("--drain-timeout-seconds", "1000")
    client, _ = await program(server)
    await server.drain()
    told = await server.event(client)
    assert told["event"] == "shutdown"
    assert told["data"]["data"]["message"] == "Server is shutting down, please disconnect."


async def test_the_example_client_works(serve):
    server = await serve()
    listener, listener_id = await program(server)
    example = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "examples" / "py_client.py")),
        *(server.url("/ws/py_client"), listener_id, "hello from the example"),
        stdout=asyncio.subprocess.PIPE,
    )
    heard = await server.event(listener)
    assert heard["data"]["data"] == {"text": "hello from the example"}
    await listener.send(event("send_to_client", heard["client_id"], text="and back"))
    told, _ = await example.communicate()
    assert example.returncode == 0
    assert told.decode().splitlines() == [
        f"connected as {heard['client_id']}",
        f"{listener_id} says: and back",
    ]
