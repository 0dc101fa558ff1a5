"""Takes no process for lost that a busy machine keeps from answering: a locustfile.

For tests that lose none. Without it a worker that does not get its turn for three seconds is taken
for missing, and a load whose last one is ends.
"""

from locust import runners

from loadtests.locust import conductor, worker

_SECONDS = 600.0

runners.HEARTBEAT_LIVENESS = round(_SECONDS)
runners.MASTER_HEARTBEAT_TIMEOUT = round(_SECONDS)
worker._MASTER_SECONDS = _SECONDS  # type: ignore[misc]
conductor._START_SECONDS = _SECONDS  # type: ignore[misc]
conductor._END_SECONDS = _SECONDS  # type: ignore[misc]
