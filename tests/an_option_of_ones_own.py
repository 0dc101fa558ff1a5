"""Print where an option stands that ``examples/option.patch`` has added, by the place."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.claims.reading import load_claims
from loadtests.locust.arguments import UserClass, plan_for
from loadtests.plan.command_line import read_words
from loadtests.plan.from_options import plan_of
from loadtests.plan.keywords import given_by
from loadtests.plan.options_page import options_page
from loadtests.plan.replay import replay_command
from loadtests.plan.target_source import TargetSource

FLAGS = ["--ticket", "OPS-7"]
URL = "ws://127.0.0.1:9/"
CLAIMS = """
[target.theirs]
command = "server {port}"
[experiment.e]
scenario = "hold"
connections = 2
ticket = "OPS-7"
[[claim]]
id = "c"
says = "it holds"
source = "nobody"
experiment = "e"
metric = "errors"
comparison = "at_most"
value = "0"
"""


def printed(*words: str) -> str:
    """Return what ``swarmgate run`` says."""
    command = [sys.executable, "-m", "swarmgate", "run", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


plan = plan_of(read_words([URL, "2", *FLAGS]))
Path("run.toml").write_text(f'url = "{URL}"\nconnections = 2\nticket = "OPS-7"\n')
Path("claims.toml").write_text(CLAIMS)
options = argparse.Namespace(swarm_flags=" ".join(FLAGS))
user = UserClass("Users", "echo", "/", {}, None, "", "")
places = {
    "command line": plan.ticket,
    "help": "--ticket" in printed("--help"),
    "scenario file": "OPS-7" in printed("-f", "run.toml", "--dry-run"),
    "dry run": "OPS-7" in printed(URL, "2", *FLAGS, "--dry-run"),
    "keyword": plan_of(given_by({"url": URL, "ticket": "OPS-7"})).ticket,
    "replay": "--ticket OPS-7" in " ".join(replay_command(plan, TargetSource())),
    "locust": plan_for(user, options, URL, users=2, workers=1, seed=1).ticket,
    "claims": load_claims(Path("claims.toml")).case("e", "theirs").plan().ticket,
    "reference page": "`--ticket NAME`" in options_page(),
}
print(json.dumps(places))
