"""Which usage sources do not see: named while they do not, told of once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from keyturn.domain.effects import Message
from keyturn.ports.clock import Clock
from keyturn.ports.records import SourceState
from keyturn.ports.store import Store
from keyturn.runtime.registry import Registry, WiredSource

log = structlog.get_logger(__name__)

PATIENCE = timedelta(seconds=60)
"""A watermark may stay behind its source's lag for so long, and two buckets, before somebody is told."""


class Blindness:
    """Looks at the watermarks. A source that is blind blocks what needs its word by its watermark alone; this is for the
    people who have to mend it."""

    def __init__(self, *, store: Store, registry: Registry, clock: Clock) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._began = clock.now()
        self.said: dict[str, str] = {}
        """What went wrong at the last poll of each source; empty when nothing did."""

    def look(self, sources: Sequence[WiredSource]) -> None:
        """Note each of these that has become blind or sees again, and tell of it."""
        states, now = self._store.sources(), self._clock.now()
        for source in sources:
            name = source.name
            state = states.get(name) or SourceState(name=name)
            if self._behind(source, state, now):
                trouble = self.said.get(name) or _silent(source, state)
                if state.blind_since is None:
                    self._tell(
                        name, state, "source.blind", f"{trouble}; until it sees again nothing is retired on its word"
                    )
                if state.blind_since is None or state.trouble != trouble:
                    since = state.blind_since or state.watermark or self._began
                    self._store.set_blind(name, since, trouble)
            elif state.blind_since is not None and self._caught_up(source, state, now):
                self._tell(name, state, "source.sees", "it sees again")
                self._store.set_blind(name, None, "")

    def _behind(self, source: WiredSource, state: SourceState, now: datetime) -> bool:
        # While keyturn was down nobody could report to it.
        reference = self._began if state.watermark is None else max(state.watermark, self._began)
        return now - reference > _patience(source)

    def _caught_up(self, source: WiredSource, state: SourceState, now: datetime) -> bool:
        # Whoever has only just begun, or taken over, waits for its word before it says that it sees again.
        return state.watermark is not None and now - state.watermark <= _patience(source)

    def _tell(self, name: str, state: SourceState, topic: str, text: str) -> None:
        covered = self._registry.covered_by(name)
        notifiers = sorted({one for credential in covered for one in self._registry.credential(credential).notifiers})
        since = state.blind_since or state.watermark or self._began
        message = Message(
            # By when it went blind: told once, by however many replicas and restarts.
            id=f"{topic}/{name}/{since.isoformat()}",
            topic=topic,
            text=f"usage source {name}: {text}",
            details=(("source", name), ("credentials", ", ".join(sorted(covered)))),
        )
        log.warning(topic, source=name, text=text)
        self._store.enqueue([message], notifiers, now=self._clock.now())


def _patience(source: WiredSource) -> timedelta:
    return source.lag + 2 * source.resolution + PATIENCE


def _silent(source: WiredSource, state: SourceState) -> str:
    asked = "reports" if source.poll is None else "sees"
    if state.watermark is None:
        return f"{asked} nothing: see that it runs"
    return f"{asked} nothing later than {state.watermark:%Y-%m-%d %H:%M:%S} UTC: see that it runs"
