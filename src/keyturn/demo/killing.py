"""SIGKILLs, at drawn moments, and the restart at once."""

import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from keyturn.demo.daemon import Daemon
from keyturn.demo.journal import Attempt, Journal
from keyturn.demo.waiting import PartFailed

ENOUGH = 20
ENOUGH_OPEN = 8
UNPLANNED = 4
"""The most kills a phase that meet no intent on purpose: they are spread over the rotation, and leave it time to go on."""
LAST = "destroy"
POLL = 0.002
SERVING = b"keyturn serves at"

AT_FIRST_TRY = 0.9
AT_LATER_TRY = 0.4
WHEN_ENOUGH = 0.1
"""The chance that an attempt is killed: its effect's first, a later one, and any once there were kills enough."""
IN_START_UP = 0.35
LATER_IN_EFFECT = 0.015
RUNNING_FOR = (0.1, 1.2)
STARTING_FOR = (0.02, 1.2)


class Moment(StrEnum):
    """What a kill interrupted."""

    INTENT_OPEN = "intent open"
    RUNNING = "running"
    START_UP = "start-up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """One SIGKILL, and when the daemon that followed it was there."""

    moment: Moment
    phase: str
    at: datetime
    up_at: datetime | None = None


class Killer:
    """Decides when to kill, from a seed; call `step` often."""

    def __init__(self, daemon: Daemon, journal: Journal, *, seed: int) -> None:
        self.kills: list[Kill] = []
        self._daemon = daemon
        self._journal = journal
        self._random = random.Random(seed)  # noqa: S311  # not a secret
        self._weighed: dict[Attempt, bool] = {}
        self._up = True
        self._log_offset = 0
        self._left: frozenset[Attempt] = frozenset()
        self._unplanned: Counter[str] = Counter()
        self._due = time.monotonic() + self._random.uniform(*RUNNING_FOR)

    @property
    def counts(self) -> Counter[Moment]:
        return Counter(kill.moment for kill in self.kills)

    def step(self) -> None:
        """Kill if the moment has come; otherwise wait the blink of an eye."""
        if not self._up and self._announced():
            self._came_up()
        phase, live = self._journal.phase()
        if not live:
            return
        if wanted := self._wanted(phase):
            time.sleep(self._random.uniform(0, LATER_IN_EFFECT) if phase != LAST else 0)
            # The outcome may have come meanwhile: that was too late.
            if wanted & self._journal.open():
                self._kill(phase)
        elif time.monotonic() >= self._due and self._may_be_unplanned(phase):
            self._unplanned[phase] += 1
            self._kill(phase)
        else:
            time.sleep(POLL)

    def _enough(self) -> bool:
        return len(self.kills) >= ENOUGH and self.counts[Moment.INTENT_OPEN] >= ENOUGH_OPEN

    def _may_be_unplanned(self, phase: str) -> bool:
        return self._unplanned[phase] < UNPLANNED and not (phase == LAST and self._enough())

    def _wanted(self, phase: str) -> frozenset[Attempt]:
        """Attempts that are under way now and that a kill is meant for; each is weighed once."""
        opened = self._journal.open() - self._left
        for attempt in opened - self._weighed.keys():
            chance = AT_FIRST_TRY if attempt[1] == 1 else AT_LATER_TRY
            if self._enough():
                chance = WHEN_ENOUGH
            elif phase == LAST:
                # The last chance: its effects are tried until there were enough kills.
                chance = 1.0
            self._weighed[attempt] = self._random.random() < chance
        return frozenset(attempt for attempt in opened if self._weighed[attempt])

    def _kill(self, phase: str) -> None:
        part = self._daemon.part
        if part is None or not part.alive:
            code = None if part is None else part.exit_code
            raise PartFailed(f"keyturn ended by itself with {code}; its log's end:\n{part.log_tail() if part else ''}")
        part.kill()
        at = datetime.now(UTC)
        still = self._journal.open()
        _, live = self._journal.phase()
        if live:
            self.kills.append(Kill(moment=self._moment(still), phase=phase, at=at))
        # What stays open is under way no more: the next try has a number of its own.
        self._left = still
        self._log_offset = part.log.stat().st_size
        self._daemon.start()
        self._up = False
        early = self._random.random() < IN_START_UP and 2 * self.counts[Moment.START_UP] < len(self.kills)
        self._due = time.monotonic() + (self._random.uniform(*STARTING_FOR) if early else float("inf"))

    def _moment(self, still: frozenset[Attempt]) -> Moment:
        """What the kill met, by what it left: an intent counts for the kill that it was opened before, and no other."""
        if still - self._left:
            return Moment.INTENT_OPEN
        return Moment.RUNNING if self._up else Moment.START_UP

    def _announced(self) -> bool:
        part = self._daemon.part
        if part is None:
            return False
        with part.log.open("rb") as log:
            log.seek(self._log_offset)
            return SERVING in log.read()

    def _came_up(self) -> None:
        self._up = True
        self._due = time.monotonic() + self._random.uniform(*RUNNING_FOR)
        now = datetime.now(UTC)
        for number, kill in enumerate(self.kills):
            if kill.up_at is None:
                self.kills[number] = Kill(moment=kill.moment, phase=kill.phase, at=kill.at, up_at=now)


def outage_seconds(kills: Sequence[Kill], start: datetime, end: datetime) -> float:
    """How long, between two moments, there was no daemon; a kill during start-up prolongs the outage before it."""
    spans = sorted((kill.at, kill.up_at or end) for kill in kills)
    total, reached = 0.0, start
    for down, up in spans:
        begin, stop = max(down, reached), min(up, end)
        if stop > begin:
            total += (stop - begin).total_seconds()
            reached = stop
    return total
