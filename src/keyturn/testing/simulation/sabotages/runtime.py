"""Breaks how decisions are carried out: leases, revisions, the journal, the outbox."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from keyturn.domain.errors import Failure
from keyturn.domain.model import Rotation
from keyturn.domain.secret_value import SecretValue
from keyturn.ports.records import Commit, HistoryEntry, Lease, OutboxItem
from keyturn.runtime import execute, gather, step
from keyturn.runtime.claims import Claim, Claims
from keyturn.runtime.execute import Execute
from keyturn.runtime.orphans import Orphans
from keyturn.runtime.outbox import Outbox
from keyturn.runtime.registry import WiredCredential
from keyturn.runtime.sending import Sender
from keyturn.stores.memory import MemoryStore
from keyturn.stores.sql import SqlStore
from keyturn.testing.fakes import FakeIssuer, KvPlace, LabelledPlace
from keyturn.testing.fakes.verifier import Table
from keyturn.testing.simulation.sabotages.patching import Replacement, patched

_change = FakeIssuer._change
_kv = KvPlace.promote
_labelled = LabelledPlace.promote


@contextmanager
def _unleased(self: Execute, wired: WiredCredential, sender: Sender) -> Iterator[None]:
    del self, wired, sender
    yield


_take = Claims.take


def _taken(self: Claims, names: Sequence[str]) -> dict[str, Claim]:
    """Every replica claims in one and the same name."""
    return _take(replace(self, owner="everybody"), names)


def _no_orphans(*_: object) -> Orphans:
    """No key is one that nobody knows."""
    return Orphans()


def _without_intents(**named: Any) -> Commit:
    return Commit(**{**named, "intents": ()})


def _dropped(self: Outbox, item: OutboxItem, error: Failure) -> None:
    """What could not be delivered at once is never tried again."""
    self.store.undelivered(item.id, retry_at=None, error=error.message)


def _overwriting(store: type[MemoryStore] | type[SqlStore]) -> Replacement:
    """Whatever has been committed since the rotation was read is overwritten, and nobody asks for the claim either, without
    which only a person's word comes between."""
    commit = store.commit

    def overwrite(self: Any, asked: Commit) -> Rotation:
        stored = self.rotation(asked.rotation.id)
        if stored is not None:
            asked = replace(asked, rotation=replace(asked.rotation, revision=stored.revision), claim=None)
        return commit(self, asked)

    return store, "commit", overwrite


_begin = MemoryStore.begin


def _beside(self: MemoryStore, rotation: Rotation, entry: HistoryEntry, *, claim: Lease | None = None) -> None:
    """Whatever is under way already is no hindrance."""
    self._live.pop(rotation.credential, None)
    _begin(self, rotation, entry, claim=claim)


def _kv_promote(self: KvPlace, value: SecretValue, *, expected: str | None, token: str) -> str:
    """A write that compares with nothing."""
    del expected
    now = self.serving()
    return _kv(self, value, expected=now and now[0], token=token)


def _labelled_promote(self: LabelledPlace, value: SecretValue, *, expected: str | None, token: str) -> str:
    """The label is moved from wherever it is."""
    del expected
    now = self.serving()
    return _labelled(self, value, expected=now and now[0], token=token)


def _rebuilt(
    self: FakeIssuer, method: str, key_id: str, verifiers: Collection[str], change: Callable[..., Any]
) -> None:
    """The table is written anew with this one key alone, as if nobody else had any in it."""
    if method == "install":
        for name in verifiers:
            node = self._authority.nodes.get(name)
            if node is not None and not node.away:
                node.load(Table({key: row for key, row in node.newest.items() if key == key_id}))
    _change(self, method, key_id, verifiers, change)


SABOTAGES: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
    "skip-lease-check": patched((Execute, "_lease", _unleased)),
    "zombie-writes": patched((Sender, "check", lambda *_: None)),
    "skip-claims": patched((Claims, "take", _taken), (Sender, "check", lambda *_: None)),
    "skip-revision-check": patched(_overwriting(MemoryStore), _overwriting(SqlStore)),
    "begin-beside-another": patched((MemoryStore, "begin", _beside)),
    "ignore-orphans": patched((execute, "sort_out", _no_orphans), (gather, "sort_out", _no_orphans)),
    "forget-an-intent": patched((step, "Commit", _without_intents)),
    "drop-outbox-row": patched((Outbox, "_failed", _dropped)),
    "promote-without-compare": patched(
        (KvPlace, "promote", _kv_promote), (LabelledPlace, "promote", _labelled_promote)
    ),
    "forget-late-calls": patched((step, "_next_check", lambda _decision, _seen, now: now + timedelta(days=365))),
    "write-values-down": patched((SecretValue, "fingerprint", lambda self, _key: self.reveal())),
    "rebuild-shared-table-from-one-credential": patched((FakeIssuer, "_change", _rebuilt)),
}
