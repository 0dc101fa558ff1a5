"""Servers of a file: variants from one table, and what is left out where something is missing."""

import sys
from pathlib import Path

import pytest

from benchmarks.runs.experiments import Experiments, on_targets
from benchmarks.runs.reading import read_experiments
from benchmarks.runs.tables import InputFileError, parsed

EXPERIMENT = '[experiment.idle]\nscenario = "hold"\nconnections = 1\n'


def read(tmp_path: Path, text: str) -> Experiments:
    path = tmp_path / "file.toml"
    path.write_text(text + EXPERIMENT)
    return read_experiments(*parsed(path))


def test_one_table_with_variants_is_a_server_for_each_combination_of_them(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        '[target."it-{loop}-{workers}"]\n'
        'vary = { loop = ["a", "b"], workers = [1, 2] }\n'
        'command = "{python} it --loop {loop} --workers {workers} {port} {other}"\n'
        'environment = { LOOP = "{loop}" }\nflags = "--bearer k{workers}"\n',
    )
    assert list(file.targets) == ["it-a-1", "it-a-2", "it-b-1", "it-b-2"]
    last = file.targets["it-b-2"]
    command = (sys.executable, "it", "--loop", "b", "--workers", "2", "{port}", "{other}")
    assert last.source.command == command
    assert last.source.environment == {"LOOP": "b"}
    assert last.flags == ("--bearer", "k2")


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ('[target.a]\nvary = { x = ["1"] }\n',
         r':2: target.a.vary.x: each variant needs a name: write \[target."a-{x}"\]'),
        ('[target."a-{port}"]\nvary = { port = [1] }\n', ":2: .*{port} is filled in for each run"),
        ('[target."a-{x}"]\nvary = { x = [] }\n', ":2: target.a-{x}.vary.x: .*at least 1"),
        ('[target."a-{x}"]\nvary = { x = [1.5] }\n', ":2: .*vary.x.0"),
        ('[target."a-{x}"]\nvary = { x = [1, 1] }\n', ":1: .*two targets called 'a-1'"),
    ],
)  # fmt: skip
def test_variants_that_cannot_be_made_are_told_with_their_line(
    tmp_path: Path, table: str, complaint: str
) -> None:
    with pytest.raises(InputFileError, match=complaint):
        read(tmp_path, f'{table}command = "x {{port}}"\n')


def test_a_server_whose_requirements_are_not_there_is_left_out_by_name(tmp_path: Path) -> None:
    (tmp_path / "here").touch()
    requirements = {
        "module": '"tomllib"',
        "program": '["sh", "tomllib"]',
        "path": '"./here"',
        "no-module": '"no_such_module"',
        "no-submodule": '["no_such_module.sub"]',
        "no-path": '["sh", "../nowhere/{port}"]',
    }
    tables = (
        f'[target.{name}]\ncommand = "x {{port}}"\nrequires = {what}\n'
        for name, what in requirements.items()
    )
    file = read(tmp_path, "".join(tables))
    assert list(file.targets) == ["module", "program", "path"]
    assert file.left_out == {
        "no-module": "no_such_module",
        "no-submodule": "no_such_module.sub",
        "no-path": str(tmp_path.parent / "nowhere" / "{port}"),
    }
    with pytest.raises(InputFileError, match="target no-module is left out: there is no no_such"):
        on_targets(file, ["no-module"])
    with pytest.raises(InputFileError, match=r"no target is called 'modul'; did you mean module"):
        on_targets(file, ["modul"])
