"""What travels over the tracker's routes, as strict models with examples."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.json_schema import WithJsonSchema

from session_tracker.policy import Provenance, Training

MAX_TEMPLATE_BYTES: Final = 64 * 1024
MAX_MEDIA: Final = 100
MAX_NUMBER: Final = 2**53 - 1
"""The largest integer that JSON readers agree on (RFC 8785)."""
_EXAMPLE_LEARNER: Final = "lrn_5f0c8a1e2b7d4c9f6a30"
_EXAMPLE_SESSION: Final = "ses_8d1f0c8a1e2b7d4c9f6a3055"
_EXAMPLE_MS: Final = 1_795_482_000_000
_HASH: Final = "b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c"

_STRICT: Final = ConfigDict(extra="forbid", strict=True)
_ANSWER: Final = ConfigDict(extra="forbid")


def _from_base64(value: object) -> bytes:
    """Decode base64 of either alphabet; the error never shows the input."""
    if not isinstance(value, str):
        raise ValueError("a base64 string is needed")
    plain = value.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("this is not base64") from None


Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
"""A plain code of the programme's vocabulary."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$")]
"""An id that the caller chose."""
ShortText = Annotated[str, Field(min_length=1, max_length=500)]
Milliseconds = Annotated[int, Field(ge=0, le=MAX_NUMBER)]
LookedAt = Annotated[
    int | None,
    Field(
        ge=0,
        le=MAX_NUMBER,
        examples=[1],
        description="The enrolled face that you looked at; 409 where another was enrolled since.",
    ),
]
"""A version of a learner's template."""
MAX_VERSION: Final = 2**31 - 1
"""Of a template: as the database keeps it."""
TemplateText = Annotated[
    bytes,
    BeforeValidator(_from_base64),
    Field(min_length=1, max_length=MAX_TEMPLATE_BYTES),
    WithJsonSchema(
        {
            "type": "string",
            "contentEncoding": "base64",
            "pattern": "^[A-Za-z0-9+/_-]+={0,2}$",
            "minLength": 4,
            "maxLength": (MAX_TEMPLATE_BYTES + 2) // 3 * 4,
            "description": "The template as `POST /v1/templates` of the verifier returned it.",
            "examples": ["Qk5UAUJOUgEQMjAyNjExMjQtYQ=="],
        },
        mode="validation",
    ),
]


class NewLearner(BaseModel):
    """Somebody who will study; no name and no identity number."""

    model_config = _STRICT

    category: Code = Field(examples=["principal"])
    track: Annotated[Training, Field(strict=False)] = Field(examples=["initial"])
    industry: Code = Field(examples=["furniture"])
    business_ref: Name = Field(examples=["biz-0815"], description="Your reference of the business.")


class LearnerBody(BaseModel):
    """A learner under a pseudonym."""

    model_config = _ANSWER

    learner_id: str = Field(examples=[_EXAMPLE_LEARNER])
    category: str = Field(examples=["principal"])
    track: Training
    industry: str = Field(examples=["furniture"])
    business_ref: str = Field(examples=["biz-0815"])
    created_ms: int = Field(examples=[_EXAMPLE_MS])


class NewTemplate(BaseModel):
    """An enrolment."""

    model_config = _STRICT

    template: TemplateText
    provenance: Annotated[Provenance, Field(strict=False)] = Field(examples=["id_photo"])


class TemplateBody(BaseModel):
    """What is known of an enrolment; never the template itself."""

    model_config = _ANSWER

    learner_id: str = Field(examples=[_EXAMPLE_LEARNER])
    version: int = Field(examples=[1])
    provenance: Provenance
    enrolled_ms: int = Field(examples=[_EXAMPLE_MS])
    confirmed_ms: int | None = None
    erased_ms: int | None = None


class Because(BaseModel):
    """A decision needs its reason."""

    model_config = _STRICT

    reason: ShortText = Field(examples=["compared with the identity card at the counter"])


