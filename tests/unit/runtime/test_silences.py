"""What is judged of clients is shared by the ticks and by whoever answers a person."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tests.unit.runtime.rig import NAME, Rig

from keyturn.runtime.evidence import Silences, observe_usage
from keyturn.stores.memory import MemoryStore


class Interrupted(MemoryStore):
    """While it is asked for a client's uses, a tick lets go of what it knows of ended rotations."""

    silences: Silences | None = None

    def use_starts(self, credential: str, client: str, *, end: datetime) -> Sequence[datetime]:
        if self.silences is not None:
            self.silences.forget_all_but(())
        return super().use_starts(credential, client, end=end)


def test_a_tick_may_forget_while_somebody_looks() -> None:
    """A rotation ends while its usage is looked at for a person: the look is whole."""
    rig = Rig(open_store=lambda now: Interrupted(now=now))
    rig.warm_up()
    rotation = rig.runtime.start(NAME, by="ada", why="test")
    silences = Silences(store=rig.store)
    whole = observe_usage(silences, rig.registry, rotation)
    silences = Silences(store=rig.store)
    assert isinstance(rig.store, Interrupted)
    rig.store.silences = silences
    assert observe_usage(silences, rig.registry, rotation) == whole
    assert len(whole.clients) == len(rig.clients)
