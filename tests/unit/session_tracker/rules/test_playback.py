"""What the player may claim."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from session_tracker.events import PauseReason

Tell = Callable[..., Any]


def seen(tell: Tell, length: int = 200, session_id: str = "one", *, after: float = 0) -> Any:
    """A session with evidence for every second, without playback."""
    story = tell(session_id, after=after).opened().frames(0, length).closed(length)
    return story.sample(*range(0, length + 1, 20))


def test_playing_at_the_speed_of_the_clock_counts(tell: Tell) -> None:
    """Every second between the first and the last report."""
    story = seen(tell).plays(20, 180)
    assert story.credited() == [(20, 180)]
    (interval,) = story.credit().credited
    assert (interval.media_id, interval.media_ms) == ("m", 0)


def test_jitter_of_reports_moves_nothing(tell: Tell) -> None:
    """Positions up to 2 s off the line neither cost nor bring anything."""
    story = seen(tell).report(0, 0).report(50, 51.9).report(100, 98.1).report(150, 150.5)
    assert story.credited() == [(0, 150)]


def test_fast_forward_is_void(tell: Tell) -> None:
    """A medium that advances faster than the clock earns nothing for that time."""
    story = seen(tell).report(0, 0).report(20, 20).report(40, 42.1).report(60, 62)
    assert story.credited() == [(0, 20), (40, 60)]
    assert (20, 40, "media_too_fast") in story.void()
    assert story.credit().jumps == ()


def test_double_speed_earns_nothing(tell: Tell) -> None:
    """Nor does what follows, being beyond the high-water mark, until the player comes back."""
    story = seen(tell).report(0, 0).report(20, 40).report(40, 80).report(60, 100).report(60, 20)
    story.report(80, 40)
    assert story.credited() == [(60, 80)]


@pytest.mark.parametrize(("to", "jumps"), [(49, 0), (51.5, 1)])
def test_a_jump_over_thirty_seconds_is_an_anomaly(tell: Tell, to: float, jumps: int) -> None:
    """A skip beyond the high-water mark is not credited; a large one is noted, too."""
    story = seen(tell).report(0, 0).report(20, 20).report(20, to).report(60, to + 40)
    assert story.credited() == [(0, 20)]
    assert (20, 60, "media_too_fast") in story.void()
    assert len({j.t for j in story.credit().jumps}) == jumps


def test_winding_back_is_allowed_and_repeats_nothing(tell: Tell) -> None:
    """A second of a medium counts once; what comes after it counts again."""
    story = seen(tell).report(0, 0).report(60, 60).report(60, 30).report(120, 90)
    assert story.credited() == [(0, 60), (90, 120)]
    assert (60, 90, "media_repeated") in story.void()


def test_a_void_second_may_be_earned_again(tell: Tell) -> None:
    """What was played before the first pass was not credited, and counts when played again."""
    story = tell().opened().frames(0, 200).closed(200).sample(*range(60, 201, 20))
    story.plays(0, 60).plays(60, 120)
    assert story.credited() == [(60, 120)]


def test_a_stall_counts_as_far_as_the_medium_moved(tell: Tell) -> None:
    """Ten of twenty seconds were played."""
    story = seen(tell).report(0, 0).report(20, 10).report(40, 30)
    assert story.credited() == [(0, 10), (20, 40)]
    assert (10, 20, "not_playing") in story.void()


def test_silence_of_the_player_counts_for_nothing(tell: Tell) -> None:
    """Two reports further apart than the lease lives prove nothing of the time between them."""
    story = seen(tell).report(0, 0).report(121, 121).report(140, 140)
    assert story.credited() == [(121, 140)]


def test_time_before_the_first_and_after_the_last_report_is_not_playing(tell: Tell) -> None:
    """Nobody has said that it ran."""
    assert seen(tell, 100).report(40, 0).report(60, 20).void() == [
        (0, 40, "not_playing"),
        (60, 100, "not_playing"),
    ]


def test_changing_the_medium_ends_a_stretch(tell: Tell) -> None:
    """How long the first one ran on is not known; the second has a mark of its own."""
    story = seen(tell).report(0, 0, media="a").report(20, 20, media="a").report(30, 0, media="b")
    story.report(50, 20, media="b")
    assert story.credited() == [(0, 20), (30, 50)]


def test_the_high_water_mark_outlives_the_session(tell: Tell) -> None:
    """The next session goes on where the last one stopped; further on it would be a skip."""
    first = seen(tell).plays(0, 100)
    goes_on = seen(tell, session_id="two", after=300).plays(0, 100, media_s=100)
    skips = seen(tell, session_id="two", after=300).plays(0, 100, media_s=110)
    assert first.total(goes_on).credited_s == 200
    assert first.total(skips).credited_s == 100


def test_standing_still_by_order_of_the_tracker(tell: Tell) -> None:
    """What the player claims while it was told to stand still does not count."""
    story = tell().opened(begins=30).frames(0, 200).closed(200).sample(*range(0, 201, 20))
    story.plays(0, 200).paused(100, PauseReason.IDLE).resumed(140)
    assert story.credited() == [(30, 100), (140, 200)]
    assert (100, 140, "idle") in story.void()


def test_a_lost_report_of_the_beginning_voids_nothing_but_itself(tell: Tell) -> None:
    """The report that the player began got lost: what follows counts, once one has arrived."""
    story = seen(tell).report(0, 0, playing=False).report(15, 9).report(30, 24).report(45, 39)
    assert story.credited() == [(15, 45)]
    assert (0, 15, "not_playing") in story.void()


def test_a_player_that_stood_still_cannot_have_moved_further_than_the_clock(tell: Tell) -> None:
    """A jump while it was paused stays a skip, and silence for too long proves no playing."""
    skips = seen(tell).report(0, 0, playing=False).report(15, 30).report(45, 60)
    assert skips.credited() == []
    silent = seen(tell).report(0, 0, playing=False).report(130, 100).report(150, 120)
    assert silent.credited() == []


def test_a_player_moved_ahead_while_it_stood_still_earns_nothing(tell: Tell) -> None:
    """Paused, moved beyond what was reached, and played from there: skipped is skipped."""
    story = seen(tell).report(0, 0).report(20, 20, playing=False)
    story.report(30, 60, playing=False).report(31, 60).report(51, 80).report(71, 100)
    assert story.credited() == [(0, 20)]
    assert (31, 71, "media_too_fast") in story.void()
