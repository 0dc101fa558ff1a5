"""What a locustfile of WebSocket users imports; docs/locust.md tells when to take which.

::

    from locust import between, task
    from loadtests.locust_users import SwarmUser, WebSocketUser

    class Echoing(SwarmUser):
        scenario = "echo"
        path = "/echo"

    class Talking(WebSocketUser):
        wait_time = between(1, 2)

        def on_start(self):
            self.connect("/ws")

        @task
        def talk(self):
            self.ask("hello", matching="hello", within=2, name="hello")

A ``SwarmUser`` is a connection of the asyncio swarm, 10,000 and more a worker; a ``WebSocketUser``
has tasks, as Locust's other users have.
"""

import locust

from loadtests.backoff import Backoff, BackoffKind
from loadtests.locust_engine.places import SwarmUser
from loadtests.locust_engine.wiring import install
from loadtests.websocket_user import (
    CaughtResponse,
    ConnectError,
    ConnectionEndedError,
    ReplyTimeoutError,
    WebSocketUser,
    WebSocketUserError,
)

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
