"""The base of all load shapes: their size and length are set by Locust's own options."""

from abc import abstractmethod
from typing import Any, ClassVar

from locust import LoadTestShape


class SizedShape(LoadTestShape):
    """A shape over ``--users``, ``--spawn-rate`` and ``--run-time``.

    Attributes:
        default_seconds: the run time if none is given.
    """

    abstract = True
    use_common_options = True
    default_seconds: ClassVar[float] = 60.0

    @abstractmethod
    def users_at(self, share: float) -> int:
        """Return the number of users after that share of the run time, from 0 up to 1."""

    @property
    def users(self) -> int:
        """The maximum number of users."""
        return self._options.num_users or 1

    def tick(self) -> tuple[int, float] | None:
        """Return the number of users and how many to start a second; None ends the test."""
        seconds = float(self._options.run_time or self.default_seconds)
        share = self.get_run_time() / seconds
        if share >= 1:
            return None
        return self.users_at(share), float(self._options.spawn_rate or self.users)

    @property
    def _options(self) -> Any:  # noqa: ANN401 - a namespace
        assert self.runner is not None
        return self.runner.environment.parsed_options
