"""keyturn's daemon, as a test starts it: `python -m tests.chaos.lives PLAN serve --config FILE`.

This process only loads the code and watches: each life is a process forked from it, which runs `keyturn serve` whole.
Killed, it is followed by the next at once, and soon when it was asked to stop; any other end is this process's end too,
unless the plan says otherwise.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
import time
from datetime import timedelta
from functools import cache
from pathlib import Path
from types import FrameType

from tests.chaos.failpoints import Points, install

from keyturn.cli import main
from keyturn.config import plugin_types
from keyturn.runtime import claims, tick, work

LOADED_ONCE = (
    *("keyturn.api", "keyturn.app.serving", "keyturn.plugins.aws", "keyturn.stores.sql.postgres"),
    *("uvicorn.lifespan.off", "uvicorn.loops.asyncio", "uvicorn.protocols.http.h11_impl"),
)
"""What `serve` loads by itself, and would load again in each life."""
PATIENCE = 0.5
"""Seconds before the next life of one that ended by itself."""


def shorten_leases(length: timedelta) -> None:
    """As policies in seconds: what a dead replica held lies still for no longer than this."""
    claims.LEASE = length
    tick.LEASE = length  # type: ignore[attr-defined]


def note_looks(file: Path) -> None:
    """Write down when each credential is worked on and how long each tick takes."""
    on, whole = work.Work._on, tick.Runtime.tick

    def note(what: str, began: float, ruled: str = "") -> None:
        line = {"what": what, "at": began, "took": time.time() - began, "pid": os.getpid(), "ruled": ruled}
        with file.open("a") as lines:
            lines.write(json.dumps(line) + "\n")

    def worked(self: work.Work, name: str, claim: claims.Claim) -> str | None:
        began, before = time.time(), dict(self._step.looks)
        try:
            return on(self, name, claim)
        finally:
            # A copy: other threads write down their looks meanwhile.
            ruled = [
                look[0].reason
                for rotation, look in dict(self._step.looks).items()
                if rotation.startswith(f"{name}-") and before.get(rotation) is not look
            ]
            note(name, began, ", ".join(ruled))

    def ticked(self: tick.Runtime) -> None:
        began = time.time()
        try:
            whole(self)
        finally:
            note("tick", began)

    work.Work._on = worked  # type: ignore[method-assign]
    tick.Runtime.tick = ticked  # type: ignore[method-assign]


def load_once() -> None:
    """What each life would otherwise spend most of its start on."""
    for part in LOADED_ONCE:
        importlib.import_module(part)
    plugin_types.entry_points = cache(plugin_types.entry_points)  # type: ignore[attr-defined, assignment]
    for section in plugin_types.GROUPS:
        plugin_types.installed(section)
    gc.collect()
    gc.freeze()


def live_again_and_again(plan: Path, lives: Path, *, points: bool, always: bool) -> int:
    """One life after another, until one fails, or until we are told to stop."""
    child = 0
    stopping = False

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        if child:
            os.kill(child, number)

    signal.signal(signal.SIGTERM, stop)
    while not stopping:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            if points:
                install(Points(plan=plan))
            main()
        with lives.open("a") as file:
            file.write(f"{child}\n")
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        # One that was only just born may be asked to stop before it listens.
        if code not in (0, -signal.SIGKILL, -signal.SIGTERM) and not always:
            return code if code > 0 else 128 - code
        if code != -signal.SIGKILL:
            time.sleep(PATIENCE)
    return 0


def live(plan: Path, arguments: list[str]) -> int:
    """Run `keyturn` with these arguments, as the plan says."""
    load_once()
    settings = json.loads(plan.read_text())
    if settings.get("lease"):
        shorten_leases(timedelta(seconds=settings["lease"]))
    if settings.get("looks"):
        note_looks(Path(settings["looks"]))
    sys.argv[1:] = arguments
    return live_again_and_again(plan, plan.with_suffix(".lives"), points=settings["points"], always=settings["always"])


if __name__ == "__main__":
    sys.exit(live(Path(sys.argv[1]), sys.argv[2:]))
