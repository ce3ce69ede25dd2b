"""Routes of the learner's own appeals."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter

from session_tracker.api.bearer import Authorization, learner_of
from session_tracker.api.review_bodies import AppealBody, AppealsBody, NewAppeal
from session_tracker.review import Review, ReviewKind, Ruling
from session_tracker.reviews import Reviews
from session_tracker.service import SessionService

_STATES: dict[Ruling | None, Literal["open", "granted", "upheld"]] = {
    None: "open",
    Ruling.GRANTED: "granted",
    Ruling.UPHELD: "upheld",
}


def appeals_router(service: SessionService) -> APIRouter:
    """Make the routes of ``/v1/me/appeals``; the edge asks for the learner's token."""
    router = APIRouter(tags=["me"])
    reviews = service.casework.reviews

    @router.get("/v1/me/appeals", summary="See one's appeals")
    async def mine(authorization: Authorization = None) -> AppealsBody:
        """List one's appeals, with what was answered and decided."""
        learner_id = await learner_of(service.sign_in, authorization)
        found = await reviews.find(learner_id=learner_id, kind=ReviewKind.APPEAL)
        return AppealsBody(appeals=[await _appeal(reviews, review) for review in found])

    @router.post("/v1/me/appeals", status_code=201, summary="Appeal")
    async def appeal(body: NewAppeal, authorization: Authorization = None) -> AppealBody:
        """Ask a person to decide about a stretch of an own session that has ended.

        403 after the term, 409 where the session still runs, the stretch was appealed before, or
        ten appeals about the session wait already; a stretch has one second at least.
        """
        learner_id = await learner_of(service.sign_in, authorization)
        made = await service.casework.appeal(
            learner_id, body.session_id, start=body.from_ms, end=body.to_ms, text=body.text
        )
        return await _appeal(reviews, made)

    return router


async def _appeal(reviews: Reviews, review: Review) -> AppealBody:
    words = await reviews.words(review)
    return AppealBody(
        id=review.id,
        session_id=review.session_id or "",
        from_ms=review.start or 0,
        to_ms=review.end or 0,
        state=_STATES[review.ruling],
        text=words.statement,
        answer=words.answer,
        reason=words.reasons[-1] if review.ruling is not None and words.reasons else None,
        opened_utc_ms=review.opened_ms,
        answer_by_utc_ms=review.answer_by_ms,
        decide_by_utc_ms=review.decide_by_ms,
        decided_utc_ms=review.decided_ms,
    )
