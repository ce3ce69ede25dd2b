"""What the networks say of one frame of a simulated lesson, and how a few of them are judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from statistics import fmean, median
from typing import Protocol

from benchmarks.score_bank import Bank, Seat, Shot
from session_tracker.events import Outcome


class Who(StrEnum):
    """Who or what the camera sees."""

    LEARNER = "learner"
    IMPOSTOR = "impostor"
    HIDDEN = "hidden"
    """An impostor behind a hand or a mask: a face, but no evidence."""
    PICTURE = "picture"
    """A print or a screen that shows the learner."""
    NOBODY = "nobody"
    """Nobody, or a covered lens: no face."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chances:
    """What happens to anybody before a camera, per frame."""

    hand: float = 0.004
    """A hand stays before the face for some frames (mean 3)."""
    away: float = 0.001
    """The learner is out of the picture for one or two frames."""
    clumsy: float = 0.03
    """The learner fails an attempt of a challenge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores(Chances):
    """Distributions of scores: mean, deviation between persons, deviation between frames."""

    genuine: tuple[float, float, float] = (0.60, 0.07, 0.08)
    impostor: tuple[float, float, float] = (0.05, 0.05, 0.06)
    threshold: float = 0.30
    live: tuple[float, float, float] = (2.5, 0.9, 1.1)
    """Log-odds of *live* for somebody real."""
    attack: tuple[float, float, float] = (-1.5, 1.0, 1.0)
    """The same for a print or a screen."""
    unusable: float = 0.03
    """Share of single frames without evidence (blur, a turned head)."""


@dataclass(frozen=True, slots=True)
class Look:
    """One frame as the networks see it."""

    usable: bool
    similarity: float = 0.0
    liveness: float = 0.0
    shot: Shot | None = None
    """Where it comes from a bank."""


class Eyes(Protocol):
    """The networks before the camera of one lesson."""

    @property
    def chances(self) -> Chances:
        """What may happen to the learner."""
        ...

    def look(self, who: Who, rng: Random, *, hidden: bool) -> Look:
        """See a frame."""
        ...

    def judge(self, looks: Sequence[Look]) -> Outcome:
        """Decide about a few."""
        ...


class Drawn:
    """Scores from distributions; each lesson has persons of its own."""

    def __init__(self, scores: Scores, rng: Random) -> None:
        self._scores = scores
        self._person = {
            name: rng.gauss(0, getattr(scores, name)[1])
            for name in ("genuine", "impostor", "live", "attack")
        }

    @property
    def chances(self) -> Chances:
        """What may happen to the learner."""
        return self._scores

    def look(self, who: Who, rng: Random, *, hidden: bool) -> Look:
        """Draw a frame."""
        kind = "impostor" if who is Who.IMPOSTOR else "genuine"
        life = "attack" if who is Who.PICTURE else "live"
        sim, live = getattr(self._scores, kind), getattr(self._scores, life)
        return Look(
            usable=not hidden and rng.random() >= self._scores.unusable,
            similarity=sim[0] + self._person[kind] + rng.gauss(0, sim[2]),
            liveness=live[0] + self._person[life] + rng.gauss(0, live[2]),
        )

    def judge(self, looks: Sequence[Look]) -> Outcome:
        """Take the median similarity and the mean log-odds."""
        usable = [s for s in looks if s.usable]
        if not usable:
            return Outcome.NO_EVIDENCE
        if median(s.similarity for s in usable) < self._scores.threshold:
            return Outcome.MISMATCH
        return Outcome.PASS if fmean(s.liveness for s in usable) >= 0 else Outcome.SPOOF


class Banked:
    """Real scores: a seat for the learner, one for somebody else, one for his picture."""

    def __init__(
        self,
        bank: Bank,
        rng: Random,
        *,
        learner: Seat | None = None,
        passive: bool = True,
        chances: Chances | None = None,
    ) -> None:
        """Seat a learner (or anybody at random) and find him an impostor and a picture."""
        self._bank = bank
        self.learner = learner or rng.choice(bank.of("live"))
        own = self.learner.person
        others = [s for s in bank.of("live") if s.person != own]
        pictures = [s for s in (*bank.of("print"), *bank.of("screen")) if s.person == own]
        self._impostor = rng.choice(others)
        self._picture = rng.choice(pictures)
        self._passive = passive
        self._chances = chances or Chances()
        self._at: dict[Who, int] = {}

    @property
    def chances(self) -> Chances:
        """What may happen to the learner."""
        return self._chances

    def look(self, who: Who, rng: Random, *, hidden: bool) -> Look:
        """Take a shot near the last one of the same seat."""
        seat = {Who.IMPOSTOR: self._impostor, Who.PICTURE: self._picture}.get(who, self.learner)
        at = self._at.get(who, rng.randrange(len(seat.shots))) + rng.choice((-1, 0, 1))
        self._at[who] = at
        shot = seat.shots[at % len(seat.shots)]
        return Look(usable=not hidden and shot.usable, shot=shot)

    def judge(self, looks: Sequence[Look]) -> Outcome:
        """Decide under the bank's thresholds, against the learner's own reference."""
        shots = [s.shot for s in looks if s.usable and s.shot is not None]
        return self._bank.judge(shots, self.learner.person, passive=self._passive)
