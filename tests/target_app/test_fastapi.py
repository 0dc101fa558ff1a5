"""FastAPI for real: routers, dependencies, handlers, middleware, mounting, ``TestClient``."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import Annotated

import pytest
from fastapi import (
    APIRouter,
    Depends,
    FastAPI,
    Header,
    HTTPException,
    WebSocket,
    WebSocketException,
)
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection  # noqa: TC002 - FastAPI needs it at run time
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from target_app import (
    GUARDED,
    ClientId,
    Connection,
    Endpoint,
    Identity,
    Message,
    Room,
    ServeAdopted,
    Services,
    Settings,
    adopt,
    create_app,
    guard,
    identified_by,
)
from target_app.routes import chat, session
from tests.target_app.conftest import DEADLINE_SECONDS, until

QUIET = {"heartbeat_seconds": 0, "announce_limit": 0}


def application(**settings):
    return create_app(Settings(**(QUIET | settings)))


@pytest.fixture
def client():
    with TestClient(application()) as client:
        yield client


# TestClient


def test_every_endpoint_answers_a_test_client(client):
    for path in ("/ws", "/ws/7", "/echo"):
        with client.websocket_connect(path) as websocket:
            websocket.send_text("hello")
            assert websocket.receive_text().endswith("hello")
    with client.websocket_connect("/ws/py_client") as websocket:
        assert websocket.receive_json()["event"] == "connect"
    with client.websocket_connect("/ws/some-session") as websocket:
        websocket.send_json({"type": "JOIN_CLASS", "payload": {"classId": "7b"}})
        assert websocket.receive_json()["type"] == "CLASS_JOINED"
    assert client.get("/stats").json()["closed_by_code"] == {"1000": 5}


def test_two_test_clients_hear_each_other(client):
    with client.websocket_connect("/ws") as one, client.websocket_connect("/ws/7") as two:
        two.send_text("hello")
        assert one.receive_text() == two.receive_text() == "Client 7: hello"


@pytest.mark.parametrize("path", ["/ws", "/ws/7", "/ws/py_client", "/ws/some-session", "/echo"])
def test_without_a_lifespan_a_websocket_says_what_is_missing(path):
    with (
        pytest.raises(RuntimeError, match="lifespan was not entered: write `with TestClient"),
        TestClient(application()).websocket_connect(path),
    ):
        pass


@pytest.mark.parametrize("path", ["/loop", "/adopting", "/wrapped/loop", "/nowhere"])
def test_without_a_lifespan_no_endpoint_is_silent_be_it_guarded_or_not(path):
    app = with_loop(application())
    endpoint = Endpoint("/adopting")

    @app.websocket("/adopting")
    async def adopting(websocket: WebSocket) -> None:
        await adopt(websocket, endpoint)

    app.mount("/wrapped", ServeAdopted(with_loop(FastAPI()), Services(Settings(**QUIET))))
    for served in (app, ServeAdopted(app, app.services)):
        with (
            pytest.raises(RuntimeError, match="lifespan was not entered: write `with TestClient"),
            TestClient(served).websocket_connect(path),
        ):
            pass


def test_an_unknown_path_is_refused_with_404(client):
    with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/nowhere"):
        pass
    assert refused.value.status_code == 404
    assert client.get("/nowhere").json() == {"detail": "Not Found"}


def test_a_room_that_is_not_valid_is_refused_with_what_is_wrong(client):
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        client.websocket_connect("/ws?room=" + "x" * 129),
    ):
        pass
    assert refused.value.status_code == 422
    assert refused.value.json()["detail"][0]["loc"] == ["query", "room"]
    assert client.get("/stats").json()["refused"] == {"not_valid": 1}


def test_an_application_may_be_started_again_and_begins_anew():
    app = application()
    for _ in range(2):
        with TestClient(app) as client:
            for path in ("/ws", "/ws/py_client", "/ws/some-session"):
                with client.websocket_connect(path) as websocket:
                    websocket.send_text("hello")
                    assert websocket.receive_text()
            stats = client.get("/stats").json()
            assert stats["accepted"] == 3
            assert len(stats["open"]) == 5


# A startup of one's own, and FastAPI's options


def application_with(**options):
    return create_app(Settings(**QUIET), **options)


def test_a_lifespan_of_ones_own_is_entered_within_the_servers_and_its_state_is_at_hand():
    seen = []

    @contextlib.asynccontextmanager
    async def lifespan(app):
        seen.append(app.services.running)
        yield {"database": "open"}
        seen.append(app.services.running)

    app = application_with(lifespan=lifespan)

    @app.get("/state")
    async def state(connection: HTTPConnection) -> str:
        return connection.state.database

    for _ in range(2):
        with TestClient(app) as client:
            assert client.get("/state").json() == "open"
            with client.websocket_connect("/ws") as websocket:
                websocket.send_text("hello")
                assert websocket.receive_text() == "hello"
        assert not app.services.running
    assert seen == [True] * 4


def test_a_startup_that_fails_is_raised_as_it_is_and_leaves_nothing_running():
    @contextlib.asynccontextmanager
    async def lifespan(_app):
        raise LookupError("no database")
        yield

    app = application_with(lifespan=lifespan)
    with pytest.raises(LookupError, match="no database"), TestClient(app):
        pass
    assert not app.services.running


def test_event_handlers_run_as_in_any_fastapi_application():
    ran = []
    app = application_with(on_startup=[lambda: ran.append(app.services.running)])
    with pytest.warns(DeprecationWarning, match="on_event is deprecated"):
        declare = app.on_event("startup")

    @declare
    async def start() -> None:
        ran.append("application")

    router = APIRouter()
    router.add_event_handler("startup", lambda: ran.append("router"))
    app.include_router(router)
    app.router.add_event_handler("shutdown", lambda: ran.append(app.services.running))
    with TestClient(app):
        # FastAPI 0.165 calls those of a router twice.
        assert list(dict.fromkeys(ran)) == [True, "application", "router"]
        ran.clear()
    assert ran == [True]


def test_an_event_handler_that_fastapi_would_not_call_beside_a_lifespan_is_refused():
    @contextlib.asynccontextmanager
    async def lifespan(_app):
        yield

    app = application_with(lifespan=lifespan)
    with pytest.raises(RuntimeError, match="calls no on_event"):
        app.on_event("startup")
    for option in ("on_startup", "on_shutdown"):
        with pytest.raises(RuntimeError, match="calls no on_event"):
            application_with(lifespan=lifespan, **{option: [lambda: None]})


def test_the_options_of_fastapi_are_taken_and_win_over_the_servers_own():
    class Stamping:
        def __init__(self, app):
            self.app = app

        async def __call__(self, scope, receive, send):
            async def stamping(message):
                if message["type"] == "websocket.accept":
                    message = {**message, "headers": [(b"x-stamp", b"yes")]}
                await send(message)

            await self.app(scope, receive, stamping)

    asked = []

    async def dependency(connection: HTTPConnection) -> None:
        asked.append(connection.url.path)

    async def mine(_request, _error):
        return PlainTextResponse("mine", 422)

    app = application_with(
        title="mine",
        docs_url=None,
        openapi_url="/description",
        max_body_size=10,
        middleware=[Middleware(Stamping)],
        dependencies=[Depends(dependency)],
        exception_handlers={RequestValidationError: mine},
        telemetry={"tracing": False},
    )
    with TestClient(app) as client:
        assert client.get("/description").json()["info"]["title"] == "mine"
        assert client.get("/docs").status_code == 404
        with client.websocket_connect("/ws") as websocket:
            assert websocket.extra_headers == [(b"x-stamp", b"yes")]
        assert client.get("/healthz").status_code == 200
        assert client.post("/broadcast", json={}).text == "mine"
        assert client.post("/broadcast", json={"message": "too much"}).status_code == 413
    assert asked[:2] == ["/ws", "/healthz"]


@pytest.mark.parametrize(("most", "status"), [(2**20 + 10, 413), (2**20 + 100, 200), (None, 200)])
def test_the_bound_of_a_body_that_the_application_names_is_the_one_that_holds(most, status):
    app = application_with(max_body_size=most)
    assert app.router.max_body_size is None, "or it would be bounded twice"
    with TestClient(app) as client:
        answer = client.post("/broadcast", json={"message": "x" * (2**20 + 50)})
    assert answer.status_code == status


def test_a_body_that_is_too_large_is_no_failure_of_the_server():
    failures = []

    async def failed(_request, error):
        failures.append(error)

    app = create_app(Settings(**QUIET, body_bytes=100), exception_handlers={Exception: failed})
    with TestClient(app) as client:
        for path in ("/broadcast", "/healthz", "/nothing"):
            client.post(path, content=b"x" * 200)
        assert client.post("/broadcast", content=b"x" * 200).status_code == 413
    assert failures == []


# Dependencies, handlers, middleware


def test_a_dependency_may_be_overridden_and_says_who_the_client_is():
    app = application()

    async def user(x_user: Annotated[str | None, Header()] = None) -> str:
        if x_user is None:
            raise HTTPException(401, "who are you?")
        return x_user

    app.dependency_overrides[guard] = identified_by(user)
    with TestClient(app) as client:
        with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/ws"):
            pass
        assert (refused.value.status_code, refused.value.json()) == (
            401,
            {"detail": "who are you?"},
        )
        for path in ("/ws", "/ws/7", "/ws/py_client", "/ws/some-session", "/echo"):
            with client.websocket_connect(path, headers={"x-user": "alice"}):
                assert {c.identity for c in app.services.connections} == {"alice"}
        assert client.post("/broadcast", json={"message": "hello"}).status_code == 401
        assert client.get("/stats").status_code == 401


def test_what_says_who_the_client_is_may_depend_on_others_and_be_replaced_in_a_test():
    app = application()
    left = []

    async def database():
        yield "1"
        left.append("database")

    async def user(name: str = Depends(database)) -> str:
        return f"user {name}"

    @app.get("/me", dependencies=GUARDED)
    async def me(who: Identity) -> str | None:
        return who

    app.dependency_overrides[guard] = identified_by(user)
    with TestClient(app) as client:
        assert client.get("/me").json() == "user 1"
        assert left == ["database"], "it was asked once"
        left.clear()
        with client.websocket_connect("/ws"):
            assert [c.identity for c in app.services.connections] == ["user 1"]
        assert left == ["database"]
        app.dependency_overrides[user] = lambda: "nobody"
        with client.websocket_connect("/ws"):
            assert [c.identity for c in app.services.connections] == ["nobody"]


def test_the_user_of_a_token_is_known_by_name():
    app = application(users="alice=wonder land=2", token="shared")  # noqa: S106 - of this test alone
    with TestClient(app) as client:
        for token, who in (("wonder", "alice"), ("2", "land"), ("shared", None)):
            with client.websocket_connect(f"/ws?token={token}"):
                assert [c.identity for c in app.services.connections] == [who]
        with (
            pytest.raises(WebSocketDenialResponse) as refused,
            client.websocket_connect("/ws?token=%FF"),
        ):
            pass
        assert refused.value.status_code == 401


def test_a_websocket_exception_of_a_dependency_is_handled_as_by_fastapi():
    app = application()

    async def never() -> None:
        raise WebSocketException(4321, "never")

    class OddError(Exception):
        pass

    async def odd() -> None:
        raise OddError

    @app.exception_handler(OddError)
    async def handle(websocket, _error):
        await websocket.close(4322)

    @app.websocket("/never", dependencies=[Depends(never)])
    @app.websocket("/odd", dependencies=[Depends(odd)])
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()

    with TestClient(app) as client:
        for path, code in (("/never", 4321), ("/odd", 4322)):
            with pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect(path):
                pass
            assert closed.value.code == code


def test_middleware_has_the_handshake_and_may_add_to_it():
    app = application()
    seen = []

    class Adding:
        def __init__(self, app):
            self.app = app

        async def __call__(self, scope, receive, send):
            async def adding(message):
                if message["type"] == "websocket.accept":
                    message = {**message, "headers": [(b"x-added", b"yes")]}
                await send(message)

            if scope["type"] == "websocket":
                seen.append(scope["path"])
            await self.app(scope, receive, adding)

    app.add_middleware(Adding)
    with TestClient(app) as client, client.websocket_connect("/ws") as websocket:
        assert websocket.extra_headers == [(b"x-added", b"yes")]
        websocket.send_text("hello")
        assert websocket.receive_text() == "hello"
    assert seen == ["/ws"]


# Endpoints of others

LOUD = Room("shout", "everybody")


def with_shout(app):
    """Add an endpoint that adopts."""

    async def shouted(connection, data):
        await app.services.messages.to_room(LOUD, Message(str(data).upper()))

    shout = Endpoint("/shout", received=shouted, heartbeat=Message("still here"))

    @app.websocket("/shout/{name}", dependencies=GUARDED)
    async def endpoint(websocket: WebSocket, name: str) -> None:
        await adopt(websocket, shout, id=ClientId("shout", name), rooms=(LOUD,), subprotocol="loud")

    return app


def test_an_endpoint_of_somebody_elses_is_adopted():
    app = with_shout(application())
    with TestClient(app) as client, client.websocket_connect("/shout/me", ["loud"]) as websocket:
        assert websocket.accepted_subprotocol == "loud"
        websocket.send_text("hello")
        assert websocket.receive_text() == "HELLO"
        stats = client.get("/stats").json()
        assert (stats["open"]["/shout"], stats["rooms"]) == (1, {"shout:everybody": 1})


def test_a_websocket_is_adopted_once_and_accepted_by_that():
    app = application()
    endpoint = Endpoint("/twice")

    @app.websocket("/twice")
    async def twice(websocket: WebSocket) -> None:
        await adopt(websocket, endpoint)
        await adopt(websocket, endpoint)

    @app.websocket("/accepted")
    async def accepted(websocket: WebSocket) -> None:
        await websocket.accept()
        await adopt(websocket, endpoint)

    with TestClient(app) as client:
        for path in ("/twice", "/accepted"):
            with (
                pytest.raises(RuntimeError, match="accepts the WebSocket itself"),
                client.websocket_connect(path) as websocket,
            ):
                websocket.receive_text()
        assert not len(app.services.connections)


def with_loop(app, **options):
    """Add an endpoint as FastAPI's documentation has it."""

    @app.websocket("/loop", **options)
    async def loop(websocket: WebSocket) -> None:
        await websocket.accept()
        while True:
            await websocket.send_text(await websocket.receive_text())

    return app


