"""Route of the pass that settles every course anew. For administrators."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from session_tracker.service import SessionService
from session_tracker.settle_all import CourseOutcome
from verifier.edge import KeyScope, RouteRule

RULES: Final = (RouteRule(path="/v1/courses:settle", by=KeyScope.ADMIN, max_body_bytes=1_024),)
_LINES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {"application/x-ndjson": {}},
        "description": "An object per course, then one that counts them.",
    }
}


def settling_router(service: SessionService) -> APIRouter:
    """Make the route ``/v1/courses:settle``."""
    router = APIRouter(tags=["courses"])

    @router.post(
        "/v1/courses:settle",
        summary="Settle every course anew",
        response_class=StreamingResponse,
        responses=_LINES,
    )
    async def settle() -> StreamingResponse:
        """Grade every course, one after the other, as after a decision about it.

        Settles anew what came to another result, revokes certificates whose hours are void, issues
        those that are due. The last line is `{"type":"end","courses":N}`; without it the pass was
        broken off. Begin it anew then: what is done is not done twice. 409 while one is under way.
        """
        outcomes = service.settle_all(write=True)
        first = await anext(outcomes, None)  # what is refused is refused before the first byte
        return StreamingResponse(
            _lines(first, outcomes),
            media_type="application/x-ndjson",
            headers={"cache-control": "no-store", "x-content-type-options": "nosniff"},
        )

    return router


async def _lines(
    first: CourseOutcome | None, rest: AsyncGenerator[CourseOutcome, None]
) -> AsyncIterator[bytes]:
    count = 0
    async with contextlib.aclosing(rest):
        outcome = first
        while outcome is not None:
            count += 1
            yield _line({"type": "course", **outcome.as_json()})
            outcome = await anext(rest, None)
    yield _line({"type": "end", "courses": count})


def _line(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n").encode()
