"""The usage source `postgres-logins` on a real PostgreSQL, held to its port."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import ClassVar

import psycopg
import pytest
from psycopg import sql
from tests.integration.postgres.relay import Relay
from tests.integration.postgres_server import PostgresServer, remove, start_postgres

from keyturn.demo.loopback import LOOPBACK
from keyturn.demo.processes import Family
from keyturn.demo.waiting import wait_until
from keyturn.domain.errors import ConfigError, Denied
from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.postgres import logins, postgres_logins
from keyturn.plugins.postgres.generations import comment
from keyturn.plugins.postgres.logins import Logins
from keyturn.ports.plugin import Surroundings
from keyturn.ports.usage import UsageReport, UsageSource
from keyturn.testing.usage import KEY, UsageHarness, UsageSourceConformance

PASSWORD = "a password that nobody sees"
WATCH = "keyturn_watch"
OURS = "127.0.0.99"
LOGGING = {
    "logging_collector": "on",
    "log_destination": "jsonlog",
    "log_directory": "log",
    "log_filename": "server.log",
    "log_connections": "on",
    "log_disconnections": "on",
    "log_timezone": "UTC",
}
NUMBERS = count(1)
Seen = tuple[str | None, str, bool, bool, int]


@pytest.fixture(scope="module")
def logged(family: Family) -> Iterator[PostgresServer]:
    """A server that logs logins in JSON, with a user that may watch."""
    server = start_postgres(family)
    with server.admin() as connection:
        for setting, value in LOGGING.items():
            connection.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(setting), sql.Literal(value)))
        connection.execute(f"CREATE ROLE {WATCH} LOGIN PASSWORD '{PASSWORD}' IN ROLE pg_read_all_stats")
    with (server.folder / "data" / "pg_hba.conf").open("a") as rules:
        rules.write("host all all 127.0.0.0/8 scram-sha-256\n")
    server.part.stop()
    server.start()
    yield server
    remove(server)


class LoginHarness(UsageHarness):
    """A role of its own; the back door logs in from the clients' addresses."""

    clients = ("client-1", "client-2")
    addresses: ClassVar = {"client-1": "127.0.0.11", "client-2": "127.0.0.12"}

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.user = f"app_{next(NUMBERS)}"
        self._relays: dict[str, Relay] = {}
        with server.admin() as connection:
            statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
            connection.execute(statement.format(sql.Identifier(self.user), sql.Literal(PASSWORD)))
        self.began(1, self.now() - timedelta(hours=1))

    def close(self) -> None:
        """No later test is told of this role."""
        self.execute(sql.SQL("COMMENT ON ROLE {} IS NULL").format(sql.Identifier(self.user)))
        for relay in self._relays.values():
            relay.close()

    @property
    def log(self) -> Path:
        return self.server.folder / "data" / "log" / "server.json"

    def began(self, generation: int, since: datetime, **more: datetime) -> None:
        """Write when generations began beside the role, as whoever changes its password does."""
        text = comment({generation: since, **{int(number): at for number, at in more.items()}})
        self.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(self.user), sql.Literal(text)))

    def execute(self, statement: sql.Composed) -> None:
        with self.server.admin() as connection:
            connection.execute(statement)

    def source(self, **options: object) -> Logins:
        given: dict[str, object] = {
            "conninfo": f"host={LOOPBACK} port={self.server.port} dbname=postgres user={WATCH}",
            "password": "env:WATCH",
            "files": [str(self.log)],
            "clients": {address: name for name, address in self.addresses.items()},
            "ours": [OURS],
            # Longer than any test: a session that is open over a bucket's end is another use.
            "resolution": "24h",
            "lag": "1s",
        }
        return postgres_logins("db", given | options, Surroundings(clock=NoClock(), resolve=self.resolve))

    def resolve(self, reference: str) -> SecretValue:
        if reference != "env:WATCH":
            raise ConfigError(f"{reference}: not set")
        return SecretValue(PASSWORD)

    def login(
        self, *, address: str = LOOPBACK, password: str = PASSWORD, name: str = "", replication: bool = False
    ) -> psycopg.Connection[object]:
        if address not in self._relays:
            self._relays[address] = Relay(self.server.port, address)
        return psycopg.connect(
            host=LOOPBACK,
            port=self._relays[address].port,
            user=self.user,
            password=password,
            dbname="postgres",
            application_name=name,
            replication="database" if replication else None,
        )

    def present(self, key_id: str, client: str, *, success: bool) -> datetime:
        address = self.addresses[client]
        if success:
            self.login(address=address).close()
        else:
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                self.login(address=address, password="wrong")
        return self.now()

    def now(self) -> datetime:
        return datetime.now(UTC)

    def key_of(self, report: UsageReport) -> str | None:
        return KEY if report.key_id == f"{self.user}.1" else report.key_id

    def present_ours(self, key_id: str) -> None:
        self.login(address=OURS).close()
        with suppress(psycopg.OperationalError):
            self.login(address=OURS, password="wrong")

    def break_down(self) -> UsageSource:
        return self.source(files=[str(self.log.with_name("nowhere.json"))])

    def secret_value(self) -> str:
        return PASSWORD

    def told(self, **options: object) -> list[Seen]:
        """Everything up to now of this role: key, client, matched, outcome, how often."""
        reading, cursor, found, end = (
            self.source(**options),
            None,
            dict[tuple[str | None, str, bool, bool], int](),
            self.now(),
        )

        def past() -> bool:
            nonlocal cursor
            batch = reading.poll(cursor, now=self.now())
            cursor = batch.cursor
            for report in batch.reports:
                if str(report.key_id).startswith(f"{self.user}."):
                    for success, times in ((True, report.successes), (False, report.failures)):
                        key = report.key_id, report.client, report.matched, success
                        found[key] = found.get(key, 0) + times
            return batch.watermark is not None and batch.watermark > end

        wait_until(past, within=15, what="the watermark has passed")
        return sorted((*key, times) for key, times in found.items() if times)


