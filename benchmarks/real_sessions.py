"""False and lost credit of whole sessions on real networks' scores, against the model's bounds.

``python -m benchmarks.real_sessions [--lessons N] [--bank FILE] [-o FILE]`` prints a table, or
writes JSON: every attack of the credit model, learners who are swapped at random moments among
gaps, restarts and repeats, the time until an impostor is cut off, and what genuine learners lose
to errors of the networks, before and after the remedies of the rules.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from benchmarks.eyes import Banked, Who
from benchmarks.lesson import Actor, Lesson, play
from benchmarks.score_bank import Bank, Seat, load_bank
from benchmarks.sessions import SWAP_S, attacks, quantiles, repeat
from session_tracker.credit import SessionFacts, derive
from session_tracker.events import Outcome, PauseReason, Suspended, VoidReason
from session_tracker.intervals import Intervals, intersect, total_ms, union
from session_tracker.policy import Policy, load_policy

ORIGIN: Final = 1_800_000_000_000
BOUNDS: Final[Mapping[str, float]] = {
    "impostor throughout": 0.0,
    "swap out and back, 120 s": 0.02,
    "swap out and back, 180 s": 0.02,
    "swap out and back, 300 s": 0.02,
    "impostor except when cued": 0.02,
    "lens covered, learner fetched": 0.0,
    "face hidden, learner fetched": 0.0,
    "picture held up throughout": 0.0,
    "swap inside tolerated gaps, 30 s": 0.0,
    "swap inside tolerated gaps, 120 s": 0.0,
}
"""Share of the impostor's seconds that may be credited (credit model, attacks)."""
_ERRORS: Final = frozenset(
    {VoidReason.MISMATCH, VoidReason.SPOOF, VoidReason.UNANSWERED, VoidReason.MAX_GAP}
)
"""Reasons that a genuine learner owes to errors of the networks. What the rules void whoever sits
there is the rest: before the first pass, after the last one, hands, dark, gaps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One attack and its bound."""

    name: str
    lessons: int
    seconds: int
    """Of the impostor, while the tracker let the lesson run."""
    share: float
    largest_s: int
    cut_s: Mapping[str, float | None]
    """How long the lesson ran on after the impostor had come first: quantiles."""
    bound: float | None
    """None: the curve is stated, nothing is promised."""

    @property
    def kept(self) -> bool:
        """Whether the bound holds."""
        return self.bound is None or self.share <= self.bound


@dataclass(slots=True)
class Genuine:
    """What learners who sat there themselves got and lost."""

    name: str
    lessons: int = 0
    stopped: int = 0
    """Lessons that an error of the networks ended, at the start or later."""
    wanted_s: float = 0.0
    """To the planned end of the lessons."""
    studied_s: float = 0.0
    """While the player was let run and the learner sat before it."""
    credited_s: float = 0.0
    lost: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Studied, and not credited for an error of the networks, by reason."""
    withheld_s: float = 0.0
    """Not studied, because such an error had stopped the lesson: until a person has looked."""
    ruled: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Seconds that the rules void whoever sits there."""

    @property
    def lost_share(self) -> float:
        """Share of the studied seconds that errors of the networks cost."""
        return sum(self.lost.values()) / self.studied_s if self.studied_s else 0.0

    def add(self, lesson: Lesson) -> None:
        """Count a lesson."""
        (session,) = lesson.credit.sessions
        self.lessons += 1
        self.stopped += any(isinstance(f, Suspended) for f in lesson.facts)
        self.wanted_s += session.wall_ms / 1_000
        self.studied_s += total_ms(session.played) / 1_000
        self.credited_s += session.credited_ms / 1_000
        for void in session.void:
            whole = void.end - void.start
            if void.reason not in _ERRORS:
                self.ruled[str(void.reason)] += whole / 1_000
                continue
            studied = total_ms(intersect(session.played, ((void.start, void.end),)))
            self.lost[str(void.reason)] += studied / 1_000
            self.withheld_s += (whole - studied) / 1_000

    def as_json(self) -> dict[str, object]:
        """Give the numbers of a report."""
        return {
            "name": self.name,
            "lessons": self.lessons,
            "stopped": self.stopped,
            "hours": round(self.wanted_s / 3_600, 1),
            "credited_share": round(self.credited_s / max(self.wanted_s, 1), 4),
            "withheld_share": round(self.withheld_s / max(self.wanted_s, 1), 4),
            "lost_share": round(self.lost_share, 5),
            "lost_s": {why: round(s, 1) for why, s in self.lost.items()},
            "void_by_rule_s": {why: round(s, 1) for why, s in self.ruled.items()},
        }


