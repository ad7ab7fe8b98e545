"""Child processes as one supervised family: started, waited for, and gone when the parent is."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from keyturn.demo.loopback import PortClaims
from keyturn.demo.waiting import POLL, PartFailed

TETHER = str(Path(__file__).with_name("tether.py"))
SOURCE_ROOT = str(Path(__file__).resolve().parents[2])
STOP_GRACE = 2.0
KILL_GRACE = 2.0


def lean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Only what a part needs: no credentials and no proxy settings of whoever runs us."""
    keep = ("PATH", "HOME", "TMPDIR", "LANG", "TZ")
    prefixes = ("LC_", "PYTHON", "COVERAGE_")
    env = {k: v for k, v in os.environ.items() if k in keep or k.startswith(prefixes)}
    # A part may run in another folder, and keyturn may be on sys.path without being installed.
    paths = [str(Path(p).resolve()) for p in env.get("PYTHONPATH", "").split(os.pathsep) if p]
    env["PYTHONPATH"] = os.pathsep.join([SOURCE_ROOT, *(p for p in paths if p != SOURCE_ROOT)])
    env["PYTHONUNBUFFERED"] = "1"
    return env | dict(extra or {})


def python_module(module: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs `module` with the interpreter that runs us."""
    return (sys.executable, "-m", module, *arguments)


class Part:
    """One process of the family, leader of a session and process group of its own."""

    def __init__(self, *, name: str, process: subprocess.Popen[bytes], log: Path, stop_signal: signal.Signals) -> None:
        self.name = name
        self.log = log
        self._process = process
        self._stop_signal = stop_signal
        self._reaping = threading.Lock()

    def __repr__(self) -> str:
        return f"Part({self.name!r}, pid={self.pid}, alive={self.alive})"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self.exit_code is None

    @property
    def exit_code(self) -> int | None:
        """The code it ended with (minus the signal's number), or None while it runs.

        The leader is not reaped here: as long as it is not, nobody else can get its group's number.
        """
        with self._reaping:
            if self._process.returncode is not None:
                return self._process.returncode
            ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def log_tail(self, lines: int = 15) -> str:
        try:
            text = self.log.read_text(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the leader alone, as an operator's `kill` would."""
        with self._reaping:
            if self._process.returncode is None:
                os.kill(self.pid, number)

    def kill_group(self) -> None:
        """SIGKILL everything in the group, without waiting."""
        with self._reaping:
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)

    def kill(self) -> None:
        """SIGKILL the whole group at once and wait until it is gone."""
        self.kill_group()
        self.wait_gone(time.monotonic() + KILL_GRACE)

    def stop(self, grace: float = STOP_GRACE) -> None:
        """Ask to stop, and kill what is still there after the grace."""
        self.ask_to_stop()
        self.wait_exit(time.monotonic() + grace)
        self.kill()

    def ask_to_stop(self) -> None:
        self.send(self._stop_signal)

    def wait_exit(self, deadline: float) -> bool:
        """Wait for the leader's end until the monotonic `deadline`; tells whether it came."""
        while self.alive:
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL)
        return True

    def wait_gone(self, deadline: float) -> bool:
        """Wait for the leader and everything in its group."""
        if not self.wait_exit(deadline):
            return False
        self.kill_group()
        with self._reaping:
            self._process.wait()
        while _group_lives(self.pid):
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL)
        return True


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # What is left may be dead already and only wait for an init that is slow to reap.
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, member_of = stat.read_text().rpartition(")")[2].split()[:3]
            if int(member_of) == group and state not in "ZX":
                return True
    return False


