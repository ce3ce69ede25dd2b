"""Whole lessons through the service: facts, actions, settlements, leases, restarts, failures."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import text

from session_tracker.certificate import verify_certificate
from session_tracker.events import (
    Check,
    CheckCause,
    Closed,
    CloseReason,
    Identity,
    Outcome,
    Paused,
    PauseReason,
    Playback,
    Presence,
    Suspended,
    SystemFault,
    VoidReason,
)
from session_tracker.live import Report
from session_tracker.policy import Provenance, Training, load_policy
from session_tracker.refusals import ConsentWithdrawn, IndustryOfflineOnly
from session_tracker.store.writer import Transaction
from session_tracker.testing import Lesson, Studio
from verifier.errors import (
    BadRequest,
    ConfigurationError,
    Conflict,
    InferenceFailed,
    NotFound,
    Overloaded,
    StorageError,
    Unauthorised,
)
from verifier.types import Decision

pytestmark = pytest.mark.both_databases


async def facts(lesson: Lesson) -> list[Any]:
    """The lesson's facts, in order of time."""
    found: list[Any] = await lesson.studio.service.facts(lesson.id)
    return found


async def void_s(lesson: Lesson) -> dict[VoidReason, int]:
    """Uncredited seconds by reason."""
    _, state = await lesson.studio.service.session_credit(lesson.id)
    return state.of(lesson.id).in_seconds()[1]


async def ledger_kinds(lesson: Lesson) -> list[str]:
    """What the ledger holds of a session."""
    entries = await lesson.studio.service.ledger.of_subject(lesson.id)
    return [entry.kind for entry in entries]


async def lock_database(studio: Studio, *, locked: bool) -> None:
    """Let the database grow no further, or again."""

    async def job(tx: Transaction) -> None:
        if tx.connection.dialect.name == "postgresql":
            mode = "ONLY" if locked else "WRITE"
            await tx.connection.execute(
                text(f"SET SESSION CHARACTERISTICS AS TRANSACTION READ {mode}")
            )
            return
        pages = await tx.connection.scalar(text("PRAGMA page_count"))
        limit = pages if locked else 1_000_000
        await tx.connection.execute(text(f"PRAGMA max_page_count = {limit}"))

    await studio.service._database.write(job)


# --- the genuine learner ----------------------------------------------------------------------


async def test_a_genuine_lesson_is_credited_and_settled(studio: Studio) -> None:
    """The learner is credited all but the time before the start check and after the last pass."""
    lesson = await studio.open()
    await lesson.watch(300)
    view = await lesson.close()
    assert view.state == "settled"
    assert view.credited_s >= 265
    assert set(await void_s(lesson)) <= {
        VoidReason.BEFORE_FIRST_PASS,
        VoidReason.NOT_PLAYING,
        VoidReason.AFTER_LAST_PASS,
    }
    kinds = await ledger_kinds(lesson)
    assert kinds[:2] == ["session", "opened"]
    assert [kind for kind in kinds if kind != "segment"][-2:] == ["closed", "settled"]
    assert kinds[-2] == "segment"
    assert kinds.count("check") == kinds.count("check_asked") >= 2


async def test_the_settlement_accounts_for_every_millisecond(studio: Studio) -> None:
    """Credited and void intervals in the ledger cover the session without gap or overlap."""
    lesson = await studio.open()
    await lesson.watch(200)
    await lesson.close()
    entries = await studio.service.ledger.of_subject(lesson.id)
    data = json.loads(entries[-1].body)["data"]
    spans = sorted((i[0], i[1]) for i in (*data["credited"], *data["void"]))
    assert spans[0][0] == data["start"]
    assert spans[-1][1] == data["end"]
    assert all(end == start for (_, end), (start, _) in pairwise(spans))
    assert sum(data["days"].values()) == data["credited_ms"] > 0


