"""Breadth first over every state that can be reached, so that the first trace to a breach is a shortest one."""

from __future__ import annotations

import gc
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

from tests.explorer import duties, promises, sequence
from tests.explorer.daemon import commit, look_and_decide, send
from tests.explorer.events import adverse
from tests.explorer.moves import Cause, Move
from tests.explorer.state import State
from tests.explorer.ways import benign, last_resorts

from keyturn.domain.phases import Phase

NOWHERE = -1
STUCK = "P10: no way forward to an end, not by an operator either"


@dataclass(slots=True)
class Breach:
    """One way in which a promise was broken, and where it was first seen."""

    what: str
    at: int
    """The state in which the last step is taken."""
    label: str
    """That step."""


@dataclass(slots=True)
class Search:
    """What was explored so far."""

    roots: list[State]
    seconds: float
    first: bool = False
    """Whether the first breach is enough."""
    index: dict[object, int] = field(default_factory=dict)
    parents: array[int] = field(default_factory=lambda: array("q"))
    labels: list[str] = field(default_factory=list)
    depths: array[int] = field(default_factory=lambda: array("q"))
    backward: list[list[int]] = field(default_factory=list)
    """By state: the states from which a step that is not adverse leads there."""
    ends: set[int] = field(default_factory=set)
    breaches: dict[str, Breach] = field(default_factory=dict)
    broken: set[int] = field(default_factory=set)
    queue: deque[tuple[int, State]] = field(default_factory=deque)
    ways: Callable[[State], Iterable[Move]] = benign
    began: float = field(default_factory=time.monotonic)

    @property
    def elapsed(self) -> float:
        """Seconds since the search began."""
        return time.monotonic() - self.began

    @property
    def complete(self) -> bool:
        """Whether everything that can be reached was explored."""
        return not self.queue

    def run(self) -> None:
        """Explore until everything is, or the time is over; then see whence no end can be reached."""
        gc.disable()  # millions of small tuples without a cycle, which it would look through again and again
        try:
            self._explore()
        finally:
            gc.enable()

    def _explore(self) -> None:
        for root in self.roots:
            self._reach(root, NOWHERE, "start", benign_step=False)
        self._drain()
        while self.complete and (stuck := self.stuck()):
            # Only now an operator's last resorts: anywhere else they would hide nothing, and cost most of the time.
            before = len(self.labels)
            for at in stuck:
                self._try_last_resorts(at)
            self._drain()
            if len(self.labels) == before:
                break
        if self.complete:
            for at in self.stuck():
                found = self.state(at)
                self._breach(f"{STUCK}: {_where(found)}", self.parents[at], self.labels[at], broken=at)

    def _drain(self) -> None:
        while self.queue and self.elapsed < self.seconds and not (self.first and self.breaches):
            at, state = self.queue.popleft()
            for move in steps(state):
                self._follow(at, state, move)

    def _follow(self, at: int, state: State, move: Move) -> None:
        if move.cause is Cause.DAEMON and move.label == TICK:
            decision = look_and_decide(state)
            judges = (promises.judged, duties.left_undone, sequence.in_order)
            found = [what for judge in judges for what in judge(state, decision)]
            for what in found:
                self._breach(what, at, move.label)
            if found:
                return
            after = settle(commit(state, decision))
            reached = self._reach(after, at, move.label)
            if reached == at or (after.pending and self.index.get(send(after).key) == at):
                for what in duties.at_rest(state, decision):
                    self._breach(what, at, move.label)
        else:
            self._reach(move.take(), at, move.label, benign_step=move.cause is not Cause.ADVERSE)

    def _reach(self, state: State, at: int, label: str, *, benign_step: bool = True) -> int:
        key = state.key
        found = self.index.get(key)
        if found is None:
            found = self.index[key] = len(self.labels)
            self.parents.append(at)
            self.labels.append(label)
            self.depths.append(self.depths[at] + 1 if at >= 0 else 0)
            self.backward.append([])
            bad = list(promises.breaches(state))
            for what in bad:
                self._breach(what, at, label, broken=found)
            if not state.rotation.live or state.horizon:
                self.ends.add(found)
            if not bad:
                self.queue.append((found, state))
        if benign_step and at >= 0 and found != at:
            self.backward[found].append(at)
        return found

    def _breach(self, what: str, at: int, label: str, broken: int = NOWHERE) -> None:
        self.breaches.setdefault(what, Breach(what=what, at=at, label=label))
        self.broken.add(broken if broken >= 0 else at)

    def stuck(self) -> list[int]:
        """States from which no end can be reached; what was not explored, or is broken anyway, counts as an end."""
        good = bytearray(len(self.labels))
        todo = [*self.ends, *(at for at, _ in self.queue), *self.broken]
        for at in todo:
            good[at] = 1
        while todo:
            for before in self.backward[todo.pop()]:
                if not good[before]:
                    good[before] = 1
                    todo.append(before)
        return [at for at in range(len(self.labels)) if not good[at]]

    def _try_last_resorts(self, at: int) -> None:
        state = self.state(at)
        if not state.pending:
            for move in last_resorts(state):
                self._follow(at, state, move)

    def path(self, at: int) -> list[str]:
        """The labels from a root to a state; the first names the root."""
        labels: list[str] = []
        while self.parents[at] != NOWHERE:
            labels.append(self.labels[at])
            at = self.parents[at]
        return [str(at), *reversed(labels)]

    def state(self, at: int) -> State:
        """A state again, by its path."""
        root, *labels = self.path(at)
        state = self.roots[int(root)]
        for label in labels:
            state = step(state, label)
        return state


TICK = "tick"


def steps(state: State) -> Iterator[Move]:
    """Every step that may be taken now."""
    others = list(benign(state))
    if not state.pending and not state.horizon:
        yield Move(TICK, Cause.DAEMON, partial(_tick, state))
        if not state.budget and not state.late and any(move.cause is Cause.WORLD for move in others):
            yield Move("a tick decides", Cause.DAEMON, partial(_decide_only, state))
    yield from others
    yield from adverse(state)


def _tick(state: State) -> State:
    return settle(commit(state, look_and_decide(state)))


def _decide_only(state: State) -> State:
    """For what may come between intent and outcome."""
    return commit(state, look_and_decide(state))


def settle(state: State) -> State:
    """Where nothing can come between intent and outcome any more, they are one step."""
    return send(state) if state.pending and not state.budget and not state.late else state


def step(state: State, label: str) -> State:
    """The state after the step of this name."""
    found = next((move for move in (*steps(state), *last_resorts(state)) if move.label == label), None)
    assert found is not None, f"no step {label!r} from here"
    return found.take()


def _where(state: State) -> str:
    rotation = state.rotation
    standing = rotation.halted or rotation.hold
    reason = f", {standing.reason}" if standing is not None else ""
    return f"{rotation.phase}{reason}" if rotation.phase is not Phase.SUPERSEDED else "superseded"
