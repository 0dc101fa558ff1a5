"""Our tab in Locust's web UI: a live page of what Locust has no notion of, the report, the record.

The page is our own, at ``/swarmgate/`` in the web UI. Locust's tabs consist of text in tables, so a
small script of ours, next to Locust's in its page, shows our page within the tab. All else uses
Locust's documented extension points (``extended_tabs``, ``extended_csv_files``, a Flask blueprint).
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final
from weakref import WeakSet

import gevent
from flask import Blueprint, Response, abort, before_render_template, request
from locust.env import Environment
from locust.runners import STATE_RUNNING
from locust.stats import StatsEntry

from loadtests.locust.conductor import Conductor, Placed
from loadtests.locust.master import MasterSide
from reports.html.charts import new_trend
from reports.html.live_page import End, LiveRun, Worker, live_page, live_part
from reports.html.page import html_report
from reports.html.trend import Trend
from reports.record import Header, Line, read_record
from reports.units import rounded

_KEY: Final = "swarmgate"
# More swarm processes than this at once, on all workers together, gain nothing on two cores.
_MOST_PROCESSES: Final = 8
# The page sends requests only to us, and nobody else may embed it in a page.
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "connect-src 'self'",
        "style-src 'unsafe-inline'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'self'",
    )
)
_HEADERS: Final = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store"}
_SCRIPT: Final = b'<script src="./swarmgate/static/tab.js" defer></script></body>'


def add_tab(web_ui: Any, environment: Environment, master: MasterSide) -> None:  # noqa: ANN401
    """Add the tab, and the downloads for every class of swarm users; guard the start form."""
    web_ui.template_args["extended_tabs"] = [{"title": _KEY, "key": _KEY}]
    web_ui.template_args["extended_csv_files"] = [
        {"href": f"./{_KEY}/report", "title": "Download swarmgate report (HTML)"},
        {"href": f"./{_KEY}/record", "title": "Download swarmgate record (JSON lines)"},
    ]
    prefix = environment.parsed_options.web_base_path if environment.parsed_options else ""
    web_ui.app.register_blueprint(_pages(web_ui, f"{prefix}/{_KEY}", master))
    _extend_answers(web_ui, environment, master)
    _guard_form(web_ui, environment, master)


def _pages(web_ui: Any, prefix: str, master: MasterSide) -> Blueprint:  # noqa: ANN401
    trends: dict[str, Trend] = {}

    def observe(name: str, line: Line) -> None:
        if isinstance(line, Header):
            trends[name] = new_trend(line)
        trends[name].add(line)

    master.observers.append(observe)
    pages = Blueprint(_KEY, __name__, url_prefix=prefix, static_folder="static")
    views: Mapping[str, Callable[[], Response]] = {
        "/": lambda: _fresh(
            live_page(list(_runs(master, trends)), "static/live.js", master.problem)
        ),
        "/part": lambda: _fresh(live_part(list(_runs(master, trends)), master.problem)),
        "/report": lambda: report(master),
        "/record": lambda: record(master),
    }
    for path, view in views.items():
        pages.add_url_rule(path, path, web_ui.auth_required_if_enabled(view))
    return pages


def _extend_answers(web_ui: Any, environment: Environment, master: MasterSide) -> None:  # noqa: ANN401
    """Make Locust show exact times and open connections; add the script that shows our page."""
    # Locust repeats an answer for two seconds; it describes one moment, and must not change.
    extended: WeakSet[Response] = WeakSet()

    def extend(response: Response) -> Response:
        if response in extended:
            return response
        if request.endpoint == "locust.request_stats" and response.is_json:
            extended.add(response)
            content = response.get_json()
            stats = environment.stats
            for row in content["stats"]:
                _show_exactly(row, stats.entries.get((row["name"], row["method"]), stats.total))
            _show_open(content, master)
            response.set_data(web_ui.app.json.dumps(content))
        elif request.endpoint == "locust.index" and response.mimetype == "text/html":
            response.set_data(response.get_data().replace(b"</body>", _SCRIPT))
        return response

    web_ui.app.after_request(extend)


def _guard_form(web_ui: Any, environment: Environment, master: MasterSide) -> None:  # noqa: ANN401
    """Make the start form begin with classes that can run at once, and reject too many."""

    def refuse_too_many() -> Response | None:
        if request.endpoint != "locust.swarm":
            return None
        ticked = request.form.getlist("user_classes")
        is_anew = environment.runner is None or environment.runner.state != STATE_RUNNING
        # To Locust, none ticked means all of them.
        everything = environment.available_user_classes or {}
        chosen = set(ticked or (everything if is_anew else ())) & master.class_names
        if _are_few(master, chosen):
            return None
        workers = max(1, len(master.workers))
        message = (
            f"{len(chosen)} classes of swarm users on {workers} worker(s) would be "
            f"{len(chosen) * workers} swarm processes: tick only those that you want"
        )
        refused: Response = web_ui.app.json.response(
            {"success": False, "message": message, "host": environment.host}
        )
        return refused

    def tick(_app: object, context: dict[str, Any], **_: object) -> None:
        arguments = context.get("template_args", {})
        if arguments.get("available_user_classes"):
            # The picker's rows are those of "users"; these are the ones ticked initially.
            ticked = _ticked_first(environment, master)
            arguments["available_user_classes"] = ticked
            rows = arguments["users"]
            arguments["users"] = {name: rows[name] for name in dict.fromkeys([*ticked, *rows])}

    web_ui.app.before_request(refuse_too_many)
    before_render_template.connect(tick, web_ui.app, weak=False)
    # Otherwise the ticked row may be one that a person has to scroll to.
    web_ui.app.jinja_env.policies["json.dumps_kwargs"] = {"sort_keys": False}


def _are_few(master: MasterSide, classes: Collection[str]) -> bool:
    """Return whether that many classes of swarm users can run at once."""
    return len(classes) * max(1, len(master.workers)) <= _MOST_PROCESSES


def _ticked_first(environment: Environment, master: MasterSide) -> list[str]:
    """Return the classes chosen, on the command line or last; if too many, only the first."""
    chosen = [kind.__name__ for kind in environment.user_classes]
    swarms = [name for name in chosen if name in master.class_names]
    return chosen if _are_few(master, swarms) else swarms[:1]


def _show_exactly(row: dict[str, Any], entry: StatsEntry) -> None:
    """Write into Locust's table the times that it would round to whole milliseconds."""
    if entry.min_response_time is not None:
        row["min_response_time"] = rounded(entry.min_response_time)
        row["max_response_time"] = rounded(entry.max_response_time)


