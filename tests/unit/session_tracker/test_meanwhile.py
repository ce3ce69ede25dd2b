"""What is withdrawn, refused or erased while a session opens or runs ends there and then."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest
from sqlalchemy import func, select

from session_tracker.events import Check, Outcome
from session_tracker.fingerprints import _Collected
from session_tracker.learner_keys import Realm
from session_tracker.openings import OpenedSupervised
from session_tracker.policy import Provenance, load_policy
from session_tracker.refusals import EnrolmentRefused, FaceNeeded
from session_tracker.store.schema import consents, sessions
from session_tracker.store.tables_reviews import pictures
from session_tracker.store.tables_streams import frame_fingerprints
from session_tracker.testing import Lesson, Studio
from verifier.errors import BenrenError, Conflict, Refused, StorageError, StreamGone
from verifier.types import Decision

pytestmark = pytest.mark.both_databases
Act: TypeAlias = Callable[[Studio], Awaitable[object]]


async def withdraws(studio: Studio) -> None:
    """The learner takes the consent back."""
    await studio.service.withdraw_consent(studio.learner_id, studio.consent_id)


async def erases(studio: Studio) -> None:
    """The learner has the face erased."""
    await studio.service.erase_biometrics(studio.learner_id)


async def refuses(studio: Studio) -> None:
    """Staff refuse the registration."""
    await studio.service.refuse_registration(studio.learner_id, actor="li", reasons=["not him"])


async def enrols(studio: Studio) -> None:
    """Another face is enrolled."""
    registry = studio.service.registry
    await registry.put_template(studio.learner_id, b"another", Provenance.ID_PHOTO)


def meanwhile(
    monkeypatch: pytest.MonkeyPatch, studio: Studio, place: object, name: str, act: Act
) -> None:
    """Have it happen just before an async method of `place` does its work, once."""
    real = getattr(place, name)
    left = [act]

    async def interrupted(*args: Any, **more: Any) -> Any:
        while left:
            await left.pop()(studio)
        return await real(*args, **more)

    monkeypatch.setattr(place, name, interrupted)


async def count(studio: Studio, column: Any) -> int:
    """How many rows of a table are about the learner."""
    query = select(func.count()).where(column == studio.learner_id)
    async with studio.service._database.read() as connection:
        return int(await connection.scalar(query) or 0)


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (withdraws, Refused),
        (erases, FaceNeeded),
        (refuses, EnrolmentRefused),
        (enrols, Conflict),
    ],
)
async def test_no_session_opens_on_what_ended_meanwhile(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, act: Act, error: type[BenrenError]
) -> None:
    """Between the admission and the store: refused, and neither session nor stream is left."""
    meanwhile(monkeypatch, studio, studio.service.office, "needs_challenge", act)
    with pytest.raises(error):
        await studio.open()
    assert await count(studio, sessions.c.learner_id) == 0
    assert studio.verifier.streams == {}
    assert len(studio.service._stage.turns.sessions) == 0
    assert (await studio.service.audit()).intact


async def test_a_session_that_is_being_stored_is_ended_by_whoever_comes_then(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it is on its way into the store the withdrawal finds it, and waits for it."""
    withdrawn: list[Any] = []
    real = studio.service._stage.turns.commit

    async def commit(*args: Any, **more: Any) -> None:
        await real(*args, **more)
        if not withdrawn:
            withdrawn.append(asyncio.create_task(withdraws(studio)))

    monkeypatch.setattr(studio.service._stage.turns, "commit", commit)
    lesson = await studio.open()
    await withdrawn[0]
    await studio.service.settled()
    assert (await lesson.view()).state == "settled"


async def supervised(studio: Studio) -> OpenedSupervised:
    """Open a session without a face."""
    return await studio.service.openings.open_supervised(
        learner_id=studio.learner_id,
        programme="demo",
        media=["lesson-1"],
        minutes=30,
        actor="counter",
        reason="no face",
    )


async def withdraws_every_consent(studio: Studio) -> None:
    """The learner takes back whatever he agreed to."""
    async with studio.service._database.read() as connection:
        query = select(consents.c.id).where(consents.c.learner_id == studio.learner_id)
        given = list((await connection.scalars(query)).all())
    for consent_id in given:
        await studio.service.withdraw_consent(studio.learner_id, consent_id)


