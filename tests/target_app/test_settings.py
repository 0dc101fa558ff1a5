"""Settings: where they come from, and what is refused."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from target_app.settings import Settings, problems_in
from target_app.variables import is_service_link, misspelt

KUBERNETES = {
    # As Kubernetes 1.33 sets them for Services named target and target-db.
    "TARGET_SERVICE_HOST": "10.0.0.11",
    "TARGET_SERVICE_PORT": "8000",
    "TARGET_SERVICE_PORT_HTTP": "8000",
    "TARGET_PORT": "tcp://10.0.0.11:8000",
    "TARGET_PORT_8000_TCP": "tcp://10.0.0.11:8000",
    "TARGET_PORT_8000_TCP_PROTO": "tcp",
    "TARGET_PORT_8000_TCP_PORT": "8000",
    "TARGET_PORT_8000_TCP_ADDR": "10.0.0.11",
    "TARGET_DB_SERVICE_HOST": "10.0.0.12",
    "TARGET_DB_SERVICE_PORT": "5432",
    "TARGET_DB_PORT": "tcp://10.0.0.12:5432",
    "TARGET_DB_PORT_5432_TCP": "tcp://10.0.0.12:5432",
}


def test_settings_come_from_the_environment_and_are_fixed(monkeypatch):
    monkeypatch.setenv("TARGET_HEARTBEAT_SECONDS", "2.5")
    settings = Settings()
    assert settings.heartbeat_seconds == 2.5
    assert Settings(heartbeat_seconds=0).heartbeat_seconds == 0
    with pytest.raises(ValidationError):
        settings.heartbeat_seconds = 1.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"heartbeat_seconds": -1},
        {"heartbeat_seconds": math.nan},
        {"drain_announce_seconds": 0},
        {"drain_timeout_seconds": math.inf},
        {"port": 65536},
        {"host": ""},
        {"root_path": "chat"},
        {"root_path": "/chat/"},
        {"root_path": "/chät"},
        {"no_such_setting": 1},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        Settings(**wrong)


@pytest.mark.parametrize("name", ["token", "users", "allowed_origins", "run_dir"])
@pytest.mark.parametrize("empty", ["", " ", ",", " , "])
def test_what_is_set_to_nothing_opens_no_door(name, empty):
    with pytest.raises(ValidationError, match="it is empty"):
        Settings(**{name: empty})


def test_a_room_is_called_anything_but_nothing():
    for name in (" ", ","):
        assert Settings(upstream_room=name).upstream_room == name
    with pytest.raises(ValidationError):
        Settings(upstream_room="")


def test_a_token_that_no_client_can_send_is_refused_without_telling_it():
    with pytest.raises(ValidationError) as refused:
        Settings(token=" s3cret")  # noqa: S106 - the one of this test
    assert "begins or ends with a space" in problems_in(refused.value)
    assert "s3cret" not in problems_in(refused.value)


def test_a_password_in_a_wrong_address_is_not_told():
    with pytest.raises(ValidationError) as refused:
        Settings(redis_url="http://user:s3cret@redis/0")
    assert problems_in(refused.value).startswith("TARGET_REDIS_URL 'http://redis/0'")


WRITTEN_AND_SENT = [
    ("https://a.example/", "https://a.example"),
    ("https://A.example", "https://a.example"),
    ("HTTPS://a.example:443", "https://a.example"),
    ("http://a.example:080/path?query", "http://a.example"),
    ("https://a.example:8443/", "https://a.example:8443"),
    ("https://me:hidden@a.example", "https://a.example"),
    ("a.example", "https://a.example"),
    ("//a.example", "https://a.example"),
    ("localhost:8000", "https://localhost:8000"),
    ("http://[0:0::1]:80", "http://[::1]"),
    ("NULL", "null"),
]


@pytest.mark.parametrize(("written", "sent"), WRITTEN_AND_SENT)
def test_an_origin_that_no_browser_sends_is_refused_naming_the_one_it_does(written, sent):
    with pytest.raises(ValidationError) as refused:
        Settings(allowed_origins=f"https://good.example,{written}")
    assert problems_in(refused.value).endswith(f": Value error, browsers send {sent}")
    assert "hidden" not in problems_in(refused.value)
    assert Settings(allowed_origins=sent).allowed_origins == (sent,)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("*", "to allow all, do not set it"),
        ("https://*.example", "name each Origin"),
        ("https://", "it has to be scheme://host"),
        ("https://a.example:port", "it has to be scheme://host"),
        ("https://a.example:70000", "it has to be scheme://host"),
        ("https://[::1", "it has to be scheme://host"),
        ("https://a'b", "it has to be scheme://host"),
        ("https://" + 64 * "a", "it has to be scheme://host"),
        ("https://a.example:0", "no page comes from port 0"),
        ("https://xn--strae-oqa.de:0", "no page comes from port 0"),
        ("https://straße.de", "write its host as browsers send it (xn--…)"),
        ("https://Bücher.example:8443/path", "write its host as browsers send it (xn--…)"),
        ("bücher.example:443", "write its host as browsers send it (xn--…)"),
        ("https://" + 64 * "ü", "write its host as browsers send it (xn--…)"),
    ],
)
def test_what_is_no_origin_at_all_is_refused_saying_what_one_is(written, problem):
    with pytest.raises(ValidationError, match=re.escape(problem)) as refused:
        Settings(allowed_origins=written)
    assert "browsers send https" not in problems_in(refused.value)
    assert "\n" not in problems_in(refused.value)


def test_whatever_a_browser_may_send_is_an_origin():
    hosts = ("https://a_b.c-d", "https://xn--strae-oqa.de")
    sent = ("null", "file://", "http://localhost:8000", "chrome-extension://abc", *hosts)
    assert Settings(allowed_origins=sent).allowed_origins == sent


WRONG_ADDRESSES = [
    ("redis://:hidden@host:bad/0", "'redis://host:bad/0': Value error, its host or port"),
    ("redis://:hid/den@host:6379/0", "'redis://host:6379/0': Value error, its host or port"),
    ("redis://:6/hidden@host:6379/0", "'redis://host:6379/0': Value error, its database is not"),
    ("redis://:hidden@host:0/0", "'redis://host:0/0': Value error, its host or port"),
    ("redis://:hidden@[::1/0", "'redis://[::1/0': Value error, its host or port"),
    ("redis://:hidden@host/production", "'redis://host/production': Value error, its database"),
    ("redis://host/1/2?password=hidden", "'redis://host/1/2': Value error, its database"),
    ("rediss://host/-1", "'rediss://host/-1': Value error, its database is not a number"),
    ("redis://host?hidden=1", "'redis://host': Value error, an option after ? is unknown"),
    ("redis://host?db=hidden", "'redis://host': Value error, an option after ? is unknown"),
    ("unix://host", "'unix://host': Value error, it has no path"),
]


@pytest.mark.parametrize("name", ["bus", "redis_url"])
@pytest.mark.parametrize(("address", "problem"), WRONG_ADDRESSES)
def test_an_address_that_no_redis_can_have_is_refused_without_its_password(name, address, problem):
    with pytest.raises(ValidationError) as refused:
        Settings(**{name: address})
    assert problems_in(refused.value).startswith(f"TARGET_{name.upper()} {problem}")
    assert "hid" not in problems_in(refused.value)


@pytest.mark.parametrize(
    "address",
    [
        "redis://host",
        "redis:///",
        "redis://user:p%2Fw@host:6380/15?socket_timeout=1.5",
        "rediss://[::1]:6379/0",
        "unix:///run/redis.sock?db=3",
    ],
)
def test_an_address_of_redis_is_kept_as_it_is(address):
    assert (settings := Settings(bus=address, redis_url=address)).bus == address
    assert settings.redis_url == address


def test_a_misspelt_variable_is_refused_naming_the_nearest_setting(monkeypatch):
    monkeypatch.setenv("TARGET_HEARTBEAT_SECOND", "1")
    with pytest.raises(ValueError, match="did you mean TARGET_HEARTBEAT_SECONDS") as refused:
        Settings()
    assert "TARGET_HEARTBEAT_SECOND in the environment is no setting" in problems_in(refused.value)


def test_what_kubernetes_sets_for_a_service_named_target_is_passed_over(monkeypatch):
    for name, value in KUBERNETES.items():
        monkeypatch.setenv(name, value)
    assert Settings().port == 8000
    monkeypatch.setenv("TARGET_PORT", "8001")
    assert Settings().port == 8001


@given(st.sampled_from(sorted(KUBERNETES)), st.text(alphabet="ABC_", max_size=5))
def test_only_whole_names_are_taken_for_service_links(name, more):
    changed = name.replace("SERVICE", f"SERVICE{more}X").replace("TCP", f"TCP{more}X")
    if name != changed:
        assert not is_service_link(changed, "8000")
    assert is_service_link(name.lower(), KUBERNETES[name])


def test_a_port_that_is_a_number_is_ours():
    assert not is_service_link("TARGET_PORT", "8000")


def test_a_name_that_resembles_nothing_is_refused_too():
    assert misspelt(["TARGET_ZZZZ"], {"TARGET_PORT"}, "in f") == (
        "TARGET_ZZZZ in f is no setting; see --help for those there are"
    )
    assert misspelt(["target_port"], {"TARGET_PORT"}, "in f") is None


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("TARGET_HEARTBEATS=1", "TARGET_HEARTBEATS in {file} is no setting; did you mean"),
        ("TRAGET_PORT=1", "TRAGET_PORT in {file} is no setting; see --help"),
        ("TARGET_TOKEN", "TARGET_TOKEN in {file} has no value: write TARGET_TOKEN=VALUE"),
        ("TARGET_TOKEN=", "TARGET_TOKEN: Value error, it is empty"),
        ("TARGET_PORT=http", "TARGET_PORT 'http': Input should be a valid integer"),
    ],
)
def test_a_wrong_line_of_the_file_is_told_by_its_name(monkeypatch, tmp_path, line, problem):
    file = tmp_path / "settings.env"
    file.write_text(f"{line}\n")
    monkeypatch.setenv("TARGET_ENV_FILE", str(file))
    with pytest.raises(ValueError, match=r"\S") as refused:
        Settings()
    assert problem.format(file=file) in problems_in(refused.value)


def test_the_name_of_a_file_that_is_empty_is_refused(monkeypatch):
    monkeypatch.setenv("TARGET_ENV_FILE", "")
    with pytest.raises(FileNotFoundError):
        Settings()


def test_settings_come_through_the_environment_of_a_worker_as_they_are(monkeypatch):
    guarded = {"token": "t", "allowed_origins": "https://a", "deflate": True}
    for settings in (Settings(), Settings(**guarded)):
        for name, value in settings.as_environment().items():
            monkeypatch.setenv(name, value)
        assert Settings() == settings


@pytest.mark.parametrize("users", ["alice=s3cret,bob", "alice=s3cret,bob=s3cret", "a=s3cret a=x"])
async def test_users_that_are_wrong_are_refused_without_showing_a_token(run_to_end, users):
    status, told = await run_to_end("--port", "0", TARGET_USERS=users)
    assert status == 2
    assert "TARGET_USERS" in told
    assert "s3cret" not in told
