"""What a user's file does before handshakes: log in, and provide the values of each handshake.

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
    """The client that is about to connect.

    Attributes:
        number: its number in the fleet, from 0.
        feed: its row of the data feed, empty without one.
        shared: what ``setup`` returned in this process.
    """

    number: int
    feed: Mapping[str, Any]
    shared: Any


@dataclass(frozen=True, slots=True)
class Handshake:
    """The individual values of one handshake, in addition to those of the run.

    Attributes:
        url: the address to use instead of the run's, on the same host and port; for a path or a
            query. It is used as is: with rooms, ``chat`` adds none to it.
        headers: headers by name.
        cookies: cookies by name.
        bearer: the token of an ``Authorization: Bearer`` header (RFC 6750).
    """

    url: str | None = None
    # Not in the repr, because they are secrets.
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
"""The handshake of a connection without individual values."""


class Setup:
    """The functions of a user's file, in one swarm process."""

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
        """Run what runs once; its exceptions propagate."""
        if self._setup is not None:
            self._shared = await self._setup()

    async def handshake(self, number: int, row: Mapping[str, Any] | None, url: str) -> Handshake:
        """Return the individual values of one handshake.

        Args:
            number: the connection's number.
            row: its row of the data feed.
            url: the address of the run.

        Raises:
            TypeError, ValueError: the file returned no handshake, or one to another host.
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
                f"handshake gave a url on {_place(own.url)}, but it must stay on {_place(url)}"
            )
        # Consumed here so that a header that cannot be sent counts as the file's fault as well.
        tuple(own.request_headers())
        return own


NOTHING_TO_SET_UP: Final = Setup()
"""The setup of a run without a file that has either function."""


def load_setup(path: Path) -> Setup:
    """Load the functions of a Python file; ignore a name that is not an ``async def``.

    Raises:
        UsageError: no such file, or importing it fails.
    """
    found = vars(load_module(path))
    functions = (found.get(name) for name in _NAMES)
    return Setup(*(it if inspect.iscoroutinefunction(it) else None for it in functions))


def setup_of(plan: Plan) -> Setup:
    """Load the functions of the file that a run names, or otherwise of its script, if any.

    Raises:
        UsageError: as for :func:`load_setup`.
    """
    if plan.setup is not None:
        return load_setup(Path(plan.setup))
    return load_setup(Path(plan.scenario)) if plan.scenario.endswith(".py") else NOTHING_TO_SET_UP


def _place(url: str) -> tuple[str, str | None, int | None]:
    parts = split_url(url)
    return parts.scheme, parts.hostname, port_of(url)