def test_an_endpoint_that_goes_on_running_is_counted():
    app = with_loop(application())
    with TestClient(app) as client:
        with client.websocket_connect("/loop") as websocket:
            websocket.send_text("hello")
            assert websocket.receive_text() == "hello"
            stats = client.get("/stats").json()
            assert (stats["open"]["/loop"], stats["accepted"]) == (1, 1)
            assert (stats["messages_received"], stats["messages_sent"]) == (1, 1)
        stats = client.get("/stats").json()
        assert (stats["open"]["/loop"], stats["closed_by_code"]) == (0, {"1000": 1})


def test_a_mounted_application_is_counted_and_limited_too():
    app = application(max_connections=1)
    inner = with_loop(FastAPI())
    app.mount("/inner", inner)
    with TestClient(app) as client, client.websocket_connect("/inner/loop") as websocket:
        websocket.send_text("hello")
        assert websocket.receive_text() == "hello"
        assert client.get("/stats").json()["open"]["/loop"] == 1
        with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/ws"):
            pass
        assert refused.value.status_code == 503


async def test_a_guarded_router_may_have_requests_as_well(serve):
    server = await serve(
        *("--timeout-graceful-shutdown", "30"),
        module="uvicorn",
        app="tests.target_app.endpoints:app",
        TARGET_TOKEN="wonder",  # noqa: S106 - of this test alone
        TARGET_ALLOWED_ORIGINS="https://good.example",
        TARGET_MAX_CONNECTIONS="1",
    )

    async def status(token="wonder", origin="https://good.example"):  # noqa: S107
        asked = {"params": {"token": token}, "headers": {"origin": origin}}
        return (await server.http.get("/guarded/request", **asked)).status_code

    assert await status() == 200
    assert await status(token="other") == 401  # noqa: S106
    assert await status(origin="https://bad.example") == 403
    assert await server.refused("/guarded/loop") == 401
    client = await server.connect("/guarded/loop?token=wonder")
    assert await server.refused("/guarded/loop?token=wonder") == 503
    assert await status() == 200, "a request takes no place"
    server.send_signal(signal.SIGTERM)
    assert await client.recv() == '{"type": "bye"}'
    assert await status() == 200


