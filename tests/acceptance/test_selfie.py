"""Learners enrol themselves, on real networks: a selfie is taken, a picture of one is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from benren.demo.album import Album, Person, open_album
from benren.demo.attacks import on_screen, printed
from benren.demo.cameras import PHONE, Camera, Handheld, Scene
from benren.enrolling import LocalEnroller
from verifier.clock import ManualClock
from verifier.keys import KeyRing
from verifier.models.packs import load_pack
from verifier.models.runtime import Runtime
from verifier.models.store import Store
from verifier.pipeline.batching import Batcher
from verifier.pipeline.engine import Engine
from verifier.pipeline.intake import decode
from verifier.pipeline.profile import load_profile
from verifier.pipeline.templates import TemplateVault

pytestmark = [pytest.mark.models, pytest.mark.faces]

SHOTS = 4
"""Of everybody and of every attack, some seconds apart."""
EVERY_S = 3.0


@pytest_asyncio.fixture
async def enroller(model_store: Store, clock: ManualClock) -> AsyncIterator[LocalEnroller]:
    """The enroller of the whole product on the default pack."""
    pack = load_pack("open", model_store, Runtime("cpu"))
    async with Batcher(Engine(pack, load_profile()), decode=decode) as batcher:
        keys = KeyRing.generate(clock)
        vault = TemplateVault(keys, embedder=batcher.models["embedder"], clock=clock)
        yield LocalEnroller(batcher, vault)


@pytest.fixture(scope="module")
def album(faces_dir: Path) -> Album:
    """The people of the demo."""
    return open_album(faces_dir)


async def enrolled(
    enroller: LocalEnroller, album: Album, scene: Callable[[Person, int], Scene]
) -> Counter[str]:
    """Let everybody of the album try to enrol with a few shots; count what is answered."""
    answers: Counter[str] = Counter()
    for seed, person in enumerate(album.people.values()):
        camera = Camera(scene(person, seed), seed=seed)
        for shot in range(SHOTS):
            picture = camera.frame(shot, shot * EVERY_S)
            taken = await enroller.enrol("lrn_1", picture, live=True)
            answers["taken" if taken.template else str(taken.advice[0])] += 1
    return answers


async def test_living_people_are_taken(enroller: LocalEnroller, album: Album) -> None:
    """At least three shots of four make a template; the page tries again until one does."""
    answers = await enrolled(enroller, album, lambda p, seed: Handheld(p.poses, PHONE, seed))
    assert answers["taken"] >= 0.75 * answers.total(), answers


@pytest.mark.parametrize("held_up", [printed, on_screen])
async def test_a_picture_held_up_is_no_selfie(
    enroller: LocalEnroller, album: Album, held_up: Callable[..., Scene]
) -> None:
    """A print or a screen before the camera makes no template, and is told as what it is."""
    answers = await enrolled(enroller, album, lambda p, seed: held_up(p.portrait, PHONE, seed))
    assert answers["taken"] == 0, answers
    assert answers["not_live"] >= 1, answers