class NoClock:
    def now(self) -> datetime:
        raise AssertionError("the source is told the time")

    def monotonic(self) -> float:
        raise AssertionError("the source is told the time")


@pytest.fixture
def harness(logged: PostgresServer) -> Iterator[LoginHarness]:
    """A role of the test's own."""
    made = LoginHarness(logged)
    yield made
    made.close()


class TestLogins(UsageSourceConformance):
    @pytest.fixture
    def harness(self, harness: LoginHarness) -> UsageHarness:
        return harness


def test_logins_are_told_as_they_were(harness: LoginHarness) -> None:
    """Who got in held the password; who did not is known by its address, or not at all."""
    harness.present(KEY, "client-1", success=True)
    harness.present(KEY, "client-2", success=False)
    harness.login().close()
    with pytest.raises(psycopg.OperationalError):
        harness.login(password="wrong")
    key = f"{harness.user}.1"
    assert harness.told() == [
        (key, "client-1", True, True, 1),
        (key, "client-2", False, False, 1),
        (key, "unmapped", False, False, 1),
        (key, "unmapped", True, True, 1),
    ]


def test_role_that_may_not_log_in_is_refused_to_a_real_holder(harness: LoginHarness) -> None:
    """So a version is disabled: its password still fits, which proves who holds it, and the refusal is no success."""
    harness.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(harness.user)))
    with pytest.raises(psycopg.OperationalError, match="not permitted"):
        harness.login(address=harness.addresses["client-1"])
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        harness.login(address=harness.addresses["client-1"], password="wrong")
    key = f"{harness.user}.1"
    assert harness.told() == [(key, "client-1", False, False, 1), (key, "client-1", True, False, 1)]


def test_session_stays_with_the_generation_that_let_it_in(harness: LoginHarness) -> None:
    """A new password for the user's next turn makes another version of it; who connected before goes on as the old one."""
    with closing(harness.login(address=harness.addresses["client-1"])):
        wait_until(lambda: harness.told() != [], within=10, what="the login is told")
        harness.began(3, harness.now(), **{"1": harness.now() - timedelta(hours=1)})
        harness.present(KEY, "client-2", success=True)
        told = harness.told(resolution="100ms")
    uses = {(key, client) for key, client, _, success, _ in told if success}
    assert uses == {(f"{harness.user}.1", "client-1"), (f"{harness.user}.3", "client-2")}
    # A use in each bucket for as long as it was open, not at its login alone.
    assert next(times for key, client, _, _, times in told if client == "client-1") > 3


def test_replication_is_a_use_as_any_other(harness: LoginHarness) -> None:
    """A login for replication is told, and so is its session for as long as it is open."""
    harness.execute(sql.SQL("ALTER ROLE {} REPLICATION").format(sql.Identifier(harness.user)))
    harness.login(address=harness.addresses["client-1"], name="a standby", replication=True).close()
    key = f"{harness.user}.1"
    assert harness.told() == [(key, "client-1", True, True, 1)]
    assert harness.told(client="application_name") == [(key, "a standby", True, True, 1)]
    with closing(harness.login(address=harness.addresses["client-2"], replication=True)):
        open_now = harness.told(resolution="100ms")
    assert next(times for _, client, _, _, times in open_now if client == "client-2") > 3


def test_open_session_is_a_use_in_each_bucket_once(harness: LoginHarness) -> None:
    """However often the source looks; after the session's end there is none."""
    reading, cursor, buckets = harness.source(resolution="200ms"), None, list[datetime]()

    def look() -> int:
        nonlocal cursor
        batch = reading.poll(cursor, now=harness.now())
        cursor = batch.cursor
        for report in batch.reports:
            if report.key_id == f"{harness.user}.1":
                buckets.extend([report.start] * report.successes)
        return len(set(buckets))

    look()
    with closing(harness.login(address=harness.addresses["client-1"])):
        began = harness.now()
        wait_until(lambda: look() >= 8, within=15, what="eight buckets")
    ended = harness.now()
    wait_until(lambda: look() and harness.now() > ended + timedelta(seconds=2), within=10, what="the watermark")
    assert len(buckets) == len(set(buckets))
    assert min(buckets) <= began
    assert max(buckets) <= ended
    gaps = {after - before for before, after in zip(sorted(buckets), sorted(buckets)[1:], strict=False)}
    assert gaps == {timedelta(milliseconds=200)}


