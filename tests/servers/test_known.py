"""The known server does what its flags say, to the message: only then can it judge the swarm."""

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from benchmarks.calibration.faults import Fate, Faults, Outbox, damaged
from tests.servers.launch import START_SECONDS, Launched, known

NONE = dict.fromkeys(
    (
        *("handshakes", "refused", "messages", "deliveries", "lost", "duplicated"),
        *("held", "reordered", "flushed", "damaged", "closed", "ignored"),
    ),
    0,
)


@pytest.fixture(autouse=True)
async def deadline() -> AsyncIterator[None]:
    """Nothing here waits for ever."""
    async with asyncio.timeout(START_SECONDS):
        yield


def client(server: Launched, path: str = "/echo") -> AbstractAsyncContextManager[ClientConnection]:
    return connect(server.url(path), compression=None, proxy=None)


async def send(connection: ClientConnection, *messages: str | bytes) -> None:
    for message in messages:
        await connection.send(message)


async def receive(connection: ClientConnection, count: int) -> list[str | bytes]:
    return [await connection.recv() for _ in range(count)]


async def remaining(connection: ClientConnection) -> list[str | bytes]:
    """Receive until the connection ends."""
    messages: list[str | bytes] = []
    try:
        while True:
            messages.append(await connection.recv())
    except ConnectionClosed:
        return messages


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(1, count + 1)]


# The arithmetic.


@given(every=st.integers(1, 50), count=st.integers(0, 500))
@pytest.mark.parametrize(
    ("inject", "fate"),
    [
        (lambda every: Faults(lose_every=every), Fate.LOST),
        (lambda every: Faults(duplicate_every=every), Fate.DUPLICATED),
        (lambda every: Faults(reorder_every=every), Fate.HELD),
    ],
    ids=["lose", "duplicate", "reorder"],
)
def test_every_nth_has_its_fate_and_no_other_does(
    inject: Callable[[int], Faults], fate: Fate, every: int, count: int
) -> None:
    faults = inject(every)
    fates = [faults.fate(number) for number in range(1, count + 1)]
    assert fates.count(fate) == count // every
    assert fates.count(Fate.SENT) == count - count // every
    assert all(it is fate for it in fates[every - 1 :: every])


@given(number=st.integers(1, 10**9))
def test_without_faults_nothing_happens(number: int) -> None:
    faults = Faults()
    assert faults.fate(number) is Fate.SENT
    assert not faults.damages(number)
    assert not faults.refuses(number)


def test_where_faults_coincide_losing_goes_before_duplicating_before_holding() -> None:
    faults = Faults(lose_every=8, duplicate_every=4, reorder_every=2, damage_every=8)
    fates = [faults.fate(number) for number in (2, 4, 8)]
    assert fates == [Fate.HELD, Fate.DUPLICATED, Fate.LOST]
    assert not faults.damages(8)


def test_one_held_back_goes_right_behind_the_next_that_is_sent() -> None:
    injected: Counter[str] = Counter()
    outbox: Outbox[int] = Outbox(injected)
    assert outbox.put(1, Fate.HELD) == []
    assert outbox.put(2, Fate.LOST) == []
    assert outbox.put(3, Fate.DUPLICATED) == [3, 3, 1]
    assert outbox.put(4, Fate.HELD) == []
    assert outbox.put(5, Fate.HELD) == [5, 4]
    assert outbox.put(6, Fate.HELD) == []
    assert outbox.flush() == [6]
    assert outbox.flush() == []
    assert injected == {"lost": 1, "duplicated": 1, "held": 3, "reordered": 2, "flushed": 1}


@given(st.lists(st.sampled_from(Fate)))
def test_the_counts_are_what_a_receiver_can_count(fates: list[Fate]) -> None:
    injected: Counter[str] = Counter()
    outbox: Outbox[int] = Outbox(injected)
    out = [item for number, fate in enumerate(fates) for item in outbox.put(number, fate)]
    out += outbox.flush()
    seen = Counter(out)
    assert injected["lost"] == len(fates) - len(seen)
    assert injected["duplicated"] == len(out) - len(seen)
    assert injected["held"] == injected["reordered"] + injected["flushed"]
    # RFC 4737 section 3.3: reordered is what comes after a higher number.
    first_arrivals = list(dict.fromkeys(out))
    late = [it for at, it in enumerate(first_arrivals) if it < max(first_arrivals[: at + 1])]
    assert injected["reordered"] == len(late)


