"""The first line of a status: what blocks, in words, and the earliest time it can clear."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from keyturn.api.headline import headline
from keyturn.domain.model import Pause, Rotation, Version, VersionState
from keyturn.domain.phases import Phase
from keyturn.domain.policy import Policy
from keyturn.domain.reasons import Reason
from keyturn.domain.succession import begin
from keyturn.domain.verdicts import Ruling, Verdict, hold, wait
from keyturn.ports.store import Credential
from keyturn.runtime.tick import Status

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
CURRENT = Version(serial=1, state=VersionState.CURRENT)
ROTATION = begin(
    id="r1",
    credential="payments",
    policy=Policy(),
    targets=("bao",),
    current=CURRENT,
    incoming=2,
    now=NOW,
    by="ada",
)


def said(rotation: Rotation | None, verdict: Verdict | None = None, *, due_at: datetime | None = None) -> str:
    credential = Credential(name="payments", versions={1: CURRENT}, next_serial=2, due_at=due_at)
    return headline(Status(credential=credential, rotation=rotation, verdict=verdict, seen=None), NOW)


@pytest.mark.parametrize(
    ("lasting", "words"),
    [
        (timedelta(seconds=5), "in 5 s"),
        (timedelta(minutes=90), "in 1 h 30 min"),
        (timedelta(days=15, minutes=1), "in 15 d 1 min"),
        (timedelta(milliseconds=200), "in 0 s"),
    ],
)
def test_wait_says_why_and_until_when(lasting: timedelta, words: str) -> None:
    """Reason, detail, the earliest time, and how long that is."""
    verdict = wait(Reason.OLD_IN_USE, "checkout used v1", until=NOW + lasting)
    line = said(replace(ROTATION, phase=Phase.MONITOR), verdict)
    assert line.startswith(
        "payments: v1 → v2 in monitor waits: Named clients used the old version too recently: checkout used v1. "
        f"Clears at {NOW + lasting:%Y-%m-%d %H:%M:%S} UTC at the earliest"
    )
    assert line.endswith(f"({words}).")


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (wait(Reason.SILENCE_UNKNOWN), "No earliest time is known."),
        (wait(Reason.BAKING, until=NOW), "Clears at the next tick, unless something else blocks then."),
        (hold(Reason.AUTHORITY_ILL), "It ends with its cause."),
        (hold(Reason.TOO_MANY_RETREATS, latch=True), "`keyturn resume payments` ends it."),
        (Verdict(ruling=Ruling.HALT, reason=Reason.EFFECT_FAILED), "`keyturn abandon payments --reason TEXT` gives it up for another rotation."),
    ],
)
def test_what_ends_it_is_named(verdict: Verdict, words: str) -> None:
    """The clock, the cause, or a command."""
    assert said(ROTATION, verdict).endswith(words)


def test_pause_says_how_it_ends() -> None:
    """By a command, and when it begins to page."""
    paused = replace(ROTATION, pause=Pause(by="ada", until=NOW + timedelta(hours=1), why="freeze"))
    line = said(paused, wait(Reason.PAUSED, until=NOW + timedelta(hours=1)))
    assert line.endswith("`keyturn resume payments` ends it; it pages from 2030-01-01 13:00:00 UTC on.")


@pytest.mark.parametrize("ruling", [Ruling.ADVANCE, Ruling.RETREAT, Ruling.ROLL_BACK])
def test_movement_is_told_from_its_announcement(ruling: Ruling) -> None:
    """What the last tick has done is not promised for the next."""
    verdict = Verdict(ruling=ruling, reason=Reason.OLD_SILENT)
    assert "at the next tick" in said(ROTATION, verdict)
    assert "has just" in said(replace(ROTATION, cause=Reason.OLD_SILENT), verdict)


def test_nothing_under_way() -> None:
    """Before the first rotation and after the last: when the next one comes."""
    due = NOW + timedelta(days=90)
    assert said(None) == "payments: no rotation has run yet; the next starts on command"
    ended = replace(ROTATION, phase=Phase.COMPLETED)
    assert said(ended, due_at=due) == (
        "payments: the last rotation ended as completed at 2030-01-01 12:00:00 UTC; "
        "the next is due at 2030-04-01 12:00:00 UTC"
    )


def test_every_ruling_has_its_words() -> None:
    """A new ruling needs words here."""
    for ruling in Ruling:
        for rotation in (ROTATION, replace(ROTATION, cause=Reason.BAKING)):
            assert "payments" in said(rotation, Verdict(ruling=ruling, reason=Reason.BAKING))
    assert said(ROTATION, None).endswith("what blocks is not known yet")
