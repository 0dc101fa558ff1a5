"""People who join a chat, say something every second or so, and wait until they hear it."""

from swarmgate import Parameters, Script, Seconds


class Talk(Parameters):
    """What --param may set."""

    words: str = "hello"
    """What everybody says."""

    pause: Seconds = 1.0
    """How long they think before they speak again."""


async def script(connection: Script, parameters: Talk) -> None:
    """Say something, and time how long it takes until it is heard."""
    said = f"{parameters.words} from {connection.number}"
    with connection.measure("heard"):
        await connection.send(said)
        await connection.expect(said, within=5)
    connection.count("said")
    await connection.pause(parameters.pause)
