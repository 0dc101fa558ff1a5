"""Locust's web UI in a real Chromium: a tester picks, starts, looks, stops, downloads."""

from __future__ import annotations

import os
import re
import shutil
import signal
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import FrameLocator, Locator, Page, async_playwright, expect

from reports.record import read_record
from reports.summary import summarise
from tests.loadtests.locust.driver import Locust, locust, records, swarms
from tests.servers.launch import known, launch

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
SHAPES = "loadtests/locust/locustfile.py,loadtests/locust/shapes/steps.py"

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
            # Of a test that begins before Locust's page has had its first answer, which says that
            # none does, the page asks no more.
            async with page.expect_response("**/stats/requests"):
                await page.goto(f"http://127.0.0.1:{port}/")
            return page

        yield open_page
        await browser.close()
    assert complaints == []


def tab(page: Page) -> FrameLocator:
    """Our page, within Locust's tab."""
    return page.frame_locator("iframe[title=swarmgate]")


def row(page: Page, figure: str) -> Locator:
    """What a table of our page shows beside the name of a figure."""
    name = tab(page).get_by_role("rowheader", name=figure, exact=True)
    return tab(page).get_by_role("row").filter(has=name)


def tile(page: Page, label: str) -> Locator:
    return tab(page).locator(".tile").filter(has=tab(page).get_by_text(label, exact=True))


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


SLOW_TO_START = """\
import gevent
from locust import events


@events.init.add_listener
def after_ours(environment, **_):
    environment.events.test_start.add_listener(lambda **_: gevent.sleep(2))
"""


def test_a_test_that_is_slow_to_start_is_under_way_all_the_while(tmp_path: Path) -> None:
    """Locust's page goes back to its form, and asks no more, once it hears of no test."""
    slow = tmp_path / "slow_to_start.py"
    slow.write_text(SLOW_TO_START)
    with known() as server, locust(tmp_path, more=(slow,)) as running:
        running.start(server.url(), 3, 3, "EchoSwarm")
        states = [running.stats()["state"]]
        while states[-1] != "running":
            states.append(running.stats()["state"])
        running.stop()
    assert set(states) == {"spawning", "running"}


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
        # The message goes with the next change of the form.
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
        verdict = tab(page).get_by_label("Validity")
        await expect(verdict).to_contain_text("Valid so far")
        await expect(tile(page, "Open now")).to_have_text(
            re.compile(r"Open now\s*30\s*of 30 requested")
        )
        await expect(tile(page, "Delivery to the last, mean")).to_contain_text(
            re.compile("first .* half")
        )
        # Of a round that has ended; the next goes on.
        await expect(row(page, "expected")).to_have_text(re.compile("expected *[1-9]"))
        for figure in ("lost", "duplicated", "reordered"):
            await expect(row(page, figure)).to_have_text(re.compile(f"{figure} *0"))
        await expect(tile(page, "Server memory now")).to_contain_text("MB")
        await expect(tab(page).locator(".limit")).to_contain_text(
            re.compile("generator .* of the time")
        )
        for worker in ("0", "1"):
            await expect(row(page, worker)).to_contain_text(re.compile(r"keeps? up *15"))
        await expect(tab(page).get_by_role("heading", name="over time")).to_have_text(
            ["Delivery at each receiver, over time", "Opening a connection, over time"]
        )
        # What is shown is in the scheme that the person has chosen, and chooses anew.
        is_light = scheme == "light"
        await expect_light(page, is_light)
        await page.locator("header button").last.click()
        await expect_light(page, not is_light)

        await page.get_by_role("tab", name="Statistics").click()
        await expect(page.locator("iframe")).to_have_count(0)
        delivery = page.get_by_role("row", name=re.compile("BroadcastSwarm delivery"))
        await expect(delivery).to_contain_text(re.compile(r"\d\.\d"))

        await page.get_by_role("button", name="Stop").click()
        running.wait(lambda: running.users() == 0, "nobody is left")
        await page.get_by_role("tab", name="swarmgate").click()
        await expect(row(page, "1000 normal closure")).to_contain_text("30")
        await expect(tab(page).get_by_text("ended, exit status")).to_be_visible()
        await expect(tile(page, "Connections opened")).to_contain_text("of 30 requested")
        assert_nothing_twice(running)
        assert_asks_nobody_else(running)

        await page.get_by_role("tab", name="Download Data").click()
        for title, check in (("record", _is_the_record), ("report", _is_the_report)):
            async with page.expect_download() as download:
                await page.get_by_role("link", name=f"Download swarmgate {title}").click()
            path = tmp_path / f"downloaded-{title}.run.jsonl"
            await (await download.value).save_as(path)
            check(path)
    (record,) = records(tmp_path)
    assert summarise(record).figures["integrity.lost"] == 0


async def expect_light(page: Page, is_light: bool) -> None:
    """What Locust shows and what we show are both light, or both dark."""
    for body in (page.locator("body"), tab(page).locator("body")):
        colour = re.compile(r"rgb\(255, 255, 255\)" if is_light else r"rgb\(1\d, 1\d, 1\d\)")
        await expect(body).to_have_css("background-color", colour)


