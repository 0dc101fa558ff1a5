"""The instrument reports what was injected: delays, stalls, losses, refusals, each by its name."""

import pytest
from websockets.asyncio.server import ServerConnection, serve

from reports.record import Interval, Line
from tests.loadtests.conftest import LOSSY_COLLECT_SECONDS, Run
from tests.servers.launch import known


async def test_an_injected_delay_is_measured_on_top_of_the_undisturbed_latency(run: Run) -> None:
    with known("--delay-seconds", "0.5") as server:
        summary = await run(server.url("/echo"), rate=200.0)
    # Never less than was injected, and never twice as much; how much more is the machine's affair.
    # That it is right to 2 % or 0.3 ms is for `swarmgate calibrate` to show, on a quiet machine.
    assert 0.5 <= summary.figures["latency.p50_seconds"] < 1.0
    assert summary.figures["latency.p50_seconds"] <= summary.figures["latency.p99_seconds"]
    assert summary.figures["integrity.lost"] == 0
    assert summary.valid


async def test_a_stall_is_seen_by_every_message_that_was_due_in_it(run: Run) -> None:
    with known("--stall-at-message", "100", "--stall-seconds", "1.0") as server:
        summary = await run(server.url("/echo"), rate=200.0, duration_seconds=2.0)
    # 200 of 400 messages were due in the second of the stall and waited between 1 s and nothing:
    # half of them, a quarter of all, for half a second and longer. A closed loop would show one.
    assert summary.figures["latency.count"] == 400
    assert summary.figures["latency.max_seconds"] >= 1.0
    assert summary.figures["latency.p90_seconds"] >= 0.75
    assert summary.figures["messages.sent"] == 400


async def test_a_closed_loop_shows_a_stall_to_its_connections_alone(run: Run) -> None:
    with known("--stall-at-message", "50", "--stall-seconds", "0.5") as server:
        summary = await run(server.url("/echo"), connections=2, duration_seconds=3.0)
    assert summary.figures["latency.max_seconds"] >= 0.5
    assert summary.figures["latency.p90_seconds"] < 0.25
    assert summary.header.load["rate"] is None


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("fault", ["lose", "duplicate", "reorder"])
async def test_echo_faults_are_counted_exactly(run: Run, fault: str, processes: int) -> None:
    with known(f"--{fault}-every", "7") as server:
        summary = await run(
            server.url("/echo"),
            rate=300.0,
            processes=processes,
            collect_seconds=LOSSY_COLLECT_SECONDS,
        )
        injected = server.stop()
    assert injected is not None
    assert summary.figures["integrity.expected"] == injected["messages"] == 300
    # One held back at the very end, with no successor to follow, never came.
    withheld = injected.get("held", 0) - injected.get("reordered", 0)
    assert summary.figures["integrity.lost"] == injected.get("lost", 0) + withheld
    assert summary.figures["integrity.duplicated"] == injected.get("duplicated", 0)
    assert summary.figures["integrity.reordered"] == injected.get("reordered", 0)
    assert any(injected.get(name) for name in ("lost", "duplicated", "reordered"))


@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("fault", ["lose", "duplicate"])
async def test_broadcast_faults_are_counted_at_every_receiver(
    run: Run, fault: str, processes: int
) -> None:
    with known(f"--{fault}-every", "11") as server:
        summary = await run(
            server.url("/ws"),
            "broadcast",
            connections=12,
            rate=50.0,
            processes=processes,
            collect_seconds=LOSSY_COLLECT_SECONDS,
        )
        injected = server.stop()
    assert injected is not None
    assert summary.figures["integrity.expected"] == injected["deliveries"] == 50 * 12
    assert summary.figures["delivery.messages"] == 50
    for name in ("lost", "duplicated", "reordered"):
        assert summary.figures[f"integrity.{name}"] == injected.get(name, 0)


async def test_broadcasts_that_change_places_are_counted_at_every_receiver(run: Run) -> None:
    # 13 receivers and every 11th delivery: each receiver has its turn to be held back.
    with known("--reorder-every", "11") as server:
        summary = await run(
            server.url("/ws"),
            "broadcast",
            connections=13,
            rate=50.0,
            collect_seconds=LOSSY_COLLECT_SECONDS,
        )
        injected = server.stop()
    assert injected is not None
    assert injected["reordered"] > 20
    assert summary.figures["integrity.reordered"] == injected["reordered"]
    assert summary.figures["integrity.duplicated"] == 0


async def test_a_user_goes_on_when_a_reply_does_not_come(run: Run) -> None:
    with known("--lose-every", "5") as server:
        summary = await run(
            server.url("/echo"),
            connections=4,
            duration_seconds=4.0,
            reply_timeout_seconds=0.3,
            collect_seconds=LOSSY_COLLECT_SECONDS,
        )
        injected = server.stop()
    assert injected is not None
    # Else each of the four would be silent after the first that it loses.
    assert injected["lost"] > 4
    assert summary.figures["integrity.lost"] == injected["lost"]
    assert set(summary.errors) == {"reply:timeout"}
    # Those of the end are not overdue yet.
    assert summary.errors["reply:timeout"] >= injected["lost"] - 4
    assert summary.figures["integrity.duplicated"] == 0


