"""The command ``count``: what an application's own code costs, counted without a network."""

import json
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.counting.count import Count
from benchmarks.counting.count import count as count_it
from benchmarks.counting.figures import FIGURES, KINDS
from benchmarks.counting.process import CountError, Load, Subject, SubjectError
from reports.outcome import ExitStatus
from reports.units import significant

app = typer.Typer()


@app.command()
def count(
    application: Annotated[
        str, typer.Argument(metavar="APP", help="An ASGI application or factory, module:attribute.")
    ],
    *,
    connections: Annotated[
        int, typer.Option(min=40, max=2000, help="Connections to open; half of them are counted.")
    ] = 100,
    messages: Annotated[int, typer.Option(min=10, help="Messages of each kind to count.")] = 50,
    path: Annotated[
        str, typer.Option(help="Path of the connections; {n} in it is a connection's number.")
    ] = "/ws",
    broadcast: Annotated[
        bool, typer.Option(help="Count a broadcast: one connection sends, all others receive.")
    ] = True,
    echo_path: Annotated[str, typer.Option(help="Path that sends a message back.")] = "/echo",
    echo: Annotated[
        bool, typer.Option(help="Count an echo: one more connection sends there and receives.")
    ] = True,
    message: Annotated[
        str, typer.Option(help="Text of a message; {token} differs from message to message.")
    ] = "{token}",
    python: Annotated[
        str,
        typer.Option(
            metavar="FILE", show_default=False, help="Interpreter to run it. \\[default: this one]"
        ),
    ] = sys.executable,
    cwd: Annotated[Path, typer.Option(help="The directory to run it in.")] = Path(),
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Count what an application's own code costs, in a process without a network."""
    load = Load(connections, messages, path, broadcast, echo_path if echo else None, message)
    try:
        subject = _subject(application, python, cwd, load)
        with Console(stderr=True).status("") as status:
            counted = count_it(subject, load, lambda kind: status.update(f"{kind} …"))
    except CountError as error:
        sys.stderr.write(f"swarmgate: {error}\n")
        is_usage = isinstance(error, SubjectError)
        raise typer.Exit(ExitStatus.USAGE if is_usage else ExitStatus.FAILED) from None
    except KeyboardInterrupt:
        sys.stderr.write("swarmgate: interrupted; an incomplete count is not kept\n")
        raise typer.Exit(ExitStatus.INTERRUPTED) from None
    sys.stdout.write(_document(subject, load, counted) if json_output else "")
    if not json_output:
        _print_count(subject, load, counted)
    failed = any(missing.is_failure for missing in counted.missing.values())
    raise typer.Exit(ExitStatus.INVALID if failed else ExitStatus.HELD)


def _subject(application: str, python: str, cwd: Path, load: Load) -> Subject:
    """Check what is asked for. Raises SubjectError."""
    if "{token}" not in load.message:
        raise SubjectError(f"--message {load.message!r} has no {{token}}; put it where text may be")
    found = shutil.which(python)
    if found is None:
        raise SubjectError(f"--python {python!r} is not a program; give the path of an interpreter")
    if not cwd.is_dir():
        raise SubjectError(f"--cwd {str(cwd)!r} is not a directory")
    # Not resolved: an environment's interpreter is a link, and identified by the link.
    return Subject(application, str(Path(found).absolute()), cwd)


def _document(subject: Subject, load: Load, counted: Count) -> str:
    document = {
        "app": subject.app,
        "python": counted.python,
        "uvicorn": counted.uvicorn,
        "connections": load.connections,
        "messages": load.messages,
        "figures": counted.figures,
        "missing": {kind: missing.reason for kind, missing in counted.missing.items()},
        "system_calls": counted.calls,
    }
    return json.dumps(document, indent=2) + "\n"


def _print_count(subject: Subject, load: Load, counted: Count) -> None:
    console = Console(highlight=False, markup=False)
    console.print(
        f"{subject.app} on Python {counted.python}, uvicorn {counted.uvicorn}; "
        f"{load.connections} connections, {load.messages} messages",
        soft_wrap=True,
    )
    console.print(_table(counted))
    for kind, missing in counted.missing.items():
        console.print(f"{KINDS[kind].label} are not counted: {missing.reason}.", soft_wrap=True)
    for each, calls in counted.calls.items():
        by_name = sorted(calls.items(), key=lambda item: (-item[1], item[0]))
        named = ", ".join(f"{name} {_exact(number)}" for name, number in by_name)
        console.print(f"System calls of one {each}: {named or 'none'}.", soft_wrap=True)


def _table(counted: Count) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    columns = ("connection", "echo", "broadcast")
    table.add_column("")
    for column in columns:
        table.add_column(f"per {column}", justify="right")
    for kind, described in KINDS.items():
        values = {
            each: counted.figures[name]
            for name, (of, each) in FIGURES.items()
            if of == kind and name in counted.figures
        }
        unit = f", {described.unit}" if described.unit else ""
        cells = (_exact(values[it]) if it in values else "–" for it in columns)
        table.add_row(f"{described.label}{unit}", *cells)
    return table


def _exact(value: float) -> str:
    """Format a count with all its digits: it is exact, and a difference of one means something."""
    return f"{value:,.0f}" if value >= 100 else significant(value)
