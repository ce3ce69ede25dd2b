"""The whole demo: services on loopback, lessons, proofs; the command prints what came of it."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

from benren import __version__
from benren.client import BenrenClient
from benren.compose import build
from benren.config import Config
from benren.demo.album import Album
from benren.demo.cast import CAST, LESSON_S, Role
from benren.demo.device import PROGRAMME
from benren.demo.outcome import Outcome, judge
from benren.demo.player import Player
from benren.demo.poses import PoseStudio
from benren.demo.proofs import (
    certificate_holds,
    changed_byte_shows,
    changed_certificate_fails,
    ledger_holds,
)
from benren.demo.report import Play, Proof
from benren.server import listening
from verifier.clock import ManualClock, SystemClock
from verifier.models.store import Store

_BEFORE = timedelta(seconds=2 * LESSON_S)
"""The lessons lie so far in the past that they end before the real now."""


async def run(
    config: Config,
    album: Album,
    out: Path,
    *,
    roles: Sequence[Role] = CAST,
    progress: Callable[[int], None] = lambda _: None,
) -> Play:
    """Play the lessons, write the certificate to `out`, try the proofs.

    Raises BenrenError where the services cannot start.
    """
    real = SystemClock()
    started = real.stamp()
    clock = ManualClock(started.utc.replace(microsecond=0) - _BEFORE)
    studio = await asyncio.to_thread(PoseStudio.of_store, Store.default())
    services = await build(config, clock, environ={})
    try:
        tracker = services.tracker
        assert tracker is not None  # noqa: S101 - the demo's settings ask for both services
        async with listening(services.app) as url, BenrenClient(url) as client:
            player = Player(client, clock, album, studio=studio, settled=services.settled)
            outcomes = await player.play(roles, progress)
            certificate = await _certificate(client, outcomes, out)
            await client.ledger_head()
        public_keys = out / "public-keys.json"
        public_keys.write_text(json.dumps(services.keyring.public_jwks()), encoding="utf-8")
        described = tracker.context()
        policy = tracker.registry.programmes.policy(PROGRAMME)
    finally:
        await services.stop()
    return Play(
        outcomes=outcomes,
        findings=[judge(outcome) for outcome in outcomes],
        proofs=_proofs(config, certificate, public_keys),
        album=album,
        models=dict(described.models),
        profile=described.profile,
        policy=f"{policy.name}@{policy.version}",
        version=__version__,
        date=f"{clock.stamp().utc:%Y-%m-%d}",
        wall_s=real.stamp().ms_since(started) / 1_000,
    )


async def _certificate(client: BenrenClient, outcomes: Sequence[Outcome], out: Path) -> Path | None:
    """Save the certificate of the first learner who reached the target, if there is one."""
    for outcome in outcomes:
        course = await client.credit(outcome.learner_id, PROGRAMME)
        if course["certificate"]:
            path = out / "certificate.json"
            path.write_bytes(await client.certificate_document(course["certificate"]))
            return path
    return None


def _proofs(config: Config, certificate: Path | None, public_keys: Path) -> list[Proof]:
    with tempfile.TemporaryDirectory(prefix="benren-demo-") as place:
        about_ledger = [ledger_holds(config), changed_byte_shows(config, Path(place))]
    if certificate is None:
        return [
            Proof(
                title="No certificate",
                command="benren certificate verify",
                output="nobody reached the target",
                expected="The learner who studied should have been issued one.",
                holds=False,
            ),
            *about_ledger,
        ]
    return [
        certificate_holds(certificate, public_keys),
        changed_certificate_fails(certificate, public_keys),
        *about_ledger,
    ]
