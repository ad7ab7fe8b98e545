"""Random numbers that can be had again."""

import secrets
import sys

import numpy as np


def seeded(seed: int | None = None) -> np.random.Generator:
    """Random numbers of a seed, by default a fresh one; it is printed."""
    chosen = secrets.randbits(32) if seed is None else seed
    sys.stdout.write(f"seed {chosen}\n")
    return np.random.default_rng(chosen)
