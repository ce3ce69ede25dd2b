"""The rule table of the credit model, row by row: each test's name says which row it proves.

``docs/credit_rules.md`` links every row to its policy field, its code and its tests;
`test_credit_rules_page.py` holds that page against this file and against the policy.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from session_tracker import states
from session_tracker.credit import derive
from session_tracker.events import (
    Challenged,
    Check,
    CheckCause,
    Closed,
    CloseReason,
    Fact,
    Identity,
    Looking,
    Outcome,
    Paused,
    PauseReason,
    Resumed,
    Suspended,
    SystemFault,
)
from session_tracker.explain import fate_of
from session_tracker.ledger_file import audit_export, export_ledger
from session_tracker.live import Report
from session_tracker.machine import AskCheck, Machine, State
from session_tracker.policy import SELF_MADE, Policy, Provenance, Training, load_policy
from session_tracker.refusals import ProgrammeComplete
from session_tracker.review import ReviewKind, Ruling
from session_tracker.sampling import truncated_exponential
from session_tracker.store.certificates import NAME_CORRECTED
from session_tracker.store.schema import metadata
from session_tracker.testing import PICTURE, Lesson, Studio
from session_tracker.transitions import absorb
from verifier.clock import Stamp
from verifier.errors import Conflict, InferenceFailed, NotFound, Refused
from verifier.keys import canonical_json
from verifier.streaming.advice import Advice, FrameReceipt
from verifier.streaming.arrivals import Arrival, Arrivals
from verifier.streaming.hub import StreamHub
from verifier.streaming.limits import StreamLimits
from verifier.streaming.testing import Person, ScriptedEngine, ScriptedVault, scene
from verifier.types import (
    Comparison,
    Decision,
    Likeness,
    StreamGrant,
    StreamSpec,
    SubjectTemplate,
)

ENDED = (State.SUSPENDED, State.CLOSED, State.SETTLED)
Tell = Callable[..., Any]
FOSHAN = load_policy("foshan-2021")
DAY_MS = 86_400_000


@pytest_asyncio.fixture
async def school(database_url: str) -> AsyncIterator[Studio]:
    """A tracker under the real rules, without random checks: those that come were called."""
    rules = FOSHAN.model_copy(
        update={
            "checks": FOSHAN.checks.model_copy(
                update={"challenge_at_start": False, "challenge_share": 0.0}
            )
        }
    )
    made = Studio(database_url, policy=rules)
    made.draw = lambda: 0.9999
    made.service = made._service()
    await made.start()
    yield made
    await made.stop()


async def begun(studio: Studio) -> Lesson:
    """A lesson that runs."""
    lesson = await studio.open()
    await lesson.watch(40)
    assert (await lesson.view()).play
    return lesson


async def told(lesson: Lesson) -> Counter[str]:
    """Whole seconds of a lesson by what became of them."""
    return Counter((await lesson.studio.service.explain(lesson.id)).told.seconds)


async def facts_of(lesson: Lesson, kind: type[Fact]) -> list[Any]:
    """Facts of one kind."""
    return [f for f in await lesson.studio.service.facts(lesson.id) if isinstance(f, kind)]


async def entries(lesson: Lesson, kind: str) -> list[dict[str, Any]]:
    """What the ledger holds of one kind."""
    found = await lesson.studio.service.ledger.of_subject(lesson.id)
    return [json.loads(e.body) for e in found if e.kind == kind]


# --- hours --------------------------------------------------------------------------------------


def test_row_class_hour__is_forty_five_minutes() -> None:
    """2 700 s; the hours of a target are counted in it."""
    assert FOSHAN.class_hour.seconds == 2_700


def test_row_targets__sixteen_class_hours_at_first_and_eight_to_refresh() -> None:
    """Of 45 minutes each."""
    assert FOSHAN.targets.initial_class_hours == 16
    assert FOSHAN.targets.refresher_class_hours == 8
    assert FOSHAN.target_s(Training.INITIAL) == 43_200
    assert FOSHAN.target_s(Training.REFRESHER) == 21_600


# --- checks -------------------------------------------------------------------------------------


async def test_row_start_and_end_check__nothing_runs_before_the_first_one(school: Studio) -> None:
    """The player stands until a check has passed; the end asks for another one."""
    lesson = await school.open()
    school.verifier.show(lesson.id, Decision.NO_EVIDENCE)
    await lesson.watch(60)
    assert not (await lesson.view()).play
    school.verifier.show(lesson.id, Decision.MATCH)
    await lesson.watch(90)
    assert (await lesson.view()).play
    await lesson.close()
    causes = [e["reason"] for e in await entries(lesson, "check_asked")]
    assert (causes[0], causes[-1]) == ("start", "end")
    assert FOSHAN.checks.at_start
    assert FOSHAN.checks.at_end


def test_row_random_checks__exponential_within_twenty_seconds_and_twelve_minutes() -> None:
    """Mean 6 min before it is cut to its bounds, drawn without memory."""
    checks = FOSHAN.checks
    assert (checks.random_mean_s, checks.random_min_s, checks.random_max_s) == (360, 20, 720)
    rng = Random(1)
    drawn = [truncated_exponential(rng.random(), mean=360, low=20, high=720) for _ in range(5_000)]
    assert min(drawn) >= 20
    assert max(drawn) <= 720
    # Half of those that are left at any age come within the same time: no memory.
    for age in (20, 120, 300):
        later = sorted(d - age for d in drawn if d >= age)
        assert sum(d < 100 for d in later) / len(later) == pytest.approx(0.27, abs=0.09)


def test_row_max_gap__more_than_two_minutes_between_passes_count_for_nothing(tell: Tell) -> None:
    """120 s count; 121 s do not."""
    assert tell().lesson(300).sample(10, 130).credited() == [(10, 130)]
    assert tell().lesson(300).sample(10, 131).credited() == []


async def test_row_max_gap__ninety_seconds_without_a_pass_force_a_check(school: Studio) -> None:
    """So that a learner whom no sample met loses nothing."""
    lesson = await begun(school)
    await lesson.watch(200, share=0)
    causes = [e["reason"] for e in await entries(lesson, "check_asked")]
    assert "max_gap" in causes
    await lesson.close()
    assert (await told(lesson))["void:max_gap"] == 0


async def test_row_answer_window__a_minute_and_one_more_then_the_player_stands(
    school: Studio,
) -> None:
    """Told only after 30 s without evidence, paused after 60 s and another 60 s."""
    lesson = await begun(school)
    school.verifier.show(lesson.id, Decision.NO_EVIDENCE, new_track=False)
    started = school.clock.stamp().utc_ms
    await lesson.watch(300, share=1)
    (pause,) = await facts_of(lesson, Paused)
    assert pause.reason is PauseReason.NO_EVIDENCE
    first_vain = next(
        f.t
        for f in await school.service.facts(lesson.id)
        if f.key.startswith("check:") and f.t > started
    )
    assert 115_000 <= pause.t - first_vain <= 130_000
    school.verifier.show(lesson.id, Decision.MATCH, new_track=False)
    await lesson.watch(30)
    assert (await lesson.view()).play


async def test_row_absent__fifteen_seconds_without_a_face_pause_and_resuming_needs_a_pass(
    school: Studio,
) -> None:
    """The clock goes back to the last pass; who returns is looked at before time goes on."""
    lesson = await begun(school)
    last_pass = max(f.t for f in await facts_of(lesson, Identity))
    school.verifier.show(lesson.id, None)
    await lesson.watch(30)
    (pause,) = await facts_of(lesson, Paused)
    assert pause.reason is PauseReason.ABSENT
    school.verifier.show(lesson.id, Decision.MATCH)
    await lesson.watch(60)
    assert (await lesson.view()).play
    back = min(f.t for f in await facts_of(lesson, Identity) if f.t > pause.t)
    await lesson.close()
    spans = (await school.service.explain(lesson.id)).told.spans
    away = [s for s in spans if fate_of(s) == "void:absent"]
    assert away[0].start <= last_pass + 60_000
    assert away[-1].end >= back


def test_row_absent__only_frames_that_arrived_speak(tell: Tell) -> None:
    """14 s without a face are nothing; 15 s are; frames that did not come are a network gap."""
    short = tell().opened().frames(0, 50).frames(52, 66, track=0).frames(70, 200, track=2)
    short.plays(0, 200).closed(200).sample(40).sample(70, 120, track=2)
    assert (40, 120) in short.credited()
    long = tell().opened().frames(0, 50).frames(52, 67, track=0).frames(70, 200, track=2)
    long.plays(0, 200).closed(200).sample(40).sample(70, 120, track=2)
    assert (40, 70, "absent") in long.void()


async def test_row_absent__a_covered_lens_may_send_the_same_bytes_for_ever() -> None:
    """Each of them says that nobody is seen: absent, and no gap of the network."""

    async def process(arrival: Arrival) -> FrameReceipt:
        return line.became_sample(arrival, Advice.NO_FACE, faces=0)

    async def confirm() -> None:
        pass

    line = Arrivals(process, confirm, StreamLimits())
    for seq in range(1, 9):
        at = Stamp(boot_id="b", monotonic_ms=seq * 5_000, utc_ms=1_800_000_000_000 + seq * 5_000)
        receipt = await line.push(seq, b"black", at)
        assert (receipt.accepted, receipt.advice) == (True, Advice.NO_FACE)


def test_row_random_checks__a_frame_is_judged_by_one_of_them() -> None:
    """While no frame comes since the last check, none is asked for: it would see nothing new."""
    running = Machine(
        state=State.RUNNING,
        now=125_000,
        last_frame=100_000,
        track=1,
        fresh_since=20_000,
        last_pass=30_000,
        random_at=50_000,
        last_activity=100_000,
        player_runs=True,
    )
    for judged, causes in (
        (None, [CheckCause.MAX_GAP]),
        (95_000, [CheckCause.MAX_GAP]),
        (100_000, []),
        (110_000, []),  # one that saw nobody, after the newest frame
    ):
        _, actions = states.due(replace(running, last_check=judged), 125_000, FOSHAN)
        assert [one.cause for one in actions if isinstance(one, AskCheck)] == causes
    passed = replace(running, last_check=100_000, last_pass=100_000, random_at=120_000)
    assert states.due(passed, 125_000, FOSHAN)[1] == ()
    _, (asked,) = states.due(replace(passed, last_frame=126_000), 126_000, FOSHAN)
    assert isinstance(asked, AskCheck)
    assert asked.cause is CheckCause.RANDOM


def test_row_random_checks__a_newest_frame_that_was_no_good_is_none_to_come() -> None:
    """A check judges the best frames: its instant may lie before the newest one."""
    running = Machine(
        state=State.RUNNING,
        now=101_000,
        last_frame=100_000,
        track=1,
        fresh_since=20_000,
        last_pass=20_000,
        last_activity=100_000,
        player_runs=True,
    )
    check = Check(
        key="c",
        t=95_000,
        since=80_000,
        cause=CheckCause.RANDOM,
        track=1,
        outcome=Outcome.PASS,
        heard=101_000,
    )
    checked = replace(absorb(running, check, FOSHAN, lambda: 0.5), random_at=116_000)
    assert states.due(checked, 125_000, FOSHAN)[1] == ()
    _, (asked,) = states.due(replace(checked, last_frame=124_000), 125_000, FOSHAN)
    assert isinstance(asked, AskCheck)
    assert asked.cause is CheckCause.RANDOM


async def test_row_several_faces__flagged_once_and_nothing_withheld(school: Studio) -> None:
    """Where the enrolled face is among them; the verifier calls anything else a mismatch."""
    lesson = await begun(school)
    school.verifier.stream_of(lesson.id).faces = 3
    await lesson.watch(60)
    await lesson.close()
    flags = [e for e in await entries(lesson, "flag") if e["reason"] == "several_faces"]
    assert [f["data"]["faces"] for f in flags] == [3]
    assert (await told(lesson))["credited"] > 60


async def test_row_occlusion__is_no_evidence_and_no_strike(school: Studio) -> None:
    """A covered or dark face pauses at last; it never suspends and opens no dispute."""
    lesson = await begun(school)
    school.verifier.show(lesson.id, Decision.NO_EVIDENCE, new_track=False)
    await lesson.watch(900, share=0.5)
    assert await facts_of(lesson, Suspended) == []
    await lesson.close()
    assert not [fate for fate in await told(lesson) if fate.startswith("disputed")]


async def test_row_looking_away__is_off(school: Studio, policy: Policy) -> None:
    """Nothing is measured of where he looks: as little data as possible."""
    assert not policy.looking_away.enabled
    assert (policy.looking_away.yaw_deg, policy.looking_away.after_s) == (35, 60)
    lesson = await begun(school)
    assert school.verifier.stream_of(lesson.id).spec.policy.away_yaw_deg == 0


@pytest_asyncio.fixture
async def attentive(database_url: str) -> AsyncIterator[Studio]:
    """A tracker whose programme asks where the learner looks."""
    rules = FOSHAN.model_copy(
        update={
            "checks": FOSHAN.checks.model_copy(
                update={"challenge_at_start": False, "challenge_share": 0.0}
            ),
            "looking_away": FOSHAN.looking_away.model_copy(update={"enabled": True}),
        }
    )
    made = Studio(database_url, policy=rules)
    made.draw = lambda: 0.9999
    made.service = made._service()
    await made.start()
    yield made
    await made.stop()


async def test_row_looking_away__a_minute_pauses_and_never_voids(attentive: Studio) -> None:
    """Asked for: the player stands after 60 s, goes on by looking back, and nothing is lost."""
    lesson = await begun(attentive)
    stream = attentive.verifier.stream_of(lesson.id)
    assert stream.spec.policy.away_yaw_deg == 35
    stream.away = True
    await lesson.watch(55, share=0.3)
    assert (await lesson.view()).play
    await lesson.watch(15, share=0.3)
    view = await lesson.view()
    assert (view.play, view.reason) == (False, "looking_away")
    await lesson.watch(60, share=0.5)
    assert not (await lesson.view()).play, "recognised he is, but he does not look"
    stream.away = False
    await lesson.watch(60, share=0.3)
    assert (await lesson.view()).play
    await lesson.close()
    assert len(await facts_of(lesson, Looking)) == 2
    (pause,) = await facts_of(lesson, Paused)
    seconds = await told(lesson)
    assert 60 <= seconds["void:looking_away"] <= 70
    assert not {f"void:{why}" for why in ("max_gap", "track_break", "no_evidence")} & set(seconds)
    credited = (await attentive.service.explain(lesson.id)).told.at(pause.t - 1_000)
    assert str(credited.state) == "credited", "the minute before the pause counts"


async def test_row_looking_away__whoever_walked_away_meanwhile_is_not_locked_out(
    attentive: Studio,
) -> None:
    """Another track forgets where the last one looked; a restart rebuilds the same."""
    lesson = await begun(attentive)
    stream = attentive.verifier.stream_of(lesson.id)
    stream.away = True
    await lesson.watch(75, share=0.3)
    assert (await lesson.view()).reason == "looking_away"
    attentive.verifier.show(lesson.id, None)
    await lesson.watch(10)
    attentive.verifier.show(lesson.id, Decision.MATCH)
    stream.away = False
    await lesson.watch(30, share=0.3)
    assert (await lesson.view()).play
    stream.away = True
    await lesson.watch(75, share=0.3)
    before = await lesson.view()
    await attentive.restart()
    after = await lesson.view()
    assert (before.reason, after.reason, after.play) == ("looking_away", "looking_away", False)


async def test_row_mismatch__paused_and_disputed_and_twice_in_a_row_suspended(
    school: Studio,
) -> None:
    """A check confirms what a sample suspected; a reviewer may grant the bracket."""
    lesson = await begun(school)
    school.verifier.show(lesson.id, Decision.MISMATCH, new_track=False)
    await lesson.watch(25, share=1)
    assert (await lesson.view()).reason == "mismatch"
    assert (await told(lesson))["disputed:mismatch"] > 0
    await lesson.watch(180, share=1)
    assert (await lesson.view()).state == "suspended"
    (end,) = await facts_of(lesson, Closed)
    assert end.reason is CloseReason.SUSPENDED


async def test_row_spoof__paused_then_suspended_for_a_person_to_look_at(school: Studio) -> None:
    """The bracket is void until a person has decided; the learner may open another session."""
    lesson = await begun(school)
    school.verifier.show(lesson.id, Decision.SPOOF, new_track=False)
    await lesson.watch(240, share=1)
    (suspended,) = await facts_of(lesson, Suspended)
    assert suspended.reason is PauseReason.SPOOF
    seconds = await told(lesson)
    assert seconds["void:spoof"] + seconds["disputed:spoof"] > 0
    again = await school.open()
    await again.watch(40)
    assert (await again.view()).play


# --- the player ---------------------------------------------------------------------------------


async def test_row_idle__five_minutes_without_progress_or_touch_stop(school: Studio) -> None:
    """A player that stands still by itself; watching quietly is activity."""
    lesson = await begun(school)
    quiet = await facts_of(lesson, Paused)
    await lesson.watch(400)
    assert await facts_of(lesson, Paused) == quiet
    lesson.media_ms -= 1  # from here on the medium does not move
    for _ in range(24):
        stood = lesson.media_ms
        await lesson.watch(15)
        lesson.media_ms = stood
    pauses = [p.reason for p in await facts_of(lesson, Paused)]
    assert PauseReason.IDLE in pauses


def test_row_daily_cap__eight_class_hours_of_a_shanghai_day_and_nothing_carried_over(
    tell: Tell, policy: Policy
) -> None:
    """A session across midnight: what the old day cannot take is lost, the new day begins."""
    assert policy.daily_cap_s == 8 * 2_700
    one = policy.daily_cap.model_copy(update={"class_hours": 1})
    low = policy.model_copy(update={"daily_cap": one})
    # The story begins at 16:00 in Shanghai; the lesson at 23:00, and it lasts two hours.
    story = tell(after=7 * 3_600).opened().frames(0, 7_200).closed(7_200)
    story.plays(0, 7_200).sample(*range(0, 7_201, 60))
    total = derive([story.given()], low, now=story.at(8_000))
    assert dict(total.days) == {date(2027, 1, 15): 2_700, date(2027, 1, 16): 2_700}
    (session,) = total.sessions
    capped = [(v.start, v.end) for v in session.void if v.reason == "daily_cap"]
    assert capped == [(story.at(2_700), story.at(3_600)), (story.at(6_300), story.at(7_200))]


def test_row_speed_and_seeking__no_faster_than_the_clock_and_no_second_twice(tell: Tell) -> None:
    """Two seconds of slack; a jump is void and over 30 s an anomaly; winding back repeats."""
    base = tell().opened().frames(0, 200).closed(200).sample(*range(0, 201, 20))
    fast = base.report(0, 0).report(20, 22.5).report(40, 60)
    assert {why for _, _, why in fast.void()} >= {"media_too_fast"}
    far = tell().opened().frames(0, 200).closed(200).sample(*range(0, 201, 20))
    far.report(0, 0).report(20, 20).report(40, 90).report(60, 110)
    assert len(far.credit().jumps) >= 1
    assert far.credited() == [(0, 20)]
    back = tell().opened().frames(0, 200).closed(200).sample(*range(0, 201, 20))
    back.report(0, 0).report(60, 60).report(60.001, 30).report(120, 90)
    assert back.credited()[-1][1] - 90 == pytest.approx(30, abs=0.1)


def test_row_speed_and_seeking__a_void_second_of_media_may_be_earned_again(tell: Tell) -> None:
    """What was played while nobody was seen counts when it is played again."""
    story = tell().opened().frames(0, 300).closed(300)
    story.sample(150, 180, 210, 240).plays(0, 100).plays(150, 250)
    assert story.credited() == [(150, 240)]


async def test_row_parallel_sessions__one_lease_and_the_older_holder_gets_a_conflict(
    school: Studio,
) -> None:
    """A second device is refused, takes over explicitly with a pass, and the first is told."""
    first = await begun(school)
    with pytest.raises(Conflict, match="another device"):
        await school.open()
    second = await school.open(take_over=True)
    await first.watch(5)
    assert (await first.view()).play, "to take over needs a pass"
    await second.watch(40)
    assert (await second.view()).play
    with pytest.raises(Conflict, match="another device"):
        await first.report()
    (ended,) = await facts_of(first, Closed)
    assert ended.reason is CloseReason.TAKEN_OVER
    lease = FOSHAN.lease
    assert (lease.heartbeat_s, lease.expiry_s) == (15, 120)


@pytest.mark.parametrize(
    ("gap_s", "fate"), [(20, "goes on"), (60, "paused"), (130, "closed")], ids=str
)
async def test_row_network_gap__tolerated_then_paused_then_closed(
    school: Studio, gap_s: int, fate: str
) -> None:
    """Up to 30 s the bracket goes on with a pass; to 120 s a check resumes; then it is over."""
    lesson = await begun(school)
    school.verifier.stream_of(lesson.id).owed = True
    await lesson.watch(gap_s, frames=False)
    if not await facts_of(lesson, Closed):
        school.verifier.stream_of(lesson.id).owed = True
        await lesson.watch(60)
    pauses = [p.reason for p in await facts_of(lesson, Paused)]
    closed = await facts_of(lesson, Closed)
    await lesson.close()
    seconds = await told(lesson)
    if fate == "goes on":
        assert (pauses, closed, seconds["void:network_gap"]) == ([], [], 0)
    elif fate == "paused":
        assert (pauses, closed) == ([PauseReason.NETWORK_GAP], [])
        assert seconds["void:network_gap"] >= gap_s
    else:
        assert [c.reason for c in closed] == [CloseReason.NETWORK_GAP]
        assert seconds["void:network_gap"] >= 120


async def test_row_service_fault__pending_until_somebody_reviews_and_never_void(
    school: Studio,
) -> None:
    """The verifier fails twice: paused, told, pending, and no certificate before a decision."""
    lesson = await begun(school)
    school.verifier.failures += [InferenceFailed("gone"), InferenceFailed("gone")]
    await lesson.watch(110, share=0)
    assert (await facts_of(lesson, SystemFault)) != []
    assert [p.reason for p in await facts_of(lesson, Paused)] == [PauseReason.SYSTEM_ERROR]
    await lesson.watch(60)
    await lesson.close()
    seconds = await told(lesson)
    assert seconds["pending:system_error"] > 0
    assert seconds["void:system_error"] == 0
    state = await school.service.course_credit(school.learner_id, school.policy.name)
    assert not state.credit.final


async def plays_on(lesson: Lesson, seconds: int) -> None:
    """A device that plays on, whatever it is told, and a learner who is seen all the time."""
    for step in range(seconds // 5):
        lesson.studio.clock.advance(5_000)
        await lesson.studio.service.settled()
        lesson.media_ms += 5_000 if lesson.playing else 0
        lesson.playing = True
        await lesson.studio.verifier.frame(lesson.id, identity=step % 3 == 0)
        await lesson.studio.service.settled()
        await lesson.report()


async def test_row_not_study_time__before_the_start_check_and_in_pauses_nothing_counts(
    attentive: Studio,
) -> None:
    """Though he is recognised all along, and the device plays on and says so."""
    lesson = await attentive.open()
    await plays_on(lesson, 90)
    stream = attentive.verifier.stream_of(lesson.id)
    stream.away = True
    await plays_on(lesson, 150)
    stream.away = False
    await plays_on(lesson, 90)
    await lesson.close()
    begins, again = [f.t for f in await facts_of(lesson, Resumed)]
    (pause,) = await facts_of(lesson, Paused)
    passes = [f.t for f in await facts_of(lesson, Identity)]
    assert min(passes) < begins, "he was recognised before the start check"
    assert any(pause.t < t < again for t in passes), "and while the player was to stand"
    credited = (await attentive.service.explain(lesson.id)).credit.credited
    assert all(i.start >= begins for i in credited)
    assert not [i for i in credited if i.start < again and i.end > pause.t]
    assert sum(i.end - i.start for i in credited if i.end <= pause.t) > 60_000
    assert sum(i.end - i.start for i in credited if i.start >= again) > 60_000


# --- time and repeats ---------------------------------------------------------------------------


async def test_row_clock__setting_the_wall_clock_moves_nothing_within_a_boot(
    school: Studio,
) -> None:
    """Durations come from the monotonic clock."""
    lesson = await begun(school)
    school.clock.set_wall(3_600_000)
    await lesson.watch(60)
    school.clock.set_wall(-7_200_000)
    await lesson.watch(60)
    await lesson.close()
    explained = await school.service.explain(lesson.id)
    assert explained.told.end - explained.told.start < 170_000
    assert (await told(lesson))["credited"] > 120


@pytest.mark.parametrize("step_s", [-3_600, -3, -1, 0, 3])
async def test_row_clock__a_step_across_boots_is_a_fault_of_ours(
    school: Studio, step_s: int
) -> None:
    """Set back by over 2 s the session ends, pending; otherwise it goes on after the fault."""
    lesson = await begun(school)
    await lesson.watch(30)
    school.clock.boot()
    school.clock.set_wall(step_s * 1_000)
    await school.restart()
    assert (await facts_of(lesson, SystemFault)) != []
    closed = await facts_of(lesson, Closed)
    if step_s < -2:
        assert [c.reason for c in closed] == [CloseReason.SYSTEM_ERROR]
        flags = [e["reason"] for e in await entries(lesson, "flag")]
        assert flags == ["clock_step"]
        assert (await told(lesson))["pending:system_error"] > 0
    else:
        assert closed == []


async def test_row_clock__the_clients_time_is_advisory_and_flagged_over_five_seconds(
    school: Studio,
) -> None:
    """An hour off, and nothing but a flag comes of it."""
    lesson = await begun(school)
    for skew_ms in (4_000, 3_600_000):
        lesson.seq += 1
        report = Report(
            seq=lesson.seq,
            media_id="lesson-1",
            media_ms=lesson.media_ms,
            playing=True,
            client_ms=school.clock.stamp().utc_ms + skew_ms,
        )
        await school.service.report(lesson.id, lesson.token, report)
    flags = await entries(lesson, "flag")
    assert [f["reason"] for f in flags] == ["client_skew"]
    assert flags[0]["data"]["skew_ms"] == pytest.approx(3_600_000, abs=10)


async def test_row_idempotency__a_repeat_gets_the_first_answer_another_body_a_conflict(
    school: Studio,
) -> None:
    """By session and `seq`; events of a stream and decisions count once, too."""
    lesson = await begun(school)
    report = Report(seq=90, media_id="lesson-1", media_ms=lesson.media_ms, playing=True)
    first = await school.service.report(lesson.id, lesson.token, report)
    await lesson.watch(10)
    assert await school.service.report(lesson.id, lesson.token, report) == first
    other = Report(seq=90, media_id="lesson-1", media_ms=lesson.media_ms + 1, playing=True)
    with pytest.raises(Conflict):
        await school.service.report(lesson.id, lesson.token, other)
    event = await school.verifier.frame(lesson.id, identity=True)
    size = len(await school.service.facts(lesson.id))
    await school.verifier.again(event)
    assert len(await school.service.facts(lesson.id)) == size
    with pytest.raises(Conflict, match="was taken before"):
        await school.verifier.again(replace(event, decision=Decision.MISMATCH))
    assert len(await school.service.facts(lesson.id)) == size


# --- people -------------------------------------------------------------------------------------


@pytest.mark.parametrize("provenance", sorted(SELF_MADE))
async def test_row_enrolment__a_selfie_is_provisional_until_it_is_confirmed(
    school: Studio, provenance: Provenance
) -> None:
    """Its credit counts and waits, also a photograph's; the confirmation settles it for good."""
    school.learner_id, school.consent_id = await school.enrol(provenance)
    lesson = await begun(school)
    await lesson.watch(120)
    await lesson.close()
    assert (await told(lesson))["pending:provisional"] > 100
    await school.service.confirm_template(school.learner_id, reason="seen at the counter")
    assert (await told(lesson))["credited"] > 100
    settled = await entries(lesson, "settled")
    assert [s["data"]["provisional"] for s in settled] == [True, False]