def attack_rows(bank: Bank, policy: Policy, *, lessons: int) -> list[Row]:
    """Play every attack of the credit model on real scores."""
    rows = []
    for attack in attacks():
        outcome = repeat(attack, policy, lessons=lessons, bank=bank)
        rows.append(
            Row(
                name=attack.name,
                lessons=lessons,
                seconds=outcome.ran_ms[attack.who] // 1_000,
                share=outcome.share(attack.who),
                largest_s=outcome.largest_ms[attack.who] // 1_000,
                cut_s=outcome.time_to_cut(attack.who),
                bound=BOUNDS.get(attack.name),
            )
        )
    return rows


# --- swaps at random moments, among gaps, restarts and repeats ------------------------------------


def troubled(bank: Bank, policy: Policy, *, lessons: int, seed: int = 5) -> dict[str, object]:
    """Have the learner leave for good at a random moment of a lesson full of trouble."""
    cut: list[float] = []
    credited = ran = largest = 0
    for index in range(lessons):
        rng = Random(seed * 1_000_003 + index)  # noqa: S311 (a simulation, not a secret)
        swap = rng.randrange(60_000, 1_000_000)
        actor = Actor([(0, Who.LEARNER), (swap, Who.IMPOSTOR)])
        eyes = Banked(bank, rng)
        lesson = play(
            actor,
            policy,
            rng,
            eyes=eyes,
            dark=_gaps(rng),
            restarts=[rng.randrange(30_000, 1_100_000)] if rng.random() < 0.3 else (),
        )
        _same_again(lesson, policy, rng)
        ran_on = lesson.cut_s(Who.IMPOSTOR)
        if ran_on is not None:
            cut.append(ran_on)
        credited += lesson.credited_ms[Who.IMPOSTOR]
        ran += lesson.ran_ms[Who.IMPOSTOR]
        largest = max(largest, lesson.credited_ms[Who.IMPOSTOR])
    return {
        "lessons": lessons,
        "impostor_s": ran // 1_000,
        "credited_share": round(credited / max(ran, 1), 5),
        "largest_s": largest / 1_000,
        "swaps_while_running": len(cut),
        "time_to_cut_s": quantiles(cut),
    }


def _gaps(rng: Random) -> Intervals:
    """One to four gaps of the network, most of them short."""
    spans = []
    for _ in range(rng.randrange(1, 5)):
        begin = rng.randrange(30_000, 1_150_000)
        spans.append((begin, begin + rng.choice((6_000, 15_000, 25_000, 25_000, 50_000))))
    return union(spans)


def _same_again(lesson: Lesson, policy: Policy, rng: Random) -> None:
    """Deliver the facts once more, doubled and out of order: nothing may change."""
    facts = [*lesson.facts, *rng.choices(lesson.facts, k=40)]
    rng.shuffle(facts)
    (session,) = lesson.credit.sessions
    again = derive([SessionFacts(session_id="one", facts=facts)], policy, now=session.end)
    if again.credited_s != lesson.credit.credited_s:
        raise AssertionError("repeats or their order changed the credit")


def two_devices(bank: Bank, policy: Policy, *, lessons: int, seed: int = 7) -> dict[str, object]:
    """Seat the same learner before two devices at overlapping times: no instant counts twice."""
    twice = 0
    for index in range(lessons):
        rng = Random(seed * 1_000_003 + index)  # noqa: S311
        seat = rng.choice(bank.of("live"))
        parts = []
        for name, late in (("one", 0), ("two", rng.randrange(0, 500_000))):
            lesson = play(
                Actor([(0, Who.LEARNER)]),
                policy,
                rng,
                length_s=600,
                origin=ORIGIN + late,
                eyes=Banked(bank, rng, learner=seat),
            )
            parts.append(SessionFacts(session_id=name, facts=lesson.facts))
        total = derive(parts, policy, now=ORIGIN + 1_200_000)
        spans = [(i.start, i.end) for s in total.sessions for i in s.credited]
        twice += total_ms(spans) - total_ms(union(spans))
    return {"lessons": lessons, "seconds_twice": twice / 1_000}