@given(st.binary())
def test_a_damaged_payload_is_another_one(payload: bytes) -> None:
    assert damaged(payload) != payload


@given(st.text())
def test_damaged_text_is_still_text(text: str) -> None:
    damaged(text.encode()).decode()


# The server.


async def test_an_echo_goes_to_its_sender_alone_in_the_type_it_came_in() -> None:
    with known() as server:
        async with client(server) as one, client(server) as other:
            await send(one, "text", b"\x00binary", "")
            await send(other, "mine")
            assert await receive(one, 3) == ["text", b"\x00binary", ""]
            assert await receive(other, 1) == ["mine"]
        assert server.stop() == NONE | {"handshakes": 2, "messages": 4, "deliveries": 4}
        assert server.process.returncode == 0


async def test_a_broadcast_goes_to_everyone_of_its_path_the_sender_included() -> None:
    with known() as server:
        async with (
            client(server, "/ws") as one,
            client(server, "/ws") as other,
            client(server) as elsewhere,
        ):
            await send(one, "hello")
            assert await receive(one, 1) == await receive(other, 1) == ["hello"]
            await send(elsewhere, "echo")
            assert await receive(elsewhere, 1) == ["echo"]
        assert server.stop() == NONE | {"handshakes": 3, "messages": 2, "deliveries": 3}


async def test_everything_that_is_delayed_is_delayed_at_the_same_time() -> None:
    delay_seconds = 0.3
    with known("--delay-seconds", str(delay_seconds)) as server:
        async with client(server) as connection:
            start = time.monotonic()
            await send(connection, *numbers(100))
            assert await receive(connection, 1) == ["1"]
            assert time.monotonic() - start >= delay_seconds
            assert await receive(connection, 99) == numbers(100)[1:]
            # One after another they would take a hundred times as long.
            assert time.monotonic() - start < 50 * delay_seconds


async def test_the_delay_is_exact_to_a_fraction_of_a_millisecond() -> None:
    delay_ns = 3_300_000

    async def round_trip_ns(connection: ClientConnection) -> int:
        start_ns = time.monotonic_ns()
        await send(connection, "?")
        await receive(connection, 1)
        return time.monotonic_ns() - start_ns

    with known("--delay-seconds", str(delay_ns / 1e9)) as server:
        async with client(server) as connection:
            # The quickest tenth: a timer of whole milliseconds would be 0.7 ms late with each, and
            # what the client and a busy machine add to a round trip they do not add to all. A very
            # busy one adds it to many in a row, and is given another hundred then.
            while True:
                round_trips_ns = [await round_trip_ns(connection) for _ in range(100)]
                assert min(round_trips_ns) >= delay_ns
                if statistics.quantiles(round_trips_ns, n=10)[0] < delay_ns + 700_000:
                    break


async def test_a_close_frame_does_not_overtake_delayed_replies() -> None:
    with known("--delay-seconds", "0.05", "--close-after", "3", "--close-code", "4001") as server:
        async with client(server) as connection:
            await send(connection, *numbers(3))
            assert await remaining(connection) == numbers(3)
            assert connection.close_code == 4001


async def test_what_is_under_way_at_the_end_still_arrives() -> None:
    with known("--delay-seconds", "0.2", "--fragment") as server:
        async with client(server) as connection:
            await send(connection, "message")
            # The pong is not delayed: it shows that the message before it has been read.
            await (await connection.ping())
            counts = server.stop()
            assert await remaining(connection) == ["message"]
    assert counts == NONE | {"handshakes": 1, "messages": 1, "deliveries": 1}


