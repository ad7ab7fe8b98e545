"""The first line of a status: what blocks, in words, and the earliest time it can clear."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from keyturn.api.headline import headline
from keyturn.api.mends import mend
from keyturn.domain.model import Hold, Mark, Pause, Rotation, Version, VersionState
from keyturn.domain.observations import Observations, Serving, ServingKind, TargetSeen, UsageSeen
from keyturn.domain.phases import Phase
from keyturn.domain.policy import Policy
from keyturn.domain.reasons import Reason
from keyturn.domain.succession import begin
from keyturn.domain.verdicts import Ruling, Verdict, hold, wait
from keyturn.ports.records import Credential, HistoryEntry
from keyturn.runtime.status import Status

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
HALT = Verdict(ruling=Ruling.HALT, reason=Reason.TOO_MANY_REMINTS)
CUT = NOW + timedelta(minutes=15)
MARKED = replace(ROTATION, marks={1: Mark(at=NOW, by="ada", why="in a log", grace=timedelta(minutes=5), cut_at=CUT)})


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
        (
            Verdict(ruling=Ruling.HALT, reason=Reason.EFFECT_FAILED),
            "`keyturn abandon payments --reason TEXT` gives it up for another rotation.",
        ),
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


@pytest.mark.parametrize("reason", [Reason.GRACE, Reason.NO_ROOM])
def test_wait_for_the_cut_names_what_cuts_it_short(reason: Reason) -> None:
    """The emergency stands first, with its cut; the command names the version whose time it is."""
    line = said(MARKED, wait(reason, "v1 is in the way", until=CUT))
    assert line.startswith(
        "payments: EMERGENCY: v1 compromised, cut off at 2030-01-01 12:15:00 UTC at the latest; v1 → v2 in introduce waits: "
    )
    assert line.endswith(
        "(in 15 min). `keyturn emergency payments --version 1 --cut-now --reason TEXT` does not wait for it."
    )
    assert "--cut-now" not in said(MARKED, wait(Reason.BAKING, until=CUT))


def test_cut_that_is_over() -> None:
    """Until the disable is under way it is to come, then it has a time."""
    over = replace(MARKED, marks={1: replace(MARKED.marks[1], cut_at=NOW)})
    assert "EMERGENCY: v1 compromised, to be cut off now; " in said(over, wait(Reason.BAKING))
    over = replace(over, disabled_at={1: NOW})
    assert "EMERGENCY: v1 compromised, cut off since 2030-01-01 12:00:00 UTC; " in said(over, wait(Reason.BAKING))


def test_no_room_without_an_emergency_asks_for_room() -> None:
    """Somebody must remove a key; the machine takes none for it."""
    line = said(ROTATION, hold(Reason.NO_ROOM, "the authority is full: remove a key there that nobody needs"))
    assert line.endswith("remove a key there that nobody needs. It ends with its cause.")


@pytest.mark.parametrize("reason", [Reason.UNPROVEN, Reason.ROLLBACK_VALUE_LOST])
def test_lost_value_names_its_version(reason: Reason) -> None:
    """An operator signs for that one."""
    line = said(ROTATION, hold(reason, "gone", serial=1))
    assert line.endswith("`keyturn accept payments --lost 1 --reason TEXT` goes on without it.")


def test_obstacle_is_passed_in_an_emergency_only() -> None:
    """The command names it; outside an emergency it has to go."""
    there = hold(Reason.OBSTACLE, "bao: pending 3", target="bao", id="3")
    assert "`keyturn accept payments --target bao --found 3 --reason TEXT` lets the emergency pass it." in said(
        MARKED, there
    )
    assert said(ROTATION, there).endswith("It ends with its cause.")


@pytest.mark.parametrize(
    ("phase", "words"),
    [
        (
            Phase.MONITOR,
            (
                "`keyturn resume payments` gives it that time again, "
                "`keyturn force payments --version 1 --reason TEXT` stands in for silence."
            ),
        ),
        (Phase.ROLLBACK, "`keyturn force payments --version 2 --reason TEXT` stands in for silence."),
        (Phase.RETIRE, "`keyturn resume payments` ends it."),
    ],
)
def test_deadline_names_the_version_to_force(phase: Phase, words: str) -> None:
    """Where silence is what is missing, somebody's word can stand in for it."""
    late = replace(ROTATION, phase=phase, restoring=1 if phase is Phase.ROLLBACK else None)
    waiting = Reason.DRAINING if phase is Phase.ROLLBACK else Reason.OLD_IN_USE
    over = hold(Reason.DEADLINE, "60 days are over", latch=phase is not Phase.ROLLBACK, waiting=waiting)
    assert said(late, over).endswith(f"60 days are over. {words}")


