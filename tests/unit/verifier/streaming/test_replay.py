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
from verifier.streaming.replay import ALARM, SAME_EARLIER, ReplayWatch, _Runs
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


def near(one: bytes, rng: random.Random, signs: int = 5) -> bytes:
    """A picture like `one`: some signs are others."""
    flipped = int.from_bytes(one)
    for place in rng.sample(range(8 * BYTES), signs):
        flipped ^= 1 << place
    return flipped.to_bytes(BYTES)


def day(rng: random.Random, places: list[bytes], frames: int) -> list[bytes]:
    """Somebody who sits now here, now there, in no order."""
    return [near(rng.choice(places), rng) for _ in range(frames)]


def shown(watch: ReplayWatch, clock: ManualClock, pictures: list[bytes]) -> tuple[int, int]:
    """Show pictures; how many were doubted, and after how many there was an alarm."""
    doubted = accused = 0
    for number, one in enumerate(pictures):
        clock.advance(5_000)
        doubted += watch.take(one, str(number), clock.stamp())
        accused += watch.alarm
    return doubted, accused


@pytest.mark.parametrize("places", [1, 2, 4, 8, 16])
def test_a_learner_who_resembles_himself_is_not_accused(clock: ManualClock, places: int) -> None:
    """At the same desk every day nearly every picture has its like; in order they are not."""
    rng = random.Random(places)
    seats = [rng.randbytes(BYTES) for _ in range(places)]
    earlier = day(rng, seats, 2_000)
    today = day(rng, seats, 400)
    alike = [min(differing(one, other) for other in earlier) <= SAME_EARLIER for one in today[:50]]
    assert all(alike), "by distance alone each of them would be a repeat"
    doubted, accused = shown(ReplayWatch(b"".join(earlier)), clock, today)
    assert accused == 0
    assert doubted <= 0.1 * len(today)


def test_a_recording_of_such_a_learner_is_known_by_its_order(clock: ManualClock) -> None:
    """Encoded anew, from anywhere in the middle, with a picture lost now and then."""
    rng = random.Random(1)
    seats = [rng.randbytes(BYTES) for _ in range(8)]
    earlier = day(rng, seats, 2_000)
    again = [near(one, rng, 2) for number, one in enumerate(earlier[700:800]) if number % 7]
    _, accused = shown(ReplayWatch(b"".join(earlier)), clock, again)
    assert accused >= len(again) - 30


def test_one_look_alike_is_doubted_and_accuses_nobody(clock: ManualClock) -> None:
    """However many pictures in a row have one each, if they come in no order."""
    rng = random.Random(2)
    earlier = [rng.randbytes(BYTES) for _ in range(500)]
    mixed = [near(earlier[place], rng) for place in rng.sample(range(500), 60)]
    assert shown(ReplayWatch(b"".join(earlier)), clock, mixed) == (60, 0)


def test_a_run_has_to_be_longer_than_chance_makes_it(clock: ManualClock) -> None:
    """Four in order of five hundred unlike ones are beyond it; they count from their first on."""
    rng = random.Random(3)
    earlier = [rng.randbytes(BYTES) for _ in range(500)]
    watch = ReplayWatch(b"".join(earlier))
    played = []
    for number, one in enumerate(earlier[100:106]):
        clock.advance(5_000)
        assert watch.take(near(one, rng), str(number), clock.stamp())
        played.append(sum(watch._recent))
    assert played == [0, 0, 0, 4, 5, 6]


def test_a_run_goes_on_where_old_pictures_are_forgotten() -> None:
    """Places move when the first known pictures are dropped."""
    runs = _Runs()
    differing = np.full(100, 200)
    for place in range(60, 70):
        differing[:] = 200
        differing[place] = 3
        runs.take(differing, 8, 0.0)
    runs.forget(50)
    differing = np.full(50, 200)
    differing[20] = 3
    assert runs.take(differing, 8, 0.0).played == 11
    runs.forget(30)
    assert not len(runs._places)


@pytest.mark.parametrize("signs", [0, 2])
def test_a_frozen_picture_is_doubted_and_raises_an_alarm(clock: ManualClock, signs: int) -> None:
    """Bit for bit or with noise, also where it froze after half an hour of moving."""
    rng = random.Random(4)
    frozen = rng.randbytes(BYTES)
    moving = [rng.randbytes(BYTES) for _ in range(360)]
    for before in ([], moving):
        watch = ReplayWatch()
        assert shown(watch, clock, before) == (0, 0)
        doubted, accused = shown(watch, clock, [near(frozen, rng, signs) for _ in range(60)])
        assert doubted >= 60 - 5
        assert accused >= 60 - 40
    watch.absolve()
    assert not watch.alarm


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
