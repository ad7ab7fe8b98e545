"""The two small programs that tie a family of processes to its parent; run by path, never imported.

They start once per part, hence the standard library alone and no package import (`python -I -S`).
"""

import contextlib
import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def tie(parent: int, user: str, command: list[str]) -> None:
    """Become `command`, as the user and group of that number if one is given, and be killed by the kernel when the thread
    that started us ends."""
    if user:
        # First: the kernel forgets whom to kill us with when we become another.
        os.setgroups([])
        os.setgid(int(user))
        os.setuid(int(user))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        # The parent died before the call above: nobody is left who would ever stop us.
        sys.exit(1)
    # Python ignores these two, and what is ignored stays ignored across exec.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    os.execvp(command[0], command)  # noqa: S606  # no shell is meant


def watch() -> None:
    """Kill every process group still registered on standard input when that pipe closes.

    PR_SET_PDEATHSIG reaches children only: nginx's workers outlive a master that was killed.
    The pipe's other end is held by the parent alone, so it closes however the parent dies.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    if sys.argv[1] == "tie":
        tie(int(sys.argv[2]), sys.argv[3], sys.argv[4:])
    else:
        watch()
