"""A plan refuses invalid values, and is shared out without losing a connection."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.errors import UsageError
from loadtests.plan.plan import Endpoint, Plan, port_of, processes_of, split_url
from loadtests.scenarios.registry import parse_parameters, scenario_kind


def plan(**changes: Any) -> Plan:
    values = {"url": "ws://127.0.0.1:8000/ws", "connections": 10, "scenario": "hold"}
    return Plan(**(values | {"parameters": {}} | changes))


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("http://localhost/ws", "scheme 'http'"),
        ("localhost:8000/ws", "scheme 'localhost'"),
        ("ws:///ws", "has no host"),
        ("ws://host:port/ws", "not a WebSocket address"),
        ("ws://host:99999/ws", "not a WebSocket address"),
        ("ws://host:0/ws", "port 0"),
        ("ws://host/ws#part", "fragment"),
        ("", "scheme ''"),
    ],
)
def test_what_is_no_websocket_address_is_refused_with_an_example(url: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint) as error:
        split_url(url)
    assert "ws://127.0.0.1:8000/ws" in str(error.value)


def test_the_port_is_that_of_the_scheme_when_none_is_named() -> None:
    assert port_of("ws://host/") == 80
    assert port_of("wss://host/") == 443
    assert port_of("wss://[::1]:9/") == 9


@pytest.mark.parametrize(
    "change",
    [
        {"connections": 0},
        {"concurrent": 0},
        {"processes": 0},
        {"processes": 11},
        {"steps": 0},
        {"rate": 0.0},
        {"rate": -1.0},
        {"duration_seconds": 0.0},
        {"ramp_seconds": -1.0},
        {"handshake_timeout_seconds": 0.0},
        {"payload_bytes": 0},
    ],
)
def test_a_number_out_of_range_is_refused_by_name_and_value(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as error:
        plan(**change)
    assert str(next(iter(change.values()))) in str(error.value)


@given(st.integers(1, 500), st.integers(1, 40))
def test_stages_rise_to_all_connections(connections: int, steps: int) -> None:
    stages = plan(connections=connections, steps=steps).stages()
    assert list(stages) == sorted(set(stages))
    assert stages[-1] == connections
    assert stages[0] >= 1


@given(st.integers(1, 500), st.integers(1, 20), st.integers(1, 7))
def test_processes_share_connections_without_gap_or_overlap(
    connections: int, processes: int, steps: int
) -> None:
    processes = min(processes, connections)
    whole = plan(connections=connections, processes=processes, steps=steps)
    shares = processes_of(whole, Endpoint("127.0.0.1", 1), (), 0)
    assert [part.process_of_run for part in shares] == list(range(processes))
    for stage in whole.stages():
        assert sum(part.reached(stage, connections) for part in shares) == stage
    for part in shares:
        assert part.reached(whole.stages()[-1], connections) == part.connections
        assert part.concurrent >= 1


def test_an_unknown_scenario_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="'tornado'; there are broadcast, chat, churn"):
        scenario_kind("tornado")


def test_an_unknown_parameter_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="no parameter 'activ'; it takes: wrap, find, active, ack"):
        parse_parameters("echo", {"activ": "3"})


def test_a_parameter_of_the_wrong_type_is_refused_with_its_value() -> None:
    with pytest.raises(UsageError, match="parameter active of scenario 'echo' is 'many'"):
        parse_parameters("echo", {"active": "many"})


def test_parameters_are_brought_to_their_types() -> None:
    given = {"share": "0.5", "first": "250ms"}
    assert parse_parameters("storm", given).model_dump(include=set(given)) == {
        "share": 0.5,
        "first": 0.25,
    }
