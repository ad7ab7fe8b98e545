"""Breaks what is concluded from usage: the unknown taken for silence, time taken for knowledge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta

from keyturn.domain import establish
from keyturn.domain.observations import UsageSeen
from keyturn.domain.situation import Quiet, Situation
from keyturn.ports.records import UsageRow
from keyturn.runtime.holes import Holes
from keyturn.runtime.usage import Intake
from keyturn.testing.simulation.sabotages.patching import patched

_quiet = Situation.quiet

HASTE = timedelta(seconds=40)


def _best(self: UsageSeen) -> datetime | None:
    """A source without a word is left out, and the fastest decides."""
    return max((one.watermark for one in self.sources.values() if one.watermark is not None), default=None)


def _shorter(self: Situation, serial: int, *, since: datetime | None, least: timedelta | None = None) -> Quiet:
    """The end of the required silence is not awaited."""
    quiet = _quiet(self, serial, since=since, least=least)
    return replace(quiet, users=tuple(user for user in quiet.users if user[1] > HASTE))


def _deaf(*_: object) -> list[UsageRow]:
    """What a source tells is lost, though its watermark is believed."""
    return []


def _by_the_clock(self: Situation, serial: int, *, since: datetime | None, least: timedelta | None = None) -> Quiet:
    """Silence is counted up to the present, told or not."""
    usage = self.seen.usage
    told = {name: replace(source, watermark=self.now) for name, source in usage.sources.items()}
    present = replace(self, seen=replace(self.seen, usage=replace(usage, sources=told)))
    return _quiet(present, serial, since=since, least=least)


SABOTAGES: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
    "unknown-as-zero": patched((Situation, "quiet", lambda *_, **__: Quiet(known=True))),
    "retire-without-watermark": patched((Situation, "quiet", _by_the_clock)),
    "dwell-without-watermark": patched((Situation, "watched", lambda *_: True)),
    "no-bake": patched((establish, "_baked", lambda *_: None)),
    "ignore-mute-source": patched(
        (UsageSeen, "watermark", property(_best)), (UsageSeen, "failure_watermark", property(_best))
    ),
    "silence-cut-short": patched((Situation, "quiet", _shorter)),
    "ignore-holes": patched((Holes, "of", lambda *_: ())),
    "lose-usage": patched((Intake, "_rows", _deaf)),
}
