"""What Prometheus is told: how the clock runs, and how rotations stand. No label ever holds a key."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from keyturn.app.rotating import rotating
from keyturn.domain.errors import KeyturnError
from keyturn.domain.phases import Phase
from keyturn.ports.store import Store
from keyturn.runtime.registry import Registry

BUCKETS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)


class Metrics:
    """The daemon's own registry: nothing of what libraries register by themselves."""

    def __init__(self, store: Store, usage: Mapping[tuple[str, str], int], configured: Registry) -> None:
        self.registry = CollectorRegistry()
        self.ticks = Counter("keyturn_ticks", "Passes over everything that ended well", registry=self.registry)
        self.failed_ticks = Counter(
            "keyturn_failed_ticks",
            "Passes that ended early; a defect is worth a report",
            ["kind"],
            registry=self.registry,
        )
        for kind in ("failure", "defect"):
            self.failed_ticks.labels(kind=kind)
        self.tick_seconds = Histogram(
            "keyturn_tick_seconds", "How long a pass took", buckets=BUCKETS, registry=self.registry
        )
        self.last_tick = Gauge(
            "keyturn_last_tick_timestamp_seconds", "When the last pass ended well", registry=self.registry
        )
        self.registry.register(_Standing(store, configured))
        self.registry.register(_Usage(usage))


class _Usage(Collector):
    """What usage sources sent this process, and what became of it."""

    def __init__(self, counts: Mapping[tuple[str, str], int]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        taken = CounterMetricFamily("keyturn_usage", "Usage by source and what became of it", labels=["source", "what"])
        for (source, what), count in sorted(self._counts.items()):
            taken.add_metric([source, what], count)
        yield taken


class _Standing(Collector):
    """Read from the store at each scrape, so that no number outlives what it counts; nor what was taken out of the
    configuration, which the store remembers."""

    def __init__(self, store: Store, configured: Registry) -> None:
        self._store = store
        self._configured = configured

    def describe(self) -> Iterator[Metric]:
        """Without it the registry would scrape once at registration."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("keyturn_store_up", "Whether the store can be read")
        try:
            families = list(self._families())
        except KeyturnError:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from families

    def _families(self) -> Iterator[Metric]:
        known = rotating(self._store)
        live = known.live.values()
        phases = Tally(rotation.phase for rotation in live)
        rotations = GaugeMetricFamily("keyturn_rotations", "Live rotations by phase", labels=["phase"])
        for phase in Phase:
            if not phase.is_end:
                rotations.add_metric([phase], phases[phase])
        yield rotations

        standing = GaugeMetricFamily(
            "keyturn_rotation_stands_still",
            "1 while it holds or is halted, or while its record is unreadable",
            labels=["credential", "reason"],
        )
        for rotation in live:
            hold = rotation.halted or rotation.hold
            if hold is not None:
                standing.add_metric([rotation.credential, hold.reason], 1)
        for name in known.unreadable:
            standing.add_metric([name, "unreadable"], 1)
        yield standing

        watermarks = GaugeMetricFamily(
            "keyturn_source_watermark_timestamp_seconds", "Up to when a usage source is complete", labels=["source"]
        )
        blind = GaugeMetricFamily("keyturn_source_blind", "1 while a usage source does not see", labels=["source"])
        late = CounterMetricFamily(
            "keyturn_source_late_reports", "Reports of buckets that were declared complete", labels=["source"]
        )
        for name, source in self._store.sources().items():
            if name not in self._configured.sources:
                continue
            if source.watermark is not None:
                watermarks.add_metric([name], source.watermark.timestamp())
            blind.add_metric([name], source.blind_since is not None)
            late.add_metric([name], source.late)
        yield from (watermarks, blind, late)

        due = GaugeMetricFamily(
            "keyturn_due_timestamp_seconds", "When the next scheduled rotation starts", labels=["credential"]
        )
        for name, due_at in self._store.due_dates().items():
            if name in self._configured.credentials:
                due.add_metric([name], due_at.timestamp())
        yield due
