"""Who may study what: the face that staff approved and no other; one course after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from session_tracker.policy import Provenance, Training, load_policy
from session_tracker.records import RegistrationState
from session_tracker.refusals import FaceNeeded, FaceWaits
from session_tracker.testing import Studio

pytestmark = pytest.mark.both_databases

DAY = 86_400_000


@pytest_asyncio.fixture
async def studio(database_url: str) -> AsyncIterator[Studio]:
    """A tracker of the demo policy."""
    made = Studio(database_url, policy=load_policy("demo"))
    await made.start()
    yield made
    await made.stop()


async def supervised(studio: Studio) -> None:
    """Open a session without a face, and end it."""
    opened = await studio.service.openings.open_supervised(
        learner_id=studio.learner_id,
        programme="demo",
        media=["lesson-1"],
        minutes=1,
        actor="counter",
        reason="no camera",
    )
    await studio.service.close(opened.session_id)
    await studio.service.settled()


# --- approval ----------------------------------------------------------------------------------


async def test_an_approval_is_of_one_face(studio: Studio) -> None:
    """Erased and enrolled anew, by whoever holds the phone: nobody has vetted that face."""
    service, learner = studio.service, studio.learner_id
    await service.withdraw_consent(learner, studio.consent_id)
    assert (await service.keep_house()).templates_of == (learner,)
    studio.consent_id = (await service.registry.give_consent(learner, text_version="1")).id
    with pytest.raises(FaceNeeded):
        await studio.open()
    await service.registry.put_template(learner, b"opaque", Provenance.SELF_PHOTO)
    registration = await service.registry.registration(learner)
    assert registration.state is RegistrationState.WAITING
    listed = await service.office.learners(state=RegistrationState.WAITING)
    assert [found.id for found, _ in listed] == [learner]
    with pytest.raises(FaceWaits):
        await studio.open()
    await service.office.approve(learner, actor="counter", reason="seen again")
    await (await studio.open()).close()


async def test_an_approval_without_a_face_approves_none(studio: Studio) -> None:
    """Approved before any face was enrolled: supervised study, and the face waits when it comes."""
    registry, office = studio.service.registry, studio.service.office
    learner = await registry.add_learner(
        category="principal", track=Training.INITIAL, industry="furniture", business_ref="b-1"
    )
    consent = await registry.give_consent(learner.id, text_version="1")
    studio.learner_id, studio.consent_id = learner.id, consent.id
    await office.approve(learner.id, actor="counter", reason="papers seen")
    await supervised(studio)
    await registry.put_template(learner.id, b"opaque", Provenance.VETTED_LIVE)
    with pytest.raises(FaceWaits):
        await studio.open()


async def test_an_approval_of_an_older_face_that_is_still_recorded_does_not_do(
    studio: Studio,
) -> None:
    """Whatever the state says, the version decides: states of before this rule are not trusted."""
    service, learner = studio.service, studio.learner_id
    await service.registry.put_template(learner, b"opaque", Provenance.ID_PHOTO)
    approved = await service.registry.registration(learner)
    await _record(studio, state="approved")
    assert approved.template_version == 1
    with pytest.raises(FaceWaits):
        await studio.open()
    await supervised(studio)


async def _record(studio: Studio, *, state: str) -> None:
    from sqlalchemy import update

    from session_tracker.store.tables_people import registrations

    mine = registrations.c.learner_id == studio.learner_id
    await studio.service._database.write(
        lambda tx: tx.connection.execute(update(registrations).where(mine).values(state=state))
    )


async def test_without_approval_a_new_face_changes_nothing(studio: Studio) -> None:
    """A refresher learner whom staff once approved studies on with a new face."""
    registry, office = studio.service.registry, studio.service.office
    learner = await registry.add_learner(
        category="principal", track=Training.REFRESHER, industry="furniture", business_ref="b-1"
    )
    consent = await registry.give_consent(learner.id, text_version="1")
    studio.learner_id, studio.consent_id = learner.id, consent.id
    await registry.put_template(learner.id, b"opaque", Provenance.SELF_LIVE)
    await office.approve(learner.id, actor="counter", reason="seen")
    await registry.put_template(learner.id, b"opaque", Provenance.SELF_LIVE)
    assert (await registry.registration(learner.id)).state is RegistrationState.APPROVED
    await (await studio.open()).close()