class Confirmation(Because):
    """A confirmation of an enrolment, with the face that was looked at."""

    template_version: int | None = Field(
        default=None,
        ge=1,
        le=MAX_VERSION,
        examples=[1],
        description="The enrolled face that you looked at, also an older one; default: the newest.",
    )


class ErasedBody(BaseModel):
    """Proof of an erasure."""

    model_config = _ANSWER

    learner_id: str = Field(examples=[_EXAMPLE_LEARNER])
    templates_erased: int = Field(examples=[1])
    pictures_erased: int = Field(examples=[0])
    proof: dict[str, Any] = Field(
        description="An entry of the ledger with its way to a signed head; keep it.",
        examples=[{"format": "benren-erasure-1", "index": 17}],
    )


class NewConsent(BaseModel):
    """The learner's separate consent to face verification, given before the first frame."""

    model_config = _STRICT

    text_version: Name = Field(examples=["2026-11"], description="Which text was agreed to.")


class ConsentBody(BaseModel):
    """A consent as recorded."""

    model_config = _ANSWER

    consent_id: str = Field(examples=["cns_41d0aa37c2e95b6f8d11"])
    learner_id: str = Field(examples=[_EXAMPLE_LEARNER])
    purpose: Literal["face_verification"]
    text_version: str = Field(examples=["2026-11"])
    given_ms: int = Field(examples=[_EXAMPLE_MS])
    withdrawn_ms: int | None = None


class ProgrammeBody(BaseModel):
    """A programme and the rules in force."""

    model_config = _ANSWER

    programme: str = Field(examples=["foshan-2021"])
    version: str = Field(examples=["1"])
    title: str
    digest: str = Field(examples=[_HASH], description="SHA-256 of the rules.")
    class_hour_s: int = Field(examples=[2700])
    target_s: dict[str, int] = Field(examples=[{"initial": 43200, "refresher": 21600}])
    policy: dict[str, Any] = Field(description="Every rule, as the policy file states it.")


class NewSession(BaseModel):
    """What opening a session needs."""

    model_config = _STRICT

    learner_id: Name = Field(examples=[_EXAMPLE_LEARNER])
    consent_id: Name = Field(examples=["cns_41d0aa37c2e95b6f8d11"])
    programme: Name = Field(examples=["foshan-2021"])
    media: list[Name] = Field(
        min_length=1,
        max_length=MAX_MEDIA,
        examples=[["lesson-1"]],
        description="The media that will be played.",
    )
    take_over: bool = Field(
        default=False,
        description="End the session on another device, once this one has seen the learner.",
    )


class StreamGrantBody(BaseModel):
    """How the learning client sends frames."""

    model_config = _ANSWER

    stream_id: str
    client_token: str
    expires_utc_ms: int = Field(examples=[_EXAMPLE_MS])
    frames_path: str = Field(examples=["/v1/streams/q3J8/frames"])
    socket_path: str = Field(examples=["/v1/streams/q3J8/socket"])
    offer_path: str = Field(examples=["/v1/streams/q3J8/offer"])
    ice_servers: list[dict[str, Any]] = Field(
        default=[],
        examples=[[{"urls": ["stun:stun.example.org"]}]],
        description="For `new RTCPeerConnection`, as they are.",
    )
    sample_period_ms: int = Field(examples=[5000])


class SessionBody(BaseModel):
    """A session as the learner may see it: no scores, no checks."""

    model_config = _ANSWER

    session_id: str = Field(examples=[_EXAMPLE_SESSION])
    state: Literal[
        "created",
        "awaiting_start_check",
        "running",
        "challenged",
        "paused",
        "suspended",
        "closed",
        "settled",
    ]
    reason: str | None = Field(
        examples=["absent"],
        description="Why the player stands still, or how the session ended, as a plain code.",
    )
    play: bool = Field(description="Whether the player may run.")
    credited_s: int = Field(examples=[1325], description="Of this session, so far.")
    course_credited_s: int = Field(examples=[7225], description="Of the whole course, so far.")
    target_s: int = Field(examples=[43200])
    certificate: str | None = Field(examples=[None], description="Its number, once issued.")
    report_every_s: int = Field(examples=[15], description="How often to report playback.")


