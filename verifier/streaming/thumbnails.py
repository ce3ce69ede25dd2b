"""Small pictures of failed checks, where a programme asks for them: for people to look at."""

from __future__ import annotations

import hashlib
from typing import Final

import cv2
import numpy as np

LONGER_SIDE_PX: Final = 160
"""A face is recognised by somebody who knows it; a reading of it serves no network."""
JPEG_QUALITY: Final = 70
MAX_BYTES: Final = 16 * 1024
MAX_SOURCE_BYTES: Final = 4 * 1024 * 1024
"""Of the picture as received; of a larger one none is made."""
_LARGE_BYTES: Final = 128 * 1024
"""From here on half of the resolution will do, which is quicker to decode."""


def thumbnail(picture: bytes) -> bytes:
    """Make a small JPEG without any metadata, or nothing where that is not possible."""
    if not picture or len(picture) > MAX_SOURCE_BYTES:
        return b""
    way = cv2.IMREAD_REDUCED_COLOR_2 if len(picture) > _LARGE_BYTES else cv2.IMREAD_COLOR
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), way)
    if pixels is None:
        return b""
    height, width = pixels.shape[:2]
    scale = LONGER_SIDE_PX / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    done, encoded = cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
    made = encoded.tobytes() if done else b""
    return made if len(made) <= MAX_BYTES else b""


def digest_of(picture: bytes) -> str:
    """Give what is signed of a small picture: SHA-256, hex; empty where there is none."""
    return hashlib.sha256(picture).hexdigest() if picture else ""
