"""What a user's file does before handshakes: log in, and say what each handshake has of its own.

::

    import httpx
    from swarmgate import Client, Handshake

    async def setup() -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url="http://localhost:8000")

    async def handshake(client: Client) -> Handshake:
        answer = await client.shared.post("/login", json={"user": client.feed["user"]})
        return Handshake(bearer=answer.json()["token"])

``setup`` is called once in each swarm process, ``handshake`` before each handshake of a connection;
either may be left out.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from loadtests.plan.connect_options import check_header_name, clean
from loadtests.plan.plan import Plan, port_of, split_url
from loadtests.plan.user_file import load_module

_NAMES: Final = ("setup", "handshake")


@dataclass(frozen=True, slots=True)
class Client:
    """Who is about to connect.

    Attributes:
        number: its number in the fleet, from 0.
        feed: its row of the data feed, empty without one.
        shared: what ``setup`` has returned in this process.
    """

    number: int
    feed: Mapping[str, Any]
    shared: Any


@dataclass(frozen=True, slots=True)
class Handshake:
    """What one handshake has of its own, in addition to what the run says.

    Attributes:
        url: the address instead of the run's, on the same host and port; for a path or a query. It
            is used as it is: with rooms, ``chat`` adds none to it.
        headers: by name.
        cookies: by name.
        bearer: the token of an ``Authorization: Bearer`` header (RFC 6750).
    """

    url: str | None = None
    # Not in what is shown of it, for they are secrets.
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)
    bearer: str | None = field(default=None, repr=False)

    def request_headers(self) -> Iterator[tuple[str, str]]:
        """Yield the headers of the request."""
        for name, value in self.headers.items():
            check_header_name(name)
            yield name, clean(name, value)
        if self.cookies:
            cookies = (f"{name}={value}" for name, value in self.cookies.items())
            yield "Cookie", clean("Cookie", "; ".join(cookies))
        if self.bearer is not None:
            yield "Authorization", clean("Authorization", f"Bearer {self.bearer}")


NOTHING: Final = Handshake()
"""Of a connection that has nothing of its own."""


class Setup:
    """The functions of a file, in one swarm process."""

    def __init__(
        self,
        setup: Callable[[], Awaitable[Any]] | None = None,
        handshake: Callable[[Client], Awaitable[Handshake]] | None = None,
    ) -> None:
        self.is_empty = setup is None and handshake is None
        self._setup = setup
        self._handshake = handshake
        self._shared: Any = None

    async def begin(self) -> None:
        """Do what is done once; what it raises is raised."""
        if self._setup is not None:
            self._shared = await self._setup()

    async def handshake(self, number: int, row: Mapping[str, Any] | None, url: str) -> Handshake:
        """Return what one handshake has of its own.

        Args:
            number: the connection's.
            row: its row of the data feed.
            url: the address of the run.

        Raises:
            TypeError, ValueError: the file gave no handshake, or one to another host.
            UsageError: a header has a control character in it.
            Exception: what the file raised.
        """
        if self._handshake is None:
            return NOTHING
        own = await self._handshake(Client(number, row or {}, self._shared))
        if not isinstance(own, Handshake):
            kind = type(own).__name__
            raise TypeError(f"handshake returned a value of type {kind}; it must be a Handshake")
        if own.url is not None and _place(own.url) != _place(url):
            raise ValueError(
                f"handshake gave a url on {_place(own.url)}, which is not that of {_place(url)}"
            )
        # So that a header that cannot be sent is the file's fault as well.
        tuple(own.request_headers())
        return own


NOTHING_TO_SET_UP: Final = Setup()
"""Of a run without a file that has either function."""


def load_setup(path: Path) -> Setup:
    """Take the functions of a Python file; what is no ``async def`` is something else of its own.

    Raises:
        UsageError: no such file, or it fails on being imported.
    """
    found = vars(load_module(path))
    functions = (found.get(name) for name in _NAMES)
    return Setup(*(it if inspect.iscoroutinefunction(it) else None for it in functions))


def setup_of(plan: Plan) -> Setup:
    """Take the functions of the file that a run names, else of its script, if it is one.

    Raises:
        UsageError: as :func:`load_setup`.
    """
    if plan.setup is not None:
        return load_setup(Path(plan.setup))
    return load_setup(Path(plan.scenario)) if plan.scenario.endswith(".py") else NOTHING_TO_SET_UP


def _place(url: str) -> tuple[str, str | None, int | None]:
    parts = split_url(url)
    return parts.scheme, parts.hostname, port_of(url)
