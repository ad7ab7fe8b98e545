"""The world of the fakes as it stood when a process was killed: written by that process, read by the one after it."""

from __future__ import annotations

import itertools
import pickle
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.fleet.wired import Fleet
from keyturn.domain.secret_value import SecretValue

REBUILT: dict[type, Callable[[Any], tuple[Callable[..., Any], tuple[Any, ...]]]] = {
    # The values are random and of no use to anybody; a SecretValue of the product's is not pickled.
    SecretValue: lambda value: (SecretValue, (value.reveal(),)),
    type(threading.RLock()): lambda _: (threading.RLock, ()),
    itertools.count: lambda numbers: (itertools.count, (next(numbers),)),
    random.SystemRandom: lambda _: (random.SystemRandom, ()),
}
"""What pickle does not take by itself, and how it is made again."""


class _Pickler(pickle.Pickler):
    dispatch_table = REBUILT


@dataclass(frozen=True, slots=True)
class Left:
    """What a killed process left."""

    fleet: Fleet
    open_intents: int


def write(path: Path, left: Left) -> None:
    with path.open("wb") as file:
        _Pickler(file, pickle.HIGHEST_PROTOCOL).dump(left)


def read(path: Path) -> Left:
    with path.open("rb") as file:
        left: Left = pickle.load(file)  # noqa: S301 - our own, in a folder that is ours alone
    return left
