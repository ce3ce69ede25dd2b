"""Simulated and replayed cameras: what the learner's device would have sent at a lesson's time.

A scene paints a picture for an instant; a camera looks at it through a lens (exposure, blur,
noise) and hands out a JPEG. Everything is a pure function of the seed, the frame's number and the
lesson time, so that a run can be repeated bit for bit. All pictures are (height, width, 3) uint8,
BGR; sizes are (width, height) in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

import cv2
import numpy as np

from benren.demo.motion import Sway
from verifier.errors import BadRequest, ImageUnreadable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture: TypeAlias = NDArray[np.uint8]

Size: TypeAlias = tuple[int, int]

PHONE: Size = (480, 640)
"""A phone held upright."""
VGA: Size = (640, 480)
"""A webcam, or a phone that lies on its side."""


def as_picture(array: cv2.typing.MatLike) -> Picture:
    """Check once that OpenCV handed back uint8, which its own types do not say."""
    return np.asarray(array, np.uint8)


class Scene(Protocol):
    """What is in front of a camera."""

    def paint(self, n: int, t_s: float) -> Picture:
        """Paint the scene at `t_s` seconds of the lesson, for the `n`-th frame (from 0)."""
        ...


@runtime_checkable
class Answering(Protocol):
    """A scene with somebody in it who hears what the screen asks for."""

    def told(self, turn: str | None, t_s: float) -> None:
        """Hear at `t_s` where to turn (left, right, up, down, centre); None: nothing any more."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Photograph:
    """A still picture of a person and the part of it that a camera would see."""

    pixels: Picture
    window: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    """Left, top, right, bottom as fractions: crop of a picture in which the face is too small."""

    @property
    def view(self) -> Picture:
        """The pixels inside the window."""
        height, width = self.pixels.shape[:2]
        left, top, right, bottom = self.window
        return self.pixels[
            round(top * height) : round(bottom * height), round(left * width) : round(right * width)
        ]