async def test_row_supervised__staff_answer_for_a_session_without_a_face(school: Studio) -> None:
    """The non-face route: evidence of its own type, no check, no absence."""
    lesson = await school.open()
    t = school.clock.stamp().utc_ms
    await school.service.casework.supervise(
        lesson.id, start=t, end=t + 900_000, actor="counter", reason="sits in the room 3"
    )
    school.verifier.show(lesson.id, None)
    await lesson.watch(300)
    assert await facts_of(lesson, Paused) == []
    credit = (await school.service.explain(lesson.id)).credit
    assert {str(i.evidence) for i in credit.credited} == {"supervised"}


async def test_row_high_risk_industries__are_refused_online_with_the_reason(
    school: Studio,
) -> None:
    """L21: coal mines and four others train offline only."""
    registry = school.service.registry
    learner = await registry.add_learner(
        category="principal", track=Training.INITIAL, industry="coal_mine", business_ref="b-9"
    )
    await registry.put_template(learner.id, b"opaque", Provenance.ID_PHOTO)
    consent = await registry.give_consent(learner.id, text_version="2026-11")
    school.learner_id, school.consent_id = learner.id, consent.id
    with pytest.raises(Refused, match="coal_mine"):
        await school.open()


# --- the formula and the rules of evidence ------------------------------------------------------


