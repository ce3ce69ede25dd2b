"""Everything in front of a camera that is not simply the learner: attacks, rooms, covered lenses.

Prints and screens are drawn as they look when somebody holds them up: with an edge, in
perspective, before a room. Sizes are (width, height) in pixels; pictures are (height, width, 3)
uint8, BGR.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from benren.demo.cameras import Answering, Photograph, Size, as_picture
from benren.demo.motion import Sway

if TYPE_CHECKING:
    from benren.demo.cameras import Picture, Scene


class Room:
    """Nobody: a wall, a shelf, a window, a chair's back; the light drifts."""

    def __init__(self, size: Size, seed: int) -> None:
        self._wall = _furnish(size, seed)
        self._x, self._y = Sway(4.0, seed + 1), Sway(4.0, seed + 2)
        self._light = Sway(0.05, seed + 3)

    def paint(self, n: int, t_s: float) -> Picture:
        """Paint the room at `t_s`."""
        height, width = self._wall.shape[:2]
        shift = np.array([[1, 0, self._x.at(t_s)], [0, 1, self._y.at(t_s)]], np.float64)
        moved = cv2.warpAffine(self._wall, shift, (width, height), borderMode=cv2.BORDER_REPLICATE)
        return as_picture(cv2.convertScaleAbs(moved, alpha=1 + self._light.at(t_s)))


def _furnish(size: Size, seed: int) -> Picture:
    rng = np.random.default_rng(seed)
    width, height = size
    across = np.linspace(-0.12, 0.12, width)[None, :, None]
    down = np.linspace(0.06, -0.1, height)[:, None, None]
    paint = np.array((178, 190, 198), np.float64) + rng.uniform(-14, 14, 3)
    wall = np.clip(paint * (1 + across + down), 0, 255).astype(np.uint8)

    def block(box: tuple[float, float, float, float], colour: tuple[int, int, int]) -> None:
        left, top, right, bottom = box
        corner = (round(left * width), round(top * height))
        cv2.rectangle(wall, corner, (round(right * width), round(bottom * height)), colour, -1)

    block((0.68, 0.05, 1.0, 0.42), (226, 214, 196))  # a window
    block((0.83, 0.05, 0.845, 0.42), (150, 150, 150))
    block((0.0, 0.22, 0.3, 0.25), (60, 84, 110))  # a shelf with books
    for left in np.arange(0.01, 0.27, 0.035):
        tone = rng.integers(40, 190, 3)
        block(
            (float(left), float(rng.uniform(0.06, 0.12)), float(left) + 0.028, 0.22),
            (int(tone[0]), int(tone[1]), int(tone[2])),
        )
    block((0.3, 0.74, 0.72, 1.0), (58, 62, 70))  # the back of a chair
    return as_picture(cv2.GaussianBlur(wall, (0, 0), 2.2))


class Covered:
    """A thumb or a sleeve on the lens: almost black, a reddish glow at one edge."""

    def __init__(self, size: Size, seed: int) -> None:
        width, height = size
        glow = np.exp(-np.linspace(0, 5, width))[None, :, None]
        dark = 7 + glow * np.array((6.0, 10.0, 34.0))
        self._dark = np.broadcast_to(dark, (height, width, 3)).astype(np.uint8)
        self._light = Sway(0.3, seed)

    def paint(self, n: int, t_s: float) -> Picture:
        """Paint the dark at `t_s`."""
        return as_picture(cv2.convertScaleAbs(self._dark, alpha=1 + self._light.at(t_s)))


class HeldUp:
    """A flat thing with a picture on it, held before the camera in somebody's room."""

    def __init__(self, sheet: Picture, size: Size, seed: int, *, share: float) -> None:
        """`sheet`: what is held up; `share`: its height, as a share of the frame's."""
        self._sheet = sheet
        self._room = Room(size, seed + 50)
        self._share = share
        self._size = size
        self._x, self._y = Sway(0.04, seed), Sway(0.03, seed + 1)
        self._corners = tuple(Sway(0.03, seed + 2 + i) for i in range(8))
        self._scale = Sway(0.05, seed + 20)

    def paint(self, n: int, t_s: float) -> Picture:
        """Paint the thing at `t_s`, in perspective."""
        width, height = self._size
        rows, columns = self._sheet.shape[:2]
        tall = self._share * (1 + self._scale.at(t_s)) * height
        wide = tall * columns / rows
        middle = np.array((0.5 + self._x.at(t_s), 0.5 + self._y.at(t_s))) * (width, height)
        half = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
        lean = np.array([sway.at(t_s) for sway in self._corners]).reshape(4, 2)
        target = (middle + (half + lean) * (wide, tall)).astype(np.float32)
        source = np.array([(0, 0), (columns, 0), (columns, rows), (0, rows)], np.float32)
        matrix = cv2.getPerspectiveTransform(source, target)
        frame = self._room.paint(n, t_s)
        cv2.warpPerspective(
            self._sheet,
            matrix,
            self._size,
            dst=frame,
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_TRANSPARENT,
        )
        return frame