@pytest.mark.parametrize(
    ("phase", "waiting", "forced"),
    [
        (Phase.MONITOR, Reason.VERIFIER_UNREACHABLE, False),
        (Phase.MONITOR, Reason.TARGET_UNKNOWN, False),
        (Phase.ROLLBACK, Reason.VERIFIER_UNREACHABLE, False),
        (Phase.ROLLBACK, Reason.TARGET_UNKNOWN, True),
    ],
)
def test_deadline_offers_a_force_where_it_helps(phase: Phase, waiting: Reason, forced: bool) -> None:
    """A person's word is no answer of a node that is away; on the way back it stands in for a target that is."""
    late = replace(ROTATION, phase=phase, restoring=1 if phase is Phase.ROLLBACK else None)
    line = said(late, hold(Reason.DEADLINE, "60 days are over", waiting=waiting))
    assert ("keyturn force" in line) is forced


def test_successor_says_from_whom_it_took_over() -> None:
    """Every version that it takes over is named; a rotation that gave way says so."""
    third = Version(serial=3, state=VersionState.PENDING)
    taken = replace(
        ROTATION,
        id="r1~2",
        supersedes="r1",
        versions={**ROTATION.versions, 3: third},
        outgoing=(2, 1),
        incoming=3,
    )
    assert said(taken, wait(Reason.BAKING)).startswith("payments: r1 gave way to r1~2: v2, v1 → v3 in introduce waits")
    assert said(replace(ROTATION, phase=Phase.SUPERSEDED)).startswith(
        "payments: r1 gave way to another rotation at 2030"
    )


def test_end_that_is_not_as_it_was_left() -> None:
    """What another's hand did between rotations is told."""
    held = Hold(reason=Reason.TARGET_FOREIGN, since=NOW, latched=False, detail="bao serves 3, which is not ours")
    line = said(replace(ROTATION, phase=Phase.COMPLETED, hold=held))
    assert "and is not as it was left: bao serves 3, which is not ours; the next starts on command" in line


@pytest.mark.parametrize("phase", [Phase.ROLLBACK, Phase.ROLLED_BACK])
def test_why_it_was_rolled_back_stays_said(phase: Phase) -> None:
    """Whoever looks long after the tick that ruled it is told who failed, beside what blocks now."""
    back = HistoryEntry(
        at=NOW,
        credential="payments",
        rotation="r1",
        phase=Phase.ROLLBACK,
        kind="transition",
        reason=Reason.NEW_VERSION_FAILS,
        detail="client checkout-7 fails 34 of 34 on v2, v1 is healthy with 0 of 900 failed",
    )
    credential = Credential(name="payments", versions={1: CURRENT}, next_serial=2)
    rotation = replace(ROTATION, phase=phase)
    verdict = wait(Reason.DRAINING) if rotation.live else None
    line = headline(Status(credential=credential, rotation=rotation, verdict=verdict, seen=None, turned_back=back), NOW)
    assert "(client checkout-7 fails 34 of 34 on v2, v1 is healthy with 0 of 900 failed)" in line
    said_of_itself = replace(back, detail="")
    line = headline(
        Status(credential=credential, rotation=rotation, verdict=verdict, seen=None, turned_back=said_of_itself), NOW
    )
    assert "(Clients fail with the new version while the old one is healthy)" in line


def test_what_nobody_has_any_more_is_not_offered_to_be_reasserted() -> None:
    """In DESTROY another's hand has overwritten the last place of the new version: the line names what is left to do."""
    destroying = replace(
        ROTATION,
        phase=Phase.DESTROY,
        versions={serial: replace(one, key_id=f"k{serial}") for serial, one in ROTATION.versions.items()},
    )
    theirs = TargetSeen(serving=Serving(kind=ServingKind.FOREIGN, id="9"), copies=frozenset())
    told = mend(
        destroying,
        hold(Reason.TARGET_FOREIGN, "bao serves 9, which is not ours"),
        Observations(targets={"bao": theirs}, verifiers={}, usage=UsageSeen(sources={})),
        NOW,
    )
    assert told == (
        "`keyturn accept payments --target bao --found 9 --reason TEXT` adopts what is there, "
        "`keyturn abandon payments --reason TEXT` gives it up for a new version."
    )
