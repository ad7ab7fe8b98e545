"""Breaks how decisions are carried out: leases, revisions, the journal, the outbox."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from keyturn.domain.effects import Effect
from keyturn.domain.model import Rotation
from keyturn.ports.store import Commit
from keyturn.runtime import execute, tick
from keyturn.runtime.execute import Execute
from keyturn.runtime.registry import WiredCredential
from keyturn.runtime.tick import Runtime
from keyturn.runtime.values import copy_token, promote_token
from keyturn.testing.fakes import FakeIssuer
from keyturn.testing.simulation.sabotages.patching import patched

_change = FakeIssuer._change
_run = Execute.run


@contextmanager
def _unleased(self: Execute, wired: WiredCredential) -> Iterator[None]:
    del self, wired
    yield


def _without_intents(**named: Any) -> Commit:
    return Commit(**{**named, "intents": ()})


def _without_last_message(**named: Any) -> Commit:
    """The last message of a decision does not reach the outbox."""
    return Commit(**{**named, "messages": tuple(named.get("messages", ()))[:-1]})


def _overwriting(self: Runtime, before: Rotation, decision: Any, seen: Any, now: Any) -> Rotation:
    """Whatever has been committed since the rotation was read is overwritten."""
    stored = self._store.rotation(before.id)
    if stored is not None:
        decision = replace(decision, rotation=replace(decision.rotation, revision=stored.revision))
    return _commit(self, before, decision, seen, now)


_commit = Runtime._commit


def _blindly(self: Execute, effect: Effect, rotation: Rotation, wired: WiredCredential) -> None:
    """A promote that takes whatever readers get for what it expects."""
    target = self._target(effect, wired)
    expected = target.view().serving
    made = target.promote(
        copy_token(rotation.credential, effect.serial),
        expected=expected,
        token=promote_token(f"{effect.id}/{expected}"),
    )
    self.store.bind(rotation.credential, effect.target or "", made, effect.serial)


def _rebuilt(
    self: FakeIssuer, method: str, key_id: str, verifiers: Collection[str], change: Callable[..., Any]
) -> None:
    """The table is written anew with this one key alone, as if nobody else had any in it."""
    if method == "install":
        for name in verifiers:
            node = self._authority.nodes.get(name)
            if node is not None and not node.away:
                node.load({key: row for key, row in node.newest.items() if key == key_id})
    _change(self, method, key_id, verifiers, change)


SABOTAGES: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
    "skip-lease-check": patched((Execute, "_lease", _unleased)),
    "zombie-writes": patched((Execute, "_still_current", lambda *_: None)),
    "skip-revision-check": patched((Runtime, "_commit", _overwriting)),
    "forget-an-intent": patched((tick, "Commit", _without_intents)),
    "drop-outbox-row": patched((tick, "Commit", _without_last_message)),
    "promote-without-compare": patched((Execute, "_promote", _blindly)),
    "forget-late-calls": patched((Runtime, "_keep_ends", lambda _: None)),
    "rebuild-shared-table-from-one-credential": patched((FakeIssuer, "_change", _rebuilt)),
    "short-table-lease": patched((execute, "TABLE_LEASE", timedelta(seconds=1))),
}
