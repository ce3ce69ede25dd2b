"""Erasing: keys destroyed, rows emptied, backups covered, and a proof that stands offline."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, select

from session_tracker.erasure import verify_erasure
from session_tracker.housekeeping import CourseStanding, Standing, due
from session_tracker.learner_keys import Realm
from session_tracker.policy import Provenance, load_policy
from session_tracker.review import Ruling
from session_tracker.signin import SignedOut
from session_tracker.staff_words import digest
from session_tracker.store.certificates import NAME_CORRECTED
from session_tracker.store.schema import metadata, presence_runs
from session_tracker.store.tables_signin import invitations
from session_tracker.store.tables_streams import frame_fingerprints
from session_tracker.store.testing import tamper
from session_tracker.store.writer import Transaction
from session_tracker.testing import Lesson, Studio
from verifier.errors import BadRequest, Conflict, NotFound, SignatureInvalid, StorageError
from verifier.keys import KeyRing
from verifier.types import Decision

NUMBER = "11010519491231002X"
DAY = 86_400_000
POLICY = load_policy("demo")


def contents(folder: Path) -> dict[str, bytes]:
    """Read every file of a folder."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def sealed_in(data: bytes, start: int = 0) -> list[bytes]:
    """Find everything that was sealed under a learner's key, by its nonce."""
    found = []
    while (start := data.find(b"BLK\x01", start)) >= 0:
        found.append(data[start : start + 24])
        start += 4
    return found


@pytest.mark.both_databases
async def test_one_call_erases_biometrics_and_proves_it(studio: Studio) -> None:
    """The sessions end, the hours stay, the proof stands, and asking again gives it again."""
    lesson = await studio.open()
    await lesson.watch(300)
    await lesson.close()
    before = (await studio.service.course_credit(studio.learner_id, "demo")).credit.credited_s
    open_one = await studio.open(media="lesson-2")
    erased = await studio.service.erase_biometrics(studio.learner_id, actor="counter")
    assert (erased.templates, erased.pictures) == (1, 0)
    assert (await open_one.view()).state in ("closed", "settled")
    content = verify_erasure(erased.proof, studio.keyring)
    assert content["kind"] == "biometrics_erased"
    assert content["data"] == {
        "templates": 1,
        "pictures": 0,
        "keys_destroyed": ["face"],
        "actor": "counter",
    }
    again = await studio.service.erase_biometrics(studio.learner_id, actor="counter")
    assert (again.templates, again.proof["index"]) == (0, erased.proof["index"])
    template = await studio.service.registry.template(studio.learner_id)
    assert template.blob is None
    after = (await studio.service.course_credit(studio.learner_id, "demo")).credit.credited_s
    assert after >= before > 0
    assert (await studio.service.audit()).intact
    with pytest.raises(NotFound):
        await studio.service.erase_biometrics("lrn_nobody")


async def test_a_proof_stands_offline_and_falls_with_every_change(studio: Studio) -> None:
    """Public keys are enough; another learner, entry, index, head or way does not fit."""
    proof = (await studio.service.erase_biometrics(studio.learner_id)).proof
    proof = json.loads(json.dumps(proof))
    changes: list[dict[str, Any]] = [
        {"learner_id": "lrn_somebody_else"},
        {"entry": proof["entry"].replace('"templates":1', '"templates":2')},
        {"index": proof["index"] - 1},
        {"path": proof["path"][:-1]},
        {"head": {**proof["head"], "at_ms": proof["head"]["at_ms"] + 1}},
        {"head": {**proof["head"], "root": "00" * 32}},
    ]
    for change in changes:
        with pytest.raises(SignatureInvalid):
            verify_erasure({**proof, **change}, studio.keyring)
    for broken in ({}, {**proof, "format": "other"}, {**proof, "path": ["x"]}):
        with pytest.raises(BadRequest):
            verify_erasure(broken, studio.keyring)


