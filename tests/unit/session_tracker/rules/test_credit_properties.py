"""What holds of the credit whatever the facts are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_tracker.credit import EvidenceType, LearnerCredit, SessionFacts, derive, past_of
from session_tracker.events import (
    Challenged,
    Check,
    CheckCause,
    Closed,
    CloseReason,
    Disputed,
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
    Upheld,
    VoidReason,
)
from session_tracker.explain import explain
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


def verdict(
    rng: Random, frames: tuple[tuple[int, int], ...], key: str, outcome: Outcome
) -> Fact | None:
    """Make an identity sample of one frame, or a check over frames of one track up to it."""
    newest = rng.randrange(len(frames))
    t, track = frames[newest]
    if not track:
        return None
    if rng.random() < 0.6 and outcome is not Outcome.UNANSWERED:
        return Identity(key=key, t=t, track=track, outcome=outcome)
    oldest = max(0, newest - rng.randrange(6))
    while frames[oldest][1] != track:
        oldest += 1
    cause = rng.choice((CheckCause.RANDOM, CheckCause.SUSPICION))
    return Check(key=key, t=t, since=frames[oldest][0], cause=cause, track=track, outcome=outcome)


def challenge(rng: Random, frames: tuple[tuple[int, int], ...], key: str) -> list[Fact]:
    """Show a challenge after one frame; it is answered some frames later, well or badly, or not."""
    at = rng.randrange(len(frames))
    shown = frames[at][0] + rng.randrange(1, 4_000)
    asked = Challenged(key=f"{key}-shown", t=shown, cause=CheckCause.RANDOM)
    later = [frame for frame in frames[at + 1 : at + 6] if frame[1] and frame[0] > shown]
    if not later or rng.random() < 0.2:
        return [asked]
    answer = Check(
        key=f"{key}-answer",
        t=later[-1][0],
        since=later[0][0],
        cause=CheckCause.RANDOM,
        track=later[-1][1],
        outcome=rng.choice((Outcome.PASS, Outcome.PASS, *FAILURES)),
        active=True,
        asked=shown,
        before=frames[at][0] if frames[at][1] and rng.random() < 0.7 else 0,
    )
    if answer.outcome is not Outcome.PASS:
        return [asked, answer]
    return [asked, answer, Resumed(key=f"{key}-on", t=answer.t + 1)]


def world(rng: Random, name: str) -> World:
    """A session of up to a quarter of an hour around midnight, more or less troubled."""
    trouble = rng.choice((0.0, 0.01, 0.05, 0.2))
    t = start = MIDNIGHT + rng.randrange(-400, 300) * 1_000
    frames, track, visible = [], 1, True
    for _ in range(rng.randrange(5, 150)):
        t += round(1_000 * (5 + rng.uniform(-1, 1)))
        if rng.random() < trouble:
            t += rng.choice((8_000, 15_000, 25_000, 40_000))
        broken, gone = rng.random() < trouble, rng.random() < trouble * (1 if visible else 5)
        track += broken or (not gone and not visible)
        visible = not gone
        frames.append((t, track if visible else 0))
    known = tuple(frames)
    facts: list[Fact] = [Opened(key="opened", t=start), *runs(frames)]
    for n in range(rng.randrange(2, 8 + len(frames) // 3)):
        failed = rng.random() < 2 * trouble
        outcome = rng.choice(FAILURES) if failed else Outcome.PASS
        fact = verdict(rng, known, f"v{n:03d}", outcome)
        facts += [fact] if fact is not None else []
    for n in range(rng.choice((0, 0, 1, 2))):
        facts += challenge(rng, known, f"c{n}")
    facts += player(rng, start, t, trouble)
    if rng.random() < 0.3:
        facts += others(rng, start, t)
    if rng.random() < 0.7:
        facts.append(Closed(key="closed", t=t + 3_000, reason=CloseReason.LEARNER))
    return World(name, known, tuple(facts))


def runs(frames: list[tuple[int, int]]) -> list[Fact]:
    """Collect frames into presence runs."""
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


def player(rng: Random, start: int, end: int, trouble: float) -> list[Fact]:
    """Reports of a player that tells the truth when there is no trouble, in two media."""
    facts: list[Fact] = [Resumed(key="p", t=start + 2_000)]
    t, position, playing, media = start + 2_000, rng.randrange(20) * 100, True, "a"
    while t < end:
        report = Playback(
            key=f"p{len(facts):03d}", t=t, media_id=media, media_ms=position, playing=playing
        )
        facts.append(report)
        step = rng.randrange(5_000, 25_000)
        t += step
        position += step if playing else 0
        if rng.random() < 3 * trouble:
            position = max(0, position + rng.choice((900, -1_500, 8_000, -30_000, 45_000)))
            playing = rng.random() < 0.7
            media = rng.choice("aab")
    return facts


def others(rng: Random, start: int, end: int) -> list[Fact]:
    """A few pauses, faults, grants and confirmations."""
    facts: list[Fact] = []
    for n in range(rng.randrange(1, 4)):
        t = rng.randrange(start, end)
        until = t + rng.randrange(1, 90_000)
        kind = rng.choice(("pause", "fault", "grant", "staff", "appeal", "upheld"))
        if kind == "pause":
            reason = rng.choice(tuple(PauseReason))
            facts += [Paused(key=f"o{n}a", t=t, reason=reason), Resumed(key=f"o{n}b", t=until)]
        elif kind == "fault":
            facts.append(SystemFault(key=f"o{n}", t=t, end=until))
        elif kind == "grant":
            facts.append(Granted(key=f"o{n}", t=t, end=until))
        elif kind == "appeal":
            facts.append(Disputed(key=f"o{n}", t=t, end=until))
        elif kind == "upheld":
            facts.append(Upheld(key=f"o{n}", t=t, end=until))
        else:
            facts.append(Supervised(key=f"o{n}", t=t, end=until))
    return facts


CHANCES = st.integers(0, 1 << 40).map(Random)
"""Worlds are dense with rules that touch: chance finds these better than growing from nothing."""


def learner(rng: Random) -> tuple[World, World]:
    """Two sessions of one learner, which overlap in time more often than not."""
    return world(rng, "a"), world(rng, "b")


def uncapped_ms(*given: SessionFacts) -> int:
    """Add up what would be credited without a daily cap."""
    return sum(s.credited_ms for s in derive(given, UNCAPPED, now=NOW).sessions)


def both(worlds: tuple[World, World]) -> LearnerCredit:
    """Derive the credit of both sessions under a cap of a few minutes a day."""
    return derive([w.given() for w in worlds], TIGHT, now=NOW)


@given(CHANCES)
def test_credited_is_verified_is_wall(rng: Random) -> None:
    """By face: credited within verified within the session; all of it in one place each."""
    for s in both(learner(rng)).sessions:
        face = union((i.start, i.end) for i in s.credited if i.evidence is EvidenceType.FACE)
        assert intersect(face, s.verified) == face
        assert total_ms(face) <= s.verified_ms <= s.wall_ms
        spans = sorted([(i.start, i.end) for i in (*s.credited, *s.void)])
        assert all(a[1] == b[0] for a, b in pairwise(spans))
        assert s.credited_ms + sum(s.void_ms.values()) == s.wall_ms
        credited_s, void_s = s.in_seconds()
        assert credited_s + sum(void_s.values()) == s.wall_ms // 1_000


@given(CHANCES)
def test_every_second_has_one_place_and_every_uncredited_one_a_reason(rng: Random) -> None:
    """Explained, the seconds add up, those that count to the rounded credit."""
    one = world(rng, "a")
    (session,) = derive([one.given()], FOSHAN, now=NOW).sessions
    story = explain(session, one.facts)
    for t in range(session.start, session.end, 1_000):
        span = story.at(t)
        assert (span.reason is None) == (span.evidence is not None)
    assert sum(story.seconds.values()) == session.wall_ms // 1_000
    assert story.credited_s == session.in_seconds()[0]
    counted = sum(story.seconds.get(fate, 0) for fate in ("credited", "granted"))
    assert counted == story.credited_s


@given(CHANCES)
def test_nothing_counts_twice(rng: Random) -> None:
    """No instant of the learner, no millisecond of a medium, no second of a day above the cap."""
    total = both(learner(rng))
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


@given(CHANCES)
def test_order_and_repeats_do_not_matter(rng: Random) -> None:
    """Facts may arrive in any order and any number of times, sessions too."""
    worlds = learner(rng)
    shuffled = []
    for w in worlds:
        facts = [*w.facts, *rng.choices(w.facts, k=5)]
        rng.shuffle(facts)
        shuffled.append(SessionFacts(session_id=w.name, facts=facts))
    rng.shuffle(shuffled)
    assert derive(shuffled, TIGHT, now=NOW) == both(worlds)


@given(CHANCES)
def test_an_added_pass_never_lowers_the_credit(rng: Random) -> None:
    """Whoever is seen once more loses nothing by it."""
    one, other = learner(rng)
    without = uncapped_ms(one.given(), other.given())
    for _ in range(3):
        fact = verdict(rng, one.frames, "added", Outcome.PASS)
        if fact is not None:
            assert uncapped_ms(one.given(fact), other.given()) >= without


@given(CHANCES)
def test_an_added_failure_never_raises_the_credit(rng: Random) -> None:
    """Nobody gains by failing, be it a sample or a check, whatever it found."""
    one, other = learner(rng)
    without = uncapped_ms(one.given(), other.given())
    for outcome in FAILURES:
        fact = verdict(rng, one.frames, "added", outcome)
        if fact is not None:
            assert uncapped_ms(one.given(fact), other.given()) <= without


def test_the_worlds_are_worth_testing() -> None:
    """Most earn something, every reason occurs, and added facts do change the credit."""
    earned = raised = lowered = 0
    reasons: set[VoidReason] = set()
    for seed in range(300):
        rng = Random(seed)
        one, other = learner(rng)
        total = derive([one.given(), other.given()], TIGHT, now=NOW)
        earned += total.credited_s > 0
        reasons |= {why for s in total.sessions for why in s.void_ms}
        without = uncapped_ms(one.given(), other.given())
        more = verdict(rng, one.frames, "added", Outcome.PASS)
        less = verdict(rng, one.frames, "added", Outcome.MISMATCH)
        raised += more is not None and uncapped_ms(one.given(more), other.given()) > without
        lowered += less is not None and uncapped_ms(one.given(less), other.given()) < without
    assert earned > 200
    assert raised > 20
    assert lowered > 40
    # Those that are left are about the enrolment, not about what happened.
    assert set(VoidReason) - reasons == {VoidReason.PROVISIONAL, VoidReason.ENROLMENT_REFUSED}


@given(CHANCES, st.integers(1, 3))
def test_what_was_over_before_comes_out_the_same_when_derived_once(rng: Random, count: int) -> None:
    """Sessions of the past may be derived on their own: media, days and marks are handed on."""
    earlier = []
    for n in range(count):
        one = world(rng, f"a{n}")
        end = Closed(key="closed", t=one.frames[-1][0] + 3_000, reason=CloseReason.EXPIRED)
        earlier.append(one.given(end))
    over = max(f.t for given in earlier for f in given.facts)
    later = shifted(world(rng, "b"), over - MIDNIGHT + 400_000)
    past = past_of(earlier, TIGHT)
    now = over + 2_000_000
    whole = derive([*earlier, later], TIGHT, now=now)
    assert derive([later], TIGHT, now=now, past=past) == whole
    assert derive([later], TIGHT, now=now, past=past) == whole  # it is not used up by being used


def shifted(one: World, by: int) -> SessionFacts:
    """Let a session happen later."""
    moved = []
    for fact in one.facts:
        times = {"t": fact.t + by}
        for name in ("end", "since", "asked", "before"):
            if getattr(fact, name, 0):
                times[name] = getattr(fact, name) + by
        moved.append(replace(fact, **times))
    return SessionFacts(session_id=one.name, facts=moved)


def test_a_past_that_is_not_over_is_refused() -> None:
    """A session that runs, and one that began before the past had ended."""
    one = world(Random(5), "a")
    facts = tuple(f for f in one.facts if not isinstance(f, Closed))
    with pytest.raises(ValueError, match="still runs"):
        past_of([SessionFacts(session_id="a", facts=facts)], TIGHT)
    end = Closed(key="closed", t=one.frames[-1][0] + 3_000, reason=CloseReason.EXPIRED)
    past = past_of([SessionFacts(session_id="a", facts=(*facts, end))], TIGHT)
    other = replace(one, name="b")
    with pytest.raises(ValueError, match="before the past was over"):
        derive([other.given()], TIGHT, now=NOW, past=past)
    with pytest.raises(ValueError, match="given again"):
        derive([one.given()], TIGHT, now=NOW, past=past)


@given(CHANCES, st.integers(0, 400_000))
def test_what_is_closed_does_not_change_any_more(rng: Random, later: int) -> None:
    """A closed session comes out the same whenever it is derived."""
    one = world(rng, "a")
    end = Closed(key="closed", t=one.frames[-1][0], reason=CloseReason.EXPIRED)
    first = derive([one.given(end)], FOSHAN, now=NOW)
    assert derive([one.given(end)], FOSHAN, now=NOW + later) == first
