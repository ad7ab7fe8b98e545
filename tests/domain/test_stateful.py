"""P1–P5 and P10 hold after every step, whatever happens in whatever order."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from tests.domain.rotations import Rotations

TestRotations = Rotations.TestCase
TestRotations.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    derandomize=False,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
