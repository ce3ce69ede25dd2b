"""Presence at a glance decides as exact presence does, on photographs before a camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from benren.demo.cameras import VGA, Camera, Handheld, Lens, read_photograph
from verifier.clock import ManualClock
from verifier.keys import KeyRing
from verifier.models.packs import load_pack
from verifier.models.runtime import Runtime
from verifier.models.store import Store
from verifier.pipeline.batching import Batcher
from verifier.pipeline.engine import Engine
from verifier.pipeline.intake import decode
from verifier.pipeline.profile import load_profile
from verifier.pipeline.savings import Savings
from verifier.pipeline.templates import TemplateVault, embedding_of
from verifier.streaming.hub import StreamHub
from verifier.types import CheckRequest, EventKind, StreamEvent, StreamSpec

pytestmark = [pytest.mark.models, pytest.mark.faces]

LENS = Lens(exposure=0.12, blur_px=0.9, noise=1.5, jpeg_quality=66)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a stream came to: what the rules hear, and what the learner hears."""

    presence: list[tuple[int, int, str]]
    """Track, faces and advice of each frame."""
    looks: list[tuple[int, str]]
    """Frame and decision of each identity sample."""
    check: str


async def played(engine: Engine, photo: bytes, frames: Sequence[bytes]) -> Told:
    """Show frames, 5 s apart, to a stream of whoever is on the photograph."""
    clock = ManualClock()
    events: list[StreamEvent] = []

    async def sink(event: StreamEvent) -> None:
        events.append(event)

    async with Batcher(engine, decode=decode) as batcher:
        keys = KeyRing.generate(clock)
        vault = TemplateVault(keys, embedder=batcher.models["embedder"], clock=clock)
        hub = StreamHub(batcher, vault, keys, clock=clock, draw=lambda: 0.999)
        hub.subscribe(sink)
        (frame,) = await batcher.decode([photo])
        face = embedding_of(await batcher.enrol(frame, strict=False))
        template = vault.seal(subject="li", embedding=face, quality={})
        grant = await hub.open_stream(StreamSpec(session_id="s", subject="li", template=template))
        advice = []
        for seq, data in enumerate(frames, start=1):
            clock.advance(5_000)
            cue = await hub.push_frame(grant.stream_id, grant.client_token, seq=seq, data=data)
            advice.append(cue.advice.value)
            await hub.settled()
        check = await hub.check(grant.stream_id, CheckRequest(check_id="last"))
        await hub.aclose()
    seen = [event for event in events if event.kind is EventKind.PRESENCE]
    return Told(
        presence=[(e.track, e.faces, a) for e, a in zip(seen, advice, strict=True)],
        looks=[(e.frame_seq, str(e.decision)) for e in events if e.kind is EventKind.IDENTITY],
        check=str(check.decision),
    )


@pytest.fixture
def exact(pack_dir: Path) -> Engine:
    """An engine that takes close looks at every face."""
    pack = load_pack("open", Store.default(models_dir=pack_dir), Runtime("cpu", threads=1))
    return Engine(pack, load_profile(None), Savings(glances=False))


def person(faces_dir: Path, number: int) -> Path:
    """Find a photograph of somebody."""
    return sorted((faces_dir / "families").glob("*.jpg"))[number]


def film(photograph: Path, seed: int, count: int) -> list[bytes]:
    """Have somebody sit before a camera in his hand."""
    camera = Camera(Handheld([read_photograph(photograph)], VGA, seed), seed=seed, lens=LENS)
    return [camera.frame(number, number * 5.0) for number in range(count)]


def small(photograph: Path, share: float, x: float = 0.5, under: bytes = b"") -> bytes:
    """Have somebody sit far away, in an empty room or beside whoever is in a picture."""
    room = np.full((480, 640, 3), 120, np.uint8)
    if under:
        room = np.array(cv2.imdecode(np.frombuffer(under, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    picture = cv2.imread(str(photograph))
    assert picture is not None
    height = round(480 * share)
    size = (round(picture.shape[1] * height / picture.shape[0]), height)
    picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    left = round(x * (640 - size[0]))
    room[480 - height :, left : left + size[0]] = picture
    noise = np.random.default_rng(round(1_000 * share + 100 * x)).normal(0, 2, room.shape)
    noisy = np.clip(room + noise, 0, 255).astype(np.uint8)
    return cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, 70])[1].tobytes()


def empty(count: int) -> list[bytes]:
    """A room without anybody, with the noise of a camera."""
    rng = np.random.default_rng(2)
    room = np.clip(rng.normal(120, 3, (count, 480, 640, 3)), 0, 255).astype(np.uint8)
    return [cv2.imencode(".jpg", one)[1].tobytes() for one in room]


def covered(count: int) -> list[bytes]:
    """A lens under a thumb."""
    rng = np.random.default_rng(3)
    dark = np.clip(rng.normal(6, 2, (count, 480, 640, 3)), 0, 255).astype(np.uint8)
    return [cv2.imencode(".jpg", one)[1].tobytes() for one in dark]


@pytest.mark.parametrize("scene", ["alone", "swapped", "second face", "empty", "covered", "far"])
async def test_glances_decide_as_exact_presence_does(
    faces_dir: Path, exact: Engine, scene: str
) -> None:
    """Tracks, faces, looks and the check are the same for whoever sits there, or nobody."""
    one, other = person(faces_dir, 3), person(faces_dir, 14)
    mine, theirs = film(one, 1, 9), film(other, 2, 9)
    shown = {
        "alone": mine,
        "swapped": [*mine[:4], *theirs[4:8]],
        "second face": [
            small(one, 0.62, 0.1),
            *(small(other, 0.45, 0.95, under=small(one, 0.6, 0.1 + n / 100)) for n in range(4)),
            *(small(one, 0.61, 0.1 + n / 100) for n in range(3)),
        ],
        "empty": [*mine[:3], *empty(3), *mine[3:5]],
        "covered": [*mine[:3], *covered(3), *mine[3:5]],
        "far": [small(one, 0.3 + n / 50, 0.4 + n / 50) for n in range(8)],
    }[scene]
    photo = one.read_bytes()
    expected = await played(exact, photo, shown)
    found = await played(exact.with_savings(Savings()), photo, shown)
    assert [(t, f) for t, f, _ in found.presence] == [(t, f) for t, f, _ in expected.presence]
    assert (found.looks, found.check) == (expected.looks, expected.check)
    told = zip(found.presence, expected.presence, strict=True)
    assert sum(a[2] != b[2] for a, b in told) <= 1, "advice may differ at a limit"
