"""Whether a picture was shown before: in this session, or in earlier ones of the learner.

A fingerprint is 512 signs of a picture's coarse structure (a discrete cosine transform of 64 x 64
grey levels): no face can be made of it, and it survives what a recording goes through.

That two pictures are alike proves nothing where a camera stands still: whoever sits at the same
desk every day resembles himself. So a picture is judged by what chance explains. Its *share* is how
many of the pictures of this stream, and of those known, resemble it; pictures that follow one
another as their likes did before form a *run*, and a run of n pictures comes by chance as often as
the share to the power of n, times the pictures it may begin at. `SURE` says how seldom chance has
to be until somebody plays something: verdicts are *spoof* where half of the last pictures belong to
such runs, until a challenge has been passed.

Before that a picture can be *doubted*, which accuses nobody: it is no evidence, and another is
looked at. That is so where a known picture resembles it and hardly any other comes near, and where
a run is longer than chance lets one expect. So a recording of somebody who moves earns nothing from
its first picture on. A picture that stays as it was is doubted, and one like nine of ten of the
last two minutes is played.

What it does not know: a recording that was never sent to us, or one that is turned, cropped or
mirrored; one of somebody who sat so still that most of his pictures are alike; and pictures from
before a fixed camera in another order. The challenge stands against those. How often each is known
was measured on simulated cameras (`benchmarks.seated`, docs/streams.md).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from verifier.clock import Stamp
from verifier.errors import BadRequest
from verifier.pipeline.fingerprint import BYTES
from verifier.types import Decision, Evidence, Reason, Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Places = NDArray[np.int64]

MOST_EARLIER: Final = 20_000
"""Fingerprints of earlier sessions that are looked through: more than a whole programme."""
MOST_HERE: Final = 2_000
"""Fingerprints of this session that are remembered: almost three hours at one per 5 s."""
SAME_EARLIER: Final = 14
"""Signs in which a picture of an earlier session may differ and be alike. Encoded anew, 99 of 100
differ in 6 at the most; before a fixed camera most honest pictures have their like by this."""
SAME_HERE: Final = 8
"""The same within a session, where a learner who sits still resembles himself more."""
APART_MS: Final = 20_000
"""Samples of this session that lie closer together are not compared: nobody need have moved."""
RECENT: Final = 24
"""Samples that an alarm looks back on: two minutes."""
ALARM: Final = 12
"""Played ones among them from which on verdicts are *spoof*: half. (A film in which every fifth
frame is a repeat, 40 ms apart from its twin, is still taken for what it shows.)"""
LOOSE: Final = 24
"""Signs in which pictures differ that come near each other: two pictures of somebody with a
telephone in his hand hardly ever do."""
FEW: Final = 4
"""A picture that resembles a known one is doubted where no more than these come near it."""
STEPS: Final = (1, 2)
"""Pictures of a run follow one another as they did before; one may be missing in between."""
TELLING: Final = 1 / 3
"""A picture that a larger share of its own stream resembles tells nothing of order: pictures that
follow one another while somebody hardly moves are alike for that reason."""
MANY: Final = 16
"""Runs at once from which on those that go on tell how often one does by chance."""
UNLIKELY: Final = math.log(20)
"""A run is doubted where chance brings one as long with one of so many pictures..."""
SURE: Final = math.log(1e6)
"""...and played where it does with one of so many: 13.8. In 24 honest half-hours before cameras
that stand still no run had more than 12.9 within a session, 4.3 against earlier ones."""
SAME_FROZEN: Final = 5
"""Signs in which noise and encoder make a picture differ that does not move: in 99 of 100 at most
5 (7 in one camera of 22). Of somebody who sways by 0.3 % of the width half of all pairs differ in 7
or more."""
FROZEN: Final = 0.9
"""Share of the pictures of two minutes that one resembles, from which on it is frozen."""
STILL: Final = 0.75
"""Share of `STILL_FOR` pictures, 20 to 40 s back, from which on it is doubted."""
STILL_FOR: Final = 4


class ReplayWatch:
    """The memory of one stream."""

    def __init__(self, earlier: bytes = b"") -> None:
        """`earlier`: fingerprints of earlier sessions, one after the other."""
        if len(earlier) % BYTES:
            raise BadRequest(f"Fingerprints have {BYTES} bytes each.")
        self._earlier = _rows(earlier[-MOST_EARLIER * BYTES :])
        self._young: deque[tuple[Stamp, bytes]] = deque()
        self._old = bytearray()
        self._latest: deque[bytes] = deque(maxlen=RECENT)
        """Young and old ones: what the stream looks like now."""
        self._of_earlier = _Runs()
        self._of_here = _Runs()
        self._recent: deque[bool] = deque(maxlen=RECENT)
        """Whether each was played."""
        self._doubted: deque[str] = deque(maxlen=RECENT * 8)

    @property
    def alarm(self) -> bool:
        """Whether so many of the last pictures were played that verdicts are *spoof*."""
        return sum(self._recent) >= ALARM

    def take(self, shown: bytes, digest: str, at: Stamp) -> bool:
        """Remember a sample with a face; tells whether it is doubted."""
        while self._young and at.ms_since(self._young[0][0]) > APART_MS:
            self._old += self._young.popleft()[1]
        earlier = _differing(self._earlier, shown)
        here = _differing(_rows(bytes(self._old)), shown)
        latest = _differing(_rows(b"".join(self._latest)), shown)
        found = (
            self._of_earlier.take(
                earlier,
                SAME_EARLIER,
                max(_share(here <= SAME_EARLIER), _share(latest <= SAME_EARLIER)),
            ),
            self._of_here.take(here, SAME_HERE, _share(latest <= SAME_HERE)),
        )
        still = _share(here[-STILL_FOR:] <= SAME_FROZEN) >= STILL
        frozen = still and _share(here[-RECENT:] <= SAME_FROZEN) >= FROZEN
        self._recent.append(frozen)
        for one in found:
            for back in range(1, 1 + min(one.played, len(self._recent))):
                self._recent[-back] = True
        if len(self._old) >= MOST_HERE * BYTES:
            del self._old[: BYTES * (MOST_HERE // 8)]
            self._of_here.forget(MOST_HERE // 8)
        self._young.append((at, shown))
        self._latest.append(shown)
        doubted = still or any(one.doubtful for one in found)
        if doubted:
            self._doubted.append(digest)
        return doubted

    def absolve(self) -> None:
        """Forget what raised the alarm: the learner has answered a challenge."""
        self._recent.clear()
        self._of_earlier = _Runs()
        self._of_here = _Runs()

    def without_repeats(self, evidence: Sequence[Evidence]) -> list[Evidence]:
        """Say of frames that may have been shown before that they are no evidence."""
        return [
            replace(one, reasons=(*one.reasons, Reason.DUPLICATE_FRAME))
            if one.digest in self._doubted
            else one
            for one in evidence
        ]

    def judge(self, verdict: Verdict) -> Verdict:
        """Let an alarm outweigh what a verdict says of the identity."""
        if not self.alarm or verdict.decision is Decision.MISMATCH:
            return verdict
        reasons = dict.fromkeys([Reason.DUPLICATE_FRAME, *verdict.reasons])
        return replace(verdict, decision=Decision.SPOOF, reasons=tuple(reasons))


@dataclass(frozen=True, slots=True)
class _Found:
    """What known pictures say of one."""

    doubtful: bool
    played: int
    """Pictures of the run that it ends, where chance does not explain it; else 0."""


class _Runs:
    """Pictures that follow one another as their likes did before."""

    def __init__(self) -> None:
        self._places: Places = np.empty(0, np.int64)
        """Where runs have got to, in the order of the known pictures."""
        self._lengths: Places = np.empty(0, np.int64)
        self._odds: NDArray[np.float64] = np.empty(0, np.float64)
        """Against each of them by chance, from its own beginning: a logarithm."""

    def take(self, differing: Places, most: int, share: float) -> _Found:
        """Take a picture in: in how many signs known ones differ, at most how many may.

        `share`: how much of its own stream resembles it. What many resemble adds nothing to a run;
        what none resembles ends every run.
        """
        alike = differing <= most
        places = np.flatnonzero(alike)
        lengths, odds = np.zeros(len(places), np.int64), np.zeros(len(places))
        for step in STEPS if len(self._places) else ():
            at = np.searchsorted(self._places, places - step).clip(max=len(self._places) - 1)
            follows = (self._places[at] == places - step) & (self._odds[at] >= odds)
            lengths = np.where(follows, self._lengths[at], lengths)
            odds = np.where(follows, self._odds[at], odds)
        share = max(share, _share(alike))
        by_chance = max(1.0 - (1.0 - share) ** len(STEPS), self._going_on(places))
        gain = -math.log(by_chance) if len(places) and share <= TELLING else 0.0
        self._places, self._lengths, self._odds = places, lengths + 1, odds + gain
        if not len(places):
            return _Found(doubtful=False, played=0)
        best = int(self._odds.argmax())
        length, beyond = int(self._lengths[best]), float(self._odds[best]) - math.log(len(alike))
        return _Found(
            doubtful=int((differing <= LOOSE).sum()) <= FEW or (length > 1 and beyond > UNLIKELY),
            played=length if beyond >= SURE else 0,
        )

    def _going_on(self, places: Places) -> float:
        """Tell what share of many runs goes on: somebody moves slowly, and that is why."""
        if len(self._places) < MANY:
            return 0.0
        goes_on = [np.isin(self._places + step, places) for step in STEPS]
        return _share(np.logical_or.reduce(goes_on))

    def forget(self, count: int) -> None:
        """Note that the first `count` known pictures are gone."""
        left = self._places >= count
        self._places = self._places[left] - count
        self._lengths, self._odds = self._lengths[left], self._odds[left]


def _rows(prints: bytes) -> NDArray[np.uint64]:
    return np.frombuffer(prints, np.uint64).reshape(-1, BYTES // 8)


def _differing(known: NDArray[np.uint64], shown: bytes) -> NDArray[np.int64]:
    """Count the signs in which each known picture differs from the one that is shown."""
    differing = np.bitwise_count(known ^ np.frombuffer(shown, np.uint64))
    return np.asarray(differing.sum(axis=1), np.int64)


def _share(which: NDArray[np.bool_]) -> float:
    return float(which.mean()) if len(which) else 0.0