class Family:
    """Starts parts and ends them all: on exit, on an error, and when this process is killed.

    Two things hold when nobody calls `stop`: the kernel kills each child with the thread that
    forked it, and a warden process kills every registered group when our pipe to it closes.
    """

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._ports = PortClaims()
        self._lock = threading.Lock()
        self._closed = False
        # PR_SET_PDEATHSIG fires when the forking *thread* ends, so one thread forks for everyone
        # and lives as long as the family.
        self._forker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="forker")
        self._warden: subprocess.Popen[bytes] = self._forker.submit(_start_warden).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def parts(self) -> tuple[Part, ...]:
        with self._lock:
            return tuple(self._parts)

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        user: int | None = None,
    ) -> Part:
        """Start `command` with its output appended to `log`; `env` is added to a lean environment. `user`: the user and
        group that it runs as, when we are root and it must not be.

        A name may be started again once its former process ended, as a restarted part is.
        """
        for former in self.parts:
            if former.name == name:
                if former.alive:
                    raise PartFailed(f"{name}: runs already, as process {former.pid}")
                self._forget(former, time.monotonic() + KILL_GRACE)
        log.parent.mkdir(parents=True, exist_ok=True)
        words = [str(word) for word in command]
        environment = lean_environment(env)

        def fork() -> Part:
            # Forked and registered in one go on the forker's thread, where no Ctrl-C can split it.
            if self._closed:
                raise PartFailed(f"{name}: the family has been stopped already")
            process = _fork(words, log, environment, cwd, user)
            part = Part(name=name, process=process, log=log, stop_signal=stop_signal)
            with self._lock:
                self._parts.append(part)
            self._tell_warden("+", part.pid)
            return part

        if self._closed:
            raise PartFailed(f"{name}: the family has been stopped already")
        return self._forker.submit(fork).result()

    def free_port(self, count: int = 1) -> int:
        """The first of `count` consecutive loopback ports that are free, ours until `stop`."""
        return self._ports.claim(count)

    def stop(self, grace: float = STOP_GRACE) -> None:
        """End every part together: ask, wait for `grace` seconds at most, kill the rest."""
        self._closed = True
        with contextlib.suppress(RuntimeError):
            # A part that is being forked right now is registered after this.
            self._forker.submit(lambda: None).result()
        parts = self.parts
        for part in parts:
            part.ask_to_stop()
        deadline = time.monotonic() + grace
        for part in parts:
            part.wait_exit(deadline)
        for part in parts:
            part.kill_group()
        deadline = time.monotonic() + KILL_GRACE
        for part in parts:
            self._forget(part, deadline)
        if self._warden.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._warden.stdin.close()
        try:
            self._warden.wait(timeout=KILL_GRACE)
        except subprocess.TimeoutExpired:
            self._warden.kill()
            self._warden.wait()
        # Last: the end of the thread that forked them kills what is left of the parts.
        self._forker.shutdown()
        self._ports.release()

    def _forget(self, part: Part, deadline: float) -> None:
        part.kill_group()
        if part.wait_gone(deadline):
            # Otherwise the warden has another go at it.
            with contextlib.suppress(PartFailed):
                self._tell_warden("-", part.pid)
        with self._lock, contextlib.suppress(ValueError):
            self._parts.remove(part)

    def _tell_warden(self, sign: str, group: int) -> None:
        try:
            with self._lock:
                if self._warden.stdin is None or self._warden.stdin.closed:
                    return
                self._warden.stdin.write(f"{sign}{group}\n".encode())
                self._warden.stdin.flush()
        except BrokenPipeError:
            raise PartFailed("the process that watches over the parts is gone") from None


def _start_warden() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", TETHER, "watch"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={},
        start_new_session=True,
    )


def _fork(
    command: list[str], log: Path, env: dict[str, str], cwd: Path | None, user: int | None
) -> subprocess.Popen[bytes]:
    # A wrapper instead of preexec_fn: Python code between fork and exec can deadlock with threads.
    tie = [sys.executable, "-I", "-S", TETHER, "tie", str(os.getpid()), "" if user is None else str(user)]
    with log.open("ab") as output:
        return subprocess.Popen(
            [*tie, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
