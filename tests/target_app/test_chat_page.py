"""The chat page in a real Chromium: what a person sees, and what a browser is told."""

from __future__ import annotations

import re
import shutil
import signal

import httpx
import pytest
from playwright.async_api import async_playwright, expect

from target_app.routes.page import prefers_html
from tests.target_app.conftest import until
from tests.target_app.switch import Switch

CHROMIUM = shutil.which("chromium")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
ANNOUNCING = {"TARGET_ANNOUNCE_LIMIT": "500"}
DEADLINE_MS = 60_000
expect.set_options(timeout=DEADLINE_MS)


@pytest.fixture
async def browse():
    """Open pages, ``await browse(server)``; assert that none complained or asked elsewhere."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=FLAGS, timeout=DEADLINE_MS
        )
        complaints, asked, hosts = [], set(), set()

        async def open_page(server, path="/", **options):
            context = await browser.new_context(**options)
            page = await context.new_page()
            page.set_default_timeout(DEADLINE_MS)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("request", lambda request: asked.add(request.url.split("/")[2]))
            page.host = f"127.0.0.1:{server.port}"
            hosts.add(page.host)
            await page.goto(f"http://{page.host}{path}")
            await connected(page)
            return page

        yield open_page
        await browser.close()
        assert complaints == []
        assert asked <= hosts, "no page asks any other host"


async def connected(page):
    await expect(page.locator("#connection")).to_have_attribute("data-state", "connected")


async def say(page, text):
    await page.fill("#text", text)
    await page.press("#text", "Enter")


async def test_two_tabs_talk_to_each_other(serve, browse):
    server = await serve()
    one, two = await browse(server), await browse(server)
    await say(one, "hello from one")
    await expect(one.locator(".chat.own")).to_have_text("Youhello from one")
    other = two.locator(".chat:not(.own)")
    await expect(other).to_contain_text("hello from one")
    await expect(other.locator(".by")).to_have_text(re.compile(r"^Client \d{13}$"))
    await say(two, "and back")
    await expect(one.locator(".chat:not(.own)")).to_contain_text("and back")
    await expect(one.locator("#empty")).to_be_hidden()


async def test_coming_and_going_is_shown_apart_from_chat(serve, browse):
    server = await serve(**ANNOUNCING)
    page = await browse(server)
    await expect(page.locator(".notice")).to_have_count(1)
    client = await server.connect()
    await expect(page.locator(".notice").nth(1)).to_have_text(re.compile("connected"))
    await client.close()
    await expect(page.locator(".notice").nth(2)).to_have_text(re.compile("disconnected"))
    await expect(page.locator(".chat")).to_have_count(0)


async def test_what_somebody_says_is_never_taken_for_a_notice_or_for_html(serve, browse):
    server = await serve()
    page = await browse(server)
    client = await server.connect("/ws/42")
    said = [
        "Server is running...",
        "Server is shutting down, please disconnect.",
        'Client "1.2.3.4:5" connected.',
        "<img src=x onerror=\"document.title='caught'\"><b>bold</b>",
        "two\nlines",
    ]
    for text in said:
        await client.send(text)
    await expect(page.locator(".chat")).to_have_count(len(said))
    assert [await page.locator(".chat").nth(n).inner_text() for n in range(len(said))] == [
        f"Client 42\n{text}" for text in said
    ]
    await expect(page.locator("#log img, #log b")).to_have_count(0)
    await expect(page.locator("#shutdown")).to_be_hidden()
    assert "caught" not in await page.title()


async def test_who_has_a_negative_number_is_called_by_it(serve, browse):
    server = await serve()
    page = await browse(server)
    client = await server.connect("/ws/-5")
    await client.send("hello")
    await expect(page.locator(".chat")).to_have_text("Client -5hello")
    await expect(page.locator(".by")).to_have_text("Client -5")


async def test_a_heartbeat_is_a_sign_of_life_and_no_message(serve, browse):
    server = await serve("--heartbeat-seconds", "0.1")
    page = await browse(server)
    await expect(page.locator("#heartbeat")).to_have_text("Last heartbeat just now")
    await expect(page.locator("#log li")).to_have_count(0)


async def test_a_page_that_is_asked_to_leave_leaves_and_comes_back_after_the_restart(serve, browse):
    server = await serve(TARGET_DRAIN_TIMEOUT_SECONDS="1000")
    pages = [await browse(server) for _ in range(2)]
    await pages[0].fill("#text", "written before")
    server.send_signal(signal.SIGTERM)
    assert await server.exit_status() == 0, "no open tab holds a drain"
    for page in pages:
        await expect(page.locator("#shutdown")).to_contain_text("shutting down")
        await expect(page.locator("#state")).to_have_text(
            re.compile(r"^The server is shutting down\. Reconnecting in \d+ s")
        )
        await expect(page.locator("#log li")).to_have_count(0)
    again = await serve(port=server.port)
    for page in pages:
        await connected(page)
        await expect(page.locator("#shutdown")).to_be_hidden()
    await pages[0].press("#text", "Enter")
    await expect(pages[1].locator(".chat")).to_contain_text("written before")
    await again.until_stats(open={"/ws/{client_id}": 2})


SHUTTING_DOWN = "Server is shutting down, please disconnect."


@pytest.fixture
async def two_behind_a_switch(serve, tmp_path):
    """Two servers with a bus between them, and a switch that sends newcomers to the first."""
    joined = {"TARGET_RUN_DIR": str(tmp_path), "TARGET_DRAIN_TIMEOUT_SECONDS": "1000"}
    servers = [await serve(**joined) for _ in range(2)]

    async def hear_each_other():
        workers = (await servers[0].stats())["workers"]
        return [worker["bus"]["peers"] for worker in workers] == [1, 1]

    await until(hear_each_other)
    async with Switch(servers[0].port).listening() as switch:
        yield *servers, switch


async def states(page):
    """Begin to write down what the page says of its connection, as ``window.states``."""
    await page.evaluate(
        """() => {
          window.states = [];
          new MutationObserver(() => states.push(document.getElementById("state").textContent))
            .observe(document.getElementById("state"), { childList: true });
        }"""
    )


async def test_a_page_whose_server_drains_moves_to_another_one_and_is_never_without(
    two_behind_a_switch, browse
):
    old, new, switch = two_behind_a_switch
    page = await browse(switch)
    await states(page)
    await page.fill("#text", "written before")
    await old.until_stats(open={"/ws/{client_id}": 1})
    switch.target = new.port
    old.send_signal(signal.SIGTERM)
    assert await old.exit_status() == 0, "no open tab holds a drain, whoever else is ready"
    await new.until_stats(open={"/ws/{client_id}": 1})
    await page.press("#text", "Enter")
    await expect(page.locator("#log li")).to_have_text("Youwritten before")
    assert set(await page.evaluate("states")) <= {"Connected"}
    await expect(page.locator("#shutdown")).to_be_hidden()


async def at_rest(page):
    """Let no time pass in the page but what the test lets pass."""
    await page.clock.install()
    await page.clock.pause_at(await page.evaluate("Date.now() / 1000 + 1"))


async def until_page(page, condition):
    """Wait for what the page's script knows. (Playwright's own way to wait needs time to pass.)"""

    async def holds():
        return await page.evaluate(condition)

    await until(holds)


async def test_what_is_said_while_a_page_moves_comes_once(two_behind_a_switch, browse):
    old, new, switch = two_behind_a_switch
    page = await browse(switch)
    await at_rest(page)
    await page.evaluate(
        """() => {
          window.shown = [];
          const note = (changes) => changes.forEach(({ addedNodes }) =>
            addedNodes.forEach((line) => shown.push(line.lastChild.textContent)));
          new MutationObserver(note).observe(document.getElementById("log"), { childList: true });
        }"""
    )
    speakers, said = [await old.connect("/ws/1"), await new.connect("/ws/2")], []

    async def say_and_see(when):
        for speaker in speakers:
            for text in (f"first {when}", "again", "again"):
                await speaker.send(text)
                said.append(text)
        await until_page(page, f"shown.length >= {len(said)} && onlyOnce.length === 0")

    await say_and_see("before")
    switch.target = new.port
    old.send_signal(signal.SIGTERM)
    await until_page(page, "moving !== null")
    await say_and_see("when it was asked to leave")
    await page.clock.run_for(1_000)
    await until_page(page, "left !== null")
    await say_and_see("on both connections")
    await page.clock.run_for(1_000)
    assert await page.evaluate("left === null")
    await old.until_stats(accepted=4, closed_by_code={"1000": 1})
    await say_and_see("when it had moved")
    assert sorted(await page.evaluate("shown")) == sorted(said)


async def test_a_page_outlives_a_rolling_restart_and_holds_none_of_the_workers(serve, browse):
    server = await serve("--workers", "2", TARGET_DRAIN_TIMEOUT_SECONDS="1000")
    pages = [await browse(server) for _ in range(2)]
    before = await workers_of(server)
    assert len(before) == 2
    server.send_signal(signal.SIGHUP)

    async def all_are_new():
        now = await workers_of(server)
        return len(now) == 2 and not now & before

    await until(all_are_new)
    for page in pages:
        await connected(page)
    await server.until_stats(open={"/ws/{client_id}": 2})


async def workers_of(server):
    """Return which workers answer; none while the one that was asked comes or goes."""
    try:
        return {worker["pid"] for worker in (await server.stats())["workers"]}
    except httpx.TransportError:
        return set()


async def test_who_only_says_what_the_server_says_makes_a_page_move_and_seldom(serve, browse):
    server = await serve()
    page, nameless = await browse(server), await server.connect("/ws")
    await at_rest(page)

    async def shout():
        for text in (SHUTTING_DOWN, SHUTTING_DOWN, "and more"):
            await nameless.send(text)
        await expect(page.locator(".chat")).to_contain_text("and more")
        await page.evaluate("document.getElementById('log').replaceChildren()")

    async def move(accepted, within_ms):
        await page.clock.run_for(within_ms)
        await until_page(page, "left !== null")
        await server.until_stats(accepted=accepted, open={"/ws": 1, "/ws/{client_id}": 2})
        await page.clock.run_for(1_000)
        await server.until_stats(accepted=accepted, open={"/ws": 1, "/ws/{client_id}": 1})

    await shout()
    await move(accepted=3, within_ms=1_000)
    await shout()
    await page.clock.run_for(7_000)
    assert await page.evaluate("moving !== null && next === null")
    await server.until_stats(accepted=3)
    await move(accepted=4, within_ms=4_000)
    await say(page, "still here")
    await expect(page.locator(".chat.own")).to_have_text("Youstill here")


async def test_nobody_but_the_server_can_take_a_pages_place_when_all_are_taken(serve, browse):
    server = await serve("--max-connections", "2")
    page, nameless = await browse(server), await server.connect("/ws")
    await states(page)
    await nameless.send(SHUTTING_DOWN)
    await server.until_stats(refused={"full": 1})
    await expect(page.locator(".notice")).to_have_text(SHUTTING_DOWN)
    await say(page, "still here")
    assert await nameless.recv() == SHUTTING_DOWN
    assert (await nameless.recv()).endswith("still here")
    assert set(await page.evaluate("states")) <= {"Connected"}
    await server.until_stats(accepted=2, open={"/ws": 1, "/ws/{client_id}": 1})


async def test_who_disconnects_while_a_page_moves_stays_disconnected(serve, browse):
    server = await serve()
    page, nameless = await browse(server), await server.connect("/ws")
    await at_rest(page)
    await nameless.send(SHUTTING_DOWN)
    await nameless.send("and more")
    await expect(page.locator(".chat")).to_contain_text("and more")
    await page.click("#disconnect")
    await server.until_stats(open={"/ws": 1})
    await page.clock.run_for(60_000)
    await expect(page.locator("#state")).to_have_text("Disconnected")
    await server.until_stats(accepted=2, open={"/ws": 1})


async def test_who_has_disconnected_is_not_brought_back_by_a_restart(serve, browse):
    server = await serve(TARGET_DRAIN_TIMEOUT_SECONDS="1000")
    page = await browse(server)
    await page.click("#disconnect")
    await expect(page.locator("#state")).to_have_text("Disconnected")
    server.send_signal(signal.SIGTERM)
    assert await server.exit_status() == 0
    again = await serve(port=server.port)
    await again.until_stats(accepted=0)
    await expect(page.locator("#state")).to_have_text("Disconnected")


async def test_it_comes_back_by_itself_when_the_server_does(serve, browse):
    server = await serve(TARGET_DRAIN_TIMEOUT_SECONDS="0")
    page = await browse(server)
    await page.fill("#text", "written before")
    server.send_signal(signal.SIGTERM)
    state = page.locator("#state")
    await expect(state).to_have_text(
        re.compile(r"server is shutting down.*\. Reconnecting", re.IGNORECASE)
    )
    await expect(page.locator("#send")).to_be_disabled()
    await expect(page.locator("#hint")).to_contain_text("Not connected")
    await expect(page.locator("#reconnect")).to_be_visible()
    await server.exit_status()
    again = await serve(port=server.port)
    await connected(page)
    await page.press("#text", "Enter")
    await expect(page.locator(".chat.own")).to_contain_text("written before")
    assert (await again.stats())["open"]["/ws/{client_id}"] == 1


async def test_who_disconnects_stays_disconnected_until_they_say_otherwise(serve, browse):
    server = await serve()
    page = await browse(server)
    await page.click("#disconnect")
    await expect(page.locator("#state")).to_have_text("Disconnected")
    await server.until_stats(open={})
    await page.click("#reconnect")
    await connected(page)


async def test_the_keyboard_is_enough(serve, browse):
    server = await serve()
    page = await browse(server)
    await expect(page.locator("#text")).to_be_focused()
    await page.keyboard.type("first")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("second")
    await page.keyboard.press("Enter")
    await expect(page.locator(".chat.own")).to_have_text("Youfirst\nsecond")
    await expect(page.locator("#text")).to_have_value("")
    await page.keyboard.press("Enter")
    await page.keyboard.type("   ")
    await page.keyboard.press("Enter")
    await say(page, "third")
    await expect(page.locator(".chat")).to_have_count(2)
    await page.keyboard.press("Tab")
    await expect(page.locator("#send")).to_be_focused()
    await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Shift+Tab")
    await expect(page.locator("#scroll")).to_be_focused()
    await page.keyboard.press("Shift+Tab")
    await expect(page.locator("#disconnect")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_phone_shows_all_of_it_without_scrolling_sideways(serve, browse, scheme):
    server = await serve()
    page = await browse(
        server,
        "/?room=a-room-with-quite-a-long-name",
        viewport={"width": 360, "height": 640},
        has_touch=True,
        is_mobile=True,
        color_scheme=scheme,
    )
    await say(page, "x" * 300)
    await expect(page.locator(".chat")).to_have_count(1)
    for element in ("#send", "#text", "#state", "#disconnect", "#heartbeat"):
        box = await page.locator(element).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
        assert box["y"] + box["height"] <= 640
    widths = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert widths[0] <= widths[1]
    await expect(page.locator("#room")).to_have_text(" in room a-room-with-quite-a-long-name")


async def test_the_log_is_bounded_and_leaves_a_reader_where_they_read(serve, browse):
    server = await serve()
    page = await browse(server)
    client = await server.connect()
    for n in range(1010):
        await client.send(f"line {n}")
        await client.recv()
    await expect(page.locator("#log li").last).to_contain_text("line 1009")
    await expect(page.locator("#log li")).to_have_count(1000)
    await expect(page.locator("#log li").last).to_be_in_viewport()
    await page.locator("#log li").first.scroll_into_view_if_needed()
    # The page hears of its own scrolling with the next frame.
    await page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
    await client.send("news")
    await expect(page.locator("#unread")).to_be_visible()
    await expect(page.locator("#log li").last).not_to_be_in_viewport()
    await page.click("#unread")
    await expect(page.locator("#log li").last).to_be_in_viewport()
    await expect(page.locator("#unread")).to_be_hidden()


async def test_the_page_takes_its_token_and_room_along(serve, browse):
    server = await serve("--token", "s3cret")
    page = await browse(server, "/?token=s3cret&room=blue")
    client = await server.connect("/ws?token=s3cret&room=blue")
    await client.send("in blue")
    await expect(page.locator(".chat")).to_contain_text("in blue")


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        ("", False),
        ("*/*", False),
        ("text/html", True),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("application/json", False),
        ("application/json, text/html;q=0.9", False),
        ("text/html;q=0.4, application/json;q=0.3", True),
        ("TEXT/HTML; Q=1.0", True),
        ("text/html;q=0", False),
        ("text/html;q=nonsense", False),
        ("application/json;q=0.5, text/html;level=1", True),
    ],
)
def test_only_who_asks_for_html_prefers_it(accept, html):
    assert prefers_html(accept) is html


async def test_the_page_is_guarded_against_scripts_and_frames_of_others(serve):
    server = await serve()
    response = await server.http.get("/", headers={"Accept": "text/html"})
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert response.headers["vary"] == "Accept"
    assert "<script>" not in response.text
    assert "style=" not in response.text
    for name in ("chat.js", "chat.css", "favicon.svg"):
        assert (await server.http.get(f"/static/{name}")).status_code == 200
