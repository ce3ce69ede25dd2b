"""What the camera of one stream shows: the frames of the last seconds, and the face in view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from verifier.clock import Stamp
from verifier.streaming.track import Sighting, Track, anchored, follow, relative
from verifier.streaming.window import Sample, Window, select
from verifier.types import Face

if TYPE_CHECKING:
    from verifier.pipeline.presence import Glance
    from verifier.pipeline.savings import LastSeen


class View:
    """The newest samples of one stream and the track that they make."""

    def __init__(self, window: Window, *, gap_ms: int) -> None:
        """After more than `gap_ms` without a sample no track goes on."""
        self.window = window
        self.track = Track()
        self.seen: LastSeen | None = None
        """What makes the next glance cheaper."""
        self.newest_seq = 0
        self.newest_at: Stamp | None = None
        self.anew = False
        """Whether another camera may stand behind the next frame: a way has been taken over."""
        self._gap_ms = gap_ms

    def sight(self, glance: Glance, at: Stamp, *, blink_ms: int | None) -> Sighting:
        """Follow the face; within `blink_ms` it may be out of sight, as heads are that turn."""
        last = replace(self.track, box=None) if self.anew else self.track
        since = last.at if last.box is not None and not glance.faces else None
        if blink_ms is not None and since is not None and at.ms_since(since) <= blink_ms:
            return Sighting(track=last, fresh=False)
        return follow(
            last,
            glance.faces,
            longer_side_px=glance.longer_side_px,
            at=at,
            gap_ms=self._gap_ms,
        )

    def add(self, sample: Sample, sighting: Sighting, glance: Glance) -> None:
        """Take in a sample and what it does to the track."""
        self.track = sighting.track
        self.seen = glance.seen
        self.anew = False
        self.newest_seq, self.newest_at = sample.seq, sample.stamp
        self.window.add(sample, None)

    def anchor(self, face: Face, *, longer_side_px: int) -> None:
        """Follow `face` from here on, under the same number."""
        self.track = anchored(self.track, face, longer_side_px=longer_side_px)

    def chosen(self, count: int, *, now: Stamp, not_before: Stamp | None) -> list[Sample]:
        """Choose at most `count` frames of the track in view, the oldest first."""
        track = self.track.visible
        if not track:
            return []
        return select(self.window.of_track(track, now=now, not_before=not_before), count)


def followed(faces: Sequence[Face], sighting: Sighting, longer_side_px: int) -> Face | None:
    """Find the face that the track follows."""
    box = sighting.track.box
    return next((face for face in faces if relative(face, longer_side_px) == box), None)
