"""What a locustfile of WebSocket users imports.

::

    from loadtests.locust_users import SwarmUser

    class Echoing(SwarmUser):
        scenario = "echo"
        path = "/echo"

``SwarmUser`` is a connection of the asyncio swarm, 10,000 and more a worker; docs/locust.md tells
when to take which.
"""

import locust

from loadtests.locust_engine.places import SwarmUser
from loadtests.locust_engine.wiring import install

__all__ = ["SwarmUser"]

# Locust knows its extensions by listeners that are there when a locustfile has been imported.
install(locust.events)