async def test_every_entry_explains_itself(studio: Studio) -> None:
    """Entries of a session name policy, models and profile; verdicts carry whole millionths."""
    lesson = await studio.open()
    await lesson.watch(60)
    for entry in await studio.service.ledger.of_subject(lesson.id):
        assert entry.content["policy"] == "demo@3"
        assert entry.content["models"] == {"detector": "scripted@00", "embedder": "scripted@01"}
        assert entry.content["profile"] == "scripted-1"
        if entry.kind in ("identity", "check"):
            assert entry.content["data"]["evidence"]["similarity_millionths"] == 710_000


async def test_presence_is_one_run_and_outside_the_ledger(studio: Studio) -> None:
    """Frames of one track make one growing run, and no ledger entry each."""
    lesson = await studio.open()
    await lesson.watch(120, share=0)
    runs = [fact for fact in await facts(lesson) if isinstance(fact, Presence)]
    assert [(run.track, run.samples, run.end - run.t) for run in runs] == [(1, 24, 115_000)]
    assert "presence" not in await ledger_kinds(lesson)


async def test_a_session_stands_still_until_its_start_check(studio: Studio) -> None:
    """The player may not run before the start check has passed."""
    lesson = await studio.open()
    view = await lesson.view()
    assert (view.state, view.play, view.reason) == ("awaiting_start_check", False, "start_check")
    await lesson.watch(30)
    view = await lesson.view()
    assert (view.state, view.play, view.reason) == ("running", True, None)
    start = next(fact for fact in await facts(lesson) if isinstance(fact, Check))
    assert (start.cause, start.outcome) == (CheckCause.START, Outcome.PASS)


async def test_the_device_never_hears_of_checks(studio: Studio) -> None:
    """Nothing that the device sees differs while a check is on its way."""
    lesson = await studio.open()
    await lesson.watch(120)
    view = await lesson.view()
    asked = len(studio.verifier.checks)
    while len(studio.verifier.checks) == asked:
        before = await lesson.view()
        await lesson.watch(5, reports=False)
    after = await lesson.view()
    assert (before.state, before.reason, before.play) == (after.state, after.reason, after.play)
    assert {name for name in view.as_json() if "check" in name} == set()


# --- others in front of the camera ------------------------------------------------------------


async def test_an_impostor_gets_nothing(studio: Studio) -> None:
    """Another person from the beginning never passes the start check."""
    lesson = await studio.open()
    studio.verifier.show(lesson.id, Decision.MISMATCH)
    await lesson.watch(300)
    view = await lesson.close()
    assert view.credited_s == 0


async def test_a_swap_ends_credit_at_the_last_pass_before_it(studio: Studio) -> None:
    """From the swap on nothing is credited; twice confirmed, the session is suspended."""
    lesson = await studio.open()
    await lesson.watch(120)
    swapped = studio.service._stage.axis.now()
    studio.verifier.show(lesson.id, Decision.MISMATCH)
    await lesson.watch(300)
    found = await facts(lesson)
    assert any(isinstance(f, Paused) and f.reason is PauseReason.MISMATCH for f in found)
    assert any(isinstance(f, Suspended) for f in found)
    assert (await lesson.view()).state == "suspended"
    _, state = await studio.service.session_credit(lesson.id)
    assert all(i.end <= swapped for i in state.of(lesson.id).credited)
    assert VoidReason.MISMATCH in await void_s(lesson)


async def test_nobody_there_pauses_and_the_learner_resumes(studio: Studio) -> None:
    """Leaving the seat pauses the player; coming back lets it go on."""
    lesson = await studio.open()
    await lesson.watch(60)
    studio.verifier.show(lesson.id, None)
    await lesson.watch(30)
    view = await lesson.view()
    assert (view.state, view.reason, view.play) == ("paused", "absent", False)
    studio.verifier.show(lesson.id, Decision.MATCH)
    await lesson.watch(30)
    assert (await lesson.view()).play
    assert VoidReason.ABSENT in await void_s(lesson)