async def test_the_server_stands_still_once_at_the_message_given() -> None:
    stall_seconds = 2.0
    took = []
    with known("--stall-at-message", "3", "--stall-seconds", str(stall_seconds)) as server:
        async with client(server) as one, client(server) as other:
            for connection in (one, other, one, other):
                start = time.monotonic()
                await send(connection, "?")
                await receive(connection, 1)
                took.append(time.monotonic() - start)
    assert [seconds >= stall_seconds for seconds in took] == [False, False, True, False]


@pytest.mark.parametrize(
    ("flags", "received", "injected"),
    [
        ("--lose-every 3", "1 2 4 5 7", {"lost": 2}),
        ("--duplicate-every 3", "1 2 3 3 4 5 6 6 7", {"duplicated": 2}),
        ("--reorder-every 3", "1 2 4 3 5 7 6", {"held": 2, "reordered": 2}),
        ("--damage-every 3", "1 2 2 4 5 7 7", {"damaged": 2}),
        (
            "--lose-every 6 --duplicate-every 4 --reorder-every 5",
            "1 2 3 4 4 7 5",
            {"lost": 1, "duplicated": 1, "held": 1, "reordered": 1},
        ),
    ],
)
async def test_echo_faults_are_those_asked_for_and_no_others(
    flags: str, received: str, injected: dict[str, int]
) -> None:
    with known(*flags.split()) as server:
        async with client(server) as connection:
            await send(connection, *numbers(7))
            wanted = received.split()
            assert await receive(connection, len(wanted)) == wanted
            counts = server.stop()
            assert await remaining(connection) == []
    assert counts == NONE | {"handshakes": 1, "messages": 7, "deliveries": 7} | injected


async def test_broadcast_deliveries_are_numbered_in_the_order_of_connecting() -> None:
    # Of 2 messages to 3 clients, the 2nd, 4th and 6th: the second, the first and the third client.
    with known("--lose-every", "2") as server:
        async with (
            client(server, "/ws") as first,
            client(server, "/ws") as second,
            client(server, "/ws") as third,
        ):
            await send(second, "a", "b")
            assert await receive(first, 1) == ["a"]
            assert await receive(second, 1) == ["b"]
            assert await receive(third, 1) == ["a"]
            counts = server.stop()
            for connection in (first, second, third):
                assert await remaining(connection) == []
    assert counts == NONE | {"handshakes": 3, "messages": 2, "deliveries": 6, "lost": 3}


async def test_places_are_changed_within_one_client() -> None:
    # The 2nd delivery is the second client's; its successor there is the 4th, due as well.
    with known("--reorder-every", "2") as server:
        async with client(server, "/ws") as first, client(server, "/ws") as second:
            await send(first, "a", "b")
            assert await receive(first, 2) == ["a", "b"]
            assert await receive(second, 2) == ["b", "a"]
            counts = server.stop()
    assert counts is not None
    assert (counts["held"], counts["reordered"], counts["flushed"]) == (1, 1, 0)


async def test_one_held_back_without_a_successor_is_sent_at_the_end() -> None:
    with known("--reorder-every", "2") as server:
        async with client(server) as connection:
            await send(connection, "1", b"2")
            assert await receive(connection, 1) == ["1"]
            await (await connection.ping())
            counts = server.stop()
            assert await remaining(connection) == [b"2"]
    assert counts is not None
    assert (counts["held"], counts["reordered"], counts["flushed"]) == (1, 0, 1)


async def test_one_held_back_without_a_successor_is_sent_before_the_close_frame() -> None:
    with known("--reorder-every", "2", "--close-after", "2") as server:
        async with client(server) as connection:
            await send(connection, *numbers(2))
            assert await remaining(connection) == numbers(2)
            assert connection.close_code == 1000
        counts = server.stop()
    assert counts is not None
    assert (counts["closed"], counts["reordered"], counts["flushed"]) == (1, 0, 1)


