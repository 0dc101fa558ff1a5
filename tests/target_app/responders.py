"""Responders for tests, found by their names."""

import asyncio
import os
import time
from pathlib import Path

running = 0
full = asyncio.Event()


async def counted(_question):
    """Answer with how many answers are being produced at once."""
    global running  # noqa: PLW0603 - one server process, one count
    running += 1
    try:
        if running == 3:
            full.set()
        # However slowly the questions come, the first do not end before as many are there as may
        # be at once; one too many would show up soon after.
        await full.wait()
        await asyncio.sleep(0.05)
        return str(running)
    finally:
        running -= 1


async def when_told(question):
    """Answer as soon as the file is there that the question names in its first line."""
    while not Path(question.text.partition("\n")[0]).exists():  # noqa: ASYNC110, ASYNC240 - the test makes it
        await asyncio.sleep(0.005)
    return "now"


answered = 0


async def how_many_before(question):
    """Answer, once the file is there that the question names, how many were answered before."""
    global answered  # noqa: PLW0603 - one server process, one count
    await when_told(question)
    answered += 1
    return str(answered - 1)


def own_pid(_question):
    """Answer with the process that answers."""
    return str(os.getpid())


def fails(_question):
    """Do not answer."""
    raise RuntimeError("expected in this test")


def dies(question):
    """Take the process along, if that is asked for; else take a little time."""
    if question.text == "die":
        os._exit(1)
    time.sleep(0.05)
    return "alive"


def never_ends(question):
    """Make the file that the question names, and do not come to an end."""
    Path(question.text).touch()
    while True:
        time.sleep(1)