# In an application of somebody else's


def test_mounted_in_another_application_it_works_or_says_what_is_missing():
    target = application()

    @contextlib.asynccontextmanager
    async def lifespan(_app):
        async with target.services.lifespan():
            yield

    for options, works in (({}, False), ({"lifespan": lifespan}, True)):
        outer = FastAPI(**options)
        outer.mount("/chat", target)
        with TestClient(outer) as client, contextlib.ExitStack() as expected:
            if not works:
                expected.enter_context(pytest.raises(RuntimeError, match=r"services\.lifespan"))
            with client.websocket_connect("/chat/ws") as websocket:
                websocket.send_text("hello")
                assert websocket.receive_text() == "hello"


def test_its_routers_work_in_another_application_or_say_what_is_missing():
    services = Services(Settings(**QUIET))
    outer = FastAPI(lifespan=services.lifespan)
    outer.include_router(chat.router(services), prefix="/v1")
    outer.include_router(session.router(services))
    with (
        TestClient(outer) as client,
        pytest.raises(RuntimeError, match=r"app\.add_middleware"),
        client.websocket_connect("/v1/ws"),
    ):
        pass
    services = Services(Settings(**QUIET))
    outer = FastAPI(lifespan=services.lifespan)
    outer.include_router(chat.router(services), prefix="/v1")
    outer.add_middleware(ServeAdopted, services=services)
    with TestClient(outer) as client, client.websocket_connect("/v1/ws/7") as websocket:
        websocket.send_text("hello")
        assert websocket.receive_text() == "Client 7: hello"


