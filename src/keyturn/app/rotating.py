"""Every live rotation, where one may have a record that cannot be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keyturn.domain.errors import KeyturnError, Transient
from keyturn.domain.model import Rotation
from keyturn.ports.store import Store


@dataclass(frozen=True, slots=True)
class Rotating:
    """What rotates, by credential."""

    live: Mapping[str, Rotation]
    unreadable: Mapping[str, str]
    """Why a rotation's record cannot be read."""


def rotating(store: Store) -> Rotating:
    """All at once; each by itself when that fails, so that a damaged record hides no other. Raises `Transient` when the
    store is away."""
    try:
        return Rotating({rotation.credential: rotation for rotation in store.live()}, {})
    except Transient:
        raise
    except KeyturnError:
        return _one_by_one(store)


def _one_by_one(store: Store) -> Rotating:
    live: dict[str, Rotation] = {}
    unreadable: dict[str, str] = {}
    for name in store.rotating():
        try:
            rotation = store.live_of(name)
        except Transient:
            raise
        except KeyturnError as error:
            unreadable[name] = str(error)
        else:
            if rotation is not None:  # it may have ended meanwhile
                live[name] = rotation
    return Rotating(live, unreadable)