def test_standing_watermark_gathers_no_logins_without_end(
    harness: LoginHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a log that is not there holds the watermark, the first of those let in are told of to make room for the last."""
    monkeypatch.setattr(logins, "_MOST_LET_IN", 2)
    for _ in range(6):
        harness.present(KEY, "client-1", success=True)
    reading = harness.source(files=[str(harness.log), str(harness.log.with_name("nowhere.json"))])
    told, cursor = 0, None

    def four_told() -> bool:
        nonlocal told, cursor
        batch = reading.poll(cursor, now=harness.now())
        cursor = batch.cursor
        assert batch.watermark is None
        told += sum(one.successes for one in batch.reports if str(one.key_id).startswith(f"{harness.user}."))
        return told >= 4

    wait_until(four_told, within=15, what="four of six logins are told")
    assert len(json.loads(cursor or "")["let_in"]) <= 2


def test_client_is_named_by_what_it_calls_itself(harness: LoginHarness) -> None:
    """Where configured so, and only for who got in: a refused login proves no name."""
    harness.login(name="checkout api").close()
    with pytest.raises(psycopg.OperationalError):
        harness.login(password="wrong", name="checkout api")
    key = f"{harness.user}.1"
    assert harness.told(client="application_name") == [
        (key, "checkout api", True, True, 1),
        (key, "unmapped", False, False, 1),
    ]


def test_other_roles_are_nobodys(harness: LoginHarness) -> None:
    """A role without generations is not ours, nor is one whose comment another hand has changed."""
    harness.present(KEY, "client-1", success=True)
    for text in ("a remark", "keyturn generations: nonsense"):
        harness.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(harness.user), sql.Literal(text)))
        assert harness.told() == []


def test_log_is_followed_through_its_rotation(harness: LoginHarness) -> None:
    """Renamed and reopened on command, the log gives each login once."""
    harness.present(KEY, "client-1", success=True)
    harness.log.rename(f"{harness.log}.1")
    with harness.server.admin() as connection:
        connection.execute("SELECT pg_rotate_logfile()")
    wait_until(harness.log.exists, within=10, what="PostgreSQL reopened its log")
    harness.present(KEY, "client-1", success=True)
    assert harness.told() == [(f"{harness.user}.1", "client-1", True, True, 2)]
    Path(f"{harness.log}.1").unlink()


def test_what_may_not_be_seen_is_not_taken_for_nobody(harness: LoginHarness) -> None:
    """Without the right to see others' sessions there is no report at all; `check` names the mend."""
    harness.execute(
        sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
            sql.Identifier(f"blind_{harness.user}"), sql.Literal(PASSWORD)
        )
    )
    conninfo = f"host={LOOPBACK} port={harness.server.port} dbname=postgres user=blind_{harness.user}"
    blind = harness.source(conninfo=conninfo)
    with pytest.raises(Denied, match="GRANT pg_read_all_stats"):
        blind.poll(None, now=harness.now())
    assert any("GRANT pg_read_all_stats" in line for line in blind.check())


def test_check_names_what_is_not_logged(harness: LoginHarness) -> None:
    """With the settings of this test all is well; one that hides uses is named with its mend."""
    assert harness.source().check() == []
    with harness.server.admin() as connection:
        for setting, value in (("log_disconnections", "off"), ("log_timezone", "Europe/Berlin")):
            connection.execute(f"ALTER SYSTEM SET {setting} = '{value}'")
        connection.execute("SELECT pg_reload_conf()")
        try:
            wait_until(lambda: len(harness.source().check()) == 2, within=10, what="the settings are taken")
            disconnections, zone = harness.source().check()
        finally:
            connection.execute("ALTER SYSTEM SET log_disconnections = on")
            connection.execute("ALTER SYSTEM SET log_timezone = 'UTC'")
            connection.execute("SELECT pg_reload_conf()")
    assert disconnections == "db: log_disconnections is 'off': set it to 'on', or uses are not seen"
    assert zone == "db: log_timezone is 'Europe/Berlin': set it to 'UTC', or no line can be read"
    wait_until(lambda: harness.source().check() == [], within=10, what="the settings are taken back")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"conninfo": "host=db password=hunter2"}, "holds a password"),
        ({"conninfo": "what is this"}, "write it as"),
        ({"clients": {"10.0.0.0/33": "x"}}, "clients"),
    ],
)
def test_wrong_options_are_named(harness: LoginHarness, options: dict[str, object], said: str) -> None:
    """With the key, the mend, and no password."""
    with pytest.raises(ConfigError, match=said) as caught:
        harness.source(**options)
    assert "hunter2" not in str(caught.value)
