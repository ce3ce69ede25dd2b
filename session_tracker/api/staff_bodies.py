"""What travels over the routes of staff and institutions, as strict models with examples."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from session_tracker.api.bodies import (
    MAX_VERSION,
    LookedAt,
    Name,
    ShortText,
    TemplateBody,
)
from session_tracker.policy import Training
from session_tracker.records import RegistrationState

_STRICT: Final = ConfigDict(extra="forbid", strict=True)
_ANSWER: Final = ConfigDict(extra="forbid")
_LEARNER: Final = "lrn_5f0c8a1e2b7d4c9f6a30"
_MS: Final = 1_795_482_000_000

IdentityNumber = Annotated[
    str,
    Field(
        min_length=1,
        max_length=40,
        examples=["11010519491231002X"],
        description="18 characters; the check digit is verified (ISO 7064, MOD 11-2).",
    ),
]


class NewPerson(BaseModel):
    """Who a learner is; encrypted under a key of the learner's own."""

    model_config = _STRICT

    name: str = Field(min_length=1, max_length=100, examples=["张三"])
    identity_number: IdentityNumber | None = None
    reason: ShortText | None = Field(
        default=None, description="Of a change after a certificate was issued: needed then."
    )


class PersonBody(BaseModel):
    """Who a learner is, as recorded; masked."""

    model_config = _ANSWER

    learner_id: str = Field(examples=[_LEARNER])
    name_masked: str = Field(examples=["张*"])
    identity_number_masked: str | None = Field(examples=["110105***********X"])


class FindPerson(BaseModel):
    """Whom to look for; in a body, because addresses end up in logs."""

    model_config = _STRICT

    identity_number: IdentityNumber


class RegistrationBody(BaseModel):
    """Where a registration stands."""

    model_config = _ANSWER

    state: RegistrationState
    reasons: list[str] = Field(examples=[["the picture shows somebody else"]])
    template_version: int = Field(examples=[1], description="The picture looked at; 0: none.")
    changed_ms: int = Field(examples=[_MS])
    changed_by: str = Field(examples=["counter-3"], description="Name of the key that decided.")


class StaffLearnerBody(BaseModel):
    """A learner in a list: masked."""

    model_config = _ANSWER

    learner_id: str = Field(examples=[_LEARNER])
    name_masked: str | None = Field(examples=["张*"])
    category: str = Field(examples=["principal"])
    track: Training
    business_ref: str = Field(examples=["biz-0815"])
    template_version: int = Field(
        examples=[1], description="The face that is enrolled now, to be decided about; 0: none."
    )
    face_waits: bool = Field(
        description="Whether hours are provisional until somebody confirms a face: one of "
        "`faces_waiting`."
    )
    faces_waiting: list[int] = Field(
        examples=[[1]],
        description="Versions of the faces that wait, the oldest first: the one enrolled now, and "
        "those that a session was opened with, also where they were replaced or erased since. Each "
        "is confirmed or refused by its `template_version`.",
    )
    registration: RegistrationBody


class StaffLearnersBody(BaseModel):
    """Learners, in the order of their pseudonyms."""

    model_config = _ANSWER

    learners: list[StaffLearnerBody]


class StaffPersonBody(BaseModel):
    """A learner in full, in clear; reading it is recorded."""

    model_config = _ANSWER

    learner_id: str = Field(examples=[_LEARNER])
    name: str | None = Field(examples=["张三"])
    identity_number: str | None = Field(examples=["11010519491231002X"])
    category: str = Field(examples=["principal"])
    track: Training
    industry: str = Field(examples=["furniture"])
    business_ref: str = Field(examples=["biz-0815"])
    created_ms: int = Field(examples=[_MS])
    registration: RegistrationBody
    template: TemplateBody | None
    challenge_route: bool = Field(
        description="Whether checks use the challenge instead of the passive vote."
    )


class StaffWordBody(BaseModel):
    """A reason that staff wrote."""

    model_config = _ANSWER

    subject: str = Field(examples=[_LEARNER], description="Of the ledger's entry.")
    key: str = Field(examples=["registration_approved:1:1795482000000"])
    text: str = Field(examples=["licence and identity card seen at the counter"])