# --- genuine learners -----------------------------------------------------------------------------


def genuine(
    bank: Bank,
    policy: Policy,
    *,
    seats: Sequence[Seat],
    name: str,
    lessons: int = 16,
    length_s: int = 1_800,
    confirm: bool = True,
    seed: int = 11,
) -> Genuine:
    """Have somebody on every seat take a course of so many lessons.

    With `confirm` the rule for people whom the passive networks keep flagging applies: once they
    were stopped for it, staff confirm them, and from then on their liveness has no vote: all their
    random checks are challenges.
    """
    found = Genuine(name)
    for number, seat in enumerate(seats):
        confirmed = False
        for lesson_number in range(lessons):
            rng = Random(seed * 1_000_003 + 1_000 * number + lesson_number)  # noqa: S311
            eyes = Banked(bank, rng, learner=seat, passive=not confirmed)
            actor = Actor([(0, Who.LEARNER)])
            rules = policy.by_challenge() if confirmed else policy
            lesson = play(actor, rules, rng, length_s=length_s, eyes=eyes)
            found.add(lesson)
            stops = [f.reason for f in lesson.facts if isinstance(f, Suspended)]
            confirmed = confirmed or (confirm and PauseReason.SPOOF in stops)
    return found


def recognised(bank: Bank, seat: Seat) -> bool:
    """Tell whether the person is recognised from that seat in most usable frames."""
    outcomes = [bank.judge([shot], seat.person, passive=False) for shot in seat.shots]
    usable = [o for o in outcomes if o is not Outcome.NO_EVIDENCE]
    return bool(usable) and usable.count(Outcome.MISMATCH) <= 0.1 * len(usable)


def study(bank: Bank, policy: Policy, rows: Sequence[Row], *, lessons: int) -> dict[str, object]:
    """Put the attacks together with everything else: about 25 times `lessons` sessions."""
    return {
        "bank": {
            "models": dict(bank.models),
            "profile": bank.profile,
            "persons": bank.persons,
            "seats": Counter(s.kind for s in bank.seats),
            "frames": sum(len(s.shots) for s in bank.seats),
        },
        "policy": f"{policy.name}@{policy.version}",
        "attacks": [
            {
                "name": r.name,
                "lessons": r.lessons,
                "impostor_s": r.seconds,
                "credited_share": round(r.share, 5),
                "largest_s": r.largest_s,
                "time_to_cut_s": dict(r.cut_s),
                "bound": r.bound,
                "kept": r.kept,
            }
            for r in rows
        ],
        "troubled": troubled(bank, policy, lessons=2 * lessons),
        "two_devices": two_devices(bank, policy, lessons=max(20, lessons // 4)),
        "genuine": [
            genuine(
                bank, policy, seats=bank.of("live"), name="every seat, no remedy", confirm=False
            ).as_json(),
            genuine(bank, policy, seats=bank.of("live"), name="every seat").as_json(),
            genuine(
                bank,
                policy,
                seats=[s for s in bank.of("live") if recognised(bank, s)],
                name="recognised from their seat",
            ).as_json(),
        ],
        "swap_lengths_s": list(SWAP_S),
    }


def main(arguments: list[str]) -> int:
    """Print the study as JSON, or write it to a file; 1 where a bound does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_sessions", description=__doc__)
    parser.add_argument("--lessons", type=int, default=100, help="per row")
    parser.add_argument("--bank", type=Path, help="another bank of scores")
    parser.add_argument("--policy", default="foshan-2021")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args(arguments)
    bank, policy = load_bank(options.bank), load_policy(options.policy)
    rows = attack_rows(bank, policy, lessons=options.lessons)
    found = study(bank, policy, rows, lessons=options.lessons)
    text = json.dumps(found, indent=1) + "\n"
    if options.output is None:
        sys.stdout.write(text)
    else:
        options.output.write_text(text, encoding="utf-8")
    return 0 if all(row.kept for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