@pytest.mark.parametrize("rate", [50.0, None])
async def test_losses_are_entered_while_the_load_lasts(run: Run, rate: float | None) -> None:
    lines: list[Line] = []
    with known("--lose-every", "5") as server:
        summary = await run(
            server.url("/echo"),
            observe=lines.append,
            connections=4,
            rate=rate,
            duration_seconds=4.0,
            reply_timeout_seconds=0.3,
            collect_seconds=LOSSY_COLLECT_SECONDS,
        )
        injected = server.stop()
    meanwhile = [it for it in lines if isinstance(it, Interval) and it.phase == "measure"]
    assert sum(it.integrity.get("lost", 0) for it in meanwhile) > 0
    assert sum(it.integrity.get("expected", 0) for it in meanwhile) > 0
    assert injected is not None
    assert summary.figures["integrity.lost"] == injected["lost"]
    assert summary.figures["integrity.expected"] == injected["messages"]


async def test_of_a_connection_that_has_ended_no_reply_is_waited_for(run: Run) -> None:
    async def hang_up(connection: ServerConnection) -> None:
        await connection.recv()

    async with serve(hang_up, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        summary = await run(
            f"ws://127.0.0.1:{port}/",
            connections=2,
            # The other one stays, and so does the run.
            parameters={"active": 1},
            duration_seconds=1.0,
            reply_timeout_seconds=0.2,
            collect_seconds=LOSSY_COLLECT_SECONDS,
        )
    assert summary.errors == {"closed:1000": 1}
    assert summary.figures["integrity.lost"] == 1


async def test_a_reply_that_comes_late_begins_nothing_of_its_own(run: Run) -> None:
    """One user has one message under way, or some that are given up, and never two at once."""
    with known("--delay-seconds", "3") as server:
        summary = await run(
            server.url("/echo"),
            connections=1,
            duration_seconds=4.0,
            reply_timeout_seconds=0.2,
        )
    assert summary.figures["integrity.lost"] == summary.figures["integrity.duplicated"] == 0
    # Each was given up, but for the last perhaps, and that alone has begun the next.
    assert summary.figures["messages.sent"] > 1
    assert summary.errors["reply:timeout"] >= summary.figures["messages.sent"] - 1


async def test_damaged_replies_are_neither_duplicates_nor_replies(run: Run) -> None:
    with known("--damage-every", "10") as server:
        summary = await run(server.url("/echo"), rate=200.0, collect_seconds=LOSSY_COLLECT_SECONDS)
        injected = server.stop()
    assert injected is not None
    assert summary.figures["integrity.corrupted"] == injected["damaged"] == 20
    assert summary.figures["integrity.lost"] == 20
    assert summary.figures["integrity.duplicated"] == 0
    assert summary.figures["latency.count"] == 180


@pytest.mark.parametrize("status", [403, 404, 500])
async def test_a_refused_share_of_handshakes_is_counted_by_status(run: Run, status: int) -> None:
    with known("--refuse-every", "5", "--refuse-status", str(status)) as server:
        summary = await run(server.url("/echo"), connections=50, rate=100.0)
        injected = server.stop()
    assert injected is not None
    assert summary.errors == {f"upgrade:http-{status}": injected["refused"]}
    assert injected["refused"] == 10
    assert summary.figures["connections.opened"] == 40
    assert summary.figures["connections.failed"] == 10
    assert summary.valid


async def test_connections_that_the_server_closes_are_counted_by_code(run: Run) -> None:
    with known("--close-after", "3", "--close-code", "4001") as server:
        # It ends when they have: long before its time.
        summary = await run(server.url("/echo"), connections=5, rate=100.0, duration_seconds=60.0)
    assert summary.errors["closed:4001"] == 5
    assert summary.close_codes[4001] == 5
    assert "target ended every connection" in " ".join(summary.failures)
    assert summary.valid, summary.reasons
    # What was under way is accounted for all the same.
    assert summary.figures["integrity.expected"] == summary.figures["messages.sent"]


async def test_what_is_sent_before_a_close_was_heard_of_is_lost(run: Run) -> None:
    flags = ("--close-after", "2", "--close-code", "4001", "--delay-seconds", "1")
    with known(*flags) as server:
        # One stays idle, so that the run goes on.
        summary = await run(
            server.url("/echo"), connections=5, parameters={"active": 4}, rate=100.0
        )
        injected = server.stop()
    assert injected is not None
    assert summary.valid, summary.reasons
    assert summary.errors["closed:4001"] == injected["closed"] == 4
    assert summary.figures["integrity.expected"] == 2 * 4 + injected["ignored"]
    assert summary.figures["integrity.lost"] == injected["ignored"] > 0


async def test_fragments_are_put_together(run: Run) -> None:
    with known("--fragment") as server:
        summary = await run(server.url("/echo"), rate=100.0)
    assert summary.figures["latency.count"] == 100
    assert summary.figures["integrity.corrupted"] == 0


async def test_messages_of_others_are_unsolicited_and_nothing_else(run: Run) -> None:
    with known("--greet") as server:
        summary = await run(server.url("/echo"), connections=7, rate=50.0)
    assert summary.figures["messages.unsolicited"] == 7
    assert summary.figures["latency.count"] == 50
    assert summary.errors == {}


async def test_binary_messages_are_measured_as_text_ones_are(run: Run) -> None:
    with known() as server:
        summary = await run(server.url("/echo"), rate=100.0, binary=True, payload_bytes=300)
    assert summary.figures["latency.count"] == 100
    assert summary.figures["integrity.corrupted"] == 0


async def test_only_the_active_share_sends(run: Run) -> None:
    with known() as server:
        summary = await run(
            server.url("/echo"), connections=20, rate=100.0, parameters={"active": "3"}, processes=2
        )
    assert summary.figures["integrity.expected"] == 100
    assert summary.figures["integrity.lost"] == 0
