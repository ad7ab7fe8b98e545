"""The simulator sees what it is there for: a product that is broken on purpose does not get through."""

from __future__ import annotations

import random

import pytest

from keyturn.testing.simulation.faults import FAULTS
from keyturn.testing.simulation.plan import plan
from keyturn.testing.simulation.quiet import quiet
from keyturn.testing.simulation.run import simulate
from keyturn.testing.simulation.sabotages import SABOTAGES

RUNS = 500
"""With only the faults that show it; with all of them two thousand runs are enough."""
SHOWN_BY = {
    "skip-lease-check": "replica-pause",
    "zombie-writes": "replica-pause,operator",
    "skip-claims": "replica-pause",
    "ignore-orphans": "lost-response,crash,duplicate-delivery",
    "tell-of-no-orphan": "duplicate-delivery",
    "restore-the-new": "operator",
    "skip-revision-check": "replica-pause,operator",
    "drop-outbox-row": "partition,lost-request",
    "forget-late-calls": "duplicate-delivery",
    "promote-without-compare": "replica-pause,duplicate-delivery,operator",
    "ignore-refused-use": "operator",
    "no-soak": "partition",
    "ignore-laggards": "partition,bad-new-key",
    "ignore-rollback": "operator",
    "no-drain": "operator",
    "disable-before-promote-old": "operator",
    "retreat-enables-nothing": "operator,partition,authority-outage",
    "re-enable-compromised": "compromise",
    "never-cut-compromised": "compromise",
    "mark-nothing-beside": "compromise",
    "forget-versions-at-takeover": "compromise,operator",
    "revoke-without-proof": "authority-outage",
    "unknown-as-zero": "partition",
    "retire-without-watermark": "partition",
    "dwell-without-watermark": "partition",
    "ignore-mute-source": "partition",
    "silence-cut-short": "partition",
    "ignore-holes": "partition",
    "no-deadlines": "hand-edit,operator,partition",
    "page-nobody": "hand-edit,operator",
    "keep-no-way-back": "operator",
}
"""The others show under any."""


@pytest.mark.long
@pytest.mark.parametrize("name", SABOTAGES)
def test_sabotage_is_seen(name: str) -> None:
    """A promise breaks, and the product is whole again afterwards."""
    seed = random.SystemRandom().randrange(2**32)
    faults = SHOWN_BY[name].split(",") if name in SHOWN_BY else list(FAULTS)
    with quiet():
        with SABOTAGES[name]():
            broken = next((run for run in range(RUNS) if simulate(plan(seed, run, faults)).violation is not None), None)
        assert broken is not None, f"seed {seed}: {RUNS} runs under {', '.join(faults)} show nothing"
        healed = simulate(plan(seed, broken, faults))
        assert healed.violation is None, f"seed {seed}, run {broken}: {healed.violation}"
