"""Certificates in the store: what later decisions do to them, and whose name they bear."""

from __future__ import annotations

import hashlib
import io
import json

import pytest
from pypdf import PdfReader

from session_tracker.announcements import announce
from session_tracker.certificate import check_code, verify_certificate
from session_tracker.events import Granted, Upheld
from session_tracker.exports import Period
from session_tracker.ledger import Entry
from session_tracker.ledger_file import export_ledger
from session_tracker.policy import Provenance
from session_tracker.printing import HolderChanged
from session_tracker.records import RegistrationState
from session_tracker.refusals import FaceNeeded
from session_tracker.review import BY_RULE
from session_tracker.staff_words import IN_WORDS, digest
from session_tracker.store.certificates import HOURS_VOID, NAME_CORRECTED
from session_tracker.testing import Lesson, Studio
from verifier.errors import Conflict

pytestmark = pytest.mark.both_databases


async def certified(studio: Studio) -> str:
    """Study two lessons; give the number of the certificate."""
    for media in ("lesson-1", "lesson-2"):
        lesson = await studio.open(media=media)
        await lesson.watch(300)
        view = await lesson.close()
    assert view.certificate is not None
    return view.certificate


async def sat_by(studio: Studio) -> tuple[Lesson, str]:
    """Study nine minutes for which staff answer; give the lesson and the certificate."""
    lesson = await studio.open()
    at = studio.clock.stamp().utc_ms
    await studio.service.casework.supervise(
        lesson.id, start=at, end=at + 600_000, actor="counter", reason="sits in room 3"
    )
    await studio.service.settled()
    studio.verifier.show(lesson.id, None)
    await lesson.watch(540)
    view = await lesson.close()
    assert view.certificate is not None
    return lesson, view.certificate


async def entries(studio: Studio, kind: str) -> list[Entry]:
    """Give the learner's entries of a kind."""
    found = await studio.service.ledger.of_subject(studio.learner_id)
    return [entry for entry in found if entry.kind == kind]


async def printed(studio: Studio, number: str) -> str:
    """Print a certificate and read its text, without spaces."""
    page = PdfReader(io.BytesIO(await studio.service.printer.pdf(number))).pages[0]
    return "".join(page.extract_text().split())


# --- what others are given -----------------------------------------------------------------------


async def test_nothing_that_is_handed_on_opens_the_paper(studio: Studio) -> None:
    """No export, no entry and no event has the check code, nor what it can be reckoned from."""
    service, number = studio.service, await certified(studio)
    document = (await service.certification.issued(number)).document
    signed = json.loads(document)
    code, core = signed["check_code"], signed["certificate"]
    (entry,) = await entries(studio, "certificate_issued")
    told = announce(
        index=entry.index, subject=entry.subject, key=entry.key, kind=entry.kind, body=entry.body
    )
    assert told is not None
    assert json.loads(told.body)["data"]["number"] == number
    assert entry.content["data"]["document_sha256"] == hashlib.sha256(document).hexdigest()
    whole = io.StringIO()
    await export_ledger(service._database, whole)
    assert number in whole.getvalue()
    head, period = await service.head(), Period(since_ms=0, until_ms=2**53 - 1)
    out = service.exports
    exported = (
        out.hours_csv(period, head),
        out.hours_jsonl(period, head),
        out.xapi(period, head),
        out.scores(head),
        out.sample(period, head, seed="dice", count=10),
    )
    given = ["".join([line async for line in lines]) for lines in exported]
    assert all(given)
    given += [told.body, whole.getvalue()]
    assert not [text for text in given if code in text or core["salt"] in text]
    without = {name: value for name, value in core.items() if name != "salt"}
    assert check_code(core) == code != check_code(without)
    assert len(bytes.fromhex(core["salt"])) == 16


# --- hours that became void --------------------------------------------------------------------


