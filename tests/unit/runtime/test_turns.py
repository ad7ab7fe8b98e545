"""A command's work on a credential, beside the tick under way."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any, cast

from tests.unit.runtime.replicas import Watched
from tests.unit.runtime.rig import NAME, Rig

from keyturn.domain.phases import Phase
from keyturn.runtime.contained import STUCK

A_WHILE = 0.3
"""So long a second piece of work would have to come to its end, if nothing kept it."""


def test_one_piece_of_work_on_a_credential_follows_another() -> None:
    """A command comes while a tick's call is on its way. The call's intent is open, and whoever looked at it now would take
    it for one that a crash has left, and make it again: the command's work begins when the tick's has ended."""
    rig = Rig()
    rig.warm_up()
    wired = rig.registry.credential(NAME)
    besides: list[threading.Thread] = []
    calls: list[str] = []

    def before(call: str) -> None:
        calls.append(call)
        if call == "stage" and not besides:
            beside = threading.Thread(target=lambda: rig.runtime.work_on(NAME))
            besides.append(beside)
            beside.start()
            beside.join(A_WHILE)
            assert beside.is_alive()

    targets = {name: cast(Any, Watched(target, before)) for name, target in wired.targets.items()}
    rig.registry = replace(rig.registry, credentials={NAME: replace(wired, targets=targets)})
    rig.restart()
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.OVERLAP)
    (beside,) = besides
    beside.join()
    assert calls.count("stage") == len(targets)


def test_work_on_one_credential_leaves_alone_what_nobody_has_confirmed() -> None:
    """What a backup remembers waits for a person, also when a command has come."""
    rig = Rig()
    rig.warm_up()
    rotation = rig.runtime.start(NAME, by="ada", why="test")
    rig.store.restored(rig.clock.now())
    rig.runtime.work_on(NAME)
    assert rig.store.live_of(NAME) == rotation


def test_commands_before_the_first_pass_find_what_is_in_care() -> None:
    """A restart in the middle of a rotation, and several commands before its first pass: none of them takes the credential
    for a new one with copies of a lost store beside it, and nobody is told so."""
    rig = Rig()
    rig.warm_up()
    rig.runtime.start(NAME, by="ada", why="test")
    rig.second()
    rig.restart()
    for _ in range(STUCK):
        rig.runtime.work_on(NAME)
    assert rig.runtime.trouble(NAME) is None
    rig.second()
    assert "credential.stuck" not in [heard["topic"] for heard in rig.notifier.payloads]