async def test_nothing_decryptable_is_left_and_backups_are_covered(
    studio: Studio, tmp_path: Path
) -> None:
    """After the erasure no file and no backup of the database gives face, name or number."""
    service, learner = studio.service, studio.learner_id
    registry = service.registry
    face = b"embedding " * 50
    await registry.put_template(learner, face, Provenance.ID_PHOTO)
    await registry.people.record(learner, name="Ouyang Feng", identity_number=NUMBER)
    other, _ = await studio.enrol()
    backup = tmp_path / "backup"
    await service.stop()
    shutil.copytree(tmp_path, backup)
    await studio.restart()
    service, registry = studio.service, studio.service.registry
    sealed_before = sealed_in((backup / "tracker.sqlite3").read_bytes())
    assert len(sealed_before) >= 4

    erased = await service.erase_person(learner, actor="counter", cause="asked for")
    assert verify_erasure(erased.proof, studio.keyring)["kind"] == "person_erased"
    await service.stop()
    for content in contents(tmp_path).values():
        assert b"embedding" not in content
        assert b"Ouyang" not in content
        assert NUMBER.encode() not in content
    # The other learner's template and approval are the only things left that were ever sealed.
    left = sealed_in((tmp_path / "tracker.sqlite3").read_bytes())
    assert len(left) == 2
    assert set(left) <= set(sealed_before)

    # The backup of the database, with the keys as they are now: nothing comes back.
    (tmp_path / "tracker.sqlite3").write_bytes((backup / "tracker.sqlite3").read_bytes())
    await studio.restart()
    registry = studio.service.registry
    assert (await registry.template(learner)).blob is None
    assert await registry.people.read(learner) is None
    assert await registry.people.find(NUMBER) is None
    assert (await registry.template(other)).blob == b"opaque"


@pytest.mark.both_databases
async def test_what_staff_wrote_goes_with_the_person_and_devices_are_signed_out(
    studio: Studio,
) -> None:
    """Reasons, topics and notes name people; a phone that stays signed in would bring him back."""
    service, learner, name = studio.service, studio.learner_id, "Ouyang Feng"
    office = service.office
    lesson = await studio.open()
    await lesson.watch(600)
    now = service.now_ms()
    await service.casework.supervise(
        lesson.id, start=now, end=now + 1_000, actor="counter", reason=f"{name} sat here"
    )
    studio.clock.advance(5_000)
    number = (await lesson.close()).certificate
    assert number is not None
    context = service.context()
    await service.certification.revoke(
        number, actor="course", reason=f"not {name}'s", context=context
    )
    await service.confirm_template(learner, reason=f"compared with {name}")
    await service.refuse_registration(learner, actor="counter", reasons=[f"not {name}"])
    await office.require_challenge(learner, actor="counter", reason=f"{name}, seen")
    hours = await office.enter_offline(
        learner,
        programme="demo",
        institution="school",
        minutes=45,
        held_on=studio.clock.stamp().utc.date(),
        topic=f"with {name}",
    )
    await office.withdraw_offline(
        hours.id, institution="school", actor="school", reason=f"{name} was not there"
    )
    invited = await service.sign_in.invite(learner)
    token = (await service.sign_in.by_link(invited.link_token, address="")).token
    await service.sign_in.invite(learner)
    assert name in str(await _rows(studio))
    book = service.ledger
    entries = [*await book.of_subject(learner), *await book.of_subject(lesson.id)]
    assert not [e.key for e in entries if name.encode() in e.body]
    said = await service.registry.staff_words.of(learner)
    assert set(said.values()) == {
        "seen",
        f"{name} sat here",
        f"compared with {name}",
        f"not {name}",
        f"{name}, seen",
    }
    kept = {(e.content["subject"], e.key): e.content for e in entries}
    for place, text in said.items():
        content = kept[place]
        stated = {**content["data"], **content["data"].get("decision", {})}
        assert content["reason"] == "in_words"
        assert digest(text) in (stated.get("reason_sha256"), stated.get("reasons_sha256"))

    await service.erase_person(learner, actor="counter", words=f"{name} asked for it")
    assert await service.registry.staff_words.of(learner) == {}
    assert not [e for e in await book.of_subject(learner) if name.encode() in e.body]
    left = await _rows(studio)
    assert name not in str(left)
    assert left["learner_tokens"] == left["invitations"] == []
    with pytest.raises(SignedOut):
        await service.sign_in.learner_of(token)
    (withdrawn,) = await office.offline(learner)
    assert (withdrawn.minutes, withdrawn.topic, withdrawn.withdrawn_reason) == (45, "", None)
    assert (await service.registry.registration(learner)).reasons == ()


async def _rows(studio: Studio) -> dict[str, list[dict[str, Any]]]:
    """Read every table but the ledger's."""
    async with studio.service._database.read() as connection:
        return {
            table.name: [dict(row) for row in (await connection.execute(select(table))).mappings()]
            for table in metadata.sorted_tables
            if not table.name.startswith(("ledger_", "outbox_"))
        }


