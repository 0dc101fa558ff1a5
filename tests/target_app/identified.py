"""The server for clients who are known by the address that they come from."""

from target_app.app import create_app

WHO = {"127.0.0.2": "alice", "127.0.0.3": "bob"}

app = create_app()
open_anybody = app.sessions.open


async def open_known(connection):
    connection.identity = WHO.get(connection.client[0])
    await open_anybody(connection)


app.sessions.open = open_known