def test_row_bracket_rule__time_counts_between_passes_and_the_tail_waits(tell: Tell) -> None:
    """A pass is an instant; the tail is pending and void if no pass follows."""
    story = tell().opened().frames(0, 100).plays(0, 100).sample(10, 60)
    assert story.segments(now=90)[-1] == (60, 90, "pending:pending")
    assert story.credited(now=90) == [(10, 60)]


def test_row_stop_rule__credit_ends_at_the_pass_before_the_failure(tell: Tell) -> None:
    """Not at the failure; and 31 s without evidence are lost though a pass follows."""
    failed = tell().lesson(200).sample(10, 40, 130).check(60, 80, Outcome.MISMATCH)
    assert failed.credited() == [(10, 40)]
    blind = tell().lesson(200).sample(10, 40, 91).sample(60, outcome=Outcome.NO_EVIDENCE)
    assert (40, 91, "no_evidence") in blind.void()


def test_row_samples_suspect__checks_decide(tell: Tell) -> None:
    """A failed sample that a check on its own frames clears costs nothing."""
    cleared = tell().lesson(200).sample(10, 70, 100).sample(40, outcome=Outcome.MISMATCH)
    cleared.check(40, 52, cause=CheckCause.SUSPICION)
    assert cleared.credited() == [(10, 100)]
    older = tell().lesson(200).sample(10, 70, 100).sample(40, outcome=Outcome.MISMATCH)
    older.check(30, 52, cause=CheckCause.RANDOM)
    assert (10, 40) not in older.credited()
    assert all(b <= 40 or a >= 40 for a, b in older.credited())


