"""Ready users for Locust: every scenario of the swarm, on the reference server or on yours.

::

    locust -f loadtests/locust/locustfile.py --class-picker --host ws://127.0.0.1:8000

A host with a path of its own is connected to as it is; to one without, each class appends the path
of the reference server that it is for. ``--swarm-flags`` takes what ``swarmgate run`` takes, such
as ``--rate 500 --param active=10``; its ``--scenario FILE`` is the script of ``ScriptSwarm``. The
picker ticks the first class.
"""

from loadtests.locust.users import SwarmUser


class EchoSwarm(SwarmUser):
    """Messages that come back to their sender; each thinks for a second, then sends the next."""

    scenario = "echo"
    path = "/echo"
    think = "exp 1s"


class HoldSwarm(SwarmUser):
    """Connections that wait."""

    scenario = "hold"
    path = "/ws"


class EventsSwarm(SwarmUser):
    """Events that clients send to themselves through the server."""

    scenario = "events"
    path = "/ws/py_client"
    think = "exp 1s"


class SessionSwarm(SwarmUser):
    """Questions in sessions of their own, acknowledged at once and answered later."""

    scenario = "session"
    path = "/ws/session-{n}"
    think = "exp 1s"


class BroadcastSwarm(SwarmUser):
    """One publishes what all receive."""

    scenario = "broadcast"
    path = "/ws"


class ChatSwarm(SwarmUser):
    """Many publish what all in their room receive."""

    scenario = "chat"
    path = "/ws/{n}"


class StormSwarm(SwarmUser):
    """All are dropped at one moment, and come back."""

    scenario = "storm"
    path = "/ws"


class ChurnSwarm(SwarmUser):
    """Clients come and go all the while."""

    scenario = "churn"
    path = "/ws"


class HeartbeatSwarm(SwarmUser):
    """Listens to the heartbeat, which comes every ten seconds, and pings."""

    scenario = "heartbeat"
    path = "/ws"
    flags = "--duration 30s"


class SlowConsumerSwarm(SwarmUser):
    """Some stop reading."""

    scenario = "slow-consumer"
    path = "/ws"


class ScriptSwarm(SwarmUser):
    """A script of your own, on every connection."""

    scenario = ""
    path = "/echo"
