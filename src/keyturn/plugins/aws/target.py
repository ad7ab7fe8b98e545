"""A secret in AWS Secrets Manager, or one field of it, as a target.

What the service cannot do, and what that means here:

- No call deletes one version. `remove` takes our labels off, so the version is deprecated and pruned by AWS, not before
  a day has passed and only when more than a hundred such versions are there. The version that readers got before the
  last promote keeps AWS's own AWSPREVIOUS for as long. That the value is dead is the issuer's work, not the backend's.
- The first version of a secret gets AWSCURRENT by itself, so a value staged into an empty secret would be served at
  once. A vacant version takes that place first: it is binary, and counts as nothing here.
- All fields of a document share its version ids. A promote of one field is another hand's write to every other target
  in the same secret: one rotation at a time there.
- Replicas in other regions follow later; what `view` and `promote` tell is the primary. A policy's propagation time has
  to cover the lag.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import timedelta

from keyturn.domain.errors import Absent, Conflict, Invalid, Transient
from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.aws.documents import credential_in, document_with, has_fields
from keyturn.plugins.aws.secret import Binary, Secret
from keyturn.plugins.aws.versions import (
    CURRENT,
    MARK,
    PENDING,
    PREVIOUS,
    TAGS,
    VACANT_LABEL,
    SecretState,
    copy_id,
    copy_label,
    copy_of,
    is_promotion,
    promoted_by,
    promotion_id,
    promotion_label,
    vacant_id,
)
from keyturn.ports.backend import Foreign, TargetView
from keyturn.ports.clock import Clock


class SecretTarget:
    """One secret's AWSCURRENT, or one field of it. `open_secret` starts the calls of one method with their deadline."""

    def __init__(
        self,
        place: str,
        open_secret: Callable[[], Secret],
        *,
        location: str,
        field: str | None,
        clock: Clock,
        timeout: timedelta,
    ) -> None:
        self.location = location
        self.timeout = timeout
        self._place = place
        self._open = open_secret
        self._field = field
        self._clock = clock

    def __repr__(self) -> str:
        return f"SecretTarget({self._place!r}, field={self._field!r})"

    def view(self) -> TargetView:
        secret = self._open()
        state = secret.describe()
        return TargetView(
            serving=state.serving,
            copies=state.copies,
            foreign=tuple(_foreign(secret, state)),
            marked=state.marked,
        )

    def read(self) -> tuple[str, SecretValue]:
        version_id, document = self._open().current()
        return version_id, self._credential(document)

    def keep(self, token: str, *, serving: str) -> None:
        secret = self._open()
        state = secret.describe()
        label = copy_label(token)
        holder = state.holder(label)
        if holder == serving:
            return
        if holder is not None:
            raise Conflict(f"{self._place}: the copy {token} is of another version, {holder}")
        if state.serving is None:
            raise Absent(f"{self._place}: readers get nothing that could be kept")
        if state.serving != serving:
            raise Conflict(f"{self._place}: readers get {state.serving}, not {serving}; nothing was kept")
        secret.attach(label, serving)

    def stage(self, token: str, value: SecretValue) -> None:
        secret = self._open()
        state = secret.describe()
        label = copy_label(token)
        version_id = copy_id(state.arn, token)
        document = document_with(value, self._field, base=None, place=self._place)
        holder = state.holder(label)
        written = secret.document(holder or version_id)
        # The API refuses a used id with another value; not every implementation does, so it is compared here as well.
        if written is not None and self._credential(written) != value:
            raise Conflict(f"{self._place}: the copy {token} holds another value already")
        if holder is not None and written is not None:
            return
        self._occupy(secret, state)
        # A repeated put is no error and puts no label on.
        if written is not None or label not in secret.put(version_id, document, label=label):
            secret.attach(label, version_id)

    def fetch(self, token: str) -> SecretValue:
        secret = self._open()
        return self._credential(self._copy(secret, secret.describe(), token))

    def promote(self, copy: str, *, expected: str | None, token: str) -> str:
        secret = self._open()
        state = secret.describe()
        if (done := self._ended(secret, state, token)) is not None:
            return done
        self._expect(state, expected)
        value = self._credential(self._copy(secret, state, copy))
        document = document_with(value, self._field, base=self._base(secret, state), place=self._place)
        version_id = promotion_id(state.arn, token, expected)
        label = promotion_label(copy, token)
        written = secret.document(version_id)
        if written is not None or label not in secret.put(version_id, document, label=label):
            # An earlier attempt came this far, or a twin is at it: what it did since the first look counts.
            state = secret.describe()
            if (done := self._ended(secret, state, token)) is not None:
                return done
            self._expect(state, expected)
            marks = state.stages.get(version_id, frozenset())
            # What stands beside the credential may be of another base by now, where what readers get has none itself.
            another = written is not None and self._credential(written) != value
            if another or label not in marks or PREVIOUS in marks:
                raise Conflict(f"{self._place}: the promote {token} over {expected} is spent; readers got it before")
        secret.move_current(to=version_id, away_from=state.holder(CURRENT))
        secret.drop(label, version_id)
        return version_id

    def remove(self, token: str, *, served: Collection[str] = ()) -> None:
        secret = self._open()
        state = secret.describe()
        for label, version_id in state.labels():
            ours = copy_of(label) == token or label == VACANT_LABEL or (is_promotion(label) and version_id in served)
            if ours:
                secret.drop(label, version_id)

    def mark(self, key_id: str) -> None:
        secret = self._open()
        state = secret.describe()
        if key_id in state.marked:
            return
        if not state.taggable:
            raise Invalid(
                f"{self._place}: {key_id} cannot be marked compromised: all {TAGS} tags are taken; "
                "remove some that nobody needs"
            )
        secret.tag(MARK + key_id, f"{self._clock.now():%Y-%m-%dT%H:%M:%SZ}")

    def problems(self, *, region: str) -> Iterator[str]:
        """What would stop a rotation here, one line each with the mend. Raises the failure that ends the look."""
        secret = self._open()
        state = secret.describe()
        if state.primary_region not in {None, region}:
            yield f"{self._place} is a replica; set `region: {state.primary_region}`, where it can be written"
        if state.owning_service is not None:
            yield f"{self._place} belongs to {state.owning_service}, which alone may change it; use another secret"
        for foreign in _foreign(secret, state):
            yield f"{self._place}: {foreign.what} ({foreign.id})"
        if not state.taggable:
            yield (
                f"{self._place} has all {TAGS} tags taken: no version could be marked compromised there; "
                "remove some that nobody needs"
            )
        for replica, status in sorted(state.replicas.items()):
            if status == "Failed":
                yield f"{self._place}: the replica in {replica} has failed and gets no new versions; mend or remove it"
        if state.serving is not None:
            self.read()  # a denied key, a binary value or a missing field shows only here

    def _ended(self, secret: Secret, state: SecretState, token: str) -> str | None:
        """The id that a promote with `token` installed, while readers get it; its label has done its work then."""
        holder = state.holder(CURRENT)
        if holder is None or not promoted_by(holder, state.arn, token):
            return None
        for label in filter(is_promotion, state.stages[holder]):
            secret.drop(label, holder)
        return holder

    def _expect(self, state: SecretState, expected: str | None) -> None:
        if state.serving != expected:
            raise Conflict(f"{self._place}: readers get {state.serving}, not {expected}; nothing was promoted")

    def _copy(self, secret: Secret, state: SecretState, token: str) -> SecretValue:
        holder = state.copy_holder(token)
        document = None if holder is None else secret.document(holder)
        if document is None:
            raise Absent(f"{self._place}: there is no copy {token}")
        return document

    def _base(self, secret: Secret, state: SecretState) -> SecretValue | None:
        """The document whose other fields a promote leaves as they are: what readers get; or where another's hand has put
        bytes or plain text there, which an operator wants overwritten, what they got before. None where none has fields.

        Only what was read and has none counts so: what cannot be read may have those that readers live by.
        """
        if self._field is None or state.serving is None:
            return None
        for version_id in dict.fromkeys([state.serving, *state.former]):
            try:
                document = secret.document(version_id)
            except Binary:
                continue
            if document is None:
                raise Transient(
                    f"{self._place}: version {version_id} has a label and cannot be found; nothing was promoted"
                )
            if has_fields(document):
                return document
        return None

    def _credential(self, document: SecretValue) -> SecretValue:
        return credential_in(document, self._field, place=self._place)

    def _occupy(self, secret: Secret, state: SecretState) -> None:
        """See that a put without AWSCURRENT gets no AWSCURRENT, which AWS gives to a secret's first version."""
        version_id = vacant_id(state.arn)
        if state.holder(CURRENT) is None:
            secret.put_vacant(version_id, label=VACANT_LABEL)
        elif state.holder(VACANT_LABEL) != version_id:
            return
        secret.drop(VACANT_LABEL, version_id)


def _foreign(secret: Secret, state: SecretState) -> Iterator[Foreign]:
    pending = state.holder(PENDING)
    if pending is not None:
        where = "left on the current version" if pending == state.holder(CURRENT) else "on a version of another's"
        mend = "end that rotation, or take the label off with `aws secretsmanager update-secret-version-stage`"
        yield Foreign(id=pending, since=secret.created(pending), what=f"AWSPENDING is {where}; {mend}")
    if state.native_rotation is not None:
        mend = "switch it off with `aws secretsmanager cancel-rotate-secret`"
        yield Foreign(id=state.native_rotation, since=None, what=f"AWS's own rotation is switched on; {mend}")
