"""What travels over the verify and template routes, as strict models with examples."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag
from pydantic.json_schema import JsonSchemaValue, WithJsonSchema

from verifier.edge import Problem
from verifier.pipeline.templates import MAX_SUBJECT_CHARS, MAX_TEMPLATE_BYTES
from verifier.types import Decision, LivenessDecision, Reason

MAX_FRAMES: Final = 8
MAX_ITEMS: Final = 64
MAX_COMPARED: Final = 1_000
"""Templates that one is compared with, at most."""
_MAX_IMAGE_BYTES: Final = 64 * 1024 * 1024  # the highest that the settings allow
_EXAMPLE_IMAGE: Final = "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAUDBAQEAwUEBAQFBQUGBww="
_EXAMPLE_TEMPLATE: Final = "Qk5UAUJOUgEQMjAyNjExMjQtYQ=="
_EXAMPLE_SUBJECT: Final = "learner-4711"
_EXAMPLE_QUALITY: Final = {
    "Sharpness": 812.4,
    "IlluminationMean": 131.0,
    "IlluminationUniformity": 0.86,
    "HeadPoseYaw": -3.1,
    "HeadPosePitch": 4.0,
    "HeadPoseRoll": 0.8,
    "InterEyeDistance": 96.2,
    "UnifiedQualityScore": 0.91,
}
_EXAMPLE_MODELS: Final = {
    "detector": "yunet_n_dynamic@104ee26c71d5",
    "embedder": "face_reidentification_retail_0095@5f1d2a",
}

_STRICT: Final = ConfigDict(extra="forbid", strict=True)


def _from_base64(value: object) -> bytes:
    """Decode base64 of either alphabet, padded or not; the error never shows the input."""
    if not isinstance(value, str):
        raise ValueError("a base64 string is needed, not a path, an address or an object")
    if value.startswith("data:"):
        raise ValueError("send plain base64 without a `data:` prefix")
    plain = value.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("this is not base64") from None


def _base64_schema(max_bytes: int, example: str, description: str) -> JsonSchemaValue:
    return {
        "type": "string",
        "contentEncoding": "base64",
        "pattern": "^[A-Za-z0-9+/_-]+={0,2}$",
        "minLength": 4,
        "maxLength": (max_bytes + 2) // 3 * 4,
        "description": description,
        "examples": [example],
    }


ImageBytes = Annotated[
    bytes,
    BeforeValidator(_from_base64),
    Field(min_length=1, max_length=_MAX_IMAGE_BYTES),
    WithJsonSchema(
        _base64_schema(_MAX_IMAGE_BYTES, _EXAMPLE_IMAGE, "A JPEG, PNG or WebP file in base64."),
        mode="validation",
    ),
]
TemplateBytes = Annotated[
    bytes,
    BeforeValidator(_from_base64),
    Field(min_length=1, max_length=MAX_TEMPLATE_BYTES),
    WithJsonSchema(
        _base64_schema(
            MAX_TEMPLATE_BYTES, _EXAMPLE_TEMPLATE, "The template as it was returned, in base64."
        ),
        mode="validation",
    ),
]
MAX_FINGERPRINTS_BYTES: Final = 64 * 20_000
Fingerprints = Annotated[
    bytes,
    BeforeValidator(_from_base64),
    Field(max_length=MAX_FINGERPRINTS_BYTES),
    WithJsonSchema(
        _base64_schema(MAX_FINGERPRINTS_BYTES, "", "Fingerprints, one after the other, in base64."),
        mode="validation",
    ),
]
Subject = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_SUBJECT_CHARS,
        pattern=r"^[^\x00-\x1f\x7f]+$",
        description="Your own reference of the person, best a pseudonym. Never logged.",
        examples=[_EXAMPLE_SUBJECT],
    ),
]


class CreateTemplate(BaseModel):
    """A photograph that shall become a template."""

    model_config = _STRICT | ConfigDict(
        json_schema_extra={
            "examples": [{"subject": _EXAMPLE_SUBJECT, "photo": _EXAMPLE_IMAGE}],
        }
    )

    subject: Subject
    photo: ImageBytes


class TemplateBody(BaseModel):
    """A template, which the verifier does not keep: store it with the person's record."""

    template: str = Field(
        description="Opaque, encrypted, bound to the subject; base64.",
        examples=[_EXAMPLE_TEMPLATE],
    )
    subject: str = Field(examples=[_EXAMPLE_SUBJECT])
    quality: dict[str, float] = Field(
        description="Quality of the photograph by OFIQ name.", examples=[_EXAMPLE_QUALITY]
    )
    models: dict[str, str] = Field(
        description="Role -> id@sha256 of the models that made it.", examples=[_EXAMPLE_MODELS]
    )
    profile_version: str = Field(examples=["open-2026.11"])


class OneTemplate(BaseModel):
    """A template and whose it is."""

    model_config = _STRICT

    subject: Subject
    template: TemplateBytes


class CompareTemplates(BaseModel):
    """One template against many."""

    model_config = _STRICT | ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "probe": {"subject": _EXAMPLE_SUBJECT, "template": _EXAMPLE_TEMPLATE},
                    "others": [{"subject": "learner-0815", "template": _EXAMPLE_TEMPLATE}],
                }
            ]
        }
    )

    probe: OneTemplate
    others: list[OneTemplate] = Field(max_length=MAX_COMPARED)


