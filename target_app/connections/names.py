"""The names of rooms and clients, such that no two protocols can refer to the same one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self


@dataclass(frozen=True, slots=True)
class Name:
    """A name within the space of its protocol.

    Clients choose names, never spaces: whatever a client of one protocol calls its room or itself,
    it is never a room or a client of another protocol.
    """

    space: str
    name: str

    def __str__(self) -> str:
        return f"{self.space}:{self.name}"

    def encode(self) -> str:
        """Return it as text for another worker; different names give different texts."""
        return json.dumps([self.space, self.name])

    @classmethod
    def decode(cls, text: str) -> Self:
        """Return the name that was encoded as ``text``."""
        space, name = json.loads(text)
        return cls(space, name)


class Room(Name):
    """A room, whose members get the same messages."""

    __slots__ = ()


class ClientId(Name):
    """A client, which can be sent a message whichever worker it is connected to."""

    __slots__ = ()
