"""Ways to break the product on purpose, each of which the simulator has to see. They change what the product does, and
never what the simulator checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from keyturn.testing.simulation.sabotages import evidence, machine, runtime

SABOTAGES: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
    **runtime.SABOTAGES,
    **machine.SABOTAGES,
    **evidence.SABOTAGES,
}
"""By name; entering one breaks the product, leaving it mends it."""
