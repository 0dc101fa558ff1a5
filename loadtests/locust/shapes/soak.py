"""All users for a long time: does anything grow?"""

from loadtests.locust.shapes.options import SizedShape


class Soak(SizedShape):
    """``--users`` for ``--run-time``, an hour by default."""

    default_seconds = 3600.0

    def users_at(self, share: float) -> int:  # noqa: ARG002 - the same all the time
        """Return the number of users after that share of the run time."""
        return self.users
