"""Segments: where each second of a session stands, and the facts that say so."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from session_tracker.events import Outcome, PauseReason
from session_tracker.segments import SegmentState, segments_of

Tell = Callable[..., Any]


def paused_by_mismatch(tell: Tell) -> Any:
    """A lesson that a check stopped: somebody else sat there."""
    story = tell().opened().frames(0, 100).sample(10, 40).closed(120)
    story.plays(0, 75).check(60, 70, Outcome.MISMATCH)
    return story.paused(75, PauseReason.MISMATCH)


def test_segments_tile_the_session(tell: Tell) -> None:
    """Each instant has one segment; neighbours differ."""
    story = tell().lesson(200).sample(20, 100, 180).disputed(0, 10).upheld(5, 10)
    cut = segments_of(story.credit(), story.facts)
    assert (cut[0].start, cut[-1].end) == (story.at(0), story.at(200))
    assert all(a.end == b.start for a, b in pairwise(cut))
    assert all((a.state, a.reason) != (b.state, b.reason) for a, b in pairwise(cut))


def test_a_pass_turns_pending_into_credited(tell: Tell) -> None:
    """The tail of a running session is pending; a pass credits it, the end voids it."""
    story = tell().opened().frames(0, 100).plays(0, 100).sample(10, 40)
    assert story.segments(now=70)[-1] == (40, 70, "pending:pending")
    assert (10, 70, "credited") in story.sample(70).segments(now=80)
    ended = tell().opened().frames(0, 100).plays(0, 70).sample(10, 40).closed(70)
    assert ended.segments()[-1] == (40, 70, "void:after_last_pass")


def test_a_confirmed_mismatch_is_disputed_where_it_was_played(tell: Tell) -> None:
    """What stood still cannot be granted anyway: it is void, no more."""
    assert paused_by_mismatch(tell).segments()[-2:] == [
        (40, 75, "disputed:mismatch"),
        (75, 120, "void:mismatch"),
    ]


def test_a_sample_that_was_never_cleared_is_void(tell: Tell) -> None:
    """Single frames err: without a check that confirmed it nobody is accused."""
    story = tell().lesson(200).sample(10, 160).sample(60, outcome=Outcome.MISMATCH)
    assert (10, 160, "void:mismatch") in story.segments()


def test_what_was_disputed_is_granted_or_upheld(tell: Tell) -> None:
    """A decision is a fact: credit follows from it; what it covers is disputed no more."""
    granted = paused_by_mismatch(tell).granted(40, 120)
    assert granted.segments() == [
        (0, 10, "void:before_first_pass"),
        (10, 40, "credited"),
        (40, 75, "granted"),
        (75, 120, "void:mismatch"),
    ]
    assert (40, 120, "upheld:mismatch") in paused_by_mismatch(tell).upheld(0, 120).segments()


def test_an_appeal_disputes_what_is_void(tell: Tell) -> None:
    """Whatever the reason; what was credited stays credited."""
    story = tell().lesson(200).sample(20, 100).disputed(0, 200)
    assert story.segments() == [
        (0, 20, "disputed:before_first_pass"),
        (20, 100, "credited"),
        (100, 200, "disputed:after_last_pass"),
    ]


def test_a_fault_of_ours_is_pending_until_somebody_decides(tell: Tell) -> None:
    """Never void by itself; credited by review; no certificate before."""
    story = tell().lesson(200).sample(10, 50, 120, 190).fault(60, 90)
    assert (50, 120, "pending:system_error") in story.segments()
    assert story.credit().pending_ms == 70_000
    assert not story.total().final
    assert (50, 120, "granted") in story.granted(50, 120).segments()
    assert story.total().final
    other = tell().lesson(200).sample(10, 50, 120, 190).fault(60, 90).upheld(50, 120)
    assert (50, 120, "upheld:system_error") in other.segments()
    assert other.total().final


def test_provisional_credit_is_pending(tell: Tell) -> None:
    """It counts, and waits; supervised time does not depend on the face."""
    story = tell().lesson(200).sample(10, 50).supervised(100, 130)
    (session,) = story.total(provisional=True).sessions
    cut = segments_of(session, story.facts)
    counted = [(s.state, s.reason) for s in cut if s.evidence is not None]
    assert [(str(state), reason) for state, reason in counted] == [
        ("pending", "provisional"),
        ("credited", None),
    ]


def test_a_refused_enrolment_voids_what_the_face_said(tell: Tell) -> None:
    """What staff answer for stays."""
    story = tell().lesson(200).sample(10, 50).supervised(100, 130)
    (session,) = story.total(refused=True).sessions
    cut = segments_of(session, story.facts)
    assert {str(s.reason) for s in cut if s.state is SegmentState.VOID} == {"enrolment_refused"}
    assert session.credited_ms == 30_000


def test_every_segment_names_its_facts(tell: Tell) -> None:
    """Credit its passes, an absence its frames and pause, a failure its check."""
    story = tell().opened().frames(0, 45).frames(50, 80, track=0).frames(85, 200, track=2)
    story.sample(10, 40).paused(66, PauseReason.ABSENT).sample(86, 190, track=2).resumed(88)
    story.plays(0, 66).plays(88, 200, media_s=66).check(100, 110, Outcome.SPOOF).closed(200)
    by_fate = {
        (s.start - story.at(0)) // 1_000: {type(f).__name__ for f in story.facts if f.key in s.keys}
        for s in segments_of(story.credit(), story.facts)
    }
    assert by_fate[10] == {"Identity"}
    assert by_fate[40] == {"Presence", "Paused"}
    assert by_fate[86] == {"Check", "Resumed"}


def test_a_long_list_of_facts_is_cut_in_its_middle(tell: Tell) -> None:
    """Its first and its last are named, and enough between."""
    story = tell().lesson(1_000).sample(*range(10, 900, 10))
    credited = next(s for s in segments_of(story.credit(), story.facts) if s.evidence)
    passes = [f.key for f in story.facts if f.t in range(story.at(10), story.at(891))]
    assert len(credited.keys) == 64
    assert credited.keys[0] in passes
    assert credited.keys[-1] in passes
