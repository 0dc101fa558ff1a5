"""Patient with its own generator, as tests.patient_swarmgate is: a locustfile."""

import shlex

from loadtests.bounds import changed
from loadtests.locust_users import SwarmUser
from tests.loadtests.conftest import PATIENT

SwarmUser.flags = shlex.join([word for text in changed(PATIENT) for word in ("--bound", text)])