def printed(photograph: Photograph, size: Size, seed: int) -> Scene:
    """Print the photograph on paper, with a white border."""
    picture = _fit_height(photograph.view, 520)
    # Office printers lose contrast and saturation, and paper has a grain.
    grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    faded = cv2.addWeighted(picture, 0.68, grey, 0.16, 32)
    sheet = cv2.copyMakeBorder(faded, 46, 46, 46, 46, cv2.BORDER_CONSTANT, value=(236, 240, 242))
    grain = np.random.default_rng(seed).normal(0, 3.0, sheet.shape)
    sheet = np.clip(sheet + grain, 0, 255).astype(np.uint8)
    return HeldUp(sheet, size, seed, share=0.86)


def on_screen(photograph: Photograph, size: Size, seed: int) -> Scene:
    """Show the photograph on a tablet: dark bezel, cold light, moiré, a reflection."""
    picture = _fit_height(photograph.view, 520).astype(np.float64)
    rows, columns = picture.shape[:2]
    y, x = np.mgrid[0:rows, 0:columns]
    moire = 1 + 0.07 * np.sin(2 * np.pi * (x * 0.19 + y * 0.043)) * np.sin(2 * np.pi * y * 0.21)
    cold = np.array((1.16, 1.04, 0.96))
    reflection = 46 * np.exp(-(((x - 0.8 * columns) ** 2 + (y - 0.15 * rows) ** 2) / 9000))
    lit = np.clip(picture * moire[..., None] * cold + 10 + reflection[..., None], 0, 255)
    bezel = cv2.copyMakeBorder(
        lit.astype(np.uint8), 40, 40, 30, 30, cv2.BORDER_CONSTANT, value=(18, 17, 16)
    )
    return HeldUp(bezel, size, seed, share=0.9)


def _fit_height(picture: Picture, rows: int) -> Picture:
    scale = rows / picture.shape[0]
    size = (round(picture.shape[1] * scale), rows)
    return as_picture(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC))


class Beside:
    """Two scenes in one frame, with a soft seam: somebody sits beside the learner, or did."""

    def __init__(self, left: Scene, right: Scene, size: Size, *, seam: float) -> None:
        """`left` must be `left_size(size, seam)` large, `right` `right_size(size, seam)`."""
        width, height = size
        self._left, self._right = left, right
        self._size = size
        self._from = width - right_size(size, seam)[0]
        self._to = left_size(size, seam)[0]
        ramp = np.linspace(0, 1, self._to - self._from, dtype=np.float32)
        self._ramp = np.broadcast_to(ramp, (height, len(ramp))).copy()

    def paint(self, n: int, t_s: float) -> Picture:
        """Paint both at `t_s`."""
        width, height = self._size
        left, right = self._left.paint(n, t_s), self._right.paint(n, t_s)
        soft = self._to - self._from
        frame = np.empty((height, width, 3), np.uint8)
        frame[:, : self._from] = left[:, : self._from]
        frame[:, self._to :] = right[:, soft:]
        frame[:, self._from : self._to] = cv2.blendLinear(
            np.ascontiguousarray(left[:, self._from :]),
            np.ascontiguousarray(right[:, :soft]),
            1 - self._ramp,
            self._ramp,
        )
        return frame

    def told(self, turn: str | None, t_s: float) -> None:
        """Tell the learner, who sits on the left."""
        if isinstance(self._left, Answering):
            self._left.told(turn, t_s)


_SOFT = 0.05
"""Half the width of the seam, as a share of the frame's width."""


def left_size(size: Size, seam: float) -> Size:
    """Size of the left scene of :class:`Beside`."""
    return round((seam + _SOFT) * size[0]), size[1]


def right_size(size: Size, seam: float) -> Size:
    """Size of the right scene of :class:`Beside`."""
    return size[0] - round((seam - _SOFT) * size[0]), size[1]
