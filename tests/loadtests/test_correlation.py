"""Messages are found whatever a server makes of them; every figure is what the server counted."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, broadcast, serve

from loadtests.errors import UsageError
from loadtests.plan.connect_options import ConnectOptions
from loadtests.scenarios.broadcast import BroadcastParameters
from loadtests.scenarios.correlation import Envelope, readings
from loadtests.scenarios.registry import parse_parameters
from tests.loadtests.conftest import LOSSY_COLLECT_SECONDS, Run
from tests.servers.json_chat import FORMS
from tests.servers.launch import Launched, launch

CHAT = '{"type": "chat", "room": "r{n%2}", "text": "{}"}'
PUBLISHING = ("broadcast", "chat", "storm", "slow-consumer", "drain")
# What JSON writes otherwise, and what a person might say.
LINES = 'she said "no"\nback\\slash and /\nzażółć 🙂\n{"type": "chat"}\n'
every_form = pytest.mark.parametrize("form", FORMS)


@pytest.fixture
def lines(tmp_path: Path) -> str:
    path = tmp_path / "lines.txt"
    path.write_text(LINES)
    return str(path)


async def against(run: Run, server: Launched, scenario: str, **changes: Any) -> Any:
    options = {"rate": 20.0, "connections": 12, "processes": 2}
    return await run(server.url("/ws?token=t-{n}"), scenario, **(options | changes))


def is_complete(summary: Any) -> bool:
    assert summary.valid, summary.reasons
    assert summary.errors == {}
    for fault in ("lost", "duplicated", "reordered", "corrupted"):
        assert summary.figures[f"integrity.{fault}"] == 0, fault
    return True


@every_form
async def test_a_broadcast_is_followed_through_json(run: Run, lines: str, form: str) -> None:
    with launch("tests.servers.json_chat", "0", "--form", form) as server:
        summary = await against(
            run, server, "broadcast", parameters={"publish": CHAT}, payload_file=lines
        )
        done = server.stop()
    assert is_complete(summary)
    assert done is not None
    assert summary.figures["messages.sent"] == summary.figures["delivery.messages"]
    assert done["chats"] == done["received"] == summary.figures["messages.sent"] == 20
    assert done["deliveries"] == summary.figures["integrity.expected"] == 240
    # The welcome alone.
    assert summary.figures["messages.unsolicited"] == done["accepted"] == 12


@every_form
async def test_an_echo_needs_no_rule_to_be_found(run: Run, lines: str, form: str) -> None:
    wrap = '{"type": "echo", "text": "{}"}'
    with launch("tests.servers.json_chat", "0", "--form", form) as server:
        for payload in ({"payload_file": lines}, {}):
            summary = await against(
                run,
                server,
                "echo",
                parameters={"wrap": wrap},
                rate=50.0,
                name=f"run{len(payload)}",
                **payload,
            )
            assert is_complete(summary)
            assert summary.figures["latency.count"] == 50
        done = server.stop()
    assert done is not None
    assert done["echoed"] == done["received"] == 100


@pytest.mark.parametrize("scenario", PUBLISHING)
async def test_what_is_lost_is_counted_as_the_server_counts_it(run: Run, scenario: str) -> None:
    with launch("tests.servers.json_chat", "0", "--lose", "7") as server:
        summary = await against(
            run,
            server,
            scenario,
            parameters={"wrap": CHAT, **_quick(scenario)},
            collect_seconds=LOSSY_COLLECT_SECONDS,
        )
        done = server.stop()
    assert done is not None
    assert summary.figures["integrity.corrupted"] == summary.figures["integrity.duplicated"] == 0
    assert "invalid" not in done
    if scenario == "drain":
        # After the signal it is no loss, where nothing follows.
        assert 0 < summary.figures["integrity.lost"] <= done["lost"]
        return
    withheld = summary.figures.get("slow-consumer.withheld", 0)
    assert summary.figures["integrity.lost"] + withheld == done["lost"] > 0
    # What goes to the slow ones is expected of nobody.
    slow = summary.figures.get("slow-consumer.slow", 0) * done["chats"]
    assert summary.figures["integrity.expected"] + slow == done["deliveries"]


def _quick(scenario: str) -> dict[str, Any]:
    return {
        "storm": {"drop": "none"},
        "slow-consumer": {"share": 0.1},
        "drain": {"notice": "nothing of the kind", "exit_status": 0},
    }.get(scenario, {})


async def test_a_ping_of_the_servers_own_making_is_timed(run: Run) -> None:
    with launch("tests.servers.json_chat", "0") as server:
        summary = await against(
            run,
            server,
            "heartbeat",
            rate=40.0,
            parameters={
                "message": "welcome",
                "interval": 0.5,
                "wrap": '{"type": "ping", "id": "{}"}',
                "find": "json:id",
            },
        )
        done = server.stop()
    assert done is not None
    sent = summary.figures["heartbeat.pings_sent"]
    assert sent == summary.figures["heartbeat.pongs"] == done["pongs"] == done["received"] == 40
    assert summary.figures["ping_round_trip.count"] == 40


async def test_several_messages_of_ours_in_one_are_not_guessed_at(run: Run) -> None:
    """A server that sends the last three lines each time: which of them is the news?"""
    here: set[ServerConnection] = set()
    texts: list[str] = []

    async def handle(connection: ServerConnection) -> None:
        here.add(connection)
        async for message in connection:
            texts.append(str(message))
            broadcast(here, json.dumps(texts[-3:]))

    async with serve(handle, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        url = f"ws://127.0.0.1:{port}/"
        options = {"rate": 10.0, "connections": 3, "collect_seconds": LOSSY_COLLECT_SECONDS}
        guessed = await run(url, "broadcast", name="guessed", **options)
        found = await run(
            url, "broadcast", name="found", parameters={"find": r'regex:"([^"]+)"\]$'}, **options
        )
    assert guessed.errors == {"message:several in one": 27}
    assert guessed.figures["integrity.lost"] == 27
    assert found.errors == {}
    assert found.figures["integrity.lost"] == 0


@pytest.mark.parametrize(
    "scenario", ["broadcast", "chat", "storm", "slow-consumer", "drain", "echo"]
)
@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"wrap": "no place"}, "parameter wrap .* must contain {} once"),
        ({"find": "xpath:/a"}, "parameter find .* write json:a.b.0 or regex"),
        ({"find": "regex:(a"}, "parameter find .* unterminated subpattern"),
        ({"find": "regex:a"}, "parameter find .* one .group."),
    ],
)
async def test_a_rule_that_cannot_be_is_refused_in_every_scenario(
    run: Run, scenario: str, parameters: dict[str, str], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        await run("ws://127.0.0.1:9/", scenario, rate=1.0, parameters=parameters)


def test_a_parameter_of_two_names_is_named_by_both() -> None:
    assert "publish" in BroadcastParameters.names()
    with pytest.raises(UsageError, match="it takes: wrap, publish, find, publisher_receives"):
        parse_parameters("broadcast", {"warp": "{}"})


async def test_a_refused_token_is_reported(run: Run) -> None:
    with launch("tests.servers.json_chat", "0") as server:
        summary = await run(
            server.url("/ws"), "hold", connections=3, options=ConnectOptions(bearer="t-{n}")
        )
        done = server.stop()
    assert summary.errors == {"upgrade:http-403": 3}
    assert done == {"refused": 3}


TAG = b"0badcafe"
WRAPPINGS = st.lists(st.sampled_from(("object", "string", "words")), max_size=4)


@given(st.text(max_size=40), WRAPPINGS, st.booleans())
def test_a_message_is_read_through_any_nesting_of_json(
    filler: str, wrappings: list[str], ascii_only: bool
) -> None:
    text = message = TAG.decode() + filler.replace(TAG.decode(), "")
    for wrapping in wrappings:
        if wrapping == "object":
            text = json.dumps({"before": "x", "text": text, "after": [1]}, ensure_ascii=ascii_only)
        elif wrapping == "string":
            text = json.dumps(text, ensure_ascii=ascii_only)
        else:
            text = f"he says: {text} :he says"
    assert any(it.stamped.startswith(message.encode()) for it in readings(text.encode(), TAG))


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_reading_anything_raises_nothing(before: bytes, after: bytes) -> None:
    for found in readings(before + TAG + after, TAG):
        assert found.stamped.startswith(TAG)


@given(st.text(max_size=40), st.integers(0, 10**6))
def test_a_message_within_a_json_string_is_escaped(text: str, number: int) -> None:
    envelope = Envelope('{"room": "r{n%7}", "by": {n}, "text": "{}"}')
    sent = json.loads(envelope.write(text.encode(), number))
    assert sent == {"room": f"r{number % 7}", "by": number, "text": text}


def test_a_message_outside_of_json_goes_as_it_is() -> None:
    assert Envelope("say {}!").write(b'"a"', 3) == b'say "a"!'
    assert Envelope(None).write(b'"a"', 3) == b'"a"'
    assert Envelope('{"text": "{}"}').write(b"\xff", 3) == b'{"text": "\xff"}'
