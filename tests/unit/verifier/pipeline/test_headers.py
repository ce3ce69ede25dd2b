"""Tests of the header readers on bytes written by hand."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.errors import ImageUnreadable
from verifier.pipeline.headers import (
    MAX_SEGMENTS,
    PNG_MAGIC,
    exif_orientation,
    read_header,
    stated_size,
)


def tiff(orientation: int, *, order: str = "<", tag: int = 0x0112, kind: int = 3) -> bytes:
    """A TIFF block with one entry."""
    mark = b"II" if order == "<" else b"MM"
    return mark + struct.pack(f"{order}HIHHHIHHI", 42, 8, 1, tag, kind, 1, orientation, 0, 0)


def segment(marker: int, body: bytes) -> bytes:
    """One JPEG segment."""
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


def frame_header(marker: int = 0xC0, height: int = 480, width: int = 640) -> bytes:
    """A JPEG frame header of three components."""
    return segment(marker, struct.pack(">BHHB", 8, height, width, 3) + bytes(9))


END = b"\xff\xda\x00\x02" + bytes(8) + b"\xff\xd9"


@pytest.mark.parametrize("marker", [0xC0, 0xC1, 0xC2])
def test_a_jpegs_size_stands_in_its_frame_header(marker: int) -> None:
    """Baseline, extended and progressive; tables before it are passed over."""
    before = segment(0xE0, b"JFIF\x00") + segment(0xDB, bytes(65)) + segment(0xC4, bytes(20))
    header = read_header(b"\xff\xd8" + before + frame_header(marker) + END)
    assert (header.format, header.width, header.height, header.channels) == ("JPEG", 640, 480, 3)


def test_fill_bytes_between_segments_are_passed_over() -> None:
    """Any number of 0xFF may stand before a marker."""
    data = b"\xff\xd8" + segment(0xE0, b"x") + b"\xff\xff\xff" + frame_header()[0:] + END
    assert read_header(data).width == 640


def test_an_end_mark_inside_a_thumbnail_does_not_count() -> None:
    """An EXIF thumbnail has its own end; the file still needs one."""
    thumbnail = segment(0xE1, b"Exif\x00\x00" + tiff(1) + b"\xff\xd8\xff\xd9")
    with pytest.raises(ImageUnreadable, match="cut short"):
        read_header(b"\xff\xd8" + thumbnail + frame_header() + END[:-2])


@pytest.mark.parametrize(
    "tail",
    [
        segment(0xDA, b"") + END,
        b"\xff\xd9",
        b"\x00\x00" + frame_header(),
        b"\xff\xe0\x00\x00" + frame_header(),
        segment(0xC0, struct.pack(">BHHB", 8, 0, 640, 3)) + END,
    ],
    ids=["scan first", "end first", "no marker", "length 0", "height 0"],
)
def test_a_jpeg_out_of_order_is_refused(tail: bytes) -> None:
    """Without a sound frame header there is no size, so there is no picture."""
    with pytest.raises(ImageUnreadable):
        read_header(b"\xff\xd8\xff\xe0\x00\x04ab" + tail)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_read_in_both_byte_orders(order: str, orientation: int) -> None:
    """Intel and Motorola order mean the same."""
    assert exif_orientation(tiff(orientation, order=order)) == orientation


@pytest.mark.parametrize(
    "block",
    [b"", b"XX" + tiff(3)[2:], tiff(3)[:6], tiff(3)[:14], tiff(3, tag=0x0110), tiff(3, kind=4)],
    ids=["nothing", "no byte order", "cut", "cut entry", "other tag", "wrong type"],
)
def test_without_a_sound_orientation_the_picture_stays_as_it_is(block: bytes) -> None:
    """A broken EXIF block is no reason to refuse a picture."""
    assert exif_orientation(block) == 1


@given(st.binary(max_size=400))
def test_any_exif_block_gives_an_orientation(block: bytes) -> None:
    """Offsets and counts that lead nowhere never raise."""
    assert 1 <= exif_orientation(b"II" + block) <= 8


@given(
    st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x20\x00\x00\x00WEBP"]),
    st.binary(),
)
def test_any_bytes_after_a_magic_give_a_header_or_the_one_error(magic: bytes, rest: bytes) -> None:
    """The readers never run past the end, loop or raise anything else."""
    outcome: object
    try:
        outcome = read_header(magic + rest)
    except ImageUnreadable as error:
        outcome = error.remedy
    assert outcome


def sized(name: str) -> bytes:
    """A file of each format that states 640 x 480."""
    vp8l = b"\x2f" + struct.pack("<I", 639 | 479 << 14)
    files = {
        "jpeg": b"\xff\xd8" + segment(0xE0, b"JFIF\x00") + frame_header() + END,
        "png": PNG_MAGIC + struct.pack(">I4sII", 13, b"IHDR", 640, 480) + bytes(9),
        "webp": b"RIFF" + struct.pack("<I4s4sI", 4 + 8 + 6, b"WEBP", b"VP8L", 5) + vp8l + b"\x00",
    }
    return files[name]


@pytest.mark.parametrize("name", ["jpeg", "png", "webp"])
def test_the_size_is_told_without_reading_on(name: str) -> None:
    """What is needed to reserve memory stands at the front, whatever is wrong behind it."""
    assert stated_size(sized(name)) == (640, 480)
    assert stated_size(sized(name)[:15]) is None


@pytest.mark.parametrize("data", [b"", b"x", b"\xff\xd8\xff", b"GIF89a" + bytes(40), PNG_MAGIC])
def test_what_states_no_size_has_none(data: bytes) -> None:
    """It is refused when it is read; until then it takes no room."""
    assert stated_size(data) is None


def test_a_file_of_endless_segments_is_not_walked_through() -> None:
    """Millions of empty segments would hold up whoever asks for the size."""
    jpeg = b"\xff\xd8" + segment(0xE5, b"") * MAX_SEGMENTS + frame_header() + END
    parts = b"WEBP" + struct.pack("<4sI", b"JUNK", 0) * MAX_SEGMENTS
    webp = b"RIFF" + struct.pack("<I", len(parts) + 14) + parts + sized("webp")[12:]
    for data, told in ((jpeg, "too many segments"), (webp, "too many parts")):
        assert stated_size(data) is None
        with pytest.raises(ImageUnreadable, match=told) as refusal:
            read_header(data)
        assert refusal.value.remedy
    assert read_header(b"\xff\xd8" + segment(0xE5, b"") * 900 + frame_header() + END).width == 640
