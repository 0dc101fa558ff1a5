"""What we rely on of Locust that it does not document, each by its name.

Where a new version of Locust breaks one, the test of that name says so, before a load does. All are
checked in one process of their own, as Locust changes the one that imports it.
"""

# ruff: noqa: PLC0415 - pytest's own process must not import Locust

import inspect
import json
import subprocess
import sys
import traceback
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loadtests.run.target import free_port
from tests.servers.launch import ROOT

ASSUMPTIONS: dict[str, Callable[[], None]] = {}
RUN = "import locust; from tests.loadtests.locust import test_contract; test_contract.check_all()"
DEADLINE_SECONDS = 120.0


def assumed(check: Callable[[], None]) -> Callable[[], None]:
    ASSUMPTIONS[check.__name__] = check
    return check


def check_all() -> None:
    broken = {}
    for name, check in ASSUMPTIONS.items():
        try:
            check()
        except Exception:  # noqa: BLE001 - it is what is reported
            broken[name] = traceback.format_exc()
    print(json.dumps(broken))


@pytest.fixture(scope="module")
def broken() -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


# Requests: loadtests/locust/request_events.py, loadtests/locust/caught_response.py.


@assumed
def its_own_request_listener_is_a_function_of_its_runners_module() -> None:
    environment, _ = local()
    handlers = environment.events.request._handlers
    assert [it.__module__ for it in handlers] == ["locust.runners"]


@assumed
def its_own_request_listener_counts_an_event_as_one_request() -> None:
    environment, _ = local()
    environment.events.request.fire(
        request_type="WS", name="a", response_time=None, response_length=3, exception=KeyError("x")
    )
    entry = environment.stats.entries["a", "WS"]
    assert (entry.num_requests, entry.num_none_requests, entry.num_failures) == (1, 1, 1)


@assumed
def an_event_lets_through_what_ends_a_user_or_a_test_and_logs_the_rest() -> None:
    from loadtests.locust.caught_response import _ENDS

    for kind in _ENDS:
        assert raised_by(kind) is kind
    assert raised_by(LookupError) is None


def raised_by(kind: type[Exception]) -> type[BaseException] | None:
    from locust.event import EventHook

    hook = EventHook()

    @hook.add_listener
    def fail() -> None:
        raise kind

    try:
        hook.fire()
    except Exception as error:  # noqa: BLE001 - it is what is asked for
        return type(error)
    return None


@assumed
def a_failure_by_hand_is_named_by_its_words() -> None:
    from locust.exception import CatchResponseError
    from locust.stats import StatsError

    assert StatsError("WS", "a", CatchResponseError("sold out")).to_name() == "WS a: sold out"


# Statistics: loadtests/locust/stats.py, ending.py, wiring.py.


@assumed
def entries_are_made_when_asked_for_and_extended_by_others() -> None:
    from locust.stats import RequestStats

    from loadtests.locust.stats import Row, enter

    stats = RequestStats()
    row = Row("a", {0.5: 2, 7.25: 1}, 8.25, 0.5, 7.25, {"lost": 2}, 30)
    for _ in range(2):
        enter(stats, row)
    for entry in (stats.entries["a", "WS"], stats.total):
        assert (entry.num_requests, entry.num_failures, entry.num_none_requests) == (10, 4, 4)
        assert (entry.min_response_time, entry.max_response_time) == (0.5, 7.25)
        assert entry.response_times == {0.5: 4, 7.25: 2}
        assert (entry.total_response_time, entry.total_content_length) == (16.5, 60)
        assert sum(entry.num_reqs_per_sec.values()) == 10
        assert sum(entry.num_fail_per_sec.values()) == 4
        assert entry.avg_response_time == 16.5 / 6
        assert entry.get_response_time_percentile(0.5) == 0.5
    (error,) = stats.errors.values()
    assert (error.name, error.error, error.occurrences) == ("a", "lost", 4)


@assumed
def an_error_is_known_by_method_name_and_cause() -> None:
    from locust.stats import RequestStats, StatsError

    stats = RequestStats()
    stats.log_error("WS", "a", "lost")
    assert list(stats.errors) == [StatsError.create_key("WS", "a", "lost")]


