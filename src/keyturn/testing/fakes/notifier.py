"""A notifier in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from keyturn.domain.errors import Failure
from keyturn.testing.fakes.faults import Faults


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One delivery; a repeat is another one with the same id."""

    message_id: str
    occurred_at: datetime
    payload: Mapping[str, object]


class FakeNotifier:
    """Keeps what it delivers; `failure` is raised by every delivery while it is set."""

    def __init__(self) -> None:
        self.delivered: list[Message] = []
        self.failure: Failure | None = None
        self.faults = Faults()

    def deliver(self, message_id: str, occurred_at: datetime, payload: Mapping[str, object]) -> None:
        def arrive() -> None:
            if self.failure is not None:
                raise self.failure
            self.delivered.append(Message(message_id=message_id, occurred_at=occurred_at, payload=dict(payload)))

        self.faults.run("deliver", arrive)

    def close(self) -> None:
        """Nothing is held."""
