"""Who gets a place in the queue: everybody something, nobody everything, and why not where not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.verifier.pipeline.test_batching import Counts, Engine, decode, frame, settle
from verifier.errors import Overloaded, RequestTooLarge
from verifier.pipeline.batching import Batcher, BatchLimits, Priority
from verifier.pipeline.room import Load, Room

MIB = 1024 * 1024
SEEN_BY_ALL = Priority.INTERACTIVE


@pytest.fixture
def room() -> Room:
    """Room for 256 images and 1 GiB, as by default."""
    return Room(limits=BatchLimits())


def fill(room: Room, load: Load, owners: Iterator[str], priority: Priority = SEEN_BY_ALL) -> str:
    """Let callers in until one is refused; gives the reason."""
    for owner in owners:
        refusal = room.refusal(load, owner, priority)
        if refusal is not None:
            return refusal.reason
        room.enter(load, owner, priority)
    raise AssertionError("the room has no end")


def one_key(number: int = 10_000) -> Iterator[str]:
    """One API key, another subject each time."""
    return (f"lms/learner-{n}" for n in range(number))


def test_one_api_key_cannot_fill_the_queue(room: Room) -> None:
    """32 verifications of 8 frames by one key: every stream's frame still finds a place."""
    assert fill(room, Load(8, 8 * MIB), one_key(32)) == "owner"
    assert room.images == 128
    for session in range(128):
        assert room.refusal(Load(1, MIB), f"session-{session}", SEEN_BY_ALL) is None
        room.enter(Load(1, MIB), f"session-{session}", SEEN_BY_ALL)
    refusal = room.refusal(Load(1, MIB), "one more", SEEN_BY_ALL)
    assert refusal is not None
    assert refusal.reason == "full"


def test_bulk_leaves_a_quarter_to_what_somebody_waits_for(room: Room) -> None:
    """However many send what can wait: three quarters of the images are theirs."""
    owners = (f"importer-{n}" for n in range(10_000))
    assert fill(room, Load(4, MIB), owners, Priority.BULK) == "bulk"
    assert room.images == 192
    assert room.refusal(Load(4, MIB), "importer-0", SEEN_BY_ALL) is None


def test_one_importer_leaves_room_for_other_bulk(room: Room) -> None:
    """Presence in streams is bulk as well, and does not wait behind an import."""
    assert fill(room, Load(8, MIB), one_key(), Priority.BULK) == "owner"
    assert room.refusal(Load(1, MIB), "session", Priority.BULK) is None


def test_bytes_are_shared_like_images(room: Room) -> None:
    """Few large pictures of one caller leave half of the memory to others."""
    assert fill(room, Load(1, 75 * MIB), one_key()) == "owner"
    assert room.images == 7
    assert room.refusal(Load(6, 450 * MIB), "other", SEEN_BY_ALL) is None


def test_a_large_request_is_served_where_it_fits_at_all(room: Room) -> None:
    """More than anybody's part, of one who holds nothing, on an idle service."""
    assert room.refusal(Load(200, 900 * MIB), "lms", SEEN_BY_ALL) is None
    assert room.refusal(Load(192, 768 * MIB), "lms", Priority.BULK) is None


def test_a_large_batch_keeps_no_stream_out(room: Room) -> None:
    """Eight pictures of 25 megapixels, the most that a request holds, leave room for frames."""
    room.enter(Load(8, 8 * 25_000_000 * 3), "lms/one", Priority.BULK)
    for session in range(150):
        assert room.refusal(Load(1, MIB), f"session-{session}", Priority.BULK) is None
        room.enter(Load(1, MIB), f"session-{session}", Priority.BULK)


@pytest.mark.parametrize(
    ("images", "size_bytes", "priority"),
    [
        (257, 1, Priority.INTERACTIVE),
        (1, 1024 * MIB + 1, Priority.INTERACTIVE),
        (193, 1, Priority.BULK),
        (1, 768 * MIB + 1, Priority.BULK),
    ],
)
def test_what_never_fits_is_not_put_off(
    room: Room, images: int, size_bytes: int, priority: Priority
) -> None:
    """Trying again would not help: the caller is told to send less."""
    refusal = room.refusal(Load(images, size_bytes), "lms", priority)
    assert refusal is not None
    assert refusal.reason == "large"
    assert isinstance(refusal.error, RequestTooLarge)
    assert "fewer or smaller" in refusal.error.remedy


