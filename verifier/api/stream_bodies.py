"""What travels over the stream routes, as strict models with examples."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from verifier.api.bodies import Fingerprints, Subject, TemplateBytes
from verifier.streaming.advice import Advice
from verifier.streaming.cues import Turn
from verifier.types import Decision, EventKind, Reason

MAX_NUMBER: Final = 2**53 - 1  # what JSON numbers hold exactly (RFC 8259, 6)

_STRICT: Final = ConfigDict(extra="forbid", strict=True)
_EXAMPLE_ID: Final = "J3Zx0bSkq2uXq0c4Tn1yJm1T6eQmV9aB"
_EXAMPLE_STAMP: Final[JsonDict] = {
    "boot_id": "7f3c1f0a5b6d2e19",
    "monotonic_ms": 1_204_331,
    "utc_ms": 1_795_482_204_331,
}


class StampBody(BaseModel):
    """One instant, as the verifier's process saw it."""

    model_config = _STRICT | ConfigDict(json_schema_extra={"examples": [_EXAMPLE_STAMP]})

    boot_id: str = Field(max_length=64, description="Empty where only UTC is known.")
    monotonic_ms: int = Field(ge=-MAX_NUMBER, le=MAX_NUMBER)
    utc_ms: int = Field(ge=0, le=MAX_NUMBER)


class PolicyBody(BaseModel):
    """How the stream is sampled."""

    model_config = _STRICT

    sample_period_ms: int = Field(5_000, ge=100, le=600_000, description="Told to the client.")
    identity_share: float = Field(
        1 / 6, ge=0, le=1, description="Probability that a sample is also an identity sample."
    )
    window_ms: int = Field(25_000, ge=1_000, le=600_000, description="Checks look back so far.")
    check_frames: int = Field(5, ge=1, le=32, description="Frames of a check, at most.")
    gap_ms: int = Field(
        12_000, ge=100, le=600_000, description="After so long without a frame all begins anew."
    )
    pictures: bool = Field(
        False, description="Whether events of failed checks carry a small picture as evidence."
    )
    passive_vote: bool = Field(
        True, description="Whether passive liveness speaks: not for somebody whom it errs on."
    )
    away_yaw_deg: int = Field(
        0, ge=0, le=90, description="Yaw that counts as looking away; 0: poses are not measured."
    )


class OpenStream(BaseModel):
    """What the session tracker asks for."""

    model_config = _STRICT | ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "session_id": "s-20261124-0001",
                    "subject": "learner-4711",
                    "template": "Qk5UAUJOUgEQMjAyNjExMjQtYQ==",
                    "policy": {"sample_period_ms": 5000},
                }
            ]
        }
    )

    session_id: str = Field(min_length=1, max_length=200)
    subject: Subject
    template: TemplateBytes
    policy: PolicyBody = Field(default_factory=PolicyBody)
    fingerprints: Fingerprints = Field(
        default=b"",
        description="Of the learner's earlier frames, 64 bytes each, as events gave them.",
    )


class GrantBody(BaseModel):
    """What the session tracker hands on to the learning client."""

    stream_id: str = Field(examples=[_EXAMPLE_ID])
    client_token: str = Field(description="For `Authorization: Bearer`, with every frame.")
    expires_utc_ms: int = Field(description="End of the token's life.", examples=[1795482804331])
    frames_path: str = Field(examples=[f"/v1/streams/{_EXAMPLE_ID}/frames"])
    socket_path: str = Field(examples=[f"/v1/streams/{_EXAMPLE_ID}/socket"])
    offer_path: str = Field(examples=[f"/v1/streams/{_EXAMPLE_ID}/offer"])
    ice_servers: list[dict[str, Any]] = Field(
        default=[],
        examples=[[{"urls": ["stun:stun.example.org"]}]],
        description="For `new RTCPeerConnection`, as they are.",
    )
    sample_period_ms: int = Field(examples=[5000])


class ShownBody(BaseModel):
    """The challenge that the device has to show now."""

    id: str
    step: int = Field(description="Counts from 1.", examples=[1])
    steps: int = Field(examples=[3])
    turn: Turn = Field(description="Left and right are the learner's own.")
    remaining_ms: int = Field(description="Until the challenge is over.", examples=[8_000])
    attempt: int = Field(examples=[1])


