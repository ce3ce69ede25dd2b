"""Frames as bytes: one message of a WebSocket, or several in one upload. All big-endian.

A message is ``BNR1``, sequence (uint32), capture time (uint64, ms of UTC by the device's clock,
advisory; 0 where unknown), then JPEG, PNG or WebP bytes. A burst is one message after the other,
each behind its length (uint32).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from verifier.errors import BadRequest

HEADER: Final = struct.Struct(">4sIQ")
MAGIC: Final = b"BNR1"
BURST_TYPE: Final = "application/vnd.benren.burst"
_LENGTH: Final = struct.Struct(">I")


@dataclass(frozen=True, slots=True, kw_only=True)
class FramedPicture:
    """One frame as a device sent it."""

    seq: int
    data: bytes
    captured_utc_ms: int | None = None
    """By the device's clock."""


def pack(frame: FramedPicture) -> bytes:
    """Make a message; `unpack` is its inverse."""
    return HEADER.pack(MAGIC, frame.seq, frame.captured_utc_ms or 0) + frame.data


def unpack(message: bytes) -> FramedPicture | None:
    """Take a message apart; None where it is no frame."""
    if len(message) <= HEADER.size:
        return None
    magic, seq, captured_ms = HEADER.unpack_from(message)
    if magic != MAGIC:
        return None
    return FramedPicture(seq=seq, data=message[HEADER.size :], captured_utc_ms=captured_ms or None)


def pack_burst(frames: Iterable[FramedPicture]) -> bytes:
    """Make the body of a burst; `unpack_burst` is its inverse."""
    messages = [pack(frame) for frame in frames]
    return b"".join(_LENGTH.pack(len(message)) + message for message in messages)


def unpack_burst(body: bytes, *, most: int) -> list[FramedPicture]:
    """Take a burst apart. Raises BadRequest where it is none, or of more than `most` frames."""
    frames: list[FramedPicture] = []
    at = 0
    while at < len(body):
        if len(frames) == most:
            raise BadRequest(
                f"A burst has at most {most} frames.", remedy="Send the newest ones only."
            )
        start = at + _LENGTH.size
        length = _LENGTH.unpack_from(body, at)[0] if start <= len(body) else 0
        at = start + length
        frame = unpack(body[start:at]) if at <= len(body) else None
        if frame is None:
            raise BadRequest(
                f"Frame {len(frames) + 1} of the burst is not one.",
                remedy="Put each behind its length and its header: docs/streams.md.",
            )
        frames.append(frame)
    if not frames:
        raise BadRequest("The burst has no frame.", remedy="Send at least one.")
    return frames
