"""Routes of the outbox: how receivers stand, and telling them again. For administrators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from session_tracker.api.bodies import MAX_NUMBER
from session_tracker.service import SessionService

_Instant = Annotated[int, Field(ge=0, le=MAX_NUMBER, examples=[1_795_482_000_000])]


class StandingBody(BaseModel):
    """How one receiver stands."""

    model_config = ConfigDict(extra="forbid")

    target: str = Field(examples=["course-server"])
    pending: int = Field(examples=[0], description="Not delivered yet, parked ones included.")
    parked: int = Field(examples=[0], description="Given up after three days, until a replay.")
    delivered: int = Field(examples=[1204], description="Of the last thirty days.")
    oldest_pending_ms: int | None = None
    last_failure: str | None = Field(default=None, examples=["status 500"])


class OutboxBody(BaseModel):
    """How every receiver stands."""

    model_config = ConfigDict(extra="forbid")

    targets: list[StandingBody]


class NewReplay(BaseModel):
    """Which events to send again. Receivers are named; their addresses are configuration."""

    model_config = ConfigDict(extra="forbid", strict=True)

    target: str = Field(min_length=1, max_length=32, examples=["course-server"])
    since_ms: _Instant
    until_ms: _Instant = MAX_NUMBER


class ReplayBody(BaseModel):
    """What will be sent again."""

    model_config = ConfigDict(extra="forbid")

    events: int = Field(examples=[12])


def outbox_router(service: SessionService) -> APIRouter:
    """Make the routes of ``/v1/outbox``."""
    router = APIRouter(tags=["outbox"])

    @router.get("/v1/outbox", summary="How receivers of events stand")
    async def standing() -> OutboxBody:
        """Say of every configured receiver what it has heard."""
        found = await service.outbox.standing()
        return OutboxBody(
            targets=[
                StandingBody(
                    target=s.target,
                    pending=s.pending,
                    parked=s.parked,
                    delivered=s.delivered,
                    oldest_pending_ms=s.oldest_pending_ms,
                    last_failure=s.last_failure,
                )
                for s in found
            ]
        )

    @router.post("/v1/outbox/replay", summary="Send events again")
    async def replay(body: NewReplay) -> ReplayBody:
        """Deliver the events of that time again, in order, under the same ids."""
        count = await service.outbox.replay(
            body.target, since_ms=body.since_ms, until_ms=body.until_ms
        )
        return ReplayBody(events=count)

    return router
