"""Finds a version's value when a call needs it, and tells which version a value is. Values are handed on, never kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial

from keyturn.domain.errors import Absent, Denied, Invalid, Transient
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
    silent: list[Target] = []
    targets = tuple(targets)
    looks = [(target, partial(target.fetch, copy_token(rotation, serial))) for target in targets]
    if rotation.versions[serial].fingerprint:
        looks += [(target, partial(_served, target)) for target in targets]
    looks += [(target, partial(_left, rotation, serial, target, fingerprint_key)) for target in targets]
    for target, look in looks:
        if target in silent:
            continue  # the next answer would be waited for as long, and a cut may wait behind it
        try:
            value = look()
        except (Absent, Invalid):
            continue  # what another's hand has left there that is no text is no version of ours either
        except (Transient, Denied) as error:
            away = error
            if isinstance(error, Transient):
                silent.append(target)
            continue
        if is_version(value, rotation, serial, fingerprint_key):
            return value
    if away is not None:
        raise Transient(f"v{serial} of {rotation.credential} cannot be read: {away.message}")
    raise Absent(f"no target holds v{serial} of {rotation.credential} any more")


def _served(target: Target) -> SecretValue:
    return target.read()[1]


def _left(rotation: Rotation, serial: int, target: Target, fingerprint_key: bytes) -> SecretValue:
    """A version's value from a copy that another rotation has left. Raises `Absent` when there is none."""
    for token in sorted(target.view().copies):
        if named_serial(rotation.credential, token) == serial:
            with suppress(Absent, Invalid):
                value = target.fetch(token)
                if is_version(value, rotation, serial, fingerprint_key):
                    return value
    raise Absent(f"no other rotation has left v{serial} of {rotation.credential} at {target.location}")


def is_another(target: Target, token: str, rotation: Rotation, serial: int, fingerprint_key: bytes) -> bool:
    """Whether a copy is there and is no version `serial`: it holds another value, or by another's hand no text at all.
    Raises as `fetch` does when it cannot be read."""
    try:
        return not is_version(target.fetch(token), rotation, serial, fingerprint_key)
    except Invalid:
        return True


def is_version(value: SecretValue, rotation: Rotation, serial: int, fingerprint_key: bytes) -> bool:
    """Whether a value may be a version of the rotation: it is, or no value is on record for it yet."""
    wanted = rotation.versions[serial].fingerprint
    return wanted is None or value.fingerprint(fingerprint_key) == wanted


def identify(value: SecretValue, fingerprints: Mapping[str, int], fingerprint_key: bytes) -> int | None:
    """The serial of the version that a value is, or None when it is none of ours."""
    return fingerprints.get(value.fingerprint(fingerprint_key))