@assumed
def response_times_are_rounded_by_what_its_module_names_at_that_time() -> None:
    from locust import stats

    known = stats.bucket_response_time
    stats.bucket_response_time = lambda time_ms: time_ms
    try:
        entries = stats.RequestStats()
        entries.log_request("WS", "a", 0.125, 0)
    finally:
        stats.bucket_response_time = known
    assert dict(entries.total.response_times) == {0.125: 1}


@assumed
def csv_files_are_written_every_csv_stats_interval_and_closed_after_quitting() -> None:
    from locust.stats import StatsCSVFileWriter

    assert "gevent.sleep(CSV_STATS_INTERVAL_SEC)" in inspect.getsource(
        StatsCSVFileWriter.stats_writer
    )
    stand_in_order(main_source(), "events.quitting.fire(", "stats_csv_writer.close_files()")


# The end of a run: loadtests/locust/master.py.


@assumed
def the_exit_status_is_read_after_quitting_and_quit_comes_after_all_that_is_printed() -> None:
    stand_in_order(
        main_source(),
        "events.quitting.fire(",
        "environment.process_exit_code is not None",
        "stats.print_stats_json(",
        "stats.print_stats(",
        "events.quit.fire(",
    )


@assumed
def ctrl_c_ends_its_main_greenlet() -> None:
    stand_in_order(main_source(), "main_greenlet.join()", "except KeyboardInterrupt", "shutdown()")


@assumed
def users_are_stopped_between_test_stopping_and_test_stop() -> None:
    environment, runner = local(quiet_class())
    fired: list[tuple[str, int]] = []
    for name in ("test_start", "test_stopping", "test_stop"):
        event = getattr(environment.events, name)
        event.add_listener(lambda name=name, **_: fired.append((name, runner.user_count)))
    runner.start(2, spawn_rate=100)
    runner.spawning_greenlet.join()
    runner.stop()
    assert fired == [("test_start", 0), ("test_stopping", 2), ("test_stop", 0)]


@assumed
def every_event_that_we_listen_to_is_fired() -> None:
    import locust.main
    from locust import runners

    source = inspect.getsource(runners) + inspect.getsource(locust.main)
    for name in ("init", "test_start", "test_stopping", "quitting", "quit", "heartbeat_received"):
        assert f"events.{name}.fire(" in source, name


# Users: loadtests/locust/user_slots.py, worker_agent.py; loadtests/locust/websocket_user.py.


@assumed
def places_are_started_counted_found_and_stopped_as_users_are() -> None:
    for stop_timeout in (0, 30):
        places_can_be_stopped(stop_timeout)


def places_can_be_stopped(stop_timeout: float) -> None:
    from loadtests.locust.user_slots import SwarmUser

    class WorkerAgent:
        slots: dict[SwarmUser, None] = {}  # noqa: RUF012 - of this class alone

        def add(self, slot: SwarmUser) -> None:
            self.slots[slot] = None

        def remove(self, slot: SwarmUser) -> None:
            del self.slots[slot]
            slot.leave()

    class Listener(SwarmUser):
        agent = WorkerAgent()  # type: ignore[assignment]

    _, runner = local(Listener, stop_timeout=stop_timeout)
    for users in (3, 5, 2):
        runner.start(users, spawn_rate=100)
        runner.spawning_greenlet.join()
        assert runner.user_count == len(WorkerAgent.slots) == users
        assert runner.user_classes_count == {"Listener": users}
        assert runner.target_user_count == users
    assert runner.target_user_classes_count == {"Listener": 2}
    runner.stop()
    assert runner.user_count == len(WorkerAgent.slots) == 0


@assumed
def starting_a_user_gives_its_greenlet() -> None:
    import gevent

    _, runner = local(quiet_class())
    (user,) = runner.spawn_users({"Quiet": 1})
    assert isinstance(user._greenlet, gevent.Greenlet)
    assert inspect.getsource(type(user).__mro__[1].start).rstrip().endswith("return self._greenlet")
    assert user.context() == {}
    runner.stop()


