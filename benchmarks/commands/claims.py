"""The command ``claims``: run what claims need, on any server, and print a verdict on each."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from benchmarks.claims.claims_file import Claim, ClaimsFile, about, choose, needed
from benchmarks.claims.judging import Runs, judge
from benchmarks.claims.reading import load_claims
from benchmarks.runs.experiments import with_flags
from benchmarks.runs.making import ANY_MACHINE, InterruptedRunError
from benchmarks.runs.series import check_plans, describe, made_again, run_all, with_repeats
from benchmarks.runs.series import quick as reduced
from benchmarks.runs.tables import InputFileError
from benchmarks.runs.targets import (
    LOOPBACK,
    Target,
    base_of,
    check_of_load,
    split_words,
    started_by,
)
from loadtests import cli as loadtests_cli
from loadtests.errors import UsageError
from loadtests.plan.command_line import read_words
from loadtests.plan.from_options import source_of
from loadtests.run.run import default_folder
from reports.claim_result import ClaimResult, outcome_of_claims
from reports.outcome import ExitStatus, Outcome
from reports.printable import printable
from reports.record import RecordError
from reports.tables.claims_table import tally, verdict_markdown, verdict_svg, verdict_table
from reports.terminal import live_view, result_console

DEFAULT_CLAIMS: Final = Path(__file__).parents[1] / "claims.toml"
# Columns of a table that goes to a file or a pipe, unless COLUMNS sets the number.
REPORT_WIDTH: Final = 132

app = typer.Typer()


@app.command()
def claims(
    file: Annotated[Path, typer.Argument(help="The claims file.")] = DEFAULT_CLAIMS,
    *,
    only: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Judge only this claim (repeatable).")
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Judge only this server of the file (repeatable)."),
    ] = None,
    target_cmd: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help="Judge another server in place of the file's: its command, with {port} in it.",
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(help="Judge another server that is already running at this address."),
    ] = None,
    pid: Annotated[
        list[int] | None,
        typer.Option(help="Its process ID. \\[default: the process that listens on the port here]"),
    ] = None,
    path: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OLD=NEW", help="A path that has another name on it: /ws=/chat (repeatable)."
        ),
    ] = None,
    flags: Annotated[
        str,
        typer.Option(
            metavar='"FLAGS"',
            help="Further flags of `swarmgate run` for every run, such as how to log in, or "
            "when the server of --target-cmd is ready: --target-ready /healthz.",
        ),
    ] = "",
    repeats: Annotated[
        int | None, typer.Option(min=2, help="Runs of each experiment. \\[default: the file's]")
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="A tenth of the connections, twice: shows that it works, judges no claim. "
            "Exits with 3 if something could not be measured, otherwise with 0.",
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of records. \\[default: under reports/runs/]"),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show nothing during the run.")
    ] = False,
) -> None:
    """Run what the claims need and print a verdict on each, from repeated runs in new processes."""
    try:
        asked, words = load_claims(file), split_words("--flags", flags)
        claims = asked.claims
        if target_cmd is not None or url is not None:
            asked = about(asked, _stranger(target_cmd, url, pid or (), path or (), words))
        elif pid or path:
            raise UsageError("--pid and --path go with --target-cmd or --url")
        else:
            check_of_load(words)
        asked = needed(choose(with_flags(asked, words), only or (), target or ()))
        if repeats is not None:
            asked = with_repeats(asked, repeats)
        if quick:
            asked = reduced(asked)
        if not asked.claims:
            raise InputFileError(f"{file}: no claim is left to judge")
        check_plans(asked)
        _check_memory(asked)
    except (InputFileError, UsageError) as error:
        sys.stderr.write(f"swarmgate: {error}\n")
        raise typer.Exit(ExitStatus.USAGE) from None
    beside = [it for it in claims if it.id in (only or [it.id]) and it.baseline_target]
    _print_left_out(asked, beside)
    folder = output or default_folder("claims")
    runs = _made(asked, folder, is_reduced=quick, quiet=quiet)
    results = _judged(asked, runs)
    _print_verdicts(results, _repeated(runs), folder, is_reduced=quick)
    outcome = outcome_of_claims(results)
    if quick and outcome.status is not ExitStatus.INVALID:
        outcome = Outcome(ExitStatus.HELD, ("everything was measured, and nothing is judged",))
    sys.stdout.write(f"{outcome.line}\n")
    raise typer.Exit(outcome.status)


def _print_left_out(file: ClaimsFile, beside: Sequence[Claim]) -> None:
    """Report which servers, and which claims relative to one, are not judged, and why."""
    lines = [f"target {name} is left out: there is no {it}" for name, it in file.left_out.items()]
    lines += [
        f"claim {claim.id} is left out: it is compared with {claim.baseline_target}, also left out"
        for claim in beside
        if claim.baseline_target not in file.targets
    ]
    for line in lines:
        sys.stderr.write(f"swarmgate: {line}\n")


def _stranger(
    command: str | None,
    url: str | None,
    pids: Sequence[int],
    paths: Sequence[str],
    words: Sequence[str],
) -> Target:
    """Make a target from the command line, including its flags. Raises UsageError."""
    if (command is None) == (url is None):
        raise UsageError("--target-cmd and --url; leave one of them out")
    renamed = {}
    for item in paths:
        old, equals, new = item.partition("=")
        if not (equals and old.startswith("/") and new.startswith("/")):
            raise UsageError(f"--path takes OLD=NEW, both beginning with a slash, not {item!r}")
        renamed[old] = new
    given = read_words(words)
    if command is not None:
        if pids:
            raise UsageError(
                "--pid goes with --url; a server that a command starts is watched anyway"
            )
        source = source_of({**given, "target_cmd": command})
        source, base = replace(source, command=started_by(command)), LOOPBACK
    else:
        assert url is not None
        source, base = source_of({**given, "pid": [*map(str, pids)]}), base_of(url)
    return Target("target", source, base, renamed)


def _check_memory(file: ClaimsFile) -> None:
    """Refuse to judge memory after a warm-up set by further flags. Raises InputFileError."""
    for claim in file.claims:
        for _, complaint in file.against_warm_memory(claim):
            raise InputFileError(f"{file.path}: claim {claim.id}: {complaint}")


def _made(file: ClaimsFile, folder: Path, *, is_reduced: bool, quiet: bool) -> Runs:
    console = Console(stderr=True)
    try:
        return run_all(
            file,
            folder,
            lambda title: live_view(console, title, quiet=quiet),
            ANY_MACHINE if is_reduced else None,
        )
    except (InterruptedRunError, KeyboardInterrupt) as error:
        what = str(error) or "interrupted between two runs"
        sys.stderr.write(f"swarmgate: {what}; the records so far are in {folder}\n")
        raise typer.Exit(ExitStatus.INTERRUPTED) from None
    except RecordError as error:
        raise loadtests_cli.fail(error) from None


def _judged(file: ClaimsFile, runs: Runs) -> Sequence[ClaimResult]:
    results = [
        judge(
            claim,
            target,
            describe(file, claim.experiment, target),
            runs,
            file.catalogue(claim.experiment),
        )
        for claim in file.claims
        for target in file.judged_on(claim)
    ]
    return results if len(file.targets) > 1 else [replace(it, target="") for it in results]


def _repeated(runs: Runs) -> tuple[str, ...]:
    reasons = {key: [why for run in made for why in run.repeated] for key, made in runs.items()}
    return tuple(f"Repeated: {printable(line)}." for line in made_again(reasons))


def _print_verdicts(
    results: Sequence[ClaimResult], repeated: Sequence[str], folder: Path, *, is_reduced: bool
) -> None:
    """Print the verdict table, and save it next to its records."""
    notice = "Reduced load (--quick): these verdicts do not apply to the claims.\n"
    markdown = folder / "claims.md"
    markdown.write_text(
        f"{notice if is_reduced else ''}{tally(results)}\n\n{verdict_markdown(results)}"
        + "".join(f"\n{line}\n" for line in repeated),
        encoding="utf-8",
    )
    (folder / "claims.svg").write_text(verdict_svg(results), encoding="utf-8")
    console = result_console(REPORT_WIDTH)
    console.print(verdict_table(results))
    for line in repeated:
        console.print(line, soft_wrap=True)
    console.print(f"{notice if is_reduced else ''}{tally(results)}", soft_wrap=True)
    console.print(f"Records, and the table as Markdown and SVG: {folder}", soft_wrap=True)
