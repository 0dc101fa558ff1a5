"""A fifth of the users, then all of them at once for a fifth of the time, then a fifth again."""

from loadtests.locust.shapes.options import SizedShape

_QUIET = 0.2
_BEGIN, _END = 0.4, 0.6


class Spike(SizedShape):
    """``--users`` in the middle of ``--run-time``, a fifth of them before and after."""

    def users_at(self, share: float) -> int:
        """Return the number of users after that share of the run time."""
        return self.users if _BEGIN <= share < _END else max(1, round(self.users * _QUIET))
