"""A Locust user that speaks WebSocket counts and times what it does, and names what fails."""

import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import pytest
import trustme

from tests.servers.launch import ROOT, Launched, launch

DEADLINE_SECONDS = 120.0
HEAD = """
import re, ssl

from time import perf_counter

import gevent
from locust import constant, task
from locust.exception import ResponseError, StopUser

from loadtests.clients.backoff import Backoff, BackoffKind
from loadtests.errors import UsageError
from loadtests.locust.websocket_user import *

NOTES = []


class Tester(WebSocketUser):
    connect_seconds = 30.0
    close_seconds = 30.0
"""


@dataclass(frozen=True, slots=True)
class Output:
    """What the driver printed."""

    rows: Mapping[str, Mapping[str, Any]]
    causes: Mapping[str, Mapping[str, int]]
    notes: list[Any]

    def requests(self) -> dict[str, int]:
        return {name: row["requests"] for name, row in self.rows.items()}

    def failures(self) -> dict[str, int]:
        return {name: row["failures"] for name, row in self.rows.items() if row["failures"]}


Play = Callable[..., Output]


@pytest.fixture(scope="module")
def server() -> Iterator[Launched]:
    with launch("tests.servers.obedient", "0") as launched:
        yield launched


@pytest.fixture
def play(tmp_path: Path, server: Launched) -> Play:
    """Run users of a class whose body is given, each until it stops itself."""

    def run(body: str, host: str = "", users: int = 1) -> Output:
        path = tmp_path / "locustfile.py"
        path.write_text(HEAD + indent(dedent(body), "    "))
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tests.loadtests.locust_driver"),
                *(str(path), host or server.url(""), str(users)),
            ],
            cwd=ROOT,
            capture_output=True,
            encoding="utf-8",
            timeout=DEADLINE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return Output(**json.loads(done.stdout.splitlines()[-1]))

    return run


def locust(path: Path, *flags: str) -> "subprocess.CompletedProcess[str]":
    """Run Locust itself."""
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "locust",
            "-f",
            str(path),
            "--headless",
            "-u",
            "3",
            "-r",
            "3",
            *flags,
        ],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def test_a_run_of_locust_counts_every_exchange_and_ends_with_closing_handshakes(
    tmp_path: Path,
) -> None:
    path = tmp_path / "locustfile.py"
    path.write_text(
        HEAD
        + indent(
            dedent("""
            wait_time = constant(0.01)

            def on_start(self):
                self.connect("/echo", name="open")

            @task
            def talk(self):
                assert self.ask("hello", "hello", 30, name="hello") == "hello"
                stats = self.environment.stats
                opened = stats.get("open", "WS").num_requests
                if not NOTES and opened == 3 and stats.get("hello", "WS").num_requests >= 20:
                    NOTES.append("enough")
                    gevent.spawn(self.environment.runner.quit)
            """),
            "    ",
        )
    )
    with launch("tests.servers.obedient", "0") as own:
        done = locust(path, "--json", "--host", own.url("/ignored"))
        assert done.returncode == 0, done.stderr
        assert own.stop() == {"echo 1000": 3}
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert set(rows) == {"open", "hello"}
    assert rows["open"]["num_requests"] == 3
    assert rows["hello"]["num_requests"] >= 20
    assert rows["hello"]["num_failures"] == 0
    assert rows["hello"]["method"] == "WS"


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("http://127.0.0.1:1/x", "write ws://127.0.0.1:1/x"),
        ("https://127.0.0.1:1", "write wss://127.0.0.1:1"),
        ("", "no host: write host = 'ws://…'"),
    ],
)
def test_a_host_that_is_no_websocket_address_ends_the_run_with_one_line(
    tmp_path: Path, host: str, words: str
) -> None:
    path = tmp_path / "locustfile.py"
    path.write_text(HEAD + "    @task\n    def nothing(self): pass\n")
    done = locust(path, *(("--host", host) if host else ()))
    lines = [line for line in done.stderr.splitlines() if "host" in line]
    assert len(lines) == 1
    assert words in lines[0]
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_each_operation_is_a_request_with_the_bytes_of_its_payload(play: Play) -> None:
    output = play(
        """
        def on_start(self):
            self.connect()

        @task
        def once(self):
            self.send("one")
            NOTES.append(self.receive(30))
            self.send(b"two\\xff", name="binary")
            NOTES.append(list(self.expect(b"two", 30)))
            NOTES.append(self.ask("drei é", re.compile("dr.i"), 30))
            NOTES.append(self.ask("x", lambda message: message == "x", 30, name="function"))
            NOTES.append([self.is_open, self.close_code])
            self.close()
            NOTES.append([self.is_open, self.close_code, self.close_reason])
            raise StopUser
        """
    )
    assert output.notes == ["one", list(b"two\xff"), "drei é", "x", [True, None], [False, 1000, ""]]
    assert output.failures() == {}
    assert {name: row["bytes"] for name, row in output.rows.items()} == {
        "connect": 0,
        "send": 3,
        "receive": 3,
        "binary": 4,
        "expect": 4,
        "ask": 7,
        "function": 1,
        "close": 0,
    }
    assert output.rows["ask"]["shortest"] > 0
    assert output.rows["ask"]["longest"] != round(output.rows["ask"]["longest"])


