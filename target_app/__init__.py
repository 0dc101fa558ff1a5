"""The reference server: a FastAPI application, and the parts to build another one from.

The names below are what an application with its own endpoints imports (docs/fastapi.md). Each is
imported on first access: a process that answers questions needs none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from target_app.app import ServeAdopted, TargetApp, create_app
    from target_app.connections.adoption import adopt, sent_on_shutdown
    from target_app.connections.connection import Connection, Endpoint
    from target_app.connections.names import ClientId, Room
    from target_app.message import Message
    from target_app.routes.admission import GUARDED, Identity, guard, identified_by
    from target_app.services import Services
    from target_app.settings import Settings

__all__ = [
    "GUARDED",
    "ClientId",
    "Connection",
    "Endpoint",
    "Identity",
    "Message",
    "Room",
    "ServeAdopted",
    "Services",
    "Settings",
    "TargetApp",
    "adopt",
    "create_app",
    "guard",
    "identified_by",
    "sent_on_shutdown",
]

_HOMES: Final = {
    "target_app.app": ("ServeAdopted", "TargetApp", "create_app"),
    "target_app.connections.adoption": ("adopt", "sent_on_shutdown"),
    "target_app.connections.connection": ("Connection", "Endpoint"),
    "target_app.message": ("Message",),
    "target_app.connections.names": ("ClientId", "Room"),
    "target_app.routes.admission": ("GUARDED", "Identity", "guard", "identified_by"),
    "target_app.services": ("Services",),
    "target_app.settings": ("Settings",),
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