async def test_a_resume_makes_the_next_face_an_identity_sample(studio: Studio) -> None:
    """After a pause the verifier is told to look at identity first."""
    lesson = await studio.open()
    stream = studio.verifier.stream_of(lesson.id)
    await lesson.watch(10, share=0)
    assert not stream.owed
    stream.owed = False
    lesson_running = False
    while not lesson_running:
        studio.clock.advance(5_000)
        await studio.verifier.frame(lesson.id)
        await studio.service.settled()
        lesson_running = (await lesson.view()).play
    assert stream.owed


# --- events: repeats, order, holes ------------------------------------------------------------


async def test_an_event_given_again_changes_nothing(studio: Studio) -> None:
    """A verifier that did not hear the answer may repeat an event."""
    lesson = await studio.open()
    event = await studio.verifier.frame(lesson.id, identity=True)
    before = await facts(lesson)
    await studio.verifier.again(event)
    assert await facts(lesson) == before


async def test_an_event_out_of_turn_is_refused(studio: Studio) -> None:
    """A hole in the ids means a lost fact: the event is not taken."""
    lesson = await studio.open()
    await studio.verifier.frame(lesson.id)
    studio.verifier.stream_of(lesson.id).events += 1
    with pytest.raises(Conflict, match="came before"):
        await studio.verifier.frame(lesson.id)


async def test_an_event_of_a_stranger_is_refused(studio: Studio) -> None:
    """Events of sessions or streams that were never opened are not taken."""
    lesson = await studio.open()
    event = await studio.verifier.frame(lesson.id)
    with pytest.raises(NotFound):
        await studio.service.sink(replace(event, session_id="ses_unknown"))
    with pytest.raises(NotFound):
        await studio.service.sink(replace(event, stream_id="str_unknown", event_id=9))


async def test_late_events_of_an_ended_session_are_let_go(studio: Studio) -> None:
    """What arrives after the end changes nothing and holds nobody up."""
    lesson = await studio.open()
    await lesson.watch(60)
    event = await studio.verifier.frame(lesson.id)
    view = await lesson.close()
    await studio.service.sink(replace(event, event_id=event.event_id + 5))
    assert await lesson.view() == view


# --- playback ---------------------------------------------------------------------------------


def report(seq: int, media_ms: int = 0, **more: Any) -> Report:
    """A report of a running player."""
    return Report(seq=seq, media_id="lesson-1", media_ms=media_ms, playing=True, **more)


async def test_a_repeated_report_gets_the_first_answer(studio: Studio) -> None:
    """The same report again gets the same answer, however much has happened since."""
    lesson = await studio.open()
    first = await studio.service.report(lesson.id, lesson.token, report(1))
    await lesson.watch(60, reports=False)
    assert await studio.service.report(lesson.id, lesson.token, report(1)) == first
    assert (await lesson.view()).state == "running"


async def test_the_same_seq_with_another_body_is_a_conflict(studio: Studio) -> None:
    """A seq cannot be used for two different reports."""
    lesson = await studio.open()
    await studio.service.report(lesson.id, lesson.token, report(1))
    with pytest.raises(Conflict, match="seq 1"):
        await studio.service.report(lesson.id, lesson.token, report(1, 5_000))


async def test_two_identical_reports_at_once_count_once(studio: Studio) -> None:
    """Racing repeats leave one fact and get one answer."""
    lesson = await studio.open()
    answers = await asyncio.gather(
        *(studio.service.report(lesson.id, lesson.token, report(1)) for _ in range(8))
    )
    assert len(set(map(str, answers))) == 1
    assert sum(isinstance(fact, Playback) for fact in await facts(lesson)) == 1


async def test_a_report_that_was_overtaken_counts_for_nothing(studio: Studio) -> None:
    """A late report with a lower seq is acknowledged, and does not wind the medium back."""
    lesson = await studio.open()
    await lesson.watch(30)
    studio.clock.advance(1_000)
    await studio.service.report(lesson.id, lesson.token, report(50, 20_000))
    studio.clock.advance(1_000)
    await studio.service.report(lesson.id, lesson.token, report(49, 5_000))
    positions = [fact.media_ms for fact in await facts(lesson) if isinstance(fact, Playback)]
    assert positions[-1] == 20_000
    await studio.restart()
    assert [f.media_ms for f in await facts(lesson) if isinstance(f, Playback)] == positions


