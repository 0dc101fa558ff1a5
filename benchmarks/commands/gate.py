"""The command ``gate``: is head worse than base? With a stated chance of a false alarm."""

import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from benchmarks.command_options import check_outputs, parsed
from benchmarks.gate.journal import (
    JOURNAL,
    Journal,
    JournalError,
    MeasuredBlock,
    read_journal,
)
from benchmarks.gate.measuring import (
    Gate,
    GateError,
    HeadFailedError,
    decided,
    failed,
    run_gate,
)
from benchmarks.gate.planning import begin, planned, set_aside
from benchmarks.gate.settings import GateSettings, find_settings, load_settings
from benchmarks.gate.sides import (
    BASE,
    HEAD,
    WORKING_TREE,
    Side,
    SideError,
    checkout,
    commit_of,
    repository_of,
    side_of_checkout,
    side_of_command,
    side_of_url,
    unfollowed_files,
    working_tree_commit,
)
from benchmarks.runs.making import InterruptedRunError, Watch
from benchmarks.runs.tables import InputFileError
from loadtests.errors import UsageError
from loadtests.run.run import default_folder
from reports.gate_decision import GateDecision
from reports.outcome import ExitStatus
from reports.printable import printable
from reports.record import RecordError
from reports.tables.gate_table import (
    GateReport,
    gate_document,
    gate_junit,
    gate_lines,
    gate_markdown,
    gate_table,
    outcome_of_gate,
)
from reports.terminal import live_view, result_console
from reports.units import format_count, parse_seconds
from reports.whole_file import write_whole

# Columns of a table that goes to a file or a pipe, unless COLUMNS sets the number.
_WIDTH: Final = 110
_SUMMARY: Final = "GITHUB_STEP_SUMMARY"
_COMMIT_DIGITS: Final = 12

