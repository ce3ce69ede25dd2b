"""Tests of intake: what becomes a frame, and how everything else is refused."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from verifier.errors import ImageError, ImageTooLarge, ImageUnreadable, OutOfMemory
from verifier.pipeline import intake
from verifier.pipeline.intake import Limits, decode, decoded_bytes
from verifier.types import Frame


def quarters(height: int = 64, width: int = 96) -> np.ndarray:
    """A picture whose four quarters are blue, green, red and white."""
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    h, w = height // 2, width // 2
    picture[:h, :w], picture[:h, w:] = (255, 0, 0), (0, 255, 0)
    picture[h:, :w], picture[h:, w:] = (0, 0, 255), (255, 255, 255)
    return picture


def encoded(suffix: str, picture: np.ndarray, *options: int) -> bytes:
    """Encode by OpenCV."""
    done, data = cv2.imencode(suffix, picture, list(options))
    assert done
    return bytes(data)


def with_exif(jpeg: bytes, orientation: int, order: str = "<") -> bytes:
    """Insert an EXIF segment with an orientation after SOI."""
    mark = b"II" if order == "<" else b"MM"
    tiff = mark + struct.pack(f"{order}HIHHHIHHI", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    body = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def png_chunk(name: bytes, body: bytes) -> bytes:
    """One chunk with its checksum."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_of(width: int, height: int, *extra: bytes) -> bytes:
    """A small file that claims a size: header, any chunks, a few compressed zeros, the end."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rest = png_chunk(b"IDAT", zlib.compress(bytes(1_000))) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + rest


def webp_chunks(*chunks: tuple[bytes, bytes]) -> bytes:
    """A RIFF file of the given chunks."""
    body = b"WEBP" + b"".join(
        name + struct.pack("<I", len(data)) + data + b"\x00" * (len(data) % 2)
        for name, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


JPEG = encoded(".jpg", quarters(), cv2.IMWRITE_JPEG_QUALITY, 95)
PNG = encoded(".png", quarters())
WEBP = encoded(".webp", quarters(), cv2.IMWRITE_WEBP_QUALITY, 95)
WEBP_LOSSLESS = encoded(".webp", quarters(), cv2.IMWRITE_WEBP_QUALITY, 101)


def corners(pixels: np.ndarray) -> list[str]:
    """Name the colours of the four quarters: top left, top right, bottom left, bottom right."""
    names = {(255, 0, 0): "b", (0, 255, 0): "g", (0, 0, 255): "r", (255, 255, 255): "w"}
    h, w = pixels.shape[:2]
    spots = [(h // 4, w // 4), (h // 4, 3 * w // 4), (3 * h // 4, w // 4), (3 * h // 4, 3 * w // 4)]
    return [
        names[min(names, key=lambda colour: int(np.abs(pixels[spot].astype(int) - colour).sum()))]
        for spot in spots
    ]


@pytest.mark.parametrize(
    "data", [JPEG, PNG, WEBP, WEBP_LOSSLESS], ids=["jpeg", "png", "webp", "lossless"]
)
def test_the_three_formats_become_bgr(data: bytes) -> None:
    """JPEG, PNG and WebP give (H, W, 3) uint8 BGR, read-only, with the digest of the bytes."""
    frame = decode(data)
    assert frame.pixels.shape == (64, 96, 3)
    assert frame.pixels.dtype == np.uint8
    assert corners(frame.pixels) == ["b", "g", "r", "w"]
    assert frame.digest == hashlib.sha256(data).hexdigest()
    assert not frame.pixels.flags.writeable


UPRIGHT = {
    1: "bgrw", 2: "gbwr", 3: "wrgb", 4: "rwbg", 5: "brgw", 6: "rbwg", 7: "wgrb", 8: "gwbr",
}  # fmt: skip
"""What a viewer shows of the quarters b g / r w under each orientation."""


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_undone(orientation: int, order: str) -> None:
    """All eight orientations, in both byte orders, give the upright picture."""
    frame = decode(with_exif(JPEG, orientation, order))
    assert "".join(corners(frame.pixels)) == UPRIGHT[orientation]
    assert frame.pixels.shape == ((96, 64, 3) if orientation >= 5 else (64, 96, 3))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_agrees_with_an_independent_reader(orientation: int) -> None:
    """Pillow's transposition of the same file gives the same quarters."""
    from PIL import ImageOps

    data = with_exif(JPEG, orientation)
    with Pillow.open(io.BytesIO(data)) as opened:
        upright = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))[..., ::-1]
    assert corners(decode(data).pixels) == corners(upright)


