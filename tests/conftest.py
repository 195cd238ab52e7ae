"""What holds for the whole suite."""

from hypothesis import HealthCheck, settings

# two slow cores that others use too: an example that takes long is no fault, pytest-timeout bounds the test
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")