async def test_row_session_states__only_move_forward(school: Studio) -> None:
    """Running and paused by turns; once ended, no fact of the lesson brings it to life again."""
    left = await begun(school)
    school.verifier.show(left.id, None)
    await left.watch(30)
    school.verifier.show(left.id, Decision.MATCH)
    await left.watch(60)
    await left.close()
    stopped = await begun(school)
    school.verifier.show(stopped.id, Decision.MISMATCH, new_track=False)
    await stopped.watch(240, share=1)
    await school.service.settled()
    ways = []
    for lesson in (left, stopped):
        facts = await school.service.facts(lesson.id)
        facts.sort(key=lambda f: (f.t, states.CAUSAL_ORDER.index(type(f))))
        machine, way = Machine(), [State.CREATED]
        for fact in facts:
            machine, _ = states.step(machine, fact, school.policy, school.draw)
            if machine.state is not way[-1]:
                way.append(machine.state)
            if machine.state not in ENDED:
                continue
            for late in facts:
                after, _ = states.step(machine, late, school.policy, school.draw)
                assert ENDED.index(after.state) >= ENDED.index(machine.state), late
        ways.append([str(state) for state in way])
    begins, ends = ["created", "awaiting_start_check", "running"], ["closed", "settled"]
    assert ways[0] == [*begins, "paused", "running", *ends]
    assert ways[1] == [*begins, "paused", "suspended", *ends]