def test_a_listener_of_requests_is_given_what_locust_documents(
    play: Play, server: Launched
) -> None:
    output = play(
        """
        def on_start(self):
            def listen(
                request_type, name, response_time, response_length, response, context, exception,
                start_time, url, **_,
            ):
                NOTES.append([name, response, url])
            self.environment.events.request.add_listener(listen)
            self.connect("/echo")

        @task
        def once(self):
            self.ask("a", "a", 30)
            raise StopUser
        """
    )
    assert output.notes == [[name, None, server.url("/echo")] for name in ("connect", "ask")]


def test_messages_that_nobody_waits_for_are_pushes(play: Play) -> None:
    output = play(
        """
        def on_start(self):
            self.subscribe(NOTES.append, re.compile("tick [01]"), name="tick")
            self.connect("/push/3")

        @task
        def once(self):
            assert self.ask("hello", "hello", 30) == "hello"
            self.send("again")
            assert self.receive(30) == "tick 2"
            assert self.expect("again", 30) == "again"
            raise StopUser
        """
    )
    assert output.notes == ["tick 0", "tick 1"] * 2
    assert output.requests() == {
        "connect": 1,
        "tick": 4,
        "push": 1,
        "ask": 1,
        "send": 1,
        "receive": 1,
        "expect": 1,
    }
    assert output.failures() == {}


def test_what_a_handler_raises_stops_neither_the_user_nor_the_others(play: Play) -> None:
    output = play(
        """
        def on_start(self):
            self.environment.events.user_error.add_listener(
                lambda exception, **_: NOTES.append(type(exception).__name__)
            )
            self.subscribe(lambda message: 1 / 0, "tick")
            self.connect("/push/2")

        @task
        def once(self):
            assert self.ask("hello", "hello", 30) == "hello"
            raise StopUser
        """
    )
    assert output.notes == ["ZeroDivisionError"] * 2
    assert output.requests() == {"connect": 1, "push": 2, "ask": 1}


@pytest.mark.parametrize("deflate", [False, True])
def test_fragments_and_long_messages_come_whole(play: Play, *, deflate: bool) -> None:
    output = play(
        f"""
        deflate = {deflate}

        def on_start(self):
            self.connect("/fragments")

        @task
        def once(self):
            assert self.ask("né" * 3, within=30) == "né" * 3
            long = bytes(range(256)) * 4_000
            assert self.ask(long, within=30) == long
            raise StopUser
        """
    )
    assert output.requests() == {"connect": 1, "ask": 2}
    assert output.rows["ask"]["bytes"] == 9 + 256 * 4_000


def test_an_answer_that_does_not_come_is_a_failure_and_the_connection_stays(play: Play) -> None:
    output = play(
        """
        def on_start(self):
            self.connect("/silent")

        @task
        def once(self):
            for wait in (
                lambda: self.ask("a", "a", 0.01),
                lambda: self.receive(0.01),
                lambda: self.expect("a", 0.01),
            ):
                try:
                    wait()
                except ReplyTimeoutError as error:
                    NOTES.append([str(error), self.is_open])
            raise StopUser
        """
    )
    assert output.notes == [["timeout", True]] * 3
    assert output.causes == {name: {"timeout": 1} for name in ("ask", "receive", "expect")}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ('assert response.message == "order"', ""),
        ('response.failure("sold out")', "CatchResponseError('sold out')"),
        ('response.failure(KeyError("item"))', "KeyError('item')"),
        ('response.failure("no"); response.success()', ""),
        ('raise LookupError("item")', "LookupError('item')"),
        ('response.success(); raise LookupError("item")', ""),
        ('raise ResponseError("sold out")', "ResponseError('sold out')"),
        ("raise StopUser", ""),
    ],
)
def test_a_response_is_judged_by_hand_and_counted_once(play: Play, body: str, named: str) -> None:
    output = play(
        f"""
        def on_start(self):
            self.environment.events.request.add_listener(
                lambda name, exception, **_: NOTES.append(
                    [name, repr(exception) if exception else ""]
                )
            )
            self.connect("/echo")

        @task
        def once(self):
            try:
                with self.ask("order", "order", 30, name="order", catch_response=True) as response:
                    NOTES.append("within")
                    {body}
            except LookupError:
                NOTES.append("raised")
            raise StopUser
        """
    )
    raised = ["raised"] if "raise LookupError" in body else []
    assert output.notes == [["connect", ""], "within", ["order", named], *raised]
    assert output.requests() == {"connect": 1, "order": 1}
    assert output.failures() == ({"order": 1} if named else {})
    assert output.rows["order"]["bytes"] == len("order")


