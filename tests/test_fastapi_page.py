"""The page on FastAPI, followed to the letter: its code blocks are the files, its tests are run."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

PAGE = Path(__file__).parents[1] / "docs" / "fastapi.md"
DEADLINE_SECONDS = 240.0


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture
def files(tmp_path):
    """Write each block to the file that its first line names, one behind the other."""
    for block in blocks("python"):
        name, _, text = block.partition("\n")
        with (tmp_path / name.removeprefix("# ")).open("a") as file:
            file.write(f"{text}\n\n")
    return tmp_path


async def start(directory, *command):
    quiet = {k: v for k, v in os.environ.items() if not k.startswith("TARGET_")}
    path = os.pathsep.join([str(directory), str(PAGE.parents[1])])
    return await asyncio.create_subprocess_exec(
        *command,
        cwd=directory,
        env=quiet | {"PYTHONPATH": path},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def test_the_tests_of_the_page_pass(files):
    process = await start(files, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    async with asyncio.timeout(DEADLINE_SECONDS):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert b"5 passed" in output


async def test_the_command_of_the_page_serves_what_it_says(files):
    (command,) = blocks("sh")
    program, *arguments = command.split()
    process = await start(files, sys.executable, "-m", program, *arguments, "--port", "0")
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            at = None
            while at is None:
                line = await process.stdout.readline()
                assert line, "the server has ended"
                at = re.search(rb"running on http://(\S+)", line)
            to = f"ws://{at[1].decode()}"
            async with (
                connect(f"{to}/shout", proxy=None) as client,
                connect(f"{to}/plain", proxy=None) as plain,
                connect(f"{to}/json", proxy=None) as own_words,
            ):
                await client.send("hello")
                assert await client.recv() == "HELLO"
                process.terminate()
                assert await client.recv() == "SEE YOU"
                assert await plain.recv() == "Server is shutting down, please disconnect."
                assert await own_words.recv() == '{"type": "bye"}'
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert b"Traceback" not in output
