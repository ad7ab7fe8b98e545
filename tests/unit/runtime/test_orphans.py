"""Keys and copies that no version knows: our own are taken away, everybody else's are left alone and stop the mint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from tests.unit.runtime.rig import NAME, QUICK, Rig

from keyturn.domain import commands
from keyturn.domain.effects import EffectKind
from keyturn.domain.model import Rotation
from keyturn.domain.observations import AUTHORITY, Entry
from keyturn.domain.phases import Phase
from keyturn.domain.policy import Policy
from keyturn.domain.reasons import Reason
from keyturn.domain.secret_value import SecretValue
from keyturn.ports.issuer import Issued, Minted, ValueOrigin
from keyturn.runtime.orphans import SKEW, Orphans, sort_out
from keyturn.runtime.retries import AT_ONCE
from keyturn.runtime.values import copy_token
from keyturn.testing.fakes import Fault


def issuing(*, capacity: int | None = None, policy: Policy = QUICK) -> Rig:
    """A rig whose authority makes the values, with some history."""
    rig = Rig(origin=ValueOrigin.AUTHORITY, capacity=capacity, policy=policy)
    rig.warm_up()
    return rig


def tables(rig: Rig) -> Mapping[str, Entry]:
    """The authority's keys, the same on every verifier."""
    first, *others = [dict(node.entries()) for node in rig.authority.nodes.values()]
    assert all(other == first for other in others)
    return first


def orphaned(rig: Rig) -> str:
    """Start a rotation whose mint is answered to nobody; the key that it made."""
    rig.runtime.start(NAME, by="ada", why="test")
    rig.backend.faults.inject(Fault.LOST_REQUEST, "stage", times=1)
    rig.until(lambda _: bool(rig.backend.faults.happened))
    (key_id,) = set(tables(rig)) - {rig.first_key_id}
    return key_id


def held_for(rig: Rig, seconds: int = 20) -> Rotation:
    """The rotation, which stands for an obstacle however long one waits, and has minted nothing."""
    for _ in range(seconds):
        rig.second()
    rotation = rig.store.live_of(NAME)
    assert rotation is not None
    assert rotation.hold is not None
    assert rotation.hold.reason is Reason.OBSTACLE
    return rotation


def test_our_own_orphan_is_revoked_and_another_key_minted() -> None:
    """A key whose secret was lost between mint and stage is found by its token, revoked, as the trail says, and nobody is
    refused; also where it had taken the last room that there was."""
    rig = issuing(capacity=2)
    orphan = orphaned(rig)
    rotation = rig.until_phase(Phase.COMPLETED)
    assert tables(rig) == {
        rig.first_key_id: Entry.REVOKED,
        orphan: Entry.REVOKED,
        str(rotation.versions[2].key_id): Entry.ACTIVE,
    }
    assert rig.refused == {}
    assert [line.detail for line in rig.store.history(NAME) if line.kind == "revoke"] == [orphan]


def test_orphan_of_a_rotation_that_was_rolled_back_is_revoked_by_the_next_mint() -> None:
    """What an ended rotation left is proven ours as well: its intent is still in the journal."""
    rig = issuing(capacity=2)
    orphan = orphaned(rig)
    rig.runtime.command(NAME, partial(commands.roll_back, by="ada", why="test"), by="ada", what="rollback")
    rig.until_phase(Phase.ROLLED_BACK)
    assert tables(rig)[orphan] is Entry.ACTIVE
    rig.runtime.start(NAME, by="ada", why="again")
    rig.until_phase(Phase.COMPLETED)
    assert tables(rig)[orphan] is Entry.REVOKED


def test_orphan_that_comes_between_rotations_is_reported_and_revoked_by_the_next_mint() -> None:
    """A mint that another replica had on its way lands when all is over: the slow check names its key, changes nothing, and
    is silent again when the next rotation has revoked it."""
    rig = issuing(policy=replace(QUICK, drift_every=timedelta(seconds=5)))
    rig.runtime.start(NAME, by="ada", why="test")
    ended = rig.until_phase(Phase.COMPLETED)
    for _ in range(5):
        rig.second()
    assert _told(rig, "orphan") == []
    late = rig.authority.new_key(f"{NAME}.v{ended.incoming}").key_id
    for _ in range(6):
        rig.second()
    (text,) = _told(rig, "orphan")
    assert late in text
    assert tables(rig)[late] is Entry.ACTIVE
    rig.runtime.start(NAME, by="ada", why="again")
    rig.until_phase(Phase.COMPLETED)
    assert tables(rig)[late] is Entry.REVOKED


def _told(rig: Rig, reason: str) -> list[str]:
    return [str(payload["text"]) for payload in rig.notifier.payloads if reason in str(payload)]


STRANGE = {
    "no token": lambda made: replace(made, token=None),
    "another credential's token": lambda made: replace(made, token="refunds.v2"),
    "a version that was never set out for": lambda made: replace(made, token=f"{NAME}.v9"),
    "older than the rotation": lambda made: replace(made, created_at=made.created_at - SKEW - timedelta(minutes=1)),
    "of unknown age": lambda made: replace(made, created_at=None),
}


@pytest.mark.parametrize("strange", STRANGE)
def test_what_cannot_be_proven_ours_is_left_alone_reported_and_stops_the_mint(strange: str) -> None:
    """A key without our token, with a token that nobody set out to mint, or from before we did: it stays as it is, the
    hold names it with its age, and nothing is minted until it is gone."""
    rig = issuing()
    key_id = orphaned(rig)
    rig.authority.made[key_id] = STRANGE[strange](rig.authority.made[key_id])
    rotation = held_for(rig)
    assert rotation.hold is not None
    assert key_id in rotation.hold.detail
    assert ("old" in rotation.hold.detail) is (strange != "of unknown age")
    assert tables(rig) == {rig.first_key_id: Entry.ACTIVE, key_id: Entry.ACTIVE}
    for node in rig.authority.nodes.values():
        node.put(key_id, Entry.REVOKED, None)
    rig.until_phase(Phase.COMPLETED)


