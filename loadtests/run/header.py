"""The first line of a record: what a run is, and everything needed to repeat it."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from loadtests.plan.limits import Limits
from loadtests.plan.plan import Plan
from loadtests.run import machine
from loadtests.scenarios.figures import measures_of
from reports.record import Header, Target, UserHeader

# These are elsewhere in a header.
_APART: Final = ("url", "scenario", "parameters", "seed", "users")


def run_header(plan: Plan, target: Target, in_force: Limits, command: Sequence[str]) -> Header:
    """Describe a run that begins now on this machine."""
    return Header(
        run_id=uuid.uuid4().hex,
        scenario=plan.scenario,
        parameters=dict(plan.parameters),
        load=_load(plan),
        users=tuple(_users(plan)),
        measures=measures_of(plan),
        target=target,
        machine=machine.describe_machine(),
        limits=in_force.as_record(),
        versions=machine.package_versions(),
        command=tuple(command),
        started_at=datetime.now().astimezone().isoformat(timespec="seconds"),
        seed=plan.seed,
        git_commit=machine.git_commit(),
    )


def _load(plan: Plan) -> dict[str, Any]:
    load = {name: value for name, value in asdict(plan).items() if name not in _APART}
    return {**load, "total_rate": plan.total_rate, "openings": plan.openings}


def _users(plan: Plan) -> Iterator[UserHeader]:
    before = 0
    for user in plan.users:
        yield UserHeader(
            name=user.name,
            share=user.share,
            scenario=user.plan.scenario,
            parameters=dict(user.plan.parameters),
            load=_load(user.plan),
            url=user.plan.url,
            processes=tuple(range(before, before + user.plan.processes)),
            measures=measures_of(user.plan),
        )
        before += user.plan.processes
