"""Routes of the ledger: what anybody may check."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query

from session_tracker.api.bodies import (
    MAX_NUMBER,
    ConsistencyBody,
    HeadBody,
    InclusionBody,
)
from session_tracker.service import SessionService

Number = Annotated[
    str, Path(pattern=r"^[A-Z0-9-]{4,40}$", description="As printed, such as BR2026-7K3M9QX2TA.")
]
CheckCode = Annotated[
    str | None,
    Query(pattern=r"^[0-9A-Z]{16}$", description="Compare the paper's check code as well."),
]
PaperCode = Annotated[
    str,
    Query(pattern=r"^[0-9A-Z]{16}$", description="The check code, as the paper has it."),
]
_PRIVATE: Final = {"Cache-Control": "private, no-store"}
_HEAD_MAX_AGE_MS: Final = 60_000
"""Anybody may ask for a head: not every question is worth a signature and a write."""
Count = Annotated[int, Query(ge=0, le=MAX_NUMBER)]


def records_router(service: SessionService) -> APIRouter:
    """Make the routes of ``/v1/ledger``."""
    router = APIRouter(tags=["records"])
    _add_ledger_routes(router, service)
    return router


def _add_ledger_routes(router: APIRouter, service: SessionService) -> None:
    @router.get("/v1/ledger/head", summary="Get the signed head")
    async def head() -> HeadBody:
        """Give a signed head at most a minute old; keep it to hold us to it."""
        return HeadBody(**(await service.head(max_age_ms=_HEAD_MAX_AGE_MS)).as_json())

    @router.get("/v1/ledger/proof", summary="Prove an entry")
    async def proof(index: Count, size: Count) -> InclusionBody:
        """Prove that the entry at `index` (from 0) lies in the ledger of `size` entries."""
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
        """Prove that the ledger of `earlier` entries is the beginning of that of `later`."""
        found = await service.ledger.consistency(earlier, later)
        return ConsistencyBody(earlier=earlier, later=later, proof=found)