def test_a_mounted_application_is_served_below_everything_by_what_is_around_all():
    target = application()
    outer = FastAPI(lifespan=target.services.lifespan)
    outer.mount("/chat", target)
    app = ServeAdopted(outer, target.services)
    with TestClient(app) as client, client.websocket_connect("/chat/ws/7") as websocket:
        websocket.send_text("hello")
        assert websocket.receive_text() == "Client 7: hello"
        stats = client.get("/chat/stats").json()
        assert (stats["accepted"], sum(stats["open"].values())) == (1, 1)


async def test_what_fails_within_the_lifespan_is_raised_as_it_is():
    services = Services(Settings(**QUIET))
    with pytest.raises(LookupError, match="mine"):
        async with services.lifespan():
            raise LookupError("mine")
    assert not services.running
    async with services.lifespan():
        with pytest.raises(RuntimeError, match="entered already"):
            await services.lifespan().__aenter__()


async def test_a_connection_whose_handshake_ends_after_a_drain_is_closed_and_never_opened():
    services = Services(Settings(**QUIET))
    heard = []

    async def opened(_connection):
        heard.append("opened")

    async def closed(_connection):
        heard.append("closed")

    async def send(message):
        heard.append(message["code"])

    # One for the close frame that was sent, one when the connection is gone, as uvicorn does it.
    events = iter(2 * [{"type": "websocket.disconnect", "code": 1001}])

    async def receive():
        return next(events)

    connections = services.connections
    connections.close_newcomers(1001, "too late", 1.0)
    connections.begin_handshake()
    connection = Connection(Endpoint("/late", opened=opened, closed=closed), send)
    await connections.serve(connection, receive)
    assert heard == [1001]
    assert connections.places_taken == 0


