"""What all tests share: that none of them depends on how fast the machine is."""

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes is the machine's affair; a test that hangs is ended by pytest-timeout.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long ones, so that none of them is left alone at the end.

    Each is followed by another one, because pytest-xdist gives every process two to begin with.
    """
    long = [item for item in items if item.get_closest_marker("long")]
    others = [item for item in items if not item.get_closest_marker("long")]
    first = [item for pair in zip(long, others, strict=False) for item in pair]
    items[:] = first + long[len(others) :] + others[len(long) :]
