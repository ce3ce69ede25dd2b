"""Small pictures of failed checks: small, bounded, without metadata, or none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from verifier.streaming.thumbnails import LONGER_SIDE_PX, MAX_BYTES, digest_of, thumbnail


def picture(width: int, height: int, suffix: str = ".jpg") -> bytes:
    """Encode some noise: the hardest to compress."""
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return bytes(cv2.imencode(suffix, pixels)[1].tobytes())


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (1_280, 720), (90, 60), (2, 1)])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_pictures_become_small(size: tuple[int, int], suffix: str) -> None:
    """Whatever comes, a JPEG within the bounds, in the same proportions."""
    made = thumbnail(picture(*size, suffix))
    assert made.startswith(b"\xff\xd8")
    assert len(made) <= MAX_BYTES
    height, width = cv2.imdecode(np.frombuffer(made, np.uint8), cv2.IMREAD_COLOR).shape[:2]
    assert max(width, height) <= LONGER_SIDE_PX
    assert (width > height) == (size[0] > size[1]) or min(size) < 4


@pytest.mark.parametrize("data", [b"", b"no picture", b"\xff\xd8\xff", b"x" * (5 * 1024 * 1024)])
def test_what_cannot_be_made_small_is_left_out(data: bytes) -> None:
    """A check without a picture is still a check."""
    assert thumbnail(data) == b""


def test_no_picture_has_no_digest() -> None:
    """Empty for nothing, else SHA-256."""
    assert digest_of(b"") == ""
    assert len(digest_of(b"x")) == 64