def test_a_heartbeat_of_ones_own_makes_nobody_hear_what_is_said_to_all_who_chat():
    app = application()
    quiet = Endpoint("/quiet", heartbeat=Message("{}"))

    @app.websocket("/quiet")
    async def endpoint(websocket: WebSocket) -> None:
        await adopt(websocket, quiet)

    with TestClient(app) as client, client.websocket_connect("/quiet"):
        assert client.post("/broadcast", json={"message": "hello"}).json() == {"reached": 0}


# Over real sockets


async def test_a_startup_of_ones_own_comes_before_any_client_and_ends_after_the_drain(serve):
    server = await serve(module="uvicorn", app="tests.target_app.prepared:app")
    await server.says("before, running: True")
    client = await server.connect("/prepared")
    assert await client.recv() == "yes"
    await server.drain()
    assert not any("after" in line for line in server.lines)
    await client.close()
    await server.exit_status()
    await server.last_words()
    assert any("after, running: True" in line for line in server.lines)


async def test_who_a_client_is_stands_in_the_log(serve):
    server = await serve("--log-level", "info", "--users", "alice=wonder")
    client = await server.connect("/ws/7?token=wonder")
    host, port = client.local_address
    await client.close()

    async def logged():
        told = "".join(server.lines)
        return told if "ended" in told else None

    logged = await until(logged)
    assert f"/ws/{{client_id}} 7 by alice from {host}:{port} connected" in logged
    assert f"/ws/{{client_id}} 7 by alice from {host}:{port} ended: 1000" in logged


