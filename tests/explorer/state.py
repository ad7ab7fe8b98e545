"""One state of the explored world: small, immutable, and with a key under which states that cannot be told apart are one.

Times stand still but for the grace of a mark. Backend ids never come back, so only whether an id is what readers get now
tells two apart; entry counts and rotation ids only name calls, and are left out of the key likewise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, NamedTuple

from keyturn.domain.effects import Effect, EffectKind
from keyturn.domain.errors import PERMANENT
from keyturn.domain.model import Force, Hold, Mark, Pause, Rotation, Stamp, Version, VersionState
from keyturn.domain.observations import EffectSeen, Entry
from keyturn.domain.phases import Phase
from keyturn.domain.policy import Deadline, Policy
from keyturn.domain.succession import begin

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
SECOND, EVER, NEVER = timedelta(seconds=1), timedelta(days=10_000), timedelta(0)
VERSIONS = 4
FOREIGN, MISSING = -1, -2
"""In the place of a serial: another's value, and nothing."""
ILL = -3
"""In the place of the version that is accused: every version fails alike."""

POLICY = Policy(
    propagation=NEVER,
    client_refresh=NEVER,
    pool_lifetime=NEVER,
    minimum_overlap=NEVER,
    bake=NEVER,
    soak=NEVER,
    drain=SECOND,
    silence_floor=SECOND,
    silence_few=SECOND,
    silence_unseen=SECOND,
    page_every=EVER,
    maximum_retreats=0,
    deadlines={phase: Deadline(after=EVER) for phase in Phase if not phase.is_end},
)
"""Without clocks, except for the grace: what dwells and deadlines do is for the other tests."""


class Target(NamedTuple):
    """What readers of one target get, and what we keep there."""

    name: str
    serial: int = 0
    number: int = 0
    """Of the backend's id, counted up with each change."""
    copies: frozenset[int] = frozenset()
    marks: frozenset[int] = frozenset()
    away: bool = False
    token: str = ""
    """The promote that gave readers what they get."""
    hand: bool = False
    """Another's hand did."""
    robbed: bool = False
    """Copies of ours were taken out, by a hand or by a call of ours that came late."""

    @property
    def id(self) -> str | None:
        """The backend's id of what readers get."""
        return None if self.serial == MISSING else f"{self.name}.{self.number}"


class Verifier(NamedTuple):
    """One verifier: its table, and what it may refuse through no fault of ours."""

    name: str
    table: tuple[Entry, ...] = (Entry.ACTIVE, *[Entry.ABSENT] * (VERSIONS - 1))
    away: bool = False
    missed: bool = False
    """A tick has found it away."""
    excused: frozenset[int] = frozenset()
    """Versions that it may refuse until it is seen to accept them: it was away, joined, or a call landed late."""
    hands: frozenset[int] = frozenset()
    """Versions whose entries somebody has changed by hand."""
    raised: frozenset[int] = frozenset()
    """Versions that somebody has enabled by hand."""

    def accepts(self, serial: int) -> bool:
        """Whether a client with that version is let in."""
        return self.table[serial] is Entry.ACTIVE


