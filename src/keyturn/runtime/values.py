"""Finds a version's value when a call needs it, and tells which version a value is. Values are handed on, never kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from keyturn.domain.errors import Absent, Denied, Transient
from keyturn.domain.model import Rotation
from keyturn.domain.secret_value import SecretValue
from keyturn.ports.backend import Target


def copy_token(rotation: Rotation, serial: int) -> str:
    """The token of a rotation's own copy of a version, the same at every target. Rotations that take over share it; any
    other's is another: a removal that is sent late, when the next rotation has kept the version, must not find that copy."""
    return f"{mint_token(rotation.credential, serial)}.{rotation.root.removeprefix(f'{rotation.credential}-')}"


def second_token(token: str) -> str:
    """The token of the copy beside one that holds another value: an emergency that could not read one target has minted at
    the next, and the first had a value of that version already, of a mint whose answer was lost. No backend lets one token
    hold a second value, so the right one stands beside it until all copies are removed."""
    return f"{token}.2"


def mint_token(credential: str, serial: int) -> str:
    """What marks a version at its authority as ours."""
    return f"{credential}.v{serial}"


def named_serial(credential: str, token: str) -> int | None:
    """The serial that a copy's or a mint's token names, when it is one of this credential's."""
    prefix, _, rest = token.partition(".v")
    serial = rest.partition(".")[0]
    return int(serial) if prefix == credential and serial.isdecimal() else None


def promote_token(effect_id: str) -> str:
    """An effect's id in the form that backends take as a token."""
    return f"promote-{hashlib.sha256(effect_id.encode()).hexdigest()[:40]}"


def value_of(rotation: Rotation, serial: int, targets: Iterable[Target], fingerprint_key: bytes) -> SecretValue:
    """A version's value, from the rotation's own copy, from a target that serves it, or from what another rotation has
    left; told by its fingerprint, since a copy may hold what was never recorded (`second_token`).

    Raises `Absent` when no target holds it, and `Transient` when one that may hold it cannot be asked.
    """
    away: Transient | Denied | None = None
    targets = tuple(targets)
    for target in targets:
        try:
            value = target.fetch(copy_token(rotation, serial))
        except Absent:
            continue
        except (Transient, Denied) as error:
            away = error
            continue
        if is_version(value, rotation, serial, fingerprint_key):
            return value
    for target in targets:
        try:
            _, value = target.read()
        except Absent:
            continue
        except (Transient, Denied) as error:
            away = error
            continue
        if rotation.versions[serial].fingerprint and is_version(value, rotation, serial, fingerprint_key):
            return value
    for target in targets:
        try:
            for token in sorted(target.view().copies):
                if named_serial(rotation.credential, token) == serial:
                    value = target.fetch(token)
                    if is_version(value, rotation, serial, fingerprint_key):
                        return value
        except Absent:
            continue
        except (Transient, Denied) as error:
            away = error
    if away is not None:
        raise Transient(f"v{serial} of {rotation.credential} cannot be read: {away.message}")
    raise Absent(f"no target holds v{serial} of {rotation.credential} any more")


def is_version(value: SecretValue, rotation: Rotation, serial: int, fingerprint_key: bytes) -> bool:
    """Whether a value may be a version of the rotation: it is, or no value is on record for it yet."""
    wanted = rotation.versions[serial].fingerprint
    return wanted is None or value.fingerprint(fingerprint_key) == wanted


def identify(value: SecretValue, fingerprints: Mapping[str, int], fingerprint_key: bytes) -> int | None:
    """The serial of the version that a value is, or None when it is none of ours."""
    return fingerprints.get(value.fingerprint(fingerprint_key))
