"""What a server asks in a protocol of its own is answered, and is no message of the load."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.clients.answers import parse_answers
from loadtests.errors import UsageError
from loadtests.plan.connect_options import Client, ConnectOptions
from tests.loadtests.conftest import Run
from tests.servers.launch import launch

PATH = "/socket.io/?EIO=4&transport=websocket"
CONNECT = '40{"token":"t-{n}"} => 40{"sid"'
PONG = "2 => 3"
ACKNOWLEDGED = r'regex:"id": "(?P<id>\w+)" => {"ack": "{saved.id}"}'
SAY = '42["say","{}"]'
clients = pytest.mark.parametrize("client", [Client.PICOWS, Client.WEBSOCKETS])


@clients
async def test_broadcasts_over_socket_io_are_counted_as_the_server_counts_them(
    run: Run, client: Client
) -> None:
    with launch("tests.servers.socket_io", "0", "--ping", "0.5") as server:
        summary = await run(
            server.url(PATH),
            "broadcast",
            rate=10.0,
            duration_seconds=3.0,
            processes=2,
            ready=(CONNECT,),
            answers=(PONG,),
            parameters={"wrap": SAY},
            options=ConnectOptions(client=client),
        )
        done = server.stop()
    assert summary.valid, summary.reasons
    assert summary.errors == {}
    assert done is not None
    assert done["connected"] == done["left"] == 10
    # Five pings or more to each were answered, or it would have been cut for one.
    assert "left for ping timeout" not in done
    assert summary.figures["answers.sent"] >= 50
    assert done["said"] == summary.figures["messages.sent"] == 30
    assert done["deliveries"] == summary.figures["integrity.expected"] == 300
    assert summary.figures["integrity.lost"] == summary.figures["messages.unsolicited"] == 0
    assert summary.figures["messages.received"] == 300


async def test_a_server_whose_pings_are_not_answered_ends_everybody(run: Run) -> None:
    with launch("tests.servers.socket_io", "0", "--ping", "0.2") as server:
        summary = await run(
            server.url(PATH), "hold", ready=(CONNECT,), connections=3, duration_seconds=60.0
        )
        done = server.stop()
    assert done is not None
    assert done["left"] == 3
    assert sum(summary.close_codes.values()) == 3
    assert "ended every connection" in summary.failures[0]


async def test_who_is_refused_by_socket_io_is_an_error(run: Run) -> None:
    with launch("tests.servers.socket_io", "0") as server:
        summary = await run(
            server.url(PATH),
            "hold",
            ready=("40 => 40{",),
            connections=3,
            handshake_timeout_seconds=1.0,
        )
        done = server.stop()
    assert done is not None
    assert done["refused"] == 3
    assert sum(summary.errors.values()) == 3
    assert all(kind.startswith("ready:") for kind in summary.errors)


TEXTS = st.text(min_size=1).filter(lambda text: text.strip() == text and " => " not in f" {text} ")


@given(st.dictionaries(TEXTS, TEXTS))
def test_answers_are_read_as_they_are_written(answers: dict[str, str]) -> None:
    read = parse_answers([f"{message} => {answer}" for message, answer in answers.items()])
    assert read.exact == {message.encode(): answer.encode() for message, answer in answers.items()}
    assert not read.acknowledgements


@clients
async def test_deliveries_that_a_server_waits_to_have_acknowledged_are_acknowledged(
    run: Run, client: Client
) -> None:
    with launch("tests.servers.acknowledged", "0") as server:
        summary = await run(
            server.url(),
            "broadcast",
            rate=10.0,
            duration_seconds=2.0,
            processes=2,
            answers=(ACKNOWLEDGED,),
            parameters={"wrap": '{"say": "{}"}'},
            options=ConnectOptions(client=client),
        )
        done = server.stop()
    assert summary.valid, summary.reasons
    assert summary.errors == {}
    assert done is not None
    assert done["said"] == summary.figures["messages.sent"] == 20
    # The server goes on to the next receiver when the one before has acknowledged.
    assert done["acknowledged"] == done["deliveries"] == summary.figures["answers.sent"] == 200
    assert summary.figures["integrity.expected"] == summary.figures["messages.received"] == 200
    assert summary.figures["integrity.lost"] == summary.figures["messages.unsolicited"] == 0


IDS = st.from_regex(r"[0-9a-f]{1,8}", fullmatch=True)


# Half of a surrogate pair is no text that could be sent.
TEXTS = st.text(st.characters(exclude_characters="{}", exclude_categories=["Cs"]), min_size=1)


@given(IDS, st.binary(), TEXTS)
def test_an_acknowledgement_has_in_it_what_the_message_has(
    number: str, after: bytes, around: str
) -> None:
    answer = f"{around.strip() or '-'}{{saved.id}}"
    if " => " in f" {answer} ":
        return
    (read,) = parse_answers([rf'regex:"id":"(?P<id>\w+)" => {answer}']).acknowledgements
    assert read.of(f'{{"id":"{number}",'.encode() + after) == (
        answer.replace("{saved.id}", number).encode()
    )
    assert read.of(b'{"id":7}') is None


@pytest.mark.parametrize(
    ("answers", "complaint"),
    [
        (("2",), "'2' is not an answer; write MESSAGE => ANSWER"),
        ((" => 3",), "is not an answer"),
        (("2 => ",), "is not an answer"),
        (("2 => 3", "2 => 4"), "'2' already has another answer"),
        (("regex:(2 => 3",), r"'regex:\(2': missing \), unterminated subpattern"),
        (
            (r"regex:(?P<id>\d) => {saved.number}",),
            r"refers to \{saved.number\}, but its pattern keeps: id",
        ),
        (("regex:2 => {saved.id}",), r"refers to \{saved.id\}, but its pattern keeps: nothing"),
    ],
)
async def test_answers_that_cannot_be_are_refused(
    run: Run, answers: tuple[str, ...], complaint: str
) -> None:
    with pytest.raises(UsageError, match=f"--answer: .*{complaint}"):
        await run("ws://127.0.0.1:9/", "hold", answers=answers)
