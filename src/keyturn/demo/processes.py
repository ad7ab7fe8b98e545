"""Child processes as one supervised family: started, waited for, and gone when the parent is."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self, TypeVar

T = TypeVar("T")

LOOPBACK = "127.0.0.1"
# Below Linux's range for outgoing connections, whose ports would otherwise be taken from under us.
PORT_RANGE = range(12_000, 31_000)
TETHER = str(Path(__file__).with_name("tether.py"))
SOURCE_ROOT = str(Path(__file__).resolve().parents[2])
STOP_GRACE = 2.0
KILL_GRACE = 2.0
POLL = 0.02


class PartFailed(RuntimeError):  # noqa: N818  # it is what happened, as in the project's other errors
    """A part did not start, died early, or did not become ready in time."""


def lean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Only what a part needs: no credentials and no proxy settings of whoever runs us."""
    keep = ("PATH", "HOME", "TMPDIR", "LANG", "TZ")
    prefixes = ("LC_", "PYTHON", "COVERAGE_")
    env = {k: v for k, v in os.environ.items() if k in keep or k.startswith(prefixes)}
    # A part may run in another folder, and keyturn may be on sys.path without being installed.
    paths = [os.path.abspath(p) for p in env.get("PYTHONPATH", "").split(os.pathsep) if p]
    env["PYTHONPATH"] = os.pathsep.join([SOURCE_ROOT, *(p for p in paths if p != SOURCE_ROOT)])
    env["PYTHONUNBUFFERED"] = "1"
    return env | dict(extra or {})


def python_module(module: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs `module` with the interpreter that runs us."""
    return (sys.executable, "-m", module, *arguments)


class Part:
    """One process of the family, leader of a session and process group of its own."""

    def __init__(
        self, *, name: str, process: subprocess.Popen[bytes], log: Path, stop_signal: signal.Signals
    ) -> None:
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
        """Whether the leader runs; it is not reaped here, so its group's number stays ours."""
        with self._reaping:
            if self._process.returncode is not None:
                return False
            options = os.WEXITED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, self.pid, options) is None

    @property
    def exit_code(self) -> int | None:
        """The code it ended with (minus the signal's number), or None while it runs."""
        if self.alive:
            return None
        with self._reaping:
            return self._process.wait()

    def log_tail(self, lines: int = 15) -> str:
        try:
            text = self.log.read_text(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the leader alone, as an operator's `kill` would."""
        with self._reaping:
            if self._process.returncode is None:
                os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL the whole group at once and wait until it is gone."""
        self._signal_group(signal.SIGKILL)
        self.wait_gone(time.monotonic() + KILL_GRACE)

    def stop(self, grace: float = STOP_GRACE) -> None:
        """Ask to stop, and kill what is still there after the grace."""
        self.ask_to_stop()
        self.wait_exit(time.monotonic() + grace)
        self.kill()

    def ask_to_stop(self) -> None:
        self.signal(self._stop_signal)

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
        # Killed before the leader is reaped: until then nobody else can own the group's number.
        self._signal_group(signal.SIGKILL)
        with self._reaping:
            self._process.wait()
        while _group_exists(self.pid):
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL)
        return True

    def _signal_group(self, number: signal.Signals) -> None:
        with self._reaping:
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.pid, number)


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class Family:
    """Starts parts and ends them all: on exit, on an error, and when this process is killed.

    Two things hold when nobody calls `stop`: the kernel kills each child with the thread that
    forked it, and a warden process kills every registered group when our pipe to it closes.
    """

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._reserved: list[socket.socket] = []
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
    ) -> Part:
        """Start `command` with its output appended to `log`; `env` is added to a lean environment.

        A name may be started again once its former process ended, as a restarted part is.
        """
        with self._lock:
            if self._closed:
                raise PartFailed(f"{name}: the family has been stopped already")
            former = [p for p in self._parts if p.name == name]
        for part in former:
            if part.alive:
                raise PartFailed(f"{name}: runs already, as process {part.pid}")
            self._forget(part)
        log.parent.mkdir(parents=True, exist_ok=True)
        words = [str(word) for word in command]
        environment = lean_environment(env)
        process = self._forker.submit(_fork, words, log, environment, cwd).result()
        part = Part(name=name, process=process, log=log, stop_signal=stop_signal)
        self._tell_warden("+", part.pid)
        with self._lock:
            self._parts.append(part)
        return part

    def free_port(self, count: int = 1) -> int:
        """The first of `count` consecutive free loopback ports, kept from other families too.

        The claim is an abstract socket: it dies with this process and leaves no file behind.
        """
        for _ in range(500):
            first = random.choice(PORT_RANGE)  # noqa: S311  # not a secret
            claims: list[socket.socket] = []
            for port in range(first, first + count):
                claim = _claim(port)
                if claim is None:
                    break
                claims.append(claim)
            if len(claims) == count:
                with self._lock:
                    self._reserved.extend(claims)
                return first
            for claim in claims:
                claim.close()
        raise PartFailed(f"no {count} consecutive free ports on {LOOPBACK}")

    def stop(self, grace: float = STOP_GRACE) -> None:
        """End every part together: ask, wait for `grace` seconds at most, kill the rest."""
        with self._lock:
            self._closed = True
            parts = tuple(self._parts)
        for part in parts:
            part.ask_to_stop()
        deadline = time.monotonic() + grace
        for part in parts:
            part.wait_exit(deadline)
        for part in parts:
            self._forget(part)
        if self._warden.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._warden.stdin.close()
        self._warden.wait(timeout=KILL_GRACE)
        self._forker.shutdown()
        for claim in self._reserved:
            claim.close()

    def _forget(self, part: Part) -> None:
        part.kill()
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
    command: list[str], log: Path, env: dict[str, str], cwd: Path | None
) -> subprocess.Popen[bytes]:
    # A wrapper instead of preexec_fn: Python code between fork and exec can deadlock with threads.
    tie = [sys.executable, "-I", "-S", TETHER, "tie", str(os.getpid())]
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


def _claim(port: int) -> socket.socket | None:
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0keyturn-demo-port-{port}")
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((LOOPBACK, port))
    except OSError:
        claim.close()
        return None
    return claim


def wait_until(
    probe: Callable[[], T],
    *,
    within: float,
    what: str,
    part: Part | None = None,
    every: float = POLL,
) -> T:
    """Poll until `probe` returns something true, and return that.

    Fails with `part`'s last log lines when the time is up, and at once when `part` has ended.
    """
    deadline = time.monotonic() + within
    while True:
        ended = part is not None and not part.alive
        if found := probe():
            return found
        late = time.monotonic() >= deadline
        if ended or late:
            why = f"not within {within:g} s"
            tail = ""
            if part is not None:
                why = f"{part.name} ended with code {part.exit_code}" if ended else why
                tail = f"; the last lines of its log:\n{part.log_tail()}"
            raise PartFailed(f"{what}: {why}{tail}")
        time.sleep(every)


@contextlib.contextmanager
def signals_end_the_run() -> Iterator[None]:
    """SIGTERM and SIGHUP unwind like an exception, so that `with` blocks run their exits."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    former = {s: signal.signal(s, leave) for s in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
