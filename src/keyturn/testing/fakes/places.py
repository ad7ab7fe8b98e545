"""What stands behind a fake target: one place in a backend, with the rules of a real one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from keyturn.domain.errors import Absent, Conflict, Invalid, Transient
from keyturn.domain.secret_value import SecretValue
from keyturn.ports.backend import Foreign

MARKS = 50
"""The fewest marks that a real backend has room for."""


NO_TEXT = SecretValue("\0 what is no text")
"""Stands in a place for a number, an object or bytes: readers get it, and keyturn cannot read it."""


class Place(ABC):
    """The storage of one target. Its methods are single atomic calls of the backend's own API."""

    foreign: tuple[Foreign, ...]
    before: Place | None = None
    """As it was before the last write, for stale reads."""
    marked: frozenset[str] = frozenset()
    """Public key ids marked compromised; they belong to the whole secret and not to a version."""

    def remember(self) -> None:
        """A write is about to happen."""
        before = object.__new__(type(self))
        for name, held in vars(self).items():
            vars(before)[name] = dict(held) if isinstance(held, dict) else held
        before.before = None
        self.before = before

    @abstractmethod
    def serving(self) -> tuple[str, SecretValue] | None:
        """What readers get, and its id."""

    @abstractmethod
    def copies(self) -> Mapping[str, SecretValue]:
        """Our copies by token."""

    @abstractmethod
    def stage(self, token: str, value: SecretValue) -> None:
        """Store a copy out of readers' sight."""

    @abstractmethod
    def keep(self, token: str, serving: str) -> None:
        """Make the version `serving` a copy of ours."""

    @abstractmethod
    def promote(self, value: SecretValue, *, expected: str | None, token: str) -> str:
        """Compare and swap what readers get."""

    @abstractmethod
    def remove(self, token: str, served: Collection[str]) -> None:
        """Take a copy away, and the history where that is possible."""

    def mark(self, key_id: str) -> None:
        """Mark a key id compromised, while there is room: KV takes 64 such notes, AWS 50."""
        if key_id not in self.marked and len(self.marked) >= MARKS:
            raise Invalid(f"fake: no room for a mark of {key_id}")
        self.marked |= {key_id}

    @abstractmethod
    def overwrite(self, value: str) -> None:
        """Another's hand: write a version that readers get."""

    def overwrite_with_no_text(self) -> None:
        """Another's hand: write what is no text for readers to get."""
        self.overwrite(NO_TEXT.reveal())

    @abstractmethod
    def stored(self) -> set[str]:
        """Every value that is still there, copies and history included."""

    def readers_get(self) -> str | None:
        """The value that an application gets."""
        serving = self.serving()
        return serving[1].reveal() if serving else None


@dataclass(kw_only=True)
class KvPlace(Place):
    """KV version 2: version numbers count up, writes compare-and-swap on the number, no labels, and `max_versions`
    evicts the oldest. Copies are secrets of their own."""

    max_versions: int = 10
    foreign: tuple[Foreign, ...] = ()
    _current: int = 0
    _versions: dict[int, SecretValue | None] = field(default_factory=dict)
    _copies: dict[str, tuple[str | None, SecretValue]] = field(default_factory=dict)

    def serving(self) -> tuple[str, SecretValue] | None:
        value = self._versions.get(self._current)
        return (str(self._current), value) if value else None

    def copies(self) -> Mapping[str, SecretValue]:
        return {token: value for token, (_, value) in self._copies.items()}

    def stage(self, token: str, value: SecretValue) -> None:
        self._create(token, None, value)

    def keep(self, token: str, serving: str) -> None:
        if token in self._copies and self._copies[token][0] == serving:
            return
        now = self.serving()
        if now is None:
            raise Absent("fake kv: readers get nothing")
        if now[0] != serving:
            raise Conflict(f"fake kv: readers get version {now[0]}, not {serving}")
        if now[1] == NO_TEXT:
            raise Invalid(f"fake kv: version {serving} is no text")
        self._create(token, serving, now[1])

    def promote(self, value: SecretValue, *, expected: str | None, token: str) -> str:
        # Numbers tell attempts apart here.
        del token
        now = self.serving()
        if (now and now[0]) == expected:
            return self._write(value)
        # Our own earlier call: its compare-and-swap can only have made the very next number.
        before = self._versions.get(self._current - 1)
        preceded = str(self._current - 1) if before else None
        if now is not None and preceded == expected and now[1] == value:
            return now[0]
        raise Conflict(f"fake kv: readers get version {now and now[0]}, not {expected}")

    def remove(self, token: str, served: Collection[str]) -> None:
        now = self.serving()
        if now is not None and now[0] in served:
            raise Transient(f"fake kv: readers get version {now[0]}, which was to be destroyed")
        for number in self._versions:
            if str(number) in served:
                self._versions[number] = None
        self._copies.pop(token, None)

    def overwrite(self, value: str) -> None:
        self.remember()
        self._write(SecretValue(value))

    def delete(self) -> None:
        """Another's hand: delete what readers get; the number stays used."""
        self.remember()
        self._versions[self._current] = None

    def stored(self) -> set[str]:
        history = {value.reveal() for value in self._versions.values() if value}
        return history | {value.reveal() for _, value in self._copies.values()}

    def _create(self, token: str, origin: str | None, value: SecretValue) -> None:
        if self._copies.setdefault(token, (origin, value))[1] != value:
            raise Conflict(f"fake kv: copy {token} holds another value")

    def _write(self, value: SecretValue) -> str:
        self._current += 1
        self._versions[self._current] = value
        self._versions.pop(self._current - self.max_versions, None)
        return str(self._current)


