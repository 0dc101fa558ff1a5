"""Patient with its own generator, as tests.patient_swarmgate is: a locustfile."""

import shlex

from loadtests.locust.users import SwarmUser
from loadtests.plan.bounds import changed
from tests.loadtests.conftest import PATIENT


def _be_patient() -> None:
    bounds = shlex.join([word for text in changed(PATIENT) for word in ("--bound", text)])
    for kind in (SwarmUser, *SwarmUser.__subclasses__()):
        kind.flags = f"{kind.flags} {bounds}"


_be_patient()
