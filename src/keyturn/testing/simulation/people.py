"""Operators: those who do something at any moment, and the one on duty who answers what stands still."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from keyturn.domain import commands
from keyturn.domain.errors import KeyturnError
from keyturn.domain.model import Rotation
from keyturn.domain.observations import AUTHORITY, Entry, ServingKind
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason
from keyturn.domain.secret_value import SecretValue
from keyturn.runtime.values import copy_token
from keyturn.testing.fakes import LabelledPlace
from keyturn.testing.simulation.plan import CHAOS, WARM_UP
from keyturn.testing.simulation.replica import Replica

if TYPE_CHECKING:
    from keyturn.testing.simulation.world import Key, World

BY, WHY = "ada", "simulated"
ROUND = 25.0
"""Seconds between two looks of the operator on duty."""
PATIENCE = 2
"""So often the operator on duty waits once more."""
LOST = ("has not been tried yet", "no target holds")
"""What keyturn says of a version whose value nobody has any more."""
PAUSED = timedelta(seconds=90)


class People:
    """Everybody who gives keyturn commands, through whichever replica answers."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._turn = 0
        self._tried: dict[tuple[str, Reason], int] = {}

    def start(self, name: str) -> None:
        """Ask for a rotation whenever none is under way, and now and then when one is, until all is healed; and for one at
        least."""
        world, now = self.world, self.world.timeline.now
        if world.store.live_of(name) is None or int(now / ROUND) % 4 == 0:
            self._rotate(name)
        if now < WARM_UP + CHAOS - ROUND or world.store.latest_of(name) is None:
            world.timeline.at(now + ROUND, partial(self.start, name))

    def _rotate(self, name: str) -> None:
        self._through(lambda replica: replica.runtime.start(name, by="ada", why="simulated"), f"rotate {name}")

    def command(self, name: str, what: str) -> None:
        """One command, whatever state the rotation is in."""
        rotation = self.world.store.live_of(name)
        if rotation is None:
            if what in ("rollback", "resume"):
                self._rotate(name)
            return
        if what == "force" and rotation.phase in (Phase.INTRODUCE, Phase.OVERLAP) and not self.world.healed:
            # Whoever wants it gone asks again, until it is time: then clients may still use it, and it comes back.
            self.world.timeline.at(self.world.timeline.now + ROUND, partial(self.command, name, what))
            return
        doomed = [v for v in rotation.versions.values() if v.serial != rotation.survivor and v.key_id is not None]
        # What is compromised goes by its grace: nobody's word is asked for that.
        doomed.sort(key=lambda version: version.compromised_at is not None)
        victim = doomed[0].serial if doomed else rotation.outgoing[0]
        changes: dict[str, Callable[[Replica], Callable[[Rotation], Rotation]]] = {
            "rollback": lambda _: partial(commands.roll_back, by=BY, why=WHY),
            "pause": lambda at: partial(commands.pause, by=BY, why=WHY, now=at.clock.now(), lasting=PAUSED),
            "resume": lambda _: commands.resume,
            "force": lambda _: partial(commands.force, serial=victim, by=BY, why=WHY),
            "force final": lambda _: partial(commands.force, serial=victim, final=True, by=BY, why=WHY),
            "abandon": lambda _: partial(commands.abandon, by=BY, why=WHY),
            "accept": lambda at: self._at_hand(at, rotation, "accept"),
            "reassert": lambda at: self._at_hand(at, rotation, "reassert"),
        }
        done = self._give(name, what, changes[what])
        if done and what == "rollback":
            self.world.promises.asked_back[rotation.id] = self.world.key_of(name, rotation.outgoing[0])
        if done and what.startswith("force"):
            key = self.world.key_of(name, victim)
            if key is not None:
                key.forced = True

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

    def _give(self, name: str, what: str, change: Callable[[Replica], Callable[[Rotation], Rotation]]) -> bool:
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
        if what == "accept":
            odd.sort(key=lambda name: not self._made_by_hand(regions[name].value))
        target = (named or odd or list(rotation.targets))[0]
        found = seen.targets[target].serving.id or ""
        adoptable = what == "accept" and self._made_by_hand(regions[target].value)
        command = commands.accept if adoptable else commands.reassert
        return lambda now: command(now, seen, target=target, found=found, by=BY, why=WHY)

    def _made_by_hand(self, value: str | None) -> bool:
        key = self.world.by_value.get(value or "")
        return key is not None and key.serial is None

    # The one on duty

    def on_duty(self) -> None:
        """Answer every standstill from now on, again and again."""
        world = self.world
        world.timeline.at(world.timeline.now + ROUND, self.on_duty)
        for shape in world.shape.credentials:
            name = shape.name
            rotation = world.store.live_of(name)
            self._mend_authority(name)
            if rotation is None:
                if any(region.touched for region in world.regions[name].values()):
                    self._rotate(name)
                continue
            standing = rotation.halted or rotation.hold
            if standing is None and rotation.extensions > PATIENCE:
                self._accept_losses(name, rotation)
                self.command(name, "force" if rotation.extensions < 2 * PATIENCE else "rollback")
                self.command(name, "abandon")
            elif rotation.pause is not None and standing is None:
                self._give(name, "resume", lambda _: commands.resume)
            elif standing is not None:
                self._answer(name, rotation, standing.reason, standing.detail)

    def _answer(self, name: str, rotation: Rotation, reason: Reason, detail: str) -> None:
        key = (rotation.id, reason)
        tried = self._tried[key] = self._tried.get(key, 0) + 1
        match reason:
            case Reason.TARGET_FOREIGN | Reason.TARGET_MISSING | Reason.SURVIVOR_NOT_SERVED:
                self.command(name, "reassert" if tried % 3 else "accept")
                if rotation.halted is not None or tried > 3 * PATIENCE:
                    self._give(name, *_resume_or_abandon(tried))
            case Reason.ROLLBACK_VALUE_LOST | Reason.UNPROVEN:
                self._accept_loss(name, rotation, detail)
            case Reason.OBSTACLE:
                for region in self.world.regions[name].values():
                    if isinstance(region.place, LabelledPlace):
                        region.place.foreign = ()
                self._remove_strangers(name)
            case Reason.AUTHORITY_ILL | Reason.FAILURES_SPREAD | Reason.AUTHORITY_CHANGED | Reason.NO_ROOM:
                if tried > 12:
                    self.command(name, "rollback")
                if tried > 24:
                    # Where what would come back is compromised, the way out is forward.
                    self.command(name, "abandon")
            case Reason.EFFECT_RETRYING:
                self._accept_loss(name, rotation, detail)
                self._give(name, *_resume_or_abandon(tried))
                if tried > PATIENCE:
                    self.command(name, "rollback")
            case Reason.TOO_MANY_REMINTS:
                self._give(name, *_resume_or_abandon(tried))
            case _:
                self._accept_loss(name, rotation, detail if any(said in detail for said in LOST) else "")
                self._give(name, "resume", lambda _: commands.resume)
                if tried > PATIENCE and rotation.phase in (Phase.MONITOR, Phase.ROLLBACK):
                    self.command(name, "force")
                if tried > 2 * PATIENCE:
                    self.command(name, "rollback")
                    self.command(name, "abandon")

    def _remove_strangers(self, name: str) -> None:
        """Take away the keys that somebody made by hand; those that readers get give way first."""
        served = {region.value for region in self.world.regions[name].values()}
        adopted = self.world.store.key_ids(list(self.world.keys))
        for key in self.world.keys.values():
            if key.credential != name or key.serial is not None or key.id in adopted:
                continue
            if key.value in served:
                self.command(name, "accept")
                self._let_pass(name, key)
                continue
            for node in self.world.authority.nodes.values():
                node.put(key.id, Entry.REVOKED, None)

    def _let_pass(self, name: str, key: Key) -> None:
        """In an emergency a key that is in the way is passed by its name."""

        def passing(at: Replica) -> Callable[[Rotation], Rotation]:
            seen = at.runtime.look(name)
            return lambda now: commands.accept(now, seen, target=AUTHORITY, found=key.id, by=BY, why=WHY)

        self._give(name, f"let {key.id} pass", passing)

    def _accept_losses(self, name: str, rotation: Rotation) -> None:
        """Go on without every version whose value is not kept everywhere."""
        copies = [region.place.copies() for region in self.world.regions[name].values()]
        lost = [f"v{v}" for v in rotation.versions if not all(copy_token(rotation, v) in held for held in copies)]
        self._accept_loss(name, rotation, " ".join(lost))

    def _accept_loss(self, name: str, rotation: Rotation, detail: str) -> None:
        """Go on without the version whose value is lost, which the message names."""
        named = [serial for serial in rotation.versions if f"v{serial} " in f"{detail} "]
        for lost in named:
            self._give(
                name,
                f"accept the loss of v{lost}",
                partial(_losing, name, lost),
            )

    def _mend_authority(self, name: str) -> None:
        """Put back what another's hand took away at a verifier, where keyturn says that it is missing."""
        world = self.world
        for (verifier, key_id), key in list(world.promises.hands.items()):
            if key.credential == name and self._put_back(verifier, key):
                del world.promises.hands[verifier, key_id]
        rotation = world.store.latest_of(name)
        for verifier in world.verifier_names if rotation is not None else ():
            if rotation is not None and world.promises.said_to_differ(verifier, name):
                for serial in rotation.versions:
                    if (known := world.key_of(name, serial)) is not None:
                        self._put_back(verifier, known)

    def _put_back(self, verifier: str, key: Key) -> bool:
        """See that a verifier treats a key as keyturn has asked; False while the verifier cannot be reached."""
        world = self.world
        node, rotation = world.authority.nodes.get(verifier), world.store.latest_of(key.credential)
        if node is None or node.away:
            return False
        if world.key_of(key.credential, key.serial or 0) is not key:
            return True  # a doubled mint's, which keyturn has never asked to be there
        taken = rotation is not None and (key.serial in rotation.revoked or key.serial in rotation.disabled_at)
        wanted = Entry.DISABLED if taken else Entry.ACTIVE
        entry = node.entries().get(key.id, Entry.ABSENT)
        if key.reported is None and entry not in (wanted, Entry.REVOKED) and not world.promises.is_destroyed(key):
            world.timeline.tell(f"ada makes {key} {wanted} again at {verifier}")
            node.put(key.id, wanted, SecretValue(key.value))
            world.promises.excuse(verifier)
        return True


def _losing(name: str, serial: int, at: Replica) -> Callable[[Rotation], Rotation]:
    return partial(commands.accept_lost, seen=at.runtime.look(name), serial=serial, by=BY, why=WHY)


def _resume_or_abandon(tried: int) -> tuple[str, Callable[[Replica], Callable[[Rotation], Rotation]]]:
    if tried % 2:
        return "resume", lambda _: commands.resume
    return "abandon", lambda _: partial(commands.abandon, by=BY, why=WHY)
