"""Routes of the ledger: what anybody may check."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request

from session_tracker.api.bodies import (
    MAX_NUMBER,
    ConsistencyBody,
    HeadBody,
    InclusionBody,
)
from session_tracker.service import SessionService
from session_tracker.throttle import Throttle, ThrottleLimits
from verifier.errors import BadRequest

_HEAD_MAX_AGE_MS: Final = 600_000
"""Anybody may ask for a head: not every question is worth a signature and a write. And every look
at a learner is an entry: who could watch the ledger grow would know when he was looked at."""
_QUESTIONS: Final = ThrottleLimits(
    free=300, forgiven_every_ms=500, longest_wait_ms=60_000, all_per_minute=3_000
)
"""Heads and proofs, of one address: somebody who checks a list of entries."""
Count = Annotated[int, Query(ge=0, le=MAX_NUMBER)]


def records_router(service: SessionService) -> APIRouter:
    """Make the routes of ``/v1/ledger``."""
    throttle = Throttle(
        _QUESTIONS, detail="Too many questions at once.", remedy="Wait, and go on more slowly."
    )

    def ration(request: Request) -> None:
        address = request.client.host if request.client is not None else ""
        throttle.admit(address, service.now_ms())
        throttle.failed(address, service.now_ms())

    router = APIRouter(tags=["records"], dependencies=[Depends(ration)])
    _add_ledger_routes(router, service)
    return router


async def _require_covered(service: SessionService, size: int) -> None:
    """Refuse what lies beyond the newest head, without a word of how much that is."""
    head = await service.ledger.newest_head()
    if head is None or size > head.size:
        raise BadRequest(
            "No signed head covers so many entries.",
            remedy="Ask for sizes up to that of GET /v1/ledger/head.",
        )


def _add_ledger_routes(router: APIRouter, service: SessionService) -> None:
    @router.get("/v1/ledger/head", summary="Get the signed head")
    async def head() -> HeadBody:
        """Give a signed head at most ten minutes old; keep it to hold us to it."""
        return HeadBody(**(await service.head(max_age_ms=_HEAD_MAX_AGE_MS)).as_json())

    @router.get("/v1/ledger/proof", summary="Prove an entry")
    async def proof(index: Count, size: Count) -> InclusionBody:
        """Prove that the entry at `index` (from 0) lies in the ledger of `size` entries.

        As far as the newest signed head reaches.
        """
        await _require_covered(service, size)
        path = await service.ledger.inclusion(index, size)
        entry = await service.ledger.entry(index)
        return InclusionBody(
            index=index,
            size=size,
            leaf_hash=entry.leaf_hash.hex(),
            path=[step.hex() for step in path],
        )

    @router.get("/v1/ledger/consistency", summary="Prove that nothing was rewritten")
    async def consistency(earlier: Count, later: Count) -> ConsistencyBody:
        """Prove that the ledger of `earlier` entries is the beginning of that of `later`.

        As far as the newest signed head reaches.
        """
        await _require_covered(service, later)
        found = await service.ledger.consistency(earlier, later)
        return ConsistencyBody(earlier=earlier, later=later, proof=found)
