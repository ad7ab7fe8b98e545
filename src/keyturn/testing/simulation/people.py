"""Operators, who do something at any moment through whichever replica answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from keyturn.domain import commands
from keyturn.domain.errors import KeyturnError
from keyturn.domain.model import Rotation
from keyturn.domain.observations import ServingKind
from keyturn.domain.phases import Phase
from keyturn.runtime.acknowledge import acknowledge
from keyturn.runtime.dismiss import dismiss
from keyturn.runtime.values import copy_token
from keyturn.testing.simulation.plan import CHAOS, WARM_UP
from keyturn.testing.simulation.replica import Replica

if TYPE_CHECKING:
    from keyturn.testing.simulation.world import World

BY, WHY = "ada", "simulated"
ROUND = 25.0
"""Seconds until somebody looks again, and asks again."""
PAUSED = timedelta(seconds=90)

Change = Callable[[Replica], Callable[[Rotation], Rotation]]
"""What a command makes of a rotation, by the look of the replica that is asked."""


class People:
    """Everybody who gives keyturn commands, through whichever replica answers."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._turn = 0

    def start(self, name: str) -> None:
        """Ask for a rotation whenever none is under way, and now and then when one is, until all is healed; and for one at
        least."""
        world, now = self.world, self.world.timeline.now
        if world.store.live_of(name) is None or int(now / ROUND) % 4 == 0:
            self.rotate(name)
        if now < WARM_UP + CHAOS - ROUND or world.store.latest_of(name) is None:
            world.timeline.at(now + ROUND, partial(self.start, name))

    def rotate(self, name: str) -> None:
        """Ask for a rotation."""
        self._through(lambda replica: replica.runtime.start(name, by=BY, why=WHY), f"rotate {name}")

    def command(self, name: str, what: str) -> None:
        """One command, whatever state the rotation is in."""
        rotation = self.world.store.live_of(name)
        if rotation is None:
            if what in ("rollback", "resume"):
                self.rotate(name)
            return
        if what == "force" and rotation.phase in (Phase.INTRODUCE, Phase.OVERLAP) and not self.world.healed:
            # Whoever wants it gone asks again, until it is time: then clients may still use it, and it comes back.
            self.world.timeline.at(self.world.timeline.now + ROUND, partial(self.command, name, what))
            return
        if what == "accept losses":
            self.accept_losses(name, rotation)
            return
        doomed = [v for v in rotation.versions.values() if v.serial != rotation.survivor and v.key_id is not None]
        # What is compromised goes by its grace: nobody's word is asked for that.
        doomed.sort(key=lambda version: version.compromised_at is not None)
        victim = doomed[0].serial if doomed else rotation.outgoing[0]
        changes: dict[str, Change] = {
            "rollback": lambda _: partial(commands.roll_back, by=BY, why=WHY),
            "pause": lambda at: partial(commands.pause, by=BY, why=WHY, now=at.clock.now(), lasting=PAUSED),
            "resume": lambda _: commands.resume,
            "force": lambda _: partial(commands.force, serial=victim, by=BY, why=WHY),
            "force final": lambda _: partial(commands.force, serial=victim, final=True, by=BY, why=WHY),
            "abandon": lambda _: partial(commands.abandon, by=BY, why=WHY),
            "accept": lambda at: self._at_hand(at, rotation, "accept"),
            "reassert": lambda at: self._at_hand(at, rotation, "reassert"),
        }
        done = self.give(name, what, changes[what])
        if done and what == "rollback":
            self.world.promises.asked_back[rotation.id] = self.world.key_of(name, rotation.outgoing[0])
        if done and what.startswith("force"):
            key = self.world.key_of(name, victim)
            if key is not None:
                key.forced = True

    def vouch(self, name: str, client: str | None, what: str) -> None:
        """Say that a client is gone, or has moved, or that every client is known."""

        def dismissing(replica: Replica) -> None:
            now = replica.clock.now()
            dismiss(replica.store, replica.registry, name, client or "", by=BY, why=WHY, now=now, dry_run=False)

        def acknowledging(replica: Replica) -> None:
            now = replica.clock.now()
            acknowledge(
                replica.store, replica.registry, name, client, serial=None, by=BY, why=WHY, now=now, dry_run=False
            )

        self._through(dismissing if what == "dismiss" else acknowledging, f"{what} {name} {client or ''}".rstrip())

    def report(self, name: str, which: str, how: str) -> None:
        """Somebody says that a version is compromised, or that two are."""
        if which == "both":
            self.report(name, "old", how)
            which = "new"
        world = self.world
        rotation = world.store.live_of(name)
        serial = None
        if rotation is not None:
            serial = rotation.outgoing[0] if which == "old" else rotation.incoming
        grace = timedelta(0) if how == "without grace" else None
        now = world.timeline.now

        def noted(serials: Sequence[int]) -> None:
            for marked in serials:
                key = world.key_of(name, marked)
                if key is not None:
                    key.reported = now if key.reported is None else key.reported
                    cap = world.promises.policy(name).grace_cap.total_seconds()
                    key.cut = min(key.cut, now if how == "cut now" else now + cap)

        def say(replica: Replica) -> None:
            after = replica.runtime.emergency(
                name, serial=serial, by=BY, why=WHY, grace=grace, cut_now=how == "cut now"
            )
            noted(sorted(after.marks))

        # A replica may die or sleep before it answers, and have put it on record all the same.
        world.promises.being_reported[name] = noted
        if not self._through(say, f"emergency {name} v{serial or 'current'} {how}"):
            after = world.store.live_of(name)
            known = rotation.marks if rotation is not None else {}
            noted(sorted(after.marks.keys() - known.keys()) if after is not None else [])

    def give(self, name: str, what: str, change: Change) -> bool:
        """One command to whatever rotation is live then; False when it was refused or nobody answers."""

        def through(replica: Replica) -> None:
            replica.runtime.command(name, change(replica), by="ada", what=f"{what}: simulated")

        return self._through(through, f"{what} {name}")

    def _through(self, call: Callable[[Replica], object], what: str) -> bool:
        """Give a command through a replica that is up; False when it was refused or nobody answers."""
        able = [replica for replica in self.world.replicas if replica.up]
        if not able:
            return False
        self._turn += 1
        replica = able[self._turn % len(able)]
        done = False

        def asked() -> None:
            nonlocal done
            try:
                call(replica)
            except KeyturnError as error:
                self.world.timeline.tell(f"ada asks {replica.name}: {what}: {error}")
                return
            done = True
            self.world.timeline.tell(f"ada asks {replica.name}: {what}")

        replica.within(asked)
        return done

    def _at_hand(self, at: Replica, rotation: Rotation, what: str) -> Callable[[Rotation], Rotation]:
        """Answer the first target whose readers get something that is not as it should be: overwrite it, or take it over,
        where it is a key at all."""
        seen = at.runtime.look(rotation.credential)
        standing = rotation.halted or rotation.hold
        named = [
            name for name in rotation.targets if standing is not None and name in standing.detail.split(" serves ")[0]
        ]
        odd = [
            name
            for name in rotation.targets
            if (serving := seen.targets[name].serving).kind in (ServingKind.FOREIGN, ServingKind.MISSING)
            or (serving.kind is ServingKind.OURS and serving.serial != rotation.survivor)
        ]
        regions = self.world.regions[rotation.credential]

        def adoptable(name: str) -> bool:
            # One that was adopted before is keyturn's own by now.
            foreign = seen.targets[name].serving.kind is ServingKind.FOREIGN
            return what == "accept" and foreign and self._made_by_hand(regions[name].value)

        odd.sort(key=lambda name: not adoptable(name))
        target = (named or odd or list(rotation.targets))[0]
        found = seen.targets[target].serving.id or ""
        command = commands.accept if adoptable(target) else commands.reassert
        return lambda now: command(now, seen, target=target, found=found, by=BY, why=WHY)

    def _made_by_hand(self, value: str | None) -> bool:
        key = self.world.by_value.get(value or "")
        return key is not None and key.serial is None

    def accept_losses(self, name: str, rotation: Rotation) -> None:
        """Go on without every version whose value is not kept everywhere."""
        copies = [region.place.copies() for region in self.world.regions[name].values()]
        lost = [f"v{v}" for v in rotation.versions if not all(copy_token(rotation, v) in held for held in copies)]
        self.accept_loss(name, rotation, " ".join(lost))

    def accept_loss(self, name: str, rotation: Rotation, detail: str) -> None:
        """Go on without the version whose value is lost, which the message names."""
        named = [serial for serial in rotation.versions if f"v{serial} " in f"{detail} "]
        for lost in named:
            self.give(
                name,
                f"accept the loss of v{lost}",
                partial(_losing, name, lost),
            )


def _losing(name: str, serial: int, at: Replica) -> Callable[[Rotation], Rotation]:
    return partial(commands.accept_lost, seen=at.runtime.look(name), serial=serial, by=BY, why=WHY)