async def test_a_certificate_without_its_hours_is_revoked(studio: Studio) -> None:
    """Staff refuse the enrolment it rested on: the public check says so, and webhooks do."""
    service, number = studio.service, await certified(studio)
    await service.refuse_registration(
        studio.learner_id, actor="counter", reasons=["the picture shows somebody else"]
    )
    issued = await service.certification.issued(number)
    assert (issued.revoked_ms is not None, issued.revoked_reason) == (True, HOURS_VOID)
    (entry,) = await entries(studio, "certificate_revoked")
    told = announce(
        index=entry.index, subject=entry.subject, key=entry.key, kind=entry.kind, body=entry.body
    )
    assert told is not None
    assert told.type == "certificate.revoked"
    assert f'"reason":"{HOURS_VOID}"' in told.body
    assert entry.content["data"]["actor"] == BY_RULE
    size = (await service.head()).size
    await service._stage.grading.grade_all(studio.learner_id)
    assert (await service.head()).size == size
    assert (await service.audit()).intact


async def test_another_is_issued_once_the_hours_are_there_again(studio: Studio) -> None:
    """A decision takes them, an appeal brings them back: two numbers, and one holds."""
    service = studio.service
    lesson, number = await sat_by(studio)
    record, state = await service.session_credit(lesson.id)
    assert state.target_s <= state.confirmed_s
    at = record.opened_ms
    upheld = Upheld(key="upheld:rev_1", t=at, end=at + 300_000)
    state = await service.decide(lesson.id, [upheld], reason="nobody sat there")
    assert state.certificate_number is None
    assert state.confirmed_s < state.target_s
    assert (await service.certification.issued(number)).revoked_reason == HOURS_VOID
    studio.clock.advance(1_000)
    granted = Granted(key="granted:rev_2", t=at, end=at + 300_000)
    state = await service.decide(lesson.id, [granted], reason="he did")
    assert state.certificate_number not in (None, number)
    issued = await service.certification.of_learner(studio.learner_id)
    assert [one.revoked_reason for one in issued] == [HOURS_VOID, None]
    assert verify_certificate(issued[-1].document, studio.keyring).credited_s >= state.target_s
    assert (await service.audit()).intact


async def test_what_was_revoked_for_good_stays_so(studio: Studio) -> None:
    """Found by a spot check, it is not issued anew though the hours are there."""
    service, number = studio.service, await certified(studio)
    await service.revoke_certificate(number, actor="course", reason="found by a spot check")
    (entry,) = await entries(studio, "certificate_revoked")
    assert entry.content["data"]["actor"] == "course"
    await service._stage.grading.grade_all(studio.learner_id)
    issued = await service.certification.of_learner(studio.learner_id)
    assert [one.number for one in issued] == [number]


# --- faces that were replaced or refused --------------------------------------------------------


async def self_made(studio: Studio) -> None:
    """Go on with a learner who enrolled himself, and has studied a little under that face."""
    studio.learner_id, studio.consent_id = await studio.enrol(Provenance.SELF_LIVE)
    lesson = await studio.open(media="lesson-2")
    await lesson.watch(120)
    await lesson.close()
    state = await studio.service.course_credit(studio.learner_id, "demo")
    assert state.credit.provisional_s == state.credit.credited_s > 60


async def enrolled_anew(studio: Studio, provenance: Provenance) -> None:
    """Another face, approved."""
    registry = studio.service.registry
    await registry.put_template(studio.learner_id, b"opaque", provenance)
    await studio.service.office.approve(studio.learner_id, actor="counter", reason="seen")


async def studied(studio: Studio) -> str | None:
    """Study to the target; give the certificate, if it came."""
    lesson = await studio.open()
    await lesson.watch(600)
    return (await lesson.close()).certificate


