"""The users of a locustfile: whoever imports them has Locust listened to."""

import locust

from loadtests.clients.backoff import Backoff, BackoffKind
from loadtests.locust.user_slots import SwarmUser
from loadtests.locust.websocket_user import (
    CaughtResponse,
    ConnectError,
    ConnectionEndedError,
    ReplyTimeoutError,
    WebSocketUser,
    WebSocketUserError,
)
from loadtests.locust.wiring import install

__all__ = [
    "Backoff",
    "BackoffKind",
    "CaughtResponse",
    "ConnectError",
    "ConnectionEndedError",
    "ReplyTimeoutError",
    "SwarmUser",
    "WebSocketUser",
    "WebSocketUserError",
]

# Locust knows its extensions by listeners that are there when a locustfile has been imported.
install(locust.events)
