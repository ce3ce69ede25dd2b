"""The template vault: what opens, for whom, and what does not."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.clock import ManualClock
from verifier.errors import TemplateError, TemplateOfAnotherModel, TemplateTampered
from verifier.keys import KeyRing
from verifier.pipeline.templates import (
    MAX_SUBJECT_CHARS,
    TemplateRefused,
    TemplateVault,
    embedding_of,
)
from verifier.types import Reason

CLOCK = ManualClock()
RING = KeyRing.generate(CLOCK)
QUALITY = {"Sharpness": 12.5, "HeadPoseYaw": -3.0}


def vault(ring: KeyRing = RING, embedder: str = "net@aa") -> TemplateVault:
    """Make a vault of one embedder."""
    return TemplateVault(ring, embedder=embedder, clock=CLOCK)


def embedding(seed: int = 0, size: int = 256) -> Any:
    """Make a random direction."""
    vector = np.random.default_rng(seed).normal(size=size).astype(np.float32)
    return vector / np.linalg.norm(vector)


def test_a_template_opens_for_its_subject() -> None:
    """Everything that went in comes out, to the last bit."""
    blob = vault().seal(subject="学员-4711", embedding=embedding(), quality=QUALITY)
    template = vault().open(blob, subject="学员-4711")
    assert template.embedding.dtype == np.float32
    assert np.array_equal(template.embedding, embedding())
    assert template.subject == "学员-4711"
    assert template.quality == QUALITY
    assert template.embedder == "net@aa"
    assert template.created_utc_ms == CLOCK.stamp().utc_ms


def test_the_blob_tells_nothing() -> None:
    """Neither the embedding nor the model nor the subject can be read off, nor equality."""
    blobs = [
        vault().seal(subject="learner-4711", embedding=embedding(), quality=QUALITY)
        for _ in range(2)
    ]
    assert blobs[0] != blobs[1]
    for secret in (b"learner-4711", b"net@aa", b"Sharpness", embedding().tobytes()[:16]):
        assert secret not in blobs[0]


def test_another_subject_is_refused() -> None:
    """A template that was moved to another person's record does not open."""
    blob = vault().seal(subject="a", embedding=embedding(), quality={})
    for other in ("b", "A", "a "):
        with pytest.raises(TemplateTampered, match="another subject") as error:
            vault().open(blob, subject=other)
        assert "Enrol" in error.value.remedy


def test_no_byte_can_be_altered() -> None:
    """Every altered byte and every cut is noticed."""
    blob = vault().seal(subject="a", embedding=embedding(size=8), quality={})
    for position in range(len(blob)):
        altered = bytearray(blob)
        altered[position] ^= 0x55
        with pytest.raises(TemplateError):
            vault().open(bytes(altered), subject="a")
        with pytest.raises(TemplateTampered):
            vault().open(blob[:position], subject="a")


@given(st.binary(max_size=200))
def test_rubbish_is_refused(blob: bytes) -> None:
    """Whatever the bytes, the error is a template error."""
    for start in (b"", b"BNT\x01", b"BNT\x01BNR\x01\x08"):
        with pytest.raises(TemplateError):
            vault().open(start + blob, subject="a")


def test_a_newer_layout_is_told() -> None:
    """A blob of a later release names its version."""
    blob = vault().seal(subject="a", embedding=embedding(), quality={})
    with pytest.raises(TemplateError, match="version 2") as error:
        vault().open(blob[:3] + b"\x02" + blob[4:], subject="a")
    assert "Update" in error.value.remedy


def test_a_huge_blob_is_refused() -> None:
    """Nobody's template has 64 KiB."""
    with pytest.raises(TemplateError):
        vault().open(b"BNT\x01" + b"x" * 70_000, subject="a")


def test_an_unknown_key_is_told() -> None:
    """A template sealed elsewhere says that the key is missing."""
    blob = vault().seal(subject="a", embedding=embedding(), quality={})
    later = ManualClock()
    later.advance(1_000)
    with pytest.raises(TemplateTampered, match="not in the key ring"):
        vault(KeyRing.generate(later)).open(blob, subject="a")


@pytest.mark.parametrize("embedder", ["net@bb", "other@aa"])
def test_another_embedder_is_told_apart(embedder: str) -> None:
    """Same name with other weights, or another network: enrol again."""
    blob = vault().seal(subject="a", embedding=embedding(), quality={})
    with pytest.raises(TemplateOfAnotherModel, match="net@aa") as error:
        vault(embedder=embedder).open(blob, subject="a")
    assert "Enrol" in error.value.remedy
    assert embedder in error.value.detail


def test_only_unit_vectors_are_sealed() -> None:
    """Wrong shapes, types and lengths never become templates."""
    for wrong in (
        embedding() * 2,
        embedding().astype(np.float64),
        embedding().reshape(1, -1),
        np.full(4, np.nan, np.float32),
    ):
        with pytest.raises(ValueError, match="expected"):
            vault().seal(subject="a", embedding=wrong, quality={})


@pytest.mark.parametrize("subject", ["", "x" * (MAX_SUBJECT_CHARS + 1)])
def test_subjects_are_bounded(subject: str) -> None:
    """No empty and no endless subjects."""
    with pytest.raises(TemplateError, match="subject"):
        vault().seal(subject=subject, embedding=embedding(), quality={})


def test_a_refused_photograph_names_its_reasons() -> None:
    """What cannot be enrolled is an error with the reasons as a member of the problem."""
    refused: Any = SimpleNamespace(
        embedding=None, quality=None, reasons=(Reason.NO_FACE, Reason.TOO_DARK)
    )
    with pytest.raises(TemplateRefused, match="no face, too dark") as error:
        embedding_of(refused)
    assert error.value.members == {"reasons": ["no_face", "too_dark"]}
    fine: Any = SimpleNamespace(embedding=embedding(), quality=None, reasons=())
    assert embedding_of(fine) is fine.embedding


def test_templates_do_not_change() -> None:
    """A template is a value."""
    blob = vault().seal(subject="a", embedding=embedding(), quality={})
    template = vault().open(blob, subject="a")
    assert replace(template, subject="b").subject == "b"
    with pytest.raises(AttributeError):
        template.subject = "b"  # type: ignore[misc]
