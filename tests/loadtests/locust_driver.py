"""Run the users of a locustfile until each has ended by itself; print what Locust counted.

``python -m tests.loadtests.locust_driver LOCUSTFILE HOST USERS``. A process of its own, because
Locust changes the standard library of the one that imports it. Prints one JSON object: ``rows``
and ``causes`` by name, and the locustfile's own ``NOTES``.
"""

import locust  # noqa: F401, I001 - it changes what is imported after it
import json
import runpy
import sys
from collections import defaultdict

from locust.env import Environment


def main() -> None:
    """Run what the arguments name."""
    path, host, users = sys.argv[1], sys.argv[2], int(sys.argv[3])
    names = runpy.run_path(path)
    # A task that fails ends its user, where Locust would run it for ever.
    environment = Environment(user_classes=[names["Tester"]], host=host, catch_exceptions=False)
    names["Tester"].host = host
    runner = environment.create_local_runner()
    runner.start(users, spawn_rate=users)
    runner.spawning_greenlet.join()
    runner.user_greenlets.join()
    causes: dict[str, dict[str, int]] = defaultdict(dict)
    for error in environment.stats.errors.values():
        causes[error.name][str(error.error)] = error.occurrences
    rows = {
        row.name: {
            "method": row.method,
            "requests": row.num_requests,
            "failures": row.num_failures,
            "bytes": row.total_content_length,
            "shortest": row.min_response_time,
            "longest": row.max_response_time,
        }
        for row in environment.stats.entries.values()
    }
    print(json.dumps({"rows": rows, "causes": causes, "notes": names.get("NOTES", [])}))


if __name__ == "__main__":
    main()
