"""A secret backend, and the targets in it that readers get a credential from."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from keyturn.domain.secret_value import SecretValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """Something at a target that is not ours: `id` as the backend names it, `since` when the backend knows it."""

    id: str
    since: datetime | None
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetView:
    """What one look at a target shows, values left out."""

    serving: str | None
    """The backend's own id of the version that readers get now; None when readers get nothing."""
    copies: frozenset[str]
    """Tokens of the copies that keyturn keeps here, out of readers' sight."""
    foreign: tuple[Foreign, ...] = ()
    """What stands in the way of an introduction: another's pending value, native rotation, another keyturn's mark."""
    marked: frozenset[str] = frozenset()
    """Public key ids that are marked compromised beside the secret, ours or anyone's."""


class Target(Protocol):
    """One place in a backend that readers get a credential from.

    Every method may raise `Transient`, `Throttled` and `Denied`, and returns or raises within `timeout`. Tokens are
    `[A-Za-z0-9._-]{1,100}`, unique to one version or one effect, and make a call idempotent: the same call again, also
    after a crash or a lost response, gives the same world and no error. Values appear in no error, log or repr.
    """

    location: str
    """Where it is, as the backend's own records name it: usage sources that see readers read it tell of it by this."""
    timeout: timedelta
    """The longest that one call takes, all its requests together: whoever makes it holds its lease for longer
    (promise P7)."""

    def view(self) -> TargetView:
        """What readers get and which copies we keep, read strongly enough to see our own last write."""

    def read(self) -> tuple[str, SecretValue]:
        """What readers get now: the backend's id of it and the value. Raises `Absent`, and `Invalid` when what they get is
        no text."""

    def keep(self, token: str, *, serving: str) -> None:
        """Keep, as our copy `token`, what readers get now, if that is still `serving`; so that it outlives whatever
        others do to the target. Raises `Conflict` when readers get another version, `Absent` when they get none; but
        repeated after it has succeeded it is no error, whatever readers get by then."""

    def stage(self, token: str, value: SecretValue) -> None:
        """Keep `value` as our copy `token`. Readers must not see it. Raises `Conflict` when `token` holds another
        value already, and leaves that value as it is; `Invalid` at an empty target whose backend would give the first
        value that it ever stores to readers (AWS Secrets Manager does)."""

    def fetch(self, token: str) -> SecretValue:
        """The value of our copy `token`. Raises `Absent`, and `Invalid` when another's hand left there what is no text."""

    def promote(self, copy: str, *, expected: str | None, token: str) -> str:
        """Make readers get what our copy `copy` holds, if they get `expected` now (None: nothing); returns the
        backend's id of what they get from now on.

        A compare-and-swap that can succeed once: the id it installs is new each time (`token` tells the attempts
        apart), so a late call with an old `expected` finds another id for ever. Repeated with the same `token` after it
        has succeeded, it returns the same id, while that is still what readers get. Raises `Conflict` when readers get
        anything else, `Absent` when the copy is gone; readers then get what they got.
        """

    def remove(self, token: str, *, served: Collection[str] = ()) -> None:
        """Remove our copy `token`, for good; a copy that is not there is success. What readers get is untouched.

        `served`: backend ids that once gave this version to readers, who get another by now. Where the backend keeps a
        history that can be destroyed, their data is destroyed too, before the copy goes, and never what readers get: where
        one of them is what they get, or may be because the look is behind, `Transient` is raised and the copy stays. Where
        it cannot (AWS Secrets Manager has no call that deletes one version), they are left to the backend's own pruning.
        """

    def mark(self, key_id: str) -> None:
        """Write beside the secret that the version with this public key id is compromised, so that it is known without
        our store (promise P8).

        A mark is never taken away by us: it outlives every copy, promote and removal, and stands beside others, ours
        and other people's. What readers get is untouched; whoever may look at the secret may see the mark, which names
        the public id and the time alone. Marking again is no error and keeps the first time. Raises `Absent` where the
        backend has no such secret, and `Invalid` when it has no room for another mark.
        """


class Backend(Protocol):
    """A connection to one secret backend."""

    def target(self, options: object) -> Target:
        """The target that a credential's `targets:` entry describes. Raises `ConfigError` naming the wrong key."""

    def check(self) -> Sequence[str]:
        """What would stop a rotation here, one line each with the mend: unreachable, denied, a missing mount."""

    def close(self) -> None:
        """Give connections and tokens back."""
