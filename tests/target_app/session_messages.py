"""What a client of a session says, and what it waits for."""

from __future__ import annotations

import json


def said(kind, **payload):
    return json.dumps({"type": kind, "payload": payload})


def question(text):
    return said("STUDENT_INTERRUPTION", questionText=text)


async def event_of(server, client, kind):
    """Return the next event of a kind.

    An answer may come between: one that was asked for on the connection before, and under Redis one
    that has arrived there already.
    """
    while (event := await server.event(client))["type"] != kind:
        assert event["type"] == "INTERRUPTION_ANSWER", event
    return event
