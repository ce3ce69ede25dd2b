"""Credit over all sessions of a learner."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from itertools import pairwise
from typing import Any

import pytest

from session_tracker.credit import EvidenceType, SessionFacts, derive
from session_tracker.events import Presence, VoidReason
from session_tracker.policy import Policy
from session_tracker.shown import course

Tell = Callable[..., Any]


def full(tell: Tell, length: int, session_id: str = "one", **where: Any) -> Any:
    """A session in which every second is verified and played."""
    media = where.pop("media", session_id)
    story = tell(session_id, **where).opened().frames(0, length).closed(length)
    return story.sample(*range(0, length + 1, 30)).plays(0, length, media=media)


def test_every_second_has_one_place(tell: Tell) -> None:
    """Credited and void intervals tile the session; seconds add up, too."""
    session = full(tell, 100).check(40, 50).credit()
    spans = sorted(
        [(i.start, i.end) for i in session.credited] + [(i.start, i.end) for i in session.void]
    )
    assert spans[0][0] == session.start
    assert spans[-1][1] == session.end
    assert all(a[1] == b[0] for a, b in pairwise(spans))
    credited_s, void_s = session.in_seconds()
    assert (credited_s, sum(void_s.values())) == (90, 10)


def test_seconds_are_rounded_once_a_day(tell: Tell) -> None:
    """Three times 0.6 s of a day is one second, not none and not three."""
    stories = []
    for n in range(3):
        story = tell(f"s{n}", after=n * 60).opened().frames(0, 10).closed(10)
        stories.append(story.sample(1, 1.6).report(0, 0, media=str(n)).report(10, 10, media=str(n)))
    total = stories[0].total(*stories[1:])
    assert [s.credited_ms for s in total.sessions] == [600, 600, 600]
    assert total.credited_s == 1


def test_sessions_at_one_time_are_never_both_credited(tell: Tell) -> None:
    """Two devices: the instant belongs to the session that was begun last."""
    old, new = full(tell, 300), full(tell, 100, "two", after=100)
    total = old.total(new)
    first, second = total.sessions
    assert total.credited_s == 290
    assert [(i.start, i.end) for i in second.credited] == [(old.at(100), old.at(190))]
    assert ("parallel_session", 100_000) in {(str(k), v) for k, v in first.void_ms.items()}


def test_a_session_that_never_began_takes_nothing_away(tell: Tell) -> None:
    """Somebody opens a second session and never passes its start check: the first one goes on."""
    old = full(tell, 300)
    other = tell("two", after=100).opened(begins=None).frames(0, 150).closed(150)
    assert old.total(other).credited_s == 300


def test_the_same_medium_in_two_sessions_counts_once(tell: Tell) -> None:
    """The second run of a medium earns what the first did not."""
    first = full(tell, 120, media="m")
    second = full(tell, 180, "two", after=500, media="m")
    total = first.total(second)
    assert total.credited_s == 180
    assert total.sessions[1].in_seconds()[1]["media_repeated"] == 120


def test_the_daily_cap_and_the_shanghai_day(policy: Policy, tell: Tell) -> None:
    """Six hours of a day count; at midnight in Shanghai a new day begins; nothing carries over."""
    hours = [full(tell, 3_600, f"h{n:02d}", after=n * 3_600, media=f"h{n}") for n in range(12)]
    total = hours[0].total(*hours[1:])
    # The story begins at 16:00 in Shanghai: eight hours, then four of the next day.
    assert dict(total.days) == {date(2027, 1, 15): policy.daily_cap_s, date(2027, 1, 16): 14_400}
    assert total.credited_s == 21_600 + 14_400
    capped = [s for s in total.sessions if "daily_cap" in {str(k) for k in s.void_ms}]
    assert len(capped) == 2


def test_seconds_above_the_cap_may_be_earned_on_another_day(policy: Policy, tell: Tell) -> None:
    """What the cap refused was not credited: its medium counts when played again."""
    low = policy.model_copy(
        update={"daily_cap": policy.daily_cap.model_copy(update={"class_hours": 1})}
    )
    first, again = full(tell, 3_000, media="m"), full(tell, 3_000, "two", after=90_000, media="m")
    given = [first.given(), again.given()]
    total = derive(given, low, now=first.at(200_000))
    assert list(total.days.values()) == [2_700, 300]


def test_other_evidence_is_credited_under_its_own_type(tell: Tell) -> None:
    """What staff confirmed and what a reviewer granted count where the face did not."""
    story = tell().lesson(200).sample(10, 50).supervised(100, 130).granted(120, 150)
    spans = [
        (i.start - story.at(0), i.end - story.at(0), i.evidence) for i in story.credit().credited
    ]
    assert spans == [
        (10_000, 50_000, EvidenceType.FACE),
        (100_000, 130_000, EvidenceType.SUPERVISED),
        (130_000, 150_000, EvidenceType.GRANTED),
    ]
    assert story.credit().verified_ms == 40_000


def test_a_grant_neither_plays_nor_repeats(tell: Tell) -> None:
    """Granted time still has to have been played, and its medium still counts once."""
    story = tell().opened().frames(0, 200).closed(200).granted(0, 200)
    story.plays(0, 50).plays(100, 150)
    assert story.credited() == [(0, 50)]


def test_provisional_credit_is_told_apart(tell: Tell) -> None:
    """Hours under an unconfirmed enrolment are counted, and marked."""
    story = full(tell, 120)
    total = story.total(provisional=True)
    assert (total.credited_s, total.provisional_s, total.final) == (120, 120, False)
    assert total.sessions[0].provisional
    assert story.total().final


def test_only_what_the_face_alone_vouches_for_is_provisional(tell: Tell) -> None:
    """What staff answered for counts at once, also where the face was seen too."""
    story = tell().lesson(200).sample(10, 100).supervised(50, 150)
    total = story.total(provisional=True)
    assert (total.credited_s, total.provisional_s, total.final) == (140, 40, False)
    by = [(str(i.evidence), (i.end - i.start) // 1_000) for i in total.sessions[0].credited]
    assert by == [("face", 40), ("supervised", 100)]
    told = course(total, story.policy)
    assert (told.credited_s, told.provisional_s) == (140, 40)


@pytest.mark.parametrize("refused", [False, True])
def test_a_session_without_credit_by_face_is_not_provisional(tell: Tell, refused: bool) -> None:
    """Nothing of it waits: of a refused face nothing counts, of an idle session neither."""
    story = tell().lesson(200).sample(10, *([50] if refused else [])).supervised(100, 130)
    total = story.total(provisional=True, refused=refused)
    assert (total.credited_s, total.provisional_s) == (30, 0)
    assert total.final
    assert not total.sessions[0].provisional


def test_less_than_a_second_that_waits_is_not_final(tell: Tell) -> None:
    """A certificate cannot hold a provisional session, however little it earned."""
    story = tell().lesson(200).sample(10, 10.4)
    total = story.total(provisional=True)
    assert (total.provisional_s, total.final) == (0, False)


def test_a_running_session_is_not_final(tell: Tell) -> None:
    """While something is pending no certificate can rest on it."""
    story = tell().opened().frames(0, 100).plays(0, 60).sample(10, 50)
    assert not story.total(now=55).final


def test_facts_after_the_end_do_not_count(tell: Tell) -> None:
    """A pass that arrives with a time after the end changes nothing."""
    story = tell().lesson(100).sample(10, 50)
    before = story.credited()
    assert story.sample(101).credited() == before


def test_a_run_that_grew_counts_in_its_longest_version(tell: Tell) -> None:
    """Versions of one run come in any order."""
    story = tell().opened().plays(0, 100).closed(100).sample(10, 90)
    run = {"key": "run", "t": story.at(0), "track": 1, "faces_max": 1}
    versions = [Presence(end=story.at(s), samples=s, **run) for s in (0, 40, 100)]
    story.facts += [versions[2], versions[0], versions[1]]
    assert story.credited() == [(10, 90)]


def test_a_session_that_was_never_opened_is_empty(policy: Policy, tell: Tell) -> None:
    """Facts without an opening have no wall time to lie in."""
    story = tell().frames(0, 100).sample(10, 40)
    session = story.credit()
    assert (session.wall_ms, session.credited, session.void) == (0, (), ())
    assert derive([], policy, now=0).credited_s == 0


def test_one_session_in_two_parts_is_a_mistake(policy: Policy) -> None:
    """Facts of a session have to be given together."""
    twice = [SessionFacts(session_id="one", facts=())] * 2
    with pytest.raises(ValueError, match="same id"):
        derive(twice, policy, now=0)


def test_what_a_reviewer_upheld_no_staff_overturn(tell: Tell) -> None:
    """Whether they say that they saw him before the decision or after it."""
    story = tell().lesson(200).supervised(100, 150).upheld(120, 140)
    assert story.credited() == [(100, 120), (140, 150)]
    assert story.credit().void_ms[VoidReason.BEFORE_FIRST_PASS] == 170_000