def read_photograph(
    path: Path, window: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
) -> Photograph:
    """Read a picture file; raises ImageUnreadable where there is none."""
    data = np.fromfile(path, np.uint8) if path.is_file() else np.empty(0, np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if pixels is None:
        raise ImageUnreadable(f"{path} is not a readable picture.", remedy="Check the file.")
    return Photograph(pixels=as_picture(pixels), window=window)


class Handheld:
    """A person in front of a hand-held camera, simulated from photographs of that person.

    The photograph fills the frame with its own content (cover fit) and moves, turns and breathes a
    little; what movement uncovers at the border is replicated. Pasting the photograph on a
    background instead would be a presentation attack, and is recognised as one.
    """

    def __init__(
        self, photographs: Sequence[Photograph], size: Size, seed: int, *, pose_s: float = 150.0
    ) -> None:
        """Show each photograph for `pose_s` seconds in turn: the person sits down differently."""
        if not photographs:
            raise BadRequest("A simulated camera needs at least one photograph.")
        self._views = tuple(_cover(photograph.view, size) for photograph in photographs)
        self._size = size
        self._pose_s = pose_s
        width, height = size
        self._x = Sway(0.03 * width, seed)
        self._y = Sway(0.03 * height, seed + 1)
        self._turn = Sway(4.0, seed + 2)
        self._scale = Sway(0.05, seed + 3)

    def paint(self, n: int, t_s: float) -> Picture:
        """Paint the person at `t_s`."""
        view = self._views[int(t_s // self._pose_s) % len(self._views)]
        height, width = view.shape[:2]
        centre = ((width - 1) / 2, (height - 1) / 2)
        matrix = cv2.getRotationMatrix2D(centre, self._turn.at(t_s), 1.03 + self._scale.at(t_s))
        matrix[:, 2] += np.array((self._x.at(t_s), self._y.at(t_s)))
        moved = cv2.warpAffine(
            view, matrix, self._size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return as_picture(moved)


def _cover(view: Picture, size: Size) -> Picture:
    """Scale so that `size` is filled, and cut what stands over, equally on both sides."""
    width, height = size
    scale = max(width / view.shape[1], height / view.shape[0])
    scaled = (max(round(view.shape[1] * scale), width), max(round(view.shape[0] * scale), height))
    resized = cv2.resize(
        view, scaled, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    )
    left, top = (scaled[0] - width) // 2, (scaled[1] - height) // 2
    return as_picture(resized)[top : top + height, left : left + width]


class Clip:
    """Real frames of a recording, each used once.

    Lessons are compressed and the recording is short, so neighbouring lesson frames are taken
    `stride` frames apart in the recording, round and round until every frame was shown.
    """

    def __init__(self, path: Path, *, first: int, last: int, stride: int = 7) -> None:
        """Decode frames `first` to `last` (both included); raises ImageUnreadable."""
        self._frames = _decode_video(path, first, last)
        count = len(self._frames)
        if np.gcd(stride, count) != 1:
            raise BadRequest(f"A stride of {stride} does not reach all of {count} frames.")
        self._stride = stride

    @property
    def frames(self) -> int:
        """How many frames it can give."""
        return len(self._frames)

    def stills(self, every: int) -> tuple[Picture, ...]:
        """Give one frame in `every`."""
        return self._frames[::every]

    def paint(self, n: int, t_s: float) -> Picture:
        """Give the `n`-th frame; raises BadRequest where the recording is used up."""
        if n >= len(self._frames):
            raise BadRequest(f"The recording has {len(self._frames)} frames, frame {n} was asked.")
        return self._frames[n * self._stride % len(self._frames)]


def _decode_video(path: Path, first: int, last: int) -> tuple[Picture, ...]:
    import av  # noqa: PLC0415 - a heavy library that only recordings need
    from av.error import FFmpegError  # noqa: PLC0415

    frames: list[Picture] = []
    try:
        with av.open(str(path)) as container:
            for index, frame in enumerate(container.decode(video=0)):
                if index > last:
                    break
                if index >= first:
                    frames.append(frame.to_ndarray(format="bgr24").astype(np.uint8, copy=False))
    except (FFmpegError, OSError) as error:
        raise ImageUnreadable(f"{path} is not a readable video: {error}.") from error
    if len(frames) != last - first + 1:
        raise ImageUnreadable(
            f"{path} ends before frame {last}.", remedy="Check that the file is complete."
        )
    return tuple(frames)


class Cuts:
    """One scene after another: somebody takes the learner's seat, a hand covers the lens."""

    def __init__(self, parts: Sequence[tuple[float, Scene]]) -> None:
        """`parts`: each scene with the lesson time in seconds at which it begins, from 0 on."""
        starts = [start for start, _ in parts]
        if not parts or starts[0] != 0 or starts != sorted(starts):
            raise BadRequest("Scenes follow one another from second 0 on.")
        self._parts = tuple(parts)

    def paint(self, n: int, t_s: float) -> Picture:
        """Paint the scene of that time."""
        return self._at(t_s).paint(n, t_s)

    def told(self, turn: str | None, t_s: float) -> None:
        """Tell whoever sits there at that time."""
        scene = self._at(t_s)
        if isinstance(scene, Answering):
            scene.told(turn, t_s)

    def _at(self, t_s: float) -> Scene:
        return next(scene for start, scene in reversed(self._parts) if start <= t_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lens:
    """What optics, sensor and encoder add to a scene."""

    exposure: float
    """The gain wanders within 1 ± this."""
    blur_px: float
    """Largest standard deviation of the Gaussian blur, in pixels."""
    noise: float
    """Standard deviation of the sensor noise, in grey levels."""
    jpeg_quality: int
    """Quality of libjpeg, 1..100."""


PHONE_LENS = Lens(exposure=0.12, blur_px=0.9, noise=2.5, jpeg_quality=88)
"""A middle-class phone indoors: visible noise, slight defocus."""
AS_RECORDED = Lens(exposure=0.0, blur_px=0.0, noise=0.0, jpeg_quality=95)
"""A recording already went through a lens; it is only encoded again."""

_NOISE_MARGIN = 64


class Camera:
    """A scene seen through a lens, as JPEG files."""

    def __init__(self, scene: Scene, *, seed: int, lens: Lens = PHONE_LENS) -> None:
        self._scene = scene
        self._lens = lens
        self._seed = seed
        self._gain = Sway(lens.exposure, seed + 11)
        self._focus = Sway(0.5, seed + 12)
        self._noise: Picture | None = None

    def told(self, turn: str | None, t_s: float) -> None:
        """Pass on to whoever is before it what the screen asks for."""
        if isinstance(self._scene, Answering):
            self._scene.told(turn, t_s)

    def frame(self, n: int, t_s: float) -> bytes:
        """Take the `n`-th frame at `t_s` seconds of the lesson, as a JPEG."""
        picture = self._scene.paint(n, t_s)
        sigma = self._lens.blur_px * (0.5 + self._focus.at(t_s))
        if sigma > 0.2:  # below, the kernel is a single pixel
            picture = as_picture(cv2.GaussianBlur(picture, (0, 0), sigma))
        if self._lens.exposure or self._lens.noise:
            picture = self._develop(picture, n, 1 + self._gain.at(t_s))
        done, data = cv2.imencode(
            ".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, self._lens.jpeg_quality]
        )
        if not done:
            raise ImageUnreadable("The picture could not be encoded.")
        return bytes(data)

    def _develop(self, picture: Picture, n: int, gain: float) -> Picture:
        """Gain and noise. The noise is one seeded field, cut elsewhere for every frame."""
        height, width = picture.shape[:2]
        if self._noise is None:
            rng = np.random.default_rng(self._seed)
            shape = (height + _NOISE_MARGIN, width + _NOISE_MARGIN, 3)
            field = rng.standard_normal(shape, dtype=np.float32) * self._lens.noise
            self._noise = np.clip(np.rint(field) + 128, 0, 255).astype(np.uint8)
        top, left = np.random.default_rng((self._seed, n)).integers(0, _NOISE_MARGIN, 2)
        noise = self._noise[top : top + height, left : left + width]
        return as_picture(cv2.addWeighted(picture, gain, noise, 1.0, -128.0))