def assert_nothing_twice(running: Locust) -> None:
    """No figure is there twice: none has the name of another."""
    found = re.findall(r'class="label">([^<]+)<|scope="row">([^<]+)<', running.page())
    names = [name.lower() for pair in found for name in pair if name]
    assert len(names) > 15
    assert sorted(set(names)) == sorted(names)


def assert_asks_nobody_else(running: Locust) -> None:
    for page in (running.page(""), running.page("static/live.js"), running.page("static/tab.js")):
        assert not re.search(r"""(src|href|fetch\()\s*=?\s*["']?(\w+:)?//|@import|url\(""", page)


async def test_open_stands_beside_asked_where_half_are_refused(
    tmp_path: Path, browse: Open
) -> None:
    """Locust's count of users is what is open; what was asked is shown in the tab."""
    with launch("tests.servers.obedient", "0") as server:
        options = ("--processes", "2", "-u", "40", "-r", "40", "--host", server.url("/refuse-half"))
        with locust(tmp_path, *options) as running:
            running.wait(lambda: running.stats()["worker_count"] == 2, "two workers")
            page = await browse(running.port, "light")
            await page.get_by_role("button", name="Start").click()
            await page.get_by_role("tab", name="swarmgate").click()
            asked = re.compile(r"Open now\s*20\s*of 40 requested\s*$")
            await expect(tile(page, "Open now")).to_have_text(asked)
            await expect(page.locator("header")).to_contain_text(re.compile("Users *20"))
            await expect(row(page, "upgrade:http-403")).to_contain_text("20")
            verdict = tab(page).get_by_label("Validity")
            await expect(verdict).to_contain_text("Failed so far")
            await expect(tab(page).locator(".failed-run")).to_be_visible()
            running.stop()
            running.wait(lambda: running.users() == 0, "nobody is left")
            await expect(verdict).to_contain_text("20 errors (upgrade:http-403 × 20)")
            await expect(verdict.get_by_role("heading")).to_contain_text("Failed")


async def test_who_is_still_being_let_in_is_no_user_yet(tmp_path: Path, browse: Open) -> None:
    """Of a server that accepts connections and answers no handshake."""
    with launch("tests.servers.obedient", "0") as server:
        options = ("--processes", "2", "-u", "6", "-r", "6", "--host", server.url("/stall"))
        with locust(tmp_path, *options, "--swarm-flags", "--timeout 1h") as running:
            running.wait(lambda: running.stats()["worker_count"] == 2, "two workers")
            page = await browse(running.port, "light")
            await page.get_by_role("button", name="Start").click()
            await page.get_by_role("tab", name="swarmgate").click()
            opening = re.compile(r"Open now\s*0\s*of 6 requested, 6 being opened\s*$")
            await expect(tile(page, "Open now")).to_have_text(opening)
            await expect(page.locator("header")).to_contain_text(re.compile("Users *0"))
            assert [it["user_count"] for it in running.stats()["workers"]] == [0, 0]


async def test_an_invalid_run_looks_invalid(tmp_path: Path, browse: Open) -> None:
    with known() as server:
        options = ("--processes", "2", "-u", "20", "-r", "20", "--host", server.url())
        with locust(tmp_path, *options, enduring=False) as running:
            running.wait(lambda: running.stats()["worker_count"] == 2, "two workers")
            page = await browse(running.port, "dark")
            await page.get_by_role("button", name="Start").click()
            await page.get_by_role("tab", name="swarmgate").click()
            open_now = tile(page, "Open now")
            await expect(open_now).to_contain_text("20")
            await expect(tab(page).locator(".held-run")).to_be_visible()
            os.kill(swarms(running.process.pid)[0], signal.SIGKILL)
            verdict = tab(page).get_by_label("Validity")
            await expect(verdict).to_contain_text("Invalid")
            await expect(verdict).to_contain_text(
                "These figures cannot be used to judge the server."
            )
            await expect(verdict).to_contain_text("are lost by the generator, not by the server")
            await expect(tab(page).locator("tr.unwell")).to_contain_text("lost")
            # Not in words alone: figures that say nothing are struck out.
            struck = tab(page).locator(".invalid-run .tile .value").first
            await expect(struck).to_have_css("text-decoration-line", "line-through")
            running.stop()
            running.wait(lambda: running.users() == 0, "nobody is left")
            await expect(tab(page).get_by_text("ended, exit status 3")).to_be_visible()
            await expect(struck).to_have_css("text-decoration-line", "line-through")


async def test_a_page_whose_locust_is_gone_says_so(tmp_path: Path, browse: Open) -> None:
    with locust(tmp_path, "--host", "ws://127.0.0.1:1") as running:
        page = await browse(running.port, "light")
        await page.goto(f"http://127.0.0.1:{running.port}/swarmgate/")
        await expect(page.get_by_role("heading", name="No swarm users")).to_be_visible()
        await expect(page.get_by_role("alert")).not_to_be_visible()
        running.end(signal.SIGKILL)
        await expect(page.get_by_role("alert")).to_contain_text("Locust does not answer")


def _is_the_record(path: Path) -> None:
    assert summarise(read_record(path)).figures["connections.opened"] == 30


def _is_the_report(path: Path) -> None:
    assert path.read_text().startswith("<!doctype html>")
    assert "broadcast" in path.read_text()
