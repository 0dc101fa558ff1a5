"""Open the connections and hold them idle: what do waiting clients cost?"""

from loadtests.population import Population
from loadtests.scenario import Parameters, Published, Scenario
from loadtests.span import Span


class Hold(Scenario[Parameters]):
    """Sends nothing; whatever arrives is counted as unsolicited."""

    joins = True

    async def measure(self, population: Population, load: Span) -> Published:  # noqa: ARG002
        """Wait out the duration."""
        await load.over()
        return {}