async def test_row_segment_states__are_entries_of_the_ledger(school: Studio) -> None:
    """Each segment of a settled session, with its state, its reason and its facts."""
    lesson = await begun(school)
    await lesson.watch(60)
    await lesson.close()
    found = await entries(lesson, "segment")
    spans = (await school.service.explain(lesson.id)).told.spans
    assert [(e["data"]["start"], e["data"]["end"], e["reason"]) for e in found] == [
        (s.start, s.end, fate_of(s)) for s in spans
    ]
    assert all(e["policy"] and e["models"] and e["profile"] for e in found)


# --- what other rooms keep ----------------------------------------------------------------------


class Twins:
    """A comparer that takes everybody for the same person."""

    async def compare_templates(
        self, probe: SubjectTemplate, others: Sequence[SubjectTemplate]
    ) -> Comparison:
        """Find everybody alike."""
        alike = tuple(
            Likeness(subject=o.subject, similarity=0.7, threshold=0.4)
            for o in others
            if o.subject != probe.subject
        )
        return Comparison(alike=alike, compared=len(others), skipped=())


async def test_row_flagged_person__staff_confirm_him_and_it_is_recorded(school: Studio) -> None:
    """From then on his checks use the challenge; the ledger says who said so and why."""
    office = school.service.office
    assert not await office.needs_challenge(school.learner_id)
    await office.require_challenge(school.learner_id, actor="counter", reason="three times him")
    assert await office.needs_challenge(school.learner_id)
    found = await school.service.ledger.of_subject(school.learner_id)
    assert "challenge_route" in [e.kind for e in found]


