"""The bracket rule and the stop rule, case by case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from session_tracker.events import CheckCause, Outcome, PauseReason, VoidReason

Tell = Callable[..., Any]


def test_time_counts_between_passes_only(tell: Tell) -> None:
    """The head before the first pass and the tail after the last one are void."""
    story = tell().lesson(200).sample(20, 100, 180)
    assert story.credited() == [(20, 180)]
    assert story.void() == [(0, 20, "before_first_pass"), (180, 200, "after_last_pass")]


def test_the_tail_of_a_running_session_is_pending(tell: Tell) -> None:
    """Until it is closed, the time since the last pass may still be earned."""
    story = tell().opened().frames(0, 100).plays(0, 100).sample(10, 60)
    assert story.credited(now=90) == [(10, 60)]
    assert story.void(now=90)[-1] == (60, 90, "pending")


@pytest.mark.parametrize(("gap", "credited"), [(120, [(10, 130)]), (120.001, [])])
def test_passes_are_at_most_max_gap_apart(
    tell: Tell, gap: float, credited: list[tuple[float, float]]
) -> None:
    """120 s count, a millisecond more does not."""
    story = tell().lesson(200).sample(10, 10 + gap)
    assert story.credited() == credited


def test_a_passed_check_counts_at_its_oldest_frame(tell: Tell) -> None:
    """Who may have taken the seat while its frames were taken gains nothing."""
    story = tell().lesson(100).sample(10).check(50, 70)
    assert story.credited() == [(10, 50)]


@pytest.mark.parametrize("outcome", [Outcome.MISMATCH, Outcome.SPOOF, Outcome.UNANSWERED])
def test_a_failed_check_stops_at_the_pass_before_it(tell: Tell, outcome: Outcome) -> None:
    """Credit ends at the last pass before the failure and goes on from the next one after it."""
    story = tell().lesson(200).sample(10, 40, 110, 150).check(60, 80, outcome)
    assert story.credited() == [(10, 40), (110, 150)]
    assert (40, 110, str(outcome)) in story.void()


def test_passes_within_the_window_of_a_failed_check_are_ignored(tell: Tell) -> None:
    """At its first frame, between and at its last one: the check has judged them together."""
    story = tell().lesson(200).sample(40, 60, 70, 80, 100).check(60, 80, Outcome.MISMATCH)
    assert story.credited() == []


def test_a_suspicion_that_a_check_cleared_costs_nothing(tell: Tell) -> None:
    """Single frames err: the check on frames of that track from the sample on decides."""
    story = tell().lesson(200).sample(10, 70, 100).sample(40, outcome=Outcome.SPOOF)
    story.check(40, 52, cause=CheckCause.SUSPICION)
    assert story.credited() == [(10, 100)]


@pytest.mark.parametrize(
    ("since", "s", "track"),
    [(35, 52, 1), (40, 52, 2), (60, 71, 1)],
    ids=["older frames", "another track", "too late"],
)
def test_a_suspicion_is_not_cleared_by_other_frames(
    tell: Tell, since: float, s: float, track: int
) -> None:
    """Frames from before the sample, of another track, or more than 30 s later clear nothing."""
    story = tell().lesson(200).sample(10, 39, 80, 110).sample(40, outcome=Outcome.MISMATCH)
    story.check(since, s, track=track)
    assert any(a == 39 and b > 39 and why == "mismatch" for a, b, why in story.void())
    assert all(b <= 39 or a >= 40 for a, b in story.credited())


def test_a_suspicion_without_a_check_is_not_credited(tell: Tell) -> None:
    """Where no check ever came, the bracket with the failed sample in it is void."""
    story = tell().lesson(200).sample(10, 60, 100).sample(40, outcome=Outcome.SPOOF)
    assert story.credited() == [(60, 100)]
    assert (10, 60, "spoof") in story.void()


@pytest.mark.parametrize(("back", "credited"), [(70, [(20, 70)]), (70.001, [])])
def test_without_evidence_for_too_long(
    tell: Tell, back: float, credited: list[tuple[float, float]]
) -> None:
    """A sample without evidence at 40 s: a pass 30 s later saves the bracket, a later one not."""
    story = tell().lesson(100).sample(20, back).sample(40, 60, outcome=Outcome.NO_EVIDENCE)
    assert story.credited() == credited


def test_whoever_is_fetched_to_answer_gains_nothing(tell: Tell) -> None:
    """The learner hears of it 30 s after the first look in vain: by then the bracket is lost."""
    story = tell().lesson(200).sample(20).check(30, 50, Outcome.NO_EVIDENCE)
    story.check(81, 85, cause=CheckCause.RETRY).sample(100)
    assert story.credited() == [(81, 100)]
    assert (20, 81, "no_evidence") in story.void()


@pytest.mark.parametrize(("until", "credited"), [(54, [(10, 80)]), (55, [])])
def test_absence(tell: Tell, until: float, credited: list[tuple[float, float]]) -> None:
    """Frames that showed no face for 15 s break the bracket; for less they do not."""
    story = tell().opened().plays(0, 100).closed(100)
    story.frames(0, 35).frames(40, until, track=0).frames(until + 5, 100, track=2)
    story.sample(10).sample(80, track=2)
    assert story.credited() == credited
    if not credited:
        assert (10, 80, "absent") in story.void()


def test_a_track_break_with_a_pass_of_its_own(tell: Tell) -> None:
    """The face was lost and came back: its own pass carries the bracket on."""
    story = tell().opened().plays(0, 100).closed(100).frames(0, 45).frames(50, 100, track=2)
    story.sample(10, 40).sample(50, 90, track=2)
    assert story.credited() == [(10, 90)]


@pytest.mark.parametrize("last", [1, 3])
def test_a_track_without_a_pass_of_its_own(tell: Tell, last: int) -> None:
    """Somebody was there in between who never passed."""
    story = tell().opened().plays(0, 100).closed(100)
    story.frames(0, 30).frames(35, 60, track=2).frames(65, 100, track=last)
    story.sample(10).sample(80, track=last)
    assert story.credited() == []
    assert (10, 80, "track_break") in story.void()


@pytest.mark.parametrize(
    ("gap", "first", "credited"),
    [
        (12, 60, [(10, 60)]),
        (30, 70, [(10, 70)]),
        (30, 75, []),
        (31, 71, []),
    ],
    ids=["no gap yet", "first frame passes", "a later frame passes", "too long"],
)
def test_network_gaps(
    tell: Tell, gap: float, first: float, credited: list[tuple[float, float]]
) -> None:
    """Up to 30 s the bracket goes on if the very first frame after the gap is a pass."""
    story = tell().opened().plays(0, 100).closed(100).frames(0, 40).frames(40 + gap, 100)
    story.sample(10, first)
    assert story.credited() == credited
    if not credited:
        assert (10, first, "network_gap") in story.void()


def test_without_any_presence_nothing_is_tolerated(tell: Tell) -> None:
    """Passes without the frames between them prove only 30 s."""
    story = tell().opened().plays(0, 100).closed(100).sample(10, 40, 71)
    assert story.credited() == [(10, 40)]


def test_a_system_fault_is_pending_not_void_for_good(tell: Tell) -> None:
    """The bracket around it waits for a review, and says so."""
    story = tell().lesson(100).sample(10, 40, 80).fault(50, 55)
    assert story.credited() == [(10, 40)]
    assert (40, 80, "system_error") in story.void()
    assert story.credit().pending_ms == 40_000


@pytest.mark.parametrize(
    ("reason", "void"),
    [
        (PauseReason.ABSENT, VoidReason.ABSENT),
        (PauseReason.MISMATCH, VoidReason.MISMATCH),
        (PauseReason.NETWORK_GAP, VoidReason.NETWORK_GAP),
    ],
)
def test_a_pause_by_the_tracker_sets_the_clock_back(
    tell: Tell, reason: PauseReason, void: VoidReason
) -> None:
    """Time before such a pause counts up to the last pass, after it from the next one."""
    story = tell().lesson(100).sample(10, 30, 60, 90).paused(40, reason).resumed(65)
    assert story.credited() == [(10, 30), (65, 90)]
    assert (30, 65, str(void)) in story.void()


def test_a_pause_of_the_learner_breaks_nothing(tell: Tell) -> None:
    """Only the time in which he had it stand still is left out."""
    story = tell().lesson(100).sample(10, 90).paused(40, PauseReason.LEARNER).resumed(50)
    assert story.credited() == [(10, 40), (50, 90)]
    assert (40, 50, "not_playing") in story.void()


def test_an_impostor_throughout_is_told_from_a_late_learner(tell: Tell) -> None:
    """Without any pass the reason is what was seen, not that a pass is missing."""
    story = tell().lesson(100).check(0, 20, Outcome.MISMATCH, cause=CheckCause.START)
    assert story.void() == [(0, 100, "mismatch")]
    assert tell().lesson(100).void() == [(0, 100, "before_first_pass")]


def test_the_tail_names_what_spoke_against_it(tell: Tell) -> None:
    """After the last pass: blind, gone from the network, or nothing but the end."""
    blind = tell().lesson(100).sample(10, 40).sample(50, outcome=Outcome.NO_EVIDENCE)
    assert (40, 100, "no_evidence") in blind.void()
    gone = tell().opened().frames(0, 50).plays(0, 100).closed(100).sample(10, 40)
    assert (40, 100, "network_gap") in gone.void()
