"""What all tests share: that none of them depends on how fast the machine is."""

from hypothesis import HealthCheck, settings

# How long an example takes is the machine's affair; a test that hangs is ended by pytest-timeout.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")
