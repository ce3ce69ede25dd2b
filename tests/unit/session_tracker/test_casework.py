"""Reviews through the whole tracker: opened, appealed, decided; credit follows by derivation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import pytest
import pytest_asyncio

from session_tracker.casework import ENDED
from session_tracker.credit import EvidenceType
from session_tracker.events import (
    CloseReason,
    Granted,
    PauseReason,
    Supervised,
    Suspended,
    Upheld,
)
from session_tracker.live import Report
from session_tracker.office import Office, OfflineHours
from session_tracker.openings import OpenedSupervised
from session_tracker.policy import Provenance, Training, load_policy
from session_tracker.records import RegistrationState
from session_tracker.refusals import EnrolmentRefused, FaceWaits
from session_tracker.review import Review, ReviewKind, ReviewState, Ruling
from session_tracker.reviews import MOST_OPEN_APPEALS
from session_tracker.segments import SegmentState
from session_tracker.testing import PICTURE, Lesson, Studio
from session_tracker.views import SessionView
from verifier.errors import BadRequest, Conflict, NotFound, Refused, StorageError
from verifier.types import Comparison, Decision, Likeness, SubjectTemplate

pytestmark = pytest.mark.both_databases

DAY = 86_400_000


class Twins:
    """A comparer by whom every template looks like those it was told."""

    def __init__(self) -> None:
        self.alike: set[str] = set()
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    async def compare_templates(
        self, probe: SubjectTemplate, others: Sequence[SubjectTemplate]
    ) -> Comparison:
        """Name those it was told of."""
        self.asked.append((probe.subject, tuple(o.subject for o in others)))
        assert all(other.template == b"opaque" for other in (probe, *others))
        found = tuple(
            Likeness(subject=o.subject, similarity=0.7, threshold=0.4)
            for o in others
            if o.subject in self.alike
        )
        return Comparison(alike=found, compared=len(others), skipped=())


@pytest.fixture
def twins() -> Twins:
    """Nobody looks like anybody yet."""
    return Twins()


@pytest_asyncio.fixture
async def studio(database_url: str, twins: Twins) -> AsyncIterator[Studio]:
    """A tracker that compares faces."""
    made = Studio(database_url, policy=load_policy("demo"), comparer=twins)
    await made.start()
    yield made
    await made.stop()


async def suspended(studio: Studio, shows: Decision) -> Lesson:
    """Play a lesson in which the learner is there, and then somebody or something else."""
    lesson = await studio.open()
    await lesson.watch(120)
    studio.verifier.show(lesson.id, shows)
    await lesson.watch(600)
    await studio.service.settled()
    assert (await lesson.view()).state == "suspended"
    return lesson


async def only_review(studio: Studio, lesson: Lesson) -> Review:
    """Give the one review about a lesson."""
    (found,) = await studio.service.casework.reviews.of_session(lesson.id)
    return found


async def credited(studio: Studio) -> int:
    """Derive what the learner has, in seconds."""
    return (await studio.service.course_credit(studio.learner_id, "demo")).credit.credited_s


# --- reviews by rule ---------------------------------------------------------------------------


async def test_a_suspension_opens_a_review_and_a_grant_is_a_fact(studio: Studio) -> None:
    """The rules ask once; what is granted counts, and the ledger has every step."""
    lesson = await suspended(studio, Decision.MISMATCH)
    review = await only_review(studio, lesson)
    assert (review.kind, review.state, review.spoof) == (
        ReviewKind.SUSPENSION,
        ReviewState.OPEN,
        False,
    )
    before = await credited(studio)
    states = {s.state for s in (await studio.service.explain(lesson.id)).told.spans}
    assert SegmentState.DISPUTED in states
    decided = await studio.service.casework.decide(
        review.id, actor="li", ruling=Ruling.GRANTED, reason="it is him"
    )
    assert decided.state is ReviewState.DECIDED
    facts = await studio.service.facts(lesson.id)
    assert [f.key for f in facts if isinstance(f, Granted)] == [f"granted:{review.id}"]
    assert await credited(studio) > before
    kinds = [e.kind for e in await studio.service.ledger.of_subject(lesson.id)]
    assert [k for k in kinds if k.startswith("review")] == ["review_opened", "review_vote"]
    assert (await studio.service.audit()).intact
    with pytest.raises(Conflict, match="not reopened"):
        await studio.service.casework.decide(
            review.id, actor="wu", ruling=Ruling.UPHELD, reason="no"
        )


async def test_upholding_changes_no_credit_and_says_so(studio: Studio) -> None:
    """What was void stays void, as upheld."""
    lesson = await suspended(studio, Decision.MISMATCH)
    review = await only_review(studio, lesson)
    before = await credited(studio)
    await studio.service.casework.decide(
        review.id, actor="li", ruling=Ruling.UPHELD, reason="somebody else"
    )
    assert await credited(studio) == before
    told = (await studio.service.explain(lesson.id)).told
    assert SegmentState.UPHELD in {s.state for s in told.spans}
    assert SegmentState.DISPUTED not in {s.state for s in told.spans}


async def test_a_part_may_be_granted_and_the_rest_is_upheld(studio: Studio) -> None:
    """Granted and upheld together are the whole interval."""
    lesson = await suspended(studio, Decision.MISMATCH)
    review = await only_review(studio, lesson)
    assert review.start is not None
    assert review.end is not None
    middle = (review.start + review.end) // 2
    await studio.service.casework.decide(
        review.id, actor="li", ruling=Ruling.GRANTED, reason="until then", end=middle
    )
    facts = await studio.service.facts(lesson.id)
    spans = [(f.t, f.end) for f in facts if isinstance(f, Granted | Upheld)]
    assert sorted(spans) == [(review.start, middle), (middle, review.end)]


async def test_a_spoof_decision_falls_by_two_people_only(studio: Studio) -> None:
    """One reviewer changes nothing, the same one again is refused, the second makes it count."""
    lesson = await suspended(studio, Decision.SPOOF)
    review = await only_review(studio, lesson)
    assert review.spoof
    before = await credited(studio)
    decide = studio.service.casework.decide
    first = await decide(review.id, actor="li", ruling=Ruling.GRANTED, reason="it is him")
    assert first.state is ReviewState.SECOND_NEEDED
    assert await credited(studio) == before
    with pytest.raises(Refused, match="second person"):
        await decide(review.id, actor="li", ruling=Ruling.GRANTED, reason="it is him")
    await decide(review.id, actor="wu", ruling=Ruling.GRANTED, reason="so it is")
    assert await credited(studio) > before


async def test_a_decision_that_a_crash_interrupted_is_carried_out(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stored, not carried out, killed: the next start carries it out, once."""
    lesson = await suspended(studio, Decision.MISMATCH)
    review = await only_review(studio, lesson)
    casework = studio.service.casework

    async def killed(_: Review) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(casework, "_carry_out", killed)
    with pytest.raises(KeyboardInterrupt):
        await casework.decide(review.id, actor="li", ruling=Ruling.GRANTED, reason="him")
    before = await credited(studio)
    await studio.restart()
    assert await credited(studio) > before
    assert await studio.service.casework.reviews.unapplied() == []