@pytest.mark.parametrize(
    "how",
    [
        {"module": "uvicorn", "app": "target_app.app:app"},
        {"TARGET_WORKERS": "1"},
        {"TARGET_WORKERS": "2"},
    ],
)
async def test_a_root_path_is_part_of_every_address(serve, how):
    server = await serve("--root-path", "/behind/a/proxy", **how)
    client = await server.connect("/ws")
    await client.send("hello")
    assert await client.recv() == "hello"
    page = await server.http.get("/", headers={"accept": "text/html"})
    assert 'data-path="/behind/a/proxy/ws"' in page.text
    assert await server.refused("/behind/a/proxy/ws") == 404, "the proxy takes it off"


async def test_an_endpoint_that_goes_on_running_is_told_and_closed_by_a_drain(serve_endpoints):
    # Far longer than it takes to see that one has left.
    server = await serve_endpoints(TARGET_DRAIN_TIMEOUT_SECONDS="8")
    leaving, staying, told = [
        await server.connect(path) for path in ("/loop", "/loop", "/told-in-json")
    ]
    await server.until_stats(open={"/loop": 2, "/told-in-json": 1})
    await server.drain()
    for client in (leaving, staying):
        assert await client.recv() == "Server is shutting down, please disconnect."
    assert await told.recv() == '{"type": "bye"}'
    await leaving.close()
    await server.until_stats(open={"/loop": 1, "/told-in-json": 1})
    for client in (staying, told):
        await asyncio.wait_for(client.wait_closed(), DEADLINE_SECONDS)
        assert client.close_code == 1001
    await server.exit_status()
    await server.last_words()
    assert not [line for line in server.lines if "Traceback" in line]


@pytest.mark.parametrize("path", ["/ticking", "/raw/ticking"])
async def test_who_sends_on_when_a_drain_has_closed_finds_that_the_client_has_left(
    serve_endpoints, path
):
    server = await serve_endpoints(
        TARGET_DRAIN_TIMEOUT_SECONDS="0", TARGET_CLOSE_TIMEOUT_SECONDS="1000"
    )
    client = await server.connect_raw(path)
    await client.texts(1)
    server.send_signal(signal.SIGTERM)
    assert await client.close_code(answer=False) == 1001

    async def ended():
        return await server.get("/endings")

    assert await until(ended) == [
        "WebSocketDisconnect 1006" if path == "/ticking" else "ConnectionResetError"
    ]
    assert sum((await server.stats())["open"].values()) == 1  # until the client has answered
    await client.flush()
    await server.exit_status()
    await server.last_words()
    assert not [line for line in server.lines if "Traceback" in line or "Exception" in line]


async def test_an_endpoint_may_receive_before_it_accepts(serve_endpoints):
    client = await (await serve_endpoints()).connect("/early/")
    await client.send("hello")
    assert await client.recv() == "hello"


async def test_an_endpoint_that_goes_on_running_takes_one_place(serve_endpoints):
    server = await serve_endpoints(TARGET_MAX_CONNECTIONS="2")
    first, _ = await server.connect("/loop"), await server.connect("/loop")
    assert await server.refused("/loop") == 503
    await first.close()
    await server.until_stats(open={"/loop": 1})
    await server.connect("/loop")
    await server.drain()
    await server.says("draining: 2 connections open")


