"""What has changed in the world since a store was written: a backup remembers yesterday."""

from __future__ import annotations

from collections.abc import Iterator

from keyturn.domain.errors import Transient
from keyturn.domain.model import VersionState
from keyturn.domain.observations import Acceptance, Entry, ServingKind
from keyturn.domain.phases import Phase
from keyturn.domain.situation import Situation

GONE = frozenset({Entry.REVOKED, Entry.ABSENT})


def differences(s: Situation) -> Iterator[str]:
    """What of the world the rotation does not explain, a line each. Raises `Transient` where something cannot be read: then
    nobody can say what is different."""
    for target in s.rotation.targets:
        yield from _at_target(s, target)
    if not s.seen.verifiers:
        raise Transient("the authority names no verifier now: nothing is known of what it accepts")
    for serial in sorted(s.rotation.versions):
        if s.minted(serial):
            yield from _at_authority(s, serial)
    for found in s.seen.strangers:
        yield f"the authority holds {found.id}, which the store does not know"


def _at_target(s: Situation, target: str) -> Iterator[str]:
    serving = s.serving(target)
    if serving.kind is ServingKind.UNKNOWN or s.copies(target) is None:
        raise Transient(f"{target} cannot be read now: nothing is known of what its readers get")
    expected = " or ".join(f"v{serial}" for serial in sorted(s.explained(target)))
    if serving.kind is ServingKind.MISSING:
        yield f"readers of {target} get nothing; the store has {expected} there"
    elif serving.kind is ServingKind.FOREIGN:
        yield f"readers of {target} get {serving.id}, which the store does not know; it has {expected} there"
    elif serving.serial not in s.explained(target):
        yield f"readers of {target} get v{serving.serial}; the store has {expected} there"
    for found in s.seen.targets[target].obstacles:
        yield f"{target}: {found.what} {found.id}"
    for serial in sorted(s.seen.targets[target].marked):
        if not s.marked(serial):
            yield f"v{serial} is marked compromised at {target}; the store does not know that"


def _at_authority(s: Situation, serial: int) -> Iterator[str]:
    version = s.rotation.versions[serial]
    for verifier in sorted(s.seen.verifiers):
        entry = s.entry(verifier, serial)
        if entry is Entry.UNKNOWN:
            raise Transient(f"{verifier} cannot be asked now: nothing is known of what it accepts")
        listed = f"{verifier} has v{serial} {entry}"
        if version.state is VersionState.DESTROYED or serial in s.rotation.revoked:
            if entry not in GONE:
                yield f"{listed}; the store has it revoked"
        elif version.state is VersionState.DISABLED:
            if entry is not Entry.DISABLED:
                yield f"{listed}; the store has it disabled"
        elif entry is not Entry.ACTIVE and not _not_yet(s, serial, entry):
            yield f"{listed}; the store has it accepted"
        elif s.acceptance(verifier, serial) is Acceptance.REFUSED and entry is Entry.ACTIVE:
            yield f"{verifier} refuses v{serial}, which it lists as active"


def _not_yet(s: Situation, serial: int, entry: Entry) -> bool:
    """Whether a version is only on its way to the authority."""
    return serial == s.new and s.phase_is(Phase.INTRODUCE, Phase.ROLLBACK) and entry is Entry.ABSENT