class CueBody(BaseModel):
    """What a device is told, the same on every transport: never a score."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "seq": 17,
                    "accepted": True,
                    "advice": "ok",
                    "period_ms": 5000,
                    "challenge": None,
                }
            ]
        }
    )

    seq: int | None = Field(description="The frame that this answers; null where pushed.")
    accepted: bool | None = Field(description="Whether the frame became a sample.")
    advice: Advice
    period_ms: int = Field(description="Wished time between two frames.")
    challenge: ShownBody | None


class BurstBody(BaseModel):
    """The answer to a burst: a cue for each frame, in order."""

    cues: list[CueBody]


class Offer(BaseModel):
    """A WebRTC offer, or its answer."""

    model_config = _STRICT | ConfigDict(
        json_schema_extra={"examples": [{"sdp": "v=0\r\n...", "type": "offer"}]}
    )

    sdp: str = Field(min_length=1, max_length=256 * 1024)
    type: Literal["offer"] = "offer"


class Answer(BaseModel):
    """The answer to a WebRTC offer, for `setRemoteDescription`."""

    sdp: str
    type: Literal["answer"] = "answer"


class AskCheck(BaseModel):
    """Judge the frames of the current track that are there already."""

    model_config = _STRICT | ConfigDict(json_schema_extra={"examples": [{"check_id": "c-17"}]})

    check_id: str = Field(
        min_length=1, max_length=200, description="The same id gets the first answer again."
    )
    not_before: StampBody | None = Field(
        default=None, description="Judge only frames that arrived from this instant on."
    )
    awaited: bool = Field(
        default=False,
        description="Whether the learner knows of it and waits: it goes before silent work.",
    )


class AskChallenge(BaseModel):
    """Show the learner an active challenge; its event follows on the stream's list."""

    model_config = _STRICT | ConfigDict(json_schema_extra={"examples": [{"check_id": "c-18"}]})

    check_id: str = Field(min_length=1, max_length=200, description="Single-use.")
    turns: int = Field(
        4, ge=3, le=16, description="Of the first attempt; each further one has one more."
    )
    window_ms: int = Field(60_000, ge=5_000, le=600_000, description="Time of one attempt.")
    attempts: int = Field(2, ge=1, le=5)
    not_before: StampBody | None = Field(
        default=None, description="Frames from this instant on have to show the learner, too."
    )


class EventBody(BaseModel):
    """One fact about a stream. Ids count up from 1 without holes."""

    stream_id: str = Field(examples=[_EXAMPLE_ID])
    session_id: str = Field(examples=["s-20261124-0001"])
    event_id: int = Field(examples=[18])
    kind: EventKind
    at: StampBody = Field(description="When the newest judged frame arrived.")
    frame_seq: int = Field(examples=[17])
    track: int = Field(description="0: no face.", examples=[1])
    faces: int = Field(examples=[1])
    decision: Decision | None = Field(description="Null for presence.")
    reasons: list[Reason]
    since: StampBody | None = Field(description="When the oldest judged frame arrived.")
    check_id: str | None
    similarity: float | None = Field(examples=[0.617204])
    threshold: float | None = Field(examples=[0.393])
    liveness_score: float | None = Field(examples=[0.934011])
    liveness_threshold: float | None = Field(examples=[0.5])
    frame_digests: list[str] = Field(description="SHA-256 of the judged frames' bytes.")
    picture_sha256: str = Field(description="Of `picture`; empty where there is none.")
    models: dict[str, str] = Field(description="Role to `id@sha256`.")
    profile_version: str
    turns: list[str] = Field(description="What a challenge asked for, in its last attempt.")
    attempts: int = Field(description="How many attempts a challenge took.")
    fingerprint: str = Field(
        description="Of a presence sample's picture, hexadecimal; hand it in with later streams."
    )
    before: StampBody | None = Field(
        description="Arrival of the frames that matched just before a challenge was shown."
    )
    signature: str = Field(
        description="`key-id.base64url`, Ed25519 over RFC 8785 JSON; empty for presence."
    )
    picture: str = Field(description="Small JPEG of a failed check where asked for; base64.")


class Acknowledge(BaseModel):
    """Everything up to this event is durable at the reader."""

    model_config = _STRICT | ConfigDict(json_schema_extra={"examples": [{"event_id": 18}]})

    event_id: int = Field(ge=0, le=MAX_NUMBER)
