"""What /proc shows of an nginx: its master, whether that is busy, and its workers with their start times."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from keyturn.domain.errors import Denied, Invalid, Transient
from keyturn.plugins.gateway.nginx_table_file import failures

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_MOST = 1 << 16
_HANGUP = 1 << (signal.SIGHUP - 1)
_MASTER = b"nginx: master process"
_NO_SERVERS = (b"nginx: cache manager", b"nginx: cache loader")
_STATUS = re.compile(r"^(State|SigPnd|ShdPnd|SigBlk|voluntary_ctxt_switches):\s*(\w+)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process beyond doubt: ids are used again, an id with its start is not."""

    pid: int
    started: int
    """Clock ticks since boot, rounded down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nginx:
    """One nginx at one moment."""

    master: Process
    idle: bool
    """The master sleeps, and no reload is under way or waiting."""
    workers: tuple[Process, ...]
    """All that may serve, those on their way out too."""


def boot() -> str:
    """Which boot of the machine this is; ticks of another say nothing."""
    with contextlib.suppress(OSError):
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    return ""


def tick() -> int:
    """Now, in ticks since boot, rounded down as the kernel rounds start times."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS)


def tick_of(modified_ns: int) -> int:
    """A file's time of change in ticks since boot, as the wall clock has it now."""
    return int((modified_ns / 1e9 - time.time() + time.clock_gettime(time.CLOCK_BOOTTIME)) * _TICKS)


def seconds(ticks: int) -> float:
    return ticks / _TICKS


def wait_past(moment: int) -> None:
    """Until what starts now has a later tick than `moment`, also by a clock that is read a little early."""
    while tick() < moment + 2:
        time.sleep(1 / _TICKS / 2)


def read_pid(pid_file: Path) -> int:
    """The master's id. Raises `Transient` when nginx does not seem to run."""
    if not pid_file.exists():
        with failures(pid_file):
            pid_file.parent.stat()
        raise Transient(f"{pid_file}: no such file; is nginx running?")
    with failures(pid_file):
        text = pid_file.read_text(errors="replace").strip()
    if not text.isdecimal() or int(text) < 2:
        raise Transient(f"{pid_file}: holds no process id")
    return int(text)


def look(pid_file: Path) -> Nginx | None:
    """The nginx of a pid file; None when /proc does not show it as the master process that it should be."""
    master = _master(read_pid(pid_file))
    if master is None:
        return None
    masters = {master.pid}
    # While a binary is upgraded, the old master still has workers of its own.
    upgraded = pid_file.with_name(f"{pid_file.name}.oldbin")
    if upgraded.exists() and (old := _master(read_pid(upgraded))) is not None:
        masters.add(old.pid)
    asleep = _asleep(master.pid)
    # A master that sleeps all the while neither forks nor reaps, so that what /proc lists at once is whole.
    workers = None if asleep is None or len(masters) > 1 else _listed(master.pid)
    idle = asleep is not None and _asleep(master.pid) == asleep
    return Nginx(master=master, idle=idle, workers=workers if idle and workers is not None else _children(masters))


def hang_up(pid_file: Path) -> None:
    """Have nginx reload: SIGHUP to its master, and to nothing else that may have the id by now."""
    pid = read_pid(pid_file)
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        raise Transient(f"{pid_file}: no process {pid}; is nginx running?") from None
    try:
        # Looked at between opening and sending, so that both mean the same process.
        shown = _command(pid)
        if shown is not None and not shown.startswith(_MASTER):
            raise Invalid(f"{pid_file}: process {pid} is not an nginx master; correct pid_file")
        signal.pidfd_send_signal(descriptor, signal.SIGHUP)
    except ProcessLookupError:
        raise Transient(f"{pid_file}: nginx has just ended") from None
    except PermissionError:
        raise Denied(f"{pid_file}: not allowed to signal process {pid}; run keyturn as nginx's user") from None
    finally:
        os.close(descriptor)


def _command(pid: int) -> bytes | None:
    """A process's title; None when /proc does not show it."""
    return _shown(pid, "cmdline")


def _stat(pid: int) -> tuple[int, int, str] | None:
    """Parent, start and state."""
    text = _shown(pid, "stat")
    if text is None:
        return None
    state, parent, *fields = text[text.rindex(b")") + 2 :].split()
    return int(parent), int(fields[17]), state.decode()


def _shown(pid: int, name: str) -> bytes | None:
    # As the operating system has it: sometimes every process of the machine is looked at.
    try:
        descriptor = os.open(f"{_PROC}/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(descriptor, _MOST)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _master(pid: int) -> Process | None:
    found = _stat(pid)
    command = _command(pid)
    if found is None or command is None or not command.startswith(_MASTER):
        return None
    return Process(pid=pid, started=found[1])


def _listed(master: int) -> tuple[Process, ...] | None:
    """The workers, by /proc's own list; None where the kernel has none. It may leave out some of a master that is awake."""
    listed = _shown(master, f"task/{master}/children")
    return None if listed is None else _workers(map(int, listed.split()), {master})


def _children(masters: set[int]) -> tuple[Process, ...]:
    """The workers, found among all processes of the machine."""
    return _workers((int(entry.name) for entry in os.scandir(_PROC) if entry.name.isdecimal()), masters)


def _workers(pids: Iterable[int], masters: set[int]) -> tuple[Process, ...]:
    children = []
    for pid in pids:
        found = _stat(pid)
        if found is None or found[0] not in masters or found[2] in "ZX":
            continue
        # Whatever else a master has forked counts as a worker: it may be one that has no title yet.
        if not (_command(pid) or b"").startswith(_NO_SERVERS):
            children.append(Process(pid=pid, started=found[1]))
    return tuple(sorted(children, key=lambda child: (child.started, child.pid)))


def _asleep(pid: int) -> int | None:
    """How often the master has gone to sleep, when it waits for signals in `sigsuspend` now; else None.

    nginx keeps SIGHUP blocked all the time but there, reading its configuration included, so the mask tells. Two looks
    with the same count mean that it slept from one to the other; so the mask is that of its sleep, and a SIGHUP sent
    before cannot be on its way unseen.
    """
    shown = dict(_STATUS.findall((_shown(pid, "status") or b"").decode()))
    if shown.get("State") != "S":
        return None
    if (int(shown["SigBlk"], 16) | int(shown["SigPnd"], 16) | int(shown["ShdPnd"], 16)) & _HANGUP:
        return None
    return int(shown["voluntary_ctxt_switches"])
