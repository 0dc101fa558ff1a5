"""Who is in which room."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Set

    from target_app.connections.connection import Connection
    from target_app.connections.names import Room


class Rooms:
    """The rooms of this process, each with its members; a room exists while it has members."""

    def __init__(self) -> None:
        self._members: dict[Room, set[Connection]] = {}

    def join(self, connection: Connection, room: Room) -> None:
        """Make ``connection`` a member of ``room``, if it is not one already."""
        self._members.setdefault(room, set()).add(connection)
        if room not in connection.rooms:
            connection.rooms = (*connection.rooms, room)

    def leave(self, connection: Connection, room: Room) -> None:
        """Remove ``connection`` from ``room``, if it is a member."""
        connection.rooms = tuple(other for other in connection.rooms if other != room)
        self._forget(connection, room)

    def leave_all(self, connection: Connection) -> None:
        """Remove ``connection`` from every room it is in."""
        rooms, connection.rooms = connection.rooms, ()
        for room in rooms:
            self._forget(connection, room)

    def members(self, room: Room) -> Set[Connection]:
        """Return the members of ``room`` now; copy the set before you await."""
        return self._members.get(room, frozenset())

    def sizes(self) -> dict[str, int]:
        """Return the number of members of each room, by ``space:name``."""
        return {str(room): len(members) for room, members in self._members.items()}

    def _forget(self, connection: Connection, room: Room) -> None:
        if (members := self._members.get(room)) is not None:
            members.discard(connection)
            if not members:
                del self._members[room]
