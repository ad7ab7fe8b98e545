"""A trace for people: each step a line, with the phase, the verdict and the calls, and the world after it."""

from __future__ import annotations

from collections.abc import Iterator

from tests.explorer.daemon import look_and_decide
from tests.explorer.events import called
from tests.explorer.search import TICK, Breach, Search, step
from tests.explorer.state import FOREIGN, MISSING, State, Target, Verifier

from keyturn.domain.observations import Entry

ENTRIES = {Entry.ACTIVE: "+", Entry.DISABLED: "-", Entry.REVOKED: "x", Entry.ABSENT: "."}


def told(search: Search, breach: Breach) -> Iterator[str]:
    """The trace to a breach."""
    root, *labels = search.path(breach.at) if breach.at >= 0 else ["0"]
    state = search.roots[int(root)]
    yield breach.what
    yield f"      start, {_world(state)}"
    for number, label in enumerate([*labels, breach.label], start=1):
        if label == TICK:
            decision = look_and_decide(state)
            verdict, after = decision.verdict, decision.rotation
            calls = ", ".join(called(effect) for effect in decision.effects)
            phase = after.phase if after.phase is state.rotation.phase else f"{state.rotation.phase} → {after.phase}"
            yield f"{number:4}  tick: {phase}: {verdict.ruling} {verdict.reason} {verdict.detail}".rstrip()
            if calls:
                yield f"      intents: {calls}"
            if decision.successor is not None:
                yield f"      successor: {list(decision.successor.outgoing)} → v{decision.successor.incoming}"
        else:
            yield f"{number:4}  {label}"
        after_step = step(state, label)
        if _world(after_step) != _world(state):
            yield f"      {_world(after_step)}"
        state = after_step
    yield "      (legend: per version + accepted, - disabled, x revoked, . absent; copies in brackets)"


def _world(state: State) -> str:
    targets = " ".join(_target(target) for target in state.targets)
    verifiers = " ".join(_verifier(verifier, state) for verifier in state.verifiers)
    more = f", clients on {', '.join(f'v{held}' for held in state.holds)}" if set(state.holds) != {0} else ""
    if state.marked:
        more += f", compromised {', '.join(f'v{serial}' for serial in sorted(state.marked))}"
    return f"{targets} | {verifiers}{more}"


def _target(target: Target) -> str:
    serving = {FOREIGN: "foreign", MISSING: "nothing"}.get(target.serial, f"v{target.serial}")
    copies = ",".join(map(str, sorted(target.copies)))
    return f"{target.name}={serving}[{copies}]{'(away)' if target.away else ''}"


def _verifier(verifier: Verifier, state: State) -> str:
    table = "".join(ENTRIES[entry] for entry in verifier.table[: max(state.keys) + 1])
    return f"{verifier.name}={table}{'(away)' if verifier.away else ''}"
