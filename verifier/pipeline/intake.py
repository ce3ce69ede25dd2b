"""Intake: bytes in, an upright BGR frame out, or an error that says what to send instead.

The content decides what a file is, never its name. Size and pixel limits are checked in the
header before anything is decoded: a 30 000 x 30 000 PNG of a few kilobytes costs nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import simplejpeg

from verifier.errors import ImageTooLarge, ImageUnreadable, OutOfMemory
from verifier.pipeline.headers import Header, read_header, stated_size
from verifier.types import Frame

if TYPE_CHECKING:
    from verifier.types import Image

FORMATS = "Send one still picture as JPEG, PNG or WebP."


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is accepted; everything larger is refused before it is decoded."""

    max_bytes: int = 8 * 1024 * 1024
    """Encoded bytes."""
    max_pixels: int = 25_000_000
    """Width times height: the photographs of current phones at their default setting."""
    max_side_px: int = 10_000
    """Width and height."""
    min_side_px: int = 32
    """Width and height; no face can be recognised in less."""


DEFAULT_LIMITS = Limits()


def decode(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Frame:
    """Decode one JPEG, PNG or WebP picture to (H, W, 3) uint8 BGR, upright by its EXIF tag.

    Grey becomes BGR, 16 bits become 8, transparency becomes white. Raises
    :class:`verifier.errors.ImageTooLarge`, :class:`verifier.errors.ImageUnreadable` or, where the
    machine has no room for the pixels, :class:`verifier.errors.OutOfMemory`.
    """
    if not data:
        raise ImageUnreadable("The image is empty.", remedy=FORMATS)
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(
            f"The image has {len(data)} bytes; {limits.max_bytes} are allowed.",
            remedy="Send a smaller picture, or compress it more.",
        )
    header = read_header(data)
    _check_size(header, limits)
    pixels = _upright(_to_bgr(_pixels(data, header)), header.orientation)
    pixels = np.ascontiguousarray(pixels)
    pixels.setflags(write=False)
    return Frame(pixels=pixels, digest=hashlib.sha256(data).hexdigest())


def decoded_bytes(data: bytes, limits: Limits = DEFAULT_LIMITS) -> int:
    """Tell what the pixels of a picture will take (width x height x 3 bytes) before `decode` runs.

    0 for what `decode` refuses by the header; costs microseconds.
    """
    size = stated_size(data) if len(data) <= limits.max_bytes else None
    if size is None or max(size) > limits.max_side_px or size[0] * size[1] > limits.max_pixels:
        return 0
    return 3 * size[0] * size[1]


def _check_size(header: Header, limits: Limits) -> None:
    width, height = header.width, header.height
    if max(width, height) > limits.max_side_px or width * height > limits.max_pixels:
        raise ImageTooLarge(
            f"The picture has {width} x {height} pixels; {limits.max_pixels} pixels and"
            f" {limits.max_side_px} a side are allowed.",
            remedy="Scale the picture down before sending it.",
        )
    if min(width, height) < limits.min_side_px:
        raise ImageUnreadable(
            f"The picture has {width} x {height} pixels; {limits.min_side_px} a side are needed.",
            remedy="Send the picture as the camera took it.",
        )


def _pixels(data: bytes, header: Header) -> Image:
    """Decode without turning; what the decoder gives must have the size that the header says."""
    try:
        if header.format == "JPEG" and header.channels != 4:
            # Strict: scan data that stops early is an error here, and a grey area elsewhere.
            pixels: object = simplejpeg.decode_jpeg(data, colorspace="BGR")
        else:
            # simplejpeg cannot turn CMYK into BGR.
            flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
            pixels = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    except (ValueError, cv2.error) as error:
        if getattr(error, "code", None) == cv2.Error.StsNoMem:
            raise OutOfMemory from error
        raise _broken(header) from error
    if not isinstance(pixels, np.ndarray) or pixels.shape[:2] != (header.height, header.width):
        raise _broken(header)
    return pixels


def _to_bgr(pixels: Image) -> Image:
    """Bring grey, alpha and 16 bits to (H, W, 3) uint8 BGR; transparency becomes white."""
    if pixels.dtype == np.uint16:
        pixels = (pixels // 257).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise ImageUnreadable(f"Pixels of type {pixels.dtype} are not supported.", remedy=FORMATS)
    if pixels.ndim == 2:
        return np.repeat(pixels[:, :, None], 3, axis=2)
    if pixels.shape[2] == 1:
        return np.repeat(pixels, 3, axis=2)
    if pixels.shape[2] in {2, 4}:
        alpha = pixels[:, :, -1:].astype(np.uint16)
        colour = pixels[:, :, :-1].astype(np.uint16)
        white = (colour * alpha + 255 * (255 - alpha) + 127) // 255
        flat = np.asarray(white, dtype=np.uint8)
        return np.repeat(flat, 3, axis=2) if flat.shape[2] == 1 else flat
    return pixels


def _upright(pixels: Image, orientation: int) -> Image:
    """Undo one of the eight EXIF orientations (Exif 2.32, tag 0x0112)."""
    if orientation in {5, 6, 7, 8}:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    return pixels


def _broken(header: Header) -> ImageUnreadable:
    return ImageUnreadable(
        f"The {header.format} cannot be decoded: it is damaged or cut short.",
        remedy="Send the whole file again.",
    )
