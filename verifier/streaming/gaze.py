"""Whether the learner of a stream looks away: yaw against where he looked while recognised.

A camera stands beside the screen or below it: an angle says little, a change of it something. The
baseline is the median yaw of the newest frames on which the enrolled face was matched; where the
device was put elsewhere, it follows. Measured only where a programme asks for it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from statistics import median
from typing import Final

from verifier.types import HeadPose

_READINGS: Final = 9
_ENOUGH: Final = 3
"""Before so many matched frames there is no baseline, and nothing is said."""
_BACK_DEG: Final = 5
"""Whoever looked away has to come back by so much more, so that nobody flickers at the limit."""
_REMEMBERED: Final = 64
"""Frames whose pose is kept until a match may come."""


class Gaze:
    """Takes the pose of each frame, and learns from those that were matched."""

    def __init__(self, limit_deg: int) -> None:
        """`limit_deg`: yaw from the baseline that counts as away; 0: nothing is measured."""
        self._limit_deg = limit_deg
        self._yaws: OrderedDict[int, float] = OrderedDict()
        self._matched: deque[float] = deque(maxlen=_READINGS)
        self._away = False

    @property
    def measures(self) -> bool:
        """Whether poses are asked for."""
        return self._limit_deg > 0

    def see(self, seq: int, pose: HeadPose | None) -> bool | None:
        """Take the pose of a frame; tell whether he looks away, None where nobody can say."""
        if pose is None:
            return None
        self._yaws[seq] = pose.yaw_deg
        while len(self._yaws) > _REMEMBERED:
            self._yaws.popitem(last=False)
        if len(self._matched) < _ENOUGH:
            return None
        limit = self._limit_deg - (_BACK_DEG if self._away else 0)
        self._away = abs(pose.yaw_deg - median(self._matched)) > limit
        return self._away

    def learn(self, seqs: Sequence[int]) -> None:
        """Note that these frames showed the enrolled face."""
        self._matched.extend(yaw for seq in seqs if (yaw := self._yaws.pop(seq, None)) is not None)