async def test_a_backup_of_the_keys_is_erased_again_at_the_next_start(
    studio: Studio, tmp_path: Path
) -> None:
    """Who restores the keys' store alone gets back what was not erased only."""
    learner = studio.learner_id
    other, _ = await studio.enrol()
    await studio.service.stop()
    keys = tmp_path / "tracker.sqlite3.keys"
    kept = keys.read_bytes()
    await studio.restart()
    await studio.service.erase_biometrics(learner)
    await studio.service.stop()
    keys.write_bytes(kept)
    await studio.restart()
    registry = studio.service.registry
    assert (await registry.template(learner)).blob is None
    assert (await registry.template(other)).blob == b"opaque"
    assert await registry._keys.get(learner, "face") is None  # type: ignore[arg-type]


# --- housekeeping ------------------------------------------------------------------------------


@pytest.mark.both_databases
async def test_templates_go_when_the_course_and_the_term_are_over(studio: Studio) -> None:
    """Not before the appeal window has ended; the clock alone decides."""
    for number in range(1, 3):
        lesson = await studio.open(media=f"lesson-{number}")
        await lesson.watch(300)
        await lesson.close()
    course = await studio.service.course_credit(studio.learner_id, "demo")
    assert course.certificate_number is not None
    assert (await studio.service.keep_house()).templates_of == ()
    studio.clock.advance(14 * DAY)
    assert (await studio.service.keep_house()).faces_stored == 1
    studio.clock.advance(20 * DAY)
    await studio.service.settled()  # the daily round has come by itself
    assert (await studio.service.registry.template(studio.learner_id)).blob is None
    swept = await studio.service.keep_house()
    assert (swept.templates_of, swept.faces_stored) == ((), 0)
    kinds = [e.kind for e in await studio.service.ledger.of_subject(studio.learner_id)]
    assert "biometrics_erased" in kinds


async def test_a_withdrawn_consent_erases_with_the_next_round(studio: Studio) -> None:
    """Withdrawing stops the session at once; the template goes with the day."""
    lesson = await studio.open()
    await lesson.watch(60)
    await studio.service.withdraw_consent(studio.learner_id, studio.consent_id)
    await studio.service.settled()
    assert (await lesson.view()).state in ("closed", "settled")
    swept = await studio.service.keep_house()
    assert swept.templates_of == (studio.learner_id,)


