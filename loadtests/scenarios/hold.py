"""Open the connections and hold them idle: what do waiting clients cost?"""

import asyncio
from time import perf_counter_ns

from loadtests.population import Population
from loadtests.scenario import Parameters, Published, Scenario


class Hold(Scenario[Parameters]):
    """Sends nothing; whatever arrives is counted as unsolicited."""

    async def measure(self, population: Population, start_ns: int) -> Published:  # noqa: ARG002
        """Wait out the duration."""
        await asyncio.sleep((self.end_ns(start_ns) - perf_counter_ns()) / 1e9)
        return {}