async def test_an_endpoint_that_only_pushes_gives_its_place_back_when_its_client_leaves(
    serve_endpoints,
):
    server = await serve_endpoints(TARGET_MAX_CONNECTIONS="2", TARGET_CLOSE_TIMEOUT_SECONDS="0.1")
    closing, vanishing = await server.connect("/feed"), await server.connect_raw("/feed")
    assert await server.refused("/feed") == 503
    await closing.close(4321)
    vanishing.reset()
    await server.until_stats(open={}, closed_by_code={"4321": 1, "1005": 1})
    last = await server.connect("/feed")
    await server.drain()
    await server.says("draining: 1 connections open")
    await last.close()
    await server.exit_status()  # no time is given to stock uvicorn, which would wait for ever
    await server.last_words()
    log = "".join(server.lines)
    assert "drained: everyone has left" in log
    assert "cancelling 3 endpoints that go on without a client" in log
    assert log.count(" ended: ") == 3
    assert "Traceback" not in log


async def test_a_close_behind_some_messages_is_heard_though_the_endpoint_does_not_receive(
    serve_endpoints,
):
    server = await serve_endpoints(TARGET_WS_PING_INTERVAL="0")
    client = await server.connect_raw("/feed")
    for number in range(10):
        client.protocol.send_ping(str(number).encode())
        client.protocol.send_text(b"nobody receives this")
    client.protocol.send_close(4321)
    # In one segment: the server reads all of it at once.
    client.socket.sendall(b"".join(client.protocol.data_to_send()))
    assert await client.close_code() == 4321
    await server.until_stats(open={}, closed_by_code={"4321": 1})


async def test_what_an_endpoint_does_after_its_client_has_left_is_waited_for(serve_endpoints):
    server = await serve_endpoints(TARGET_CLOSE_TIMEOUT_SECONDS="1000")
    client = await server.connect("/tidies-up")
    await client.close(4321)
    await server.until_stats(open={}, closed_by_code={"4321": 1})
    server.send_signal(signal.SIGTERM)
    await server.says("drained: everyone has left")
    assert (await server.get("/go"))["status"] == "ok"
    await server.exit_status()
    await server.last_words()
    log = "".join(server.lines)
    assert "tidied up after 4321" in log
    assert log.count(" ended: ") == 1
    assert "cancelling" not in log


async def test_a_forced_drain_does_not_wait_for_an_endpoint_without_a_client(serve_endpoints):
    server = await serve_endpoints(TARGET_CLOSE_TIMEOUT_SECONDS="1000")
    await (await server.connect("/feed")).close()
    await server.until_stats(open={})
    server.send_signal(signal.SIGTERM)
    await server.says("drained: everyone has left")
    server.send_signal(signal.SIGQUIT)
    await server.exit_status()
    await server.last_words()
    assert "Traceback" not in "".join(server.lines)


async def test_a_client_that_vanishes_is_found_though_nobody_takes_what_it_said(serve_endpoints):
    server = await serve_endpoints(TARGET_WS_PING_INTERVAL="0.2", TARGET_WS_PING_TIMEOUT="1000")
    client = await server.connect_raw("/pauses")
    await client.say("one", "two")
    client.reset()
    await server.until_stats(open={}, closed_by_code={"1005": 1}, pings_unanswered=0)


async def test_an_endpoint_that_has_closed_is_counted_until_the_client_has_answered(
    serve_endpoints,
):
    patient = {"TARGET_CLOSE_TIMEOUT_SECONDS": "1000"}
    server = await serve_endpoints(**patient)
    client = await server.connect_raw("/bye")
    assert await client.close_code(answer=False) == 4000
    await server.until_stats(open={"/bye": 1}, closed_by_code={})
    await client.flush()
    await server.until_stats(open={}, closed_by_code={"4000": 1})


