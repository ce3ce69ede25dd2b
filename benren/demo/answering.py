"""A person before a camera who follows the arrows: sways a little, and turns where he is told.

The turn takes time, as with people: some tenths of a second until he has read the arrow, then the
head moves at a speed of its own. He looks straight again when told to.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from benren.demo.cameras import as_picture
from benren.demo.motion import Sway
from benren.demo.poses import ANGLES
from verifier.errors import BadRequest

if TYPE_CHECKING:
    from benren.demo.cameras import Clip, Picture
    from benren.demo.poses import PoseStudio
    from benren.demo.turning import Relief

REACTION_S: Final = (0.35, 0.9)
"""From the arrow to the first movement."""
SPEED_DEG_S: Final = (45.0, 90.0)
"""How fast a head turns that is not in a hurry."""
STRAIGHT: Final = "centre"


class Obedient:
    """A scene of one person; `told` says where he is asked to turn."""

    def __init__(self, reliefs: Sequence[Relief], seed: int, *, pose_s: float = 150.0) -> None:
        """Sit as in each of the photographs for `pose_s` seconds in turn."""
        if not reliefs:
            raise BadRequest("A simulated person needs at least one photograph.")
        self._reliefs = tuple(reliefs)
        self._pose_s = pose_s
        self._dice = random.Random(seed)  # noqa: S311 - a simulation, no secret
        height, width = reliefs[0].pixels.shape[:2]
        self._size = (width, height)
        self._x, self._y = Sway(0.012 * width, seed), Sway(0.012 * height, seed + 1)
        self._roll, self._scale = Sway(2.0, seed + 2), Sway(0.02, seed + 3)
        self._yaw, self._pitch = Sway(2.0, seed + 4), Sway(1.5, seed + 5)
        self._orders: list[tuple[float, str]] = [(0.0, STRAIGHT)]
        self._turned = np.zeros(2)
        self._at_s = 0.0

    def told(self, turn: str | None, t_s: float) -> None:
        """Hear at `t_s` where to turn: left, right, up, down or centre; None: nothing any more."""
        wanted = STRAIGHT if turn is None else turn
        if wanted != self._orders[-1][1]:
            self._orders.append((t_s + self._dice.uniform(*REACTION_S), wanted))

    def paint(self, n: int, t_s: float) -> Picture:
        """Paint the person at `t_s`; times must not go backwards."""
        self._move(t_s)
        relief = self._reliefs[int(t_s // self._pose_s) % len(self._reliefs)]
        yaw = self._turned[0] + self._yaw.at(t_s)
        pitch = self._turned[1] + self._pitch.at(t_s)
        picture = relief.turned(float(yaw), float(pitch))
        width, height = self._size
        middle = ((width - 1) / 2, (height - 1) / 2)
        matrix = cv2.getRotationMatrix2D(middle, self._roll.at(t_s), 1 + self._scale.at(t_s))
        matrix[:, 2] += np.array((self._x.at(t_s), self._y.at(t_s)))
        return as_picture(
            cv2.warpAffine(picture, matrix, self._size, borderMode=cv2.BORDER_REPLICATE)
        )

    def from_now(self, t_s: float) -> Obedient:
        """Sit as if the scene had begun at `t_s`."""
        self._at_s = t_s
        return self

    def _move(self, t_s: float) -> None:
        """Turn the head from where it was to where the orders have it by now."""
        for i, (since, turn) in enumerate(self._orders):
            until = min(self._orders[i + 1][0] if i + 1 < len(self._orders) else t_s, t_s)
            span = until - max(since, self._at_s)
            if span <= 0:
                continue
            way = np.array(ANGLES["neutral" if turn == STRAIGHT else turn]) - self._turned
            length = float(np.abs(way).max())
            step = span * self._dice.uniform(*SPEED_DEG_S)
            self._turned = self._turned + way * min(1.0, step / max(length, 1e-6))
        self._at_s = max(self._at_s, t_s)
        self._orders = self._orders[-4:]


class Interviewed:
    """A recording whose person is asked to turn.

    No recording knows what it will be asked for. While a challenge is shown, the picture of it on
    which he looks straightest turns instead, by its own relief: he lowers the microphone, so to
    speak. Then the recording goes on where it stood.
    """

    def __init__(self, recording: Clip, studio: PoseStudio, seed: int) -> None:
        self._recording = recording
        self._relief = studio.relief_in_place(studio.most_frontal(recording.stills(6)))
        self._seed = seed
        self._shown = 0
        self._answering: Obedient | None = None

    def told(self, turn: str | None, t_s: float) -> None:
        """Hear at `t_s` where to turn; None: the challenge is over."""
        if turn is None:
            self._answering = None
            return
        if self._answering is None:
            self._answering = Obedient([self._relief], self._seed + round(t_s)).from_now(t_s)
        self._answering.told(turn, t_s)

    def paint(self, n: int, t_s: float) -> Picture:
        """Paint the next picture of the recording, or the answer."""
        if self._answering is not None:
            return self._answering.paint(n, t_s)
        self._shown += 1
        return self._recording.paint(self._shown - 1, t_s)