class State(NamedTuple):
    """Everything that the future depends on."""

    rotation: Rotation
    canonical: tuple[Any, ...]
    """The rotation's part of the key."""
    targets: tuple[Target, ...] = (Target("t0"), Target("t1"))
    verifiers: tuple[Verifier, ...] = (Verifier("g0"), Verifier("g1"))
    holds: tuple[int, ...] = (0, 0)
    """What the clients use, one a target."""
    mute: bool = False
    """The usage source says nothing."""
    accused: int | None = None
    """The version that the detector finds failing."""
    obstacle: bool = False
    denied: EffectKind | None = None
    """Calls that are refused for good, until a person lifts it."""
    capacity: int | None = None
    """How many keys the authority takes."""
    keys: frozenset[int] = frozenset({0})
    """Versions that were ever made."""
    served: frozenset[int] = frozenset({0})
    """Versions that readers ever got."""
    marked: frozenset[int] = frozenset()
    """Compromised; an attacker goes on presenting each."""
    forced: frozenset[int] = frozenset()
    journal: Mapping[str, EffectSeen] = {}
    pending: tuple[Effect, ...] = ()
    """Intents that are committed and not sent yet."""
    doubt: frozenset[tuple[EffectKind, int]] = frozenset()
    """Calls of this rotation whose outcome is open, or which took more than one attempt."""
    uncertain: frozenset[tuple[EffectKind, int]] = frozenset()
    """The same of earlier rotations."""
    late: tuple[Effect, ...] = ()
    """Calls that a frozen worker still holds."""
    now: datetime = EPOCH
    budget: int = 1
    """Adverse events that may still happen."""
    horizon: bool = False
    """It went on beyond the last version that is modelled."""

    def with_rotation(self, rotation: Rotation) -> State:
        """The same world with another rotation."""
        return self._replace(rotation=rotation, canonical=canonical(rotation, self.now))

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for states that cannot be told apart by anything that may still happen."""
        rotation, ids = self.rotation, {target.name: target.id for target in self.targets}
        present = f"{rotation.id}/{rotation.entry}-"
        lines = [
            (_nameless(name, present, ids), line.succeeded, line.failure in PERMANENT)
            for name, line in self.journal.items()
            if name.startswith(present)
        ]
        named = [(t, (found or None) == ids[t]) for t, found in rotation.reasserted.items()]
        adopted = [a and (a.target, a.id == ids[a.target]) for a in (rotation.adopting, rotation.accepted)]
        return (
            self.canonical,
            tuple([(t.serial, t.copies, t.marks, t.away, t.hand, t.robbed) for t in self.targets]),
            self.verifiers,
            *self[4:14],
            frozenset(lines),
            frozenset([(line.kind, line.serial) for line in self.journal.values()]),
            tuple([_outline(one, ids) for one in self.pending]),
            tuple(sorted([(_outline(one, ids), self._spent(one)) for one in self.late], key=repr)),
            () if self._calm else (self.doubt, self.uncertain),
            tuple(named),
            tuple(adopted),
            self.budget,
            self.horizon,
        )

    @property
    def _calm(self) -> bool:
        """Whether nothing is left that an old call may explain, and nothing can come any more."""
        targets = [target.away or target.hand or target.robbed for target in self.targets]
        verifiers = [bool(v.away or v.excused or v.hands or v.raised) for v in self.verifiers]
        return not (self.budget or self.late or any(targets) or any(verifiers))

    def _spent(self, effect: Effect) -> bool:
        return any(target.token == effect.id for target in self.targets)


def _nameless(name: str, present: str, ids: Mapping[str, str | None]) -> str:
    what, _, last = name[len(present) :].rpartition("/")
    if last in ids.values():
        return f"{what}/="
    return f"{what}/x" if "." in last else f"{what}/{last}"


def _outline(effect: Effect, ids: Mapping[str, str | None]) -> tuple[Any, ...]:
    fits = effect.target is not None and effect.expected == ids[effect.target]
    return (effect.kind.value, effect.serial, effect.target or "", fits, effect.verifiers)


IGNORED = frozenset(
    {
        *("id", "credential", "revision", "policy", "targets", "supersedes", "cause", "reminded"),
        *("started_at", "started_by", "entry", "entered", "stopped_since", "stopped_for"),
        *("adopting", "accepted", "reasserted"),
    }
)
"""Fields of a rotation on which no decision depends, or which the key spells without names."""
STRUCTURED = frozenset({"versions", "first_entered", "marks", "promoted", "disabled_at", "soak", "forced", "waived"})
STRUCTURED |= {"pause", "hold", "halted"}
_NAMES = [field.name for field in fields(Rotation) if field.name not in IGNORED]
_FLAT = attrgetter(*[name for name in _NAMES if name not in STRUCTURED])
_STRUCTURED = attrgetter(*[name for name in _NAMES if name in STRUCTURED])


def canonical(rotation: Rotation, now: datetime) -> tuple[Any, ...]:
    """A rotation without names, counts and absolute times."""
    return (_FLAT(rotation), tuple([_plain(value, now) for value in _STRUCTURED(rotation)]))


def _plain(value: Any, now: datetime) -> Any:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict):
        return tuple(sorted([(key, _plain(one, now)) for key, one in value.items()])) if value else ()
    if isinstance(value, datetime):
        return (value - now) // SECOND
    if isinstance(value, Stamp):
        return (value.at - now) // SECOND
    if isinstance(value, Version):
        return value.state, value.key_id is None, value.compromised_at is not None
    if isinstance(value, Mark):
        return (value.at - now) // SECOND, value.grace, (value.cut_at - now) // SECOND
    if isinstance(value, Hold):
        return value.reason, value.latched
    if isinstance(value, Force):
        return value.final
    assert isinstance(value, Pause), value
    return True


def start(*, budget: int) -> State:
    """A rotation from v0 to v1 has just begun, and all is well."""
    current = Version(serial=0, state=VersionState.CURRENT, key_id="k0", fingerprint="f0")
    rotation = begun(current, 1, EPOCH, "r1")
    return State(rotation=rotation, canonical=canonical(rotation, EPOCH), budget=budget)


def begun(current: Version, incoming: int, now: datetime, name: str) -> Rotation:
    """A rotation from one version to another."""
    return begin(
        id=name,
        credential="api",
        policy=POLICY,
        targets=("t0", "t1"),
        current=current,
        incoming=incoming,
        now=now,
        by="schedule",
    )
