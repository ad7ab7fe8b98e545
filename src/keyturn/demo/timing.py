"""The times that a demo's rotation keeps: policy alone compresses them."""

from dataclasses import dataclass

TICK = 0.5
RESOLUTION = 1.0
LOG_LAG = 0.25
BEGINS_AFTER = 5.0
"""Seconds from the writing of the configuration to the scheduled rotation; long enough to watch traffic first."""

# Longer than the slow clients leave a connection alone, so that one of them always meets a worker from before a reload:
# whoever takes a poll for a barrier is found out.
KEEPALIVE_MIN = 4.5
SHORT_KEEPALIVE = 1.0
"""As the documentation advises, where a scenario is about something else and need not wait for so many barriers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds."""

    minimum_overlap: float = 5.0
    bake: float = 2.0
    silence: float = 4.0
    soak: float = 4.0
    drain: float = 5.0
    grace: float = 5.0
    keepalive_min: float = KEEPALIVE_MIN
    """The gateways' own: for so long a connection from before a reload is served by the key table from before it."""
    tick: float = TICK
    begins_after: float = BEGINS_AFTER
    """From the writing of the configuration to the scheduled rotation."""

    def policy(self) -> dict[str, object]:
        """As the configuration writes it."""
        return {
            "propagation": _span(0.5),
            "client_refresh": _span(2.0),
            "pool_lifetime": _span(2.0),
            "minimum_overlap": _span(self.minimum_overlap),
            "bake": _span(self.bake),
            "soak": _span(self.soak),
            "drain": _span(self.drain),
            "silence_floor": _span(self.silence),
            "silence_few": _span(self.silence),
            "silence_unseen": _span(self.silence),
            "unseen_share": 1.0,
            "grace": _span(self.grace),
            "grace_cap": _span(60.0),
            "drift_every": _span(1.0),
            "page_every": _span(5.0),
        }


def _span(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
