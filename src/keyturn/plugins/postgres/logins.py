"""The usage source `postgres-logins`: who logs in, who is refused, and who stays connected.

The log tells of logins, refusals and ends of sessions; the server tells of the sessions that are open. An open session is a
use in each bucket: it may go on with what a version let it in for. A session that is let in counts a moment later: a role
that may not log in (how a version is disabled) is refused only after its password was found right, and that refusal proves
that the client holds the version.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from keyturn.domain.errors import ConfigError, Failure, Transient
from keyturn.domain.observations import UNMAPPED, SourceKind
from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.logs import LogTail, Networks, TailCursor, milliseconds, moment
from keyturn.plugins.options import read_options
from keyturn.plugins.postgres.activity import Activity, Server
from keyturn.plugins.postgres.generations import generation_at, key_id
from keyturn.plugins.postgres.log_lines import Kind, LoginLine, read_line
from keyturn.plugins.postgres.options import ClientBy, LoginsOptions
from keyturn.ports.plugin import Surroundings
from keyturn.ports.usage import UsageBatch, UsageReport

_MILLISECOND = timedelta(milliseconds=1)
_LONGEST_NAME = 200
_UNSEEN = ", or uses are not seen"
WANTED: Mapping[str, tuple[str, re.Pattern[str], str]] = {
    "log_destination": ("jsonlog", re.compile(r".*\bjsonlog\b.*"), _UNSEEN),
    "logging_collector": ("on", re.compile(r"on"), _UNSEEN),
    "log_connections": ("on", re.compile(r"on|all|.*\bauthorization\b.*"), _UNSEEN),
    "log_disconnections": ("on", re.compile(r"on"), _UNSEEN),
    "log_timezone": ("UTC", re.compile(r"(Etc/)?UTC|GMT"), ", or no line can be read"),
    "lc_messages": ("C", re.compile(r"C(\..*)?|POSIX|en_.*|"), ", or no line can be read"),
}
"""What a server must log, by setting: the value to give it, those that do, and what is lost otherwise."""
_LONGEST_STAY = timedelta(days=7) // _MILLISECOND
"""What a look tells of one session at most: after a longer time without looking, its newest part."""


_MOST_LET_IN = 10_000
"""So many that were let in wait to be known not refused: while a lost log holds the watermark, more would gather."""


class Logins:
    """Reads one server's log beside what it says of open sessions."""

    kind = SourceKind.AUTHENTICATION
    sees_failures = True

    def __init__(self, name: str, options: Mapping[str, object], surroundings: Surroundings) -> None:
        self.name = name
        self._options = read_options(LoginsOptions, options, where=name)
        self.resolution = self._options.resolution
        self.lag = self._options.lag
        self._resolve = surroundings.resolve
        self._server = Server(name, self._options.conninfo, timeout=self._options.timeout)
        self._clients = Networks(self._options.clients)
        self._ours = Networks(dict.fromkeys(self._options.ours, "ours"))
        self._tail = LogTail(
            self._options.files,
            read_line=read_line,
            lag=self._options.lag,
            accept_gaps_before=self._options.accept_gaps_before,
        )

    def __repr__(self) -> str:
        return f"Logins({self.name!r})"

    def poll(self, cursor: str | None, *, now: datetime) -> UsageBatch:
        former = _Cursor.from_text(cursor)
        activity = self._server.look(self._password())
        tally = _Tally(self, activity, former)

        tailed = self._tail.read(former.tail.files, take=tally.take, now=milliseconds(now))
        if not tailed.there:
            raise Transient(f"{self.name}: none of its logs can be opened: {', '.join(tailed.files)}")
        tail = former.tail.after(tailed)
        tally.settle(tail.watermark)
        tally.stay(milliseconds(now))
        return UsageBatch(
            reports=tally.reports(),
            watermark=None if tail.watermark is None else moment(tail.watermark),
            cursor=_Cursor(tail=tail, looked_at=milliseconds(now), let_in=tally.let_in).to_text(),
            complete_from=None if tailed.complete_from is None else moment(tailed.complete_from),
        )

    def check(self) -> Sequence[str]:
        """Whether the server can be asked, logs what is needed, and its log can be read."""
        try:
            self._server.look(self._password())
            settings = self._server.settings(self._password())
        except Failure as failure:
            return [failure.message, *self._tail.problems()]
        lines = [
            f"{self.name}: {setting} is {settings[setting]!r}: set it to {wanted!r}{why}"
            for setting, (wanted, fits, why) in WANTED.items()
            if not fits.fullmatch(settings[setting])
        ]
        return [*lines, *self._tail.problems()]

    def close(self) -> None:
        """Nothing is held between polls."""

    def client(self, *, address: str, application: str, inside: bool) -> tuple[str, bool] | None:
        """Who it is, and whether by more than its own word; None for keyturn itself."""
        if self._ours.name(address) is not None:
            return None
        mapped = self._clients.name(address)
        if self._options.client is ClientBy.ADDRESS or not inside:
            return (UNMAPPED, False) if mapped is None else (mapped, True)
        printable = "".join(letter if letter.isprintable() else "�" for letter in application[:_LONGEST_NAME])
        return printable or UNMAPPED, False

    def _password(self) -> SecretValue | None:
        reference = self._options.password
        if reference is None:
            return None
        try:
            return self._resolve(reference)
        except ConfigError as error:
            raise Transient(str(error)) from None


