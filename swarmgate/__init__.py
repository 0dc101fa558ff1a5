"""The public API of swarmgate: to write scripts and scenarios, and to run them from tests.

Scripts and scenarios are written with the names of docs/scripting.md, Locust users with those of
:mod:`swarmgate.locust`; the rest are the types behind the pytest fixture ``swarmgate``. The
scripting names are imported on first use, because every pytest session imports this package.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from swarmgate.result import Figures, OfUsers, Result
from swarmgate.runner import (
    NoRunError,
    RunFailedError,
    RunInvalidError,
    Server,
    Swarmgate,
)

if TYPE_CHECKING:
    from loadtests.scenarios.script import (
        Better,
        Bytes,
        Client,
        Connection,
        ConnectionEndedError,
        ConnectionPool,
        Count,
        ExpectationError,
        Figure,
        Handshake,
        LoadWindow,
        Measures,
        Parameters,
        Published,
        Scenario,
        Script,
        ScriptLedger,
        Seconds,
    )

__all__ = [
    "Better",
    "Bytes",
    "Client",
    "Connection",
    "ConnectionEndedError",
    "ConnectionPool",
    "Count",
    "ExpectationError",
    "Figure",
    "Figures",
    "Handshake",
    "LoadWindow",
    "Measures",
    "NoRunError",
    "OfUsers",
    "Parameters",
    "Published",
    "Result",
    "RunFailedError",
    "RunInvalidError",
    "Scenario",
    "Script",
    "ScriptLedger",
    "Seconds",
    "Server",
    "Swarmgate",
]

_HOME_OF_SCRIPTS: Final = "loadtests.scenarios.script"


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name refers to
    if name in __all__:
        return getattr(import_module(_HOME_OF_SCRIPTS), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
