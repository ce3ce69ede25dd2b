"""What holds of the credit whatever the facts are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from session_tracker.credit import EvidenceType, LearnerCredit, SessionFacts, derive
from session_tracker.events import (
    Check,
    CheckCause,
    Closed,
    CloseReason,
    Fact,
    Granted,
    Identity,
    Opened,
    Outcome,
    Paused,
    PauseReason,
    Playback,
    Presence,
    Resumed,
    Supervised,
    SystemFault,
)
from session_tracker.intervals import intersect, total_ms, union
from session_tracker.policy import load_policy

FOSHAN = load_policy("foshan-2021")
UNCAPPED = FOSHAN.model_copy(
    update={"daily_cap": FOSHAN.daily_cap.model_copy(update={"class_hours": 1_000})}
)
TIGHT = FOSHAN.model_copy(
    update={
        "class_hour": FOSHAN.class_hour.model_copy(update={"seconds": 60}),
        "daily_cap": FOSHAN.daily_cap.model_copy(update={"class_hours": 1}),
    }
)
MIDNIGHT = 1_800_028_800_000
"""In Shanghai, between 15 and 16 January 2027."""
NOW = MIDNIGHT + 10_000_000
FAILURES = (Outcome.MISMATCH, Outcome.SPOOF, Outcome.NO_EVIDENCE, Outcome.UNANSWERED)


@dataclass(frozen=True)
class World:
    """One session as it could have happened: frames with tracks, and what was made of them."""

    name: str
    frames: tuple[tuple[int, int], ...]
    """(UTC ms, track), in order of time; tracks never go back."""
    facts: tuple[Fact, ...]

    def given(self, *more: Fact) -> SessionFacts:
        """Hand it over, with more facts."""
        return SessionFacts(session_id=self.name, facts=(*self.facts, *more))


@st.composite
def verdicts(draw: st.DrawFn, frames: tuple[tuple[int, int], ...], key: str) -> Fact | None:
    """An identity sample of one frame, or a check over frames of one track up to it."""
    newest = draw(st.integers(0, len(frames) - 1))
    t, track = frames[newest]
    if not track:
        return None
    outcome = draw(st.sampled_from((Outcome.PASS, Outcome.PASS, Outcome.PASS, *FAILURES)))
    if draw(st.booleans()) and outcome is not Outcome.UNANSWERED:
        return Identity(key=key, t=t, track=track, outcome=outcome)
    oldest = draw(st.integers(max(0, newest - 5), newest))
    while frames[oldest][1] != track:
        oldest += 1
    cause = draw(st.sampled_from((CheckCause.RANDOM, CheckCause.SUSPICION)))
    return Check(key=key, t=t, since=frames[oldest][0], cause=cause, track=track, outcome=outcome)


@st.composite
def worlds(draw: st.DrawFn, name: str = "w") -> World:
    """Sessions of up to a quarter of an hour around midnight."""
    start = MIDNIGHT + draw(st.integers(-400, 300)) * 1_000
    steps = draw(
        st.lists(
            st.tuples(
                st.sampled_from((4, 5, 5, 5, 5, 5, 6, 20, 40)),
                st.sampled_from("sssssssssbn"),
            ),
            min_size=2,
            max_size=90,
        )
    )
    frames, t, track, visible = [], start, 1, True
    for seconds, what in steps:
        t += seconds * 1_000
        if what == "b" or (what == "s" and not visible):
            track += 1
        visible = what != "n"
        frames.append((t, track if visible else 0))
    facts: list[Fact] = [Opened(key="opened", t=start), *runs(frames)]
    known = tuple(frames)
    for n in range(draw(st.integers(0, 25))):
        fact = draw(verdicts(known, f"v{n:03d}"))
        facts += [fact] if fact is not None else []
    facts += draw(players(start, t))
    facts += draw(others(start, t))
    if draw(st.booleans()):
        facts.append(Closed(key="closed", t=t + 3_000, reason=CloseReason.LEARNER))
    return World(name, known, tuple(facts))


def runs(frames: list[tuple[int, int]]) -> list[Fact]:
    """Presence runs of these frames."""
    made: list[Presence] = []
    for t, track in frames:
        last = made[-1] if made else None
        if last is not None and last.track == track and t - last.end <= 12_000:
            made[-1] = replace(last, end=t, samples=last.samples + 1)
        else:
            made.append(
                Presence(key=f"r{len(made)}", t=t, end=t, track=track, faces_max=1, samples=1)
            )
    return list(made)


@st.composite
def players(draw: st.DrawFn, start: int, end: int) -> list[Fact]:
    """Reports of a player that mostly tells the truth, in two media."""
    facts: list[Fact] = [Resumed(key="p", t=start + 2_000)]
    t, position, playing = start + 2_000, draw(st.integers(0, 20)) * 1_000, True
    while t < end and len(facts) < 60:
        media = draw(st.sampled_from("aaab"))
        facts.append(
            Playback(
                key=f"p{len(facts):03d}", t=t, media_id=media, media_ms=position, playing=playing
            )
        )
        step = draw(st.integers(5, 40)) * 1_000
        t += step
        lie = draw(st.sampled_from((0, 0, 0, 0, 900, -1_500, 8_000, -30_000, 45_000)))
        position = max(0, position + (step if playing else 0) + lie)
        playing = draw(st.sampled_from((True, True, True, True, False)))
    return facts


@st.composite
def others(draw: st.DrawFn, start: int, end: int) -> list[Fact]:
    """A few pauses, faults, grants and confirmations."""
    facts: list[Fact] = []
    for n in range(draw(st.integers(0, 3))):
        t = draw(st.integers(start, end))
        until = t + draw(st.integers(1, 90_000))
        kind = draw(st.sampled_from(("pause", "fault", "grant", "staff")))
        if kind == "pause":
            reason = draw(st.sampled_from(PauseReason))
            facts += [Paused(key=f"o{n}a", t=t, reason=reason), Resumed(key=f"o{n}b", t=until)]
        elif kind == "fault":
            facts.append(SystemFault(key=f"o{n}", t=t, end=until))
        elif kind == "grant":
            facts.append(Granted(key=f"o{n}", t=t, end=until))
        else:
            facts.append(Supervised(key=f"o{n}", t=t, end=until))
    return facts


LEARNERS = st.tuples(worlds("a"), worlds("b"))


def uncapped_ms(*given: SessionFacts) -> int:
    """Add up what would be credited without a daily cap."""
    return sum(s.credited_ms for s in derive(given, UNCAPPED, now=NOW).sessions)


def both(learner: tuple[World, World]) -> LearnerCredit:
    """Derive the credit of both sessions under a cap of one minute a day."""
    return derive([w.given() for w in learner], TIGHT, now=NOW)


@given(LEARNERS)
def test_credited_is_verified_is_wall(learner: tuple[World, World]) -> None:
    """By face: credited within verified within the session; all of it in one place each."""
    for s in both(learner).sessions:
        face = union((i.start, i.end) for i in s.credited if i.evidence is EvidenceType.FACE)
        assert intersect(face, s.verified) == face
        assert total_ms(face) <= s.verified_ms <= s.wall_ms
        spans = sorted([(i.start, i.end) for i in (*s.credited, *s.void)])
        assert all(a[1] == b[0] for a, b in pairwise(spans))
        assert s.credited_ms + sum(s.void_ms.values()) == s.wall_ms
        credited_s, void_s = s.in_seconds()
        assert credited_s + sum(void_s.values()) == s.wall_ms // 1_000


@given(LEARNERS)
def test_nothing_counts_twice(learner: tuple[World, World]) -> None:
    """No instant of the learner, no millisecond of a medium, no second of a day above the cap."""
    total = both(learner)
    credited = [i for s in total.sessions for i in s.credited]
    spans = [(i.start, i.end) for i in credited]
    assert total_ms(union(spans)) == total_ms(spans)
    for medium in {i.media_id for i in credited}:
        played = [
            (i.media_ms, i.media_ms + i.end - i.start) for i in credited if i.media_id == medium
        ]
        assert total_ms(union(played)) == total_ms(played)
    assert all(s <= TIGHT.daily_cap_s for s in total.days.values())
    assert total.credited_s <= total_ms(spans) // 1_000


@given(LEARNERS, st.randoms(use_true_random=False))
def test_order_and_repeats_do_not_matter(learner: tuple[World, World], rng: Random) -> None:
    """Facts may arrive in any order and any number of times, sessions too."""
    shuffled = []
    for w in learner:
        facts = [*w.facts, *rng.choices(w.facts, k=5)]
        rng.shuffle(facts)
        shuffled.append(SessionFacts(session_id=w.name, facts=facts))
    rng.shuffle(shuffled)
    assert derive(shuffled, TIGHT, now=NOW) == both(learner)


@given(LEARNERS, st.data())
def test_an_added_pass_never_lowers_the_credit(
    learner: tuple[World, World], data: st.DataObject
) -> None:
    """Whoever is seen once more loses nothing by it."""
    world, other = learner
    fact = data.draw(verdicts(world.frames, "added"))
    if fact is None:
        return
    fact = replace(fact, outcome=Outcome.PASS)
    without = uncapped_ms(world.given(), other.given())
    assert uncapped_ms(world.given(fact), other.given()) >= without


@given(LEARNERS, st.data())
def test_an_added_failure_never_raises_the_credit(
    learner: tuple[World, World], data: st.DataObject
) -> None:
    """Nobody gains by failing, be it a sample or a check, whatever it found."""
    world, other = learner
    fact = data.draw(verdicts(world.frames, "added"))
    outcome = data.draw(st.sampled_from(FAILURES))
    if fact is None:
        return
    fact = replace(fact, outcome=outcome)
    without = uncapped_ms(world.given(), other.given())
    assert uncapped_ms(world.given(fact), other.given()) <= without


@given(worlds(), st.integers(0, 400_000))
def test_what_is_closed_does_not_change_any_more(world: World, later: int) -> None:
    """A closed session comes out the same whenever it is derived."""
    if not any(isinstance(f, Closed) for f in world.facts):
        return
    first = derive([world.given()], FOSHAN, now=NOW)
    assert derive([world.given()], FOSHAN, now=NOW + later) == first
