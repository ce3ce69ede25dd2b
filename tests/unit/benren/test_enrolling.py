"""Enrolment by the learner, in one process and over HTTP: the same answers both ways."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from benren.enrolling import LocalEnroller, RemoteEnroller
from benren.problems import ServiceUnreachable
from benren.server import listening
from session_tracker.enroller import Enroller
from verifier.api.testing import scripted_verifier
from verifier.errors import ImageUnreadable
from verifier.streaming.testing import Person, scene
from verifier.types import Reason


@pytest_asyncio.fixture(params=["local", "remote"])
async def enroller(request: pytest.FixtureRequest) -> AsyncIterator[Enroller]:
    """An enroller on a scripted verifier."""
    site = scripted_verifier()
    try:
        if request.param == "local":
            yield LocalEnroller(site.batcher, site.vault)
        else:
            async with listening(site.app) as address, RemoteEnroller(address) as remote:
                yield remote
    finally:
        await site.batcher.close()


async def test_a_good_picture_becomes_a_template(enroller: Enroller) -> None:
    """It would do, it does, and the blob is the verifier's."""
    picture = scene("li")
    assert await enroller.look(picture) == "ok"
    for live in (False, True):
        taken = await enroller.enrol("lrn_1", picture, live=live)
        assert taken.template
        assert taken.advice == ()


async def test_a_bad_picture_gets_advice(enroller: Enroller) -> None:
    """Every reason becomes advice, the first to mend first."""
    picture = scene(Person(who="li", reasons=(Reason.BLURRED, Reason.FACE_TOO_SMALL)))
    assert await enroller.look(picture) == "come_closer"
    taken = await enroller.enrol("lrn_1", picture, live=True)
    assert taken.template is None
    assert taken.advice == ("come_closer", "hold_still")
    assert await enroller.look(scene()) == "no_face"


async def test_a_picture_of_a_picture_is_no_selfie(enroller: Enroller) -> None:
    """A selfie has to be alive; a photographed document cannot be."""
    picture = scene(Person(who="li", live=0.02))
    taken = await enroller.enrol("lrn_1", picture, live=True)
    assert (taken.template, taken.advice) == (None, ("not_live",))
    assert (await enroller.enrol("lrn_1", picture, live=False)).template


async def test_what_is_no_picture_is_refused(enroller: Enroller) -> None:
    """Bytes that cannot be read are an error, not advice."""
    with pytest.raises(ImageUnreadable):
        await enroller.look(b"not a picture")


async def test_a_verifier_that_does_not_answer_is_told() -> None:
    """The line is named where it fails."""
    async with RemoteEnroller("http://127.0.0.1:9") as remote:
        with pytest.raises(ServiceUnreachable):
            await remote.look(b"x")
