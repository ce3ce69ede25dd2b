"""Identity samples are taken after the answer: neither its content nor its time tells of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from verifier.streaming.looks import MOST_WAITING, TURNS, Look, Looks, answered
from verifier.streaming.testing import ScriptedEngine, scene
from verifier.streaming.window import Sample
from verifier.types import Evidence, Frame


class SlowIdentity(ScriptedEngine):
    """A pipeline whose embedding and liveness wait until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.begun = 0

    async def assess(self, frames: Sequence[Frame], **how: Any) -> list[Evidence]:
        """Wait at the gate where identity is asked for."""
        if how.get("embed", True):
            self.begun += 1
            await self.gate.wait()
        return await super().assess(frames, **how)


async def test_a_frame_is_answered_before_it_is_looked_at(make_studio) -> None:
    """With identity at a standstill every frame is answered, durable, and of the same receipt."""
    studio = make_studio(draw=lambda: 0.0)
    studio.engine = studio.hub._batcher = SlowIdentity()
    grant = await studio.open()
    for seq in range(1, 4):
        studio.clock.advance(5_000)
        cue = await studio.hub.push_frame(
            grant.stream_id, grant.client_token, seq=seq, data=scene("li", shot=seq)
        )
        assert cue.as_json() == {
            "seq": seq,
            "accepted": True,
            "advice": "ok",
            "period_ms": 5_000,
            "challenge": None,
        }
        assert [event.kind.value for event in studio.events] == ["presence"] * seq
    await answered()
    await asyncio.sleep(0)
    assert studio.engine.begun == 1
    studio.engine.gate.set()
    await studio.hub.settled()
    assert [event.kind.value for event in studio.events] == ["presence"] * 3 + ["identity"] * 3
    assert [event.frame_seq for event in studio.events] == [1, 2, 3, 1, 2, 3]


async def test_a_look_in_hand_serves_what_is_owed(make_studio) -> None:
    """While the first face is looked at, the frames behind it need not be."""
    studio = make_studio()
    studio.engine = studio.hub._batcher = SlowIdentity()
    grant = await studio.open()
    for seq in range(1, 4):
        studio.clock.advance(5_000)
        await studio.hub.push_frame(
            grant.stream_id, grant.client_token, seq=seq, data=scene("li", shot=seq)
        )
    studio.engine.gate.set()
    await studio.hub.settled()
    assert [event.frame_seq for event in studio.events if event.kind == "identity"] == [1]


async def test_looks_are_bounded_and_in_order(make_studio) -> None:
    """Where inference falls far behind, the oldest that waits is passed over."""
    gate, taken = asyncio.Event(), list[int]()

    async def take(look: Look) -> None:
        await gate.wait()
        taken.append(look.asked)

    passed_over = Counter[str]()
    looks = Looks(take, lambda: passed_over.update(["look"]))
    studio = make_studio()
    (frame,) = await studio.engine.decode([scene("li")])
    (presence,) = await studio.engine.assess([frame], embed=False)
    sample = Sample(seq=1, stamp=studio.clock.stamp(), track=1, data=b"", presence=presence)
    for number in range(1, MOST_WAITING + 4):
        looks.add(Look(sample=sample, picture=b"", longer_side_px=640, asked=number))
        await asyncio.sleep(0)
    assert looks.asked == MOST_WAITING + 3
    gate.set()
    await looks.settled()
    assert taken == [1, *range(4, MOST_WAITING + 4)]
    assert passed_over.total() == 2
    assert looks.asked == 0
    looks.add(Look(sample=sample, picture=b"", longer_side_px=640, asked=9))
    await looks.stop()
    await looks.settled()


async def test_looks_that_are_passed_over_are_counted(make_studio) -> None:
    """The hub says how many samples were due and not taken."""
    studio = make_studio(draw=lambda: 0.0)
    studio.engine = studio.hub._batcher = SlowIdentity()
    grant = await studio.open()
    for seq in range(1, MOST_WAITING + 4):
        studio.clock.advance(5_000)
        await studio.hub.push_frame(
            grant.stream_id, grant.client_token, seq=seq, data=scene("li", shot=seq)
        )
        for _ in range(3 * TURNS):
            await asyncio.sleep(0)
    assert studio.hub.counts["looks_passed_over"] == 2
    studio.engine.gate.set()
    await studio.hub.settled()


async def test_the_wait_of_a_look_is_told(make_studio) -> None:
    """From the arrival of the frame until its identity event was taken."""
    studio = make_studio()
    heard: list[int] = []

    class Observer:
        def look_taken(self, waited_ms: int) -> None:
            heard.append(waited_ms)

        def look_passed_over(self) -> None:
            raise AssertionError

    studio.hub._observer = Observer()
    studio.engine = studio.hub._batcher = SlowIdentity()
    grant = await studio.open()
    await studio.hub.push_frame(grant.stream_id, grant.client_token, seq=1, data=scene("li"))
    studio.clock.advance(2_345)
    assert heard == []
    studio.engine.gate.set()
    await studio.hub.settled()
    assert heard == [2_345]
    assert studio.hub.counts["looks"] == 1