CURRENT = "CURRENT"
PREVIOUS = "PREVIOUS"


@dataclass(kw_only=True)
class LabelledPlace(Place):
    """AWS Secrets Manager by its documentation, where moto is lax: a version's id is the token that made it, a used
    token with another value is refused, labels move by compare-and-swap, CURRENT always has a holder and drags
    PREVIOUS, the first version ever is given to readers, and unlabelled versions beyond `unlabelled_kept` are pruned."""

    unlabelled_kept: int = 100
    foreign: tuple[Foreign, ...] = ()
    _versions: dict[str, SecretValue] = field(default_factory=dict)
    _labels: dict[str, str] = field(default_factory=dict)
    _others: int = 0

    def serving(self) -> tuple[str, SecretValue] | None:
        holder = self._labels.get(CURRENT)
        return (holder, self._versions[holder]) if holder else None

    def copies(self) -> Mapping[str, SecretValue]:
        return {
            label.removeprefix("copy/"): self._versions[holder]
            for label, holder in self._labels.items()
            if label.startswith("copy/")
        }

    def stage(self, token: str, value: SecretValue) -> None:
        if not self._versions:
            raise Invalid("fake aws: the first version of a secret is given to readers; store a first value yourself")
        held = self.copies().get(token)
        if held is None:
            self.put(f"stage/{token}", value, f"copy/{token}")
            if f"copy/{token}" not in self._labels:  # a repeated put puts no label on
                self.move(f"copy/{token}", to=f"stage/{token}", taken_from=None)
        elif held != value:
            raise Conflict(f"fake aws: copy {token} holds another value")

    def keep(self, token: str, serving: str) -> None:
        label = f"copy/{token}"
        if self._labels.get(label) == serving:
            return
        now = self.serving()
        if now is None:
            raise Absent("fake aws: readers get nothing")
        if now[0] != serving:
            raise Conflict(f"fake aws: readers get version {now[0]}, not {serving}")
        if label in self._labels:
            raise Conflict(f"fake aws: copy {token} holds another version")
        self.move(label, to=serving, taken_from=None)

    def promote(self, value: SecretValue, *, expected: str | None, token: str) -> str:
        made = f"promote/{token}"
        now = self.serving()
        if now and now[0] == made:
            return made
        if (now and now[0]) != expected:
            raise Conflict(f"fake aws: readers get version {now and now[0]}, not {expected}")
        if made in self._versions:
            raise Conflict(f"fake aws: {token} was promoted before and is no longer what readers get")
        self.put(made, value, "promoting")
        if self._labels[CURRENT] != made:
            self.move(CURRENT, to=made, taken_from=expected)
        self.take_off("promoting")
        return made

    def remove(self, token: str, served: Collection[str]) -> None:
        # No call deletes one version: what was served is left to the pruning.
        del served
        if f"copy/{token}" in self._labels:
            self.take_off(f"copy/{token}")

    def overwrite(self, value: str) -> None:
        self.remember()
        made = self._other()
        self.put(made, SecretValue(value), "theirs")
        if self._labels[CURRENT] != made:
            self.move(CURRENT, to=made, taken_from=self._labels[CURRENT])
        self.take_off("theirs")

    def stored(self) -> set[str]:
        return {value.reveal() for value in self._versions.values()}

    # The backend's own calls, under their real rules

    def put(self, version: str, value: SecretValue, label: str) -> None:
        """PutSecretValue with one stage."""
        if version in self._versions:
            if self._versions[version] != value:
                raise Conflict(f"fake aws: the token {version} was used with another value")
            return
        self._versions[version] = value
        self._labels[label] = version
        self._labels.setdefault(CURRENT, version)

    def move(self, label: str, *, to: str, taken_from: str | None) -> None:
        """UpdateSecretVersionStage with MoveToVersionId: whoever holds the label must be named."""
        if to not in self._versions:
            raise Absent(f"fake aws: no version {to}")
        holder = self._labels.get(label)
        if holder != taken_from:
            raise Conflict(f"fake aws: {label} is on {holder}, not on {taken_from}")
        self._labels[label] = to
        if label == CURRENT and holder is not None and holder != to:
            self._labels[PREVIOUS] = holder
        self._prune()

    def take_off(self, label: str) -> None:
        """UpdateSecretVersionStage with RemoveFromVersionId alone."""
        if label == CURRENT:
            raise Invalid(f"fake aws: {CURRENT} cannot be left without a holder")
        del self._labels[label]
        self._prune()

    def add_foreign_label(self, label: str, value: str, *, since: datetime | None = None) -> None:
        """Another's hand: a version under a label of its own, as a rotation of AWS's leaves AWSPENDING."""
        made = self._other()
        self.put(made, SecretValue(value), label)
        self.foreign = (*self.foreign, Foreign(id=made, since=since, what=f"the label {label}"))

    def _other(self) -> str:
        self._others += 1
        return f"other-{self._others}"

    def _prune(self) -> None:
        unlabelled = [version for version in self._versions if version not in self._labels.values()]
        for version in unlabelled[: max(0, len(unlabelled) - self.unlabelled_kept)]:
            del self._versions[version]