@pytest.mark.parametrize(
    ("act", "error"), [(refuses, EnrolmentRefused), (withdraws_every_consent, Refused)]
)
async def test_the_same_holds_under_supervision(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, act: Act, error: type[BenrenError]
) -> None:
    """The registration, and the learner's choice of this route."""
    meanwhile(monkeypatch, studio, studio.service.openings, "_held_elsewhere", act)
    with pytest.raises(error):
        await supervised(studio)
    assert await count(studio, sessions.c.learner_id) == 0


# --- erasing while a lesson runs ---------------------------------------------------------------


@pytest.fixture
def pictured(studio: Studio) -> Studio:
    """A programme that keeps pictures of failed checks."""
    assert load_policy("demo").evidence_pictures.store == "on_failure"
    return studio


async def fails_a_check(studio: Studio, lesson: Lesson) -> None:
    """Somebody else is seen, and a check says so, where there is still a stream to ask."""
    with contextlib.suppress(StreamGone):
        studio.verifier.show(lesson.id, Decision.MISMATCH, new_track=False)
        await lesson.watch(25, share=1)


async def test_nothing_is_stored_after_the_proof_of_an_erasure(
    pictured: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sessions end first: a check that fails in between makes no key and leaves no picture."""
    studio, service = pictured, pictured.service
    lesson = await studio.open()
    await lesson.watch(60)
    erasure = service._stage.erasure
    real = erasure.biometrics

    async def then_a_check_fails(*args: Any, **more: Any) -> Any:
        erased = await real(*args, **more)
        await fails_a_check(studio, lesson)
        return erased

    monkeypatch.setattr(erasure, "biometrics", then_a_check_fails)
    await service.erase_biometrics(studio.learner_id)
    await service.settled()
    assert (await lesson.view()).state == "settled"
    assert await count(studio, pictures.c.learner_id) == 0
    assert await service._learner_keys.get(studio.learner_id, Realm.FACE) is None


async def test_without_a_key_a_failed_check_leaves_no_picture(pictured: Studio) -> None:
    """Where a session could not be ended before the erasure: no key is made for its pictures."""
    studio, service = pictured, pictured.service
    lesson = await studio.open()
    await lesson.watch(60)
    await service._learner_keys.destroy(studio.learner_id, Realm.FACE)
    await fails_a_check(studio, lesson)
    checks = [fact for fact in await service.facts(lesson.id) if isinstance(fact, Check)]
    assert checks[-1].outcome is Outcome.MISMATCH
    assert await count(studio, pictures.c.learner_id) == 0
    assert await service._learner_keys.get(studio.learner_id, Realm.FACE) is None


async def test_fingerprints_on_their_way_are_not_stored_after_an_erasure(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sealed before, stored after: they are let go."""
    lesson = await studio.open()
    await lesson.watch(60)
    prints = studio.service._stage.fingerprints
    waiting = _Collected(learner_id=studio.learner_id, days=90, prints=bytearray(64))
    prints._collected[lesson.id] = waiting
    keys = studio.service._learner_keys
    real = keys.get

    async def read_then_erased(learner_id: str, realm: Realm) -> Any:
        key = await real(learner_id, realm)
        monkeypatch.setattr(keys, "get", real)
        await erases(studio)
        return key

    monkeypatch.setattr(keys, "get", read_then_erased)
    await prints.keep(lesson.id)
    assert await count(studio, frame_fingerprints.c.learner_id) == 0


async def test_an_erasure_is_held_up_by_no_session(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be ended at once is ended with the second attempt; the face is gone anyway."""
    lesson = await studio.open()
    await lesson.watch(60)
    real = studio.service._stage.end
    refused = [True]

    async def end(*args: Any, **more: Any) -> None:
        if refused:
            refused.pop()
            raise StorageError("disk full")
        await real(*args, **more)

    monkeypatch.setattr(studio.service._stage, "end", end)
    erased = await studio.service.erase_biometrics(studio.learner_id)
    assert erased.templates == 1
    await studio.service.settled()
    assert (await lesson.view()).state == "settled"
