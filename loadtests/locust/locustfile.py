"""Ready-made users for Locust: every scenario of the swarm, on the reference server or on yours.

::

    locust -f loadtests/locust/locustfile.py --class-picker --host ws://127.0.0.1:8000

A host with its own path is used as it is; to one without, each class appends the path of the
reference server that it is for. ``--swarm-flags`` takes the flags of ``swarmgate run``, such as
``--rate 500 --param active=10``; its ``--scenario FILE`` is the script of ``ScriptSwarm``. The
picker ticks the first class.
"""

from loadtests.locust.users import SwarmUser


class EchoSwarm(SwarmUser):
    """Messages that come back to their users, who think for a second, then send the next."""

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
    """Questions in separate sessions, acknowledged at once and answered later."""

    scenario = "session"
    path = "/ws/session-{n}"
    think = "exp 1s"


class BroadcastSwarm(SwarmUser):
    """Users of whom one publishes what all receive."""

    scenario = "broadcast"
    path = "/ws"


class ChatSwarm(SwarmUser):
    """Users of whom many publish what all in their room receive."""

    scenario = "chat"
    path = "/ws/{n}"


class StormSwarm(SwarmUser):
    """Users who are all dropped at one moment, and come back."""

    scenario = "storm"
    path = "/ws"


class ChurnSwarm(SwarmUser):
    """Clients that come and go continuously."""

    scenario = "churn"
    path = "/ws"


class HeartbeatSwarm(SwarmUser):
    """Clients that listen for the heartbeat, which comes every ten seconds, and ping."""

    scenario = "heartbeat"
    path = "/ws"
    flags = "--duration 30s"


class SlowConsumerSwarm(SwarmUser):
    """Receivers of whom some stop reading."""

    scenario = "slow-consumer"
    path = "/ws"


class ScriptSwarm(SwarmUser):
    """Your own script, on every connection."""

    scenario = ""
    path = "/echo"
