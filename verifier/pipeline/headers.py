"""Read size, orientation and completeness of a JPEG, PNG or WebP without decoding it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from verifier.errors import ImageUnreadable

REMEDY = "Send one still picture as JPEG, PNG or WebP."
WHOLE = "Send the whole file again."
OTHERS = (
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"II*\x00", "a TIFF"),
    (b"MM\x00*", "a TIFF"),
    (b"%PDF", "a PDF"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL"),
)
"""Magic bytes of what people send by mistake, for a helpful message."""
MAX_SCANS = 100
"""Scans of a JPEG. A progressive one has about ten; each costs the decoder a pass over all pixels,
so thousands in a small file would stop a worker for minutes (libjpeg-turbo's own advice)."""
MAX_SEGMENTS = 1_000
"""Segments of a JPEG before its frame header, and chunks of a WebP: cameras write some dozens, and
a file of millions would hold up whoever reads its size."""
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a file says about itself."""

    format: Literal["JPEG", "PNG", "WebP"]
    width: int
    """As stored, px, before the orientation is applied."""
    height: int
    orientation: int = 1
    """EXIF orientation, 1..8."""
    channels: int = 3
    """Colour components of a JPEG: 1 grey, 3 colour, 4 CMYK."""


def read_header(data: bytes) -> Header:
    """Tell format and size from the bytes; refuse animations, cut files and everything else.

    Raises :class:`verifier.errors.ImageUnreadable`.
    """
    try:
        if data[:3] == b"\xff\xd8\xff":
            return _jpeg(data)
        if data[:8] == PNG_MAGIC:
            return _png(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
    except (struct.error, IndexError) as error:
        raise ImageUnreadable("The image is cut short in its header.", remedy=WHOLE) from error
    raise ImageUnreadable(f"This is {_guess(data)}, not a picture we read.", remedy=REMEDY)


def _guess(data: bytes) -> str:
    for magic, name in OTHERS:
        if data.startswith(magic):
            return name
    if data[4:8] == b"ftyp":
        return "a HEIC, AVIF or video file"
    head = data[:256]
    if all(byte in b"\t\n\r\f" or byte >= 0x20 for byte in head) and b"\x7f" not in head:
        return "a text file"
    return "an unknown kind of file"


def stated_size(data: bytes) -> tuple[int, int] | None:
    """Give width and height (px) that a file states, at the cost of microseconds.

    None where it states none; `read_header` refuses such files, and others besides.
    """
    try:
        if data[:3] == b"\xff\xd8\xff":
            header, _ = _frame_header(data)
            return header.width, header.height
        if data[:8] == PNG_MAGIC and data[12:16] == b"IHDR":
            width, height = struct.unpack_from(">II", data, 16)
            return width, height
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            header = _webp(data)
            return header.width, header.height
    except (struct.error, IndexError, ImageUnreadable):
        return None
    return None


def _jpeg(data: bytes) -> Header:
    """Read the frame header; the file must end with EOI."""
    header, end = _frame_header(data)
    rest = memoryview(data)[end:].tobytes()
    if b"\xff\xd9" not in rest:
        raise ImageUnreadable("The JPEG is cut short: its end mark is missing.", remedy=WHOLE)
    if rest.count(b"\xff\xda") > MAX_SCANS:
        raise ImageUnreadable("The JPEG has too many scans.", remedy="Save it as a baseline JPEG.")
    return header


def _frame_header(data: bytes) -> tuple[Header, int]:
    """Walk the segments of a JPEG (ITU-T T.81) to its frame header; also where that ends."""
    orientation = 1
    position = 2
    for _ in range(MAX_SEGMENTS):
        if data[position] != 0xFF:
            raise ImageUnreadable("The JPEG is damaged: a marker is missing.", remedy=WHOLE)
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if 0xD0 <= marker <= 0xD7 or marker == 0x01:  # RSTn and TEM have no length
            position += 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        body = data[position + 4 : position + 2 + length]
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:  # SOF
            height, width, channels = struct.unpack_from(">HHB", body, 1)
            if not width or not height:
                raise ImageUnreadable("The JPEG does not state its size.", remedy=WHOLE)
            header = Header(
                format="JPEG",
                width=width,
                height=height,
                orientation=orientation,
                channels=channels,
            )
            return header, position + 2 + length
        if marker in {0xD9, 0xDA} or length < 2:
            raise ImageUnreadable("The JPEG has no frame header.", remedy=WHOLE)
        if marker == 0xE1 and body[:6] == b"Exif\x00\x00":
            orientation = exif_orientation(body[6:])
        position += 2 + length
    raise ImageUnreadable("The JPEG has too many segments.", remedy="Save the picture anew.")


def exif_orientation(tiff: bytes) -> int:
    """Read tag 0x0112 of a TIFF block's first directory; 1 where there is none or it is odd."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return 1
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    if start + 2 > len(tiff):
        return 1
    (count,) = struct.unpack_from(f"{order}H", tiff, start)
    for index in range(count):
        entry = start + 2 + 12 * index
        if entry + 12 > len(tiff):
            return 1
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
        if tag == 0x0112:
            return value if kind == 3 and 1 <= value <= 8 else 1
    return 1


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    """Yield name, body and checksum of each chunk up to IEND (PNG, third edition)."""
    position = len(PNG_MAGIC)
    while True:
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        (checksum,) = struct.unpack_from(">I", data, end)
        yield name, data[position + 8 : end], checksum
        if name == b"IEND":
            return
        position = end + 4


def _png(data: bytes) -> Header:
    """Read IHDR; the file must be whole up to IEND, undamaged, and not animated."""
    size: tuple[int, int] | None = None
    orientation = 1
    try:
        for name, body, checksum in _png_chunks(data):
            if name == b"acTL":
                raise ImageUnreadable("This is an animated PNG.", remedy=REMEDY)
            if size is None:
                if name != b"IHDR" or len(body) != 13:
                    raise ImageUnreadable("The PNG has no header.", remedy=WHOLE)
                size = struct.unpack_from(">II", body)
            if zlib.crc32(name + body) != checksum:
                raise ImageUnreadable("The PNG is damaged: a checksum is wrong.", remedy=WHOLE)
            if name == b"eXIf":
                orientation = exif_orientation(body)
    except (struct.error, IndexError) as error:
        if size is None:
            raise
        raise ImageUnreadable("The PNG is cut short: its end is missing.", remedy=WHOLE) from error
    if size is None or not all(size):
        raise ImageUnreadable("The PNG does not state its size.", remedy=WHOLE)
    return Header(format="PNG", width=size[0], height=size[1], orientation=orientation)


def _webp(data: bytes) -> Header:
    """Walk the RIFF chunks (RFC 9649): VP8, VP8L or VP8X with one of them, and not animated."""
    (size,) = struct.unpack_from("<I", data, 4)
    if len(data) < size + 8:
        raise ImageUnreadable("The WebP is cut short.", remedy=WHOLE)
    canvas: tuple[int, int] | None = None
    picture: tuple[int, int] | None = None
    orientation = 1
    position = 12
    for _ in range(MAX_SEGMENTS):
        if position + 8 > size + 8:
            break
        name, length = struct.unpack_from("<4sI", data, position)
        body = data[position + 8 : position + 8 + length]
        if name in {b"ANIM", b"ANMF"} or (name == b"VP8X" and body[0] & 0x02):
            raise ImageUnreadable("This is an animated WebP.", remedy=REMEDY)
        if name == b"VP8X":
            wide, high = int.from_bytes(body[4:7], "little"), int.from_bytes(body[7:10], "little")
            canvas = (wide + 1, high + 1)
        elif name == b"VP8 " and picture is None:
            picture = _vp8(body)
        elif name == b"VP8L" and picture is None:
            picture = _vp8l(body)
        elif name == b"EXIF":
            orientation = exif_orientation(body.removeprefix(b"Exif\x00\x00"))
        position += 8 + length + length % 2
    else:
        raise ImageUnreadable("The WebP has too many parts.", remedy="Save the picture anew.")
    if picture is None or (canvas is not None and canvas != picture):
        raise ImageUnreadable("The WebP holds no picture of its stated size.", remedy=WHOLE)
    return Header(format="WebP", width=picture[0], height=picture[1], orientation=orientation)


def _vp8(body: bytes) -> tuple[int, int]:
    """Read width and height of a key frame (RFC 6386, 9.1)."""
    if body[3:6] != b"\x9d\x01\x2a":
        raise ImageUnreadable("The WebP is damaged: no key frame.", remedy=WHOLE)
    width, height = struct.unpack_from("<HH", body, 6)
    return width & 0x3FFF, height & 0x3FFF


def _vp8l(body: bytes) -> tuple[int, int]:
    """Read width and height of a lossless picture (RFC 9649, 3.4): 14 bits each, less one."""
    if body[0] != 0x2F:
        raise ImageUnreadable("The WebP is damaged: no lossless picture.", remedy=WHOLE)
    (bits,) = struct.unpack_from("<I", body, 1)
    return (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1
