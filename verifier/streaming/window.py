"""The frames of the last seconds, kept so that a check needs no new ones.

Bounded in time, count and bytes. Pictures are kept as they came (JPEG bytes): decoded ones would
take twenty times the memory. What was already computed on a frame is kept beside it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from verifier.clock import Stamp
from verifier.types import Evidence, Face


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One accepted frame."""

    seq: int
    stamp: Stamp
    """When it arrived."""
    track: int
    """0: no face."""
    data: bytes
    """The picture as received; of a video frame a JPEG copy."""
    presence: Evidence
    """Faces and quality; no embedding, no liveness."""

    @property
    def faces(self) -> tuple[Face, ...]:
        """Every face found."""
        return self.presence.faces


class Window:
    """The ring of one stream."""

    def __init__(self, *, window_ms: int, max_frames: int, max_bytes: int) -> None:
        self._window_ms = window_ms
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._samples: deque[Sample] = deque()
        self._evidence: dict[int, Evidence] = {}
        self.bytes = 0
        """Bytes of the pictures kept."""

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def newest(self) -> Sample | None:
        """The last accepted frame that is still here."""
        return self._samples[-1] if self._samples else None

    def newest_data(self, most: int) -> bytes:
        """Give the last accepted picture as received, where it has at most `most` bytes."""
        newest = self.newest
        return newest.data if newest is not None and len(newest.data) <= most else b""

    def add(self, sample: Sample, evidence: Evidence | None) -> None:
        """Keep a frame, and its evidence of identity where known; drop what is too much."""
        self._samples.append(sample)
        self.bytes += len(sample.data)
        if evidence is not None:
            self._evidence[sample.seq] = evidence
        self.age(sample.stamp)
        while len(self._samples) > 1 and (
            len(self._samples) > self._max_frames or self.bytes > self._max_bytes
        ):
            self._drop_oldest()

    def age(self, now: Stamp) -> None:
        """Forget the pictures that are older than the window."""
        while self._samples and now.ms_since(self._samples[0].stamp) > self._window_ms:
            self._drop_oldest()

    def of_track(self, track: int, *, now: Stamp, not_before: Stamp | None) -> list[Sample]:
        """Frames of a track within the window that ends at `now`, the oldest first."""
        return [
            sample
            for sample in self._samples
            if sample.track == track
            and now.ms_since(sample.stamp) <= self._window_ms
            and (not_before is None or sample.stamp.ms_since(not_before) >= 0)
        ]

    def evidence(self, seq: int) -> Evidence | None:
        """Give what is known about the identity on a frame."""
        return self._evidence.get(seq)

    def remember(self, seq: int, evidence: Evidence) -> None:
        """Keep what was computed on a frame, if the frame is still here."""
        if any(sample.seq == seq for sample in self._samples):
            self._evidence[seq] = evidence

    def clear(self) -> None:
        """Forget every picture."""
        while self._samples:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        sample = self._samples.popleft()
        self.bytes -= len(sample.data)
        self._evidence.pop(sample.seq, None)


def select(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Choose at most `count` of `samples` (the oldest first): good ones, spread in time.

    The usable ones, or all where none is usable, are cut into `count` stretches of equal length,
    and the best of each by quality is taken. Liveness over time needs the spread; the median
    similarity needs the quality.
    """
    pool = [sample for sample in samples if not sample.presence.reasons] or list(samples)
    if len(pool) <= count:
        return pool
    cuts = [round(index * len(pool) / count) for index in range(count + 1)]
    return [max(pool[start:end], key=_quality) for start, end in pairwise(cuts)]


def _quality(sample: Sample) -> float:
    quality = sample.presence.quality
    return 0.0 if quality is None else quality.unified_quality_score
