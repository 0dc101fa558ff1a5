"""A load that does not fit this machine is refused with the limit, its value, and what fits."""

import dataclasses

import pytest

from loadtests.errors import LimitError
from loadtests.plan.connect_options import ConnectOptions
from loadtests.plan.limits import (
    Limits,
    check_files,
    diagnose,
    processes_for,
    read_limits,
    sources_for,
)
from loadtests.plan.plan import Endpoint

LIMITS = Limits(
    files=1024,
    files_hard=20_000,
    files_machine=1_000_000,
    port_low=32_768,
    port_high=60_999,
    listen_backlog=4096,
    syn_backlog=2048,
    tcp_memory_bytes=10**9,
    memory_available_bytes=10**9,
)
LOOPBACK = Endpoint("127.0.0.1", 80)


def test_the_limits_of_this_machine_can_be_read() -> None:
    found = read_limits()
    assert all(value > 0 for value in dataclasses.astuple(found))
    assert found.files_hard >= found.files


@pytest.mark.parametrize(
    ("connections", "processes"), [(1, 1), (19_936, 1), (19_937, 2), (100_000, 6)]
)
def test_processes_are_as_few_as_their_files_allow(connections: int, processes: int) -> None:
    assert processes_for(connections, LIMITS) == processes
    check_files(connections, processes, LIMITS)


def test_too_few_files_name_limit_value_remedy_and_what_fits() -> None:
    with pytest.raises(LimitError) as error:
        check_files(30_000, 1, LIMITS)
    for part in ("30,064", "RLIMIT_NOFILE", "20,000", "--processes 2", "ulimit", "19,936"):
        assert part in str(error.value)


def test_one_address_has_ports_for_a_first_load() -> None:
    assert sources_for(26_000, LOOPBACK, LIMITS, ConnectOptions()) == ()


def test_past_the_ports_of_one_address_loopback_has_others() -> None:
    assert sources_for(60_000, LOOPBACK, LIMITS, ConnectOptions()) == (
        "127.0.0.1",
        "127.0.0.2",
        "127.0.0.3",
    )


@pytest.mark.parametrize("host", ["::1", "192.0.2.7"])
def test_elsewhere_too_few_ports_name_limit_remedy_and_what_fits(host: str) -> None:
    with pytest.raises(LimitError) as error:
        sources_for(30_000, Endpoint(host, 80), LIMITS, ConnectOptions())
    for part in ("30,000", "ip_local_port_range", "sysctl", f"{LIMITS.ports:,}"):
        assert part in str(error.value)


def test_the_doctor_names_a_remedy_for_every_limit() -> None:
    findings = diagnose(LIMITS)
    assert {"RLIMIT_NOFILE", "net.ipv4.ip_local_port_range", "net.core.somaxconn"} <= {
        finding.name for finding in findings
    }
    assert all(finding.remedy and finding.meaning and finding.value for finding in findings)