async def test_a_foreign_medium_is_refused(studio: Studio) -> None:
    """Only media that the session was opened for are played."""
    lesson = await studio.open()
    foreign = Report(seq=1, media_id="other", media_ms=0, playing=True)
    with pytest.raises(BadRequest, match="other"):
        await studio.service.report(lesson.id, lesson.token, foreign)


async def test_a_wrong_client_clock_is_flagged_once_and_moves_nothing(studio: Studio) -> None:
    """The device's clock is advisory: five hours off is an anomaly in the ledger, no more."""
    lesson = await studio.open()
    wrong = studio.clock.stamp().utc_ms + 5 * 3_600_000
    await studio.service.report(lesson.id, lesson.token, report(1, client_ms=wrong))
    await studio.service.report(lesson.id, lesson.token, report(2, client_ms=wrong))
    assert (await ledger_kinds(lesson)).count("flag") == 1
    played = [fact for fact in await facts(lesson) if isinstance(fact, Playback)]
    assert all(abs(fact.t - studio.service._stage.axis.now()) < 1_000 for fact in played)


async def test_heartbeats_stay_outside_the_ledger(studio: Studio) -> None:
    """A change of the player is an entry; its heartbeats are not."""
    lesson = await studio.open()
    await lesson.watch(300)
    kinds = await ledger_kinds(lesson)
    reports = sum(isinstance(fact, Playback) for fact in await facts(lesson))
    assert kinds.count("playback") == 2  # it stands still, it runs
    assert reports > 10


async def test_only_the_right_token_opens_a_session(studio: Studio) -> None:
    """Neither no token of ours nor another session's token is accepted."""
    lesson = await studio.open()
    with pytest.raises(Unauthorised):
        await studio.service.view(lesson.id, "sst_guess")
    with pytest.raises(NotFound):
        await studio.service.view("ses_unknown", lesson.token)


# --- admission --------------------------------------------------------------------------------


async def test_high_risk_industries_are_refused_with_the_reason(studio: Studio) -> None:
    """A miner trains offline only, and is told so."""
    registry = studio.service.registry
    miner = await registry.add_learner(
        category="principal", track=Training.INITIAL, industry="coal_mine", business_ref="b"
    )
    await registry.put_template(miner.id, b"blob", Provenance.ID_PHOTO)
    consent = await registry.give_consent(miner.id, text_version="1")
    with pytest.raises(IndustryOfflineOnly, match="coal_mine train offline"):
        await studio.service.openings.open_session(
            learner_id=miner.id, consent_id=consent.id, programme="demo", media=["m"]
        )


async def test_without_consent_nothing_opens(studio: Studio) -> None:
    """An unknown, a foreign or a withdrawn consent opens no session."""
    _, foreign = await studio.enrol()
    for consent in ("cns_unknown", foreign):
        with pytest.raises(NotFound, match="consent"):
            await studio.service.openings.open_session(
                learner_id=studio.learner_id, consent_id=consent, programme="demo", media=["m"]
            )
    lesson = await studio.open()
    await studio.service.withdraw_consent(studio.learner_id, studio.consent_id)
    await studio.service.settled()
    assert (await lesson.view()).state == "settled"
    with pytest.raises(ConsentWithdrawn, match="withdrawn"):
        await studio.open()


async def test_unknown_learners_programmes_and_faces(studio: Studio) -> None:
    """Each thing that is missing is named."""
    service = studio.service
    with pytest.raises(NotFound, match="no learner"):
        await service.openings.open_session(
            learner_id="lrn_x", consent_id="c", programme="demo", media=["m"]
        )
    with pytest.raises(NotFound, match="no programme"):
        await service.openings.open_session(
            learner_id=studio.learner_id,
            consent_id=studio.consent_id,
            programme="other",
            media=["m"],
        )
    await service.erase_biometrics(studio.learner_id)
    with pytest.raises(Conflict, match="No face is enrolled"):
        await studio.open()


