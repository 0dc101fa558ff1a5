"""Where a run's figures go, and which file the run is read from."""

from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from loadtests.plan.forms import PATH, SWITCH
from loadtests.plan.option import Group, Option, Scope


@dataclass(frozen=True, slots=True, config=ConfigDict(use_attribute_docstrings=True))
class Output:
    """The output of a run, printed and written."""

    file: Annotated[
        Path | None,
        Option(Group.OUTPUT, PATH, short="-f", metavar="FILE", scope=Scope.RUN, in_file=False),
    ] = None
    """TOML file with any of these options by name; flags take precedence."""

    dry_run: Annotated[bool, Option(Group.OUTPUT, SWITCH, scope=Scope.RUN, in_file=False)] = False
    """Print the resolved plan without connecting."""

    output: Annotated[
        Path | None,
        Option(
            Group.OUTPUT,
            PATH,
            short="-o",
            metavar="FILE",
            default="under reports/runs/",
            scope=Scope.RUN,
        ),
    ] = None
    """File to write the record to."""

    json: Annotated[bool, Option(Group.OUTPUT, SWITCH, scope=Scope.RUN)] = False
    """Print one JSON document and nothing else."""

    quiet: Annotated[bool, Option(Group.OUTPUT, SWITCH, short="-q", scope=Scope.RUN)] = False
    """Show nothing during the run."""