async def test_a_client_that_closes_is_sent_what_was_held_back_and_its_own_code() -> None:
    with known("--reorder-every", "1") as server:
        async with client(server) as connection:
            await send(connection, "1")
            await connection.close(4321, "enough")
            assert connection.close_code == 4321
        counts = server.stop()
    assert counts is not None
    assert (counts["held"], counts["reordered"], counts["flushed"]) == (1, 0, 1)


async def test_every_nth_handshake_is_refused_with_the_status_given() -> None:
    statuses = []
    with known("--refuse-every", "3", "--refuse-status", "503") as server:
        for _ in range(7):
            try:
                async with client(server):
                    statuses.append(101)
            except InvalidStatus as refusal:
                statuses.append(refusal.response.status_code)
        counts = server.stop()
    assert statuses == [101, 101, 503, 101, 101, 503, 101]
    assert counts == NONE | {"handshakes": 7, "refused": 2}


async def test_a_connection_is_closed_after_its_own_nth_message_whatever_it_sends_then() -> None:
    with known("--close-after", "2", "--close-code", "4000", "--delay-seconds", "0.1") as server:
        async with client(server) as one, client(server) as other:
            await send(other, "1")
            assert await receive(other, 1) == ["1"]
            # The third is there before the close frame has gone out, and nobody answers it.
            await send(one, *numbers(3))
            assert await remaining(one) == numbers(2)
            assert one.close_code == 4000
            await send(other, "2")
            assert await remaining(other) == ["2"]
        counts = server.stop()
    injected = {"handshakes": 2, "messages": 4, "deliveries": 4, "closed": 2, "ignored": 1}
    assert counts == NONE | injected


async def test_a_reply_in_fragments_is_three_frames() -> None:
    with known("--fragment") as server:
        async with client(server) as connection:
            await send(connection, "fragmented text", b"\x00\x01")
            text = [part async for part in connection.recv_streaming()]
            assert text == ["fragm", "ente", "d text"]
            assert [part async for part in connection.recv_streaming()] == [b"\x00\x01", b"", b""]
            # A cut in the middle of a character.
            await send(connection, "1234ß")
            assert await receive(connection, 1) == ["1234ß"]


async def test_whoever_connects_is_greeted() -> None:
    with known("--greet") as server:
        async with client(server) as connection:
            await send(connection, "1")
            greeting, reply = await receive(connection, 2)
    assert "schön" in str(greeting)
    assert reply == "1"


async def test_a_silent_handshake_is_never_answered() -> None:
    with known("--silent-handshake") as server:
        with pytest.raises(TimeoutError):
            await connect(server.url(), open_timeout=1.0, proxy=None)
        assert server.stop() == NONE | {"handshakes": 1}
        assert server.process.returncode == 0


@pytest.mark.parametrize(
    "flags", [["--garbage-handshake"], ["--handshake", "garbage"], ["--handshake", "hang-up"]]
)
async def test_a_handshake_that_is_no_http_is_none(flags: list[str]) -> None:
    with known(*flags) as server:
        with pytest.raises(InvalidMessage):
            await connect(server.url(), proxy=None)
        assert server.stop() == NONE | {"handshakes": 1}


async def test_a_late_handshake_is_right_but_a_second_late() -> None:
    with known("--handshake", "late") as server:
        start = time.monotonic()
        # It answers the handshake and nothing after it, a close frame neither.
        async with connect(server.url(), close_timeout=0.1, proxy=None):
            assert time.monotonic() - start >= 1.0


async def test_the_process_dies_at_the_message_given() -> None:
    with known("--die-at-message", "3") as server:
        async with client(server) as connection:
            await send(connection, *numbers(2))
            assert await receive(connection, 2) == numbers(2)
            await send(connection, "3")
            assert await remaining(connection) == []
            assert connection.close_code == 1006
        assert server.stop() is None
        assert server.process.returncode == 1


async def test_messages_in_fragments_are_refused_not_half_understood() -> None:
    with known() as server:
        async with client(server) as connection:
            await connection.send(iter(["one", "two"]))
            assert await remaining(connection) == []
            assert connection.close_code == 1003
        assert server.stop() == NONE | {"handshakes": 1}
