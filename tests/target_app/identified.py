"""The server for clients who are known by the address that they come from."""

from starlette.requests import HTTPConnection

from target_app import create_app, guard, identified_by

WHO = {"127.0.0.2": "alice", "127.0.0.3": "bob"}

app = create_app()


async def by_address(connection: HTTPConnection) -> str | None:
    return WHO.get(connection.client.host)


app.dependency_overrides[guard] = identified_by(by_address)
