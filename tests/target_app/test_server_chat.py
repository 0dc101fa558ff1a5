"""``/ws``, ``/ws/{client_id}``, ``POST /broadcast``: who comes, goes, and says what to whom."""

from __future__ import annotations

import asyncio
import socket

import pytest
from websockets.asyncio.client import connect

from tests.target_app.conftest import DEADLINE_SECONDS

ANNOUNCING = {"TARGET_ANNOUNCE_LIMIT": "500"}


def address(client):
    host, port = client.transport.get_extra_info("sockname")
    return f"{host}:{port}"


async def test_everyone_is_told_who_comes_and_goes(serve):
    server = await serve(**ANNOUNCING)
    first = await server.connect()
    assert await first.recv() == f'Client "{address(first)}" connected.'
    second = await server.connect("/ws/7")
    told = f'Client "{address(second)}" connected.'
    assert [await first.recv(), await second.recv()] == [told, told]
    gone = address(second)
    await second.close()
    assert await first.recv() == f'Client "{gone}" disconnected.'


async def test_an_ipv6_address_is_told_in_brackets(serve):
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("this machine has no IPv6")
    server = await serve("--host", "::1", "--log-level", "info", **ANNOUNCING)
    url = f"ws://[::1]:{server.port}/ws"
    async with connect(url, proxy=None, open_timeout=DEADLINE_SECONDS) as client:
        port = client.local_address[1]
        assert await client.recv() == f'Client "[::1]:{port}" connected.'
        await server.says(f"/ws from [::1]:{port} connected")


async def test_a_client_that_vanishes_is_told_of_too(serve):
    server = await serve(**ANNOUNCING)
    first = await server.connect()
    await first.recv()
    raw = await server.connect_raw()
    host, port = raw.socket.getsockname()
    assert await first.recv() == f'Client "{host}:{port}" connected.'
    raw.reset()
    assert await first.recv() == f'Client "{host}:{port}" disconnected.'


async def test_rooms_larger_than_the_limit_are_not_told(serve):
    server = await serve("--announce-limit", "2")
    clients = [await server.connect() for _ in range(4)]
    await clients[0].send("end")
    first = [await clients[0].recv() for _ in range(3)]
    assert first == [*(f'Client "{address(c)}" connected.' for c in clients[:2]), "end"]
    assert await clients[3].recv() == "end"


async def test_what_a_client_with_a_number_says_is_shown_with_it(serve):
    server = await serve()
    plain, named = await server.connect("/ws"), await server.connect("/ws/1763683200000")
    for sender, said, heard in (
        (named, "hello", "Client 1763683200000: hello"),
        (plain, "hi", "hi"),
    ):
        await sender.send(said)
        assert [await plain.recv(), await named.recv()] == [heard] * 2


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/ws/7", "/ws/{client_id}"),
        ("/ws/007", "/ws/{client_id}"),
        ("/ws/" + "9" * 128, "/ws/{client_id}"),
        ("/ws/-7", "/ws/{client_id}"),
        ("/ws/-" + "9" * 128, "/ws/{client_id}"),
        ("/ws/7.0", "/ws/{session_id}"),
        ("/ws/%D9%A7", "/ws/{session_id}"),  # a digit, but not an ASCII one
        ("/ws/py_client", "/ws/py_client"),
        ("/ws/py_client2", "/ws/{session_id}"),
    ],
)
async def test_py_client_comes_before_integers_and_integers_before_sessions(serve, path, endpoint):
    server = await serve()
    await server.connect(path)
    await server.until_stats(open={endpoint: 1})


@pytest.mark.parametrize(
    "path", ["/ws/", "/ws/a/b", "/ws/" + "x" * 129, "/ws/" + "9" * 129, "/wsx", "/"]
)
async def test_other_paths_are_answered_with_404(serve, path):
    server = await serve()
    assert await server.refused(path) == 404


async def test_a_room_hears_only_its_own(serve):
    server = await serve(**ANNOUNCING)
    lobby = await server.connect("/ws")
    blue = [await server.connect(path) for path in ("/ws?room=blue", "/ws/5?room=blue")]
    assert "connected" in await lobby.recv()
    for _ in range(2):
        assert "connected" in await blue[0].recv()
    await blue[1].recv()
    await blue[1].send("in blue")
    await lobby.send("in the lobby")
    for client in blue:
        assert await client.recv() == "Client 5: in blue"
    assert await lobby.recv() == "in the lobby"
    stats = await server.stats()
    assert stats["rooms"] == {"chat:blue": 2, "chat:lobby": 1}


async def post(server, **body):
    return await server.http.post("/broadcast", json=body)


async def test_a_post_is_broadcast_and_says_how_many_it_reached(serve):
    server = await serve()
    lobby = [await server.connect() for _ in range(3)]
    blue = [await server.connect("/ws/12?room=blue")]
    await server.connect("/echo")
    assert (await post(server, message="all")).json() == {"reached": 4}
    assert (await post(server, message="blue", room="blue")).json() == {"reached": 1}
    assert (await post(server, message="you", client="12")).json() == {"reached": 1}
    assert (await post(server, message="nobody", room="red")).json() == {"reached": 0}
    assert (await post(server, message="nobody", client="13")).json() == {"reached": 0}
    assert [await blue[0].recv() for _ in range(3)] == ["all", "blue", "you"]
    for client in lobby:
        assert await client.recv() == "all"


async def test_a_post_to_one_client_comes_in_the_form_its_endpoint_speaks(serve):
    server = await serve()
    program, session = await server.connect("/ws/py_client"), await server.connect("/ws/s1")
    own_id = (await server.event(program))["client_id"]
    assert (await post(server, message="hi", client=own_id)).json() == {"reached": 1}
    assert (await server.event(program)) == {
        "event": "message",
        "client_id": "server",
        "data": {"data": {"message": "hi"}},
    }
    assert (await post(server, message="hi", session="s1")).json() == {"reached": 1}
    assert (await server.event(session)) == {"type": "MESSAGE", "payload": {"text": "hi"}}


@pytest.mark.parametrize(
    "body", [{}, {"message": 1}, {"message": "x", "room": "a", "client": "b"}, {"mesage": "x"}]
)
async def test_a_post_that_makes_no_sense_is_answered_with_422(serve, body):
    server = await serve()
    assert (await server.http.post("/broadcast", json=body)).status_code == 422


async def test_the_heartbeats_of_many_do_not_fall_in_one_instant(serve):
    server = await serve("--heartbeat-seconds", "2")
    clients = [await server.connect() for _ in range(60)]
    loop = asyncio.get_running_loop()

    async def first_beat(client):
        await client.recv()
        return loop.time() % 2.0

    times = await asyncio.gather(*(first_beat(client) for client in clients))
    # In 2 s there are 100 phases; 60 clients have far more than a handful of them, even where a
    # busy machine lets this process look only now and then.
    assert len({round(time / 0.02) for time in times}) > 5
