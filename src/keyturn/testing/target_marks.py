"""Clauses on marks: what is written beside a secret of a version that is compromised."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from keyturn.domain.errors import Absent
from keyturn.domain.secret_value import SecretValue
from keyturn.ports.backend import Target
from keyturn.testing.target_harness import TargetClauses, TargetHarness, new_token, new_value, served

KEY_IDS = ("k", "A" * 100, "AKIA.under_score-1", ".", "..", "-")
"""The edges of `[A-Za-z0-9._-]{1,100}`."""


class MarkClauses(TargetClauses):
    """Marking versions compromised."""

    def test_mark_is_seen_and_changes_nothing_for_readers(self, harness: TargetHarness, target: Target) -> None:
        """A mark is in the very next look, from a new instance too, and readers get the same version as before."""
        value = new_value()
        harness.overwrite(value)
        before = target.view()
        assert before.marked == frozenset()
        target.mark("leaked")
        assert target.view().marked == harness.target().view().marked == {"leaked"}
        assert harness.readers_get() == value
        assert (target.view().serving, target.view().copies) == (before.serving, before.copies)

    def test_mark_is_idempotent(self, harness: TargetHarness, target: Target) -> None:
        """The same mark again, also from an instance that knows nothing, is no error and no second mark."""
        harness.overwrite(new_value())
        for instance in (target, target, harness.target()):
            instance.mark("leaked")
        assert target.view().marked == {"leaked"}

    def test_marks_stand_side_by_side(self, harness: TargetHarness, target: Target) -> None:
        """Each mark is one more; ids at the edges of the allowed alphabet are marked like any other."""
        harness.overwrite(new_value())
        for number, key_id in enumerate(KEY_IDS, start=1):
            harness.target().mark(key_id)
            assert target.view().marked == set(KEY_IDS[:number])

    def test_marks_outlive_what_happens_to_versions(self, harness: TargetHarness, target: Target) -> None:
        """Staging, keeping, promoting there and back, another's hand and removing every copy leave all marks."""
        harness.overwrite(new_value())
        target.mark("first")
        kept, staged = new_token(), new_token()
        ids = [served(target)]
        target.keep(kept, serving=ids[0])
        target.stage(staged, SecretValue(new_value()))
        for copy in (staged, kept, staged):
            ids.append(target.promote(copy, expected=ids[-1], token=new_token()))
            assert target.view().marked == {"first"}
        target.mark("second")
        harness.overwrite(new_value())
        target.remove(kept, served=ids[:1] + ids[2:3])
        target.remove(staged, served=[ids[1], ids[3]])
        assert harness.target().view().marked == {"first", "second"}
        assert harness.target().view().copies == frozenset()

    def test_marked_version_can_still_be_handled(self, harness: TargetHarness, target: Target) -> None:
        """A mark is a note and no lock: what readers get can be kept, replaced and fetched after it as before."""
        old, new = new_value(), new_value()
        harness.overwrite(old)
        target.mark("leaked")
        kept, staged = new_token(), new_token()
        target.keep(kept, serving=served(target))
        target.stage(staged, SecretValue(new))
        target.promote(staged, expected=served(target), token=new_token())
        assert harness.readers_get() == new
        assert target.fetch(kept).reveal() == old

    def test_marking_an_empty_target_gives_readers_nothing(self, harness: TargetHarness, target: Target) -> None:
        """Where readers get nothing a mark is taken or refused as `Absent`, and they go on getting nothing; a first
        version that comes later leaves it."""
        try:
            target.mark("leaked")
        except Absent:
            pytest.skip("this backend keeps marks on a secret that exists")
        assert harness.readers_get() is None
        assert (target.view().serving, target.view().marked) == (None, frozenset({"leaked"}))
        harness.overwrite(new_value())
        assert target.view().marked == {"leaked"}

    def test_marks_made_at_once_are_all_there(self, harness: TargetHarness, target: Target) -> None:
        """Workers that mark different ids at the same time lose none of each other's marks."""
        harness.overwrite(new_value())
        key_ids = [f"leaked-{number}" for number in range(6)]
        workers = {key_id: harness.target() for key_id in key_ids}
        with ThreadPoolExecutor(len(key_ids)) as threads:
            list(threads.map(lambda key_id: workers[key_id].mark(key_id), key_ids))
        assert target.view().marked == set(key_ids)
