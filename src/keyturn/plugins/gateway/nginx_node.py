"""One nginx node whose keys stand in a table that we write: changes take effect by its reload."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from keyturn.domain.errors import Absent, Denied, Invalid, Transient
from keyturn.plugins.gateway import nginx_processes as processes
from keyturn.plugins.gateway.nginx_reload import ReloadRecord, Rules, judge
from keyturn.plugins.gateway.nginx_table import KeyTable
from keyturn.plugins.gateway.nginx_table_file import TableFile, TableIdentity, failures

_POLL = 0.005
_QUOTED = re.compile(r"\"[^\"]*(?:\"|$)|'[^']*(?:'|$)")
_KEY_LIKE = re.compile(r"kt_\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """Where one node is."""

    name: str
    table: Path
    pid_file: Path
    nginx: Path
    config: Path
    prefix: Path | None
    timeout: float
    keepalive_min_timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A node's table at one moment, and who serves by it."""

    table: KeyTable
    identity: TableIdentity
    rules: Rules


class NginxNode:
    """Changes and reads one node's key table. Safe for threads and processes: a file lock guards every change."""

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._file = TableFile(settings.table)
        self._record_path = self._file.beside(f"{settings.name}.reload")

    def __repr__(self) -> str:
        return f"NginxNode({self._settings.name!r})"

    @property
    def file(self) -> TableFile:
        return self._file

    def table(self) -> KeyTable:
        return self._file.read()[0]

    def standing(self) -> Standing:
        table, identity = self._file.read()
        return Standing(table=table, identity=identity, rules=self._judge(identity))

    def change(self, edit: Callable[[KeyTable], KeyTable]) -> None:
        """Have the node serve by the edited table: written, tested, and a reload sent.

        When the edit changes nothing, a reload is sent only if one is owed: by a crash between write and reload, or by
        a hand. It is not awaited; `standing` tells when it has reached every process. All of it is bounded by one
        timeout.
        """
        deadline = self._deadline()
        with self._file.locked(within=self._settings.timeout):
            table, identity = self._file.read()
            edited = edit(table)
            if edited != table:
                self._write(edited, deadline)
            elif self._judge(identity) not in (Rules.OWED, Rules.AMBIGUOUS):
                return
            else:
                self._test_what_stands(deadline)
            self._reload(deadline)

    def settle(self) -> None:
        """Reload, if that is what it takes to know by which table the node serves, or if a change of ours was interrupted
        before its reload: nobody else may ever send it. What a hand wrote and did not reload is left as it is."""
        deadline = self._deadline()
        with self._file.locked(within=self._settings.timeout):
            identity = self._file.identity()
            judged = self._judge(identity)
            if judged is Rules.AMBIGUOUS or (judged is Rules.OWED and self._wrote(identity)):
                self._test_what_stands(deadline)
                self._reload(deadline)

    def test_config(self, deadline: float) -> None:
        """`nginx -t`. Raises `Invalid` with nginx's reason, stripped of what the table holds."""
        settings = self._settings
        # Errors go to stderr alone: nginx quotes the offending words, and its log is no place for keys.
        command = [str(settings.nginx), "-t", "-q", "-e", "stderr", "-c", str(settings.config)]
        if settings.prefix is not None:
            command += ["-p", f"{settings.prefix}/"]
        try:
            ran = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                timeout=max(0.0, deadline - time.monotonic()),
                check=False,
            )
        except FileNotFoundError:
            raise Absent(f"{settings.nginx}: no such program; set nginx to the node's binary") from None
        except subprocess.TimeoutExpired:
            raise Transient(f"{settings.name}: nginx -t was not done within {settings.timeout:g} s") from None
        except OSError as error:
            raise Transient(f"{settings.nginx}: {error.strerror}") from None
        if ran.returncode != 0:
            raise Invalid(f"{settings.name}: nginx -t refuses the configuration: {_without_values(ran.stderr)}")

    def check(self) -> None:
        """Raises what would stop a change: a folder that cannot be written, a bad configuration, no master."""
        folder = self._file.path.parent
        if not os.access(folder, os.W_OK | os.X_OK):
            raise Denied(f"{folder}: not writable; keyturn replaces the key table there")
        self.test_config(self._deadline())
        processes.look(self._settings.pid_file)

    def _write(self, edited: KeyTable, deadline: float) -> None:
        fresh = self._file.prepare(edited)
        former = self._read_record()
        # Recorded before it happens: whoever comes after a crash finds the reload owed.
        self._record(ReloadRecord(table=fresh.identity, boot=processes.boot(), idle_at=None))
        fresh.take_place()
        try:
            self.test_config(deadline)
        except BaseException as failure:
            fresh.give_back()
            if former is not None:
                self._record(former)
            if isinstance(failure, Invalid):
                # What is refused without our line too is not refused for our line.
                self._test_what_stands(deadline)
            raise
        fresh.keep()

    def _test_what_stands(self, deadline: float) -> None:
        """Raises `Transient` where nginx refuses what it was started with or a hand has written: a name that does not
        resolve just now, too many open files. No call of ours is wrong, and it may go away."""
        try:
            self.test_config(deadline)
        except Invalid as refusal:
            raise Transient(refusal.message) from None

    def _reload(self, deadline: float) -> None:
        pid_file = self._settings.pid_file
        identity = self._file.identity()
        while (seen := processes.look(pid_file)) is not None and not seen.idle:
            if time.monotonic() >= deadline:
                raise Transient(f"{self._settings.name}: nginx has been busy for {self._settings.timeout:g} s")
            time.sleep(_POLL)
        idle_at = processes.tick()
        # So that no worker of this reload starts in a tick that might as well be before it.
        processes.wait_past(idle_at)
        processes.hang_up(pid_file)
        self._record(ReloadRecord(table=identity, boot=processes.boot(), idle_at=idle_at))

    def _deadline(self) -> float:
        return time.monotonic() + self._settings.timeout

    def _record(self, record: ReloadRecord) -> None:
        self._file.put(self._record_path, record.to_bytes())

    def _read_record(self) -> ReloadRecord | None:
        with contextlib.suppress(Absent), failures(self._record_path):
            return ReloadRecord.from_bytes(self._record_path.read_bytes())
        return None

    def _wrote(self, identity: TableIdentity) -> bool:
        record = self._read_record()
        return record is not None and record.table == identity

    def _judge(self, identity: TableIdentity) -> Rules:
        return judge(
            table=identity,
            record=self._read_record(),
            nginx=processes.look(self._settings.pid_file),
            grace=self._settings.keepalive_min_timeout + 1,
        )


def _without_values(stderr: bytes) -> str:
    """nginx's first complaint, without anything that it quotes."""
    lines = stderr.decode("utf-8", "replace").splitlines()
    reason = next((line for line in lines if "[emerg]" in line), "it gives no reason")
    reason = reason.rpartition("[emerg]")[2].partition(": ")[2] or reason
    return _KEY_LIKE.sub("…", _QUOTED.sub('"…"', reason))[:300]
