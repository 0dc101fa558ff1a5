"""Open the connections and hold them idle: what do waiting clients cost?"""

from loadtests.clients.pool import ConnectionPool
from loadtests.errors import UsageError
from loadtests.measure.load_window import LoadWindow
from loadtests.plan.plan import Plan
from loadtests.scenarios.parameters import Parameters
from loadtests.scenarios.scenario import Published, Scenario


class Hold(Scenario[Parameters]):
    """Connections that send nothing; whatever arrives is counted as unsolicited."""

    joins = True

    @classmethod
    def check(cls, plan: Plan, parameters: Parameters) -> None:  # noqa: ARG003
        """Reject a rate, as nothing is sent, except Locust's, which several classes share."""
        if plan.rate is not None and (not plan.live or plan.population is not None):
            raise UsageError(
                "hold sends nothing: leave --rate and --profile out, or use --scenario echo"
            )

    async def measure(self, pool: ConnectionPool, load: LoadWindow) -> Published:  # noqa: ARG002
        """Wait out the duration."""
        await load.over()
        return {}