def fail_once(monkeypatch: pytest.MonkeyPatch, place: object, name: str) -> None:
    """Make the next call of an async method fail as a full disk does."""
    real = getattr(place, name)

    async def refused(*args: Any, **more: Any) -> Any:
        monkeypatch.setattr(place, name, real)
        raise StorageError("disk full")

    monkeypatch.setattr(place, name, refused)


async def test_a_decision_that_the_store_refuses_at_first_is_carried_out_later(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands as soon as it is stored; the learner waits seconds, not for a restart."""
    lesson = await suspended(studio, Decision.MISMATCH)
    review = await only_review(studio, lesson)
    casework, before = studio.service.casework, await credited(studio)
    fail_once(monkeypatch, studio.service._stage, "decide")
    decided = await casework.decide(review.id, actor="li", ruling=Ruling.GRANTED, reason="him")
    assert decided.state is ReviewState.DECIDED
    await studio.service.settled()
    assert await credited(studio) > before
    assert await casework.reviews.unapplied() == []


async def test_a_proven_proxy_is_not_certified_meanwhile(
    studio: Studio, twins: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    """His face was found out, but cannot be refused yet: what it earned waits, and then is void."""
    service = studio.service
    twins.alike.add(studio.learner_id)
    studio.learner_id, studio.consent_id = await studio.enrol()
    lesson = await studio.open()
    await lesson.watch(600)
    await lesson.close()
    (review,) = await service.casework.reviews.find(kind=ReviewKind.ENROLMENT_HIT)
    real = service.office.refuse_face
    monkeypatch.setattr(service.office, "refuse_face", full)
    await service.casework.decide(review.id, actor="li", ruling=Ruling.UPHELD, reason="his face")
    for _ in range(3):
        await service._stage.grading.grade_all(studio.learner_id)
        course = await service.course_credit(studio.learner_id, "demo")
        assert course.certificate_number is None
        assert course.credit.provisional_s == course.credit.credited_s > 480
        studio.clock.advance(6_000)
        await service.settled()
    monkeypatch.setattr(service.office, "refuse_face", real)
    studio.clock.advance(6_000)
    await service.settled()
    assert await credited(studio) == 0
    assert await service.casework.reviews.unapplied() == []
    assert (await service.certification.of_learner(studio.learner_id)) == ()


async def full(*_: Any, **__: Any) -> Any:
    """What a full disk says."""
    raise StorageError("disk full")


# --- pictures ----------------------------------------------------------------------------------


async def test_pictures_of_failed_checks_are_kept_sealed_and_not_for_long(
    studio: Studio, database_url: str
) -> None:
    """For reviewers while the dispute may last; undecided they stay, decided they go in time."""
    lesson = await suspended(studio, Decision.MISMATCH)
    casework = studio.service.casework
    kept = await casework.pictures.of_session(lesson.id)
    facts = {f.key: f for f in await studio.service.facts(lesson.id)}
    assert kept
    assert all(getattr(facts[one.fact_key], "outcome", None) == "mismatch" for one in kept)
    assert await casework.pictures.open(lesson.id, kept[0].fact_key) == PICTURE
    with pytest.raises(NotFound):
        await casework.pictures.open(lesson.id, "check:none")
    review = await only_review(studio, lesson)
    studio.clock.advance(90 * DAY)
    await studio.service.settled()  # the daily round has come by itself, and comes no more
    await studio.service.keep_house()
    assert len(await casework.pictures.of_session(lesson.id)) == len(kept)
    await casework.decide(review.id, actor="li", ruling=Ruling.UPHELD, reason="no")
    assert (await studio.service.keep_house()).pictures == len(kept)
    assert await casework.pictures.of_session(lesson.id) == []


async def test_a_policy_without_pictures_asks_for_none(database_url: str) -> None:
    """`none`: the verifier is not asked, and what came nevertheless is not stored."""
    policy = load_policy("demo")
    pictures = policy.evidence_pictures.model_copy(update={"store": "none"})
    studio = Studio(database_url, policy=policy.model_copy(update={"evidence_pictures": pictures}))
    await studio.start()
    lesson = await suspended(studio, Decision.MISMATCH)
    assert not studio.verifier.specs[-1].policy.pictures
    assert await studio.service.casework.pictures.of_session(lesson.id) == []
    await studio.stop()


# --- appeals -----------------------------------------------------------------------------------


async def test_an_appeal_is_heard_by_somebody_else(studio: Studio) -> None:
    """After a decision the learner may appeal once; who decided before does not decide it."""
    lesson = await suspended(studio, Decision.MISMATCH)
    review = await only_review(studio, lesson)
    casework = studio.service.casework
    await casework.decide(review.id, actor="li", ruling=Ruling.UPHELD, reason="no")
    assert review.start is not None
    assert review.end is not None
    appeal = await casework.appeal(
        studio.learner_id, lesson.id, start=review.start, end=review.end, text="我一直在"
    )
    assert (appeal.kind, appeal.opened_by) == (ReviewKind.APPEAL, "learner")
    with pytest.raises(Conflict, match="already"):
        await casework.appeal(
            studio.learner_id, lesson.id, start=review.start, end=review.end, text="again"
        )
    answered = await casework.answer(appeal.id, actor="li", text="we look at it")
    assert answered.state is ReviewState.ANSWERED
    with pytest.raises(Conflict, match="answered already"):
        await casework.answer(appeal.id, actor="li", text="again")
    with pytest.raises(Refused, match="his own decision"):
        await casework.decide(appeal.id, actor="li", ruling=Ruling.GRANTED, reason="well")
    before = await credited(studio)
    await casework.decide(appeal.id, actor="wu", ruling=Ruling.GRANTED, reason="he was there")
    assert await credited(studio) > before
    words = await casework.reviews.words(await casework.reviews.get(appeal.id))
    assert (words.statement, words.answer, words.reasons) == (
        "我一直在",
        "we look at it",
        ("he was there",),
    )


async def test_appeals_have_a_term_and_an_owner(studio: Studio) -> None:
    """Not while it runs, not outside of it, not by others, not after fifteen working days."""
    casework, mine = studio.service.casework, studio.learner_id
    lesson = await studio.open()
    await lesson.watch(60)
    began = studio.clock.stamp().utc_ms
    with pytest.raises(Conflict, match="still runs"):
        await casework.appeal(mine, lesson.id, start=began - 30_000, end=began, text="x")
    await lesson.close()
    with pytest.raises(NotFound):
        await casework.appeal("lrn_x", lesson.id, start=began - 30_000, end=began, text="x")
    with pytest.raises(BadRequest):
        await casework.appeal(mine, lesson.id, start=began, end=began + DAY, text="x")
    studio.clock.advance(25 * DAY)
    with pytest.raises(Refused, match="term"):
        await casework.appeal(mine, lesson.id, start=began - 30_000, end=began, text="x")


async def ended(studio: Studio) -> tuple[Lesson, int]:
    """A lesson that is over, and when it began."""
    lesson = await studio.open()
    began = studio.clock.stamp().utc_ms
    await lesson.watch(120)
    await lesson.close()
    return lesson, began


async def test_appeals_are_about_a_second_at_least_and_few_wait_at_a_time(studio: Studio) -> None:
    """Each costs a person's time and a settlement; after a decision there is room for another."""
    casework, mine = studio.service.casework, studio.learner_id
    lesson, began = await ended(studio)

    async def appeal(at_s: int, ms: int = 1_000) -> Review:
        start = began + at_s * 1_000
        return await casework.appeal(mine, lesson.id, start=start, end=start + ms, text="x")

    with pytest.raises(BadRequest, match="one second"):
        await appeal(1, 999)
    made = [await appeal(at_s) for at_s in range(MOST_OPEN_APPEALS)]
    with pytest.raises(Conflict, match="wait for a decision"):
        await appeal(50)
    await casework.decide(made[0].id, actor="li", ruling=Ruling.UPHELD, reason="no")
    with pytest.raises(Conflict, match="already"):
        await appeal(0)
    await appeal(50)
    with pytest.raises(Conflict, match="wait for a decision"):
        await appeal(60)


async def test_appeals_that_come_at_once_do_not_overlap(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is stored second is refused, though nothing was there when it was looked at first."""
    casework, stage, mine = studio.service.casework, studio.service._stage, studio.learner_id
    lesson, began = await ended(studio)
    real = stage.decide

    async def overtaken(*args: Any, **more: Any) -> Any:
        monkeypatch.setattr(stage, "decide", real)
        start = began + 5_000
        await casework.appeal(mine, lesson.id, start=start, end=start + 20_000, text="first")
        return await real(*args, **more)

    monkeypatch.setattr(stage, "decide", overtaken)
    with pytest.raises(Conflict, match="already"):
        await casework.appeal(mine, lesson.id, start=began, end=began + 10_000, text="second")
    (stored,) = await casework.reviews.of_session(lesson.id)
    assert stored.start == began + 5_000
    assert (await studio.service.audit()).intact


async def test_missed_deadlines_are_seen(studio: Studio) -> None:
    """After two hours unanswered, after three working days undecided."""
    await suspended(studio, Decision.MISMATCH)
    find = studio.service.casework.reviews.find
    assert await find(overdue=True) == []
    studio.clock.advance(2 * 3_600_000 + 1)
    (late,) = await find(overdue=True)
    assert late.overdue(studio.clock.stamp().utc_ms) == ("answer",)
    studio.clock.advance(6 * DAY)
    (late,) = await find(overdue=True)
    assert late.overdue(studio.clock.stamp().utc_ms) == ("answer", "decision")
    assert await find(state=ReviewState.DECIDED) == []
    assert await find(kind=ReviewKind.SUSPENSION, learner_id=studio.learner_id) == [late]


# --- enrolments --------------------------------------------------------------------------------


async def test_one_face_under_two_accounts_opens_a_review(studio: Studio, twins: Twins) -> None:
    """A hit makes what the face earns provisional until people have decided."""
    first = studio.learner_id
    twins.alike.add(first)
    studio.learner_id, studio.consent_id = await studio.enrol()
    assert twins.asked[-1] == (studio.learner_id, (first,))
    (review,) = await studio.service.casework.reviews.find(kind=ReviewKind.ENROLMENT_HIT)
    assert (review.learner_id, review.other_learner_id) == (studio.learner_id, first)
    lesson = await studio.open()
    await lesson.watch(300)
    await lesson.close()
    course = await studio.service.course_credit(studio.learner_id, "demo")
    assert course.credit.provisional_s == course.credit.credited_s > 0
    await studio.service.casework.decide(
        review.id, actor="li", ruling=Ruling.GRANTED, reason="twins, both seen"
    )
    course = await studio.service.course_credit(studio.learner_id, "demo")
    assert course.credit.provisional_s == 0
    assert course.credit.credited_s > 0


async def test_a_confirmed_hit_refuses_the_enrolment(studio: Studio, twins: Twins) -> None:
    """One person under two accounts: refused, and what the face vouched for is void."""
    twins.alike.add(studio.learner_id)
    studio.learner_id, studio.consent_id = await studio.enrol()
    lesson = await studio.open()
    await lesson.watch(300)
    await lesson.close()
    assert await credited(studio) > 0
    (review,) = await studio.service.casework.reviews.find(kind=ReviewKind.ENROLMENT_HIT)
    await studio.service.casework.decide(
        review.id, actor="li", ruling=Ruling.UPHELD, reason="the same man"
    )
    assert await credited(studio) == 0
    with pytest.raises(EnrolmentRefused, match="same_face"):
        await studio.open()


async def test_a_confirmed_hit_refuses_the_face_that_was_asked_about(
    studio: Studio, twins: Twins
) -> None:
    """The proxy's hours are void, what runs with his face ends; the real person's face stays."""
    service, office = studio.service, studio.service.office
    twins.alike.add(studio.learner_id)
    studio.learner_id, studio.consent_id = await studio.enrol()
    earned = await studio.open()
    await earned.watch(200)
    await earned.close()
    proxy = await studio.open(media="lesson-2")
    await proxy.watch(60)
    assert await credited(studio) > 150
    (review,) = await service.casework.reviews.find(kind=ReviewKind.ENROLMENT_HIT)
    twins.alike.clear()
    await service.registry.put_template(studio.learner_id, b"opaque", Provenance.VETTED_LIVE)
    await office.approve(studio.learner_id, actor="counter", reason="the real one, seen")
    await service.casework.decide(
        review.id, actor="li", ruling=Ruling.UPHELD, reason="the proxy's own face"
    )
    assert (await proxy.view()).state in ("closed", "settled")
    await service.settled()
    assert await credited(studio) == 0
    registration = await service.registry.registration(studio.learner_id)
    assert (registration.state, registration.template_version) == (RegistrationState.APPROVED, 2)
    kinds = [e.kind for e in await service.ledger.of_subject(studio.learner_id)]
    assert kinds.count("template_refused") == 1
    assert "registration_refused" not in kinds
    own = await studio.open(media="lesson-3")
    await own.watch(200)
    await own.close()
    assert await credited(studio) > 150


async def test_a_face_is_refused_once(studio: Studio) -> None:
    """Refused before, or asked about twice: one row, one entry, and no face of later is meant."""
    service, office, learner = studio.service, studio.service.office, studio.learner_id
    await service.registry.put_template(learner, b"opaque", Provenance.ID_PHOTO)
    for _ in range(2):
        assert not await office.refuse_face(learner, 1, actor="li", reasons=["a proxy"])
    assert await office.refuse_face(learner, 2, actor="li", reasons=["a proxy"])
    assert (await service.registry.registration(learner)).state is RegistrationState.REFUSED
    kinds = [e.kind for e in await service.ledger.of_subject(learner)]
    assert (kinds.count("template_refused"), kinds.count("registration_refused")) == (1, 1)


async def test_faces_are_compared_within_the_business_only(studio: Studio, twins: Twins) -> None:
    """Somebody of another business is not looked at; nobody is compared with himself."""
    registry = studio.service.registry
    other = await registry.add_learner(
        category="principal", track=Training.INITIAL, industry="furniture", business_ref="b-2"
    )
    await registry.put_template(other.id, b"opaque", Provenance.ID_PHOTO)
    await registry.put_template(other.id, b"opaque", Provenance.ID_PHOTO)
    assert [asked for asked, _ in twins.asked] == []


# --- registrations -----------------------------------------------------------------------------


async def test_the_initial_track_waits_for_staff_and_the_refresher_does_not(
    studio: Studio,
) -> None:
    """Register, be approved, then study; whoever is certified already just signs in."""
    registry, office = studio.service.registry, studio.service.office
    for track, waits in ((Training.INITIAL, True), (Training.REFRESHER, False)):
        learner = await registry.add_learner(
            category="principal", track=track, industry="furniture", business_ref="b-9"
        )
        await registry.put_template(learner.id, b"opaque", Provenance.ID_PHOTO)
        consent = await registry.give_consent(learner.id, text_version="1")
        studio.learner_id, studio.consent_id = learner.id, consent.id
        listed = {state: await office.learners(state=state) for state in RegistrationState}
        named = {state for state, found in listed.items() if learner.id in {r.id for r, _ in found}}
        assert named == {RegistrationState.WAITING if waits else RegistrationState.APPROVED}
        if waits:
            with pytest.raises(FaceWaits):
                await studio.open()
            await office.approve(learner.id, actor="counter", reason="seen")
        await (await studio.open()).close()


async def test_a_refusal_ends_sessions_voids_and_can_be_mended(studio: Studio) -> None:
    """Refused with reasons; a new picture waits for staff again; the old one never counts."""
    lesson = await studio.open()
    await lesson.watch(300)
    service = studio.service
    refused = await service.refuse_registration(
        studio.learner_id, actor="counter", reasons=["the picture shows somebody else"]
    )
    assert refused.state is RegistrationState.REFUSED
    assert (await lesson.view()).state in ("closed", "settled")
    await service.settled()
    assert await credited(studio) == 0
    with pytest.raises(EnrolmentRefused, match="somebody else"):
        await studio.open()
    with pytest.raises(Conflict, match="refused"):
        await service.office.approve(studio.learner_id, actor="counter", reason="sorry")
    await service.registry.put_template(studio.learner_id, b"opaque", Provenance.ID_PHOTO)
    with pytest.raises(FaceWaits):
        await studio.open()
    await service.office.approve(studio.learner_id, actor="counter", reason="now it is him")
    lesson = await studio.open(media="lesson-2")
    await lesson.watch(120)
    await lesson.close()
    assert await credited(studio) > 0
    kinds = {e.kind for e in await service.ledger.of_subject(studio.learner_id)}
    assert {"registration_approved", "registration_refused"} <= kinds


# --- routes without a face, exceptions, hours --------------------------------------------------


def now(studio: Studio) -> int:
    """The present, UTC ms."""
    return studio.clock.stamp().utc_ms


async def test_staff_take_over_from_now_on_and_say_nothing_of_what_the_camera_saw(
    studio: Studio,
) -> None:
    """From now on it counts, as supervised; about what has passed only a review decides."""
    lesson = await studio.open()
    await lesson.watch(60)
    studio.verifier.show(lesson.id, Decision.NO_EVIDENCE)
    began = now(studio)
    await lesson.watch(20)
    at, before = now(studio), await credited(studio)

    async def supervise(start: int, end: int) -> Supervised:
        return await studio.service.casework.supervise(
            lesson.id, start=start, end=end, actor="counter", reason="sits in room 2"
        )

    for start, end in ((began, at), (began, at + 60_000), (at - 6_000, at + 60_000)):
        with pytest.raises(Refused, match="in front of the camera"):
            await supervise(start, end)
    with pytest.raises(BadRequest, match="future"):
        await supervise(at + 6_000, at + 60_000)
    made = await supervise(at + 4_000, at + 120_000)
    assert (made.t, made.end) == (at, at + 120_000)
    assert await supervise(at - 4_000, at + 120_000) == made
    facts = await studio.service.facts(lesson.id)
    assert [f for f in facts if isinstance(f, Supervised)] == [made]
    await lesson.watch(60)
    await lesson.close()
    assert await credited(studio) >= before + 50
    with pytest.raises(Conflict, match="has ended"):
        await supervise(now(studio) - 30_000, now(studio))


async def test_nobody_overturns_a_spoof_by_saying_that_he_saw_the_learner(studio: Studio) -> None:
    """Not after the session, and not over what a reviewer has upheld."""
    lesson = await suspended(studio, Decision.SPOOF)
    review = await only_review(studio, lesson)
    before = await credited(studio)
    assert review.start is not None
    assert review.end is not None
    for _ in range(2):
        with pytest.raises(Conflict, match="has ended"):
            await studio.service.casework.supervise(
                lesson.id, start=review.start, end=review.end, actor="counter", reason="?"
            )
        studio.clock.advance(60 * DAY)
    assert await credited(studio) == before


async def test_a_mismatch_after_a_spoof_hides_no_spoof(studio: Studio) -> None:
    """Suspended for a mismatch, the lesson has a spoof before it: one person overturns neither."""
    lesson = await studio.open()
    await lesson.watch(120)
    studio.verifier.show(lesson.id, Decision.SPOOF)
    for _ in range(40):
        if (await lesson.view()).state == "paused":
            break
        await lesson.watch(5)
    studio.verifier.show(lesson.id, Decision.MISMATCH)
    await lesson.watch(600)
    await studio.service.settled()
    facts = await studio.service.facts(lesson.id)
    assert [f.reason for f in facts if isinstance(f, Suspended)] == [PauseReason.MISMATCH]
    before, casework = await credited(studio), studio.service.casework
    reviews = await casework.reviews.of_session(lesson.id)
    assert [r.spoof for r in reviews if r.kind is ReviewKind.SUSPENSION] == [True]
    for review in reviews:
        await casework.decide(review.id, actor="li", ruling=Ruling.GRANTED, reason="it is him")
    assert await credited(studio) == before


@dataclass(slots=True)
class Classroom:
    """A session without a camera, played by hand."""

    studio: Studio
    learner_id: str
    session: OpenedSupervised
    seq: int = 0
    media_ms: int = 0

    async def report(self, *, playing: bool, touch: bool = False) -> SessionView:
        """Report where the player is."""
        self.seq += 1
        said = Report(
            seq=self.seq,
            media_id="lesson-1",
            media_ms=self.media_ms,
            playing=playing,
            interaction=touch,
        )
        name, token = self.session.session_id, self.session.session_token
        view = await self.studio.service.report(name, token, said)
        await self.studio.service.settled()
        return view

    async def wait(self, seconds: int, *, playing: bool) -> None:
        """Let time pass, with a report every 15 s."""
        for _ in range(seconds // 15):
            await self.report(playing=playing)
            self.studio.clock.advance(15_000)
            await self.studio.service.settled()
            self.media_ms += 15_000 if playing else 0
        await self.report(playing=playing)

    async def view(self) -> SessionView:
        """Look at the session as the device does."""
        name, token = self.session.session_id, self.session.session_token
        return await self.studio.service.view(name, token)

    async def supervise(self, start: int, end: int) -> Supervised:
        """Staff confirm."""
        return await self.studio.service.casework.supervise(
            self.session.session_id, start=start, end=end, actor="counter", reason="room 2"
        )

    async def credited_s(self) -> int:
        """Derive what the learner has."""
        return (await self.studio.service.course_credit(self.learner_id, "demo")).credit.credited_s


async def classroom(studio: Studio, minutes: int) -> Classroom:
    """Open a session for somebody who declined the camera."""
    service = studio.service
    learner = await service.registry.add_learner(
        category="principal", track=Training.INITIAL, industry="furniture", business_ref="b-5"
    )
    await service.office.approve(learner.id, actor="counter", reason="seen")
    opened = await service.openings.open_supervised(
        learner_id=learner.id,
        programme="demo",
        media=["lesson-1"],
        minutes=minutes,
        actor="counter",
        reason="declined the camera",
    )
    return Classroom(studio, learner.id, opened)


async def test_a_supervised_session_goes_on_after_a_rest(studio: Studio) -> None:
    """Idle it stands still; the learner's own hand lets it go on, for no check would come."""
    room = await classroom(studio, minutes=30)
    await room.wait(120, playing=True)
    await room.wait(330, playing=False)
    view = await room.view()
    assert (view.state, view.reason) == ("paused", "idle")
    assert (await room.report(playing=False, touch=True)).play
    await room.wait(120, playing=True)
    assert await room.credited_s() >= 235


async def test_a_supervised_session_goes_on_after_a_restart(studio: Studio) -> None:
    """A fault of the service ends by itself there, as a check ends it elsewhere."""
    room = await classroom(studio, minutes=30)
    await room.wait(60, playing=True)
    await studio.restart()
    assert (await room.view()).play
    await room.wait(60, playing=True)
    assert await room.credited_s() >= 110


async def test_a_supervised_session_is_extended(studio: Studio) -> None:
    """In time or a little late, never from the future on: that would stop it before its time."""
    room = await classroom(studio, minutes=2)
    await room.wait(90, playing=True)
    at = now(studio)
    with pytest.raises(BadRequest, match="future"):
        await room.supervise(at + 60_000, at + 600_000)
    await room.supervise(at + 3_000, at + 180_000)
    live = studio.service._stage.turns.sessions[room.session.session_id]
    assert live.machine.now <= at + 1_000
    await room.wait(240, playing=True)
    view = await room.view()
    assert view.play
    assert 260 <= await room.credited_s() <= 275
    await room.supervise(at + 180_000, now(studio) + 60_000)
    assert await room.credited_s() >= 320
    at = now(studio)
    with pytest.raises(BadRequest, match="60 minutes"):
        await room.supervise(at, at + 3_600_000 + 60_000)
    made = await room.supervise(at + 2_000, at + 2_000 + 3_600_000)
    assert (made.t, made.end) == (at, at + 3_600_000)


async def test_staff_end_what_they_supervised(studio: Studio) -> None:
    """What they answered for until then counts, nothing after it; the end is theirs, once."""
    room = await classroom(studio, minutes=30)
    casework, name = studio.service.casework, room.session.session_id
    await room.wait(120, playing=True)
    assert [live.id for live in casework.supervised()] == [name]
    await casework.end_supervised(name, actor="counter", reason="the room closes")
    view = await room.view()
    assert (view.state, view.reason) == ("settled", CloseReason.STAFF)
    assert casework.supervised() == []
    assert 115 <= await room.credited_s() <= 120
    await casework.end_supervised(name, actor="li", reason="once more")
    entries = await studio.service.ledger.of_subject(name)
    (said,) = [entry for entry in entries if entry.kind == ENDED]
    assert said.content["data"]["actor"] == "counter"
    words = await studio.service.registry.staff_words.of(room.learner_id)
    assert words[name, ENDED] == "the room closes"
    assert (await studio.service.audit()).intact


async def test_what_ended_by_itself_was_not_ended_by_staff(studio: Studio) -> None:
    """Nobody answered any more: the session had ended when somebody came to end it."""
    room = await classroom(studio, minutes=1)
    name = room.session.session_id
    await room.wait(60, playing=True)
    studio.clock.advance(600_000)
    await studio.service.casework.end_supervised(name, actor="counter", reason="late")
    await studio.service.settled()
    assert (await room.view()).reason == CloseReason.EXPIRED
    assert not [e for e in await studio.service.ledger.of_subject(name) if e.kind == ENDED]
    assert "late" not in (await studio.service.registry.staff_words.of(room.learner_id)).values()


async def test_staff_overturn_no_reviewer_and_keep_a_term(studio: Studio) -> None:
    """Where staff alone speak, too: not over what was upheld, and not for ever."""
    room = await classroom(studio, minutes=1)
    began = room.session.supervised_until_ms - 60_000
    await room.wait(120, playing=True)
    studio.clock.advance(300_000)
    await studio.service.settled()
    assert (await room.view()).state == "settled"
    upheld = Upheld(key="upheld:rev_1", t=began + 60_000, end=began + 90_000)
    await studio.service.decide(room.session.session_id, [upheld], reason="nobody sat there")
    with pytest.raises(Refused, match="reviewer"):
        await room.supervise(began, began + 120_000)
    await room.supervise(began + 90_000, began + 120_000)
    assert 85 <= await room.credited_s() <= 95
    studio.clock.advance(60 * DAY)
    with pytest.raises(Refused, match="term"):
        await room.supervise(began + 45_000, began + 60_000)


async def test_upholding_takes_nothing_that_staff_answered_for(studio: Studio) -> None:
    """A question that spans it is not about it; what else was lost there is decided."""
    room = await classroom(studio, minutes=1)
    await room.wait(120, playing=True)
    studio.clock.advance(300_000)
    await studio.service.settled()
    before = await room.credited_s()
    assert before > 50
    name = room.session.session_id
    record, _ = await studio.service.session_credit(name)
    assert record.closed_ms is not None
    appeal = await studio.service.casework.appeal(
        room.learner_id, name, start=record.opened_ms, end=record.closed_ms, text="all of it"
    )
    await studio.service.casework.decide(
        appeal.id, actor="li", ruling=Ruling.UPHELD, reason="nobody was there"
    )
    assert await room.credited_s() == before
    told = (await studio.service.explain(name)).told
    assert SegmentState.UPHELD in {s.state for s in told.spans}


async def test_a_session_without_a_face(studio: Studio) -> None:
    """No template, no consent to one, no stream: staff answer for the learner, and it counts."""
    registry, service = studio.service.registry, studio.service
    learner = await registry.add_learner(
        category="principal", track=Training.INITIAL, industry="furniture", business_ref="b-5"
    )

    async def opened() -> OpenedSupervised:
        return await service.openings.open_supervised(
            learner_id=learner.id,
            programme="demo",
            media=["lesson-1"],
            minutes=5,
            actor="counter",
            reason="declined the camera",
        )

    with pytest.raises(FaceWaits):
        await opened()
    await service.office.approve(learner.id, actor="counter", reason="seen")
    session = await opened()
    assert session.view.play
    assert studio.verifier.streams == {}
    with pytest.raises(Conflict):
        await opened()

    async def watch(seconds: int, first: int) -> None:
        for i in range(seconds // 15 + 1):
            report = Report(
                seq=first + i,
                media_id="lesson-1",
                media_ms=(first + i - 1) * 15_000,
                playing=True,
                interaction=True,
            )
            await service.report(session.session_id, session.session_token, report)
            studio.clock.advance(15_000)
            await service.settled()

    await watch(240, 1)
    at = now(studio)
    with pytest.raises(BadRequest, match="60 minutes"):
        await service.casework.supervise(
            session.session_id, start=at, end=at + 4 * 3_600_000, actor="counter", reason="?"
        )
    course = await service.course_credit(learner.id, "demo")
    assert 200 <= course.credit.credited_s <= 255
    (part,) = course.credit.sessions
    assert {i.evidence for i in part.credited} == {EvidenceType.SUPERVISED}
    studio.clock.advance(600_000)
    await service.settled()
    view = await service.view(session.session_id, session.session_token)
    assert view.state in ("closed", "settled")
    after = await service.course_credit(learner.id, "demo")
    assert after.credit.credited_s <= 300


@pytest.mark.parametrize("industry", load_policy("demo").admission.refused_industries)
async def test_high_risk_industries_are_refused_on_every_path(
    studio: Studio, industry: str
) -> None:
    """With a face and without one: such learners train offline only, and are told so."""
    registry, service = studio.service.registry, studio.service
    learner = await registry.add_learner(
        category="principal", track=Training.REFRESHER, industry=industry, business_ref="b-6"
    )
    await registry.put_template(learner.id, b"opaque", Provenance.ID_PHOTO)
    consent = await registry.give_consent(learner.id, text_version="1")
    studio.learner_id, studio.consent_id = learner.id, consent.id
    with pytest.raises(Refused, match="offline only"):
        await studio.open()
    with pytest.raises(Refused, match="offline only"):
        await service.openings.open_supervised(
            learner_id=learner.id,
            programme="demo",
            media=["lesson-1"],
            minutes=5,
            actor="counter",
            reason="?",
        )


async def test_the_challenge_route_is_set_lifted_and_recorded(studio: Studio) -> None:
    """A person whom the passive networks keep flagging, confirmed by staff."""
    office, learner = studio.service.office, studio.learner_id
    assert not await office.needs_challenge(learner)
    await office.require_challenge(learner, actor="counter", reason="three times him")
    await office.require_challenge(learner, actor="counter", reason="again")
    assert await office.needs_challenge(learner)
    studio.clock.advance(1_000)
    await office.lift_challenge(learner, actor="counter", reason="new camera")
    assert not await office.needs_challenge(learner)
    kinds = [e.kind for e in await studio.service.ledger.of_subject(learner)]
    assert [k for k in kinds if "challenge" in k] == ["challenge_route", "challenge_route_ended"]
    with pytest.raises(NotFound):
        await office.require_challenge("lrn_x", actor="counter", reason="who?")


async def test_offline_hours_belong_to_the_institution(studio: Studio) -> None:
    """Entered, listed, withdrawn by whoever entered them; never in the future."""
    office: Office = studio.service.office
    today = studio.clock.stamp().utc.date()

    async def enter(held_on: date) -> OfflineHours:
        return await office.enter_offline(
            studio.learner_id,
            programme="demo",
            institution="school",
            minutes=180,
            held_on=held_on,
            topic="plans",
        )

    made = await enter(today)
    assert await office.offline(studio.learner_id) == [made]
    with pytest.raises(BadRequest, match="future"):
        await enter(today.replace(year=today.year + 1))
    with pytest.raises(NotFound):
        await office.withdraw_offline(
            made.id, institution="other", actor="other", reason="not mine"
        )
    gone = await office.withdraw_offline(
        made.id, institution="school", actor="school", reason="wrong person"
    )
    assert gone == replace(made, withdrawn_ms=gone.withdrawn_ms, withdrawn_reason="wrong person")
    assert gone.withdrawn_ms is not None
    assert await credited_nothing(studio)


async def credited_nothing(studio: Studio) -> bool:
    """Tell whether online credit is untouched: no course was begun."""
    return await studio.service.registry.course(studio.learner_id, "demo") is None
