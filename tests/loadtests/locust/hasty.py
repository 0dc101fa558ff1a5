"""Takes a swarm process that says nothing for five seconds for one that hangs: a locustfile."""

from loadtests.locust import worker_agent

worker_agent.MOST_SILENT_SECONDS = 5  # type: ignore[misc]
