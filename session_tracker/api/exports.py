"""Routes of exports: hours of a period, streamed. For trackers and inspectors; recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from session_tracker.api.bodies import MAX_NUMBER
from session_tracker.api.watched import NOBODY, Purpose, look
from session_tracker.exports import Period
from session_tracker.service import SessionService

Instant = Annotated[int, Query(ge=0, le=MAX_NUMBER, examples=[1_795_482_000_000])]
_TYPES: Final = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}
_LINES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"application/x-ndjson": {}}, "description": "JSON Lines."}
}
_HOURS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {"application/x-ndjson": {}, "text/csv": {}},
        "description": "One line a session, with the ledger's head.",
    }
}
_CHUNK: Final = 16 * 1024


def exports_router(service: SessionService) -> APIRouter:
    """Make the routes of ``/v1/exports``."""
    router = APIRouter(tags=["exports"])
    exports = service.exports

    async def recorded(request: Request, purpose: str, **asked: int | str) -> None:
        """Record who takes hours of everybody, of which period, and by which seed."""
        await look(service, request, NOBODY, purpose, scope=urlencode(asked))

    @router.get(
        "/v1/exports/hours",
        summary="Hours of a period",
        response_class=StreamingResponse,
        responses=_HOURS,
    )
    async def hours(
        request: Request,
        since_ms: Instant,
        until_ms: Instant,
        format: Literal["csv", "jsonl"] = "csv",  # noqa: A002 - the parameter's name
        purpose: Purpose = "",
    ) -> StreamingResponse:
        """Give every session that was settled in the period, with policy and ledger head.

        Recorded.
        """
        await recorded(request, purpose, since_ms=since_ms, until_ms=until_ms, format=format)
        period = Period(since_ms=since_ms, until_ms=until_ms)
        head = await service.head()
        lines = (exports.hours_csv if format == "csv" else exports.hours_jsonl)(period, head)
        return _streamed(lines, _TYPES[format], f"hours.{format}")

    @router.get(
        "/v1/exports/xapi",
        summary="xAPI statements of a period",
        response_class=StreamingResponse,
        responses=_LINES,
    )
    async def xapi(
        request: Request, since_ms: Instant, until_ms: Instant, purpose: Purpose = ""
    ) -> StreamingResponse:
        """Give one statement a line; credited and wall-clock time are separate. Recorded."""
        await recorded(request, purpose, since_ms=since_ms, until_ms=until_ms)
        period = Period(since_ms=since_ms, until_ms=until_ms)
        lines = exports.xapi(period, await service.head())
        return _streamed(lines, _TYPES["jsonl"], "xapi.jsonl")

    @router.get(
        "/v1/exports/scores",
        summary="LTI 1.3 AGS scores",
        response_class=StreamingResponse,
        responses=_LINES,
    )
    async def scores(request: Request, purpose: Purpose = "") -> StreamingResponse:
        """Give a score a line for every course: credited class hours of the target. Recorded."""
        await recorded(request, purpose)
        lines = exports.scores(await service.head())
        return _streamed(lines, _TYPES["jsonl"], "scores.jsonl")

    @router.get(
        "/v1/exports/sample",
        summary="Sample for a spot check",
        response_class=StreamingResponse,
        responses=_LINES,
    )
    async def sample(  # noqa: PLR0917 - each is a name in the query
        request: Request,
        since_ms: Instant,
        until_ms: Instant,
        seed: Annotated[str, Query(min_length=1, max_length=200, examples=["2026-11-24 dice"])],
        count: Annotated[int, Query(ge=1, le=1_000)] = 10,
        purpose: Purpose = "",
    ) -> StreamingResponse:
        """Draw sessions, reproducibly from the seed, with evidence and proofs. Recorded."""
        drawn = {"seed": seed, "count": str(count)}
        await recorded(request, purpose, since_ms=since_ms, until_ms=until_ms, **drawn)
        period = Period(since_ms=since_ms, until_ms=until_ms)
        lines = exports.sample(period, await service.head(), seed=seed, count=count)
        return _streamed(lines, _TYPES["jsonl"], "sample.jsonl")

    return router


def _streamed(lines: AsyncIterator[str], media_type: str, name: str) -> StreamingResponse:
    headers = {
        "content-disposition": f'attachment; filename="{name}"',
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
    }
    return StreamingResponse(_chunks(lines), media_type=media_type, headers=headers)


async def _chunks(lines: AsyncIterator[str]) -> AsyncIterator[bytes]:
    """Join lines to pieces worth sending."""
    waiting, size = [], 0
    async for line in lines:
        waiting.append(line)
        size += len(line)
        if size >= _CHUNK:
            yield "".join(waiting).encode("utf-8")
            waiting, size = [], 0
    if waiting:
        yield "".join(waiting).encode("utf-8")