def test_each_refusal_names_the_limit_that_was_hit(room: Room) -> None:
    """Images, bytes, the part of bulk and that of a caller read differently."""
    room.enter(Load(50, 900 * MIB), "a", SEEN_BY_ALL)
    room.enter(Load(150, 30 * MIB), "b", Priority.BULK)
    asked = {
        "full": (Load(57, MIB), "c", SEEN_BY_ALL),
        "bytes": (Load(1, 95 * MIB), "c", SEEN_BY_ALL),
        "bulk": (Load(43, MIB), "c", Priority.BULK),
        "owner": (Load(7, MIB), "a", SEEN_BY_ALL),
    }
    told = {
        "full": "200 of 256 images wait or run already.",
        "bytes": "hold 930 of 1024 MiB; these need 95 MiB more.",
        "bulk": "150 images (30 MiB) that nobody waits for",
        "owner": "50 images (900 MiB) of this caller wait or run already",
    }
    for reason, (load, owner, priority) in asked.items():
        refusal = room.refusal(load, owner, priority)
        assert refusal is not None
        assert isinstance(refusal.error, Overloaded)
        assert refusal.error.retry_after_s
        assert refusal.error.remedy
        assert (refusal.reason, told[reason] in refusal.error.detail) == (reason, True)


CALLERS = st.tuples(
    st.sampled_from(["a", "b/1", "b/2", "c", ""]),
    st.sampled_from(list(Priority)),
    st.integers(1, 20),
    st.integers(0, 400),
)


@given(st.lists(st.tuples(st.booleans(), CALLERS), max_size=80))
def test_room_is_never_exceeded_and_always_given_back(moves: list[object]) -> None:
    """Whatever comes and goes: the bounds hold, a newcomer is refused for want of room only."""
    limits = BatchLimits(max_pending=32, max_pending_bytes=1_000)
    room = Room(limits=limits)
    inside: list[tuple[Load, str, Priority]] = []
    for leaves, (owner, priority, images, size_bytes) in moves:  # type: ignore[misc]
        if leaves and inside:
            room.leave(*inside.pop(0))
            continue
        load = Load(images, size_bytes)
        refusal = room.refusal(load, owner, priority)
        held = sum(one.images for one, _, _ in inside)
        held_bytes = sum(one.size_bytes for one, _, _ in inside)
        newcomer = owner[:1] not in [other[:1] for _, other, _ in inside]
        if refusal is None:
            room.enter(load, owner, priority)
            inside.append((load, owner, priority))
            assert held + images <= 32
            assert held_bytes + size_bytes <= 1_000
        elif newcomer and priority is Priority.INTERACTIVE:
            assert held + images > 32 or held_bytes + size_bytes > 1_000
    for one in inside:
        room.leave(*one)
    assert room == Room(limits=limits)


def jpeg(height: int, width: int) -> bytes:
    """Encode a flat picture: a hundredth of the size that it takes decoded."""
    return bytes(cv2.imencode(".jpg", np.full((height, width, 3), 90, np.uint8))[1].data)


@pytest.mark.parametrize("ask", ["decode", "glance", "inspect"])
async def test_what_is_to_be_decoded_is_charged_with_its_pixels(ask: str) -> None:
    """Some kilobytes that become megabytes are turned away while they are still kilobytes."""
    engine, counts = Engine(), Counts()
    engine.gate.clear()
    data = jpeg(1_000, 1_000)
    assert len(data) < 50_000
    limits = BatchLimits(workers=1, max_pending_bytes=5_000_000)
    async with Batcher(engine, decode=decode, limits=limits, observer=counts) as batcher:
        held = asyncio.create_task(batcher.detect([frame("big", side=1_000)], owner="first"))
        await settle()
        calls = {
            "decode": lambda: batcher.decode([data], owner="second"),
            "glance": lambda: batcher.glance(data, last=None, owner="second"),
            "inspect": lambda: batcher.inspect(
                [data], digests=["a"], faces=[()], reference=np.ones(2, np.float32), owner="second"
            ),
        }
        with pytest.raises(Overloaded, match="hold 3 of 5 MiB; these need 3 MiB more"):
            await calls[ask]()
        engine.gate.set()
        await held
    assert counts.refusals == ["bytes"]


async def test_a_stream_finds_a_place_beside_a_greedy_key() -> None:
    """The queue itself keeps the parts: a frame is answered while the key is refused."""
    engine, counts = Engine(), Counts()
    engine.gate.clear()
    limits = BatchLimits(workers=1, max_pending=32, window_ms=0)
    async with Batcher(engine, decode=decode, limits=limits, observer=counts) as batcher:
        frames = [[frame(f"{n}/{m}") for m in range(8)] for n in range(4)]
        calls = [
            asyncio.create_task(batcher.detect(some, owner=f"lms/{n}"))
            for n, some in enumerate(frames)
        ]
        await settle()
        stream = asyncio.create_task(batcher.detect([frame("stream")], owner="session"))
        await settle()
        assert batcher._queue.pending == 17
        engine.gate.set()
        assert len(await stream) == 1
        answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers] == [list, list, Overloaded, Overloaded]
    assert counts.refusals == ["owner", "owner"]
    assert batcher._queue.pending == 0
