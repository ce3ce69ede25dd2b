"""Routes of reviewers: what is asked, with its evidence; answers and decisions."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request, Response

from session_tracker.api.explanations import fact_body, for_staff
from session_tracker.api.review_bodies import (
    CaseBody,
    NewAnswer,
    NewDecision,
    PictureBody,
    ReviewBody,
    ReviewsBody,
    VoteBody,
)
from session_tracker.api.watched import NOBODY, Purpose, look
from session_tracker.events import Fact, Presence
from session_tracker.review import Review, ReviewKind, ReviewState
from session_tracker.reviews import Words
from session_tracker.service import SessionService
from verifier.edge import KeyScope, RouteRule, actor_of

_SMALL: Final = 16 * 1024
_AROUND_MS: Final = 120_000
"""Facts so long before and after the interval belong to the evidence."""

RULES: Final = (
    RouteRule(
        path="/v1/reviews",
        by=KeyScope.REVIEWER,
        readers=(KeyScope.INSPECTOR,),
        max_body_bytes=_SMALL,
    ),
    RouteRule(
        path="/v1/reviews/{rest:path}",
        by=KeyScope.REVIEWER,
        readers=(KeyScope.INSPECTOR,),
        max_body_bytes=_SMALL,
    ),
)
"""What the edge asks for; what is read is recorded in the trail."""

FactKey = Annotated[str, Path(pattern=r"^[A-Za-z0-9_:-]{1,80}$")]
ReviewId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Id = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


def reviews_router(service: SessionService) -> APIRouter:
    """Make the routes of ``/v1/reviews``."""
    router = APIRouter(tags=["reviews"])
    _add_reading_routes(router, service)
    _add_deciding_routes(router, service)
    return router


def _add_reading_routes(router: APIRouter, service: SessionService) -> None:
    reviews = service.casework.reviews

    @router.get("/v1/reviews", summary="List reviews")
    async def listed(  # noqa: PLR0917 - each is a name in the query
        request: Request,
        state: ReviewState | None = None,
        kind: ReviewKind | None = None,
        learner_id: Id = None,
        session_id: Id = None,
        overdue: bool = False,
        limit: Annotated[int, Query(ge=1, le=200)] = 100,
        purpose: Purpose = "",
    ) -> ReviewsBody:
        """List reviews, the most urgent first; `overdue` shows missed deadlines only. Recorded."""
        await look(service, request, learner_id or NOBODY, purpose)
        found = await reviews.find(
            state=state,
            kind=kind,
            learner_id=learner_id,
            session_id=session_id,
            overdue=overdue,
            limit=limit,
        )
        return ReviewsBody(reviews=[await _body(service, review) for review in found])

    @router.get("/v1/reviews/{review_id}", summary="Read a review with its evidence")
    async def read(request: Request, review_id: ReviewId, purpose: Purpose = "") -> CaseBody:
        """Give the question, the facts around it, the whole session, pictures. Recorded."""
        review = await reviews.get(review_id)
        await look(service, request, review.learner_id, purpose)
        words = await reviews.words(review)
        explained = None if review.session_id is None else await service.explain(review.session_id)
        facts = () if explained is None else explained.facts
        return CaseBody(
            review=await _body(service, review, words),
            name_masked=await service.registry.people.masked_name(review.learner_id),
            statement=words.statement,
            answer=words.answer,
            facts=[fact_body(fact) for fact in facts if _is_near(fact, review)],
            explanation=None if explained is None else for_staff(explained),
            pictures=[] if review.session_id is None else await _pictures(service, review),
        )

    @router.get(
        "/v1/reviews/{review_id}/pictures/{fact_key}",
        summary="See what a failed check saw",
        response_class=Response,
        responses={200: {"content": {"image/jpeg": {}}}},
    )
    async def picture(
        request: Request, review_id: ReviewId, fact_key: FactKey, purpose: Purpose = ""
    ) -> Response:
        """Give the small picture of a failed check, where one was kept. Recorded."""
        review = await reviews.get(review_id)
        await look(service, request, review.learner_id, purpose)
        jpeg = await service.casework.pictures.open(review.session_id or "", fact_key)
        return Response(jpeg, media_type="image/jpeg")


def _add_deciding_routes(router: APIRouter, service: SessionService) -> None:
    casework = service.casework

    @router.post("/v1/reviews/{review_id}/answers", status_code=201, summary="Answer the learner")
    async def answer(request: Request, review_id: ReviewId, body: NewAnswer) -> ReviewBody:
        """Tell the learner, once, that somebody looks at it; due within hours."""
        actor = actor_of(request).name
        return await _body(service, await casework.answer(review_id, actor=actor, text=body.text))

    @router.post("/v1/reviews/{review_id}/decisions", status_code=201, summary="Decide")
    async def decide(request: Request, review_id: ReviewId, body: NewDecision) -> ReviewBody:
        """Decide, for good. Granting against a spoof decision needs a second reviewer's key.

        403 where this reviewer may not: nobody decides what he opened or decided himself.
        """
        decided = await casework.decide(
            review_id,
            actor=actor_of(request).name,
            ruling=body.ruling,
            reason=body.reason,
            start=body.from_ms,
            end=body.to_ms,
        )
        return await _body(service, decided)


async def _pictures(service: SessionService, review: Review) -> list[PictureBody]:
    kept = await service.casework.pictures.of_session(review.session_id or "")
    return [
        PictureBody(
            fact_key=one.fact_key,
            taken_ms=one.taken_ms,
            keep_until_ms=one.keep_until_ms,
            path=f"/v1/reviews/{review.id}/pictures/{one.fact_key}",
        )
        for one in kept
    ]


async def _body(service: SessionService, review: Review, words: Words | None = None) -> ReviewBody:
    reasons = [None] * len(review.votes) if words is None else list(words.reasons)
    return ReviewBody(
        id=review.id,
        kind=review.kind,
        cause=review.cause,
        state=review.state,
        ruling=review.ruling,
        learner_id=review.learner_id,
        other_learner_id=review.other_learner_id,
        session_id=review.session_id,
        template_version=review.template_version,
        from_ms=review.start,
        to_ms=review.end,
        spoof=review.spoof,
        reviewers_needed=await service.casework.reviewers_needed(review),
        opened_by=review.opened_by,
        opened_ms=review.opened_ms,
        answer_by_ms=review.answer_by_ms,
        decide_by_ms=review.decide_by_ms,
        answered_ms=review.answered_ms,
        decided_ms=review.decided_ms,
        overdue=list(review.overdue(service.now_ms())),
        votes=[
            VoteBody(
                actor=vote.actor,
                ruling=vote.ruling,
                reason=reason,
                from_ms=vote.start,
                to_ms=vote.end,
                at_ms=vote.at_ms,
            )
            for vote, reason in zip(review.votes, reasons, strict=True)
        ],
    )


def _is_near(fact: Fact, review: Review) -> bool:
    if review.start is None or review.end is None:
        return False
    end = fact.end if isinstance(fact, Presence) else fact.t
    return fact.t <= review.end + _AROUND_MS and end >= review.start - _AROUND_MS
