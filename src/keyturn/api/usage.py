"""Takes usage reports that sources push: one JSON object a line, all of them or none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool

from keyturn.api.access import Reporter, TheDaemon
from keyturn.api.problems import ApiProblem
from keyturn.api.views import UsageResult
from keyturn.app.daemon import Daemon
from keyturn.domain.errors import Refused
from keyturn.ports.usage import UsageReport
from keyturn.runtime.registry import WiredSource

router = APIRouter(prefix="/v1", tags=["usage"])

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SKEW = timedelta(seconds=60)
"""How far a source's clock may be ahead of ours."""
COUNT = 1_000_000_000
"""More uses than a bucket can hold; the store's integers hold sums of many."""


class ReportLine(BaseModel):
    """Presentations of one key by one client within one bucket."""

    model_config = ConfigDict(extra="forbid")

    key_id: Annotated[str, Field(min_length=1, max_length=200)] | None
    client: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
    start: AwareDatetime
    successes: Annotated[int, Field(ge=0, le=COUNT, strict=True)]
    failures: Annotated[int, Field(ge=0, le=COUNT, strict=True)]
    matched: Annotated[bool, Field(strict=True)]
    identified: Annotated[bool, Field(strict=True)]


class WatermarkLine(BaseModel):
    """Up to when the source's data is complete."""

    model_config = ConfigDict(extra="forbid")

    watermark: AwareDatetime


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
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=200)] = None,
) -> UsageResult:
    """Take a batch; durable when answered. The token decides which source speaks; a batch with the `Idempotency-Key` of
    an earlier one is not counted again."""
    body = await request.body()
    return await run_in_threadpool(take, daemon, caller.source or "", body, idempotency_key)


def take(daemon: Daemon, source: str, body: bytes, batch: str | None) -> UsageResult:
    """Read a body and hand it to the runtime, whole or not at all."""
    wired = daemon.registry.sources.get(source)
    if wired is None or wired.poll is not None:
        raise ApiProblem(
            HTTPStatus.FORBIDDEN, f"{source!r} is no `type: push` source of the configuration (any more): configure it"
        )
    reports, watermark = read_lines(body, wired, daemon.clock.now())
    try:
        added = daemon.runtime.ingest.push(source, reports, watermark=watermark, batch=batch)
    except Refused as error:
        raise ApiProblem(HTTPStatus.FORBIDDEN, str(error)) from None
    return UsageResult(accepted=len(reports) if added else 0, duplicate=not added)


def read_lines(body: bytes, source: WiredSource, now: datetime) -> tuple[list[UsageReport], datetime | None]:
    """The reports and the newest watermark in a body. Raises 400 naming the first line that is wrong."""
    reports: list[UsageReport] = []
    watermark: datetime | None = None
    for number, line in enumerate(body.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            if b'"watermark"' in line:
                mark = _watermark(line, now)
                watermark = mark if watermark is None else max(watermark, mark)
            else:
                reports.append(_report(line, source, now))
        except ValidationError as error:
            raise _wrong(number, _said(error)) from None
        except ValueError as error:
            raise _wrong(number, str(error)) from None
    return reports, watermark


def _wrong(number: int, message: str) -> ApiProblem:
    return ApiProblem(HTTPStatus.BAD_REQUEST, f"line {number}: {message}; nothing of the batch was taken")


def _said(error: ValidationError) -> str:
    found = []
    for item in error.errors(include_input=False, include_url=False):
        where = ".".join(str(part) for part in item["loc"])
        found.append(f"{where}: {item['msg']}" if where else item["msg"])
    return ", ".join(found)


def _report(line: bytes, source: WiredSource, now: datetime) -> UsageReport:
    read = ReportLine.model_validate_json(line)
    start = read.start.astimezone(UTC)
    if (start - EPOCH) % source.resolution:
        raise ValueError(
            f"start: is no multiple of the source's resolution, {source.resolution.total_seconds():g} s, since 1970"
        )
    if start > now + SKEW:
        raise ValueError("start: lies in the future; check the source's clock")
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


def _watermark(line: bytes, now: datetime) -> datetime:
    mark = WatermarkLine.model_validate_json(line).watermark.astimezone(UTC)
    if mark > now + SKEW:
        raise ValueError("watermark: lies in the future, which no data can cover; check the source's clock")
    # Clocks differ a little: what lies ahead of ours is not covered yet.
    return min(mark, now)
