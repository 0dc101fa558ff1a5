"""Every setting of the server, read once from ``TARGET_…`` or a file and then fixed."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from target_app import origins
from target_app.logs import address_without_secrets, without_secrets
from target_app.variables import PREFIX, is_service_link, misspelt

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from pydantic_core import ErrorDetails

FILE_VARIABLE: Final = f"{PREFIX}ENV_FILE"
LogLevel = Literal["critical", "error", "warning", "info", "debug", "trace"]
SlowConsumerPolicy = Literal["disconnect", "drop-oldest", "drop-newest"]
Names = Annotated[tuple[str, ...], NoDecode]
"""Several texts, separated by commas or spaces where they come from outside."""


class Settings(BaseSettings):
    """The server's settings.

    An argument wins over its environment variable (``TARGET_HEARTBEAT_SECONDS`` and so on), which
    wins over the file that ``TARGET_ENV_FILE`` names (lines of ``TARGET_NAME=value``), which wins
    over the default. An invalid value raises :class:`pydantic.ValidationError`, a missing file
    :class:`FileNotFoundError`, a variable that is not a setting :class:`ValueError`. Variables that
    Kubernetes sets for a Service named ``target`` are ignored.

    The first groups apply wherever the application runs. The last is how ``python -m target_app``
    sets up its own uvicorn; under any other server, that server's flags decide.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    # --- what clients are sent

    heartbeat_seconds: float = Field(
        default=10.0, ge=0, allow_inf_nan=False, description="between two heartbeats; 0 = none"
    )
    announce_limit: int = Field(
        default=200,
        ge=0,
        description="announce who joins and leaves in rooms of at most so many; 0 = never",
    )

    # --- the end of a connection

    drain_announce_seconds: float = Field(
        default=5.0, gt=0, allow_inf_nan=False, description="between two announcements of a drain"
    )
    drain_timeout_seconds: float = Field(
        default=1800.0, ge=0, allow_inf_nan=False, description="before a drain closes who remains"
    )
    close_timeout_seconds: float = Field(
        default=5.0,
        gt=0,
        allow_inf_nan=False,
        description="for a closing handshake, before the connection is cut",
    )
    ws_ping_interval: float = Field(
        default=20.0, ge=0, allow_inf_nan=False, description="seconds between pings; 0 = none"
    )
    ws_ping_timeout: float = Field(
        default=20.0, gt=0, allow_inf_nan=False, description="seconds to answer a ping"
    )
    slow_consumer_policy: SlowConsumerPolicy = Field(
        default="disconnect", description="for a client whose queue is full"
    )
    slow_consumer_code: Literal[1008, 1013] = Field(
        default=1013, description="close code of a slow consumer"
    )
    slow_consumer_seconds: float = Field(
        default=10.0,
        gt=0,
        allow_inf_nan=False,
        description="one message may wait for a client before it is closed (policy disconnect)",
    )
    slow_consumer_messages: int = Field(default=1024, ge=1, description="may wait for one client")
    slow_consumer_bytes: int = Field(
        default=2**22, ge=1, description="may wait for one client, beside the transport's 64 KiB"
    )

    # --- who may come in, and how much they may do

    token: SecretStr | None = Field(
        default=None, description="that a handshake or POST has to bring; none = everyone"
    )
    users: Annotated[dict[str, SecretStr], NoDecode] = Field(
        default_factory=dict,
        description="names and their tokens, name=token,…: whoever has one is known by its name",
    )
    allowed_origins: Names = Field(
        default=(), description="that browsers may come from, comma-separated; none = any"
    )
    max_connections: int = Field(
        default=0, ge=0, description="WebSockets of one worker before 503; 0 = no limit"
    )
    open_stats: bool = Field(
        default=False, description="/stats and /metrics for everyone, token or not"
    )
    messages_per_second: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="of one connection before it is closed with 1008; 0 = no limit",
    )
    ws_max_size: int = Field(default=16 * 2**20, ge=1, description="bytes of one message, at most")

    body_bytes: int = Field(default=2**20, ge=1, description="of one HTTP request, before 413")
    event_bytes: int = Field(
        default=2**16,
        ge=1,
        description="of one message of /ws/py_client; a larger one is answered with an error",
    )
    rooms_per_client: int = Field(
        default=64, ge=1, description="that one client of /ws/py_client is in at a time"
    )

    # --- sessions

    session_seconds: float = Field(
        default=300.0, gt=0, allow_inf_nan=False, description="without activity end a session"
    )
    answers_at_once: int = Field(default=10, ge=1, description="produced by one worker")
    questions_waiting: int = Field(default=8, ge=1, description="of one session before an error")
    max_questions: int = Field(
        default=1000, ge=1, description="waiting at one worker, of all sessions, before an error"
    )
    questions_bytes: int = Field(
        default=2**24, ge=1, description="that these have together, before an error"
    )
    answer_seconds: float = Field(
        default=0.5, ge=0, allow_inf_nan=False, description="the default responder takes"
    )
    responder: str = Field(
        default="target_app.sessions.responder:slow_echo",
        pattern=r"^(none|[\w.]+:\w+)$",
        description="module:function that answers a question; one that is not async has a process; "
        "none = others do, over Redis",
    )
    session_state_bytes: int = Field(
        default=2**16, ge=1, description="of progress kept for one session, and of its messages"
    )
    session_classes: int = Field(default=32, ge=1, description="that one session may be in")
    sessions_bytes: int = Field(
        default=2**26,
        ge=1,
        description="of sessions that one worker keeps; those away longest are forgotten first",
    )

    # --- other processes

    bus: str = Field(
        default="auto",
        pattern=r"^(auto|local|zmq|(redis|rediss|unix)://.+)$",
        description="between workers: local, zmq or redis://…; auto = zmq if there are several",
    )
    redis_url: str | None = Field(
        default=None,
        pattern=r"^(redis|rediss|unix)://.+$",
        description="where sessions are kept; none = in memory",
    )
    redis_connections: int = Field(
        default=50, ge=4, description="to Redis from one worker, all purposes together"
    )
    run_dir: Path | None = Field(
        default=None,
        description="where the workers of one server find each other; none = by their master; "
        "two containers must not share one",
    )
    upstreams: Names = Field(
        default=(), description="ws:// addresses to be a client of, comma-separated"
    )
    upstream_room: str = Field(
        default="lobby", min_length=1, description="that gets what upstreams say"
    )
    upstream_wait_seconds: float = Field(
        default=5.0, gt=0, allow_inf_nan=False, description="before the first reconnection"
    )

    # --- python -m target_app

    host: str = Field(default="127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(default=8000, ge=0, le=65535, description="to listen on; 0 = any free one")
    root_path: str = Field(
        default="",
        pattern=r"^(/[A-Za-z0-9._~-]+)*$",
        description="that a proxy takes off every path; none = no proxy does",
    )
    workers: int = Field(default=1, ge=1, description="processes")
    backlog: int = Field(default=2048, ge=1, description="connections waiting to be accepted")
    handshake_seconds: float = Field(
        default=10.0, ge=0, allow_inf_nan=False, description="for a request to come; 0 = no limit"
    )
    worker_healthcheck_seconds: int = Field(
        default=60, ge=1, description="before a worker that does not answer is killed"
    )
    log_level: LogLevel = Field(default="warning", description="of the server's and uvicorn's log")
    deflate: bool = Field(default=False, description="offer permessage-deflate (RFC 7692)")

    @classmethod
    def settings_customise_sources(  # noqa: D102 - pydantic-settings asks for it
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        _refuse_unknown(_meant_for_us(os.environ), "in the environment")
        from_file = DotEnvSettingsSource(settings_cls, env_file=_env_file())
        _look_through(from_file)
        return init_settings, _Environment(settings_cls), from_file

    @field_validator("token")
    @classmethod
    def _bare(cls, token: SecretStr | None) -> SecretStr | None:
        # A header's value arrives without the spaces around it (RFC 9110 §5.5).
        if token is not None and (text := token.get_secret_value()) != text.strip():
            raise ValueError("it begins or ends with a space, which no client can send")
        return token

    @field_validator("allowed_origins", "upstreams", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:  # noqa: ANN401
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @field_validator("allowed_origins")
    @classmethod
    def _as_browsers_send_them(cls, allowed: tuple[str, ...]) -> tuple[str, ...]:
        for origin in allowed:
            origins.check(origin)
        return allowed

    @field_validator("bus", "redis_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None and "://" in value:
            from target_app.redis_client import check_address  # noqa: PLC0415 - see there

            check_address(value)
        return value

    @field_validator("users", mode="before")
    @classmethod
    def _split_pairs(cls, value: Any) -> Any:  # noqa: ANN401
        if not isinstance(value, str):
            return value
        pairs = [pair.partition("=") for pair in value.replace(",", " ").split()]
        if not all(name and token for name, _, token in pairs):
            raise ValueError("each has to be name=token")
        names, tokens = [pair[0] for pair in pairs], [pair[2] for pair in pairs]
        if len({*names}) < len(names) or len({*tokens}) < len(tokens):
            raise ValueError("a name, or a token, is there twice")
        return dict(zip(names, tokens, strict=True))

    @field_validator("token", "users", "allowed_origins", "run_dir", mode="before")
    @classmethod
    def _not_empty(cls, value: Any) -> Any:  # noqa: ANN401
        # A value left empty by mistake in a deployment must not open a door, or put files just
        # anywhere. Being defined after _split, this is called before it.
        if isinstance(value, str) and not value.strip(" ,"):
            raise ValueError("it is empty: give a value, or do not set it at all")
        return value

    @field_validator("slow_consumer_code", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:  # noqa: ANN401
        return int(value) if isinstance(value, str) and value.isdecimal() else value

    @functools.cached_property
    def names_by_token(self) -> dict[bytes, str | None]:
        """The owner of each token, by :func:`digest` of the token; None for the shared one.

        With a digest as the key, the time of a lookup reveals nothing about a nearly right token.
        """
        shared = [] if self.token is None else [(None, self.token)]
        tokens = [*self.users.items(), *shared]  # the shared one wins if a user has it too
        return {digest(token.get_secret_value().encode()): name for name, token in tokens}

    def as_environment(self) -> dict[str, str]:
        """Return the variables that give another process the same settings."""
        set_here = self.model_dump(mode="json", exclude_none=True)
        if self.token is not None:
            set_here["token"] = self.token.get_secret_value()
        tokens = {name: token.get_secret_value() for name, token in self.users.items()}
        set_here["users"] = [f"{name}={token}" for name, token in tokens.items()]
        for name in ("allowed_origins", "users"):
            if not set_here[name]:
                del set_here[name]
        return {
            f"TARGET_{name.upper()}": ",".join(value)
            if isinstance(value, list)
            else value
            if isinstance(value, str)
            else json.dumps(value)
            for name, value in set_here.items()
        }


def digest(token: bytes) -> bytes:
    """Return the key of ``token`` in :attr:`Settings.names_by_token`."""
    return hashlib.sha256(token).digest()


class _Environment(EnvSettingsSource):
    # The environment without what Kubernetes sets for a Service named target.
    def _load_env_vars(self) -> dict[str, str | None]:
        found = super()._load_env_vars()
        return {name: value for name, value in found.items() if not is_service_link(name, value)}


def _env_file() -> str | None:
    file = os.environ.get(FILE_VARIABLE)
    if file is None:
        return None
    if not Path(file).is_file():
        raise FileNotFoundError(f"{FILE_VARIABLE} {file!r}: no such file")
    return file


def _look_through(file: DotEnvSettingsSource) -> None:
    where = f"in {file.env_file}"
    # The file is ours alone, so anything else in it is a mistake.
    _refuse_unknown(file.env_vars, where)
    for name in (name.upper() for name, value in file.env_vars.items() if value is None):
        raise ValueError(f"{name} {where} has no value: write {name}=VALUE")


def _meant_for_us(environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        ours = name.upper().startswith(PREFIX) and name.upper() != FILE_VARIABLE
        if ours and not is_service_link(name, value):
            yield name


def _refuse_unknown(names: Iterable[str], where: str) -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    if problem := misspelt(names, known, where):
        raise ValueError(problem)


def problems_in(error: Exception, flags: Collection[str] = ()) -> str:
    """Return what is wrong with the settings, in one line, without the secrets in them.

    ``flags`` are the settings that were given as flags.
    """
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(_problem(problem, flags) for problem in error.errors())


SECRET: Final = {"token", "users"}
"""Settings that are not shown, not even when they are wrong."""
ADDRESSES: Final = {"bus", "redis_url"}
"""Settings that are a single address, which may be wrong because of the password in it."""


def _problem(problem: ErrorDetails, flags: Collection[str]) -> str:
    name = str(problem["loc"][0])
    source = f"--{name.replace('_', '-')}" if name in flags else f"{PREFIX}{name.upper()}"
    return f"{source}{_shown(name, problem['input'])}: {problem['msg']}"


def _shown(name: str, given: object) -> str:
    if name in SECRET:
        return ""
    if name in ADDRESSES and isinstance(given, str):
        return f" {address_without_secrets(given)!r}"
    return f" {without_secrets(repr(given))}"
