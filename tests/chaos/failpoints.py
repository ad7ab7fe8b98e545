"""Failpoints for keyturn's daemon.

The product has none. Here each write of the store and each outside call is wrapped from outside, and at every point
before, within and after it the plan is asked whether to die (SIGKILL) or to fall asleep (SIGSTOP) there. A point is met
once: the next life passes it and dies at the next new one, so a rotation that is killed at every point still ends.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import wraps
from pathlib import Path
from typing import Any

from hvac.adapters import RawAdapter

from keyturn.domain.effects import Effect
from keyturn.domain.model import Rotation
from keyturn.plugins.gateway import nginx_processes
from keyturn.plugins.gateway.issuer import ApiKeyIssuer
from keyturn.plugins.gateway.nginx_node import NginxNode
from keyturn.plugins.gateway.nginx_table_file import Replacement, TableFile
from keyturn.plugins.generic.webhook import WebhookNotifier
from keyturn.plugins.vault.target import VaultTarget
from keyturn.ports.records import Commit
from keyturn.runtime.execute import Execute
from keyturn.stores.sql import SqlStore
from keyturn.stores.sql.database import Database

WRITES = (
    *("register", "set_due", "set_check", "begin", "commit", "record", "bind", "add_usage", "save_detector"),
    *("enqueue", "delivered", "undelivered", "claim", "release", "resign", "add_token", "pin", "set_blind"),
    *("roll_up", "forget_slots", "forget_batches", "forget_detectors", "forget_messages", "forget_uses"),
    *("found", "dismiss", "acknowledge", "restored", "confirm"),
)
TARGET_CALLS = ("keep", "stage", "promote", "remove", "mark")
ISSUER_CALLS = ("mint", "install", "enable", "disable", "revoke")
LOOKS = ("get", "list")
LONGEST = 500
"""Characters of a point's name: a longer one holds what is new each time, and would be died at for ever."""
ROTATION = re.compile(r"[-.][0-9a-f]{12}\b")
SERIAL = re.compile(r"\bv([0-9]+)\b")
EXPECTED = re.compile(r"(/promote/.*?)/[0-9]+(?=[] :,])")


def kind_of(point: str) -> str:
    """What was under way: a write of the store, an outside call, or a step of one."""
    what, _, when = point.rpartition(": ")
    first, *others = what.split()
    return f"{others[0] if '/' in first else first}, {when}"


@dataclass
class Points:
    """Where this life is, and what becomes of it there."""

    plan: Path
    turn: threading.Lock = field(default_factory=threading.Lock)
    here: threading.local = field(default_factory=threading.local)
    standing: dict[str, Rotation] = field(default_factory=dict)
    """By credential: its rotation, for writes that do not name it."""
    reached: set[str] = field(default_factory=set)
    """This life's."""
    passed: set[str] = field(default_factory=set)
    met: set[str] = field(default_factory=set)
    """Anybody's: several daemons may share a journal, and each point is one's alone."""
    tables: threading.RLock = field(default_factory=threading.RLock)
    """Held with any key table's lock: who falls asleep before a call must not do so with a lock that another of its threads
    happened to have, since the operating system keeps that for it and nobody else can go on."""

    def meet(self, point: str) -> None:
        """Pass a point, or die or sleep at it, as the plan says now."""
        plan = json.loads(self.plan.read_text())
        if not plan["share"]:
            return
        point = self._whichever(point)
        if len(point) > LONGEST:
            raise ValueError(f"the name of a failpoint is too long to be met again: {point[:LONGEST]}")
        self._note(point, self.reached, plan)
        # The tables first: whoever has them meets points too, and would wait for the turn of one who waits for the tables.
        with self.tables, self.turn:
            if self._is_wanted(point, plan):
                line = {"point": point, "at": time.time(), "pid": os.getpid(), "signal": plan["signal"]}
                with Path(f"{plan['journal']}.met").open("a") as file:
                    file.write(json.dumps(line) + "\n")
                # To this thread: sent to the process, it would find another one first, and this one would go on a while.
                signal.pthread_kill(threading.get_ident(), signal.Signals[plan["signal"]])
            self._note(point, self.passed, plan)

    def _is_wanted(self, point: str, plan: dict[str, Any]) -> bool:
        """Whether nobody has met it yet, and somebody is to."""
        if point in self.met or not any(fnmatchcase(point, pattern) for pattern in plan["at"]):
            return False
        journal = Path(f"{plan['journal']}.met")
        lines = journal.read_text().splitlines() if journal.exists() else ()
        self.met = {json.loads(line)["point"] for line in lines}
        if point in self.met:
            return False
        drawn = random.Random(f"{plan['seed']}/{point}").random() < plan["share"]
        # Of a few points too, one of each kind.
        return drawn or kind_of(point) not in map(kind_of, self.met)

    def _whichever(self, point: str) -> str:
        """The point of any rotation: which one it is, is left to chance and to how many there were before."""
        incoming = {rotation.incoming for rotation in self.standing.values()}
        point = SERIAL.sub(lambda found: "new" if int(found[1]) in incoming else "old", ROTATION.sub("", point))
        return EXPECTED.sub(r"\1", point)

    def _note(self, point: str, noted: set[str], plan: dict[str, Any]) -> None:
        if point not in noted:
            noted.add(point)
            kind = "passed" if noted is self.passed else "reached"
            with Path(f"{plan['journal']}.{kind}").open("a") as lines:
                lines.write(f"{point}\n")

    def around(self, name: str, call: Callable[[], Any]) -> Any:
        """Make a call between two points; what it writes within knows its name."""
        former, self.here.name = getattr(self.here, "name", ""), name
        try:
            self.meet(f"{name}: before")
            result = call()
            self.meet(f"{name}: after")
        finally:
            self.here.name = former
        return result

    @property
    def name(self) -> str:
        """What this thread is about."""
        return str(getattr(self.here, "name", ""))