def test_a_response_that_does_not_come_is_judged_by_hand_too(play: Play) -> None:
    output = play(
        """
        def on_start(self):
            self.connect("/silent")

        @task
        def once(self):
            with self.ask("a", within=0.01, name="left alone", catch_response=True) as response:
                NOTES.append(str(response.error))
            with self.receive(0.01, name="is right", catch_response=True) as response:
                response.success()
            try:
                with self.expect("a", 0.01, name="is read", catch_response=True) as response:
                    response.failure(f"not {response.message}")
            except ReplyTimeoutError as error:
                NOTES.append(str(error))
            self.close()
            with self.ask("a", name="not open", catch_response=True) as response:
                NOTES.append(str(response.error))
            raise StopUser
        """
    )
    assert output.notes == ["timeout", "timeout", "closed:1000"]
    assert output.causes == {
        "left alone": {"timeout": 1},
        "is read": {"timeout": 1},
        "not open": {"closed:1000": 1},
    }
    assert output.requests() == {
        "connect": 1,
        "left alone": 1,
        "is right": 1,
        "is read": 1,
        "close": 1,
        "not open": 1,
    }


def test_the_time_of_a_response_ends_when_it_came_and_it_is_judged_within_its_block(
    play: Play,
) -> None:
    output = play(
        """
        def on_start(self):
            self.connect("/echo")

        @task
        def once(self):
            begun = perf_counter()
            response = self.ask("a", "a", 30, name="asked", catch_response=True)
            came = perf_counter()
            with response:
                while perf_counter() < came + 2 * (came - begun):
                    gevent.sleep(0.001)
            for wrong in (response.success, lambda: response.failure("late"), response.__enter__):
                try:
                    wrong()
                except UsageError as error:
                    NOTES.append(str(error).partition(":")[0].partition(" must ")[0])
            NOTES.append((came - begun) * 1e3)
            raise StopUser
        """
    )
    *refused, most_ms = output.notes
    assert refused == ["success() and failure()"] * 2 + ["a response is counted only once"]
    assert output.rows["asked"]["longest"] <= most_ms
    assert output.requests() == {"connect": 1, "asked": 1}


def test_a_server_that_takes_nothing_and_does_not_answer_a_close_is_not_waited_for(
    play: Play,
) -> None:
    output = play(
        """
        send_seconds = 0.2
        close_seconds = 0.2

        def on_start(self):
            self.connect("/deaf")

        @task
        def once(self):
            try:
                while True:
                    self.send(bytes(1_000_000))
            except ReplyTimeoutError:
                NOTES.append(self.is_open)
            try:
                self.close()
            except ReplyTimeoutError:
                NOTES.append(self.is_open)
            raise StopUser
        """
    )
    assert output.notes == [True, False]
    assert output.causes == {"send": {"timeout": 1}, "close": {"timeout": 1}}


@pytest.mark.parametrize(
    ("path", "cause"),
    [
        ("/end/4001", "closed:4001"),
        ("/drop", "closed:1006"),
        ("/latin", "closed:1007"),
    ],
)
def test_an_end_by_the_server_fails_what_waits_and_is_reported_once(
    play: Play, path: str, cause: str
) -> None:
    output = play(
        f"""
        def on_start(self):
            self.connect("{path}")

        @task
        def once(self):
            for _ in range(2):
                try:
                    self.ask("a", "a", 30)
                except ConnectionEndedError as error:
                    NOTES.append(str(error))
            NOTES.append([self.close_code, self.close_reason])
            raise StopUser
        """
    )
    code = int(cause.removeprefix("closed:"))
    assert output.notes == [cause, cause, [code, "told to" if code == 4001 else ""]]
    assert output.causes == {"ask": {cause: 2}, "connection": {cause: 1}}