async def test_erasing_leaves_no_template_and_keeps_the_hours(studio: Studio) -> None:
    """One call overwrites the biometrics; what was credited stays."""
    lesson = await studio.open()
    await lesson.watch(120)
    await lesson.close()
    credited = (await studio.service.course_credit(studio.learner_id, "demo")).credit.credited_s
    assert (await studio.service.erase_biometrics(studio.learner_id)).templates == 1
    template = await studio.service.registry.template(studio.learner_id)
    assert template.blob is None
    assert template.erased_ms is not None
    after = await studio.service.course_credit(studio.learner_id, "demo")
    assert after.credit.credited_s == credited > 0


async def test_changed_rules_need_a_new_version(studio: Studio) -> None:
    """A policy with other content under a known version is refused at the start."""
    changed = load_policy("demo").model_copy(update={"title": "Something else"})
    with pytest.raises(ConfigurationError, match="was changed"):
        await studio.service.registry.programmes.register([changed])


# --- leases -----------------------------------------------------------------------------------


async def test_a_second_device_is_refused(studio: Studio) -> None:
    """While one session lives, another is a conflict, which says how to take over."""
    await studio.open()
    with pytest.raises(Conflict, match="another device") as caught:
        await studio.open()
    assert "take_over" in caught.value.remedy


async def test_two_devices_racing_one_wins(studio: Studio) -> None:
    """Of sessions opened at the same moment exactly one exists afterwards."""
    results = await asyncio.gather(*(studio.open() for _ in range(5)), return_exceptions=True)
    won = [r for r in results if isinstance(r, Lesson)]
    lost = [r for r in results if isinstance(r, Conflict)]
    assert (len(won), len(lost)) == (1, 4)
    assert len(studio.verifier.streams) == 1


async def test_taking_over_needs_a_pass(studio: Studio) -> None:
    """The old session goes on until the new one has seen the learner; then it ends."""
    old = await studio.open()
    await old.watch(60)
    new = await studio.open(take_over=True)
    assert (await old.view()).play
    studio.verifier.show(new.id, Decision.MISMATCH)
    await new.watch(30)
    assert not any(isinstance(fact, Closed) for fact in await facts(old))
    studio.verifier.show(new.id, Decision.MATCH)
    await new.watch(120)
    assert (await new.view()).state == "running"
    closed = next(fact for fact in await facts(old) if isinstance(fact, Closed))
    assert closed.reason is CloseReason.TAKEN_OVER
    with pytest.raises(Conflict, match="another device by now"):
        await old.report()


async def test_an_expired_lease_is_free(studio: Studio) -> None:
    """A device that fell silent does not lock the learner out."""
    old = await studio.open()
    studio.clock.advance(121_000)
    await studio.service.settled()
    new = await studio.open()
    assert (await new.view()).state == "awaiting_start_check"
    await studio.service.settled()
    closed = next(fact for fact in await facts(old) if isinstance(fact, Closed))
    assert closed.reason is CloseReason.EXPIRED


# --- failures ---------------------------------------------------------------------------------


async def test_what_cannot_be_stored_is_not_acknowledged_and_comes_again(studio: Studio) -> None:
    """On a full disk the event is refused; given again later it counts once."""
    lesson = await studio.open()
    await lesson.watch(60)
    before = await facts(lesson)
    await lock_database(studio, locked=True)

    async def until_it_is_full() -> None:
        for _ in range(2_000):
            studio.clock.advance(1_000)
            await studio.verifier.frame(lesson.id, identity=True)

    with pytest.raises(StorageError):
        await until_it_is_full()
    await lock_database(studio, locked=False)
    taken = [f for f in await facts(lesson) if isinstance(f, Identity)]
    again = await studio.verifier.frame(lesson.id, identity=True)
    after = [f for f in await facts(lesson) if isinstance(f, Identity)]
    assert len(after) == len(taken) + 1
    assert after[-1].key == f"identity:1:{again.event_id}"
    assert len(before) <= len(await facts(lesson))
    assert (await studio.service.audit()).intact