async def test_a_refused_face_keeps_nobody_from_the_certificate(studio: Studio) -> None:
    """Enrolled again and confirmed: what the first face earned is void, and waits for nobody."""
    service = studio.service
    await self_made(studio)
    await service.refuse_registration(studio.learner_id, actor="counter", reasons=["too dark"])
    await enrolled_anew(studio, Provenance.SELF_LIVE)
    assert await studied(studio) is None
    await service.confirm_template(studio.learner_id, reason="seen at the counter")
    state = await service.course_credit(studio.learner_id, "demo")
    assert state.certificate_number is not None
    with pytest.raises(Conflict, match="refused"):
        await service.confirm_template(studio.learner_id, reason="after all", version=1)
    assert (await service.audit()).intact


async def test_a_session_without_credit_keeps_nobody_from_the_certificate(studio: Studio) -> None:
    """Opened under a face that nobody confirmed, closed at once; then the photograph came."""
    studio.learner_id, studio.consent_id = await studio.enrol(Provenance.SELF_LIVE)
    await (await studio.open()).close()
    await enrolled_anew(studio, Provenance.ID_PHOTO)
    assert await studied(studio) is not None


async def test_the_face_before_the_photograph_can_be_confirmed(studio: Studio) -> None:
    """Replaced while its hours wait, even erased: whoever knows it was him says so, by version."""
    service = studio.service
    await self_made(studio)
    await service.erase_biometrics(studio.learner_id)
    await enrolled_anew(studio, Provenance.ID_PHOTO)
    assert await studied(studio) is None
    before = (await service.course_credit(studio.learner_id, "demo")).credit
    confirmed = await service.confirm_template(studio.learner_id, reason="compared", version=1)
    assert (confirmed.version, confirmed.confirmed_ms is not None) == (1, True)
    state = await service.course_credit(studio.learner_id, "demo")
    assert state.certificate_number is not None
    assert state.credit.credited_s == before.credited_s
    assert (before.provisional_s > 60, state.credit.provisional_s) == (True, 0)
    with pytest.raises(FaceNeeded, match="version 3"):
        await service.confirm_template(studio.learner_id, reason="compared", version=3)


async def test_the_face_before_the_photograph_can_be_refused(studio: Studio) -> None:
    """Its hours are void, what counts under the photograph is certified, and the approval stays."""
    service = studio.service
    await self_made(studio)
    await enrolled_anew(studio, Provenance.ID_PHOTO)
    assert await studied(studio) is None
    refuse = service.casework.refuse_face
    await refuse(studio.learner_id, 1, actor="counter", reasons=["his brother"])
    state = await service.course_credit(studio.learner_id, "demo")
    assert state.certificate_number is not None
    assert state.credit.provisional_s == 0
    registration = await service.registry.registration(studio.learner_id)
    assert registration.state is RegistrationState.APPROVED
    with pytest.raises(FaceNeeded, match="version 3"):
        await refuse(studio.learner_id, 3, actor="counter", reasons=["his brother"])


async def test_a_face_waits_while_hours_wait_for_it(studio: Studio) -> None:
    """The list of those that wait has the learner until nothing keeps his credit from being final.

    An earlier face that no session was opened with keeps nobody on it.
    """
    service, registry = studio.service, studio.service.registry

    async def listed() -> bool:
        found = await service.office.learners(face_waits=True)
        return studio.learner_id in {learner.id for learner, _ in found}

    await self_made(studio)
    await enrolled_anew(studio, Provenance.SELF_LIVE)
    await enrolled_anew(studio, Provenance.SELF_LIVE)
    assert await registry.faces_waiting(studio.learner_id) == [1, 3]
    assert await studied(studio) is None
    await service.confirm_template(studio.learner_id, reason="seen", version=3)
    state = await service.course_credit(studio.learner_id, "demo")
    assert not state.credit.final
    assert await registry.faces_waiting(studio.learner_id) == [1]
    assert await listed()
    await service.confirm_template(studio.learner_id, reason="seen then", version=1)
    state = await service.course_credit(studio.learner_id, "demo")
    assert state.certificate_number is not None
    assert await registry.faces_waiting(studio.learner_id) == []
    assert not await listed()


