"""A client of the event protocol, which says one thing to another and waits for its answer.

python examples/py_client.py ws://127.0.0.1:8000/ws/py_client CLIENT_ID "hello"
"""

import asyncio
import json
import sys

from websockets.asyncio.client import connect


async def main(url: str, other: str, text: str) -> None:
    """Say ``text`` to the client called ``other``, and print what it answers."""
    async with connect(url) as connection:
        granted = json.loads(await connection.recv())
        print("connected as", granted["client_id"], flush=True)

        said = {"event": "send_to_client", "client_id": other, "data": {"data": {"text": text}}}
        await connection.send(json.dumps(said))

        async for message in connection:
            event = json.loads(message)
            if event["event"] == "message":
                print(f"{event['client_id']} says: {event['data']['data']['text']}")
                return
            if event["event"] == "error":
                sys.exit(event["data"]["data"]["message"])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
