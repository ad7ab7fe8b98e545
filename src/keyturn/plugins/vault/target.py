"""One field of one KV version 2 secret as a target.

A new version is at once what readers get and there are no labels, so what is pending or kept lies beside: one secret per
copy, `<prefix>/<path>/<field>/copy-<token>`, created with check-and-set 0. Readers' ids are the version numbers. They
only go up, so a check-and-set that was overtaken can never succeed again. Marks are keys of the secret's custom
metadata, `keyturn-compromised.<key id>`: all versions share it, and every reader of the secret sees it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from keyturn.domain.errors import Absent, Conflict, Invalid, Transient
from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.vault.connection import Deadline
from keyturn.plugins.vault.kv import Kv, Version
from keyturn.plugins.vault.options import TargetOptions
from keyturn.ports.backend import TargetView
from keyturn.ports.clock import Clock

# A token may be "." or "..", which as a part of a path would lead elsewhere.
COPY = "copy-"
VALUE = "value"
ORIGIN = "kept_from_version"
MARK = "keyturn-compromised."
ANNOTATIONS = 64
"""So many keys of custom metadata a secret may have; a patch is let beyond it, and then no whole write is any more."""


class VaultTarget:
    """What readers of one secret get, and our copies under the prefix."""

    def __init__(self, kv: Kv, options: TargetOptions, *, prefix: str, clock: Clock) -> None:
        self.location = f"{kv.mount}/{options.path}"
        self.timeout = kv.timeout
        self.path = options.path
        self.field = options.field
        self.copies_path = f"{prefix}/{options.path}/{options.field}"
        self._kv = kv
        self._clock = clock

    def __repr__(self) -> str:
        return f"VaultTarget({self._kv.mount!r}, {self.path!r}, {self.field!r})"

    def view(self) -> TargetView:
        deadline = self._kv.deadline()
        current = self._kv.read(self.path, deadline)
        readable = [
            name for name in self._copies(deadline) if self._is_readable(f"{self.copies_path}/{name}", deadline)
        ]
        annotations = current.annotations if current.number else self._kv.annotations(self.path, deadline)
        return TargetView(
            serving=self._serving(current),
            copies=frozenset(name.removeprefix(COPY) for name in readable),
            marked=frozenset(name.removeprefix(MARK) for name in annotations if name.startswith(MARK)),
        )

    def read(self) -> tuple[str, SecretValue]:
        current = self._kv.read(self.path, self._kv.deadline())
        return self._served(current)

    def keep(self, token: str, *, serving: str) -> None:
        deadline = self._kv.deadline()
        current = self._kv.read(self.path, deadline)
        if self._serving(current) == serving:
            _, value = self._served(current)
            self._create(token, value, {ORIGIN: serving}, deadline)
            return
        # A repetition whose first response was lost finds its copy, whatever became of the target meanwhile.
        copy = self._kv.read(self._copy_path(token), deadline).document
        if copy is not None and copy.get(ORIGIN) == serving:
            return
        if (now := self._serving(current)) is None:
            raise Absent(f"{self!r}: readers get nothing")
        raise Conflict(f"{self!r}: readers get version {now}, not {serving}")

    def stage(self, token: str, value: SecretValue) -> None:
        self._create(token, value, {}, self._kv.deadline())

    def fetch(self, token: str) -> SecretValue:
        return self._fetch(token, self._kv.deadline())

    def promote(self, copy: str, *, expected: str | None, token: str) -> str:
        # The number that a check-and-set makes tells the attempts apart: nobody else can have made it.
        del token
        deadline = self._kv.deadline()
        value = self._fetch(copy, deadline)
        current = self._kv.read(self.path, deadline)
        if self._serving(current) == expected:
            document = {**self._base(current, deadline), self.field: value.reveal()}
            try:
                return str(self._kv.write(self.path, document, cas=current.number, deadline=deadline))
            except Conflict:
                current = self._kv.read(self.path, deadline)
        if self._was_made_by_us(current, value, expected, deadline):
            return str(current.number)
        raise Conflict(f"{self!r}: readers get version {self._serving(current)}, not {expected}")

    def remove(self, token: str, *, served: Collection[str] = ()) -> None:
        deadline = self._kv.deadline()
        numbers = {int(number) for number in served if number.isdecimal()}
        if numbers:
            current = self._kv.read(self.path, deadline)
            # The look may be behind (a standby's), and then a number beyond it may be what readers get by now.
            last = current.number if current.document is None else current.number - 1
            past = {number for number in numbers if number <= last}
            if past:
                self._kv.destroy(self.path, past, deadline)
            left = numbers - past
            if left and (current.number in left or not self._was_made_anew(token, deadline)):
                raise Transient(
                    f"{self!r}: version {max(left)} is not destroyed: the server has version {current.number} for what "
                    "readers get, so they get it still, or a standby has answered that is behind"
                )
        # Last, so that the copy stands as long as anything is left to do.
        self._kv.erase(self._copy_path(token), deadline)

    def mark(self, key_id: str) -> None:
        deadline = self._kv.deadline()
        annotations = self._kv.annotations(self.path, deadline)
        if MARK + key_id in annotations:
            return
        if len(annotations) >= ANNOTATIONS:
            raise Invalid(
                f"{self!r}: {key_id} cannot be marked compromised: all {ANNOTATIONS} keys of custom metadata are taken; "
                "remove some that nobody needs"
            )
        self._kv.annotate(self.path, MARK + key_id, f"{self._clock.now():%Y-%m-%dT%H:%M:%SZ}", deadline)

    def _base(self, current: Version, deadline: Deadline) -> Mapping[str, Any]:
        """The document whose other fields a promote leaves as they are: what readers get; or where another's hand has
        deleted that, the last that we have kept a copy from, while the history has it."""
        if current.document is not None or current.number == 0:
            return current.document or {}
        copies = [self._kv.read(f"{self.copies_path}/{name}", deadline).document for name in self._copies(deadline)]
        kept = {int(copy[ORIGIN]) for copy in copies if copy is not None and str(copy.get(ORIGIN)).isdecimal()}
        for number in sorted(kept, reverse=True):
            former = self._kv.read(self.path, deadline, number=number).document
            if former is not None:
                return former
        return {}

    def _copies(self, deadline: Deadline) -> list[str]:
        return [name for name in self._kv.children(self.copies_path, deadline) if name.startswith(COPY)]

    def _serving(self, version: Version) -> str | None:
        """The id of what readers get: a document without the field gives them as little as none."""
        if version.document is None or version.document.get(self.field) is None:
            return None
        return str(version.number)

    def _served(self, version: Version) -> tuple[str, SecretValue]:
        serving = self._serving(version)
        if serving is None or version.document is None:
            raise Absent(f"{self!r}: readers get nothing")
        return serving, self._value_in(version.document, self.field, f"version {serving}")

    def _was_made_by_us(self, current: Version, value: SecretValue, expected: str | None, deadline: Deadline) -> bool:
        """Whether what readers get is what this promote made: our value, in the version right after the expected one."""
        if current.document is None or current.document.get(self.field) != value.reveal():
            return False
        before = current.number - 1
        if expected is not None:
            return expected == str(before)
        return before == 0 or self._serving(self._kv.read(self.path, deadline, number=before)) is None

    def _was_made_anew(self, token: str, deadline: Deadline) -> bool:
        """Whether the secret is younger than our copy, or gone: another's hand has deleted it with its whole history, and
        numbers that are told of it from before will never be reached."""
        secret, copy = (self._kv.metadata(path, deadline) for path in (self.path, self._copy_path(token)))
        # Times of the server's, all in one form and zone: they compare as text.
        made, kept = (str(one.get("created_time", "")) for one in (secret, copy))
        return not secret or not copy or made > kept

    def _create(self, token: str, value: SecretValue, extra: Mapping[str, str], deadline: Deadline) -> None:
        path = self._copy_path(token)
        document = {VALUE: value.reveal(), **extra}
        try:
            self._kv.write(path, document, cas=0, deadline=deadline)
        except Conflict:
            held = self._kv.read(path, deadline)
            if held.document is None:
                # Deleted by another's hand or by the mount's `delete_version_after`: the token holds nothing any more.
                self._kv.write(path, document, cas=held.number, deadline=deadline)
            elif self._value_in(held.document, VALUE, f"copy {token}") != value:
                raise Conflict(f"{self!r}: copy {token} holds another value already") from None

    def _fetch(self, token: str, deadline: Deadline) -> SecretValue:
        document = self._kv.read(self._copy_path(token), deadline).document
        if document is None:
            raise Absent(f"{self!r}: no copy {token}")
        return self._value_in(document, VALUE, f"copy {token}")

    def _value_in(self, document: Mapping[str, Any], field: str, what: str) -> SecretValue:
        value = document.get(field)
        if not isinstance(value, str) or not value:
            # Anything but a string also shows in clear in the audit log.
            raise Invalid(f"{self!r}: {what}: the field {field!r} holds no text; store the credential as a string")
        return SecretValue(value)

    def _is_readable(self, path: str, deadline: Deadline) -> bool:
        metadata = self._kv.metadata(path, deadline)
        versions = metadata.get("versions")
        newest = versions.get(str(metadata.get("current_version"))) if isinstance(versions, Mapping) else None
        return newest is not None and not newest.get("destroyed") and not newest.get("deletion_time")

    def _copy_path(self, token: str) -> str:
        return f"{self.copies_path}/{COPY}{token}"
