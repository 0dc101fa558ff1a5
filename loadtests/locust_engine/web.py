"""Our tab in Locust's web UI: what Locust has no notion of, live; the report and the record.

It is made of Locust's documented extension points (``extended_tabs``, ``extended_tables``,
``extended_csv_files``, a Flask blueprint), so it looks as the rest does, light or dark.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import gevent
from flask import Blueprint, Response, abort, before_render_template, request
from locust.env import Environment
from locust.runners import STATE_RUNNING
from locust.stats import StatsEntry

from loadtests.locust_engine.conductor import Conductor, Member
from loadtests.locust_engine.master import MasterSide
from reports.html import html_report
from reports.record import read_record
from reports.terminal import live_rows, summary_rows
from reports.units import format_bytes, format_count, format_ratio, format_seconds, rounded

if TYPE_CHECKING:
    from reports.histogram import Histogram

_KEY: Final = "swarmgate"
_STATS_PATH: Final = "/stats/requests"
# More than this many swarm processes at once, of all workers together, take no two cores further.
_MOST_PROCESSES: Final = 8

Row = dict[str, str]


def add_tab(web_ui: Any, environment: Environment, master: MasterSide) -> None:  # noqa: ANN401
    """Add the tab, and the downloads of every class of swarm users."""
    prefix = environment.parsed_options.web_base_path if environment.parsed_options else ""
    web_ui.template_args["extended_tabs"] = [{"title": "swarmgate", "key": _KEY}]
    structure = [{"key": "figure", "title": "Figure"}, {"key": "value", "title": "So far"}]
    web_ui.template_args["extended_tables"] = [{"key": _KEY, "structure": structure}]
    web_ui.template_args["extended_csv_files"] = [
        {"href": f"./{_KEY}/report", "title": "Download swarmgate report (HTML)"},
        {"href": f"./{_KEY}/record", "title": "Download swarmgate record (JSON lines)"},
    ]
    pages = Blueprint(_KEY, __name__, url_prefix=f"{prefix}/{_KEY}")
    pages.add_url_rule("/report", "report", web_ui.auth_required_if_enabled(lambda: report(master)))
    pages.add_url_rule("/record", "record", web_ui.auth_required_if_enabled(lambda: record(master)))
    web_ui.app.register_blueprint(pages)

    def extend(response: Response) -> Response:
        if request.path == f"{prefix}{_STATS_PATH}" and response.is_json:
            content = response.get_json()
            content["extended_stats"] = [{"key": _KEY, "data": list(tab_rows(master))}]
            stats = environment.stats
            for row in content["stats"]:
                _show_exactly(row, stats.entries.get((row["name"], row["method"]), stats.total))
            response.set_data(web_ui.app.json.dumps(content))
        return response

    web_ui.app.after_request(extend)

    def refuse_too_many() -> Response | None:
        """Refuse more classes at once than anybody means; none ticked is all of them to Locust."""
        if request.endpoint != "locust.swarm":
            return None
        ticked = request.form.getlist("user_classes")
        is_anew = environment.runner is None or environment.runner.state != STATE_RUNNING
        everything = environment.available_user_classes or {}
        chosen = set(ticked or (everything if is_anew else ())) & master.class_names
        if _are_few(master, chosen):
            return None
        workers = max(1, len(master.workers))
        message = (
            f"{len(chosen)} classes of swarm users on {workers} worker(s) would be "
            f"{len(chosen) * workers} swarm processes: tick only those that you mean"
        )
        refused: Response = web_ui.app.json.response(
            {"success": False, "message": message, "host": environment.host}
        )
        return refused

    web_ui.app.before_request(refuse_too_many)

    def tick(_app: object, context: dict[str, Any], **_: object) -> None:
        """Have the form begin with the classes chosen, of too many with the first alone."""
        arguments = context.get("template_args", {})
        if arguments.get("available_user_classes"):
            # The picker's rows are those of "users"; these are the ones that it ticks at first.
            arguments["available_user_classes"] = _ticked_first(environment, master)

    before_render_template.connect(tick, web_ui.app, weak=False)


def _are_few(master: MasterSide, classes: Collection[str]) -> bool:
    """Tell whether one can have so many classes of swarm users at once."""
    return len(classes) * max(1, len(master.workers)) <= _MOST_PROCESSES


def _ticked_first(environment: Environment, master: MasterSide) -> list[str]:
    chosen = [kind.__name__ for kind in environment.user_classes]
    swarms = [name for name in chosen if name in master.class_names]
    return chosen if _are_few(master, swarms) else swarms[:1]


def _show_exactly(row: dict[str, Any], entry: StatsEntry) -> None:
    """Put times into Locust's table that it would round to whole milliseconds."""
    if entry.min_response_time is not None:
        row["min_response_time"] = rounded(entry.min_response_time)
        row["max_response_time"] = rounded(entry.max_response_time)