async def test_row_flagged_person__his_checks_use_the_challenge(school: Studio) -> None:
    """His stream takes no passive vote, what comes at random is a challenge; after a crash, too."""
    await school.service.office.require_challenge(
        school.learner_id, actor="counter", reason="three times him"
    )
    school.draw = lambda: 0.1
    school.service._stage.turns._draw = school.draw
    lesson = await school.open()
    await lesson.watch(300, share=0)
    assert not school.verifier.stream_of(lesson.id).spec.policy.passive_vote
    asked = [e["data"] for e in await entries(lesson, "check_asked") if e["reason"] == "random"]
    assert asked
    assert all(data["turns"] for data in asked)
    await school.restart()
    assert school.service._stage.turns.sessions[lesson.id].policy.checks.challenge_share == 1.0


async def test_row_start_and_end_check__the_start_check_is_a_challenge(database_url: str) -> None:
    """Under the programme's own rules nothing runs before the turns were made as asked."""
    studio = Studio(database_url, policy=FOSHAN)
    await studio.start()
    lesson = await studio.open()
    studio.verifier.stream_of(lesson.id).obeys = False
    await lesson.watch(60)
    view = await lesson.view()
    assert (view.state, view.reason, view.play) == ("challenged", "challenge", False)
    studio.verifier.stream_of(lesson.id).obeys = True
    await lesson.watch(10)
    assert (await lesson.view()).play
    (shown,) = await facts_of(lesson, Challenged)
    (passed,) = [c for c in await facts_of(lesson, Check) if c.active]
    assert passed.asked == shown.t
    await studio.stop()


async def test_row_random_checks__one_in_four_is_a_challenge(database_url: str) -> None:
    """While it is shown the player stands, and the ledger holds what was asked and answered."""
    studio = Studio(database_url, policy=FOSHAN)
    studio.draw = lambda: 0.1
    studio.service = studio._service()
    await studio.start()
    assert FOSHAN.checks.challenge_share == 0.25
    lesson = await studio.open()
    await lesson.watch(300, share=0)
    asked = [e for e in await entries(lesson, "check_asked") if e["reason"] == "random"]
    shown = await facts_of(lesson, Challenged)
    assert len(shown) == 1 + len(asked) >= 2
    checks = [e["data"] for e in await entries(lesson, "check") if e["data"]["active"]]
    assert all(len(data["evidence"]["turns"]) >= 3 for data in checks)
    await studio.stop()


async def test_row_answer_window__an_unanswered_challenge_is_the_stop_rule(
    database_url: str,
) -> None:
    """Two windows of a minute without an answer: paused, void back to the last pass."""
    studio = Studio(database_url, policy=FOSHAN)
    studio.draw = lambda: 0.1
    studio.service = studio._service()
    await studio.start()
    lesson = await studio.open()
    await lesson.watch(40, share=0)
    studio.verifier.stream_of(lesson.id).obeys = False
    await lesson.watch(240, share=0)
    assert [c.outcome for c in await facts_of(lesson, Check) if c.active][1:2] == [
        Outcome.UNANSWERED
    ]
    assert [p.reason for p in await facts_of(lesson, Paused)] == [PauseReason.CHALLENGE]
    await lesson.close()
    assert (await told(lesson))["void:unanswered"] > 0
    await studio.stop()


async def test_row_one_face_several_accounts__a_hit_opens_a_review(database_url: str) -> None:
    """Within one business; what the face earns waits until people have decided."""
    assert FOSHAN.enrolment.compare_within_business
    studio = Studio(database_url, policy=load_policy("demo"), comparer=Twins())
    await studio.start()
    studio.learner_id, studio.consent_id = await studio.enrol()
    hits = await studio.service.casework.reviews.find(kind=ReviewKind.ENROLMENT_HIT)
    assert [h.learner_id for h in hits] == [studio.learner_id]
    lesson = await studio.open()
    await lesson.watch(120)
    await lesson.close()
    assert (await told(lesson))["pending:provisional"] > 60
    await studio.stop()


