"""Looks on at what replicas read from the store and write into it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keyturn.domain.model import Rotation
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason
from keyturn.ports.records import Acknowledgement, Commit, Dismissal, HistoryEntry, Lease, Outcome, Told
from keyturn.testing.simulation import at_once, ends
from keyturn.testing.simulation.replica import Replica

if TYPE_CHECKING:
    from keyturn.testing.simulation.world import World


class Watch:
    """What every replica has read last, and what is under way by what they wrote."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._read: dict[tuple[str, str], int] = {}
        """(replica, rotation) → the revision that it has read last."""
        self._live: defaultdict[str, set[str]] = defaultdict(set)
        """By credential: the rotations that were begun and have not ended, whatever the store says of them."""

    def over(self, replica: Replica) -> Mapping[str, Callable[..., object]]:
        """The store's methods whose calls are looked at."""
        world, store, promises = self.world, self.world.store, self.world.promises

        def commit(asked: Commit) -> Rotation:
            before = store.rotation(asked.rotation.id)
            after = store.commit(asked)
            read = self._read.get((replica.name, asked.rotation.id))
            if before is not None and read is not None and read != before.revision:
                promises.check(
                    [("P7", f"{replica.name} commits over what {after.credential} has become since it was read")]
                )
            ids = [one.id for one in asked.intents]
            if len(set(ids)) < len(ids):
                promises.check([("P5", f"{replica.name} commits one intent for two calls: {', '.join(ids)}")])
            world.journal_writes += 1 + len(asked.intents)
            if asked.claim is not None:
                promises.committed[replica.name, after.credential] = (after.id, after.revision, asked.claim)
            for message in asked.messages:
                promises.messages.setdefault(message.id, (message.topic, world.timeline.now))
            if not after.live:
                self._live[after.credential].discard(after.id)
            if asked.successor is not None:
                self._begun(asked.successor)
            if before is not None:
                self._moved(replica, before, after, asked)
            return after

        def begin(rotation: Rotation, entry: HistoryEntry, *, claim: Lease | None = None) -> None:
            store.begin(rotation, entry, claim=claim)
            self._begun(rotation)

        def live() -> Sequence[Rotation]:
            found = store.live()
            for rotation in found:
                self._read[replica.name, rotation.id] = rotation.revision
            return found

        def one(read: Callable[[str], Rotation | None]) -> Callable[[str], Rotation | None]:
            def reading(credential: str) -> Rotation | None:
                rotation = read(credential)
                if rotation is not None:
                    self._read[replica.name, rotation.id] = rotation.revision
                return rotation

            return reading

        def record(effect_id: str, attempt: int, outcome: Outcome) -> None:
            world.journal_writes += 1
            if world.timeline.telling:
                what = " ".join(effect_id.split("/")[2:5])
                world.timeline.tell(f"{replica.name}: {what} {outcome.state} {outcome.message}".rstrip())
            store.record(effect_id, attempt, outcome)

        def add_usage(told: Sequence[Told], **named: Any) -> Sequence[object]:
            answers = store.add_usage(told, **named)
            promises.known(replica)
            return answers

        def dismiss(dismissal: Dismissal, entry: HistoryEntry) -> None:
            store.dismiss(dismissal, entry)
            promises.dismissed[dismissal.client] = world.timeline.now

        def acknowledge(word: Acknowledgement, entry: HistoryEntry) -> None:
            store.acknowledge(word, entry)
            promises.acknowledged[word.client, word.serial] = world.timeline.now

        return {
            "acknowledge": acknowledge,
            "add_usage": add_usage,
            "begin": begin,
            "commit": commit,
            "dismiss": dismiss,
            "record": record,
            "live": live,
            "live_of": one(store.live_of),
            "latest_of": one(store.latest_of),
        }

    def _begun(self, rotation: Rotation) -> None:
        """P7: one rotation of a credential is under way at most."""
        live = self._live[rotation.credential]
        live.add(rotation.id)
        if len(live) > 1:
            both = " and ".join(sorted(live))
            self.world.promises.check([("P7", f"{both} of {rotation.credential} are under way at once")])

    def _moved(self, replica: Replica, before: Rotation, after: Rotation, asked: Commit) -> None:
        world, promises = self.world, self.world.promises
        if (noted := promises.being_reported.get(after.credential)) is not None:
            found = {serial: world.key_of(after.credential, serial) for serial in after.marks}
            # Also of one that was reported before: a second report may cut it off earlier.
            sooner = [
                v for v, mark in after.marks.items() if v not in before.marks or mark.cut_at < before.marks[v].cut_at
            ]
            noted([serial for serial in sooner if found[serial] is not None])
        for serial in after.forced:
            if (key := world.key_of(after.credential, serial)) is not None:
                key.forced = True
        if (
            after.credential in promises.next_is_bad
            and (key := world.key_of(after.credential, after.incoming)) is not None
        ):
            world.spoil(key, promises.next_is_bad.pop(after.credential))
        if after.hold is None:
            promises.differing -= {(verifier, after.credential) for verifier in world.verifier_names}
        elif after.hold.reason is Reason.AUTHORITY_CHANGED:
            named = [verifier for verifier in world.verifier_names if verifier in after.hold.detail]
            promises.differing |= {(verifier, after.credential) for verifier in named}
        if before.hold is not None and before.hold.reason is Reason.AUTHORITY_CHANGED:
            for verifier in world.verifier_names:
                if verifier in before.hold.detail:
                    promises.excuse(verifier)
        if world.timeline.telling:
            self._tell(replica, after, asked)
        if before.phase is not after.phase:
            world.edges[before.phase, after.phase] += 1
            if after.phase in (Phase.COMPLETED, Phase.ROLLED_BACK):
                promises.check(ends.dead(promises, after))
            if promises.strict(replica):
                promises.check(at_once.moved(promises, replica, before, after))

    def _tell(self, replica: Replica, after: Rotation, asked: Commit) -> None:
        tell, name = self.world.timeline.tell, f"{replica.name}: {after.credential}"
        for line in asked.history:
            if line.kind in ("transition", "hold", "halt", "released", "cut", "deadline"):
                tell(f"{name} {line.kind} {line.phase}: {line.reason} {line.detail}".rstrip())
        for one in asked.intents:
            place = one.target or ", ".join(one.verifiers)
            tell(f"{name} means to {one.kind} v{one.serial} {place}".rstrip())
        if asked.successor is not None:
            outgoing = ", ".join(f"v{serial}" for serial in asked.successor.outgoing)
            tell(f"{name} is taken over: {outgoing} → v{asked.successor.incoming}")
