"""What travels over the routes of reviews and appeals, as strict models with examples."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from session_tracker.api.bodies import ExplainBody, FactBody, Milliseconds, Name
from session_tracker.review import ReviewKind, ReviewState, Ruling

_STRICT: Final = ConfigDict(extra="forbid", strict=True)
_ANSWER: Final = ConfigDict(extra="forbid")
_REVIEW: Final = "rev_41d0aa37c2e95b6f8d11"
_LEARNER: Final = "lrn_5f0c8a1e2b7d4c9f6a30"
_SESSION: Final = "ses_8d1f0c8a1e2b7d4c9f6a3055"
_MS: Final = 1_795_482_000_000

Words = Annotated[str, Field(min_length=1, max_length=2_000)]


class NewAppeal(BaseModel):
    """An appeal about a stretch of one's own session."""

    model_config = _STRICT

    session_id: Name = Field(examples=[_SESSION])
    from_ms: Milliseconds = Field(examples=[_MS])
    to_ms: Milliseconds = Field(examples=[_MS + 60_000])
    text: Words = Field(examples=["I cleaned my glasses and sat there all the time."])

    @model_validator(mode="after")
    def _forwards(self) -> NewAppeal:
        if self.to_ms <= self.from_ms:
            raise ValueError("to_ms has to lie after from_ms")
        return self


class AppealBody(BaseModel):
    """An appeal as the learner sees it."""

    model_config = _ANSWER

    id: str = Field(examples=[_REVIEW])
    session_id: str = Field(examples=[_SESSION])
    from_ms: int = Field(examples=[_MS])
    to_ms: int = Field(examples=[_MS + 60_000])
    state: Literal["open", "granted", "upheld"]
    text: str | None
    answer: str | None = Field(description="What a person answered.", examples=[None])
    reason: str | None = Field(description="Why it was decided so.", examples=[None])
    opened_utc_ms: int = Field(examples=[_MS])
    answer_by_utc_ms: int = Field(examples=[_MS + 7_200_000])
    decide_by_utc_ms: int = Field(examples=[_MS + 259_200_000])
    decided_utc_ms: int | None = None


class AppealsBody(BaseModel):
    """The learner's appeals, the most urgent first."""

    model_config = _ANSWER

    appeals: list[AppealBody]


class VoteBody(BaseModel):
    """What one reviewer decided."""

    model_config = _ANSWER

    actor: str = Field(examples=["li-hua"], description="Name of the reviewer's key.")
    ruling: Ruling
    reason: str | None = Field(
        description="In words; null in lists.", examples=["the picture shows the learner"]
    )
    from_ms: int | None
    to_ms: int | None
    at_ms: int = Field(examples=[_MS])


class ReviewBody(BaseModel):
    """A question to a person, and how far it is."""

    model_config = _ANSWER

    id: str = Field(examples=[_REVIEW])
    kind: ReviewKind
    cause: str = Field(examples=["mismatch"])
    state: ReviewState
    ruling: Ruling | None
    learner_id: str = Field(examples=[_LEARNER])
    other_learner_id: str | None = Field(
        default=None, description="Of an enrolment hit: whom the face looks like."
    )
    session_id: str | None = Field(examples=[_SESSION])
    template_version: int | None = None
    from_ms: int | None = Field(examples=[_MS])
    to_ms: int | None = Field(examples=[_MS + 60_000])
    spoof: bool = Field(description="Granting it overturns a spoof decision.")
    reviewers_needed: int = Field(description="To grant it.", examples=[1])
    opened_by: str = Field(examples=["rules"])
    opened_ms: int = Field(examples=[_MS])
    answer_by_ms: int = Field(examples=[_MS + 7_200_000])
    decide_by_ms: int = Field(examples=[_MS + 259_200_000])
    answered_ms: int | None
    decided_ms: int | None
    overdue: list[Literal["answer", "decision"]] = Field(examples=[[]])
    votes: list[VoteBody]


class ReviewsBody(BaseModel):
    """Reviews, the most urgent first."""

    model_config = _ANSWER

    reviews: list[ReviewBody]


class PictureBody(BaseModel):
    """A picture that was kept of a check."""

    model_config = _ANSWER

    fact_key: str = Field(examples=["check:chk_5b6f8d1141d0aa37c2e9"])
    taken_ms: int = Field(examples=[_MS])
    keep_until_ms: int = Field(examples=[_MS])
    path: str = Field(description="Where the JPEG is; reading it is recorded.")


class CaseBody(BaseModel):
    """A review with everything there is about it."""

    model_config = _ANSWER

    review: ReviewBody
    name_masked: str | None = Field(examples=["张*"])
    statement: str | None = Field(description="The learner's own words.")
    answer: str | None
    facts: list[FactBody] = Field(description="Facts of the session around the interval.")
    explanation: ExplainBody | None = Field(description="The whole session; null without one.")
    pictures: list[PictureBody]


class NewAnswer(BaseModel):
    """What the learner is told before the decision."""

    model_config = _STRICT

    text: Words = Field(examples=["We are looking at it; you will hear by Thursday."])


class NewDecision(BaseModel):
    """What a reviewer found."""

    model_config = _STRICT

    ruling: Annotated[Ruling, Field(strict=False)]
    reason: Words = Field(
        examples=["the picture shows the learner"], description="The learner is told it."
    )
    from_ms: Milliseconds | None = Field(
        default=None, description="Grant only from here; without it the whole interval."
    )
    to_ms: Milliseconds | None = None
