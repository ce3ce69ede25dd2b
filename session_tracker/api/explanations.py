"""Shapes explanations of sessions: for staff with every fact, for the learner in plain codes."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from session_tracker import facts as codec
from session_tracker.api.bodies import CreditedBody, ExplainBody, FactBody, SpanBody, VoidBody
from session_tracker.events import Fact, Presence
from session_tracker.explain import Explanation
from session_tracker.segments import Segment
from session_tracker.service import Explained
from session_tracker.words import REASONS, STATES


class LearnerExplainBody(BaseModel):
    """A session as its learner may know it: what counted, what did not and why."""

    model_config = ConfigDict(frozen=True)

    session_id: str = Field(examples=["ses_4b7c2d9e1f0a4b7c2d9e1f0a"])
    from_ms: int
    to_ms: int
    credited_s: int
    seconds: dict[str, int] = Field(
        description="Whole seconds by state and reason; they add up to the session's.",
        examples=[{"credited": 2_520, "void:absent": 40}],
    )
    spans: list[SpanBody]
    words: dict[str, dict[str, str]] = Field(
        description="Plain words for the codes of `spans`, by language."
    )


def for_staff(explained: Explained) -> ExplainBody:
    """Shape what servers and reviewers get."""
    credit, told = explained.credit, explained.told
    return ExplainBody(
        session_id=credit.session_id,
        learner_id=explained.record.learner_id,
        policy=f"{explained.record.programme}@{explained.record.policy_version}",
        start_ms=credit.start,
        end_ms=credit.end,
        closed=credit.closed,
        verified_ms=credit.verified_ms,
        credited_ms=credit.credited_ms,
        void_ms={str(reason): ms for reason, ms in credit.void_ms.items()},
        credited=[
            CreditedBody(
                start_ms=i.start,
                end_ms=i.end,
                evidence=str(i.evidence),
                media_id=i.media_id,
                media_ms=i.media_ms,
            )
            for i in credit.credited
        ],
        void=[VoidBody(start_ms=i.start, end_ms=i.end, reason=str(i.reason)) for i in credit.void],
        anomalies=[
            {"kind": "jump", "at_ms": j.t, "media_id": j.media_id, "by_ms": j.by_ms}
            for j in credit.jumps
        ],
        facts=[fact_body(fact) for fact in explained.facts],
        from_ms=told.start,
        to_ms=told.end,
        credited_s=told.credited_s,
        seconds=dict(told.seconds),
        spans=[_span(s) for s in told.spans],
        words=words_of(told),
    )


def for_the_learner(told: Explanation) -> LearnerExplainBody:
    """Shape what a learner's device gets; `told` comes from `explain.for_learner`."""
    return LearnerExplainBody(
        session_id=told.session_id,
        from_ms=told.start,
        to_ms=told.end,
        credited_s=told.credited_s,
        seconds=dict(told.seconds),
        spans=[_span(s) for s in told.spans],
        words=words_of(told),
    )


def words_of(told: Explanation) -> dict[str, dict[str, str]]:
    """Give the words for every code that an explanation uses."""
    states = {str(s.state): STATES[s.state] for s in told.spans}
    reasons = {str(s.reason): REASONS[s.reason] for s in told.spans if s.reason is not None}
    return {code: {"zh": w.zh, "en": w.en} for code, w in {**states, **reasons}.items()}


def _span(s: Segment) -> SpanBody:
    return SpanBody(
        from_ms=s.start,
        to_ms=s.end,
        state=str(s.state),
        reason=None if s.reason is None else str(s.reason),
        evidence=list(s.keys),
    )


def fact_body(fact: Fact) -> FactBody:
    """Shape one fact for staff."""
    kind = "presence" if isinstance(fact, Presence) else codec.kind_of(fact)
    data: dict[str, Any] = codec.encode(fact)
    return FactBody(kind=kind, key=fact.key, at_ms=fact.t, data=data)