def wrap(owner: Any, method: str, name: Callable[..., str | None], points: Points) -> None:
    """Put a point before and after a method of a class, or a function of a module; None: not around this call."""
    inner = getattr(owner, method)

    @wraps(inner)
    def outer(*words: Any, **named: Any) -> Any:
        about = name(*words, **named)
        if about is None:
            return inner(*words, **named)
        return points.around(about, lambda: inner(*words, **named))

    setattr(owner, method, outer)


def install(points: Points) -> None:
    """Every write of the journal, every outside call, and the steps within the calls that have several."""
    for method in WRITES:
        wrap(SqlStore, method, lambda _, *words, method=method, **__: _write(points, method, words), points)
    _within_transactions(points)
    _remember_standing(points)
    _one_table_at_a_time(points)

    run = Execute.run

    def running(self: Execute, effect: Effect, *words: Any) -> Any:
        points.here.effect = effect.id
        try:
            return run(self, effect, *words)
        finally:
            points.here.effect = ""

    Execute.run = running  # type: ignore[method-assign, assignment]

    def effect() -> str:
        return str(getattr(points.here, "effect", ""))

    for method in TARGET_CALLS:
        wrap(VaultTarget, method, lambda *_, method=method, **__: f"{effect()} {method}", points)
    for method in ISSUER_CALLS:
        wrap(ApiKeyIssuer, method, lambda *_, method=method, **__: f"{effect()} {method}", points)
    wrap(WebhookNotifier, "deliver", lambda _, message, *__: f"deliver {message}", points)

    def sent(_: RawAdapter, method: str, url: str, *__: object, **___: object) -> str | None:
        path = url.removeprefix("/v1/")
        ours = effect() and method not in LOOKS and not path.startswith("auth/")
        return f"{effect()} {method} {path}" if ours else None

    # Behind the last look at the deadline: who wakes here sends what it holds.
    wrap(RawAdapter, "request", sent, points)
    wrap(NginxNode, "_record", lambda self, _: f"{effect()} record at {self!r}", points)
    wrap(Replacement, "take_place", lambda self: f"{effect()} table of {self.table.path.parent.name}", points)
    wrap(nginx_processes, "hang_up", lambda pid_file: f"{effect()} reload of {pid_file.parent.name}", points)


def _write(points: Points, method: str, words: tuple[Any, ...]) -> str:
    first = words[0] if words else None
    match method:
        case "commit" if isinstance(first, Commit):
            effects = sorted(effect.id.partition("/")[2] for effect in first.intents)
            return f"commit {_named(first.rotation)}{_urgent(first.rotation)} [{', '.join(effects)}]"
        case "begin" if isinstance(first, Rotation):
            return f"begin {_named(first)}{_urgent(first)}"
        case "record" | "register":
            return f"{method} {first}"
        case "bind":
            return f"bind {words[0]} {words[1]} v{words[3]}"
        case "claim" if isinstance(first, (list, tuple)):
            first = min(first, default="nothing")
        case "set_due" | "set_check" | "set_blind" | "pin" | "roll_up" | "forget_slots" | "forget_uses":
            pass
        case "add_token":
            first = getattr(first, "name", "")
        case _:
            # A point is met once: nothing may be in its name that is new each time.
            first = ""
    return f"{method} {first} while {', '.join(sorted(map(_named, points.standing.values()))) or 'nothing rotates'}"


def _named(rotation: Rotation) -> str:
    return f"{rotation.credential} v{rotation.incoming} {rotation.phase}"


def _urgent(rotation: Rotation) -> str:
    """An emergency's decisions are points of their own."""
    return " in an emergency" if rotation.marks else ""


def _remember_standing(points: Points) -> None:
    for method in ("commit", "live_of"):
        inner = getattr(SqlStore, method)

        def outer(*words: Any, inner: Callable[..., Any] = inner, **named: Any) -> Any:
            rotation = inner(*words, **named)
            if isinstance(rotation, Rotation):
                points.standing[rotation.credential] = rotation
            return rotation

        setattr(SqlStore, method, outer)


def _within_transactions(points: Points) -> None:
    """A point where everything is written and nothing is committed yet."""
    begun = Database.write

    @contextmanager
    def write(self: Database) -> Iterator[Any]:
        with begun(self) as connection:
            yield connection
            points.meet(f"{points.name or 'schema'}: within")

    Database.write = write  # type: ignore[method-assign]


def _one_table_at_a_time(points: Points) -> None:
    inner = TableFile.locked

    @contextmanager
    def locked(self: TableFile, *, within: float) -> Iterator[None]:
        with points.tables, inner(self, within=within):
            yield

    TableFile.locked = locked  # type: ignore[method-assign]