app = typer.Typer()


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be compared, as the user wrote it; at most one pair is given."""

    base: str | None
    head: str | None
    base_cmd: str | None
    head_cmd: str | None
    base_url: str | None
    head_url: str | None


@app.command()
def gate(
    *,
    base: Annotated[
        str | None, typer.Option(metavar="REF", help="Compare with this commit of the repository.")
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(metavar="REF", help="The commit to judge. \\[default: the working tree]"),
    ] = None,
    base_cmd: Annotated[
        str | None,
        typer.Option(metavar="COMMAND", help="Or: command that starts base, with {port}."),
    ] = None,
    head_cmd: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="Command that starts head.")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Or: address where base is already running.")
    ] = None,
    head_url: Annotated[str | None, typer.Option(metavar="URL", help="Address of head.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File with the gate's settings. "
            "\\[default: the nearest pyproject.toml with a table tool.swarmgate.gate]",
        ),
    ] = None,
    blocks: Annotated[
        int | None,
        typer.Option(
            min=1, help="At most this many blocks, each a run of base and head. \\[default: 48]"
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="At most this much time for them. \\[default: 10m]"),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the order of runs. \\[default: random]")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Continue a gate that was interrupted."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of records. \\[default: under reports/runs/]"),
    ] = None,
    markdown: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help=f"Write the result as Markdown; - prints it. Also appended to ${_SUMMARY}.",
        ),
    ] = None,
    junit: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the result as JUnit XML.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show nothing during the run.")
    ] = False,
) -> None:
    """Judge from paired runs whether head is worse than base, or report that they cannot decide."""
    asked = _Asked(base, head, base_cmd, head_cmd, base_url, head_url)
    journal = None
    folder = resume or output or default_folder("gate")
    try:
        files = {"--markdown": markdown, "--junit": junit, f"${_SUMMARY}": _summary()}
        check_outputs(files, as_json=json_output)
        if resume is not None:
            if output is not None or seed is not None:
                raise UsageError(
                    "--resume continues in its folder with its seed; leave out -o and --seed"
                )
            journal = read_journal(resume / JOURNAL)
        settings = _limited(load_settings(config or find_settings(Path.cwd())), blocks, budget)
        if resume is None and folder.is_dir() and any(folder.iterdir()):
            raise UsageError(f"--output {folder} is not empty; name another folder")
        folder.mkdir(parents=True, exist_ok=True)
        with _sides(asked, settings, folder, journal) as (sides, commits):
            if not commits:
                settings = _without_counts(settings)
            made = Gate(settings, {side.name: side for side in sides}, folder, _seed(seed, journal))
            console = Console(stderr=True)
            report = _run(
                made, journal, commits, lambda title: live_view(console, title, quiet=quiet)
            )
    except (InputFileError, UsageError, OSError) as error:
        raise _fail(error, ExitStatus.USAGE) from None
    except (SideError, GateError, JournalError, RecordError) as error:
        raise _fail(error, ExitStatus.INVALID) from None
    except (InterruptedRunError, KeyboardInterrupt):
        further = (
            f"continue with {_resumed(folder)}"
            if (folder / JOURNAL).exists()
            else "nothing is kept"
        )
        sys.stderr.write(f"swarmgate: interrupted; {further}\n")
        raise typer.Exit(ExitStatus.INTERRUPTED) from None
    _print_report(report, folder, as_json=json_output, is_printed=markdown == "-")
    try:
        _write(report, markdown, junit)
    except (RecordError, OSError) as error:
        raise _fail(error, ExitStatus.INVALID) from None
    raise typer.Exit(outcome_of_gate(report).status)


def _run(made: Gate, journal: Journal | None, commits: dict[str, str], watch: Watch) -> GateReport:
    """Measure until it is decided. Raise whatever prevents that."""
    try:
        made = planned(made, journal, watch, _print_line)
    except HeadFailedError as error:
        return _report(made, failed(decided(made.settings.plan(), ()), error), ())
    begin(made, journal, commits)
    done = () if journal is None else journal.blocks
    set_aside(made.folder, len(done))
    decision, measured = run_gate(made, done, watch)
    return _report(made, decision, measured)


def _print_line(line: str) -> None:
    sys.stderr.write(f"{printable(line)}\n")


def _fail(error: Exception, status: ExitStatus) -> typer.Exit:
    text = (
        str(error)
        if "\n" in str(error) and isinstance(error, InputFileError)
        else printable(str(error))
    )
    sys.stderr.write(f"swarmgate: {text.rstrip()}\n")
    return typer.Exit(status)


def _limited(settings: GateSettings, blocks: int | None, budget: str | None) -> GateSettings:
    """Return settings as overridden by the command line. Raises UsageError."""
    if budget is not None:
        settings = replace(settings, budget_seconds=parsed("--budget", budget, parse_seconds))
    if blocks is not None:
        settings = replace(settings, blocks=blocks)
    try:
        settings.plan()
    except ValueError as error:
        raise UsageError(f"--blocks: {error}") from None
    return settings


def _without_counts(settings: GateSettings) -> GateSettings:
    """Leave out counts, because they are of the code of a checkout, and there is none.

    Raises:
        UsageError: a counted metric was asked for, or nothing else is judged.
    """
    counted = [it for it in settings.metrics if it.load in settings.counts]
    if asked := [it for it in counted if not it.is_usual]:
        raise UsageError(
            f"{asked[0].name} is counted in a checkout; compare commits, or leave it out"
        )
    if counted:
        _print_line(f"not counted: {', '.join(settings.counts)}: counting needs checkouts")
    kept = settings.without(counted)
    if not kept.metrics:
        raise UsageError(f"{settings.path} only counts, which needs checkouts; compare commits")
    return kept


def _seed(given: int | None, journal: Journal | None) -> int:
    if journal is not None:
        return journal.begin.seed
    return int.from_bytes(os.urandom(4)) if given is None else given


@contextmanager
def _sides(
    asked: _Asked, settings: GateSettings, folder: Path, journal: Journal | None
) -> Iterator[tuple[tuple[Side, Side], dict[str, str]]]:
    """Keep base and head ready while the context lasts, and yield them with their commits.

    Raises:
        UsageError: they are not given, or not as a pair.
        SideError: one of them does not build.
    """
    commands = (asked.base_cmd, asked.head_cmd)
    urls = (asked.base_url, asked.head_url)
    references = (asked.base, asked.head)
    if sum(any(pair) for pair in (commands, urls, references)) > 1:
        raise UsageError(
            "commits, commands and addresses cannot be mixed; compare a pair of one kind"
        )
    for pair, flag in ((commands, "cmd"), (urls, "url")):
        if any(pair) and not all(pair):
            raise UsageError(f"--base-{flag} and --head-{flag} go together")
    if all(commands):
        yield (
            (
                side_of_command(BASE, str(asked.base_cmd), settings.server),
                side_of_command(HEAD, str(asked.head_cmd), settings.server),
            ),
            {},
        )
        return
    if all(urls):
        yield (side_of_url(BASE, str(asked.base_url)), side_of_url(HEAD, str(asked.head_url))), {}
        return
    with ExitStack() as checkouts:
        yield _checked_out(asked, settings, folder, journal, checkouts)


def _checked_out(
    asked: _Asked,
    settings: GateSettings,
    folder: Path,
    journal: Journal | None,
    checkouts: ExitStack,
) -> tuple[tuple[Side, Side], dict[str, str]]:
    if journal is not None and not journal.begin.commits:
        raise UsageError(
            f"the gate began with {journal.begin.base} and {journal.begin.head}; give them again"
        )
    if asked.base is None and journal is None:
        raise UsageError(
            "nothing to compare with; give --base REF, such as origin/main, or --base-cmd"
        )
    if not settings.server.command:
        raise UsageError(f"{settings.path} has no command to start a checkout with; add one")
    repository = repository_of(settings.path.resolve().parent)
    if journal is not None:
        commits = dict(journal.begin.commits)
        _check_same(asked, commits, repository)
    else:
        commits = {
            BASE: commit_of(str(asked.base), repository),
            HEAD: _working_tree(repository)
            if asked.head is None
            else commit_of(asked.head, repository),
        }
    names = {BASE: asked.base or "", HEAD: asked.head or WORKING_TREE}
    sides = []
    for name, commit in commits.items():
        place = folder / name
        checkouts.enter_context(checkout(repository, commit, place))
        label = f"{names[name]} {commit[:_COMMIT_DIGITS]}".strip()
        log = folder / f"{name}.prepare.log"
        sys.stderr.write(f"{name}: {label}: being prepared, its output is in {log}\n")
        sides.append(side_of_checkout(name, label, place, settings.server, log))
    return (sides[0], sides[1]), commits


def _check_same(asked: _Asked, commits: Mapping[str, str], repository: Path) -> None:
    """Refuse to resume with commits other than those the gate began with. Raises UsageError."""
    for name, reference in ((BASE, asked.base), (HEAD, asked.head)):
        if reference is not None and commit_of(reference, repository) != commits[name]:
            raise UsageError(
                f"--{name} {reference} is not the commit that the gate began with, "
                f"{commits[name][:_COMMIT_DIGITS]}; start again without --resume"
            )


def _working_tree(repository: Path) -> str:
    """Return a commit of the working tree, and report what is not in it."""
    if left_out := unfollowed_files(repository):
        _print_line(
            f"head: the working tree without {format_count(len(left_out))} of its files, such as "
            f"{left_out[0]}, which git does not track: git add what belongs to it"
        )
    return working_tree_commit(repository)


def _report(made: Gate, decision: GateDecision, blocks: Sequence[MeasuredBlock]) -> GateReport:
    labels = {it.name: made.settings.label(it) for it in made.settings.metrics}
    return GateReport(
        decision,
        made.sides[BASE].label,
        made.sides[HEAD].label,
        labels,
        sum(block.seconds for block in blocks),
        tuple(reason for block in blocks for reason in block.repeated),
        shlex.join(["swarmgate", *sys.argv[1:]]),
    )


def _write(report: GateReport, markdown: str | None, junit: str | None) -> None:
    """Write what was asked for. Raises RecordError, OSError."""
    text = gate_markdown(report)
    if markdown is not None:
        write_whole(markdown, text, ())
    if junit is not None:
        write_whole(junit, gate_junit(report), ())
    if summary := _summary():
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(text)


def _summary() -> str | None:
    return os.environ.get(_SUMMARY) or None


def _print_report(report: GateReport, folder: Path, *, as_json: bool, is_printed: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(gate_document(report), indent=2) + "\n")
        return
    if is_printed:
        return
    console = result_console(_WIDTH)
    console.print(gate_table(report))
    for line in gate_lines(report):
        console.print(line, soft_wrap=True)
    console.print(f"Records: {folder}", soft_wrap=True)
    sys.stdout.write(f"{outcome_of_gate(report).line}\n")


def _resumed(folder: Path) -> str:
    words = sys.argv[1:]
    if "--resume" in words:
        return shlex.join(["swarmgate", *words])
    kept = _without(words, ("-o", "--output", "--seed"))
    return shlex.join(["swarmgate", *kept, "--resume", str(folder)])


def _without(words: Sequence[str], options: Sequence[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in options:
            skip = True
        elif word.split("=")[0] not in options:
            kept.append(word)
    return kept
