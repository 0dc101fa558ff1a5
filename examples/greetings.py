"""A scenario with its own duration: how long a client waits for the answer to its greeting."""

from itertools import cycle
from time import perf_counter_ns

from swarmgate import (
    Better,
    Connection,
    ConnectionPool,
    Figure,
    LoadWindow,
    Measures,
    Parameters,
    Published,
    Scenario,
)


class Greeting(Parameters):
    """Parameters settable with --param."""

    words: str = "hello"
    """What everybody says."""


class Greetings(Scenario[Greeting]):
    """Clients that greet in turn, and take whatever comes next as the answer."""

    parameters_type = Greeting
    default_rate = 20.0
    measures = Measures(
        main=("greeting",),
        durations=(
            Figure(
                "greeting",
                "greeting answered after",
                Better.LOWER,
                "From when a client was to greet until something came back.",
                "Timed by CLOCK_MONOTONIC in the swarm process that has the connection.",
            ),
        ),
        figures=(
            Figure(
                "greetings.answered",
                "greetings answered",
                Better.HIGHER,
                "Greetings that something came back for.",
                "Counted by the swarm processes.",
            ),
        ),
        reaches_rate=True,
        has_ledger=True,
    )
    said = answered = 0

    def new_state(self, number: int) -> list[int]:
        """Return the due times of a connection's unanswered greetings, none at first."""
        return []

    def receive(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        """Time whatever comes after a greeting."""
        if not connection.state:
            self.recorder.unsolicited += 1
            return
        self.recorder.durations("greeting").append(now_ns - connection.state.pop(0))
        self.recorder.counts["greetings.answered"] += 1
        self.answered += 1

    async def measure(self, pool: ConnectionPool, load: LoadWindow) -> Published:
        """Greet on schedule."""
        turns = cycle(pool.open_connections())
        late = self.recorder.durations("lateness")

        def greet(intended_ns: int) -> None:
            connection = next(turns)
            late.append(perf_counter_ns() - intended_ns)
            connection.state.append(intended_ns)
            connection.send(self.parameters.words)
            self.said += 1

        await self.pace(load, greet, 1 / self.plan.processes)
        return {}

    def outstanding(self, published: Published) -> int:
        """Return how many greetings may still be answered."""
        return self.said - self.answered

    def account(self, published: Published) -> None:
        """Enter the greetings that were never answered into the ledger."""
        self.recorder.integrity["expected"] += self.said
        self.recorder.integrity["lost"] += self.said - self.answered
