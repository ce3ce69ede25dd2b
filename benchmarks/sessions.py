"""False and lost credit of whole sessions: the attacks of the credit model, played by thousands.

``python -m benchmarks.sessions [lessons per row]`` prints one JSON object per attack. The shares
are of the seconds in which the tracker let the lesson run; seconds after a pause, a suspension or
the end are not counted as withheld, which makes the shares larger than of all seconds.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from benchmarks.eyes import Banked, Drawn, Scores, Who
from benchmarks.lesson import Actor, Hands, Lesson, play
from benchmarks.score_bank import Bank
from session_tracker.events import PauseReason
from session_tracker.intervals import Intervals
from session_tracker.policy import Policy, load_policy

SWAP_S = (10, 20, 30, 45, 60, 90, 120, 180, 300)
"""How long the impostor stays at a time, for the curve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One way to earn hours without studying."""

    name: str
    cast: Callable[[Random], Actor]
    who: Who
    """Whose seconds must not be credited."""
    length_s: int = 1_200
    dark: Intervals = ()
    hands: Callable[[Random], Hands] = lambda _: ()
    """Who presses pause and play meanwhile."""


@dataclass(slots=True)
class Outcome:
    """What came of many lessons of one kind."""

    name: str
    lessons: int = 0
    ran_ms: Counter[Who] = field(default_factory=Counter)
    credited_ms: Counter[Who] = field(default_factory=Counter)
    largest_ms: Counter[Who] = field(default_factory=Counter)
    """The most that one lesson credited."""
    void_ms: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    checks: int = 0
    cut_s: defaultdict[Who, list[float]] = field(default_factory=lambda: defaultdict(list))
    """How long lessons ran on after somebody had come for the first time."""

    def add(self, lesson: Lesson) -> None:
        """Count one more lesson."""
        (session,) = lesson.credit.sessions
        self.lessons += 1
        self.ran_ms.update(lesson.ran_ms)
        self.credited_ms.update(lesson.credited_ms)
        for who, ms in lesson.credited_ms.items():
            self.largest_ms[who] = max(self.largest_ms[who], ms)
        self.void_ms.update({str(why): ms for why, ms in session.void_ms.items()})
        self.ends[str(lesson.machine.state)] += 1
        self.checks += lesson.checks
        for who in Who:
            cut = lesson.cut_s(who)
            if cut is not None:
                self.cut_s[who].append(cut)

    def time_to_cut(self, who: Who) -> dict[str, float | None]:
        """Give quantiles of how long lessons ran on after somebody had come first."""
        return quantiles(self.cut_s[who])

    def share(self, who: Who) -> float:
        """Share of somebody's seconds that were credited, 0..1; 0 where he had none."""
        return self.credited_ms[who] / self.ran_ms[who] if self.ran_ms[who] else 0.0

    def as_json(self, who: Who) -> Mapping[str, object]:
        """Give the numbers of a report."""
        wall = sum(self.credited_ms.values()) + sum(self.void_ms.values())
        return {
            "name": self.name,
            "lessons": self.lessons,
            "who": str(who),
            "seconds": self.ran_ms[who] // 1_000,
            "credited_share": round(self.share(who), 5),
            "largest_s": self.largest_ms[who] // 1_000,
            "learner_share": round(self.share(Who.LEARNER), 4),
            "credited_of_wall": round(self.credited_ms[who] / wall, 4) if wall else 0.0,
            "void_share": {why: round(ms / wall, 4) for why, ms in self.void_ms.most_common()},
            "ends": dict(self.ends),
            "checks_per_lesson": round(self.checks / max(self.lessons, 1), 1),
        }


def quantiles(found: Sequence[float]) -> dict[str, float | None]:
    """Give median, 95th percentile and the largest; None of nothing."""
    if not found:
        return dict.fromkeys(("p50", "p95", "max"))
    ordered = sorted(found)
    last = len(ordered) - 1
    shares = {"p50": 0.5, "p95": 0.95, "max": 1.0}
    return {
        name: round(ordered[min(last, int(share * len(ordered)))], 1)
        for name, share in shares.items()
    }


class Fetched(Actor):
    """Somebody else sits there, or nobody, and the learner is fetched when the screen says so."""

    def __init__(self, otherwise: Who, *, fetch_s: float = 8, leave_s: float = 5) -> None:
        """Have the learner pass the start check and leave 40 s into the lesson."""
        super().__init__([(0, Who.LEARNER), (40_000, otherwise)])
        self._otherwise = otherwise
        self._fetch_ms = round(fetch_s * 1_000)
        self._leave_ms = round(leave_s * 1_000)

    def told(self, t: int, cue: PauseReason | None) -> None:
        """Change seats a few seconds after the screen has changed."""
        if cue is PauseReason.START_CHECK:
            return
        self.timeline = [entry for entry in self.timeline if entry[0] <= t]
        if cue is None:
            self.timeline.append((t + self._leave_ms, self._otherwise))
        else:
            self.timeline.append((t + self._fetch_ms, Who.LEARNER))