def test_a_connection_that_does_not_open_is_named_by_phase_and_cause(
    play: Play, server: Launched
) -> None:
    body = """
        def on_start(self):
            self.try_to("/refuse")
            self.host = "wss://127.0.0.1:" + self.host.rpartition(":")[2]
            self.try_to("/not-tls")
            self.host = "ws://127.0.0.1:%d"
            self.try_to("/nobody")
            self.host = "ws://127.0.0.1:%d"
            self.connect_seconds = 1.0
            self.try_to("/stall")

        def try_to(self, path):
            try:
                self.connect(path, name=path)
            except ConnectError as error:
                NOTES.append(str(error))

        @task
        def once(self):
            raise StopUser
        """
    with socket.socket() as bound:
        # It does not listen, and nobody else can meanwhile.
        bound.bind(("127.0.0.1", 0))
        output = play(body % (bound.getsockname()[1], server.port))
    causes = ["upgrade:http-403", "tls:not-tls", "connect:refused", "upgrade:timeout"]
    assert output.notes == causes
    names = ["/refuse", "/not-tls", "/nobody", "/stall"]
    assert output.causes == {name: {cause: 1} for name, cause in zip(names, causes, strict=True)}


def test_a_connection_that_the_server_ended_is_opened_again(play: Play) -> None:
    output = play(
        """
        reconnect = Backoff(BackoffKind.FIXED, 0.01, 0.01, jitter=False)

        def on_start(self):
            self.connect("/end-once/1012")

        def on_reconnect(self):
            NOTES.append(self.ask("hello again", "hello", 30, name="login"))

        @task
        def once(self):
            try:
                self.ask("a", "a", 30)
            except ConnectionEndedError as error:
                NOTES.append(str(error))
            NOTES.append(self.ask("b", "b", 30))
            raise StopUser
        """
    )
    assert output.notes == ["closed:1012", "hello again", "b"]
    assert output.requests() == {
        "connect": 1,
        "connection": 1,
        "reconnect": 1,
        "login": 1,
        "ask": 2,
    }
    assert output.failures() == {"ask": 1, "connection": 1}


def test_headers_and_subprotocols_are_offered(play: Play) -> None:
    output = play(
        """
        def on_start(self):
            self.connect("/agree", headers={"X-User": "ada"}, subprotocols=["chat", "other"])

        @task
        def once(self):
            NOTES.append([self.subprotocol, self.ask("who?", within=30)])
            raise StopUser
        """
    )
    assert output.notes == [["chat", "chat ada"]]


@pytest.mark.parametrize(
    "trust", ["tls = ssl.create_default_context(cafile={ca!r})", "insecure = True"]
)
def test_tls_is_spoken_with_a_host_of_wss(play: Play, tmp_path: Path, trust: str) -> None:
    authority = trustme.CA()
    ca, pem = tmp_path / "ca.pem", tmp_path / "server.pem"
    authority.cert_pem.write_to_path(str(ca))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(pem))
    assert ssl.create_default_context(cafile=str(ca))
    with launch("tests.servers.obedient", "0", "--certificate", str(pem)) as secure:
        output = play(
            f"""
            {trust.format(ca=str(ca))}

            def on_start(self):
                self.connect("/echo")

            @task
            def once(self):
                assert self.ask("hello", "hello", 30) == "hello"
                long = "x" * 1_000_000
                assert self.ask(long, "x", 30) == long
                raise StopUser
            """,
            host=f"wss://127.0.0.1:{secure.port}",
        )
        assert secure.stop() == {"echo 1000": 1}
    assert output.requests() == {"connect": 1, "ask": 2}
    assert output.failures() == {}


def test_a_certificate_that_is_not_trusted_is_a_failure_of_tls(play: Play, tmp_path: Path) -> None:
    pem = tmp_path / "server.pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(pem))
    with launch("tests.servers.obedient", "0", "--certificate", str(pem)) as secure:
        output = play(
            """
            def on_start(self):
                try:
                    self.connect()
                except ConnectError:
                    pass

            @task
            def once(self):
                raise StopUser
            """,
            host=f"wss://127.0.0.1:{secure.port}",
        )
    assert output.causes == {"connect": {"tls:bad-certificate": 1}}


@pytest.mark.parametrize("on_stop", ["super().on_stop()", "pass"])
def test_a_user_that_stops_says_goodbye_even_if_its_on_stop_forgets_to(
    play: Play, on_stop: str
) -> None:
    body = f"""
        def on_start(self):
            self.connect("/leave")

        def on_stop(self):
            {on_stop}

        @task
        def once(self):
            raise StopUser
    """
    with launch("tests.servers.obedient", "0") as own:
        play(body, host=own.url(""), users=3)
        assert own.stop() == {"leave 1000": 3}
