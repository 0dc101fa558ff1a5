"""The users of a locustfile; whoever imports them has Locust listened to."""

import locust

from loadtests.locust.user_slots import SwarmUser
from loadtests.locust.websocket_user import WebSocketUser
from loadtests.locust.wiring import install

__all__ = ["SwarmUser", "WebSocketUser"]

# Locust knows its extensions by listeners that are there when a locustfile has been imported.
install(locust.events)
