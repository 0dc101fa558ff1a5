"""Locust users that are connections of the swarm: as light as Locust lets a user be.

Locust counts its users as members of a gevent group and stops each individually. A swarm user has
no greenlet and no tasks; it is a user slot in that group, for one connection of the swarm process
that runs alongside the worker.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

from gevent.pool import Group
from locust import User

from loadtests.locust.arguments import UserClass
from loadtests.locust.websocket_user import end_run
from loadtests.locust.worker_agent import WorkerAgent

if TYPE_CHECKING:
    import gevent


def _name(task: object) -> str:
    return str(getattr(task, "__name__", task))


def _be_a_connection(user: User) -> None:
    """Stand for what the swarm does, because Locust's menus name the tasks of a user."""


class SwarmUser(User):
    """A user whose connection is in the asyncio swarm; subclass it to choose a scenario.

    Attributes:
        scenario: its name, or a Python file (docs/scripting.md); if it is empty, that of
            ``--swarm-flags='--scenario FILE'``.
        path: appended to a host that has no path; ``{n}`` is the user's number.
        parameters: those of the scenario; ``--param`` in ``--swarm-flags`` overrides them.
        rate: messages a second if ``--swarm-flags`` gives none; None means the scenario's own.
        think: time from a reply to the next message, if ``--swarm-flags`` has neither a rate nor
            ``--think``; empty means none, which is as fast as the server goes.
        flags: more flags of ``swarmgate run``, such as ``--ready 'login => welcome'``.
    """

    abstract = True
    scenario: ClassVar[str] = "hold"
    path: ClassVar[str] = "/"
    parameters: ClassVar[Mapping[str, Any]] = {}
    rate: ClassVar[float | None] = None
    think: ClassVar[str] = ""
    flags: ClassVar[str] = ""

    tasks: ClassVar[list[Any]] = [_be_a_connection]  # type: ignore[misc]
    # Locust reads it when it gives users time to stop.
    _state: str | None = None
    agent: ClassVar[WorkerAgent | None] = None
    """This worker's swarm process for the class, while a test runs."""

    def __init__(self, environment: Any) -> None:  # noqa: ANN401 - Locust's
        # Locust's own keeps ten attributes for each user, none of which is used without tasks.
        self.environment = environment
        self._links: tuple[Callable[[Any], object], ...] = ()

    @classmethod
    def described(cls) -> UserClass:
        """Return the settings of the class."""
        return UserClass(
            cls.__name__, cls.scenario, cls.path, cls.parameters, cls.rate, cls.think, cls.flags
        )

    @classmethod
    def fault(cls) -> str | None:
        """Return in one line what the class has that would never run, or None if nothing."""
        never = [_name(task) for task in cls.tasks if task is not _be_a_connection]
        never += [it for it in ("on_start", "on_stop") if getattr(cls, it) is not getattr(User, it)]
        if not never:
            return None
        return (
            f"{cls.__name__} is a SwarmUser, which runs a scenario, and never {', '.join(never)}: "
            "make it a WebSocketUser, or write a script (docs/scripting.md) and name it as scenario"
        )

    def start(self, group: Group) -> "SwarmUser":
        """Ask the swarm to open one more connection."""
        if self.agent is None:
            end_run(
                self.environment,
                f"{self.name} needs Environment(events=locust.events, ...) and "
                "environment.events.init, fired with the runner before it starts",
            )
        self.enter(group)
        self.agent.add(self)
        return self

    def stop(self, force: bool = False) -> bool:  # noqa: ARG002 - Locust's
        """Ask the swarm to close one connection."""
        assert self.agent is not None
        self.agent.remove(self)
        return True

    def enter(self, group: Group) -> None:
        """Join the users that Locust counts."""
        group.add(cast("gevent.Greenlet[..., object]", self))

    def leave(self) -> None:
        """Leave the users that Locust counts."""
        for link in self._links:
            link(self)

    def rawlink(self, callback: Callable[[Any], object]) -> None:
        """Notify a group when this user leaves, as a greenlet does."""
        self._links += (callback,)

    @property
    def args(self) -> "tuple[SwarmUser]":
        """Return the arguments by which Locust finds the user of a greenlet."""
        return (self,)

    @property
    def greenlet(self) -> "SwarmUser":
        """Return the member of Locust's group."""
        return self

    @property
    def name(self) -> str:
        """Return the name by which Locust's log refers to it."""
        return type(self).__name__
