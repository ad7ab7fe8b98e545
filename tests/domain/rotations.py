"""The Hypothesis rules: everything that may befall a rotation, in any order, and what must hold all the while."""

from __future__ import annotations

import sys
from contextlib import suppress
from itertools import product

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from tests.domain.findings import authority_ill, failing
from tests.domain.ground import POLICY, Fate
from tests.domain.outlook import both_accepted, dead_stay_dead, may_be_rolled_back, must_end, stands_aloud
from tests.domain.places import Client, seconds
from tests.domain.promises import passed, standing
from tests.domain.world import World

from keyturn.domain import commands
from keyturn.domain.effects import EffectKind
from keyturn.domain.errors import Refused
from keyturn.domain.observations import Obstacle
from keyturn.domain.phases import Phase

CALLS = st.sampled_from(sorted(EffectKind))
FATES = st.sampled_from([fate for fate in Fate if fate is not Fate.DONE])
INDEX = st.integers(0, 3)
PHASES = [phase for phase in Phase if not phase.is_end and phase is not Phase.ROLLBACK]
EVENTS = ["nothing", "roll back", "join", "away", "mute", "force", "return", "obstacle", "hand", "revoke"]


class Rotations(RuleBasedStateMachine):
    """Rotations of one credential, one after another, in a world where anything may happen at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(policy=POLICY)

    @initialize(
        held=st.booleans(),
        lag=st.sampled_from([0, 0, 8]),
        laggard=st.sampled_from([None, None, 10, 130]),
        phase=st.sampled_from(PHASES),
        event=st.sampled_from(EVENTS),
    )
    def clients_use_it(self, held: bool, lag: int, laggard: int | None, phase: Phase, event: str) -> None:
        """Faults begin once a rotation has come to some phase in a calm world, often with a telling one: otherwise the
        first phases would be nearly all that is seen."""
        for index in range(3):
            self.world.add_client(target=f"t{index % 2}", held=held and index == 1)
        for verifier in self.world.verifiers.values():
            verifier.lag = seconds(lag)
        self.world.advance(seconds(20))
        self.world.start()
        if laggard is not None:
            self.world.add_client(every=laggard, refresh=None)
        for _ in range(60):
            if self.world.rotation is None or self.world.rotation.phase is phase:
                break
            self.tick(5, 1)
        if event == "roll back":
            self.operator_rolls_back()
        elif event == "join":
            self.verifier_joins()
        elif event == "away":
            self.verifier_away(0, away=True)
        elif event == "mute":
            self.source_falters(0, down=True, mute=True, lag=5)
        elif event == "force":
            self.operator_forces(final=False)
        elif event == "return":
            self.world.add_client(every=70, refresh=None, holds=0)
        elif event == "obstacle":
            self.obstacle(there=True)
        elif event == "hand":
            self.secret_overwritten(0, missing=False)
            self.tick(5, 1)
            self.secret_put_back()
        elif event == "revoke":
            while self.world.rotation is not None and not self._installed(0):
                self.tick(5, 1)
            self.new_version_is_revoked(0)
        self.tick(5, 2)

    def _installed(self, index: int) -> bool:
        rotation, verifiers = self.world.rotation, list(self.world.verifiers.values())
        return rotation is None or rotation.incoming in verifiers[index].table

    # Time

    @rule(span=st.sampled_from([1, 5, 10, 20, 40]), times=st.integers(1, 4))
    def tick(self, span: int, times: int) -> None:
        for _ in range(times):
            passed(self.world, seconds(span))

    @rule(calm=st.booleans())
    def run_on(self, calm: bool) -> None:
        """Until the phase changes, or for some minutes; where it is calm, without the faults so far."""
        if calm:
            self.world.calm()
        entry = self.world.rotation.entry if self.world.rotation is not None else None
        for _ in range(40):
            self.tick(10, 1)
            if self.world.rotation is None or self.world.rotation.entry != entry:
                break

    @precondition(lambda self: self.world.rotation is None)
    @rule()
    def start(self) -> None:
        self.world.start()

    # Calls go wrong

    @rule(fates=st.lists(FATES, min_size=1, max_size=4), skip=st.integers(0, 2))
    def calls_go_wrong(self, fates: list[Fate], skip: int) -> None:
        self.world.fates = [Fate.DONE] * skip + fates

    @rule(kind=CALLS)
    def denied(self, kind: EffectKind) -> None:
        self.world.denied.add(kind)

    @precondition(lambda self: self.world.denied)
    @rule()
    def allowed(self) -> None:
        self.world.denied.clear()

    @precondition(lambda self: self.world.late)
    @rule()
    def late_calls_land(self) -> None:
        self.world.land(self.world.late.pop(0))
        standing(self.world)

    # Places go away, and come back

    @rule(index=INDEX, away=st.booleans())
    def target_away(self, index: int, away: bool) -> None:
        targets = list(self.world.targets.values())
        targets[index % len(targets)].away = away

    @rule(index=INDEX, away=st.booleans())
    def verifier_away(self, index: int, away: bool) -> None:
        verifiers = list(self.world.verifiers.values())
        if verifiers:
            self.world.set_away(verifiers[index % len(verifiers)], away)

    @precondition(lambda self: any(verifier.seen_away for verifier in self.world.verifiers.values()))
    @rule(older=st.booleans())
    def verifier_returns_stale(self, older: bool) -> None:
        """From an older backup too, in which is alive what earlier rotations destroyed."""
        for verifier in self.world.verifiers.values():
            self.world.rebuild(verifier, older=older)

    @rule(index=INDEX, unlisted=st.booleans())
    def listing_fails(self, index: int, unlisted: bool) -> None:
        """It answers whoever presents something, and nobody can ask the authority about it."""
        verifiers = list(self.world.verifiers.values())
        verifiers[index % len(verifiers)].unlisted = unlisted

    @precondition(lambda self: len(self.world.verifiers) < 3)
    @rule()
    def verifier_joins(self) -> None:
        self.world.join()

    @precondition(lambda self: len(self.world.verifiers) > 1)
    @rule(index=INDEX)
    def verifier_leaves(self, index: int) -> None:
        names = sorted(self.world.verifiers)
        del self.world.verifiers[names[index % len(names)]]

    @rule(index=INDEX, lag=st.sampled_from([0, 8, 25]))
    def rules_lag(self, index: int, lag: int) -> None:
        verifiers = list(self.world.verifiers.values())
        verifiers[index % len(verifiers)].lag = seconds(lag)

    @rule(index=INDEX, down=st.booleans(), mute=st.booleans(), lag=st.sampled_from([0, 5, 30]))
    def source_falters(self, index: int, down: bool, mute: bool, lag: int) -> None:
        sources = list(self.world.sources.values())
        source = sources[index % len(sources)]
        source.down, source.mute, source.lag = down, down and mute, seconds(lag)

    # Clients

    @precondition(lambda self: len(self.world.clients) < 7)
    @rule(
        place=st.integers(0, 1),
        every=st.sampled_from([5, 10, 30, 45]),
        refresh=st.sampled_from([None, 5, 20]),
        held=st.booleans(),
    )
    def client_boots(self, place: int, every: int, refresh: int | None, held: bool) -> None:
        self.world.add_client(target=f"t{place}", every=every, refresh=refresh, held=held)

    @precondition(lambda self: len(self.world.clients) < 7)
    @rule()
    def sleeper_boots(self) -> None:
        """A client that comes back after longer than is required of it."""
        self.world.add_client(every=130, refresh=None)

    @rule(index=INDEX, refresh=st.sampled_from([None, 20]))
    def client_fetches_otherwise(self, index: int, refresh: int | None) -> None:
        client = self._client(index)
        client.refresh = seconds(refresh) if refresh is not None else None

    @rule(index=INDEX)
    def owner_acknowledges(self, index: int) -> None:
        """The owner's word is true: all instances have moved."""
        client, rotation = self._client(index), self.world.rotation
        client.acknowledged = rotation is not None and client.holds == rotation.incoming

    @rule(index=INDEX)
    def client_dismissed(self, index: int) -> None:
        self._client(index).dismissed = True

    def _client(self, index: int) -> Client:
        clients = list(self.world.clients.values())
        return clients[index % len(clients)]

    # What the detector says, rightly or not

    @rule(control=st.booleans(), clients=st.integers(0, 3))
    def detector_accuses(self, control: bool, clients: int) -> None:
        self.world.finding = failing(control=control, clients=sorted(self.world.clients)[:clients])

    @rule()
    def detector_sees_trouble(self) -> None:
        self.world.finding = authority_ill()

    @precondition(lambda self: self.world.finding is not None)
    @rule()
    def detector_is_quiet(self) -> None:
        self.world.finding = None

    @rule(share=st.sampled_from([0.0, 0.04, 0.2]))
    def history_is_thin(self, share: float) -> None:
        self.world.unseen = share

    # Other people's hands

    @rule(index=INDEX, new=st.booleans())
    def table_loses_entry(self, index: int, new: bool) -> None:
        rotation, verifiers = self.world.rotation, list(self.world.verifiers.values())
        if rotation is not None:
            self.world.lose(verifiers[index % len(verifiers)], rotation.incoming if new else rotation.outgoing[0])

    @rule(index=INDEX)
    def new_version_is_revoked(self, index: int) -> None:
        """Before readers got it; after that there is no way back but an operator's, which the explorer looks for."""
        rotation, verifiers = self.world.rotation, list(self.world.verifiers.values())
        if rotation is not None and rotation.incoming not in rotation.served:
            self.world.revoke(verifiers[index % len(verifiers)], rotation.incoming)

    @rule()
    def tables_are_mended(self) -> None:
        self.world.mend_tables()

    @rule(index=INDEX, missing=st.booleans())
    def secret_overwritten(self, index: int, missing: bool) -> None:
        targets = list(self.world.targets.values())
        self.world.overwrite(targets[index % len(targets)], missing=missing)

    @rule()
    def secret_put_back(self) -> None:
        self.world.put_back()

    @rule(there=st.booleans())
    def obstacle(self, there: bool) -> None:
        self.world.obstacle = Obstacle(what="AWSPENDING", id="stranger", since=None) if there else None

    @rule(index=INDEX)
    def copies_stolen(self, index: int) -> None:
        targets = list(self.world.targets.values())
        self.world.rob(targets[index % len(targets)])

    # Operators

    @rule()
    def operator_rolls_back(self) -> None:
        self._command(commands.roll_back, by="ada", why="it looks wrong")

    @rule(final=st.booleans())
    def operator_forces(self, final: bool) -> None:
        rotation = self.world.rotation
        if rotation is not None:
            serial = rotation.incoming if rotation.phase is Phase.ROLLBACK else rotation.outgoing[0]
            self._command(commands.force, serial=serial, by="ada", why="it is gone", final=final)

    @rule(lasting=st.sampled_from([50, 500]))
    def operator_pauses(self, lasting: int) -> None:
        self._command(commands.pause, by="ada", why="freeze", now=self.world.now, lasting=seconds(lasting))

    @rule()
    def operator_resumes(self) -> None:
        self._command(commands.resume)

    def _command(self, change: object, **arguments: object) -> None:
        with suppress(Refused):
            self.world.command(change, **arguments)  # type: ignore[arg-type]

    # The outlook, from wherever the rules have led

    @precondition(lambda self: self.world.rotation is not None)
    @rule()
    def way_back_is_open(self) -> None:
        """P3: one decision makes the old version current and accepted again."""
        may_be_rolled_back(self.world)

    @precondition(lambda self: self.world.rotation is not None)
    @rule()
    def nobody_stays_refused(self) -> None:
        both_accepted(self.world)

    def teardown(self) -> None:
        if sys.exc_info()[0] is None:
            self.outlook()

    def outlook(self) -> None:
        """Whatever has led here, the ways on and back are open."""
        stands_aloud(self.world)
        dead_stay_dead(self.world)
        both_accepted(self.world)
        may_be_rolled_back(self.world)
        must_end(self.world)


def one_event_each() -> None:
    """Every kind of telling event, alone, in every phase, with and without lag: no chance about it."""
    for phase, event, lag in product(PHASES, EVENTS, (0, 8)):
        rotations = Rotations()
        rotations.clients_use_it(held=True, lag=lag, laggard=None, phase=phase, event=event)
        rotations.outlook()