def genuine(_: Random) -> Actor:
    """Seat the learner from the beginning to the end."""
    return Actor([(0, Who.LEARNER)])


def swapping(stay_s: int, length_s: int) -> Callable[[Random], Actor]:
    """Out and back at random moments, in the same seat: no track breaks."""

    def cast(rng: Random) -> Actor:
        plan = [(0, Who.LEARNER)]
        t = 30_000 + round(1_000 * rng.expovariate(1 / 180))
        while t + stay_s * 1_000 < length_s * 1_000:
            plan += [(t, Who.IMPOSTOR), (t + stay_s * 1_000, Who.LEARNER)]
            t += stay_s * 1_000 + 10_000 + round(1_000 * rng.expovariate(1 / 180))
        return Actor(plan)

    return cast


def swapping_in_gaps(stay_s: int) -> tuple[Callable[[Random], Actor], Intervals]:
    """Out and back behind two gaps of the network of 20 s each, which are tolerated."""
    out, back = 200_000, 200_000 + stay_s * 1_000
    plan = [(0, Who.LEARNER), (out + 10_000, Who.IMPOSTOR), (back + 10_000, Who.LEARNER)]
    return lambda _: Actor(plan), ((out, out + 20_000), (back, back + 20_000))


def pausing(every_s: tuple[float, float], stay_s: float = 1.0) -> Callable[[Random], Hands]:
    """Press pause for a moment, over and over, so many seconds apart."""

    def press(rng: Random) -> Hands:
        t = 0
        while True:
            t += round(1_000 * rng.uniform(*every_s))
            yield t, False
            t += round(1_000 * stay_s)
            yield t, True

    return press


def attacks() -> Iterable[Attack]:
    """All attacks on one session. Two devices and the clock are in tests/acceptance.

    Yesterday's recording is played to the streams: their replay detection, not the credit rules,
    has to meet it.
    """
    throughout = Actor([(0, Who.IMPOSTOR)])
    yield Attack(
        name="impostor throughout", cast=lambda _: throughout, who=Who.IMPOSTOR, length_s=600
    )
    late = Actor([(0, Who.LEARNER), (40_000, Who.IMPOSTOR)])
    yield Attack(
        name="impostor after the start check", cast=lambda _: late, who=Who.IMPOSTOR, length_s=600
    )
    for stay_s in SWAP_S:
        cast = swapping(stay_s, 1_200)
        yield Attack(name=f"swap out and back, {stay_s} s", cast=cast, who=Who.IMPOSTOR)
    for who, name in (
        (Who.IMPOSTOR, "impostor except when cued"),
        (Who.NOBODY, "lens covered, learner fetched"),
        (Who.HIDDEN, "face hidden, learner fetched"),
        (Who.PICTURE, "picture held up, learner fetched"),
    ):
        yield Attack(name=name, cast=lambda _, who=who: Fetched(who), who=who)  # type: ignore[misc]
    for cast_, name, length_s in (
        ([(0, Who.PICTURE)], "picture held up throughout", 1_200),
        ([(0, Who.LEARNER), (60_000, Who.PICTURE)], "picture held up later, nobody fetched", 5_400),
    ):
        yield Attack(
            name=name,
            cast=lambda _, plan=cast_: Actor(plan),  # type: ignore[misc]
            who=Who.PICTURE,
            length_s=length_s,
        )
    for stay_s in (30, 120):
        cast, dark = swapping_in_gaps(stay_s)
        yield Attack(
            name=f"swap inside tolerated gaps, {stay_s} s",
            cast=cast,
            who=Who.IMPOSTOR,
            length_s=600,
            dark=dark,
        )


def repeat(
    attack: Attack,
    policy: Policy,
    *,
    lessons: int,
    seed: int = 1,
    scores: Scores | None = None,
    bank: Bank | None = None,
) -> Outcome:
    """Play an attack so many times, each with its own persons and chances; equal seeds repeat.

    Scores are drawn from distributions, or are those of a bank of real ones.
    """
    outcome = Outcome(attack.name)
    for index in range(lessons):
        rng = Random(seed * 1_000_003 + index)  # noqa: S311 (a simulation, not a secret)
        actor = attack.cast(rng)
        eyes = Drawn(scores or Scores(), rng) if bank is None else Banked(bank, rng)
        hands = attack.hands(rng)
        lesson = play(
            actor,
            policy,
            rng,
            length_s=attack.length_s,
            dark=attack.dark,
            eyes=eyes,
            hands=hands,
        )
        outcome.add(lesson)
    return outcome


def main(arguments: list[str]) -> int:
    """Print one JSON object per kind of lesson."""
    lessons = int(arguments[0]) if arguments else 1_000
    policy = load_policy("foshan-2021")
    genuine_rows = [
        Attack(name=f"genuine learner, {s} s", cast=genuine, who=Who.LEARNER, length_s=s)
        for s in (600, 2_700)
    ]
    for attack in (*genuine_rows, *attacks()):
        outcome = repeat(attack, policy, lessons=lessons)
        sys.stdout.write(json.dumps(outcome.as_json(attack.who)) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