@assumed
def a_runner_is_spawning_until_all_users_are_there_and_running_then() -> None:
    from locust.runners import STATE_RUNNING, STATE_SPAWNING

    states = []

    class Watched(quiet_class()):  # type: ignore[misc]
        def __init__(self, environment: Any) -> None:
            super().__init__(environment)
            states.append(environment.runner.state)

    _, runner = local(Watched)
    runner.start(2, spawn_rate=100)
    runner.spawning_greenlet.join()
    assert states == [STATE_SPAWNING] * 2
    assert runner.state == STATE_RUNNING
    runner.stop()


@assumed
def a_shape_knows_its_runner_and_may_use_common_options() -> None:
    from locust import LoadTestShape

    class Shape(LoadTestShape):
        use_common_options = True

        def tick(self) -> None:
            return None

    shape = Shape()
    _, runner = local(shape_class=shape)
    assert shape.runner is runner
    assert shape.get_run_time() >= 0
    assert LoadTestShape.use_common_options is False


# Messages: loadtests/locust/master.py, worker.py.


@assumed
def a_local_runner_hears_its_own_messages() -> None:
    _, runner = local()
    heard = []
    runner.register_message("ours", lambda msg, **_: heard.append((msg.node_id, msg.data)))
    runner.send_message("ours", {"a": 1}, "local")
    assert heard == [("local", {"a": 1})]


@assumed
def a_master_knows_its_workers_by_id_and_state() -> None:
    from locust.env import Environment
    from locust.runners import STATE_MISSING, MasterRunner, WorkerNode

    runner = Environment().create_master_runner("127.0.0.1", free_port())
    assert list(runner.clients.all) == []
    node = WorkerNode("a")
    runner.clients[node.id] = node
    assert [(it.id, it.state != STATE_MISSING) for it in runner.clients.all] == [("a", True)]
    assert list(inspect.signature(MasterRunner.send_message).parameters)[1:] == [
        *("msg_type", "data", "client_id"),
    ]
    runner.greenlet.kill(block=True)


@assumed
def a_message_is_heard_in_the_greenlet_that_reads_them_unless_it_is_concurrent() -> None:
    from locust.runners import Runner

    parameter = inspect.signature(Runner.register_message).parameters["concurrent"]
    assert parameter.default is False


@assumed
def workers_report_their_users_every_worker_report_interval() -> None:
    from locust.runners import WorkerRunner

    source = inspect.getsource(WorkerRunner)
    assert "gevent.sleep(WORKER_REPORT_INTERVAL)" in source
    assert "events.heartbeat_received.fire(" in source


@assumed
def a_worker_asks_for_the_default_arguments_and_they_do_not_change() -> None:
    from locust import argument_parser, runners

    assert "default_args_dict()" in inspect.getsource(runners.WorkerRunner)
    assert not inspect.signature(argument_parser.default_args_dict).parameters
    assert argument_parser.default_args_dict() == argument_parser.default_args_dict()


@assumed
def heartbeats_are_missed_by_what_its_module_names_at_that_time() -> None:
    """Of our tests: tests/loadtests/locust/enduring.py."""
    from locust import runners

    assert "HEARTBEAT_LIVENESS" in inspect.getsource(runners.MasterRunner)
    assert "MASTER_HEARTBEAT_TIMEOUT" in inspect.getsource(runners.WorkerRunner)


@assumed
def an_exception_of_ours_is_listed_with_those_of_users() -> None:
    _, runner = local()
    runner.log_exception("swarmgate", "no such thing", "no such thing")
    (entry,) = runner.exceptions.values()
    assert (entry["msg"], entry["count"]) == ("no such thing", 1)


# Options and the environment: loadtests/locust/arguments.py, master.py, wiring.py.


