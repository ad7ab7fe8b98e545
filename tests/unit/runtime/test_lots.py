"""A replica that has much to do leaves some of it to others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

from tests.unit.runtime.replicas import Watched
from tests.unit.runtime.rig import KEY, NAME, Rig

from keyturn.runtime.registry import Registry, WiredCredential
from keyturn.runtime.tick import Runtime
from keyturn.testing.fakes import InlineExecutor

MANY = 100


def runtime(rig: Rig, many: Sequence[WiredCredential], owner: str, before: Callable[[str], None]) -> Runtime:
    """A replica with many credentials, none of them known yet; told before each call to a target."""

    def watched(wired: WiredCredential) -> WiredCredential:
        targets = {name: cast(Any, Watched(target, before)) for name, target in wired.targets.items()}
        return replace(wired, targets=targets)

    return Runtime(
        store=rig.store,
        registry=Registry(credentials={one.name: watched(one) for one in many}, sources={}, notifiers={}),
        clock=rig.clock,
        executor=InlineExecutor(),
        fingerprint_key=KEY,
        owner=owner,
        met=rig.meet,
    )


def test_what_waits_behind_a_lot_is_free_for_other_replicas() -> None:
    """While a replica works on the first of many credentials, another takes the last of them; each is worked on once, and
    none is left."""
    rig = Rig()
    many = [rig.another(f"app-{n}") for n in range(MANY)]
    read: dict[str, int] = {"a": 0, "b": 0}

    def by_b(call: str) -> None:
        read["b"] += call == "read"

    b = runtime(rig, many, "b", by_b)

    def by_a(call: str) -> None:
        read["a"] += call == "read"
        if read["a"] == 1 and not read["b"]:
            b.tick()

    a = runtime(rig, many, "a", by_a)
    a.tick()

    targets = len(rig.registry.credential(NAME).targets)
    assert read["b"] >= MANY // 4 * targets
    assert read["a"] + read["b"] == MANY * targets
    assert {f"app-{n}" for n in range(MANY)} <= set(rig.store.credentials())
