"""Many publish, and every loss, doubling and swap is found at the receiver that it happened to."""

import sys
from typing import Any

import pytest

from loadtests.errors import UsageError
from loadtests.scenarios.chat import Chat, ChatParameters, publishers_of
from reports.terminal import summary_text
from tests.loadtests.conftest import LOSSY_COLLECT_SECONDS, Run
from tests.loadtests.test_plan import plan
from tests.servers.launch import launch

FAULTS = ("lost", "duplicated", "reordered", "corrupted")


async def chat(run: Run, *flags: str, path: str = "/ws", **changes: Any) -> tuple[Any, Any]:
    """Make a run against the chat server; gives its summary and what the server did wrong."""
    with launch("tests.servers.chat", "0", *flags) as server:
        summary = await run(server.url(path), "chat", **({"rate": 40.0} | changes))
        return summary, server.stop()


def faults(summary: Any) -> dict[str, float]:
    return {name: count for name in FAULTS if (count := summary.figures[f"integrity.{name}"])}


@pytest.mark.parametrize("path", ["/ws", "/ws/{n}"])
@pytest.mark.parametrize("processes", [1, 3])
async def test_everyone_gets_what_every_publisher_sent(run: Run, path: str, processes: int) -> None:
    parameters = {"publishers": "4"} | ({"prefix": "Client {n}: "} if "{n}" in path else {})
    summary, _ = await chat(run, path=path, processes=processes, parameters=parameters)
    assert summary.valid, summary.reasons
    assert faults(summary) == summary.errors == {}
    assert summary.figures["messages.sent"] == summary.figures["delivery.messages"] == 40
    assert summary.figures["integrity.expected"] == summary.figures["delivered.count"] == 400
    # What the server says of its own accord is nobody's fault.
    assert summary.figures["messages.unsolicited"] == 10
    assert (
        0
        < summary.figures["delivery.first_seconds"]
        <= summary.figures["delivered.mean_seconds"]
        <= summary.figures["delivery.last_seconds"]
    )
    assert "Delivery at each receiver" in summary_text(summary)


@pytest.mark.parametrize("processes", [1, 2])
async def test_only_those_in_the_room_are_receivers(run: Run, processes: int) -> None:
    summary, _ = await chat(
        run, connections=12, processes=processes, parameters={"rooms": "3", "publishers": "4"}
    )
    assert summary.valid, summary.reasons
    assert faults(summary) == summary.errors == {}
    # Four connections to a room.
    assert summary.figures["integrity.expected"] == summary.figures["delivered.count"] == 160


@pytest.mark.parametrize(
    ("flag", "fault"), [("lose", "lost"), ("duplicate", "duplicated"), ("swap", "reordered")]
)
async def test_what_the_server_did_wrong_is_counted_exactly(
    run: Run, flag: str, fault: str
) -> None:
    # One publisher, so that neighbours which change places are of one stream.
    parameters = {"publishers": "1"}
    summary, done = await chat(
        run, f"--{flag}", "7", parameters=parameters, collect_seconds=LOSSY_COLLECT_SECONDS
    )
    held_at_the_end = faults(summary).pop("lost", 0) if flag == "swap" else 0
    assert held_at_the_end <= 10
    assert summary.figures[f"integrity.{fault}"] == done[flag] > 0


async def test_loss_is_found_among_many_publishers(run: Run) -> None:
    parameters = {"publishers": "5", "rooms": "2"}
    summary, done = await chat(
        run, "--lose", "7", parameters=parameters, collect_seconds=LOSSY_COLLECT_SECONDS
    )
    assert faults(summary) == {"lost": done["lose"]}


async def test_a_message_in_the_wrong_room_is_an_error(run: Run) -> None:
    summary, done = await chat(run, "--leak", "9", parameters={"rooms": "2"})
    assert faults(summary) == {}
    assert summary.errors == {"chat:wrong-room": done["leak"]}


async def test_words_before_the_text_are_checked(run: Run) -> None:
    summary, _ = await chat(
        run,
        path="/ws/{n}",
        parameters={"prefix": "Customer {n}: "},
        collect_seconds=LOSSY_COLLECT_SECONDS,
    )
    assert summary.figures["integrity.corrupted"] == summary.figures["integrity.lost"] == 400


async def test_the_reference_server_broadcasts_to_all(run: Run) -> None:
    with launch([sys.executable, "-m", "target_app"], "--port", "0") as server:
        summary = await run(server.url("/ws"), "chat", rate=20.0, connections=20, processes=2)
    assert summary.valid, summary.reasons
    assert faults(summary) == {}
    assert summary.figures["integrity.expected"] == 400


def test_a_tenth_of_the_connections_publishes_and_one_at_least() -> None:
    assert publishers_of(plan(connections=1000), ChatParameters()) == 100
    assert publishers_of(plan(connections=3), ChatParameters()) == 1


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"payload_bytes": 35}, "35 bytes.* at least 36"),
        ({"parameters": {"rooms": "11"}}, "rooms is 11, more than the 10"),
        ({"parameters": {"publishers": "11"}}, "publishers is 11, more than the 10"),
    ],
)
async def test_a_chat_that_cannot_be_held_is_refused(
    run: Run, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        await run("ws://127.0.0.1:9/", "chat", **changes)


@pytest.mark.parametrize(
    ("url", "with_room"),
    [("ws://h:1/ws", "ws://h:1/ws?room=r{n%3}"), ("wss://h/a?b=c", "wss://h/a?b=c&room=r{n%3}")],
)
def test_a_room_is_added_to_what_the_address_asks_for(url: str, with_room: str) -> None:
    assert Chat.address(url, ChatParameters(rooms=3)) == with_room


async def test_what_comes_back_to_its_publisher_stands_for_nothing_that_another_has_lost(
    run: Run,
) -> None:
    """Each message goes to everyone, also to its publisher, who is not to get it."""
    changes = {"publishers": "4", "publisher_receives": "false"}
    summary, _ = await chat(run, parameters=changes, processes=2)
    assert faults(summary) == {}
    # Of forty messages ten connections hear all but those of their own.
    assert summary.figures["integrity.expected"] == summary.figures["delivered.count"] == 360
    assert summary.figures["messages.unsolicited"] == 10 + 40


async def test_a_publishers_own_message_hides_no_loss(run: Run) -> None:
    with launch("tests.servers.json_chat", "0", "--lose", "7") as server:
        summary = await run(
            server.url("/ws?token=t-{n}"),
            "chat",
            rate=40.0,
            parameters={
                "publishers": "1",
                "publisher_receives": "false",
                "publish": '{"type": "chat", "text": "{}"}',
            },
            collect_seconds=LOSSY_COLLECT_SECONDS,
        )
        done = server.stop()
    assert done is not None
    assert done["lost"] == 400 // 7
    assert summary.figures["integrity.expected"] == 360
    # The others are those that the publisher itself did not get, which is no loss.
    assert done["lost"] - 40 <= summary.figures["integrity.lost"] <= done["lost"]
    assert summary.figures["integrity.lost"] > 0
    assert summary.figures["delivered.count"] == 360 - summary.figures["integrity.lost"]


async def test_a_broadcast_that_comes_back_to_its_publisher_is_no_delivery(run: Run) -> None:
    with launch("tests.servers.chat", "0") as server:
        summary = await run(
            server.url("/ws"), "broadcast", rate=20.0, parameters={"publisher_receives": "false"}
        )
    assert faults(summary) == {}
    assert summary.figures["integrity.expected"] == summary.figures["delivered.count"] == 180
