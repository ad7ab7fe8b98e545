"""The operator on duty, who answers by name whatever stands still, and mends what others' hands have done."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from keyturn.domain import commands
from keyturn.domain.model import Rotation
from keyturn.domain.observations import AUTHORITY, Entry
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason
from keyturn.domain.secret_value import SecretValue
from keyturn.testing.fakes import LabelledPlace
from keyturn.testing.simulation.people import BY, ROUND, WHY, Change, People
from keyturn.testing.simulation.replica import Replica

if TYPE_CHECKING:
    from keyturn.testing.simulation.world import Key, World

PATIENCE = 2
"""So often the operator on duty waits once more."""
LOST = ("has not been tried yet", "no target holds")
"""What keyturn says of a version whose value nobody has any more."""


class OnDuty:
    """Looks again and again, and gives commands like everybody."""

    def __init__(self, world: World, people: People) -> None:
        self.world = world
        self.people = people
        self._tried: dict[tuple[str, Reason], int] = {}

    def look(self) -> None:
        """Answer every standstill from now on, again and again."""
        world = self.world
        world.timeline.at(world.timeline.now + ROUND, self.look)
        for shape in world.shape.credentials:
            name = shape.name
            rotation = world.store.live_of(name)
            self._mend_authority(name)
            if rotation is None:
                if any(region.touched for region in world.regions[name].values()):
                    self.people.rotate(name)
                continue
            standing = rotation.halted or rotation.hold
            if standing is None and rotation.extensions > PATIENCE:
                self.people.accept_losses(name, rotation)
                self.people.command(name, "force" if rotation.extensions < 2 * PATIENCE else "rollback")
                self.people.command(name, "abandon")
            elif rotation.pause is not None and standing is None:
                self.people.give(name, "resume", lambda _: commands.resume)
            elif standing is not None:
                self._answer(name, rotation, standing.reason, standing.detail)

    def _answer(self, name: str, rotation: Rotation, reason: Reason, detail: str) -> None:
        key = (rotation.id, reason)
        tried = self._tried[key] = self._tried.get(key, 0) + 1
        match reason:
            case Reason.TARGET_FOREIGN | Reason.TARGET_MISSING | Reason.SURVIVOR_NOT_SERVED:
                self.people.command(name, "reassert" if tried % 3 else "accept")
                if rotation.halted is not None or tried > 3 * PATIENCE:
                    self.people.give(name, *_resume_or_abandon(tried))
            case Reason.ROLLBACK_VALUE_LOST | Reason.UNPROVEN:
                self.people.accept_loss(name, rotation, detail)
            case Reason.OBSTACLE:
                for region in self.world.regions[name].values():
                    if isinstance(region.place, LabelledPlace):
                        region.place.foreign = ()
                self._remove_strangers(name)
            case Reason.AUTHORITY_ILL | Reason.FAILURES_SPREAD | Reason.AUTHORITY_CHANGED | Reason.NO_ROOM:
                if reason is Reason.NO_ROOM:
                    for one in self.world.shape.credentials:
                        self._remove_strangers(one.name)
                    if tried == 12:
                        self._revoke_unserved(name, rotation)
                if tried > 12:
                    self.people.command(name, "rollback")
                if tried > 24:
                    # Where what would come back is compromised, the way out is forward.
                    self.people.command(name, "abandon")
            case Reason.EFFECT_RETRYING:
                self.people.accept_loss(name, rotation, detail)
                self.people.give(name, *_resume_or_abandon(tried))
                if tried > PATIENCE:
                    self.people.command(name, "rollback")
            case Reason.TOO_MANY_REMINTS:
                self.people.give(name, *_resume_or_abandon(tried))
            case _:
                self.people.accept_loss(name, rotation, detail if any(said in detail for said in LOST) else "")
                self.people.give(name, "resume", lambda _: commands.resume)
                if tried > PATIENCE and rotation.phase in (Phase.MONITOR, Phase.ROLLBACK):
                    self.people.command(name, "force")
                if tried > 2 * PATIENCE:
                    self.people.command(name, "rollback")
                    self.people.command(name, "abandon")

    def _remove_strangers(self, name: str) -> None:
        """Take away the keys that somebody made by hand; those that readers get give way first."""
        served = {region.value for region in self.world.regions[name].values()}
        adopted = self.world.store.key_ids(list(self.world.keys))
        for key in self.world.keys.values():
            if key.credential != name or key.serial is not None or key.id in adopted:
                continue
            if key.value in served:
                # One after the other: whoever accepts another one meanwhile gives the first up, and so on for ever.
                if (live := self.world.store.live_of(name)) is None or live.adopting is None:
                    self.people.command(name, "accept")
                self._let_pass(name, key)
                continue
            self._revoke(key)

    def _revoke_unserved(self, name: str, rotation: Rotation) -> None:
        """Take away, at the authority, what a rotation still keeps and no reader gets: somebody has to say what may go."""
        served = {region.value for region in self.world.regions[name].values()}
        for serial in rotation.outgoing[1:]:
            key = self.world.key_of(name, serial)
            if key is not None and key.value not in served:
                key.forced = True
                self._revoke(key)

    def _revoke(self, key: Key) -> None:
        for node in self.world.authority.nodes.values():
            node.put(key.id, Entry.REVOKED, None)

    def _let_pass(self, name: str, key: Key) -> None:
        """In an emergency a key that is in the way is passed by its name."""

        def passing(at: Replica) -> Callable[[Rotation], Rotation]:
            seen = at.runtime.look(name)
            return lambda now: commands.accept(now, seen, target=AUTHORITY, found=key.id, by=BY, why=WHY)

        self.people.give(name, f"let {key.id} pass", passing)

    def _mend_authority(self, name: str) -> None:
        """Put back what another's hand took away at a verifier, where keyturn says that it is missing."""
        world = self.world
        for (verifier, key_id), key in list(world.promises.hands.items()):
            if key.credential == name and self._put_back(verifier, key):
                del world.promises.hands[verifier, key_id]
                world.promises.excuse(verifier)  # what keyturn itself has put back reaches held connections later
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


def _resume_or_abandon(tried: int) -> tuple[str, Change]:
    if tried % 2:
        return "resume", lambda _: commands.resume
    return "abandon", lambda _: partial(commands.abandon, by=BY, why=WHY)
