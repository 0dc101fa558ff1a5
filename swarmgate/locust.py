"""The public API for locustfiles with WebSocket users; docs/locust.md explains when to use which.

::

    from locust import between, task
    from swarmgate.locust import SwarmUser, WebSocketUser

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

A ``SwarmUser`` is a connection of the asyncio swarm, 10,000 and more per worker; a
``WebSocketUser`` has tasks, like Locust's other users. ``EchoSwarm`` and the classes like it are
ready-made users, one for each scenario, to be used as they are or as base classes.
"""

from loadtests.clients.backoff import Backoff, BackoffKind
from loadtests.locust.locustfile import (
    BroadcastSwarm,
    ChatSwarm,
    ChurnSwarm,
    EchoSwarm,
    EventsSwarm,
    HeartbeatSwarm,
    HoldSwarm,
    ScriptSwarm,
    SessionSwarm,
    SlowConsumerSwarm,
    StormSwarm,
)
from loadtests.locust.users import SwarmUser, WebSocketUser
from loadtests.locust.websocket_user import (
    CaughtResponse,
    ConnectError,
    ConnectionEndedError,
    ReplyTimeoutError,
    WebSocketUserError,
)

__all__ = [
    "Backoff",
    "BackoffKind",
    "BroadcastSwarm",
    "CaughtResponse",
    "ChatSwarm",
    "ChurnSwarm",
    "ConnectError",
    "ConnectionEndedError",
    "EchoSwarm",
    "EventsSwarm",
    "HeartbeatSwarm",
    "HoldSwarm",
    "ReplyTimeoutError",
    "ScriptSwarm",
    "SessionSwarm",
    "SlowConsumerSwarm",
    "StormSwarm",
    "SwarmUser",
    "WebSocketUser",
    "WebSocketUserError",
]
