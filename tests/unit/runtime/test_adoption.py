"""Memory that is lost, or of yesterday: what can be known is read from backends and authority, a person confirms it, and
nothing that lives is touched before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.unit.runtime.replicas import Watched
from tests.unit.runtime.rig import NAME, QUICK, Rig

from keyturn.domain import commands
from keyturn.domain.errors import KeyturnError, Refused, Transient
from keyturn.domain.model import Rotation, VersionState
from keyturn.domain.observations import Entry
from keyturn.domain.phases import Phase
from keyturn.domain.policy import Policy
from keyturn.domain.reasons import Reason
from keyturn.domain.secret_value import SecretValue
from keyturn.runtime.confirm import REPORT_EVERY, REPORTS_A_TICK
from keyturn.runtime.contained import STUCK
from keyturn.runtime.registry import WiredCredential
from keyturn.stores.memory import MemoryStore
from keyturn.stores.sql import SqlStore
from keyturn.stores.sql.backup import back_up, restore
from keyturn.testing.fakes import Fault

LOST = (Reason.ROLLBACK_VALUE_LOST, Reason.UNPROVEN)


def outside(rig: Rig) -> Mapping[str, object]:
    """Everything that a person outside could see of the world."""
    return {
        "served": [rig.backend.place(path).readers_get() for path in rig.targets],
        "copies": [sorted(rig.backend.place(path).copies()) for path in rig.targets],
        "marked": [sorted(rig.backend.place(path).marked) for path in rig.targets],
        "tables": {name: dict(node.entries()) for name, node in rig.authority.nodes.items()},
    }


def alive(rig: Rig) -> set[str]:
    """Keys that some verifier accepts."""
    tables = [node.entries() for node in rig.authority.nodes.values()]
    return {key_id for table in tables for key_id, entry in table.items() if entry is Entry.ACTIVE}


def warmed(rig: Rig) -> Rig:
    rig.warm_up()
    return rig


def one_target_moved(rotation: Rotation) -> bool:
    return rotation.phase is Phase.OVERLAP and len(rotation.promoted) == 1


def leaked(rig: Rig, serial: int) -> None:
    report = partial(commands.emergency, serial=serial, by="ada", why="leaked", now=rig.clock.now(), cut_now=True)
    rig.runtime.command(NAME, report, by="ada", what="emergency")


MOMENTS: Mapping[str, Callable[[Rotation], bool]] = {
    "staged": lambda one: one.phase is Phase.INTRODUCE and one.versions[2].key_id is not None,
    "one target moved": one_target_moved,
    "monitor": lambda one: one.phase is Phase.MONITOR,
    "disabled": lambda one: one.phase is Phase.RETIRE and bool(one.soak),
    "destroying": lambda one: one.phase is Phase.DESTROY,
}
"""Moments of a rotation at which its store is lost, or backed up."""


def at(moment: str, rig: Rig) -> Rig:
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until(MOMENTS[moment])
    return rig


def confirmed(rig: Rig) -> tuple[str, ...]:
    """Confirm what is found, by its code; nothing outside may change by that."""
    before = outside(rig)
    adoption = rig.runtime.adopt(NAME, code=None, by="ada", why="test")
    rig.runtime.adopt(NAME, code=adoption.code, by="ada", why="test")
    assert outside(rig) == before
    return adoption.found


def sign_for_what_is_lost(rig: Rig) -> None:
    """What an operator does who is told that the value of an old version is gone for good."""
    rotation = rig.store.live_of(NAME)
    if rotation is None or rotation.hold is None or rotation.hold.reason not in LOST:
        return
    for serial in rotation.outgoing:
        with suppress(Refused):
            lost = partial(commands.accept_lost, seen=rig.runtime.look(NAME), serial=serial, by="ada", why="gone")
            rig.runtime.command(NAME, lost, by="ada", what="accept-lost")


def at_rest(rig: Rig) -> None:
    """Let everything come to an end: one key is accepted, and it is what every reader gets."""
    for _ in range(300):
        rotation = rig.store.latest_of(NAME)
        if rotation is not None and not rotation.live and rotation.phase is not Phase.SUPERSEDED:
            break
        sign_for_what_is_lost(rig)
        rig.second()
    rig.until(lambda one: not one.live, seconds=1)
    (key_id,) = alive(rig)
    assert {(rig.backend.place(path).readers_get() or "").split("_")[1] for path in rig.targets} == {key_id}
    assert [list(rig.backend.place(path).copies()) for path in rig.targets] == [[], []]


class TestLost:
    """The store is gone, with everything in it."""

    def lose(self, rig: Rig) -> Rig:
        rig.store = MemoryStore(now=rig.clock.now)
        rig.restart()
        return rig

    def test_at_rest_is_taken_up_by_itself(self) -> None:
        """One value at every target and nothing of ours: the daemon takes it into care as it does a new one."""
        rig = self.lose(warmed(Rig()))
        rig.second()
        credential = rig.store.credential(NAME)
        assert credential is not None
        assert {serial: version.state for serial, version in credential.versions.items()} == {1: VersionState.CURRENT}

    @pytest.mark.parametrize("moment", MOMENTS)
    def test_in_a_rotation_nothing_is_done_until_it_is_adopted(self, moment: str) -> None:
        """The daemon touches nothing, and says which command shows what is there; adopted, every key that lives is a
        version with the serial that it had, and the next rotation leads all of them to one end with nobody refused."""
        rig = self.lose(at(moment, warmed(Rig())))
        lost = alive(rig)
        before = outside(rig)
        for _ in range(5):
            rig.second()
        assert outside(rig) == before
        assert rig.store.credential(NAME) is None
        with pytest.raises(Refused, match="keyturn adopt"):
            rig.runtime.start(NAME, by="ada", why="test")

        confirmed(rig)
        credential = rig.store.credential(NAME)
        assert credential is not None
        known = {one.key_id: serial for serial, one in credential.versions.items() if one.state != "destroyed"}
        assert lost <= set(known)
        assert known.get(rig.first_key_id, 1) == 1
        (line,) = rig.store.history(NAME)
        assert (line.rotation, line.reason, line.by) == ("", "adopt", "ada")
        assert line.evidence["found"]
        assert credential.next_serial > 2 or moment == "staged"
        refused = dict(rig.refused)
        rig.runtime.start(NAME, by="ada", why="one again")
        rig.until_phase(Phase.COMPLETED, seconds=300)
        at_rest(rig)
        assert rig.refused == refused

    def test_mark_beside_the_secret_survives(self) -> None:
        """A compromised version is compromised still: it is no reader's choice, and the next rotation cuts it."""
        rig = warmed(Rig())
        rig.runtime.start(NAME, by="ada", why="test")
        rig.until(one_target_moved)
        rig.runtime.command(
            NAME,
            partial(commands.emergency, serial=1, by="ada", why="leaked", now=rig.clock.now()),
            by="ada",
            what="emergency",
        )
        rig.until(lambda _: all(rig.backend.place(path).marked for path in rig.targets))
        self.lose(rig)
        found = confirmed(rig)
        assert any(rig.first_key_id in line and "marked compromised" in line for line in found)
        credential = rig.store.credential(NAME)
        assert credential is not None
        assert credential.versions[1].compromised_at is not None
        rig.runtime.start(NAME, by="ada", why="on")
        rig.until_phase(Phase.COMPLETED, seconds=400)
        assert rig.first_key_id not in alive(rig)

    def test_mark_of_a_key_that_is_gone_is_remembered(self) -> None:
        """Of a key that no target holds any more only the mark is left: it counts as a version, so that a later use of it
        is an alert, and its value can never come back as a new one."""
        rig = warmed(Rig())
        value = rig.clients[0].value
        rig.runtime.start(NAME, by="ada", why="test")
        rig.until_phase(Phase.OVERLAP)
        leaked(rig, 1)
        rig.until_phase(Phase.COMPLETED)
        self.lose(rig)
        rig.second()
        credential = rig.store.credential(NAME)
        assert credential is not None
        dead = credential.versions[1]
        assert (dead.key_id, dead.state) == (rig.first_key_id, VersionState.DESTROYED)
        assert dead.compromised_at is not None
        assert credential.versions[2].state is VersionState.CURRENT

        rig.runtime.start(NAME, by="ada", why="test")
        rig.until_phase(Phase.OVERLAP)
        rig.backend.place("t0").overwrite(value)
        rotation = rig.until(lambda one: one.hold is not None)
        found = rig.runtime.look(NAME).targets["t0"].serving.id or ""
        accept = partial(
            commands.accept, seen=rig.runtime.look(NAME), target="t0", found=found, by="eve", why="it looks right"
        )
        rig.runtime.command(NAME, accept, by="eve", what="accept")
        for _ in range(60):
            rig.second()
            assert rig.first_key_id not in alive(rig)
        del rotation

    def test_what_was_shown_must_still_be_so(self) -> None:
        """The code of one look confirms that look: when the world has moved since, it is refused and nothing is
        remembered."""
        rig = self.lose(at("one target moved", warmed(Rig())))
        code = rig.runtime.adopt(NAME, code=None, by="ada", why="test").code
        rig.authority.nodes["one"].put(rig.first_key_id, Entry.DISABLED, SecretValue(rig.clients[0].value))
        with pytest.raises(Refused, match="again"):
            rig.runtime.adopt(NAME, code=code, by="ada", why="test")
        assert rig.store.credential(NAME) is None

    def test_what_cannot_be_read_is_not_guessed(self) -> None:
        """A target that is away is not adopted without."""
        rig = self.lose(at("monitor", warmed(Rig())))
        rig.backend.faults.inject(Fault.LOST_REQUEST, "read", times=None)
        with pytest.raises(Transient):
            rig.runtime.adopt(NAME, code=None, by="ada", why="test")

    def test_credential_in_care_is_not_adopted(self) -> None:
        """There is nothing to adopt, and the refusal says where to look."""
        rig = warmed(Rig())
        with pytest.raises(Refused, match="keyturn status"):
            rig.runtime.adopt(NAME, code=None, by="ada", why="test")


