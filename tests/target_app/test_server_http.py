"""The HTTP endpoints: who may use them, what they refuse, and what their documentation says."""

from __future__ import annotations

import json

import pytest

GUARDED = (("get", "/stats"), ("get", "/metrics"), ("post", "/broadcast"))


async def post(server, body, **headers):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **headers}
    return await server.http.post("/broadcast", content=content, headers=headers)


@pytest.mark.parametrize("field", ["message", "room", "class", "client", "session", "x\ud800"])
async def test_half_a_surrogate_pair_is_refused_with_422(serve, field):
    server = await serve()
    answer = await post(server, {"message": "m"} | {field: "\ud800"})
    assert answer.status_code == 422
    assert answer.json()["detail"]
    assert not [line for line in server.lines if "Traceback" in line]


async def test_what_is_wrong_with_a_request_is_told_in_brief(serve):
    server = await serve()
    many = {f"x{n}": "y" * 1000 for n in range(1000)}
    answer = await post(server, {"message": "m"} | many)
    assert answer.status_code == 422
    assert len(answer.content) < 2000
    [first, *_] = answer.json()["detail"]
    assert first == {
        "type": "extra_forbidden",
        "loc": ["body", "x0"],
        "msg": "Extra inputs are not permitted",
    }


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_that_is_too_large_is_refused_with_413_unread(serve, announced):
    server = await serve("--body-bytes", "1000", "--token", "s3cret")

    async def body():
        for _ in range(10):
            yield b" " * 200

    answer = await server.http.post(
        "/broadcast",
        content=b" " * 2000 if announced else body(),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 413


async def test_a_post_from_a_page_of_strangers_is_refused_as_a_handshake_is(serve):
    server = await serve("--allowed-origins", "https://good.example")
    message = {"message": "m"}
    assert (await post(server, message, Origin="https://evil.example")).status_code == 403
    assert (await post(server, message, Origin="null")).status_code == 403
    assert (await post(server, message, Origin="https://good.example")).status_code == 200
    for origin, status in (("https://evil.example", 403), ("https://good.example", 200)):
        answer = await server.http.get("/stats", headers={"Origin": origin})
        assert answer.status_code == status
    assert (await post(server, message)).status_code == 200


async def test_statistics_are_closed_where_there_is_a_token(serve):
    server = await serve("--token", "s3cret")
    bearer = {"Authorization": "Bearer s3cret"}
    for path in ("/stats", "/metrics"):
        refused = await server.http.get(path)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        assert (await server.http.get(path, headers=bearer)).status_code == 200
        assert (await server.http.get(f"{path}?token=s3cret")).status_code == 200
        assert (await server.http.get(f"{path}?token=%FF")).status_code == 401
    for path in ("/healthz", "/readyz"):
        assert (await server.http.get(path)).status_code == 200


async def test_statistics_may_be_opened_to_everyone(serve):
    server = await serve("--token", "s3cret", "--open-stats")
    for path in ("/stats", "/metrics"):
        assert (await server.http.get(path)).status_code == 200
    assert (await post(server, {"message": "m"})).status_code == 401


async def test_a_class_gets_what_is_posted_to_it_in_the_form_of_its_protocol(serve):
    server = await serve()
    inside, outside = await server.connect("/ws/inside"), await server.connect("/ws/outside")
    await inside.send(json.dumps({"type": "JOIN_CLASS", "payload": {"classId": "maths"}}))
    assert (await server.event(inside))["type"] == "CLASS_JOINED"
    posted = await post(server, {"message": "to the class", "class": "maths"})
    assert posted.json() == {"reached": 1}
    told = await server.event(inside)
    assert (told["type"], told["payload"]) == ("MESSAGE", {"text": "to the class"})
    posted = await post(server, {"message": "to one", "session": "outside"})
    assert posted.json() == {"reached": 1}
    told = await server.event(outside)
    assert (told["type"], told["payload"]) == ("MESSAGE", {"text": "to one"})


async def test_one_message_has_one_kind_of_receiver(serve):
    server = await serve()
    for one, other in (("room", "class"), ("class", "client"), ("client", "session")):
        answer = await post(server, {"message": "m", one: "a", other: "b"})
        assert answer.status_code == 422
        assert "exclude each other" in answer.text


async def test_the_documentation_names_the_token_and_who_is_refused(serve):
    server = await serve()
    described = await server.get("/openapi.json")
    schemes = described["components"]["securitySchemes"]
    assert {(scheme["type"], scheme.get("in")) for scheme in schemes.values()} == {
        ("http", None),
        ("apiKey", "query"),
    }
    for method, path in GUARDED:
        operation = described["paths"][path][method]
        assert "401" in operation["responses"]
        assert {name for each in operation["security"] for name in each} == set(schemes)
    broadcast = described["paths"]["/broadcast"]["post"]
    assert "403" in broadcast["responses"]
    properties = described["components"]["schemas"]["BroadcastRequest"]["properties"]
    assert set(properties) == {"message", "room", "class", "client", "session"}
    assert "security" not in described["paths"]["/healthz"]["get"]


async def test_the_page_finds_its_files_below_a_root_path(serve):
    server = await serve(*("--root-path", "/below"), module="uvicorn", app="target_app.app:app")
    page = await server.http.get("/", headers={"Accept": "text/html"})
    assert 'src="/below/static/chat.js"' in page.text
    assert (await server.http.get("/static/chat.js")).status_code == 200
