"""``GET /``: the chat page for a browser, a greeting for everyone else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from fastapi import Request  # noqa: TC002 - FastAPI needs it at run time
from fastapi.responses import HTMLResponse, JSONResponse, Response
from jinja2 import Environment, FileSystemLoader
from starlette.staticfiles import StaticFiles

if TYPE_CHECKING:
    from fastapi import FastAPI

HERE: Final = Path(__file__).parent.parent
STATIC: Final = "/static"
SECURITY: Final = {
    # No script but our own, nothing from elsewhere, and no foreign page around this one. Browsers
    # differ in whether 'self' covers WebSockets (CSP 3, §6.7.2.8), so their schemes are named.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept",
}


def prefers_html(accept: str) -> bool:
    """Return whether ``Accept`` asks for HTML rather than JSON (RFC 9110 §12.5.1).

    Only a client that names HTML prefers it: programs send ``*/*`` or no ``Accept`` at all.
    """
    weights = {"text/html": 0.0, "application/json": 0.0}
    for part in accept.lower().split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        if kind in weights:
            weights[kind] = max(weights[kind], _weight(parameters))
    return weights["text/html"] > weights["application/json"]


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def add_page(app: FastAPI, *, websocket: str) -> None:
    """Serve the page, whose WebSocket is at ``websocket``, and its files."""
    templates = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True)
    page = templates.get_template("chat.html")
    app.mount(STATIC, StaticFiles(directory=HERE / "static"), name="static")

    @app.get("/", response_class=HTMLResponse)
    async def root(request: Request) -> Response:
        """Return the chat page to a browser, and a greeting to a client that asks for JSON."""
        if not prefers_html(request.headers.get("accept", "")):
            return JSONResponse({"message": "Hello World"}, headers={"Vary": "Accept"})
        base: str = request.scope.get("root_path", "")

        def static(path: str) -> str:
            # Without scheme and host, which a proxy may have changed.
            return base + str(app.url_path_for("static", path=path))

        html = page.render(title=app.title, static=static, websocket=base + websocket)
        return HTMLResponse(html, headers=SECURITY)
