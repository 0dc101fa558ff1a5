"""Locust's web UI in a real Chromium: a tester picks, starts, looks, stops, downloads."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import Page, async_playwright, expect

from reports.record import read_record
from reports.summary import summarise
from tests.loadtests.locust.driver import locust, records
from tests.servers.launch import known

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CHROMIUM = shutil.which("chromium")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
DEADLINE_MS = 60_000
expect.set_options(timeout=DEADLINE_MS)
SHAPES = "loadtests/locustfile.py,loadtests/shapes/steps.py"

COUNT_CLICKS = "window.clicks = 0; addEventListener('click', () => clicks++, true)"

Open = "Callable[[int, str], Awaitable[Page]]"


@pytest.fixture
async def browse() -> AsyncIterator[Open]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    complaints: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=FLAGS, timeout=DEADLINE_MS
        )

        async def open_page(port: int, scheme: str) -> Page:
            context = await browser.new_context(color_scheme=scheme)
            page = await context.new_page()
            page.set_default_timeout(DEADLINE_MS)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            await page.goto(f"http://127.0.0.1:{port}/")
            return page

        yield open_page
        await browser.close()
    assert complaints == []


def row(page: Page, figure: str):
    """What the tab shows beside the name of a figure."""
    name = page.get_by_role("cell", name=figure, exact=True)
    return page.get_by_role("row").filter(has=name).first


def box(page: Page, name: str):
    """The box of a user class in the picker."""
    return page.get_by_role("row", name=name).get_by_role("checkbox")


async def test_one_click_starts_the_first_test(tmp_path: Path, browse: Open) -> None:
    """As from ``nox -s locust``, which gives host and numbers."""
    with known() as server:
        options = ("--processes", "2", "-u", "30", "-r", "30", "--host", server.url())
        with locust(tmp_path, *options) as running:
            running.wait(lambda: running.stats()["worker_count"] == 2, "two workers")
            page = await browse(running.port, "light")
            await expect(box(page, "EchoSwarm")).to_be_checked()
            ticked = page.get_by_role("row").get_by_role("checkbox", checked=True)
            # The other is the box on top, of all that are ticked at first.
            await expect(ticked).to_have_count(2)
            await page.evaluate(COUNT_CLICKS)
            await page.get_by_role("button", name="Start").click()
            await expect(page.get_by_text("RUNNING")).to_be_visible()
            assert await page.evaluate("clicks") == 1
            running.wait(lambda: running.users() == 30, "all are open")
            running.stop()
            running.wait(lambda: running.users() == 0, "nobody is left")
    (record,) = records(tmp_path)
    assert record.header.scenario == "echo"


async def test_more_classes_than_anybody_means_are_refused(tmp_path: Path, browse: Open) -> None:
    with locust(tmp_path, "--host", "ws://127.0.0.1:1") as running:
        page = await browse(running.port, "light")
        start = page.get_by_role("button", name="Start")
        refused = page.get_by_text("11 classes of swarm users on 1 worker")
        # None ticked is all of them to Locust.
        await box(page, "EchoSwarm").click()
        await start.click()
        await expect(refused).to_be_visible()
        for row in await page.get_by_role("row", name="Swarm").all():
            await row.get_by_role("checkbox").click()
        # What was said goes with the next change of the form.
        await page.get_by_label("Host").fill("ws://127.0.0.1:2")
        await expect(refused).not_to_be_visible()
        await start.click()
        await expect(refused).to_be_visible()
        assert running.stats()["state"] == "ready"


async def test_the_form_ticks_what_the_command_line_names(tmp_path: Path, browse: Open) -> None:
    with locust(tmp_path, "HoldSwarm", "BroadcastSwarm") as running:
        page = await browse(running.port, "light")
        for name, is_ticked in {"HoldSwarm": 1, "BroadcastSwarm": 1, "EchoSwarm": 0}.items():
            await expect(box(page, name)).to_be_checked(checked=bool(is_ticked))


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_tester_picks_starts_looks_and_downloads(
    tmp_path: Path, browse: Open, scheme: str
) -> None:
    with known() as server, locust(tmp_path, "--processes", "2", "-u", "30", "-r", "30") as running:
        running.wait(lambda: running.stats()["worker_count"] == 2, "two workers")
        page = await browse(running.port, scheme)
        await page.get_by_label("Host").fill(server.url())
        for name in ("EchoSwarm", "BroadcastSwarm"):
            await box(page, name).click()
        await page.get_by_text("Custom parameters").click()
        await page.get_by_label("Swarm Flags").fill("--rate 20 --duration 1s")
        await page.get_by_role("button", name="Start").click()

        await page.get_by_role("tab", name="swarmgate").click()
        await expect(row(page, "connections")).to_contain_text("30 of 30")
        await expect(row(page, "Delivery")).to_contain_text(re.compile("half .* last"))
        await expect(row(page, "Ledger")).to_contain_text("0 lost")
        await expect(row(page, "server memory")).to_contain_text("MB")
        await expect(row(page, "Worker 1")).to_contain_text(re.compile("15 open.* loop lag"))
        # What is shown is in the scheme that the person has chosen.
        colour = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (colour == "rgb(255, 255, 255)") == (scheme == "light")

        await page.get_by_role("tab", name="Statistics").click()
        delivery = page.get_by_role("row", name=re.compile("BroadcastSwarm delivery"))
        await expect(delivery).to_contain_text(re.compile(r"\d\.\d"))

        await page.get_by_role("button", name="Stop").click()
        running.wait(lambda: running.users() == 0, "nobody is left")
        await page.get_by_role("tab", name="swarmgate").click()
        await expect(row(page, "Close codes")).to_contain_text("1000 × 30")

        await page.get_by_role("tab", name="Download Data").click()
        for title, check in (("record", _is_the_record), ("report", _is_the_report)):
            async with page.expect_download() as download:
                await page.get_by_role("link", name=f"Download swarmgate {title}").click()
            path = tmp_path / f"downloaded-{title}.run.jsonl"
            await (await download.value).save_as(path)
            check(path)
    (record,) = records(tmp_path)
    assert summarise(record).figures["integrity.lost"] == 0


def _is_the_record(path: Path) -> None:
    assert summarise(read_record(path)).figures["connections.opened"] == 30


def _is_the_report(path: Path) -> None:
    assert path.read_text().startswith("<!doctype html>")
    assert "broadcast" in path.read_text()
