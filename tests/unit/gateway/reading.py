"""A log of a test's own, and who polls it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.gateway import access_log
from keyturn.plugins.gateway.log_source import AccessLog
from keyturn.ports.plugin import Surroundings
from keyturn.ports.usage import UsageReport

SECRET = SecretValue("a secret for marks, long enough")
START = datetime(2026, 11, 21, 12, tzinfo=UTC)


class FixedClock:
    def now(self) -> datetime:
        return START

    def monotonic(self) -> float:
        return 0.0


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def source(*files: Path, **options: object) -> AccessLog:
    surroundings = Surroundings(clock=FixedClock(), resolve=lambda _: SECRET)
    given_options: dict[str, object] = {"files": [str(file) for file in files], "probe_secret": "env:PROBE"}
    return access_log("nodes", given_options | options, surroundings)


def line(seconds: float, **changes: object) -> str:
    fields: dict[str, object] = {
        "epoch": at(seconds).timestamp(),
        "remote_addr": "127.0.0.5",
        "kid": "kid1",
        "matched": "kid1:active",
        "status": 200,
        "probe": "",
    }
    return json.dumps(fields | changes) + "\n"


def append(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.writelines(lines)


class Reader:
    """Polls as a daemon does: a new instance each time, its cursor the only memory."""

    def __init__(self, *files: Path, **options: object) -> None:
        self.files = files
        self.options = options
        self.cursor: str | None = None
        self.watermark: datetime | None = None
        self.reports: list[UsageReport] = []

    def poll(self, seconds: float) -> list[UsageReport]:
        batch = source(*self.files, **self.options).poll(self.cursor, now=at(seconds))
        self.cursor, self.watermark = batch.cursor, batch.watermark
        self.reports += batch.reports
        return list(batch.reports)

    @property
    def uses(self) -> int:
        return sum(report.successes + report.failures for report in self.reports)

    @property
    def by_key(self) -> Mapping[str | None, int]:
        return Counter({None: 0}) + sum(
            (Counter({report.key_id: report.successes + report.failures}) for report in self.reports), Counter()
        )