class _Cursor:
    """Where the source stands: its logs, when it looked at the sessions, and who was let in a moment ago."""

    def __init__(self, *, tail: TailCursor, looked_at: int | None, let_in: Mapping[str, LoginLine]) -> None:
        self.tail = tail
        self.looked_at = looked_at
        self.let_in = let_in

    def to_text(self) -> str:
        let_in = {
            session: [one.at, one.user, one.address, one.application, one.began] for session, one in self.let_in.items()
        }
        return json.dumps({"tail": self.tail.to_text(), "looked_at": self.looked_at, "let_in": let_in})

    @classmethod
    def from_text(cls, text: str | None) -> _Cursor:
        if text is None:
            return cls(tail=TailCursor(), looked_at=None, let_in={})
        try:
            whole = json.loads(text)
            let_in = {
                session: LoginLine(
                    at=at, kind=Kind.LET_IN, session=session, user=user, address=address, application=name, began=began
                )
                for session, (at, user, address, name, began) in whole["let_in"].items()
            }
            return cls(tail=TailCursor.from_text(whole["tail"]), looked_at=whole["looked_at"], let_in=let_in)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Transient("the cursor of a PostgreSQL source cannot be read back") from None


class _Tally:
    """Counts by key, client and bucket."""

    def __init__(self, source: Logins, activity: Activity, former: _Cursor) -> None:
        self._source = source
        self._activity = activity
        self._looked_at = former.looked_at
        self._bucket = source.resolution // _MILLISECOND
        self._counts: dict[tuple[int, str, str, bool, bool], list[int]] = {}
        self._stayed: set[tuple[int, str, str, bool]] = set()
        self.let_in = dict(former.let_in)

    def take(self, line: LoginLine, _: str) -> None:
        if line.kind is Kind.LET_IN:
            self.let_in[line.session] = line
        elif line.kind is Kind.REFUSED:
            # Let in and yet refused: the password was right.
            matched = self.let_in.pop(line.session, None) is not None
            self._count(line, matched=matched, success=False)
        elif line.kind is Kind.ENDED:
            self._stay(line.user, line.address, line.application, began=line.began, end=line.at)

    def settle(self, complete_to: int | None) -> None:
        """Whoever was let in before then and not refused since is in; beyond `_MOST_LET_IN` those who were first."""
        for session, line in list(self.let_in.items()):
            if len(self.let_in) > _MOST_LET_IN or (complete_to is not None and line.at <= complete_to):
                del self.let_in[session]
                self._count(line, matched=True, success=True)

    def stay(self, now: int) -> None:
        """Every session that is open now is a use in each bucket since the last look."""
        for one in self._activity.sessions:
            began = milliseconds(one.began)
            if self._looked_at is None:
                began = max(began, now - self._bucket)
            self._stay(one.user, one.address, one.application, began=began, end=now, at=milliseconds(one.began))

    def reports(self) -> list[UsageReport]:
        for start, key, client, identified in sorted(self._stayed):
            self._counts.setdefault((start, key, client, True, identified), [0, 0])[0] += 1
        return [
            UsageReport(
                key_id=key,
                client=client,
                start=moment(start),
                successes=successes,
                failures=failures,
                matched=matched,
                identified=identified,
            )
            for (start, key, client, matched, identified), (successes, failures) in self._counts.items()
        ]

    def _count(self, line: LoginLine, *, matched: bool, success: bool) -> None:
        key = self._key(line.user, line.at)
        who = self._source.client(address=line.address, application=line.application, inside=matched)
        if key is not None and who is not None:
            client, identified = who
            start = line.at // self._bucket * self._bucket
            self._counts.setdefault((start, key, client, matched, identified), [0, 0])[0 if success else 1] += 1

    def _stay(self, user: str, address: str, application: str, *, began: int, end: int, at: int | None = None) -> None:
        """The buckets after the login's own, and after those that the last look has told; `at`: the time of the login,
        where `began` is another."""
        key = self._key(user, began if at is None else at)
        who = self._source.client(address=address, application=application, inside=True)
        if key is None or who is None:
            return
        # Before the first look nothing was known; a login that the log tells of still counts.
        known = began if self._looked_at is None else max(began, self._looked_at)
        first = max(known, end - _LONGEST_STAY) // self._bucket + 1
        for number in range(first, end // self._bucket + 1):
            self._stayed.add((number * self._bucket, key, *who))

    def _key(self, user: str, at: int) -> str | None:
        generation = generation_at(self._activity.generations.get(user, {}), moment(at))
        return None if generation is None else key_id(user, generation)