class Yesterday:
    """A rig on SQLite that goes on after its backup, and then gets the backup back."""

    def __init__(self, folder: Path, policy: Policy = QUICK) -> None:
        self.url = f"sqlite:///{folder / 'keyturn.db'}"
        self.file = folder / "backup.db"
        self.rig = warmed(Rig(policy=policy, open_store=lambda now: SqlStore.open(self.url, now=now)))

    def back_up(self) -> None:
        """While the daemon runs."""
        back_up(self.url, self.file)

    def come_back(self) -> Rig:
        """The store is lost, and restored from the backup."""
        self.rig.store.close()
        restore(self.file, self.url, now=self.rig.clock.now(), replace=True)
        self.rig.store = SqlStore.open(self.url, now=self.rig.clock.now)
        self.rig.restart()
        return self.rig


@pytest.fixture
def yesterday(tmp_path: Path) -> Yesterday:
    return Yesterday(tmp_path)


class TestRestored:
    """The store is from a backup."""

    @pytest.mark.parametrize("moment", MOMENTS)
    def test_nothing_is_done_before_it_is_confirmed(self, yesterday: Yesterday, moment: str) -> None:
        """Whatever it remembers, no call goes out, no rotation starts, every command is refused with the way out, and people
        are told once; confirmed without a difference, it goes on to its end with nobody refused."""
        rig = at(moment, yesterday.rig)
        yesterday.back_up()
        yesterday.come_back()
        before = outside(rig)
        told = len(rig.notifier.payloads)
        for _ in range(5):
            rig.second()
        assert outside(rig) == before
        for word in (commands.resume, partial(commands.roll_back, by="ada", why="test")):
            with pytest.raises(Refused, match="keyturn adopt"):
                rig.runtime.command(NAME, word, by="ada", what="word")
        with pytest.raises(Refused):
            rig.runtime.start(NAME, by="ada", why="test")
        topics = [payload["topic"] for payload in rig.notifier.payloads[told:]]
        assert topics.count("credential.restored") == 1
        assert confirmed(rig) == ()
        at_rest(rig)
        assert rig.refused == {}

    def test_reports_take_turns_behind_the_work(self, yesterday: Yesterday) -> None:
        """Of many credentials that nobody has confirmed a few are compared in a tick, each in its turn, and each by one
        replica; one that is confirmed is worked on before."""
        rig, looked = yesterday.rig, list[str]()
        names = [NAME, *(f"app-{number:02}" for number in range(3 * REPORTS_A_TICK))]

        def watched(name: str) -> WiredCredential:
            wired = rig.registry.credential(NAME) if name == NAME else rig.another(name)
            targets: Mapping[str, Any] = {
                path: Watched(target, lambda call: looked.append(name) if call == "view" else None)
                for path, target in wired.targets.items()
            }
            return replace(wired, targets=targets)

        rig.registry = replace(rig.registry, credentials={name: watched(name) for name in names})
        rig.restart()
        rig.second()
        rig.runtime.start(NAME, by="ada", why="test")
        yesterday.back_up()
        yesterday.come_back()
        assert confirmed(rig) == ()
        told: list[str] = []
        for _ in range(3):
            looked.clear()
            rig.second()
            assert looked[0] == NAME
            turn = dict.fromkeys(one for one in looked if one != NAME)
            assert len(turn) == REPORTS_A_TICK
            told += turn
        assert sorted(told) == names[1:]
        looked.clear()
        rig.second()
        assert set(looked) <= {NAME}
        # Another replica that comes finds each of them claimed.
        assert list(rig.store.claim([f"credential/{name}" for name in names], "another", ttl=REPORT_EVERY)) == []

    @pytest.mark.parametrize("moment", MOMENTS)
    def test_world_that_has_come_to_the_end_since_is_followed(self, yesterday: Yesterday, moment: str) -> None:
        """Backed up in the middle of a rotation that has completed since: the differences name what is gone, and confirmed,
        everything comes to rest with the key that readers have, or a newer one, and nobody refused."""
        rig = at(moment, yesterday.rig)
        yesterday.back_up()
        rig.until_phase(Phase.COMPLETED)
        yesterday.come_back()
        found = confirmed(rig)
        assert found or moment == "destroying"
        at_rest(rig)
        assert rig.refused == {}
        assert rig.first_key_id not in alive(rig)

    @pytest.mark.parametrize("phase", [Phase.OVERLAP, Phase.MONITOR, Phase.RETIRE])
    def test_what_a_rotation_has_made_since_is_no_strangers(self, yesterday: Yesterday, phase: Phase) -> None:
        """The backup has the rotation before its new version was made, and readers get that by now: it is known by its own
        copy, and not adopted as another version, to be taken away as the one from under the readers of the other."""
        rig = yesterday.rig
        rig.runtime.start(NAME, by="ada", why="test")
        yesterday.back_up()
        made = rig.until_phase(phase).versions[2].key_id
        rig.until(lambda one: one.phase is not Phase.OVERLAP or bool(one.promoted))
        yesterday.come_back()
        assert any("get v2" in line for line in confirmed(rig))
        at_rest(rig)
        credential = rig.store.credential(NAME)
        assert credential is not None
        keys = [version.key_id for version in credential.versions.values() if version.key_id is not None]
        assert made in keys
        assert len(set(keys)) == len(keys)
        assert rig.refused == {}

    def test_backup_from_before_a_whole_rotation_adopts_what_readers_get(self, yesterday: Yesterday) -> None:
        """Readers get a value that the store has never seen: confirmed, it becomes the next version, and is not rotated
        away in favour of what the backup remembers."""
        rig = yesterday.rig
        yesterday.back_up()
        rig.runtime.start(NAME, by="ada", why="test")
        rig.until_phase(Phase.COMPLETED)
        (key_id,) = alive(rig)
        yesterday.come_back()
        found = confirmed(rig)
        assert any("which the store does not know" in line for line in found)
        at_rest(rig)
        assert alive(rig) == {key_id}
        assert rig.refused == {}

    def test_mark_that_came_after_the_backup_counts(self, yesterday: Yesterday) -> None:
        """The backup knows nothing of the report: the mark beside the secret does, and the key never comes back (P8)."""
        rig = at("monitor", yesterday.rig)
        yesterday.back_up()
        leaked(rig, 1)
        rig.until(lambda _: rig.first_key_id not in alive(rig))
        rig.until(lambda _: all(rig.backend.place(path).marked for path in rig.targets))
        yesterday.come_back()
        assert any("marked compromised" in line for line in confirmed(rig))
        for _ in range(150):
            rig.second()
            assert rig.first_key_id not in alive(rig)
        rotation = rig.store.latest_of(NAME)
        assert rotation is not None
        credential = rig.store.credential(NAME)
        assert credential is not None
        assert credential.versions[1].compromised_at is not None

    def test_what_cannot_be_asked_is_not_confirmed(self, yesterday: Yesterday) -> None:
        """As long as a verifier is away, or a target, nobody can say what is different."""
        rig = at("monitor", yesterday.rig)
        yesterday.back_up()
        yesterday.come_back()
        rig.authority.nodes["one"].leave()
        with pytest.raises(KeyturnError, match="one"):
            rig.runtime.adopt(NAME, code=None, by="ada", why="test")

    def test_a_target_that_was_taken_out_since_is_not_waited_for(self, yesterday: Yesterday) -> None:
        """Backed up in a rotation at two targets, one of which is gone for good and not configured any more: what is left is
        compared and confirmed, and the rotation ends."""
        rig = at("monitor", yesterday.rig)
        yesterday.back_up()
        wired = rig.registry.credentials[NAME]
        rig.registry = replace(rig.registry, credentials={NAME: replace(wired, targets={"t0": wired.targets["t0"]})})
        yesterday.come_back()
        assert confirmed(rig) == ()
        assert rig.until_phase(Phase.COMPLETED).targets == ("t0",)

    @pytest.mark.parametrize("under_way", [False, True])
    def test_a_confirmation_that_is_interrupted_forgets_nothing(
        self, yesterday: Yesterday, monkeypatch: pytest.MonkeyPatch, under_way: bool
    ) -> None:
        """The store is away when the rotation that is to lead what was found to its end begins, or takes over: it is found
        again, and confirmed again no version is left alive beside the one that readers get (P5)."""
        rig = yesterday.rig
        if under_way:
            rig.runtime.start(NAME, by="ada", why="test")
            rig.until_phase(Phase.MONITOR)
            yesterday.back_up()
            rig.until_phase(Phase.COMPLETED)
        else:
            yesterday.back_up()
        rig.runtime.start(NAME, by="ada", why="test")
        rig.until(lambda _: len(alive(rig)) == 2)
        lost = max(alive(rig))
        yesterday.come_back()

        def away(*_: object, **__: object) -> None:
            raise Transient("the store cannot be used now")

        with monkeypatch.context() as broken:
            broken.setattr(rig.store, "commit" if under_way else "begin", away)
            with pytest.raises(Transient, match="the store"):
                confirmed(rig)
        assert any(lost in line and "alive" in line for line in confirmed(rig))
        at_rest(rig)
        assert lost not in alive(rig)
        assert rig.refused == {}

    def test_what_cannot_be_compared_is_told(self, yesterday: Yesterday) -> None:
        """A target is away for ever: people are told at once what it is that nobody can confirm, then page after page that
        nothing can be done, and its status says why (P10). Taken out of the configuration, it stands in nobody's way."""
        rig = at("monitor", yesterday.rig)
        yesterday.back_up()
        yesterday.come_back()
        wired = rig.registry.credentials[NAME]

        def no_answer(call: str) -> None:
            raise Transient(f"{call}: no answer")

        away: Any = Watched(wired.targets["t1"], no_answer)
        one_away = {"t0": wired.targets["t0"], "t1": away}
        rig.registry = replace(rig.registry, credentials={NAME: replace(wired, targets=one_away)})
        rig.restart()
        told = len(rig.notifier.payloads)
        rig.second()
        (restored,) = rig.notifier.payloads[told:]
        assert restored["topic"] == "credential.restored"
        assert "t1" in str(restored["text"])
        trouble = rig.runtime.status(NAME).trouble
        assert trouble is not None
        assert "t1" in trouble.why
        for _ in range(STUCK):
            rig.clock.advance(REPORT_EVERY)
            rig.second()
        topics = [payload["topic"] for payload in rig.notifier.payloads[told:]]
        assert topics == ["credential.restored", "credential.stuck"]
        rig.registry = replace(rig.registry, credentials={NAME: replace(wired, targets={"t0": wired.targets["t0"]})})
        rig.restart()
        assert confirmed(rig) == ()
