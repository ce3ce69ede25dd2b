"""Whether a picture was shown before: in this session, or in earlier ones of the learner.

A fingerprint is 512 signs of a picture's coarse structure (a discrete cosine transform of 64 x 64
grey levels): no face can be made of it, and it survives what a recording goes through. Measured on
a real clip and six people before simulated cameras: the same picture encoded again, down to JPEG
quality 40 and half the size, differs in at most 11 of 512 signs (99 % in at most 8); two pictures
of a person who holds a phone, at any two moments, in 25 at the least, most of them in over 170.

A frame that was shown before is no evidence of anybody: a recording that is played again earns
nothing, a frozen picture neither. Where several of the last frames were shown before, somebody
plays something: verdicts are *spoof* then, until a challenge has been passed. It sees repetitions,
no more: a recording that was never sent to us, or one that is turned, cropped or mirrored, it does
not know. That is what the challenge is for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from verifier.clock import Stamp
from verifier.errors import BadRequest
from verifier.pipeline.fingerprint import BYTES
from verifier.types import Decision, Evidence, Reason, Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_EARLIER: Final = 20_000
"""Fingerprints of earlier sessions that are looked through: more than a whole programme."""
MOST_HERE: Final = 2_000
"""Fingerprints of this session that are remembered: almost three hours at one per 5 s."""
SAME_EARLIER: Final = 14
"""Signs in which a picture of an earlier session may differ and be the same."""
SAME_HERE: Final = 8
"""The same within a session, where a learner who sits still resembles himself more."""
APART_MS: Final = 20_000
"""Samples of this session that lie closer together are not compared: nobody need have moved."""
RECENT: Final = 24
"""Samples that an alarm looks back on: two minutes."""
ALARM: Final = 12
"""Repeats among them from which on somebody plays something: half. (A film in which every fifth
frame is a repeat, 40 ms apart from its twin, is still taken for what it shows.)"""


class ReplayWatch:
    """The memory of one stream."""

    def __init__(self, earlier: bytes = b"") -> None:
        """`earlier`: fingerprints of earlier sessions, one after the other."""
        if len(earlier) % BYTES:
            raise BadRequest(f"Fingerprints have {BYTES} bytes each.")
        self._earlier = _rows(earlier[-MOST_EARLIER * BYTES :])
        self._young: deque[tuple[Stamp, bytes]] = deque()
        self._old = bytearray()
        self._recent: deque[bool] = deque(maxlen=RECENT)
        self._repeats: deque[str] = deque(maxlen=RECENT * 8)

    @property
    def alarm(self) -> bool:
        """Whether so many frames were repeats that somebody plays something."""
        return sum(self._recent) >= ALARM

    def take(self, shown: bytes, digest: str, at: Stamp) -> bool:
        """Remember a sample with a face; tells whether it was shown before."""
        while self._young and at.ms_since(self._young[0][0]) > APART_MS:
            self._old += self._young.popleft()[1]
        repeat = _knows(self._earlier, shown, SAME_EARLIER) or _knows(
            _rows(bytes(self._old)), shown, SAME_HERE
        )
        if len(self._old) >= MOST_HERE * BYTES:
            del self._old[: BYTES * (MOST_HERE // 8)]
        self._young.append((at, shown))
        self._recent.append(repeat)
        if repeat:
            self._repeats.append(digest)
        return repeat

    def absolve(self) -> None:
        """Forget what raised the alarm: the learner has answered a challenge."""
        self._recent.clear()

    def without_repeats(self, evidence: Sequence[Evidence]) -> list[Evidence]:
        """Say of frames that were shown before that they are no evidence."""
        return [
            replace(one, reasons=(*one.reasons, Reason.DUPLICATE_FRAME))
            if one.digest in self._repeats
            else one
            for one in evidence
        ]

    def judge(self, verdict: Verdict) -> Verdict:
        """Let an alarm outweigh what a verdict says of the identity."""
        if not self.alarm or verdict.decision is Decision.MISMATCH:
            return verdict
        reasons = dict.fromkeys([Reason.DUPLICATE_FRAME, *verdict.reasons])
        return replace(verdict, decision=Decision.SPOOF, reasons=tuple(reasons))


def _rows(prints: bytes) -> NDArray[np.uint64]:
    return np.frombuffer(prints, np.uint64).reshape(-1, BYTES // 8)


def _knows(known: NDArray[np.uint64], shown: bytes, most: int) -> bool:
    if not len(known):
        return False
    differing = np.bitwise_count(known ^ np.frombuffer(shown, np.uint64)).sum(axis=1)
    return bool(differing.min() <= most)
