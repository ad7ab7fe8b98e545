"""Whether a secret value is anywhere that keyturn writes to (promise P6)."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sqlalchemy import select

from keyturn.ports.store import Store
from keyturn.stores.sql import SqlStore
from keyturn.stores.sql.tables import metadata

if TYPE_CHECKING:
    from keyturn.testing.simulation.world import World

VALUE = re.compile(rb"fake_k\d+_[0-9a-f]{32}")
"""What the values of the fake authority look like: all of them are looked for in one pass."""
IN_MEMORY = ("_lock", "_now")
"""What a store in memory has beside what it remembers."""


def in_sight(world: World) -> Iterator[tuple[str, str]]:
    """The keys whose value shows in the store, in what people were told, or in the trace."""
    try:
        places = {
            "the store": _contents(world.store),
            "what people were told": repr(world.mail.delivered).encode(),
            "the trace": "\n".join(world.timeline.lines).encode(),
        }
    except TypeError as error:
        # A `SecretValue` does not let itself be written down.
        yield "P6", f"the store holds a value: {error}"
        return
    for place, text in places.items():
        for value in sorted(set(VALUE.findall(text))):
            yield "P6", f"the value of {world.named(value.decode())} stands in {place}"


def _contents(store: Store) -> bytes:
    """Everything that a store holds, journal, trail and outbox among it."""
    if isinstance(store, SqlStore):
        with store._database.read() as connection:
            return repr([connection.execute(select(table)).all() for table in metadata.sorted_tables]).encode()
    return pickle.dumps({name: held for name, held in vars(store).items() if name not in IN_MEMORY})