class OpenedBody(BaseModel):
    """A session that was opened; the token goes to the learner's device."""

    model_config = _ANSWER

    session_id: str = Field(examples=[_EXAMPLE_SESSION])
    session_token: str
    stream: StreamGrantBody
    session: SessionBody


class PlaybackReport(BaseModel):
    """Where the player is; sent at every change and every `report_every_s`."""

    model_config = _STRICT

    seq: int = Field(ge=1, le=MAX_NUMBER, examples=[7], description="Counts up from 1.")
    media_id: Name = Field(examples=["lesson-1"])
    media_ms: Milliseconds = Field(examples=[90_000])
    playing: bool
    interaction: bool = Field(default=False, description="Touched since the last report.")
    client_ms: Milliseconds | None = Field(
        default=None, examples=[_EXAMPLE_MS], description="The device's clock: advisory."
    )


class CourseBody(BaseModel):
    """Where a learner stands in a programme. Credited and wall-clock time are two fields."""

    model_config = _ANSWER

    learner_id: str = Field(examples=[_EXAMPLE_LEARNER])
    programme: str = Field(examples=["foshan-2021"])
    policy_version: str = Field(examples=["1"])
    track: Training
    credited_s: int = Field(examples=[7225])
    provisional_s: int = Field(examples=[0])
    pending_s: int = Field(examples=[0])
    wall_s: int = Field(examples=[9012])
    target_s: int = Field(examples=[43200])
    class_hours: int = Field(examples=[2])
    days: dict[str, int] = Field(examples=[{"2026-11-24": 7225}])
    sessions: list[SessionCreditBody]
    certificate: str | None = None


class SessionCreditBody(BaseModel):
    """One session's part in a course."""

    model_config = _ANSWER

    session_id: str = Field(examples=[_EXAMPLE_SESSION])
    start_ms: int = Field(examples=[_EXAMPLE_MS])
    wall_s: int = Field(examples=[3600])
    verified_s: int = Field(examples=[3420])
    credited_s: int = Field(examples=[3400])
    void_s: dict[str, int] = Field(examples=[{"after_last_pass": 12}])
    provisional: bool = Field(description="Whether some of it waits for the face's confirmation.")
    template_version: int = Field(
        examples=[1], description="The face it was verified against; 0: none, staff answered."
    )
    closed: bool
    settled: bool


class CreditedBody(BaseModel):
    """Credited time."""

    model_config = _ANSWER

    start_ms: int
    end_ms: int
    evidence: str = Field(examples=["face"])
    media_id: str = Field(examples=["lesson-1"])
    media_ms: int


class VoidBody(BaseModel):
    """Time that was not credited, and why."""

    model_config = _ANSWER

    start_ms: int
    end_ms: int
    reason: str = Field(examples=["absent"])


class FactBody(BaseModel):
    """One fact of a session."""

    model_config = _ANSWER

    kind: str = Field(examples=["check"])
    key: str
    at_ms: int
    data: dict[str, Any]


class SpanBody(BaseModel):
    """Time of a session with one fate: [from_ms, to_ms)."""

    model_config = _ANSWER

    from_ms: int
    to_ms: int
    state: Literal["pending", "credited", "void", "disputed", "granted", "upheld"]
    reason: str | None = Field(
        description="Why it does not count, or not yet for good; null where it counts.",
        examples=["absent"],
    )
    evidence: list[str] = Field(
        description="Keys of the facts that say so.", examples=[["presence:3", "paused:17"]]
    )