async def test_row_replay__the_same_bytes_are_no_second_sample() -> None:
    """A frozen stream is seen by its bytes; fingerprints are meant to be kept 90 days."""
    assert FOSHAN.retention.replay_fingerprint_days == 90

    async def process(arrival: Arrival) -> FrameReceipt:
        return line.became_sample(arrival, Advice.OK)

    async def confirm() -> None:
        pass

    line = Arrivals(process, confirm, StreamLimits())
    receipts = []
    for seq, data in enumerate((b"one", b"two", b"one"), start=1):
        at = Stamp(boot_id="b", monotonic_ms=seq * 5_000, utc_ms=1_800_000_000_000 + seq * 5_000)
        receipts.append(await line.push(seq, data, at))
    assert [r.accepted for r in receipts] == [True, True, False]
    assert receipts[-1].advice is Advice.DUPLICATE


async def test_row_appeal__within_fifteen_working_days_and_a_spoof_takes_two(
    school: Studio,
) -> None:
    """Answered in 2 h, decided in 3 working days; a spoof decision falls by two people."""
    appeal = FOSHAN.appeal
    assert (appeal.within_working_days, appeal.answer_within_h) == (15, 2)
    assert (appeal.decide_within_working_days, appeal.spoof_reviewers) == (3, 2)
    lesson = await begun(school)
    school.verifier.show(lesson.id, Decision.SPOOF, new_track=False)
    await lesson.watch(240, share=1)
    await school.service.settled()
    casework = school.service.casework
    (review,) = await casework.reviews.of_session(lesson.id)
    before = (await told(lesson))["granted"]
    await casework.decide(review.id, actor="li", ruling=Ruling.GRANTED, reason="it is him")
    assert (await told(lesson))["granted"] == before, "one is not enough"
    await casework.decide(review.id, actor="wu", ruling=Ruling.GRANTED, reason="it is him")
    assert (await told(lesson))["granted"] > before


def test_row_evidence_pictures__the_programme_asks_for_those_of_failures_only() -> None:
    """Until 30 days after the appeal window; the product's own default is none."""
    assert FOSHAN.evidence_pictures.store == "on_failure"
    assert FOSHAN.evidence_pictures.days_after_appeal == 30


def test_row_retention__three_years_of_records_and_no_video() -> None:
    """Templates until the end of the course and the appeal window; video never."""
    assert FOSHAN.retention.records_years == 3
    assert FOSHAN.retention.templates_until == "course_end_and_appeal"
    assert not [t for t in metadata.tables if "video" in t]


async def test_row_evidence_pictures__sealed_while_a_dispute_may_last(school: Studio) -> None:
    """Of failed checks only, their digest in the ledger; 30 days after the term they go."""
    lesson = await begun(school)
    school.verifier.show(lesson.id, Decision.MISMATCH, new_track=False)
    await lesson.watch(240, share=1)
    await school.service.settled()
    checks = [e["data"] for e in await entries(lesson, "check")]
    failed = [c for c in checks if c["outcome"] != "pass"]
    assert failed
    digest = hashlib.sha256(PICTURE).hexdigest()
    assert {c["evidence"]["picture_sha256"] for c in failed} == {digest}
    assert {c["evidence"]["picture_sha256"] for c in checks if c not in failed} == {""}
    casework = school.service.casework
    kept = await casework.pictures.of_session(lesson.id)
    assert len(kept) == len(failed)
    (closed,) = await facts_of(lesson, Closed)
    term = FOSHAN.appeal_until(closed.t)
    assert all(0 <= one.keep_until_ms - term - 30 * DAY_MS <= 4 * DAY_MS for one in kept)
    (review,) = await casework.reviews.of_session(lesson.id)
    await casework.decide(review.id, actor="li", ruling=Ruling.UPHELD, reason="not him")
    last = max(one.keep_until_ms for one in kept)
    school.clock.advance(min(one.keep_until_ms for one in kept) - closed.t - DAY_MS)
    await school.service.keep_house()
    assert await casework.pictures.of_session(lesson.id) == kept
    school.clock.advance(last - closed.t)
    await school.service.keep_house()
    assert await casework.pictures.of_session(lesson.id) == []


async def test_row_retention__records_go_after_three_years_and_the_ledger_says_so(
    school: Studio,
) -> None:
    """Every row under the pseudonym; the entries stay, intact, and one of them is the proof."""
    lesson = await begun(school)
    await lesson.close()
    school.clock.advance(3 * 365 * DAY_MS)
    await school.service.settled()
    await school.service.registry.template(school.learner_id)
    school.clock.advance(5 * DAY_MS)
    await school.service.settled()
    with pytest.raises(NotFound):
        await school.service.registry.template(school.learner_id)
    told = await school.service.ledger.of_subject(school.learner_id)
    (purged,) = [e.content for e in told if e.kind == "records_purged"]
    assert purged["reason"] == "records_kept_long_enough"
    assert purged["data"]["sessions"] == [lesson.id]
    assert (await school.service.audit()).intact


class Filming(StreamHub):
    """The verifier's own streams on drawn pictures, before a camera that films, or a film."""

    def __init__(self, studio: Studio) -> None:
        super().__init__(
            ScriptedEngine(),
            ScriptedVault(),
            studio.keyring,
            clock=studio.clock,
            draw=Random(5).random,
        )
        self.shot = 0
        self._grants: dict[str, tuple[StreamSpec, StreamGrant]] = {}
        self._seqs: Counter[str] = Counter()

    async def open_stream(self, spec: StreamSpec, *, listed: bool = False) -> StreamGrant:
        """Remember who sits there."""
        grant = await super().open_stream(spec, listed=listed)
        self._grants[spec.session_id] = (spec, grant)
        return grant

    async def frame(self, session_id: str, *, identity: bool = False) -> None:
        """Send the next picture, a new one or one from the film."""
        del identity  # the stream draws for itself
        spec, grant = self._grants[session_id]
        self.shot += 1
        self._seqs[grant.stream_id] += 1
        picture = scene(Person(who=spec.subject), shot=self.shot)
        seq = self._seqs[grant.stream_id]
        await self.push_frame(grant.stream_id, grant.client_token, seq=seq, data=picture)
        await self.settled()


async def test_row_replay__yesterdays_recording_earns_nothing(school: Studio) -> None:
    """Through the ledger: the same pictures next day are known, new ones of the same face count."""
    camera: Any = Filming(school)
    school.verifier = camera
    await school.service.stop()
    school.service = school._service()
    await school.service.start()
    registry, face = school.service.registry, f"template of {school.learner_id}".encode()
    await registry.put_template(school.learner_id, face, Provenance.ID_PHOTO)
    await school.service.office.approve(school.learner_id, actor="counter", reason="seen")
    credited = []
    for film in (0, 0, 1_000):
        camera.shot = film
        lesson = await school.open(media=f"lesson-{len(credited)}")
        await lesson.watch(300)
        await lesson.close()
        await school.service.settled()
        credited.append((await told(lesson))["credited"])
        checks = [e["data"]["evidence"] for e in await entries(lesson, "identity")]
        said = {reason for evidence in checks for reason in evidence["reasons"]}
        assert ("duplicate_frame" in said) is (len(credited) == 2)
        school.clock.advance(DAY_MS)
        await school.service.settled()
    assert credited[0] > 200
    assert credited[1] == 0
    assert credited[2] > 200
    assert (await school.service.audit()).intact
    await camera.aclose()