def tab_rows(master: MasterSide) -> Iterator[Row]:
    """Give the table of the tab, class by class."""
    if not master.conductors:
        yield _row(0, "No swarm users", "Start a test with a class of swarm users.")
    several = len(master.conductors) > 1
    number = 0
    for name, conductor in master.conductors.items():
        rows = list(_class_rows(master, name, conductor))
        for figure, value in rows:
            yield _row(number, f"{name}: {figure}" if several else figure, value)
            number += 1


def _row(number: int, figure: str, value: str) -> Row:
    # Locust's table sorts rows by their name, as text.
    return {"name": f"{number:04}", "figure": figure, "value": value}


def _class_rows(master: MasterSide, name: str, conductor: Conductor) -> Iterator[tuple[str, str]]:
    finished = next((it for it in master.finished if it.user == name), None)
    if finished is None:
        yield "Status", f"{name} on {conductor.url}: {conductor.totals.phase}"
        problems = conductor.problems()
        yield "Valid", "so far" if not problems else "NO: " + "; ".join(problems)
        for failure in conductor.failures():
            yield "Failed", failure
        yield from live_rows(conductor.progress)
    else:
        summary = finished.summary
        yield "Status", f"{name} on {conductor.url}: ended, exit status {finished.status:d}"
        yield "Valid", "yes" if summary.valid else "NO: " + "; ".join(summary.reasons)
        for failure in summary.failures:
            yield "Failed", failure
        for threshold, found in finished.failed:
            yield "Threshold failed", f"{threshold}, found {found}"
    yield from summary_rows(conductor.totals.summary())
    codes = sorted(conductor.totals.close_codes.items())
    yield "Close codes", ", ".join(f"{code} × {format_count(n)}" for code, n in codes) or "none"
    for member in conductor.members:
        yield f"Worker {member.process}", _worker(conductor, member)
    yield "Record", str(conductor.path)


def _worker(conductor: Conductor, member: Member) -> str:
    """Tell how one generator does: whether its figures can be trusted."""
    if member.is_lost:
        return f"{member.worker.host}: lost"
    own: Mapping[str, Histogram] = conductor.totals.own.get(member.process, {})
    parts = [f"{member.worker.host}: {format_count(member.open)} open"]
    if (cpu := conductor.totals.own_cpu_ratios().get(member.process)) is not None:
        parts.append(f"CPU {format_ratio(cpu)} of a core")
    if rss := member.reading.get("rss_bytes"):
        parts.append(f"{format_bytes(rss)} resident")
    for key, called in (("lateness", "sent late"), ("loop_lag", "loop lag")):
        if key in own and own[key].count:
            parts.append(f"{called} p99 {format_seconds(own[key].percentile_ns(99) / 1e9)}")
    if "gc_pause" in own and own["gc_pause"].count:
        parts.append(f"GC at most {format_seconds(own['gc_pause'].max_ns / 1e9)}")
    if member.clock.uncertainty_ns:
        parts.append(f"clock ± {format_seconds(member.clock.uncertainty_ns / 1e9)}")
    return ", ".join(parts)


def _chosen(master: MasterSide) -> Conductor:
    """Give the class that is asked for, the first by default."""
    wanted = request.args.get("user") or next(iter(master.conductors), "")
    if wanted not in master.conductors:
        abort(404, "no test has run yet, or none of such users")
    return master.conductors[wanted]


def report(master: MasterSide) -> Response:
    """Give the HTML report of what the record says so far."""
    path = _chosen(master).path
    # In a thread: a long record takes seconds, in which the master would hear nobody.
    page = gevent.get_hub().threadpool.apply(lambda: html_report(read_record(path)))
    return _download(page, f"{path.name}.html", "text/html")


def record(master: MasterSide) -> Response:
    """Give the record so far."""
    path = _chosen(master).path
    return _download(path.read_bytes(), path.name, "application/x-ndjson")


def _download(content: str | bytes, name: str, kind: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, mimetype=kind, headers=headers)
