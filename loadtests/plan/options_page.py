"""The option reference, docs/options.md, generated from the declarations by ``nox -s docs``."""

import sys
from collections.abc import Iterator
from typing import Final

from loadtests.plan.option import Group, Kind, Scope
from loadtests.plan.run_options import OF_THE_OUTPUT, OPTIONS, RunOption

_INTRODUCTION: Final = """\
# Options of a run

Every option is written in the same way, and means the same, wherever a run is described:

| where | how |
|---|---|
| command line | `swarmgate run URL COUNT --late 2s` |
| scenario file | `late = "2s"`; COUNT is `connections` ([load.md](load.md)) |
| test | `swarmgate.run("echo", url=…, late=2)`, with `_` for `-` ([pytest.md](pytest.md)) |
| claims, gate, matrix | as in a scenario file ([claims.md](claims.md)) |
| Locust | `--swarm-flags '--late 2s'` ([locust.md](locust.md)) |
| users of several kinds | `--user 'talker=30% --late 2s'`, or `[[user]]` |

Numbers take units: `500us`, `30s`, `2m`; `64B`, `16KiB`, `2MB`; `10k`, `1M`; `500/s`, `30/min`;
`5%`. An option that may be repeated is a list in a scenario file and in a test.
`swarmgate run … --dry-run` prints the resolved plan without opening a connection; a record contains
the command that repeats its run. If a run has users of several kinds, an option applies to the run,
to each kind, or to either: what is given for the run is then the default of every kind.

This page is made by `nox -s docs`.
"""
_USERS: Final = {Scope.RUN: "run", Scope.KIND: "kind", Scope.EITHER: "either"}


def options_page() -> str:
    """Return the page, in Markdown."""
    return _INTRODUCTION + "".join(map(_group, Group))


def _group(group: Group) -> str:
    found = [it for it in OPTIONS.values() if it.option.group is group]
    return f"\n## {group}\n\n{''.join(_table(found))}"


def _table(found: list[RunOption]) -> Iterator[str]:
    yield "| option | default | applies to | |\n|---|---|---|---|\n"
    for option in found:
        users = "–" if option.name in OF_THE_OUTPUT else _USERS[option.option.scope]
        cells = (_written(option), option.default_text or "–", users, option.help)
        yield f"| {' | '.join(map(_escaped, cells))} |\n"


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def _written(option: RunOption) -> str:
    how = option.option
    value = "" if option.kind is Kind.SWITCH else how.metavar or "|".join(how.form.words)
    forms = (f"{option.flag} {value}".strip(), how.short, how.off)
    return ", ".join(f"`{it}`" for it in forms if it)


if __name__ == "__main__":
    sys.stdout.write(options_page())
