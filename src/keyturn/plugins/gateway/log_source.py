"""The usage source `access-log`: who presented which key, from the gateways' own logs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from keyturn.domain.errors import ConfigError, Transient
from keyturn.domain.observations import SourceKind
from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.gateway.log_cursor import LogCursor, SpentMarks
from keyturn.plugins.gateway.log_lines import LineReader, LogLine, Presentation
from keyturn.plugins.gateway.log_options import AccessLogOptions
from keyturn.plugins.gateway.probe_mark import read_mark, usable_secret
from keyturn.plugins.logs import LogTail, milliseconds, moment
from keyturn.ports.plugin import Surroundings
from keyturn.ports.usage import UsageBatch, UsageReport

_UNPROVEN_KEY_IDS = 64
"""Different key ids in a bucket that nobody proved to hold: anyone can make up more, and each would be a row."""
_MILLISECOND = timedelta(milliseconds=1)


class AccessLog:
    """Reads JSON access logs, one file a node."""

    kind = SourceKind.AUTHENTICATION
    sees_failures = True

    def __init__(self, name: str, options: AccessLogOptions, surroundings: Surroundings) -> None:
        self.name = name
        self.resolution = options.resolution
        self.lag = options.lag
        self._options = options
        self._surroundings = surroundings
        self._reader = LineReader(options)
        self._tail = LogTail(
            options.files,
            read_line=self._reader.read,
            lag=options.lag,
            accept_gaps_before=options.accept_gaps_before,
        )

    def __repr__(self) -> str:
        return f"AccessLog({self.name!r})"

    def poll(self, cursor: str | None, *, now: datetime) -> UsageBatch:
        former = LogCursor.from_text(cursor)
        present = milliseconds(now)
        tally = _Tally(resolution=self.resolution, secret=self._secret(), spent=SpentMarks(former))

        tailed = self._tail.read(former.files, take=tally.take, now=present)
        if not tailed.there and not tally.reports():
            raise Transient(f"{self.name}: none of its logs can be opened: {', '.join(tailed.files)}")
        complete_to = tailed.complete_to
        watermark = max((mark for mark in (complete_to, former.watermark) if mark is not None), default=None)
        after = LogCursor(
            files=tailed.files,
            watermark=watermark,
            spent=tally.spent.left(tailed.files),
            spent_before=tally.spent.before,
        )
        return UsageBatch(
            reports=tally.reports(),
            watermark=None if watermark is None else moment(watermark),
            cursor=after.to_text(),
            complete_from=None if tailed.complete_from is None else moment(tailed.complete_from),
        )

    def check(self) -> Sequence[str]:
        """Whether each log is there, readable, and says what its fields should say."""
        lines = []
        if self._options.probe_secret is None:
            lines.append(f"{self.name}: set probe_secret, the authority's own, else its probes count as uses")
        else:
            try:
                self._secret()
            except Transient as failure:
                lines.append(failure.message)
        lines += self._tail.problems()
        return lines

    def close(self) -> None:
        """Nothing is held between polls."""

    def _secret(self) -> SecretValue | None:
        reference = self._options.probe_secret
        if reference is None:
            return None
        try:
            return usable_secret(self._surroundings.resolve(reference), where=f"{self.name}.probe_secret")
        except ConfigError as error:
            raise Transient(str(error)) from None


class _Tally:
    """Counts presentations by key, client and bucket; keyturn's own are left out."""

    def __init__(self, *, resolution: timedelta, secret: SecretValue | None, spent: SpentMarks) -> None:
        self._bucket = resolution // _MILLISECOND
        self._secret = secret
        self._counts: dict[tuple[int, str | None, str, bool, bool], list[int]] = {}
        self._unproven: dict[int, set[str]] = {}
        self.spent = spent

    def take(self, line: LogLine, path: str) -> None:
        seen = line.presentation
        if seen is None or self._is_ours(line.at, seen, path):
            return
        start = line.at // self._bucket * self._bucket
        key_id = seen.key_id
        if key_id is not None and not (seen.matched or seen.identified):
            unproven = self._unproven.setdefault(start, set())
            if key_id not in unproven and len(unproven) >= _UNPROVEN_KEY_IDS:
                key_id = None
            else:
                unproven.add(key_id)
        counts = self._counts.setdefault((start, key_id, seen.client, seen.matched, seen.identified), [0, 0])
        counts[0 if seen.success else 1] += 1

    def reports(self) -> list[UsageReport]:
        return [
            UsageReport(
                key_id=key_id,
                client=client,
                start=moment(start),
                successes=successes,
                failures=failures,
                matched=matched,
                identified=identified,
            )
            for (start, key_id, client, matched, identified), (successes, failures) in self._counts.items()
        ]

    def _is_ours(self, at: int, seen: Presentation, path: str) -> bool:
        if self._secret is None or not seen.probe or seen.key_id is None:
            return False
        mark = read_mark(self._secret, seen.key_id, seen.probe)
        return mark is not None and self.spent.excuses(mark, at=at, path=path)
