"""Clauses: credentials, their versions, and what backends call them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier

import pytest

from keyturn.domain.errors import KeyturnError, Refused
from keyturn.domain.model import Rotation, VersionState
from keyturn.domain.phases import Phase
from keyturn.ports.records import Commit, HistoryEntry
from keyturn.ports.store import Store
from keyturn.testing.store_samples import NAME, NOW, SECOND, Clauses, begun, ended, version


class CredentialClauses(Clauses):
    def test_registered_credential_is_remembered(self, store: Store) -> None:
        """A credential comes back as registered, its due date equal to the microsecond."""
        store.register(NAME, version(), due_at=NOW)
        found = store.credential(NAME)
        assert found is not None
        assert (found.name, dict(found.versions), found.next_serial) == (NAME, {1: version()}, 2)
        assert (found.due_at, found.rolled_back) == (NOW, 0)
        assert dict(store.credentials()) == {NAME: found}

    def test_other_versions_are_registered_with_the_current_one(self, store: Store) -> None:
        """What else is known of a credential is remembered with it, and the next serial is beyond them all."""
        others = [version(serial, state=VersionState.DISABLED) for serial in (7, 3)]
        store.register(NAME, version(5), due_at=None, others=others)
        found = store.credential(NAME)
        assert found is not None
        assert dict(found.versions) == {3: others[1], 5: version(5), 7: others[0]}
        assert found.next_serial == 8

    def test_restored_store_is_confirmed_one_by_one(self, store: Store) -> None:
        """From a backup on no credential is confirmed, and since when is known; each is confirmed alone, and one that is
        registered later needs none."""
        for name in ("b", "a"):
            store.register(name, version(name=name), due_at=None)
        assert list(store.unconfirmed()) == []
        store.restored(NOW)
        store.register("new", version(name="new"), due_at=None)
        assert list(store.unconfirmed()) == ["a", "b"]
        found = store.credential("b")
        assert found is not None
        assert found.restored_at == NOW
        store.confirm("b")
        store.confirm("unknown")
        assert list(store.unconfirmed()) == ["a"]
        confirmed = store.credential("b")
        assert confirmed is not None
        assert confirmed.restored_at is None

    def test_what_stands_is_told_without_what_was(self, store: Store) -> None:
        """Of all credentials: when each that has a date is due, and which version its readers get, whatever came before."""
        store.register("due", version(name="due"), due_at=NOW)
        store.register("idle", version(5, name="idle"), due_at=None)
        store.register("bare", version(name="bare", state=VersionState.PENDING), due_at=None)
        ended(store, turned(begun(store)), Phase.COMPLETED, due_at=NOW + SECOND)
        assert dict(store.due_dates()) == {"due": NOW, NAME: NOW + SECOND}
        assert dict(store.current()) == {"due": 1, "idle": 5, NAME: 2}

    def test_versions_that_the_world_has_shown_are_remembered(self, store: Store) -> None:
        """The next serial is beyond them, and their keys are known; what was known already is left as it is."""
        store.register(NAME, version(), due_at=None)
        shown = version(4, state=VersionState.PREVIOUS)
        store.found(NAME, [shown, replace(version(), state=VersionState.DESTROYED)])
        store.found(NAME, [])
        found = store.credential(NAME)
        assert found is not None
        assert (dict(found.versions), found.next_serial) == ({1: version(), 4: shown}, 5)
        assert store.key_ids([shown.key_id or ""]) == {shown.key_id: [(NAME, 4)]}
        store.found(NAME, [version(2, state=VersionState.DESTROYED)])
        again = store.credential(NAME)
        assert again is not None
        assert (sorted(again.versions), again.next_serial) == ([1, 2, 4], 5)
        with pytest.raises(KeyturnError):
            store.found("unknown", [shown])

    def test_unknown_credential_is_none(self, store: Store) -> None:
        """What was never registered is not there, and asking for it is no error."""
        assert store.credential(NAME) is None
        assert dict(store.credentials()) == {}
        assert store.live_of(NAME) is None
        assert store.latest_of(NAME) is None
        assert store.rotation("r1") is None
        assert list(store.history(NAME)) == []
        assert dict(store.bindings(NAME)) == {}
        assert dict(store.journal("r1")) == {}

    def test_registering_again_changes_nothing(self, store: Store) -> None:
        """A known credential is left as it is, and so is its trail."""
        first, again = (
            HistoryEntry(
                at=NOW,
                credential=NAME,
                rotation="",
                phase=Phase.COMPLETED,
                kind="command",
                reason="adopt",
                detail=detail,
            )
            for detail in ("first", "again")
        )
        store.register(NAME, version(), due_at=NOW, history=[first])
        store.register(NAME, version(5), due_at=None, history=[again])
        found = store.credential(NAME)
        assert found is not None
        assert (dict(found.versions), found.next_serial, found.due_at) == ({1: version()}, 2, NOW)
        assert [line.detail for line in store.history(NAME)] == ["first"]

    def test_due_are_those_whose_time_has_come(self, store: Store) -> None:
        """Due credentials are named by due date, the one due this very microsecond too; others are not."""
        for name, due_at in (("b", NOW), ("a", NOW), ("late", NOW - SECOND), ("never", None)):
            store.register(name, version(name=name), due_at=due_at)
        store.register("soon", version(name="soon"), due_at=NOW + timedelta(microseconds=1))
        assert list(store.due(NOW)) == ["late", "a", "b"]

    def test_due_date_can_be_moved(self, store: Store) -> None:
        """A due date can be set and taken away; for an unknown credential nothing happens."""
        store.register(NAME, version(), due_at=None)
        store.set_due(NAME, NOW)
        assert list(store.due(NOW)) == [NAME]
        store.set_due(NAME, None)
        store.set_due("unknown", NOW)
        assert list(store.due(NOW)) == []

    def test_key_ids_name_versions(self, store: Store) -> None:
        """Known key ids are found whatever their credential, and in any number; unknown ones are left out."""
        for name in ("a", "b"):
            store.register(name, version(name=name), due_at=None)
        wanted = ["b-1", "a-1", *(f"unknown-{number}" for number in range(2000))]
        assert dict(store.key_ids(wanted)) == {"a-1": [("a", 1)], "b-1": [("b", 1)]}
        assert dict(store.key_ids([])) == {}

    def test_key_id_is_known_once_it_is_committed(self, store: Store) -> None:
        """A version's key id can be looked up from the commit that brings it, and stays when it is destroyed."""
        rotation = begun(store)
        minted = replace(rotation.versions[2], key_id="fresh", fingerprint="f")
        rotation = store.commit(Commit(rotation=replace(rotation, versions={**rotation.versions, 2: minted})))
        ended(store, rotation.with_version(2, VersionState.DESTROYED), Phase.ROLLED_BACK)
        assert dict(store.key_ids(["fresh"])) == {"fresh": [(NAME, 2)]}

    def test_key_id_names_every_version_that_has_it(self, store: Store) -> None:
        """A credential that was renamed, or two that share a key: none is left out, by name and then by serial."""
        for name, serial in (("renamed", 1), ("Shared", 1), ("first", 10), ("first", 9)):
            shared = replace(version(serial), key_id="k")
            store.register(name, shared, due_at=None)
            store.found(name, [shared])
        found = {key_id: list(versions) for key_id, versions in store.key_ids(["k"]).items()}
        assert found == {"k": [("Shared", 1), ("first", 9), ("first", 10), ("renamed", 1)]}

    def test_credential_is_registered_apart_from_those_that_have_its_key(self, store: Store) -> None:
        """A key is one credential's of those that are named: nothing is remembered of another's, and what is not named may
        have it. The same key id for another value is another authority's key."""
        store.register("a", replace(version(3), key_id="k", fingerprint="f"), due_at=None)
        shared = replace(version(), key_id="k", fingerprint="f")
        with pytest.raises(Refused, match=r"readers of b get v3 of a .k.: one key, one credential"):
            store.register("b", shared, due_at=None, apart_from=["other", "a"])
        assert store.credential("b") is None
        assert dict(store.key_ids(["k"])) == {"k": [("a", 3)]}
        store.register("c", replace(shared, fingerprint="g"), due_at=None, apart_from=["a"])
        store.register("b", shared, due_at=None, apart_from=["other"])
        store.register("a", shared, due_at=None, apart_from=["b"])
        assert dict(store.key_ids(["k"])) == {"k": [("a", 3), ("b", 1), ("c", 1)]}

    def test_of_two_that_are_registered_at_once_one_has_the_key(self, store: Store, other: Store) -> None:
        """However close together: neither is registered unseen by the other."""
        for number in range(10):
            names = [f"a{number}", f"b{number}"]
            shared, ready, refused = replace(version(), key_id=f"k{number}"), Barrier(2), list[str]()

            def register(place: Store, name: str) -> None:
                ready.wait()  # noqa: B023 - ended before the next
                try:
                    place.register(name, shared, due_at=None, apart_from=[one for one in names if one != name])  # noqa: B023
                except Refused:
                    refused.append(name)  # noqa: B023

            with ThreadPoolExecutor(2) as threads:
                list(threads.map(register, (store, other), names))
            assert len(refused) == 1

    def test_bindings_add_up(self, store: Store) -> None:
        """Several ids of a backend may be one version; binding an id again changes what it means."""
        store.register(NAME, version(), due_at=None)
        store.bind(NAME, "north", "7", 1)
        store.bind(NAME, "north", "9", 1)
        store.bind(NAME, "south", "7", 1)
        store.bind(NAME, "south", "7", 2)
        assert dict(store.bindings(NAME)) == {("north", "7"): 1, ("north", "9"): 1, ("south", "7"): 2}
        with pytest.raises(KeyturnError, match="unknown"):
            store.bind("unknown", "north", "7", 1)


def turned(rotation: Rotation) -> Rotation:
    """The same rotation when readers get its new version."""
    old = rotation.with_version(rotation.outgoing[0], VersionState.PREVIOUS)
    return old.with_version(rotation.incoming, VersionState.CURRENT)