def test_orientation_in_png_and_webp_is_undone_too() -> None:
    """The eXIf chunk of PNG and the EXIF chunk of WebP count as in JPEG."""
    exif = Pillow.Exif()
    exif[0x0112] = 6
    picture = Pillow.fromarray(np.ascontiguousarray(quarters()[..., ::-1]))
    for kind in ("PNG", "WEBP"):
        file = io.BytesIO()
        picture.save(file, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
        frame = decode(file.getvalue())
        assert "".join(corners(frame.pixels)) == UPRIGHT[6]


@pytest.mark.parametrize("value", [0, 9, 300])
def test_a_nonsense_orientation_is_ignored(value: int) -> None:
    """Cameras write odd values; the picture stays as it is."""
    assert corners(decode(with_exif(JPEG, value)).pixels) == ["b", "g", "r", "w"]


def test_grey_becomes_bgr() -> None:
    """A grey JPEG or PNG has three equal channels afterwards."""
    grey = np.full((40, 40), 77, dtype=np.uint8)
    for suffix in (".png", ".jpg"):
        pixels = decode(encoded(suffix, grey)).pixels
        assert pixels.shape == (40, 40, 3)
        assert np.abs(pixels.astype(int) - 77).max() <= 1


def test_transparency_becomes_white() -> None:
    """Half-transparent black over white is grey, transparent anything is white."""
    picture = np.zeros((40, 40, 4), dtype=np.uint8)
    picture[:20, :, 3] = 128
    picture[20:, :, :3] = (10, 200, 30)
    pixels = decode(encoded(".png", picture)).pixels
    assert np.abs(pixels[:20].astype(int) - 127).max() <= 1
    assert pixels[20:].min() == 255


def test_grey_with_alpha_becomes_bgr() -> None:
    """Two channels (grey, alpha) are no reason to fail."""
    file = io.BytesIO()
    Pillow.new("LA", (40, 40), (100, 255)).save(file, "PNG")
    assert decode(file.getvalue()).pixels[5, 5].tolist() == [100, 100, 100]


def test_sixteen_bits_become_eight() -> None:
    """65535 is 255, the middle is the middle."""
    picture = np.full((40, 40, 3), 65_535, dtype=np.uint16)
    picture[:20] = 32_896
    pixels = decode(encoded(".png", picture)).pixels
    assert pixels[30, 5].tolist() == [255] * 3
    assert pixels[5, 5].tolist() == [128] * 3


def test_cmyk_becomes_bgr() -> None:
    """A JPEG of a print shop is readable."""
    file = io.BytesIO()
    Pillow.new("RGB", (40, 40), (200, 30, 30)).convert("CMYK").save(file, "JPEG")
    blue, _, red = (int(v) for v in decode(file.getvalue()).pixels[20, 20])
    assert red > blue + 80


def test_progressive_jpeg_is_read() -> None:
    """Progressive files have several scans; that is no bomb."""
    data = encoded(".jpg", quarters(), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    assert corners(decode(data).pixels) == ["b", "g", "r", "w"]


def animated_gif() -> bytes:
    """Two frames."""
    file = io.BytesIO()
    frames = [Pillow.new("RGB", (40, 40), colour) for colour in ("red", "blue")]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


def animated_webp() -> bytes:
    """Two frames."""
    file = io.BytesIO()
    frames = [Pillow.new("RGB", (40, 40), colour) for colour in ("red", "blue")]
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:])
    return file.getvalue()


