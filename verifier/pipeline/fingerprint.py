"""Fingerprints of pictures: signs of their coarse structure, of which no picture can be made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

if TYPE_CHECKING:
    from verifier.types import Image

BYTES: Final = 64
"""Of one fingerprint."""
_SIDE: Final = 64
_KEPT: Final = 24
"""Rows and columns of the transform: the coarse part."""


def fingerprint(pixels: Image) -> bytes:
    """Give the fingerprint of a picture (H, W, 3) uint8 BGR: `BYTES` bytes, one bit for a sign.

    Of a half-size copy it is the same but for some signs. H and W are at least 1, else OpenCV
    raises ``cv2.error``.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    coarse = np.asarray(cv2.dct(small))[:_KEPT, :_KEPT].ravel()[1 : 1 + 8 * BYTES]
    return np.packbits(coarse > 0).tobytes()
