"""What travels over the learner's own routes, as strict models with examples."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from session_tracker.api.bodies import MAX_MEDIA, Name
from session_tracker.policy import Provenance, Training

_STRICT: Final = ConfigDict(extra="forbid", strict=True)
_ANSWER: Final = ConfigDict(extra="forbid")
_EXAMPLE_MS: Final = 1_795_482_000_000
_EXAMPLE_LEARNER: Final = "lrn_5f0c8a1e2b7d4c9f6a30"
_EXAMPLE_SESSION: Final = "ses_8d1f0c8a1e2b7d4c9f6a3055"


class InvitationBody(BaseModel):
    """A code and a link, each shown only now; using either uses up both."""

    model_config = _ANSWER

    code: str = Field(examples=["1234-5678"])
    code_expires_utc_ms: int = Field(examples=[_EXAMPLE_MS])
    link_token: str = Field(description="For the page: `/learn/#t=LINK_TOKEN`.")
    expires_utc_ms: int = Field(examples=[_EXAMPLE_MS], description="Of the link.")


class SignedOutBody(BaseModel):
    """What was ended."""

    model_config = _ANSWER

    devices: int = Field(examples=[1], description="How many were signed in.")


class SignInWith(BaseModel):
    """A code or a link's token; exactly one of them."""

    model_config = _STRICT | ConfigDict(
        json_schema_extra={
            "examples": [{"code": "1234-5678"}],
            "oneOf": [{"required": ["code"]}, {"required": ["link_token"]}],
        }
    )

    code: Annotated[str, Field(pattern=r"^[0-9]{4}[- ]?[0-9]{4}$")] | None = None
    link_token: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,200}$")] | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.code is None) == (self.link_token is None):
            raise ValueError("give either code or link_token")
        return self


class DeviceTokenBody(BaseModel):
    """What a signed-in device holds."""

    model_config = _ANSWER

    learner_token: str = Field(examples=["lrt_..."])
    expires_utc_ms: int = Field(examples=[_EXAMPLE_MS])


class MyConsentBody(BaseModel):
    """The consent that is in force."""

    model_config = _ANSWER

    id: str = Field(examples=["cns_41d0aa37c2e95b6f8d11"])
    text_version: str = Field(examples=["2026-11"])
    given_utc_ms: int = Field(examples=[_EXAMPLE_MS])
    withdrawn_utc_ms: int | None = None


class ConsentTextBody(BaseModel):
    """The text that a learner is asked to consent to."""

    model_config = _ANSWER

    version: str = Field(examples=["2026-11"])
    zh: str
    en: str


class FaceBody(BaseModel):
    """Where the learner's enrolment stands."""

    model_config = _ANSWER

    state: Literal["approved", "waiting", "refused"]
    provenance: Provenance
    provisional: bool = Field(description="Whether hours wait for the enrolment's confirmation.")
    reasons: list[str] = Field(description="Why it was refused.", examples=[[]])


class MediumBody(BaseModel):
    """A lesson and how far the learner is in it."""

    model_config = _ANSWER

    media_id: str = Field(examples=["sample-lesson"])
    title_zh: str = Field(examples=["作业前的五分钟"])
    title_en: str = Field(examples=["Five minutes before work"])
    src: str = Field(examples=["/web/media/sample-lesson.webm"])
    also: list[str] = Field(
        examples=[["/web/media/sample-lesson.mp4"]], description="The same in other containers."
    )
    duration_ms: int = Field(examples=[240_000])
    resume_ms: int = Field(
        examples=[95_000], description="Where what was credited ends: where to go on."
    )
    reach_ms: int = Field(
        examples=[97_000],
        description="How far it was played, as reported; what begins beyond is not credited.",
    )
    credited_ms: int = Field(examples=[90_000])
    gaps: list[tuple[int, int]] = Field(
        examples=[[[30_000, 35_000]]],
        description="Before `resume_ms`: played but not credited; it may be earned again.",
    )


class MyProgrammeBody(BaseModel):
    """How far the learner is in a programme."""

    model_config = _ANSWER

    name: str = Field(examples=["foshan-2021"])
    title: str
    target_s: int = Field(examples=[43200])
    credited_s: int = Field(examples=[7225])
    shown_late_s: int = Field(
        examples=[150],
        description="While a session runs, what it was credited is shown so much later.",
    )
    provisional_s: int = Field(examples=[0], description="Waits for the enrolment.")
    class_hour_s: int = Field(examples=[2700])
    certificate: str | None = Field(examples=[None])
    media: list[MediumBody]


class MeBody(BaseModel):
    """Everything that the learner's page begins with."""

    model_config = _ANSWER

    learner_id: str = Field(examples=[_EXAMPLE_LEARNER])
    name_masked: str | None = Field(examples=["王*明"])
    category: str = Field(examples=["principal"])
    track: Training
    consent: MyConsentBody | None
    consent_text: ConsentTextBody
    face: FaceBody | None
    face_ways: list[Provenance] = Field(
        examples=[["self_photo", "self_live"]],
        description="How the learner may enrol himself now; none where a face is there.",
    )
    programmes: list[MyProgrammeBody]


class GiveConsent(BaseModel):
    """The learner agrees to the text that was shown."""

    model_config = _STRICT

    text_version: Name = Field(examples=["2026-11"])
    language: Literal["zh", "en"]


class FaceAnswerBody(BaseModel):
    """What became of the picture."""

    model_config = _ANSWER

    accepted: bool
    advice: list[str] = Field(
        examples=[["come_closer"]], description="What to do better, the most helpful first."
    )
    face: FaceBody | None


class LookBody(BaseModel):
    """Live advice; never a score."""

    model_config = _ANSWER

    advice: str = Field(examples=["ok"])


class NewOwnSession(BaseModel):
    """What the learner wants to study."""

    model_config = _STRICT

    programme: Name = Field(examples=["foshan-2021"])
    media: list[Name] = Field(min_length=1, max_length=MAX_MEDIA, examples=[["sample-lesson"]])
    take_over: bool = Field(
        default=False,
        description="End the session on another device, once this one has seen the learner.",
    )


class MySessionBody(BaseModel):
    """One session of the learner."""

    model_config = _ANSWER

    session_id: str = Field(examples=[_EXAMPLE_SESSION])
    programme: str = Field(examples=["foshan-2021"])
    opened_utc_ms: int = Field(examples=[_EXAMPLE_MS])
    closed_utc_ms: int | None = Field(examples=[None])
    settled: bool
    wall_s: int = Field(examples=[3600])
    credited_s: int = Field(examples=[3400])
    void_s: dict[str, int] = Field(examples=[{"absent": 12}])
    provisional: bool


class MySessionsBody(BaseModel):
    """The learner's sessions, the newest first."""

    model_config = _ANSWER

    sessions: list[MySessionBody]