def _show_open(content: dict[str, Any], master: MasterSide) -> None:
    """Count only open connections on Locust's page: to Locust, one being opened is a user too."""
    opening: Counter[str] = Counter()
    for conductor in master.conductors.values():
        for placed in conductor.placed:
            opening[placed.worker.client_id] += placed.member.pending
    content["user_count"] = max(0, content["user_count"] - opening.total())
    for row in content.get("workers", ()):
        row["user_count"] = max(0, row["user_count"] - opening[row["id"]])


def _fresh(page: str) -> Response:
    return Response(page, mimetype="text/html", headers=_HEADERS)


def _runs(master: MasterSide, trends: dict[str, Trend]) -> Iterator[LiveRun]:
    """Yield what the tab shows for each class of the current or last test."""
    for name, conductor in master.conductors.items():
        finished = next((it for it in master.finished if it.user == name), None)
        yield LiveRun(
            name=name,
            url=conductor.url,
            record=str(conductor.path),
            progress=conductor.progress,
            trend=trends[name],
            workers=[_worker(conductor, placed) for placed in conductor.placed],
            problems=conductor.problems(),
            failures=conductor.failures(),
            opening=sum(placed.member.pending for placed in conductor.placed),
            end=None
            if finished is None
            else End(
                summary=finished.summary,
                missed=tuple(f"{it}, found {found}" for it, found in finished.failed),
                status=f"exit status {finished.status:d}",
            ),
        )


def _worker(conductor: Conductor, placed: Placed) -> Worker:
    member = placed.member
    is_well = not member.is_lost and conductor.keeps_up(member)
    health = "lost" if member.is_lost else "keeps up" if is_well else "does not keep up"
    return Worker(
        process=member.process,
        host=placed.worker.host,
        # From the record, like everything on the page.
        open=conductor.totals.open_by_process.get(member.process, 0),
        health=health,
        is_well=is_well,
        resident_bytes=placed.reading.get("rss_bytes", 0.0),
        clock_error_ns=placed.clock.uncertainty_ns,
    )


def _chosen(master: MasterSide) -> Conductor:
    """Return the conductor of the requested class, by default the first."""
    wanted = request.args.get("user") or next(iter(master.conductors), "")
    if wanted not in master.conductors:
        abort(404, "no test has run yet, or none with such users")
    return master.conductors[wanted]


def report(master: MasterSide) -> Response:
    """Return the HTML report of what the record says so far."""
    path = _chosen(master).path
    # In a thread: a long record takes seconds, in which the master would receive nothing.
    page = gevent.get_hub().threadpool.apply(lambda: html_report(read_record(path)))
    return _download(page, f"{path.name}.html", "text/html")


def record(master: MasterSide) -> Response:
    """Return the record so far."""
    path = _chosen(master).path
    return _download(path.read_bytes(), path.name, "application/x-ndjson")


def _download(content: str | bytes, name: str, kind: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, mimetype=kind, headers=headers)