async def test_row_deletion__the_ledger_keeps_the_hours_and_no_face(school: Studio) -> None:
    """One call: the template is gone, the session has ended, the hours are still derived."""
    lesson = await begun(school)
    await lesson.watch(60, share=1)
    await school.service.erase_biometrics(school.learner_id)
    await school.service.settled()
    assert (await lesson.view()).state in ("closed", "settled")
    assert (await told(lesson))["credited"] >= 55
    assert (await school.service.registry.template(school.learner_id)).blob is None


async def test_row_ledger__append_only_canonical_and_under_a_signed_head(school: Studio) -> None:
    """Stored bytes are what is hashed; the database refuses to change them; the walk agrees."""
    lesson = await begun(school)
    await lesson.close()
    for entry in await school.service.ledger.of_subject(lesson.id):
        assert canonical_json(json.loads(entry.body)) == entry.body
    with pytest.raises(IntegrityError, match="append-only"):
        await school.service._database.write(
            lambda tx: tx.connection.execute(text("UPDATE ledger_entries SET kind = 'x'"))
        )
    await school.service.head()
    audit = await school.service.audit()
    assert audit.intact
    assert audit.heads > 0


async def test_row_certificate__at_the_target_with_nothing_pending_and_revocable(
    studio: Studio,
) -> None:
    """It comes by itself, has a number and a check code, and can be revoked for a reason."""
    lesson = await studio.open()
    await lesson.watch(600)
    view = await lesson.close()
    assert view.certificate is not None
    document = json.loads((await studio.service.certification.issued(view.certificate)).document)
    assert len(document["check_code"]) == 16
    state = await studio.service.course_credit(studio.learner_id, studio.policy.name)
    assert state.credit.final
    context = studio.service.context()
    revoked = await studio.service.certification.revoke(
        view.certificate, actor="course", reason="found by a spot check", context=context
    )
    assert revoked.revoked_reason == "found by a spot check"


@pytest.mark.parametrize("corrected", [False, True])
async def test_row_certificate__a_revoked_one_is_replaced_only_where_its_reason_says_so(
    studio: Studio, corrected: bool
) -> None:
    """A wrong name is put right by another paper; any other revocation is for good."""
    lesson = await studio.open()
    await lesson.watch(600)
    first = (await lesson.close()).certificate
    assert first is not None
    with pytest.raises(ProgrammeComplete):
        await studio.open()
    certification, context = studio.service.certification, studio.service.context()
    studio.clock.advance(1_000)
    reason = NAME_CORRECTED if corrected else "somebody else sat there"
    await certification.revoke(first, actor="course", reason=reason, context=context)
    await studio.service.confirm_template(studio.learner_id, reason="looked at again")
    state = await studio.service.course_credit(studio.learner_id, studio.policy.name)
    assert (state.certificate_number != first) is corrected
    issued = await certification.of_learner(studio.learner_id)
    assert [one.revoked_ms is None for one in issued] == [False, True][: len(issued)]
    assert len(issued) == 1 + corrected
    with pytest.raises(ProgrammeComplete):
        await studio.open()


async def test_row_next_course__a_corrected_name_postpones_nothing(studio: Studio) -> None:
    """The year counts from the first certificate that the hours bore, not from its next paper."""
    service, learner = studio.service, studio.learner_id
    lesson = await studio.open()
    await lesson.watch(600)
    first = (await lesson.close()).certificate
    assert first is not None
    studio.clock.advance(300 * DAY_MS)
    await service.settled()
    revoked = await service.revoke_certificate(first, actor="counter", reason=NAME_CORRECTED)
    held = (await service.course_credit(learner, "demo")).certificate_number
    assert (revoked.revoked_reason, held not in (None, first)) == (NAME_CORRECTED, True)
    studio.clock.advance(65 * DAY_MS)
    await service.settled()
    await service.registry.put_template(learner, b"opaque", Provenance.VETTED_LIVE)
    await service.office.approve(learner, actor="counter", reason="seen again")
    await (await studio.open()).close()
    course = (await service.course_credit(learner, "demo")).course
    assert (course.course, course.track) == (2, Training.REFRESHER)


async def test_row_next_course__a_refresher_a_year_after_the_certificate(studio: Studio) -> None:
    """Not a day before; then it begins at nothing, with the refresher's target."""
    service, learner = studio.service, studio.learner_id
    lesson = await studio.open()
    await lesson.watch(600)
    first = (await lesson.close()).certificate
    studio.clock.advance(364 * DAY_MS)
    await service.settled()  # the daily round has erased the face
    await service.registry.put_template(learner, b"opaque", Provenance.VETTED_LIVE)
    await service.office.approve(learner, actor="counter", reason="seen again")
    with pytest.raises(ProgrammeComplete) as refused:
        await studio.open()
    assert "may begin on 20" in refused.value.remedy
    studio.clock.advance(DAY_MS)
    await service.settled()
    lesson = await studio.open()
    state = await service.course_credit(learner, studio.policy.name)
    assert (state.course.course, state.course.track) == (2, Training.REFRESHER)
    assert (state.credit.credited_s, state.certificate_number) == (0, None)
    await lesson.watch(400)
    second = (await lesson.close()).certificate
    assert second not in (None, first)
    courses = {one.number: one.course for one in await service.certification.of_learner(learner)}
    assert courses == {first: 1, second: 2}
    assert [s.course.course for s in await service.all_credit(learner)] == [1, 2]


async def test_row_export__stands_alone_with_its_heads(school: Studio, tmp_path: Path) -> None:
    """JSON Lines whose signed heads bind every entry; whoever has the keys can check it."""
    lesson = await begun(school)
    await lesson.close()
    await school.service.head()
    file = tmp_path / "ledger.jsonl"
    with file.open("w", encoding="utf-8", newline="\n") as out:
        count = await export_ledger(school.service._database, out)
    audit = audit_export(file, school.keyring)
    assert (audit.entries, audit.intact) == (count, True)
    assert audit.heads > 0