@assumed
def an_environment_knows_what_was_asked_for_and_takes_an_exit_status() -> None:
    kind = quiet_class()
    environment, runner = local(kind, host="ws://x", available_user_classes={"Quiet": kind})
    assert (environment.host, environment.runner) == ("ws://x", runner)
    assert environment.user_classes == [kind]
    assert environment.available_user_classes == environment.user_classes_by_name == {"Quiet": kind}
    assert environment.parsed_options is environment.parsed_locustfiles is None
    assert environment.process_exit_code is None


@assumed
def the_options_that_we_read_have_these_names() -> None:
    options = parsed()
    for name in (
        *("headless", "json", "csv_prefix", "num_users", "spawn_rate", "run_time", "stop_timeout"),
        "web_base_path",
    ):
        assert hasattr(options, name), name


@assumed
def an_argument_may_have_a_variable_and_be_kept_from_the_web_ui() -> None:
    from locust.argument_parser import get_empty_argument_parser

    parser = get_empty_argument_parser()
    parser.add_argument(
        "--ours", default="", env_var="OURS", include_in_web_ui=False, choices=["", "a"]
    )
    assert parser.parse_args(["--ours", "a"]).ours == "a"


# The web UI: loadtests/locust/web.py.


@assumed
def the_web_ui_has_the_places_that_we_extend() -> None:
    import locust

    web_ui = web()
    for name in ("template_args", "app", "auth_required_if_enabled"):
        assert hasattr(web_ui, name), name
    web_ui.template_args["extended_tabs"] = [{"title": "ours", "key": "ours"}]
    page = web_ui.app.test_client().get("/").get_data(as_text=True)
    assert '"extended_tabs": [{"key": "ours", "title": "ours"}]' in page
    assets = Path(locust.__file__).parent / "webui/dist/assets"
    script = "".join(it.read_text() for it in assets.glob("*.js"))
    for name in ("extendedTabs", "extendedTables", "extendedCsvFiles", "extendedStats"):
        assert name in script, name


@assumed
def its_statistics_are_json_with_a_row_for_each_name_and_method() -> None:
    web_ui = web()
    web_ui.environment.stats.log_request("WS", "a", 0.4, 3)
    client = web_ui.app.test_client()
    answer = client.get("/stats/requests").get_json()
    rows = {(row["method"], row["name"]): row for row in answer["stats"]}
    assert set(rows) == {("WS", "a"), ("", "Aggregated")}
    assert {"num_requests", "num_failures", "min_response_time"} <= set(rows["WS", "a"])
    # We put times there that it would round.
    assert rows["WS", "a"]["min_response_time"] == 0


@assumed
def a_start_is_a_form_posted_to_swarm_that_names_its_user_classes() -> None:
    from locust import web as module

    source = inspect.getsource(module)
    assert '"/swarm", methods=["POST"]' in source
    assert 'request.form.getlist("user_classes")' in source
    assert web().app.json.response({"success": False}).get_json() == {"success": False}


def local(*kinds: type[Any], **more: Any) -> tuple[Any, Any]:
    """Make an environment and a local runner of it."""
    from locust.env import Environment

    environment = Environment(user_classes=list(kinds), **more)
    return environment, environment.create_local_runner()


def quiet_class() -> type[Any]:
    from locust import User, constant, task

    class Quiet(User):
        wait_time = constant(1)

        @task
        def rest(self) -> None:
            pass

    return Quiet


def parsed() -> Namespace:
    from locust.argument_parser import get_parser

    options: Namespace = get_parser(default_config_files=[]).parse_args([])
    return options


def web() -> Any:
    environment, _ = local(quiet_class())
    environment.parsed_options = parsed()
    return environment.create_web_ui("127.0.0.1", free_port(), delayed_start=True)


def main_source() -> str:
    import locust.main

    return inspect.getsource(locust.main.main)


def stand_in_order(source: str, *texts: str) -> None:
    at = 0
    for text in texts:
        found = source.find(text, at)
        assert found >= 0, f"{text!r} does not come there"
        at = found


@pytest.mark.parametrize("name", ASSUMPTIONS)
def test_locust_is_as_we_assume_that(name: str, broken: dict[str, str]) -> None:
    assert broken.get(name, "") == ""
