"""Whether every process that serves a node has read the node's key table as it stands: the acceptance barrier's half
that no request can show.

A reload makes nginx's master read the table and fork new workers; the old ones go on serving the connections they have,
by the old table. So a poll on a new connection proves nothing about the others. What is known here, and how:

- nginx reads the table only while its master is busy. Before a reload is sent, the master is seen idle after the table's
  write, at a tick that is then recorded beside the table, together with which state of the table it was: workers forked
  later than that tick have read this state or a newer one, whoever else reloads when.
- A write is recorded before it takes place, without a tick, so a crash before the reload is found: the record says that
  a reload is owed, whatever the processes look like.
- A table that someone else has written has no record. Its time of change takes the place of the tick; where the two
  rounded clocks cannot tell which came first, that is ambiguous, and settled by a reload of our own.
- Where /proc does not show the master (another container's, another system), what is left is time: the connections kept
  from before the reload are gone after `keepalive_min_timeout` and a second, by the record.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum

from keyturn.plugins.gateway import nginx_processes as processes
from keyturn.plugins.gateway.nginx_processes import Nginx
from keyturn.plugins.gateway.nginx_table_file import TableIdentity

_UNSURE = 2
"""Ticks: file times and start times are rounded, each by one at most, and taken from clocks of their own."""


class Rules(StrEnum):
    """By which state of the table a node's processes serve."""

    LOADED = "loaded"
    """All of them by the newest."""
    LOADING = "loading"
    """A reload is under way, or older ones still serve what they have."""
    OWED = "owed"
    """None of them: nobody has reloaded since the table changed."""
    AMBIGUOUS = "ambiguous"
    """A reload came so close to someone's write that nobody can say which was first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadRecord:
    """What we know of the last reload for one state of the table."""

    table: TableIdentity
    boot: str
    idle_at: int | None
    """The tick at which the master was seen idle, before the reload was sent; None while it is still owed."""

    def to_bytes(self) -> bytes:
        return json.dumps({"table": asdict(self.table), "boot": self.boot, "idle_at": self.idle_at}).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> ReloadRecord | None:
        """None for what we did not write: then the file times decide, as if there were no record."""
        try:
            fields = json.loads(data)
            idle_at = fields["idle_at"]
            return cls(
                table=TableIdentity(**{name: int(number) for name, number in fields["table"].items()}),
                boot=str(fields["boot"]),
                idle_at=None if idle_at is None else int(idle_at),
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            return None


def judge(*, table: TableIdentity, record: ReloadRecord | None, nginx: Nginx | None, grace: float) -> Rules:
    """By which state of the table the node's processes serve.

    `grace` is what `keepalive_min_timeout` and a second come to, for an nginx that /proc does not show.
    """
    known = record if record is not None and record.table == table else None
    if known is not None and known.boot != processes.boot():
        # Whatever serves now was started after the machine was, and so after the table's write.
        return Rules.LOADED
    if known is not None and known.idle_at is None:
        return Rules.OWED
    if nginx is None:
        if known is None or known.idle_at is None:
            return Rules.OWED
        elapsed = processes.seconds(processes.tick() - known.idle_at)
        return Rules.LOADED if elapsed >= grace else Rules.LOADING
    if known is not None and known.idle_at is not None:
        return _judge_from(known.idle_at, nginx, unsure=0)
    return _judge_from(processes.tick_of(table.modified_ns), nginx, unsure=_UNSURE)


def _judge_from(moment: int, nginx: Nginx, *, unsure: int) -> Rules:
    """`moment`: what has started later, beyond doubt, has read the newest table."""
    started = [worker.started for worker in nginx.workers]
    if started and min(started) > moment + unsure:
        return Rules.LOADED
    if not started or not nginx.idle:
        return Rules.LOADING
    if unsure and any(abs(one - moment) <= unsure for one in started):
        return Rules.AMBIGUOUS
    return Rules.LOADING if max(started) > moment + unsure else Rules.OWED