class StaffWordsBody(BaseModel):
    """What staff wrote about a learner; the ledger's entries have the digests."""

    model_config = _ANSWER

    words: list[StaffWordBody]


class Approval(BaseModel):
    """An approval, with what it rests on."""

    model_config = _STRICT

    reason: ShortText = Field(examples=["licence and identity card seen at the counter"])
    face_compared: bool = Field(
        default=False,
        description="Whether the enrolled face was compared with the person or the identity card: "
        "credit under it is then no longer provisional.",
    )
    template_version: LookedAt = None


class Refusal(BaseModel):
    """A refusal, with reasons that the learner is told."""

    model_config = _STRICT

    reasons: list[ShortText] = Field(
        min_length=1, max_length=10, examples=[["the picture shows somebody else"]]
    )
    template_version: LookedAt = None


class FaceRefusal(BaseModel):
    """A refusal of one enrolled face, with reasons that the learner is told where it is his."""

    model_config = _STRICT

    reasons: list[ShortText] = Field(
        min_length=1, max_length=10, examples=[["the picture shows somebody else"]]
    )
    template_version: int = Field(ge=1, le=MAX_VERSION, examples=[1])


class NewErasure(BaseModel):
    """What is to be erased, and why."""

    model_config = _STRICT

    what: Literal["biometrics", "everything"] = Field(
        description="`everything`: name, number and words too; hours stay under the pseudonym."
    )
    reason: ShortText = Field(examples=["the learner asked for it"])


class NewOfflineHours(BaseModel):
    """Class hours that were taught offline."""

    model_config = _STRICT

    programme: Name = Field(examples=["foshan-2021"])
    minutes: int = Field(ge=1, le=1_440, examples=[180], description="Without exam time.")
    held_on: Annotated[date, Field(strict=False)] = Field(examples=["2026-11-20"])
    topic: ShortText = Field(examples=["emergency plans"])


class OfflineHoursBody(BaseModel):
    """Offline class hours as entered."""

    model_config = _ANSWER

    id: str = Field(examples=["off_41d0aa37c2e95b6f8d11"])
    learner_id: str = Field(examples=[_LEARNER])
    programme: str = Field(examples=["foshan-2021"])
    institution: str = Field(examples=["safety-school"], description="Name of its key.")
    minutes: int = Field(examples=[180])
    held_on: date
    topic: str = Field(examples=["emergency plans"])
    entered_ms: int = Field(examples=[_MS])
    withdrawn_ms: int | None = None
    withdrawn_reason: str | None = None


class OfflineListBody(BaseModel):
    """All offline hours of a learner."""

    model_config = _ANSWER

    hours: list[OfflineHoursBody]
    minutes: dict[str, int] = Field(
        examples=[{"foshan-2021": 180}], description="By programme, without withdrawn ones."
    )


class ChallengeRouteBody(BaseModel):
    """Whether a learner's checks use the challenge."""

    model_config = _ANSWER

    learner_id: str = Field(examples=[_LEARNER])
    challenge_route: bool


class LookBody(BaseModel):
    """One time that somebody looked at somebody's data."""

    model_config = _ANSWER

    id: int
    at_ms: int = Field(examples=[_MS])
    actor: str = Field(examples=["counter-3"])
    route: str = Field(examples=["GET /v1/staff/learners/{learner_id}"])
    subject: str = Field(examples=[_LEARNER])
    purpose: str = Field(examples=["call of 24 November"])


class TrailBody(BaseModel):
    """Looks, the newest first."""

    model_config = _ANSWER

    looks: list[LookBody]


class FacesBody(BaseModel):
    """How many people's faces are stored."""

    model_config = _ANSWER

    stored: int = Field(examples=[4_211])
    state: Literal["below", "prepare", "due"] = Field(
        description="`due` from 100 000: file within 30 working days; `prepare` from 80 000."
    )
