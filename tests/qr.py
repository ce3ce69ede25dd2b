"""Reading QR codes off pictures, as phones do: several tries, any of which will do."""

from __future__ import annotations

from itertools import product
from typing import Any

import cv2
import numpy as np

_SCALES = (1.0, 2.0, 1.5)
"""OpenCV's readers fail on one code or another at a given size; a phone sees many sizes."""


def read_qr(picture: np.ndarray[Any, Any]) -> str:
    """Give what a code in a picture says (uint8; grey, or BGR); empty where none can be read."""
    readers = (cv2.QRCodeDetectorAruco(), cv2.QRCodeDetector())
    for scale, reader in product(_SCALES, readers):
        scaled = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        found, *_ = reader.detectAndDecode(scaled)
        if found:
            return str(found)
    return ""
