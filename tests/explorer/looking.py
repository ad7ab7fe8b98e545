"""What a tick sees of a state; whatever cannot be reached is unknown."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

from tests.domain.findings import authority_ill, failing
from tests.explorer.state import EPOCH, FOREIGN, ILL, MISSING, SECOND, State, Target, Verifier

from keyturn.domain.evidence import Finding
from keyturn.domain.observations import (
    Acceptance,
    ClientSeen,
    Entry,
    Observations,
    Obstacle,
    Serving,
    ServingKind,
    SourceKind,
    SourceSeen,
    TargetSeen,
    UsageSeen,
    VerifierSeen,
)

KINDS = {FOREIGN: ServingKind.FOREIGN, MISSING: ServingKind.MISSING}
TREATED = {Entry.ACTIVE: Acceptance.ACCEPTED, Entry.DISABLED: Acceptance.DISABLED}
STRANGER = Obstacle(what="AWSPENDING", id="stranger", since=None)
FAILING, TROUBLE = failing(control=True), authority_ill()


def observe(state: State) -> Observations:
    """The observations of one tick."""
    versions = state.rotation.versions
    minted = tuple([serial for serial, version in versions.items() if version.key_id is not None])
    asked = tuple([serial for serial in minted if readable(state, serial)])
    copies = frozenset().union(*[target.copies for target in state.targets if not target.away])
    unknown = [serial for serial in versions if serial not in minted and serial in copies]
    return Observations(
        targets={target.name: _look(target, state.obstacle) for target in state.targets},
        verifiers={verifier.name: _ask(verifier, minted, asked) for verifier in state.verifiers},
        usage=_usage(state),
        effects=state.journal,
        late=state.uncertain if state.rotation.live else state.uncertain | state.doubt,
        found={serial: (f"k{serial}", f"f{serial}") for serial in unknown},
        room=room(state),
    )


def readable(state: State, serial: int) -> bool:
    """Whether a version's value can be had from some target."""
    return any(not t.away and (serial in t.copies or t.serial == serial) for t in state.targets)


def room(state: State) -> int | None:
    """How many more keys the authority takes."""
    if state.capacity is None:
        return None
    tables = [verifier.table for verifier in state.verifiers]
    taken = [s for s in state.keys if any(table[s] in (Entry.ACTIVE, Entry.DISABLED) for table in tables)]
    return max(0, state.capacity - len(taken))


@lru_cache(maxsize=20_000)
def _look(target: Target, obstacle: bool) -> TargetSeen:
    if target.away:
        return TargetSeen(serving=Serving(kind=ServingKind.UNKNOWN), copies=None)
    kind = KINDS.get(target.serial, ServingKind.OURS)
    serial = target.serial if kind is ServingKind.OURS else None
    return TargetSeen(
        serving=Serving(kind=kind, serial=serial, id=target.id),
        copies=target.copies,
        obstacles=(STRANGER,) if obstacle and target.name == "t0" else (),
        marked=target.marks,
    )


@lru_cache(maxsize=20_000)
def _ask(verifier: Verifier, minted: tuple[int, ...], asked: tuple[int, ...]) -> VerifierSeen:
    if verifier.away:
        return VerifierSeen(acceptance=dict.fromkeys(asked, Acceptance.UNREACHABLE))
    return VerifierSeen(
        acceptance={serial: TREATED.get(verifier.table[serial], Acceptance.REFUSED) for serial in asked},
        entries={serial: verifier.table[serial] for serial in minted},
    )


def _usage(state: State) -> UsageSeen:
    tables = tuple([None if verifier.away else verifier.table for verifier in state.verifiers])
    found = {ILL: TROUBLE, state.rotation.incoming: FAILING}.get(state.accused) if state.accused is not None else None
    return _uses(state.now, state.holds, state.marked, tables, state.mute, found)


Tables = tuple[tuple[Entry, ...] | None, ...]


@lru_cache(maxsize=20_000)
def _uses(
    now: datetime, holds: tuple[int, ...], marked: frozenset[int], tables: Tables, mute: bool, found: Finding | None
) -> UsageSeen:
    """Two clients use what they hold all the time, and an attacker every compromised version. All of it is known, up to
    well after this tick: no silence is ever too short for want of time alone."""
    mark = now + 10 * SECOND
    source = SourceSeen(kind=SourceKind.AUTHENTICATION, watermark=None if mute else mark, sees_failures=True)
    clients = {}
    users = [*[(f"c{index}", frozenset({held})) for index, held in enumerate(holds)], ("thief", marked)]
    for name, used in users:
        if not used or mute:
            continue
        refused = {s: mark for s in used if not all(table is None or table[s] is Entry.ACTIVE for table in tables)}
        accepted = {s: mark for s in used if any(table is not None and table[s] is Entry.ACTIVE for table in tables)}
        clients[name] = ClientSeen(
            last_use=dict.fromkeys(used, mark),
            last_success={s: mark - SECOND if s in refused else mark for s in accepted},
            last_refusal=refused,
            required_silence=SECOND,
        )
    return UsageSeen(sources={"gateway": source}, since=EPOCH, clients=clients, finding=found)