class LikenessBody(BaseModel):
    """A subject whose face looks like the probe's."""

    subject: str = Field(examples=["learner-0815"])
    similarity: float = Field(examples=[0.617204])
    threshold: float = Field(examples=[0.393])


class ComparisonBody(BaseModel):
    """Who looks like the probe: a question to a person, never a decision."""

    alike: list[LikenessBody] = Field(description="The most similar first.")
    compared: int = Field(examples=[41])
    skipped: list[str] = Field(
        description="Subjects whose template is of another model, or unreadable.", examples=[[]]
    )


_Frames = Annotated[
    list[ImageBytes],
    Field(
        min_length=1,
        max_length=MAX_FRAMES,
        description="Pictures of one moment, oldest first. More frames judge liveness better.",
    ),
]


class VerifyByTemplate(BaseModel):
    """The question whether these frames show the person of a template, alive."""

    model_config = _STRICT | ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "subject": _EXAMPLE_SUBJECT,
                    "template": _EXAMPLE_TEMPLATE,
                    "frames": [_EXAMPLE_IMAGE],
                }
            ]
        }
    )

    subject: Subject
    template: TemplateBytes
    frames: _Frames


class VerifyByPhoto(BaseModel):
    """The question whether these frames show the person of a photograph, alive."""

    model_config = _STRICT | ConfigDict(
        json_schema_extra={
            "examples": [{"reference_photo": _EXAMPLE_IMAGE, "frames": [_EXAMPLE_IMAGE]}]
        }
    )

    reference_photo: ImageBytes
    frames: _Frames


def _sort(value: Any) -> str:
    named = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    return "photo" if "reference_photo" in named and "template" not in named else "template"


VerifyRequest = Annotated[
    Annotated[VerifyByTemplate, Tag("template")] | Annotated[VerifyByPhoto, Tag("photo")],
    Discriminator(_sort),
]


class LivenessBody(BaseModel):
    """Passive liveness over the frames."""

    score: float | None = Field(description="0..1, the higher the more alive.", examples=[0.93])
    threshold: float = Field(examples=[0.5])
    decision: LivenessDecision


class FaceBody(BaseModel):
    """Where the face is on the best frame, in pixels of the upright picture."""

    box: tuple[float, float, float, float] = Field(
        description="x, y of the top left corner, width, height.", examples=[[210, 96, 184, 232]]
    )
    score: float = Field(description="Confidence of the detector, 0..1.", examples=[0.94])
    landmarks: list[tuple[float, float]] = Field(
        min_length=5,
        max_length=5,
        description="The person's own right eye, left eye, nose tip, right and left mouth corner.",
        examples=[[[262, 190], [344, 188], [303, 236], [270, 278], [338, 276]]],
    )


class VerdictBody(BaseModel):
    """The answer. *No face* and *mismatch* are answers too."""

    decision: Decision
    reasons: list[Reason]
    similarity: float | None = Field(
        description="Median cosine similarity over the usable frames.", examples=[0.641]
    )
    threshold: float = Field(examples=[0.393])
    fmr_at_threshold: float = Field(
        description="False match rate that the threshold profile claims.", examples=[0.0001]
    )
    liveness: LivenessBody
    quality: dict[str, float] | None = Field(
        description="Of the best usable frame, by OFIQ name.", examples=[_EXAMPLE_QUALITY]
    )
    face: FaceBody | None
    frames_judged: int = Field(ge=0, le=MAX_FRAMES, examples=[1])
    frame_digests: list[str] = Field(description="SHA-256 of every frame, in order.")
    reference_digest: str = Field(description="SHA-256 of the template or photograph as sent.")
    subject: str | None = Field(description="None for a photograph.", examples=[_EXAMPLE_SUBJECT])
    models: dict[str, str] = Field(examples=[_EXAMPLE_MODELS])
    profile_version: str = Field(examples=["open-2026.11"])
    judged_at_utc_ms: int = Field(examples=[1795482204331])
    signature: str = Field(
        description="`key-id.base64url`: Ed25519 over `benren sign v1`, NUL, `verdict`, NUL and "
        "the canonical JSON (RFC 8785) of this object without `signature` and `timings_ms`. "
        "Public keys: `GET /v1/keys`."
    )
    timings_ms: dict[str, float] = Field(
        description="Milliseconds per step of this request (reference, decode, assess, judge: "
        "waiting included) and, within assess, per stage of its batch (detect, quality, embed, "
        "liveness).",
        examples=[{"reference": 0.1, "decode": 3.1, "assess": 41.7, "detect": 12.4}],
    )


class VerifyBatch(BaseModel):
    """Many verifications at once, for what nobody waits for."""

    model_config = _STRICT

    items: list[VerifyRequest] = Field(min_length=1, max_length=MAX_ITEMS)


class BatchItem(BaseModel):
    """The result of one item, or its own problem."""

    verdict: VerdictBody | None = None
    problem: Problem | None = None


class BatchBody(BaseModel):
    """One result per item, in the order of the items."""

    results: list[BatchItem]
