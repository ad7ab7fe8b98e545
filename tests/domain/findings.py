"""What a detector may say."""

from __future__ import annotations

from collections.abc import Sequence

from keyturn.domain.evidence import Culprit, Finding


def failing(*, control: bool, clients: Sequence[str] = ("c0",)) -> Finding:
    """The new version fails, for these clients."""
    culprits = tuple(Culprit(client=name, successes=1, failures=9, share=1 / len(clients)) for name in clients)
    return Finding(
        verdict="roll_back",
        e_value=1000.0,
        culprits=culprits,
        control=control,
        baseline_rate=0.001,
        old_successes=100,
        old_failures=0,
        new_successes=1,
        new_failures=9,
        since=0.0,
        until=600.0,
    )


def authority_ill() -> Finding:
    """Old and new fail alike."""
    return Finding(
        verdict="authority_ill",
        e_value=1000.0,
        culprits=(),
        control=True,
        baseline_rate=0.001,
        old_successes=1,
        old_failures=9,
        new_successes=1,
        new_failures=9,
        since=0.0,
        until=600.0,
    )