# --- the holder's name -------------------------------------------------------------------------


async def test_a_change_of_name_leaves_a_trace_and_no_paper(studio: Studio) -> None:
    """Without a reason it is refused; with one the ledger knows, and the paper is not printed."""
    people, printer = studio.service.registry.people, studio.service.printer
    await people.record(studio.learner_id, name="欧阳明", identity_number=None, actor="course")
    number = await certified(studio)
    assert "欧阳明" in await printed(studio, number)
    with pytest.raises(Conflict, match="needs a reason"):
        await people.record(studio.learner_id, name="王五", identity_number=None, actor="counter-3")
    await people.record(studio.learner_id, name="欧阳明", identity_number=None)
    assert len(await entries(studio, "person_recorded")) == 1
    await people.record(
        studio.learner_id,
        name="王五",
        identity_number=None,
        actor="counter-3",
        reason="mistyped: 王五 it is",
    )
    before, after = await entries(studio, "person_recorded")
    assert (after.content["reason"], after.content["data"]["actor"]) == (IN_WORDS, "counter-3")
    words = await studio.service.registry.staff_words.of(studio.learner_id)
    assert words[studio.learner_id, after.key] == "mistyped: 王五 it is"
    assert after.content["data"]["reason_sha256"] == digest("mistyped: 王五 it is")
    assert after.content["data"]["name_hmac"] != before.content["data"]["name_hmac"]
    assert not any("王五".encode() in entry.body for entry in (before, after))
    with pytest.raises(HolderChanged):
        await printer.pdf(number)
    assert await printer.holder(await studio.service.certification.issued(number)) is None
    assert (await studio.service.audit()).intact


async def test_a_corrected_name_comes_with_another_certificate(studio: Studio) -> None:
    """The old number is revoked, the new one bears the new name; undone, the old one prints."""
    people = studio.service.registry.people
    await people.record(studio.learner_id, name="欧阳明", identity_number=None)
    number = await certified(studio)
    for name in ("欧阳铭", "欧阳明", "欧阳铭"):
        await people.record(studio.learner_id, name=name, identity_number=None, reason="?")
        if name == "欧阳明":
            assert name in await printed(studio, number)
    studio.clock.advance(1_000)
    await studio.service.revoke_certificate(number, actor="course", reason=NAME_CORRECTED)
    old, new = await studio.service.certification.of_learner(studio.learner_id)
    assert (old.number, old.revoked_reason, new.revoked_ms) == (number, NAME_CORRECTED, None)
    assert "欧阳铭" in await printed(studio, new.number)


async def test_the_first_name_after_a_nameless_certificate_is_its_name(studio: Studio) -> None:
    """It was nobody else's; a second one is another person's."""
    people, number = studio.service.registry.people, await certified(studio)
    assert studio.learner_id in await printed(studio, number)
    await people.record(studio.learner_id, name="欧阳明", identity_number=None, reason="late")
    assert "欧阳明" in await printed(studio, number)
    await people.record(studio.learner_id, name="王五", identity_number=None, reason="again")
    with pytest.raises(HolderChanged):
        await studio.service.printer.pdf(number)


async def test_an_erased_name_makes_no_way_for_another(studio: Studio) -> None:
    """Erased, the pseudonym is printed; whoever is recorded then is not the holder."""
    people = studio.service.registry.people
    await people.record(studio.learner_id, name="欧阳明", identity_number=None)
    number = await certified(studio)
    await studio.service.erase_person(studio.learner_id, actor="counter", cause="asked for")
    assert studio.learner_id in await printed(studio, number)
    await people.record(studio.learner_id, name="欧阳明", identity_number=None, reason="back")
    with pytest.raises(HolderChanged):
        await studio.service.printer.pdf(number)
