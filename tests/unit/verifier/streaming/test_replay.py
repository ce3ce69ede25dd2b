"""What was shown before is no evidence, whenever it was shown and however it is encoded."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from verifier.clock import ManualClock
from verifier.errors import BadRequest
from verifier.pipeline.fingerprint import BYTES, fingerprint
from verifier.streaming.replay import ALARM, ReplayWatch
from verifier.streaming.testing import ScriptedEngine, scene
from verifier.types import Decision, EventKind, Reason, StreamSpec

if TYPE_CHECKING:
    from verifier.types import Image


def picture(seed: int) -> Image:
    """Something with structure of every size, as a room with a person has."""
    rng = np.random.default_rng(seed)
    total = np.zeros((480, 640, 3), np.float32)
    for width in (4, 8, 16, 32, 64):
        grid = rng.normal(0, 60 / width**0.5, (width * 3 // 4, width, 3)).astype(np.float32)
        total += cv2.resize(grid, (640, 480), interpolation=cv2.INTER_CUBIC)
    return np.clip(total + 128, 0, 255).astype(np.uint8)


def encoded(pixels: Image, quality: int, scale: float = 1.0) -> Image:
    """The same picture, gone through an encoder once more."""
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def test_a_fingerprint_survives_an_encoder_and_tells_pictures_apart() -> None:
    """Sixty-four bytes; a few signs change by encoding, half of them from picture to picture."""
    for seed in range(10):
        one = fingerprint(picture(seed))
        assert len(one) == BYTES
        for quality, scale in ((70, 1.0), (40, 1.0), (60, 0.5)):
            assert differing(one, fingerprint(encoded(picture(seed), quality, scale))) <= 14
        assert differing(one, fingerprint(picture(seed + 100))) >= 100


def differing(one: bytes, other: bytes) -> int:
    """In how many signs two fingerprints differ."""
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()


def test_earlier_sessions_are_known(clock: ManualClock) -> None:
    """A picture of another day is a repeat, encoded anew too; a new one is not."""
    earlier = [fingerprint(picture(seed)) for seed in range(50)]
    watch = ReplayWatch(b"".join(earlier))
    assert watch.take(fingerprint(encoded(picture(7), 50)), "a", clock.stamp())
    assert not watch.take(fingerprint(picture(99)), "b", clock.stamp())
    with pytest.raises(BadRequest):
        ReplayWatch(b"too short")


def test_within_a_session_only_what_lies_apart_counts(clock: ManualClock) -> None:
    """Between two samples nobody need have moved; half a minute later he has."""
    watch = ReplayWatch()
    assert not watch.take(fingerprint(picture(1)), "a", clock.stamp())
    clock.advance(5_000)
    assert not watch.take(fingerprint(encoded(picture(1), 80)), "b", clock.stamp())
    clock.advance(16_000)
    assert watch.take(fingerprint(encoded(picture(1), 80)), "c", clock.stamp())


def test_memory_is_bounded(clock: ManualClock) -> None:
    """A session that never ends, and far too many earlier pictures."""
    rng = random.Random(1)
    watch = ReplayWatch(rng.randbytes(BYTES) * 30_000)
    for _ in range(2_600):
        clock.advance(5_000)
        watch.take(rng.randbytes(BYTES), "x", clock.stamp())
    assert len(watch._earlier) == 20_000
    assert len(watch._old) <= 2_000 * BYTES


async def film(studio, session: str, shots: range, prints: bytes = b"") -> list:
    """Show the same scenes of one person in one session; gives its events."""
    grant = await studio.hub.open_stream(
        StreamSpec(
            session_id=session, subject="li", template=b"template of li", fingerprints=prints
        )
    )
    begun = len(studio.events)
    for seq, shot in enumerate(shots, start=1):
        studio.clock.advance(5_000)
        await studio.hub.push_frame(
            grant.stream_id, grant.client_token, seq=seq, data=scene("li", shot=shot)
        )
        await studio.hub.settled()
    await studio.hub.close_stream(grant.stream_id)
    return studio.events[begun:]


async def test_a_recording_of_an_earlier_session_passes_nothing(make_studio) -> None:
    """The first time every look passes; played again none does, and an alarm follows."""
    studio = make_studio(draw=lambda: 0.0)
    first = await film(studio, "s-1", range(20))
    looks = [event for event in first if event.kind is EventKind.IDENTITY]
    assert {event.decision for event in looks} == {Decision.MATCH}
    prints = b"".join(bytes.fromhex(event.fingerprint) for event in first)
    assert len(prints) == 20 * BYTES
    again = await film(studio, "s-2", range(20), prints)
    looks = [event for event in again if event.kind is EventKind.IDENTITY]
    assert {event.decision for event in looks[: ALARM - 1]} == {Decision.NO_EVIDENCE}
    assert {event.decision for event in looks[ALARM:]} == {Decision.SPOOF}
    assert all(Reason.DUPLICATE_FRAME in event.reasons for event in looks)
    fresh = await film(studio, "s-3", range(100, 120), prints)
    looks = [event for event in fresh if event.kind is EventKind.IDENTITY]
    assert {event.decision for event in looks} == {Decision.MATCH}


async def test_a_loop_earns_its_first_round_at_most(make_studio) -> None:
    """Frames come round again with other bytes: from the second round on there is no evidence."""
    studio = make_studio(draw=lambda: 0.0)
    engine = Looped(rounds=8)
    studio.engine = studio.hub._batcher = engine
    events = await film(studio, "s-1", range(32))
    looks = [event for event in events if event.kind is EventKind.IDENTITY]
    assert [event.decision for event in looks[:8]] == [Decision.MATCH] * 8
    assert all(event.decision is not Decision.MATCH for event in looks[8:])
    assert looks[-1].decision is Decision.SPOOF


class Looped(ScriptedEngine):
    """A camera whose pictures come round again, encoded anew."""

    def __init__(self, rounds: int) -> None:
        super().__init__()
        self._rounds = rounds
        self._shown = 0

    def _read(self, data: bytes):
        frame = super()._read(data)
        pixels = encoded(picture(self._shown % self._rounds), 60 + self._shown % 30)
        self._shown += 1
        return type(frame)(pixels=pixels, digest=frame.digest)
