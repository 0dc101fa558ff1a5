"""Every setting of the server, read once from ``TARGET_…`` in the environment and then fixed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

LogLevel = Literal["critical", "error", "warning", "info", "debug", "trace"]


class Settings(BaseSettings):
    """The server's settings.

    An argument wins over its environment variable (``TARGET_HEARTBEAT_SECONDS`` and so on), which
    wins over the default. What does not validate raises :class:`pydantic.ValidationError`.

    The first group holds wherever the application runs. The second says how ``python -m
    target_app`` sets up its own uvicorn; under any other server that server's flags decide.
    """

    model_config = SettingsConfigDict(env_prefix="TARGET_", frozen=True, extra="forbid")

    heartbeat_seconds: float = Field(
        default=10.0, ge=0, allow_inf_nan=False, description="between two heartbeats; 0 = none"
    )
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
    slow_consumer_seconds: float = Field(
        default=10.0,
        gt=0,
        allow_inf_nan=False,
        description="a client may let one broadcast wait before it is closed with 1013",
    )
    slow_consumer_messages: int = Field(
        default=1024, ge=1, description="may wait for one client before it is closed with 1013"
    )

    host: str = Field(default="127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(default=8000, ge=0, le=65535, description="to listen on; 0 = any free one")
    backlog: int = Field(default=2048, ge=1, description="connections waiting to be accepted")
    log_level: LogLevel = Field(default="warning", description="of uvicorn's own log")
    ws_max_size: int = Field(default=16 * 2**20, ge=1, description="bytes of one message, at most")
    ws_ping_interval: float = Field(
        default=20.0, ge=0, allow_inf_nan=False, description="seconds between pings; 0 = none"
    )
    deflate: bool = Field(default=False, description="offer permessage-deflate (RFC 7692)")
