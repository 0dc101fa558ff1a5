"""The command line as it is, but patient with its own generator.

``python -m tests.patient_swarmgate run …``. A busy machine makes a generator late, and a run of a
late one is invalid; a test that asks for another exit status is not about that.
"""

from benchmarks.cli import main
from loadtests.run import execute
from tests.loadtests.conftest import PATIENT

if __name__ == "__main__":
    assert execute.__kwdefaults__ is not None
    execute.__kwdefaults__["thresholds"] = PATIENT
    main()
