"""Takes usage reports that sources push: one JSON object a line, all of them or none."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool

from keyturn.api.access import Reporter, TheDaemon
from keyturn.api.meters import Meters
from keyturn.api.problems import ApiProblem
from keyturn.api.views import UsageResult
from keyturn.app.daemon import Daemon
from keyturn.ports.usage import UsageReport
from keyturn.runtime.nonsense import EPOCH, SKEW
from keyturn.runtime.registry import WiredSource
from keyturn.runtime.usage import OLDEST, NotCovered

router = APIRouter(prefix="/v1", tags=["usage"])

COUNT = 1_000_000_000
"""More uses than a bucket can hold; the store's integers hold sums of many."""

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]

# The key, not a value: a client may be called so, and must not make its line unreadable.
_WATERMARK = re.compile(rb'"watermark"\s*:')


class ReportLine(BaseModel):
    """Presentations of one key by one client within one bucket."""

    model_config = ConfigDict(extra="forbid")

    key_id: Name | None
    client: Name
    start: AwareDatetime
    successes: Annotated[int, Field(ge=0, le=COUNT, strict=True)]
    failures: Annotated[int, Field(ge=0, le=COUNT, strict=True)]
    matched: Annotated[bool, Field(strict=True)]
    identified: Annotated[bool, Field(strict=True)]


class WatermarkLine(BaseModel):
    """Up to when the source's data is complete."""

    model_config = ConfigDict(extra="forbid")

    watermark: AwareDatetime
    complete_from: AwareDatetime | None = None
    """Where the data goes on, when some of what followed the last watermark is lost for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What a body holds."""

    reports: list[UsageReport]
    watermark: datetime | None
    complete_from: datetime | None


@router.post(
    "/usage",
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": 'One JSON object a line: reports, and `{"watermark": TIME}` where it is known.',
            "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
        }
    },
)
async def push_usage(
    request: Request,
    daemon: TheDaemon,
    caller: Reporter,
    idempotency_key: Annotated[str, Header(min_length=1, max_length=200)],
    content_encoding: Annotated[str, Header()] = "identity",
) -> UsageResult:
    """Take a batch; durable when answered. The token decides which source speaks; a batch with the `Idempotency-Key` of
    an earlier one is not counted again."""
    if content_encoding != "identity":
        raise ApiProblem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"Content-Encoding: {content_encoding}: send the lines as they are, in smaller batches if they are many",
        )
    source = _source(daemon, caller.source or "")
    meters: Meters = request.app.state.meters
    # Before the body is read: what is sent beyond the limit costs nothing.
    with meters.admitted(source.name) as meter:
        body = await request.body()
        meter.charge(body.count(b"\n") + 1)
        return await run_in_threadpool(take, daemon, source, body, idempotency_key)


def _source(daemon: Daemon, name: str) -> WiredSource:
    wired = daemon.registry.sources.get(name)
    if wired is None or wired.poll is not None:
        raise ApiProblem(
            HTTPStatus.FORBIDDEN, f"{name!r} is no `type: push` source of the configuration (any more): configure it"
        )
    return wired


def take(daemon: Daemon, source: WiredSource, body: bytes, batch: str) -> UsageResult:
    """Read a body and hand it to the runtime, whole or not at all."""
    intake = daemon.runtime.ingest
    with intake.arriving():
        return _take(daemon, source, body, batch)


def _take(daemon: Daemon, source: WiredSource, body: bytes, batch: str) -> UsageResult:
    intake = daemon.runtime.ingest
    try:
        pushed = read_lines(body, source, daemon.clock.now())
        added = intake.push(
            source.name,
            pushed.reports,
            watermark=pushed.watermark,
            complete_from=pushed.complete_from,
            id=batch,
            digest=hashlib.sha256(body).hexdigest(),
        )
    except NotCovered as error:
        raise ApiProblem(HTTPStatus.FORBIDDEN, str(error)) from None
    except ApiProblem:
        intake.counts[source.name, "malformed batches"] += 1
        raise
    return UsageResult(accepted=len(pushed.reports) if added else 0, duplicate=not added)


def read_lines(body: bytes, source: WiredSource, now: datetime) -> Pushed:
    """What is in a body, the newest watermark of several. Raises 400 naming the first line that is wrong."""
    reports: list[UsageReport] = []
    starts = _Starts(source, now)
    watermark: datetime | None = None
    complete_from: datetime | None = None
    for number, line in enumerate(body.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            if _WATERMARK.search(line):
                mark, begins = _watermark(line, now)
                if watermark is None or mark > watermark:
                    watermark, complete_from = mark, begins
            else:
                reports.append(_report(line, starts))
        except ValidationError as error:
            raise _wrong(number, _said(error)) from None
        except ValueError as error:
            raise _wrong(number, str(error)) from None
    return Pushed(reports=reports, watermark=watermark, complete_from=complete_from)


def _wrong(number: int, message: str) -> ApiProblem:
    return ApiProblem(HTTPStatus.BAD_REQUEST, f"line {number}: {message}; nothing of the batch was taken")


def _said(error: ValidationError) -> str:
    found = []
    for item in error.errors(include_input=False, include_url=False):
        where = ".".join(str(part) for part in item["loc"])
        found.append(f"{where}: {item['msg']}" if where else item["msg"])
    return ", ".join(found)


class _Starts(dict[datetime, datetime]):
    """The starts of one body's buckets as they were written, and in UTC: of many lines they are few, and looked at once."""

    def __init__(self, source: WiredSource, now: datetime) -> None:
        super().__init__()
        self._resolution = source.resolution
        self._now = now

    def __missing__(self, written: datetime) -> datetime:
        start = written.astimezone(UTC)
        if (start - EPOCH) % self._resolution:
            raise ValueError(
                f"start: is no multiple of the source's resolution, {self._resolution.total_seconds():g} s, since 1970"
            )
        if start > self._now + SKEW:
            raise ValueError("start: lies in the future; check the source's clock")
        if start < self._now - OLDEST:
            raise ValueError(
                f"start: lies more than {OLDEST.days} days back, and is not taken any more: leave the line out"
            )
        self[written] = start
        return start


def _report(line: bytes, starts: _Starts) -> UsageReport:
    read = ReportLine.model_validate_json(line)
    start = starts[read.start]
    if read.successes + read.failures == 0:
        raise ValueError("successes, failures: both are 0, which says nothing: leave the line out")
    return UsageReport(
        key_id=read.key_id,
        client=read.client,
        start=start,
        successes=read.successes,
        failures=read.failures,
        matched=read.matched,
        identified=read.identified,
    )


def _watermark(line: bytes, now: datetime) -> tuple[datetime, datetime | None]:
    read = WatermarkLine.model_validate_json(line)
    mark = read.watermark.astimezone(UTC)
    if mark > now + SKEW:
        raise ValueError("watermark: lies in the future, which no data can cover; check the source's clock")
    begins = None if read.complete_from is None else read.complete_from.astimezone(UTC)
    if begins is not None and begins > mark:
        raise ValueError("complete_from: lies after the watermark: the data between them is what is complete")
    return mark, begins