class ExplainBody(BaseModel):
    """The whole story of a session, for servers and reviewers."""

    model_config = _ANSWER

    session_id: str = Field(examples=[_EXAMPLE_SESSION])
    learner_id: str = Field(examples=[_EXAMPLE_LEARNER])
    policy: str = Field(examples=["foshan-2021@1"])
    start_ms: int
    end_ms: int
    closed: bool
    verified_ms: int
    credited_ms: int
    void_ms: dict[str, int]
    credited: list[CreditedBody]
    void: list[VoidBody]
    anomalies: list[dict[str, Any]]
    facts: list[FactBody]
    from_ms: int = Field(description="As `start_ms`.")
    to_ms: int = Field(description="As `end_ms`.")
    credited_s: int = Field(description="Whole seconds that count, provisional ones too.")
    seconds: dict[str, int] = Field(
        description="Whole seconds by state and reason; they add up to the session's.",
        examples=[{"credited": 2_520, "void:absent": 40}],
    )
    spans: list[SpanBody] = Field(description="The session without rest, in order of time.")
    words: dict[str, dict[str, str]] = Field(
        description="Plain words for the codes of `spans`, by language."
    )


class HeadBody(BaseModel):
    """A signed head of the ledger. Keep it: it binds us to every entry before it."""

    model_config = _ANSWER

    size: int = Field(examples=[1024])
    root: str = Field(examples=[_HASH])
    at_ms: int = Field(examples=[_EXAMPLE_MS])
    signature: str = Field(examples=["20261124-a.3q2-7w"])


class InclusionBody(BaseModel):
    """Proof that an entry lies in the ledger of a size (RFC 9162, 2.1.3)."""

    model_config = _ANSWER

    index: int = Field(examples=[17])
    size: int = Field(examples=[1024])
    leaf_hash: str = Field(examples=[_HASH])
    path: list[str] = Field(examples=[[_HASH]])


class ConsistencyBody(BaseModel):
    """Proof that an earlier ledger is the beginning of a later one (RFC 9162, 2.1.4)."""

    model_config = _ANSWER

    earlier: int = Field(examples=[512])
    later: int = Field(examples=[1024])
    proof: dict[str, Any]


class CertificateBody(BaseModel):
    """What anybody may know of a certificate."""

    model_config = _ANSWER

    number: str = Field(examples=["BR2026-7K3M9QX2TA"])
    state: Literal["valid", "revoked"]
    check_code: str | None = Field(
        examples=["4T9K2M7XQ0ZC8RWA"], description="The one that was given, where it fits."
    )
    holder: str = Field(examples=["lrn_5f…30"], description="The pseudonym, masked.")
    holder_name: str | None = Field(
        examples=["欧**"],
        description="Masked, for whoever gives the check code; in clear for the learner himself."
        " None where the name was changed since the certificate was issued.",
    )
    programme: str = Field(examples=["foshan-2021"])
    title: str
    track: str = Field(examples=["initial"])
    credited_s: int = Field(examples=[43200])
    class_hours: int = Field(examples=[16])
    issued_ms: int = Field(examples=[_EXAMPLE_MS])
    revoked_ms: int | None = None
    reason: str | None = Field(default=None, description="Why it was revoked.")


class CertificatesBody(BaseModel):
    """A learner's certificates."""

    model_config = _ANSWER

    certificates: list[CertificateBody]


class VoucherBody(BaseModel):
    """A voucher (凭证), obtained or missing."""

    model_config = _ANSWER

    kind: str = Field(examples=["online_hours"])
    programme: str = Field(examples=["foshan-2021"])
    title_zh: str = Field(examples=["线上学时凭证 · 佛山市两类人员安全生产线上培训"])
    title_en: str
    obtained: bool = Field(description="Shown in colour; else in grey.")
    obtained_utc_ms: int | None = Field(examples=[_EXAMPLE_MS])
    number: str | None = Field(examples=["BR2026-7K3M9QX2TA"], description="Of the certificate.")


class VouchersBody(BaseModel):
    """A learner's vouchers, obtained ones first."""

    model_config = _ANSWER

    vouchers: list[VoucherBody]


CourseBody.model_rebuild()
