"""Patient with its own generator, as tests.patient_swarmgate is: a locustfile."""

from loadtests.locust_engine import conductor
from tests.loadtests.conftest import PATIENT

conductor.Thresholds = lambda: PATIENT  # type: ignore[assignment,misc]
