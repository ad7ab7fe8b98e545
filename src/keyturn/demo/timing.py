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


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds."""

    minimum_overlap: float = 5.0
    bake: float = 2.0
    silence: float = 4.0
    soak: float = 4.0
    drain: float = 5.0

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
            "page_every": _span(5.0),
        }


def _span(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
