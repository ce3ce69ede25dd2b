"""Yesterday's recording, through the whole product: real networks, the ledger, a day in between."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from benren.client import BenrenClient
from benren.compose import build
from benren.config import Config, load_settings
from benren.demo.album import Album, open_album
from benren.demo.cast import CAST, LESSON_S, Role, camera_of
from benren.demo.device import Device
from benren.demo.player import Player
from benren.demo.poses import PoseStudio
from benren.server import listening
from verifier.clock import ManualClock, SystemClock
from verifier.models.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benren.compose import Services

pytestmark = [pytest.mark.models, pytest.mark.faces, pytest.mark.slow]

DAY_MS = 86_400_000


class Filmed:
    """The learner's own camera, while something keeps what it sends."""

    def __init__(self, role: Role, album: Album, studio: PoseStudio) -> None:
        self._camera = camera_of(role, album, studio)
        self.film: list[bytes] = []

    def frame(self, n: int, t_s: float) -> bytes:
        """Give the `n`-th frame, and keep it."""
        self.film.append(self._camera.frame(n, t_s))
        return self.film[-1]

    def told(self, turn: str | None, t_s: float) -> None:
        """The learner turns when he is asked to."""
        self._camera.told(turn, t_s)


class Replayed:
    """A camera that shows a film again, encoded anew; it cannot be told anything."""

    def __init__(self, film: list[bytes]) -> None:
        self._film = film

    def frame(self, n: int, t_s: float) -> bytes:
        """Give the `n`-th frame; the film comes round again where it ends."""
        kept = np.frombuffer(self._film[n % len(self._film)], np.uint8)
        picture = cv2.imdecode(kept, cv2.IMREAD_COLOR)
        assert picture is not None
        return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 80])[1])

    def told(self, turn: str | None, t_s: float) -> None:
        """Nobody hears."""


@asynccontextmanager
async def school(
    config: Config, clock: ManualClock
) -> AsyncIterator[tuple[Services, BenrenClient]]:
    """The whole product on loopback, on a clock that the test moves."""
    services = await build(config, clock, environ={})
    try:
        async with listening(services.app) as url, BenrenClient(url) as client:
            yield services, client
    finally:
        await services.stop()


CHANGED = {
    "challenge_at_start": "challenge_at_start = false",
    "challenge_share": "challenge_share = 0.0",
    "initial_class_hours": "initial_class_hours = 16",
}
"""No challenge, which no recording passes anyway; and a course that one lesson does not end."""


@pytest.fixture
def config(tmp_path: Path, pack_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Settings of the demo, in a folder of the test's own, with rules that ask for no challenge."""
    monkeypatch.setenv("BENREN_MODELS", str(pack_dir))
    rules = resources.files("session_tracker.policies").joinpath("demo.toml").read_text("utf-8")
    lines = [CHANGED.get(line.partition(" ")[0], line) for line in rules.splitlines()]
    assert set(CHANGED.values()) <= set(lines)
    policy = tmp_path / "demo.toml"
    policy.write_text("\n".join(lines), encoding="utf-8")
    return load_settings(
        Config,
        data_directory=tmp_path,
        key_directory=tmp_path / "keys",
        database_url="",
        host="127.0.0.1",
        only="both",
        policies=(str(policy),),
        api_keys=(),
        pack="open",
    )


async def test_yesterdays_recording_earns_nothing(config: Config, faces_dir: Path) -> None:
    """What a learner's camera sent in an honest lesson is played again a day later: 0 seconds.

    His player is a manipulated one that runs on whatever it is told. The first lesson earns its
    hours, so that it is the recording that fails. No challenge is asked for: it is the fingerprints
    of the lesson before that give it away.
    """
    role = next(role for role in CAST if role.key == "genuine")
    album = open_album(faces_dir)
    clock = ManualClock(SystemClock().stamp().utc.replace(microsecond=0))
    studio = await asyncio.to_thread(PoseStudio.of_store, Store.default())
    async with school(config, clock) as (services, client):
        player = Player(client, clock, album, studio=studio, settled=services.settled)
        filmed = Filmed(role, album, studio)
        honest = await player.admit(role, filmed)
        await player.study([honest])
        clock.advance(DAY_MS)
        await services.settled()
        cheat = Device(
            replace(role, cheats=True),
            Replayed(filmed.film),
            client,
            clock,
            learner_id=honest.learner_id,
            consent_id=honest.consent_id,
        )
        await cheat.open()
        await player.study([cheat])
        first = [await client.explain(session) for session in honest.sessions]
        again = [await client.explain(session) for session in cheat.sessions]
    assert credited_s(first) > LESSON_S / 2
    assert cheat.watched_s >= LESSON_S - 5
    assert credited_s(again) == 0


def credited_s(stories: list[dict[str, Any]]) -> float:
    """Sum what sessions were credited, in seconds."""
    spans = (span for story in stories for span in story["credited"])
    return sum(span["end_ms"] - span["start_ms"] for span in spans) / 1_000