@pytest.mark.both_databases
async def test_whoever_consents_and_studies_meanwhile_keeps_his_face(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The round has read that it may go; before it comes to him, he begins a lesson."""
    await studio.service.withdraw_consent(studio.learner_id, studio.consent_id)
    house = studio.service._stage.housekeeping
    real = house._standings
    begun: list[Lesson] = []

    async def then_begins(*args: Any) -> Any:
        found = await real(*args)
        if not begun:
            consent = await studio.service.registry.give_consent(
                studio.learner_id, text_version="2026-11"
            )
            studio.consent_id = consent.id
            begun.append(await studio.open())
        return found

    monkeypatch.setattr(house, "_standings", then_begins)
    assert (await studio.service.keep_house()).templates_of == ()
    assert (await studio.service.registry.template(studio.learner_id)).blob == b"opaque"
    await begun[0].watch(60)
    assert (await begun[0].view()).play


async def test_an_erasure_that_the_key_store_refused_is_finished_with_the_next_round(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing begins with the face meanwhile; the key goes as soon as it can, with a proof."""
    await studio.service.withdraw_consent(studio.learner_id, studio.consent_id)
    registry, keys = studio.service.registry, studio.service.registry._keys
    real = keys.destroy

    async def refused(*_: Any, **__: Any) -> Any:
        monkeypatch.setattr(keys, "destroy", real)
        raise StorageError("disk full")

    monkeypatch.setattr(keys, "destroy", refused)
    with pytest.raises(StorageError):
        await studio.service.keep_house()
    assert (await registry.template(studio.learner_id)).blob is None
    assert await keys.get(studio.learner_id, Realm.FACE) is not None
    await studio.service.keep_house()
    assert await keys.get(studio.learner_id, Realm.FACE) is None
    kinds = [e.kind for e in await studio.service.ledger.of_subject(studio.learner_id)]
    assert kinds.count("biometrics_erased") == 1
    size = await studio.service.ledger.size()
    await studio.service.keep_house()
    assert await studio.service.ledger.size() == size


async def kinds_of(studio: Studio) -> list[str]:
    """The kinds of the learner's entries."""
    return [e.kind for e in await studio.service.ledger.of_subject(studio.learner_id)]


@pytest.mark.both_databases
async def test_an_erasure_that_broke_after_its_key_is_finished_with_its_rows_and_its_entry(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No template and no key show it any more; an entry of an earlier face is not this one's."""
    await studio.service.erase_biometrics(studio.learner_id)
    studio.clock.advance(DAY)
    registry = studio.service.registry
    await registry.put_template(studio.learner_id, b"second", Provenance.ID_PHOTO)
    await studio.service.office.approve(studio.learner_id, actor="counter", reason="seen")
    lesson = await studio.open()
    await lesson.close()
    await studio.service.withdraw_consent(studio.learner_id, studio.consent_id)
    await studio.service.settled()
    house = studio.service._stage.housekeeping
    database, keys = house._database, registry._keys
    row = {
        "session_id": lesson.id,
        "part": 1,
        "learner_id": studio.learner_id,
        "prints": b"sealed",
        "keep_until_ms": studio.service.now_ms() + 90 * DAY,
    }

    async def seen(tx: Transaction) -> None:
        await tx.connection.execute(insert(frame_fingerprints), row)

    await database.write(seen)
    destroy = keys.destroy

    async def broken(*_: Any) -> Any:
        raise StorageError("disk full")

    async def then_breaks(*args: Any, **options: Any) -> Any:
        gone = await destroy(*args, **options)
        changed.setattr(database, "write", broken)
        return gone

    with monkeypatch.context() as changed:
        changed.setattr(keys, "destroy", then_breaks)
        with pytest.raises(StorageError):
            await house.run()
    assert await keys.get(studio.learner_id, Realm.FACE) is None
    assert (await kinds_of(studio)).count("biometrics_erased") == 1
    await studio.service.keep_house()
    assert (await kinds_of(studio)).count("biometrics_erased") == 2
    last = (await studio.service.ledger.of_subject(studio.learner_id))[-1]
    assert last.content["data"]["templates"] == 1
    assert (await _rows(studio))["frame_fingerprints"] == []
    size = await studio.service.ledger.size()
    await studio.service.keep_house()
    assert await studio.service.ledger.size() == size


@pytest.mark.both_databases
async def test_whoever_enrols_again_before_the_old_key_is_gone_gets_a_new_one(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next start and the next round destroy what was made before the erasure, not his face."""
    await studio.service.withdraw_consent(studio.learner_id, studio.consent_id)
    registry, learner = studio.service.registry, studio.learner_id

    async def refused(*_: Any, **__: Any) -> Any:
        raise StorageError("disk full")

    with monkeypatch.context() as changed:
        changed.setattr(registry._keys, "destroy", refused)
        with pytest.raises(StorageError):
            await studio.service.keep_house()
    await registry.put_template(learner, b"new", Provenance.ID_PHOTO)
    await registry.give_consent(learner, text_version="2026-11")
    await studio.restart()
    assert (await studio.service.registry.template(learner)).blob == b"new"
    await studio.service.keep_house()
    assert (await studio.service.registry.template(learner)).blob == b"new"
    assert (await kinds_of(studio)).count("biometrics_erased") == 1


@pytest.mark.both_databases
async def test_a_face_enrolled_while_the_old_one_is_erased_stays(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its templates are taken; before their key goes he enrols again: the new face is his."""
    await studio.service.withdraw_consent(studio.learner_id, studio.consent_id)
    registry, learner = studio.service.registry, studio.learner_id
    real = registry._keys.destroy

    async def enrols_first(*args: Any, **options: Any) -> Any:
        monkeypatch.setattr(registry._keys, "destroy", real)
        await registry.put_template(learner, b"new", Provenance.ID_PHOTO)
        await registry.give_consent(learner, text_version="2026-11")
        return await real(*args, **options)

    monkeypatch.setattr(registry._keys, "destroy", enrols_first)
    assert (await studio.service.keep_house()).templates_of == (learner,)
    assert (await registry.template(learner)).blob == b"new"
    last = (await studio.service.ledger.of_subject(learner))[-1]
    assert (last.kind, last.content["data"]["templates"]) == ("biometrics_erased", 1)


async def test_a_face_whose_key_was_destroyed_before_it_was_stored_is_not_stored(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be noise for ever: he enrols again, which works."""
    registry, learner = studio.service.registry, studio.learner_id
    with monkeypatch.context() as changed:

        async def erased_meanwhile(*_: Any) -> None:
            await studio.service.erase_biometrics(learner)

        changed.setattr(registry, "_compare", erased_meanwhile)
        with pytest.raises(Conflict, match="erased"):
            await registry.put_template(learner, b"new", Provenance.ID_PHOTO)
    assert (await registry.template(learner)).version == 1
    await registry.put_template(learner, b"new", Provenance.ID_PHOTO)
    assert (await registry.template(learner)).blob == b"new"


async def test_a_corrected_name_keeps_no_face_longer(studio: Studio) -> None:
    """The course ended with its first certificate: another paper is no other end."""
    lesson = await studio.open()
    await lesson.watch(600)
    number = (await lesson.close()).certificate
    assert number is not None
    studio.clock.advance(20 * DAY)
    await studio.service.settled()
    await studio.service.revoke_certificate(number, actor="counter", reason=NAME_CORRECTED)
    studio.clock.advance(14 * DAY)
    await studio.service.settled()
    assert (await studio.service.registry.template(studio.learner_id)).blob is None


async def test_names_go_after_the_years_that_records_are_kept(studio: Studio) -> None:
    """Three years after the last session there is a pseudonym only."""
    people = studio.service.registry.people
    await people.record(studio.learner_id, name="Ouyang Feng", identity_number=NUMBER)
    lesson = await studio.open()
    await lesson.close()
    studio.clock.advance(2 * 365 * DAY)
    await studio.service.settled()
    assert await people.read(studio.learner_id) is not None
    studio.clock.advance(370 * DAY)
    await studio.service.settled()
    assert await people.read(studio.learner_id) is None


@pytest.mark.both_databases
async def test_pseudonymous_records_go_too_and_the_ledger_says_so(studio: Studio) -> None:
    """Every row is gone, the ledger is intact and whole, the entry is a proof; others stay."""
    lesson = await studio.open()
    await lesson.watch(120)
    await lesson.close()
    other, _ = await studio.enrol()
    entries = await studio.service.ledger.size()
    studio.clock.advance(3 * 366 * DAY - DAY)
    assert (await studio.service.keep_house()).records_of == ()
    studio.clock.advance(2 * DAY)
    await studio.service.settled()
    assert other not in (await studio.service.keep_house()).records_of  # gone by itself already
    audit = await studio.service.audit()
    assert audit.intact, audit.findings
    assert audit.entries > entries
    with pytest.raises(NotFound):
        await studio.service.erase_person(studio.learner_id, actor="counter", cause="asked")
    book = studio.service.ledger
    (purged,) = [e for e in await book.of_subject(studio.learner_id) if e.kind == "records_purged"]
    assert purged.content["data"]["sessions"] == [lesson.id]
    assert purged.content["data"]["rows"] > 5
    assert purged.content["data"]["actor"] == "housekeeping"
    async with studio.service._database.read() as connection:
        for table in metadata.sorted_tables:
            if table.name.startswith("ledger_") or table.name in ("boots", "programmes"):
                continue
            for row in (await connection.execute(select(table))).mappings():
                assert studio.learner_id not in row.values(), table.name
                assert lesson.id not in row.values(), table.name


async def test_a_purge_is_proven_offline(studio: Studio) -> None:
    """As every erasure: the entry under a signed head."""
    lesson = await studio.open()
    await lesson.close()
    gone = await studio.service._stage.erasure.records(
        studio.learner_id, actor="counter", cause="records_kept_long_enough"
    )
    content = verify_erasure(gone.proof, studio.keyring)
    assert (content["kind"], content["data"]["sessions"]) == ("records_purged", [lesson.id])


async def test_rows_of_a_purged_session_that_come_back_are_found(studio: Studio) -> None:
    """What the ledger calls removed has to be removed."""
    lesson = await studio.open()
    await lesson.watch(60)
    await lesson.close()
    async with studio.service._database.read() as connection:
        run = dict((await connection.execute(select(presence_runs))).mappings().first() or {})
    await studio.service._stage.erasure.records(studio.learner_id, actor="counter", cause="test")
    names = ", ".join(run)
    values = ", ".join(f":{name}" for name in run)
    statement = f"INSERT INTO presence_runs ({names}) VALUES ({values})"  # noqa: S608
    await tamper(studio.url, ("PRAGMA foreign_keys = OFF", {}), (statement, run))
    assert {f.what for f in (await studio.service.audit()).findings} == {"evidence"}


@pytest.mark.both_databases
@pytest.mark.parametrize("sign", ["consent", "approval", "name", "invitation", "sign-in"])
async def test_whoever_comes_back_keeps_his_records(studio: Studio, sign: str) -> None:
    """After three years, to begin the next course, though he has not studied yet."""
    service, learner = studio.service, studio.learner_id
    await service.registry.people.record(learner, name="Ouyang Feng", identity_number=NUMBER)
    lesson = await studio.open()
    await lesson.close()
    studio.clock.advance(3 * 366 * DAY - DAY)
    if sign == "consent":
        await service.registry.give_consent(learner, text_version="2029-11")
    elif sign == "approval":
        await service.office.refuse(learner, actor="counter", reasons=["another picture, please"])
    elif sign == "name":
        await service.registry.people.record(learner, name="Ouyang Ming", identity_number=NUMBER)
    elif sign == "invitation":
        await service.sign_in.invite(learner)
    else:
        invited = await service.sign_in.invite(learner)
        await service.sign_in.by_link(invited.link_token, address="")
        gone = delete(invitations)
        await service._database.write(lambda tx: tx.connection.execute(gone))
    studio.clock.advance(2 * DAY)
    swept = await service.keep_house()
    await service.settled()
    assert (swept.persons, swept.records_of) == ((), ())
    assert await service.registry.people.read(learner) is not None
    studio.clock.advance(3 * 366 * DAY)
    await service.settled()
    with pytest.raises(NotFound):
        await service.registry.learner(learner)


async def test_what_is_open_keeps_the_records(studio: Studio) -> None:
    """A review that nobody has decided, or a newer certificate, holds everything."""
    lesson = await studio.open()
    await lesson.watch(120)
    studio.verifier.show(lesson.id, Decision.MISMATCH)
    await lesson.watch(600)
    await studio.service.settled()
    (review,) = await studio.service.casework.reviews.of_session(lesson.id)
    studio.clock.advance(4 * 366 * DAY)
    assert (await studio.service.keep_house()).records_of == ()
    await studio.service.casework.decide(
        review.id, actor="li", ruling=Ruling.UPHELD, reason="somebody else"
    )
    assert (await studio.service.keep_house()).records_of == ()
    studio.clock.advance(4 * 366 * DAY)
    await studio.service.settled()
    assert (await studio.service.audit()).intact
    with pytest.raises(NotFound):
        await studio.service.erase_person(studio.learner_id, actor="counter", cause="asked")


def standing(**more: Any) -> Standing:
    """Somebody who enrolled on day 1 and has one course, certified on day 10."""
    course = CourseStanding(policy=POLICY, last_ms=10 * DAY, certified_ms=10 * DAY)
    given: dict[str, Any] = {
        "enrolled_ms": DAY,
        "consent": True,
        "busy": False,
        "courses": (course,),
    }
    return Standing(**{**given, **more})


def test_why_a_face_may_not_be_kept_any_longer() -> None:
    """Every reason, and what holds each back."""
    running = CourseStanding(policy=POLICY, last_ms=10 * DAY, certified_ms=None)
    assert due(standing(), POLICY, 25 * DAY) is None
    assert due(standing(), POLICY, 60 * DAY) == "course_over"
    assert due(standing(busy=True), POLICY, 60 * DAY) is None
    assert due(standing(consent=False), POLICY, 2 * DAY) == "consent_withdrawn"
    assert due(standing(consent=False, busy=True), POLICY, 60 * DAY) is None
    assert due(standing(courses=()), POLICY, 300 * DAY) is None
    assert due(standing(courses=()), POLICY, 400 * DAY) == "never_studied"
    assert due(standing(courses=(running,)), POLICY, 300 * DAY) is None
    assert due(standing(courses=(running,)), POLICY, 500 * DAY) == "course_over"
    enrolled_since = standing(enrolled_ms=50 * DAY)
    assert due(enrolled_since, POLICY, 60 * DAY) is None
    assert due(enrolled_since, POLICY, 414 * DAY) is None
    assert due(enrolled_since, POLICY, 416 * DAY) == "course_over"


async def test_the_filing_duty_is_told(
    studio: Studio, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From 80 000 faces on the log warns, from 100 000 on it says what is due."""
    monkeypatch.setattr("session_tracker.housekeeping.FILING_PREPARE", 1)
    await studio.service.keep_house()
    assert "prepare the filing" in caplog.text
    monkeypatch.setattr("session_tracker.housekeeping.FILING_DUE", 1)
    await studio.service.keep_house()
    assert "file within 30 working days" in caplog.text


def test_a_ring_without_the_key_says_so() -> None:
    """A proof is checked with the keys that signed it."""
    with pytest.raises(BadRequest):
        verify_erasure({}, KeyRing())
