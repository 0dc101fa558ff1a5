"""The first line of a record: what a run is, and everything needed to make it again."""

import uuid
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Final

from loadtests import machine
from loadtests.limits import Limits
from loadtests.plan import Plan
from reports.record import Header, Target

# These stand elsewhere in a header.
_APART: Final = ("url", "scenario", "parameters", "seed")


def run_header(plan: Plan, target: Target, in_force: Limits, command: Sequence[str]) -> Header:
    """Describe a run that begins now on this machine."""
    load = {name: value for name, value in asdict(plan).items() if name not in _APART}
    return Header(
        run_id=uuid.uuid4().hex,
        scenario=plan.scenario,
        parameters=dict(plan.parameters),
        load={**load, "total_rate": plan.total_rate, "openings": plan.openings},
        target=target,
        machine=machine.describe_machine(),
        limits=in_force.as_record(),
        versions=machine.package_versions(),
        command=tuple(command),
        started_at=datetime.now().astimezone().isoformat(timespec="seconds"),
        seed=plan.seed,
        git_commit=machine.git_commit(),
    )
