"""Keys at an authority that no version knows: whose are they? (promise P5)

Where the authority makes the value, a crash between making and staging leaves a key whose secret nobody has. It is proven
ours by its token, by its time and by being named nowhere, in no credential's versions and no journal; then it may be
revoked. What cannot be proven is left alone, reported, and stands in the way of the next mint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from keyturn.ports.issuer import Issued
from keyturn.ports.records import Intent
from keyturn.ports.store import Store
from keyturn.runtime.values import named_serial

SKEW = timedelta(minutes=5)
"""How far an authority's clock may be behind ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphans:
    """What nobody knows of what an authority has issued for one credential."""

    ours: tuple[Issued, ...] = ()
    """Made by a mint of ours that did not live to tell."""
    strangers: tuple[Issued, ...] = ()
    """Not proven ours."""


def sort_out(store: Store, credential: str, issued: Sequence[Issued]) -> Orphans:
    """Tell our own orphans from strangers among what was issued for a credential."""
    known = store.key_ids([one.key_id for one in issued]) if issued else {}
    unnamed = [one for one in issued if one.key_id not in known]
    if not unnamed:
        return Orphans()
    mints = store.mints()
    named = {intent.outcome.key_id for intent in mints if intent.outcome is not None}
    unnamed = [one for one in unnamed if one.key_id not in named]
    ours = tuple(one for one in unnamed if _proven(store, credential, one, mints))
    return Orphans(ours=ours, strangers=tuple(one for one in unnamed if one not in ours))


def _proven(store: Store, credential: str, one: Issued, mints: Sequence[Intent]) -> bool:
    """Whether its token names a version that we set out to mint, and it was made after that."""
    serial = named_serial(credential, one.token or "")
    if serial is None or one.created_at is None:
        return False
    begun = [
        rotation.started_at
        for intent in mints
        if intent.credential == credential and intent.effect.serial == serial
        if (rotation := store.rotation(intent.rotation)) is not None
    ]
    return any(one.created_at >= at - SKEW for at in begun)
