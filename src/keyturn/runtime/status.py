"""A credential as it stands, for people to look at."""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.domain.errors import Refused
from keyturn.domain.machine import decide
from keyturn.domain.model import Rotation
from keyturn.domain.observations import Observations
from keyturn.domain.phases import Phase
from keyturn.domain.verdicts import Verdict
from keyturn.ports.clock import Clock
from keyturn.ports.records import Credential, HistoryEntry
from keyturn.ports.store import Store
from keyturn.runtime.contained import Contained, Trouble
from keyturn.runtime.gather import Gather
from keyturn.runtime.step import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A credential as it stands, or stood at the last tick that could work on it."""

    credential: Credential
    rotation: Rotation | None
    verdict: Verdict | None
    """What was ruled last; None when nothing is under way."""
    seen: Observations | None
    turned_back: HistoryEntry | None = None
    """When and why readers were given the old version back; None where they were not."""
    trouble: Trouble | None = None
    """What keeps anything from being done for it; None while its ticks end well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Tells how credentials stand."""

    store: Store
    clock: Clock
    gather: Gather
    step: Step
    contained: Contained

    def of(self, name: str) -> Status:
        """As the last tick saw it, or read afresh when there was none. Raises `Refused` before it was first read."""
        credential, trouble = self.store.credential(name), self.contained.trouble(name)
        if credential is None:
            why = trouble or "its targets must be readable and hold one same value"
            raise Refused(f"{name} has not been read yet: {why}; `keyturn adopt {name}` shows what is there")
        rotation = self.store.live_of(name)
        verdict, seen = None, None
        if rotation is None:
            rotation = self.store.latest_of(name)
        else:
            verdict, seen = self.step.looks.get(rotation.id) or self._look(rotation)
        return Status(
            credential=credential,
            rotation=rotation,
            verdict=verdict,
            seen=seen,
            turned_back=self._turned_back(rotation),
            trouble=trouble,
        )

    def _look(self, rotation: Rotation) -> tuple[Verdict, Observations]:
        seen = self.gather.observe(rotation)
        return decide(rotation, seen, self.clock.now()).verdict, seen

    def _turned_back(self, rotation: Rotation | None) -> HistoryEntry | None:
        if rotation is None or rotation.phase not in (Phase.ROLLBACK, Phase.ROLLED_BACK):
            return None
        for line in reversed(self.store.history(rotation.credential)):
            if (line.rotation, line.kind, line.phase) == (rotation.id, "transition", Phase.ROLLBACK):
                return line
        return None