UNREADABLE = {
    "empty": b"",
    "text": ("Not a picture, but a file named photo.jpg.\n" * 9).encode(),
    "gif": animated_gif(),
    "animated webp": animated_webp(),
    "animated png": png_of(40, 40, png_chunk(b"acTL", struct.pack(">II", 2, 0))),
    "bmp": encoded(".bmp", quarters()),
    "tiff": encoded(".tiff", quarters()),
    "heic": b"\x00\x00\x00\x18ftypheic" + bytes(100),
    "noise": bytes(range(128, 256)) * 4,
    "jpeg without its end": JPEG[:-2],
    "jpeg cut in half": JPEG[: len(JPEG) // 2],
    "jpeg cut in its header": JPEG[:100],
    "jpeg of three bytes": b"\xff\xd8\xff",
    "jpeg with its middle missing": JPEG[: len(JPEG) - 120] + JPEG[-2:],
    "jpeg without scans": JPEG[: JPEG.index(b"\xff\xda")] + b"\xff\xd9",
    "png cut in half": PNG[: len(PNG) // 2],
    "png without its end": PNG[:-12],
    "png of nine bytes": PNG[:9],
    "png with a flipped byte": PNG[:60] + bytes([PNG[60] ^ 1]) + PNG[61:],
    "png without pixels": png_of(40, 40),
    "webp cut": WEBP[:-20],
    "webp of a foreign size": webp_chunks(
        (b"VP8X", bytes(4) + b"\xff\x00\x00\xff\x00\x00"), (b"VP8L", WEBP_LOSSLESS[20:])
    ),
    "webp without a picture": webp_chunks((b"ICCP", b"abc")),
    "too small": encoded(".png", quarters(20, 20)),
    "narrow": encoded(".png", quarters(20, 200)),
}  # fmt: skip
NAMED = {
    "empty": "empty",
    "text": "text",
    "gif": "GIF",
    "animated webp": "animated",
    "animated png": "animated",
    "bmp": "BMP",
    "tiff": "TIFF",
    "heic": "HEIC",
    "jpeg without its end": "cut short",
    "jpeg cut in half": "cut short",
    "png cut in half": "cut short",
    "png without its end": "cut short",
    "webp cut": "cut short",
    "too small": "20 x 20",
    "narrow": "200 x 20",
    "png with a flipped byte": "damaged",
    "png without pixels": "damaged",
}
"""What the message says, where that matters."""


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_is_no_whole_picture_is_refused_with_a_remedy(what: str) -> None:
    """Each kind of bad input has its own message and says what to send."""
    with pytest.raises(ImageUnreadable) as caught:
        decode(UNREADABLE[what])
    assert NAMED.get(what, "") in caught.value.detail
    assert caught.value.remedy
    assert caught.value.status == 422


def refuse_to_decode(*_: object, **__: object) -> None:
    """Take the place of the decoders."""
    raise AssertionError("decoded before the limits were checked")


def huge_jpeg() -> bytes:
    """A small JPEG whose header claims 30 000 x 30 000."""
    at = JPEG.index(b"\xff\xc0")
    return JPEG[: at + 5] + struct.pack(">HH", 30_000, 30_000) + JPEG[at + 9 :]


def huge_webp() -> bytes:
    """A lossless header that claims 16 384 x 16 384."""
    return webp_chunks((b"VP8L", b"\x2f" + struct.pack("<I", (1 << 28) - 1) + bytes(64)))


@pytest.mark.parametrize(
    "data",
    [png_of(30_000, 30_000), huge_jpeg(), huge_webp(), png_of(20_000, 40), png_of(5_001, 5_000)],
    ids=["png", "jpeg", "webp", "long", "just over 25 megapixels"],
)
def test_huge_pictures_are_refused_before_decoding(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The header is enough to refuse; no decoder is called."""
    monkeypatch.setattr(intake.cv2, "imdecode", refuse_to_decode)
    monkeypatch.setattr(intake.simplejpeg, "decode_jpeg", refuse_to_decode)
    with pytest.raises(ImageTooLarge, match="pixels") as caught:
        decode(data)
    assert caught.value.status == 413


@pytest.mark.parametrize("data", [JPEG, PNG, WEBP], ids=["jpeg", "png", "webp"])
def test_the_pixels_are_known_before_they_are_decoded(data: bytes) -> None:
    """What is reserved for a picture is what its pixels take."""
    assert decoded_bytes(data) == decode(data).pixels.nbytes


@pytest.mark.parametrize(
    "data", [png_of(30_000, 30_000), huge_jpeg(), huge_webp(), png_of(20_000, 40), b"x", b""]
)
def test_what_is_refused_by_its_header_takes_no_room(data: bytes) -> None:
    """The caller is to hear what is wrong with it, and not that the queue is full."""
    assert decoded_bytes(data) == 0


def test_limits_of_the_settings_hold_for_the_reservation_too() -> None:
    """What other limits would refuse takes no room under those."""
    assert decoded_bytes(PNG, Limits(max_bytes=len(PNG) - 1)) == 0
    assert decoded_bytes(PNG, Limits(max_pixels=64 * 96 - 1)) == 0
    assert decoded_bytes(PNG, Limits(max_pixels=64 * 96)) == 3 * 64 * 96


def test_too_little_memory_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the decoder finds no room the picture is whole, and may be sent again."""

    def full(*_: object) -> None:
        error = cv2.error("(-4:Insufficient memory) Failed to allocate 75000000 bytes")
        error.code = cv2.Error.StsNoMem
        raise error

    monkeypatch.setattr(intake.cv2, "imdecode", full)
    with pytest.raises(OutOfMemory) as refusal:
        decode(PNG)
    assert refusal.value.retry_after_s


def test_too_many_bytes_are_refused_before_anything() -> None:
    """The limit on bytes comes first."""
    with pytest.raises(ImageTooLarge, match="bytes"):
        decode(PNG, Limits(max_bytes=len(PNG) - 1))
    assert decode(PNG, Limits(max_bytes=len(PNG))).pixels.size


def test_a_progressive_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of scans in a small file would keep a worker busy for minutes."""
    data = encoded(".jpg", quarters(), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    last = data.rindex(b"\xff\xda")
    bomb = data[:last] + data[last:-2] * 500 + data[-2:]
    monkeypatch.setattr(intake.simplejpeg, "decode_jpeg", refuse_to_decode)
    with pytest.raises(ImageUnreadable, match="scans"):
        decode(bomb)


@pytest.mark.parametrize("source", [JPEG, PNG, WEBP, WEBP_LOSSLESS])
@given(data=st.data())
def test_damaged_bytes_give_a_frame_or_an_image_error(source: bytes, data: st.DataObject) -> None:
    """Whatever bytes are overwritten or cut, nothing but an ImageError comes out."""
    damaged = bytearray(source)
    places = st.lists(st.tuples(st.integers(0, len(source) - 1), st.integers(0, 255)), max_size=8)
    for position, value in data.draw(places):
        damaged[position] = value
    cut = data.draw(st.integers(0, len(source)))
    for candidate in (bytes(damaged), bytes(damaged[:cut])):
        outcome: Frame | ImageError
        try:
            outcome = decode(candidate, Limits(max_pixels=100_000))
        except ImageError as error:
            outcome = error
        assert outcome.pixels.ndim == 3 if isinstance(outcome, Frame) else outcome.remedy


@pytest.mark.parametrize("shape", [(1600, 720), (720, 1600), (1080, 1920), (4000, 3000)])
def test_phone_aspect_ratios_are_taken_as_they_are(
    shape: tuple[int, int],
) -> None:
    """9:20, 16:9 and 4:3, upright or lying."""
    picture = np.full((*shape, 3), 90, dtype=np.uint8)
    assert decode(encoded(".jpg", picture)).pixels.shape == (*shape, 3)