async def test_a_verifier_that_fails_once_is_asked_again(studio: Studio) -> None:
    """One failed inference costs the learner nothing."""
    lesson = await studio.open()
    studio.verifier.failures.append(InferenceFailed())
    await lesson.watch(60)
    assert (await lesson.view()).play
    assert not any(isinstance(fact, SystemFault) for fact in await facts(lesson))


async def test_a_jam_of_the_verifier_stops_no_lesson(studio: Studio) -> None:
    """Where its queue has no room the check waits for some, and nobody is at fault."""
    lesson = await studio.open()
    await lesson.watch(60)
    jam = [Overloaded(retry_after_s=1) for _ in range(3)]
    studio.verifier.failures += jam
    for _ in range(200):
        await lesson.watch(5)
        if not studio.verifier.failures:
            break
    assert not studio.verifier.failures
    await lesson.watch(60)
    assert (await lesson.view()).play
    assert not any(isinstance(fact, SystemFault) for fact in await facts(lesson))


async def test_a_jam_without_an_end_is_our_fault(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue that stays full is a service that fails: pending, and a review."""
    monkeypatch.setattr("session_tracker.asking._PATIENCE_S", 1.5)
    lesson = await studio.open()
    await lesson.watch(60)
    studio.verifier.failures += [Overloaded(retry_after_s=1) for _ in range(3)]
    for _ in range(200):
        await lesson.watch(5)
        if not studio.verifier.failures:
            break
    assert any(isinstance(fact, SystemFault) for fact in await facts(lesson))


async def test_a_verifier_that_keeps_failing_is_our_fault_not_the_learners(
    studio: Studio,
) -> None:
    """The player pauses with the reason; the time is pending, not void, and it goes on later."""
    lesson = await studio.open()
    await lesson.watch(60)
    studio.verifier.failures += [InferenceFailed() for _ in range(2)]
    for _ in range(200):
        await lesson.watch(5)
        if not studio.verifier.failures:
            break
    assert any(isinstance(fact, SystemFault) for fact in await facts(lesson))
    assert any(
        isinstance(f, Paused) and f.reason is PauseReason.SYSTEM_ERROR for f in await facts(lesson)
    )
    await lesson.watch(60)
    assert (await lesson.view()).play
    _, state = await studio.service.session_credit(lesson.id)
    assert state.credit.pending_ms > 0


async def test_a_silent_network_closes_at_the_last_pass(studio: Studio) -> None:
    """Without frames the session pauses, then ends; nothing after the last pass is credited."""
    lesson = await studio.open()
    await lesson.watch(120)
    last_frame = studio.service._stage.axis.now()
    await lesson.watch(60, frames=False)
    assert (await lesson.view()).reason == "network_gap"
    await lesson.watch(120, frames=False)
    assert (await lesson.view()).state == "settled"
    _, state = await studio.service.session_credit(lesson.id)
    assert all(i.end <= last_frame for i in state.of(lesson.id).credited)


# --- restarts ---------------------------------------------------------------------------------


async def test_a_restart_loses_no_fact_and_the_lesson_goes_on(studio: Studio) -> None:
    """After a restart the same facts are there; a new stream lets the learner go on."""
    lesson = await studio.open()
    await lesson.watch(120)
    before = await facts(lesson)
    await studio.restart()
    after = await facts(lesson)
    assert [f for f in after if f in before] == before
    assert any(isinstance(fact, SystemFault) for fact in after)
    view = await lesson.view()
    assert (view.state, view.reason) == ("paused", "system_error")
    await studio.service.openings.reopen_stream(lesson.id, lesson.token)
    await lesson.watch(120)
    view = await lesson.view()
    assert view.play
    tracks = [f.track for f in await facts(lesson) if isinstance(f, Presence) and f.track]
    assert tracks == sorted(set(tracks))
    assert (await studio.service.audit()).intact


async def test_another_stream_of_a_session_takes_over_from_the_one_before(studio: Studio) -> None:
    """Who sends on that is told so, and stays away; at the end of a session nothing takes over."""
    lesson = await studio.open()
    first = lesson.opened.grant.stream_id
    second = await studio.service.openings.reopen_stream(lesson.id, lesson.token)
    assert studio.verifier.closed == {first: True}
    await lesson.watch(60)
    assert (await lesson.view()).play
    await lesson.close()
    assert studio.verifier.closed == {first: True, second.stream_id: False}


async def test_only_checks_that_the_learner_waits_for_are_awaited(studio: Studio) -> None:
    """After a pause and at the end; none that comes in silence."""
    lesson, checks = await studio.open(), studio.verifier.checks
    await lesson.watch(60)
    while not checks:
        await lesson.watch(5)
    assert not any(check.awaited for check in checks)
    await lesson.watch(40, frames=False)
    assert (await lesson.view()).reason == "network_gap"
    before = len(checks)
    await lesson.watch(60)
    assert (await lesson.view()).play
    assert checks[before].awaited is True
    before = len(checks)
    await lesson.close()
    assert [check.awaited for check in checks[before:]] == [True]


async def test_a_restart_after_two_minutes_ends_the_session(studio: Studio) -> None:
    """Whoever does not come back in time is settled at the last pass."""
    lesson = await studio.open()
    await lesson.watch(120)
    await studio.service.stop()
    studio.clock.advance(180_000)
    studio.service = studio._service()
    await studio.service.start()
    await studio.service.settled()
    view = await lesson.view()
    assert view.state == "settled"
    assert view.credited_s > 60


async def test_rebuilding_gives_the_same_session(studio: Studio) -> None:
    """Facts, tracks, runs, answers and checks on their way come back as they were."""
    lesson = await studio.open()
    await lesson.watch(200)
    service = studio.service
    live = service._stage.turns.sessions[lesson.id]
    was = (dict(live.facts), live.run, live.runs, dict(live.answers), live.top_track, live.streams)
    state, reason = live.machine.state, live.machine.pause_reason
    live.stale = True
    async with service._stage.turns.fresh(live):
        pass
    now = (dict(live.facts), live.run, live.runs, dict(live.answers), live.top_track, live.streams)
    assert now == was
    assert (live.machine.state, live.machine.pause_reason) == (state, reason)


# --- certificates -----------------------------------------------------------------------------


async def test_the_certificate_comes_by_itself_and_once(studio: Studio) -> None:
    """At the target the certificate is issued, it verifies offline, and the course is over."""
    first = await studio.open()
    await first.watch(300)
    await first.close()
    assert (
        await studio.service.course_credit(studio.learner_id, "demo")
    ).certificate_number is None
    second = await studio.open(media="lesson-2")
    await second.watch(300)
    view = await second.close()
    assert view.certificate is not None
    issued = await studio.service.certification.issued(view.certificate)
    checked = verify_certificate(issued.document, studio.keyring)
    assert checked.credited_s == view.course_credited_s >= 480
    assert checked.sessions == 2
    with pytest.raises(Conflict, match="complete"):
        await studio.open()
    assert (await studio.service.audit()).intact


async def test_provisional_hours_wait_for_the_confirmation(database_url: str) -> None:
    """Under a first-use selfie no certificate comes; after the confirmation it does."""
    studio = Studio(database_url, policy=load_policy("demo"))
    await studio.start(provenance=Provenance.SELF_LIVE)
    lesson = await studio.open()
    await lesson.watch(600)
    view = await lesson.close()
    assert view.certificate is None
    state = await studio.service.course_credit(studio.learner_id, "demo")
    assert state.credit.provisional_s == state.credit.credited_s > 480
    await studio.service.confirm_template(studio.learner_id, reason="seen at the counter")
    state = await studio.service.course_credit(studio.learner_id, "demo")
    assert state.credit.provisional_s == 0
    assert state.certificate_number is not None
    await studio.stop()


async def test_the_same_medium_counts_once(studio: Studio) -> None:
    """Watching the same lesson again earns nothing."""
    first = await studio.open()
    await first.watch(200)
    await first.close()
    again = await studio.open()
    await again.watch(150)
    view = await again.close()
    assert view.credited_s < 30
    assert VoidReason.MEDIA_REPEATED in await void_s(again)


@pytest.mark.parametrize("reported", [True, False], ids=["ended by hand", "cut off"])
async def test_what_follows_a_session_that_ended_between_reports_is_credited(
    studio: Studio, reported: bool
) -> None:
    """It ends ten seconds after a report; the next one begins where we say, and counts."""
    first = await studio.open()
    await first.watch(120)
    await first.report()
    await first.watch(10, reports=False)
    assert first.playing
    if reported:
        first.playing = False
        await first.report()
    await first.close()
    state = await studio.service.course_credit(studio.learner_id, "demo")
    reach = state.credit.reach["lesson-1"]
    assert first.media_ms - reach == pytest.approx(0 if reported else 10_000, abs=10)
    second = await studio.open()
    second.media_ms = min(first.media_ms, reach)
    await second.watch(120)
    view = await second.close()
    assert view.credited_s >= 80
    assert VoidReason.MEDIA_TOO_FAST not in await void_s(second)


# --- what the store refuses once is done later ------------------------------------------------


def refuse_once(monkeypatch: pytest.MonkeyPatch, place: object, name: str) -> list[int]:
    """Make the next call of an async method fail as a full disk does; counts the calls."""
    real, calls = getattr(place, name), [0]

    async def first_refused(*args: Any, **more: Any) -> Any:
        calls[0] += 1
        if calls[0] == 1:
            raise StorageError("disk full")
        return await real(*args, **more)

    monkeypatch.setattr(place, name, first_refused)
    return calls


@pytest.mark.parametrize(
    ("place", "name"), [("settlement", "evidence_digest"), ("certification", "certify")]
)
async def test_a_settlement_that_failed_is_tried_again(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, place: str, name: str
) -> None:
    """A session closes and its settlement, or its certificate, is refused once: it comes later."""
    lesson = await studio.open()
    await lesson.watch(600)
    calls = refuse_once(monkeypatch, getattr(studio.service._stage, place), name)
    await lesson.watch(200, frames=False)
    for _ in range(3):
        studio.clock.advance(5_000)
        await studio.service.settled()
    assert calls[0] >= 2
    assert "settled" in await ledger_kinds(lesson)
    state = await studio.service.course_credit(studio.learner_id, "demo")
    assert state.certificate_number is not None


async def test_the_end_after_a_take_over_is_tried_again(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session that was taken over ends, though the store refused its end once."""
    old = await studio.open()
    await old.watch(60)
    new = await studio.open(take_over=True)
    calls = refuse_once(monkeypatch, studio.service._stage, "end")
    await new.watch(60)
    assert calls[0] >= 2
    assert (await old.view()).state == "settled"


async def test_a_session_that_cannot_be_ended_holds_up_no_other(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Consent withdrawn: every session ends, one of them later, and the caller is told."""
    first = await studio.open()
    await first.watch(60)
    second = await studio.open(take_over=True)
    refuse_once(monkeypatch, studio.service._stage, "end")
    with pytest.raises(StorageError, match="1 sessions could not be ended yet"):
        await studio.service.withdraw_consent(studio.learner_id, studio.consent_id)
    await studio.service.settled()
    for lesson in (first, second):
        assert (await lesson.view()).state == "settled"


# --- signed heads ------------------------------------------------------------------------------


async def test_no_entry_waits_longer_than_a_day_for_a_signed_head(studio: Studio) -> None:
    """A head that was asked for puts the daily one off by less than a day."""
    hour = 3_600_000
    await studio.service.settled()
    studio.clock.advance(23 * hour)
    await studio.enrol()
    asked = await studio.service.head()
    studio.clock.advance(hour)
    await studio.enrol()
    await studio.service.settled()
    assert await studio.service.ledger.newest_head() == asked
    studio.clock.advance(23 * hour)
    await studio.service.settled()
    newest = await studio.service.ledger.newest_head()
    assert newest is not None
    assert newest.size == await studio.service.ledger.size() > asked.size
