"""The users of a locustfile; importing them installs our listeners in Locust."""

import locust

from loadtests.locust.user_slots import SwarmUser
from loadtests.locust.websocket_user import WebSocketUser
from loadtests.locust.wiring import install

__all__ = ["SwarmUser", "WebSocketUser"]

# Locust learns of extensions from listeners that exist once a locustfile has been imported.
install(locust.events)
