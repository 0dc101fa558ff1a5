"""Patient with its own generator, as tests.patient_swarmgate is: a locustfile."""

from functools import partial

from loadtests.locust_engine import options
from loadtests.plan import Plan
from tests.loadtests.conftest import PATIENT

options.Plan = partial(Plan, bounds=PATIENT)  # type: ignore[assignment,misc]