def test_key_that_another_credential_knows_is_no_orphan() -> None:
    """Two credentials of one authority see each other's keys; neither is in the other's way."""
    rig = issuing()
    other = rig.authority.new_key("refunds.v1")
    rig.backend.place("r0").overwrite(other.value.reveal())
    wired = rig.registry.credentials[NAME]
    refunds = replace(wired, name="refunds", targets={"r0": rig.backend.target({"path": "r0"})})
    rig.registry = replace(rig.registry, credentials={**rig.registry.credentials, "refunds": refunds})
    rig.restart()
    rig.second()
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.COMPLETED)
    assert tables(rig)[other.key_id] is Entry.ACTIVE


def test_key_that_only_a_journal_names_is_no_orphan() -> None:
    """A mint whose outcome is written down, and that no tick has taken in yet, names its key all the same."""
    rig = issuing()
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until(lambda one: any(i.effect.kind is EffectKind.MINT for i in rig.store.journal(one.id).values()))
    rotation = rig.store.live_of(NAME)
    assert rotation is not None
    assert rotation.versions[2].key_id is None
    issued = [one for one in rig.authority.issued() if one.key_id != rig.first_key_id]
    assert len(issued) == 1
    assert sort_out(rig.store, NAME, issued) == Orphans()
    rig.until_phase(Phase.COMPLETED)


def test_emergency_passes_a_stranger_s_key_by_its_id() -> None:
    """The operator names the unknown key, and the emergency's mint goes on beside it; it is still left alone."""
    rig = issuing()
    stranger = rig.authority.made_by_hand()
    rig.runtime.start(NAME, by="ada", why="test")
    held_for(rig)
    seen = rig.runtime.look(NAME)
    report = partial(commands.emergency, serial=1, by="ada", why="leaked", now=rig.clock.now(), cut_now=True)
    rig.runtime.command(NAME, report, by="ada", what="emergency")
    rig.second()
    accept = partial(
        commands.accept, seen=seen, target=AUTHORITY, found=stranger.key_id, by="ada", why="the vendor's own"
    )
    rig.runtime.command(NAME, accept, by="ada", what="accept")
    rig.until_phase(Phase.COMPLETED)
    assert tables(rig)[stranger.key_id] is Entry.ACTIVE


def test_authority_that_cannot_list_gets_no_second_key() -> None:
    """While nobody can say what was issued, nothing is minted: unknown is never nothing (P4)."""
    rig = issuing()
    rig.authority.faults.inject(Fault.LOST_REQUEST, "issued", times=None)
    rig.runtime.start(NAME, by="ada", why="test")
    for _ in range(30):
        rig.second()
    assert set(tables(rig)) == {rig.first_key_id}
    rig.authority.faults.clear()
    rig.until_phase(Phase.COMPLETED)


def test_mint_itself_looks_for_strangers() -> None:
    """Where the look before could not list them, the mint does, under the authority's lease, and makes nothing beside."""
    rig = issuing()
    rig.authority.made_by_hand()
    before = set(tables(rig))
    rig.before_tick = lambda: rig.authority.faults.inject(Fault.LOST_REQUEST, "issued", times=AT_ONCE)
    rig.runtime.start(NAME, by="ada", why="test")
    for _ in range(20):
        rig.second()
        rig.authority.faults.clear()
    assert set(tables(rig)) == before


def test_copy_that_no_version_knows_stops_the_mint_and_stays() -> None:
    """A copy with our token for a version that was never ours to make (a store was lost, another keyturn is at work) is
    reported by its name, and never taken for a new version or removed."""
    rig = Rig()
    rig.warm_up()
    unknown = f"{NAME}.v9"
    place = rig.backend.place("t1")
    place.stage(unknown, SecretValue("fake_k99_x"))
    rig.runtime.start(NAME, by="ada", why="test")
    rotation = held_for(rig)
    assert rotation.hold is not None
    assert unknown in rotation.hold.detail
    assert unknown in place.copies()
    place.remove(unknown, ())
    rig.until_phase(Phase.COMPLETED)


@pytest.mark.parametrize("revoked_before", [True, False])
def test_late_worker_s_key_and_ours_do_not_both_stay(revoked_before: bool) -> None:
    """A replica that lost its claim stages its key while we mint ours: one of the two is kept, alive, and the other is
    revoked, whichever came first and whether ours had already taken the late one for an orphan."""
    rig = issuing()
    late = orphaned(rig) if revoked_before else rig.authority.new_key(f"{NAME}.v2").key_id
    value = rig.authority.nodes["one"].newest[late].value
    assert value is not None
    if not revoked_before:
        rig.authority.made.pop(late)  # not listed yet when we look
        rig.runtime.start(NAME, by="ada", why="test")
    plainly = rig.authority.new_key

    def new_key(token: str) -> Minted:
        rig.authority.made.setdefault(late, Issued(key_id=late, token=token, created_at=rig.clock.now()))
        live = rig.store.live_of(NAME)
        assert live is not None
        rig.backend.place("t0").stage(copy_token(live, live.incoming), value)
        return plainly(token)

    rig.authority.new_key = new_key  # type: ignore[method-assign]
    rotation = rig.until_phase(Phase.COMPLETED)
    alive = [key_id for key_id, entry in tables(rig).items() if entry is Entry.ACTIVE]
    assert alive == [rotation.versions[2].key_id]
    assert (alive == [late]) is not revoked_before
    assert rig.refused == {}
