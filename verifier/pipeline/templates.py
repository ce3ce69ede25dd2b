"""Templates as opaque blobs: an embedding, sealed for one subject and one embedding model.

Layout: ``BNT`` and the version byte, then what `KeyRing.seal` made of: four bytes (big-endian)
length of a canonical JSON object, that object, and the embedding as little-endian float32. The
header and the subject are authenticated with it: a template opens for its own subject only.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from verifier.clock import Clock
from verifier.errors import (
    BenrenError,
    SealBroken,
    TemplateError,
    TemplateOfAnotherModel,
    TemplateTampered,
    UnknownKey,
)
from verifier.keys import KeyRing, canonical_json
from verifier.types import Reason

if TYPE_CHECKING:
    from verifier.pipeline.engine import Enrolment
    from verifier.types import Vector

MAX_TEMPLATE_BYTES: Final = 64 * 1024
MAX_SUBJECT_CHARS: Final = 200
_MAGIC: Final = b"BNT"
_VERSION: Final = 1
_PURPOSE: Final = "template"
_ENROL_AGAIN: Final = "Enrol the subject again (POST /v1/templates)."


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """What a blob holds."""

    subject: str
    embedding: Vector
    """(d,) float32, L2-normalised."""
    embedder: str
    """``id@sha256`` of the embedding model."""
    quality: Mapping[str, float]
    """By OFIQ name, of the photograph."""
    created_utc_ms: int


class TemplateRefused(BenrenError):
    """The photograph cannot become a template."""

    status = 422

    def __init__(self, reasons: tuple[Reason, ...]) -> None:
        self.reasons = reasons
        named = ", ".join(reason.value.replace("_", " ") for reason in reasons)
        super().__init__(
            f"The photograph cannot become a template: {named}.",
            remedy="Use a sharp, evenly lit photograph of one person who looks into the camera.",
        )

    @property
    def members(self) -> dict[str, list[str]]:
        """The reasons, by name."""
        return {"reasons": [reason.value for reason in self.reasons]}


class TemplateVault:
    """Seals embeddings into templates and opens them again; stores nothing."""

    def __init__(self, keyring: KeyRing, *, embedder: str, clock: Clock) -> None:
        self._keyring = keyring
        self._embedder = embedder
        self._clock = clock

    @property
    def embedder(self) -> str:
        """``id@sha256`` of the model whose templates this vault makes and takes."""
        return self._embedder

    def seal(self, *, subject: str, embedding: Vector, quality: Mapping[str, float]) -> bytes:
        """Make the blob of an embedding, (d,) float32 of length 1, for one subject."""
        if embedding.ndim != 1 or embedding.dtype != np.float32 or not _is_unit(embedding):
            raise ValueError(
                f"embedding: expected (d,) float32 of length 1, got {embedding.shape} "
                f"{embedding.dtype}"
            )
        about = {
            "created_utc_ms": self._clock.stamp().utc_ms,
            "embedder": self._embedder,
            "quality": dict(quality),
        }
        text = canonical_json(about, floats=True)
        payload = struct.pack(">I", len(text)) + text + embedding.astype("<f4").tobytes()
        header = _MAGIC + bytes([_VERSION])
        return header + self._keyring.seal(_PURPOSE, payload, _context(header, subject))

    def open(self, blob: bytes, *, subject: str) -> Template:
        """Open a blob for its subject.

        Raises TemplateTampered where it was altered, cut off, made for somebody else or sealed
        with an unknown key, TemplateOfAnotherModel where another embedder made it.
        """
        header = blob[: len(_MAGIC) + 1]
        if not header.startswith(_MAGIC) or len(header) <= len(_MAGIC):
            raise TemplateTampered("The template is not one of Benren's.", remedy=_ENROL_AGAIN)
        if header[-1] != _VERSION or len(blob) > MAX_TEMPLATE_BYTES:
            raise TemplateError(
                f"The template has a layout (version {header[-1]}) that this release cannot read.",
                remedy="Update the verifier, or enrol the subject again (POST /v1/templates).",
            )
        try:
            payload = self._keyring.open(_PURPOSE, blob[len(header) :], _context(header, subject))
        except UnknownKey as error:
            raise TemplateTampered(
                "The template was sealed with a key that is not in the key ring.",
                remedy="Put the retired key back (ID.open), or enrol the subject again.",
            ) from error
        except SealBroken as error:
            raise TemplateTampered(
                "The template was altered, or belongs to another subject.", remedy=_ENROL_AGAIN
            ) from error
        return self._parse(payload, subject)

    def _parse(self, payload: bytes, subject: str) -> Template:
        (length,) = struct.unpack_from(">I", payload)
        about = json.loads(payload[4 : 4 + length])
        if about["embedder"] != self._embedder:
            raise TemplateOfAnotherModel(
                f"The template was made by {about['embedder']}; this service runs "
                f"{self._embedder}.",
                remedy=_ENROL_AGAIN,
            )
        return Template(
            subject=subject,
            embedding=np.frombuffer(payload[4 + length :], "<f4").astype(np.float32),
            embedder=about["embedder"],
            quality=about["quality"],
            created_utc_ms=about["created_utc_ms"],
        )


def embedding_of(enrolment: Enrolment) -> Vector:
    """Give the embedding of a photograph, (d,) float32, or raise TemplateRefused."""
    if enrolment.reasons or enrolment.embedding is None:
        raise TemplateRefused(enrolment.reasons)
    return enrolment.embedding


def _is_unit(embedding: Vector) -> bool:
    return bool(abs(float(np.linalg.norm(embedding)) - 1.0) < 1e-3)


def _context(header: bytes, subject: str) -> bytes:
    if not 0 < len(subject) <= MAX_SUBJECT_CHARS:
        raise TemplateError(f"A subject has 1 to {MAX_SUBJECT_CHARS} characters.")
    return header + subject.encode("utf-8")