async def test_what_waits_for_a_client_is_sent_before_its_endpoint_has_failed_it(serve_endpoints):
    patient = {"TARGET_SLOW_CONSUMER_SECONDS": "1000", "TARGET_CLOSE_TIMEOUT_SECONDS": "1000"}
    server = await serve_endpoints(**patient)
    client = await server.connect_raw("/failing")
    await client.say("go")
    await server.until_stats(lagging=1)
    assert [int(text) for text in await client.texts(60)] == list(range(60))
    assert await client.close_code() == 1011
    await server.says("LookupError: expected in this test")


async def test_an_endpoint_that_fails_after_it_has_adopted_is_closed_and_neither_opened(
    serve_endpoints,
):
    server = await serve_endpoints()
    ends = {"closes": 4000, "is refused": 4001, "fails": 1011, "dependency": 1011}
    for how, code in ends.items():
        client = await server.connect(f"/noted/{how}".replace(" ", "%20"))
        await asyncio.wait_for(client.wait_closed(), DEADLINE_SECONDS)
        assert (how, client.close_code) == (how, code)
    await server.until_stats(
        open={}, accepted=4, closed_by_code={"1011": 2, "4000": 1, "4001": 1}, refused={}
    )
    client = await server.connect("/noted/well")
    await client.close()
    await server.until_stats(open={}, accepted=5)

    async def noted():
        return len(told := await server.get("/noted")) > 1 and told

    assert await until(noted) == ["opened well", "closed well"]
    await server.says("LookupError: expected in this test")
    server.send_signal(signal.SIGTERM)
    await server.exit_status()
    await server.last_words()
    assert any("draining: 0 connections open" in line for line in server.lines)


async def test_a_client_that_leaves_while_its_endpoint_adopts_it_is_no_failure(serve_endpoints):
    server = await serve_endpoints()
    client = await server.connect_raw("/noted/sends%20on")
    await client.texts(1)
    client.reset()
    await server.until_stats(open={}, accepted=1, closed_by_code={"1006": 1})
    assert await server.get("/noted") == []
    server.send_signal(signal.SIGTERM)
    await server.exit_status()
    await server.last_words()
    assert not [line for line in server.lines if "Exception" in line]


async def test_who_does_not_read_that_its_endpoint_has_failed_is_cut(serve_endpoints):
    server = await serve_endpoints(TARGET_CLOSE_TIMEOUT_SECONDS="0.2", TARGET_MAX_CONNECTIONS="1")
    client = await server.connect_raw("/noted/sends%20much")
    await server.until_stats(open={}, accepted=1, closed_by_code={"1011": 1})
    client.reset()
    await server.connect("/echo")  # there is a place again


async def test_an_endpoint_may_give_up_receiving_and_receive_in_several_tasks(serve_endpoints):
    server = await serve_endpoints()
    client = await server.connect("/changes-its-mind")
    assert await client.recv() == "say something"
    await client.send("one")
    assert await client.recv() == "one"
    await client.send("two")
    await client.send("three")
    assert await client.recv() == "three two"


async def test_the_layers_are_gone_and_the_scope_is_let_go_once_a_connection_is_adopted(
    serve_endpoints,
):
    server = await serve_endpoints()
    await server.connect("/shout")
    # uvicorn's own, that of its middleware for proxies, and ours; then its queue.
    expected = ["run_asgi", "__call__", "__call__", "serve", "_read", "receive", "get"]

    async def adopted():
        return await server.get("/layers") == expected

    await until(adopted)


async def test_a_handshake_between_admission_and_registration_counts(serve):
    server = await serve(
        *("--timeout-graceful-shutdown", "30"),
        module="uvicorn",
        app="tests.target_app.endpoints:app",
        TARGET_MAX_CONNECTIONS="1",
    )
    slow = asyncio.create_task(server.connect("/slow"))
    while (await server.get("/handshakes")) != 1:  # noqa: ASYNC110 - the state is the server's
        await asyncio.sleep(0.01)
    assert await server.refused("/shout") == 503
    await server.drain()
    # Drained, the server would close its listener and refuse even HTTP.
    assert (await server.get("/go"))["status"] == "ok"
    client = await slow
    assert await client.recv() == "Server is shutting down, please disconnect."
    await client.close()
    await server.exit_status()
