"""What a project imports of swarmgate: the types behind the pytest fixture of that name."""

from swarmgate.result import Figures, OfUsers, Result
from swarmgate.runner import (
    NoRunError,
    RunFailedError,
    RunInvalidError,
    Server,
    Swarmgate,
)

__all__ = [
    "Figures",
    "NoRunError",
    "OfUsers",
    "Result",
    "RunFailedError",
    "RunInvalidError",
    "Server",
    "Swarmgate",
]
