"""All users in five equal steps over the run time: memory is read at each, so there is a slope."""

from loadtests.locust.shapes.options import SizedShape

_STEPS = 5


class Steps(SizedShape):
    """``--users`` in five steps of a fifth of ``--run-time`` each."""

    def users_at(self, share: float) -> int:
        """Return the number of users after that share of the run time."""
        return round(self.users * (int(share * _STEPS) + 1) / _STEPS)
