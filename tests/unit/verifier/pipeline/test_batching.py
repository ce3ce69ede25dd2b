"""Micro-batching with a fake engine: nothing is mixed up, nothing grows without bound."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from verifier.errors import (
    BenrenError,
    ImageUnreadable,
    InferenceFailed,
    OutOfMemory,
    Overloaded,
)
from verifier.pipeline import queue
from verifier.pipeline.batching import Batcher, BatchLimits, Priority
from verifier.pipeline.savings import last_seen
from verifier.types import Evidence, Face, Frame


def frame(name: str, side: int = 2) -> Frame:
    """Make a small frame whose digest tells where it came from."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return Frame(pixels=np.zeros((side, side, 3), np.uint8), digest=digest)


def decode(data: bytes) -> Frame:
    """Decode like intake does: refuse what begins with 'bad'."""
    if data.startswith(b"bad"):
        raise ImageUnreadable(remedy="Send another.")
    return frame(data.decode())


@dataclass
class Engine:
    """Echoes digests, remembers its batches, and can be held back or made to fail."""

    gate: threading.Event = field(default_factory=threading.Event)
    batches: list[list[str]] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    running: int = 0
    most_running: int = 0
    poison: str = ""
    raises: BaseException = field(default_factory=lambda: ZeroDivisionError("poison"))
    deaths: int = 1_000
    """How often the poison works."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    tests: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    def _ran(self, frames: Sequence[Frame]) -> None:
        with self.lock:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
            self.batches.append([each.digest for each in frames])
        try:
            assert self.gate.wait(10), "the test forgot to open the gate"
            if self.poison in [each.digest for each in frames] and self.deaths:
                self.deaths -= 1
                raise self.raises
        finally:
            with self.lock:
                self.running -= 1

    def detect(self, frames: Sequence[Frame], **_: Any) -> list[tuple[Face, ...]]:
        """Find one face per frame, recognisable by its score."""
        self._ran(frames)
        landmarks = np.zeros((5, 2), np.float32)
        return [
            (Face(box=(0, 0, 1, 1), score=int(each.digest[:6], 16) / 2**24, landmarks=landmarks),)
            for each in frames
        ]

    def assess(self, frames: Sequence[Frame], **options: Any) -> list[Evidence]:
        """Give evidence that names the frame."""
        options.pop("timings_ms")["embed"] = float(len(frames))
        self.calls.append(options)
        self._ran(frames)
        return [Evidence(digest=each.digest, faces=()) for each in frames]

    def self_test(self) -> None:
        """Count."""
        self.tests += 1

    def poses(self, frames: Sequence[Frame], faces: Sequence[Face], **_: Any) -> list[Any]:
        """See nothing."""
        self._ran(frames)
        return [None] * len(frames)

    def enrol(self, photo: Frame, *, strict: bool = True) -> Any:
        """Give the photograph back."""
        self._ran([photo])
        return photo, strict


class Counts:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.depths: list[int] = []
        self.jobs: list[tuple[str, int, list[str]]] = []
        self.refusals: list[str] = []

    def waiting(self, images: int) -> None:
        """Remember the depth of the queue."""
        self.depths.append(images)

    def ran(
        self, job: str, *, images: int, waited_s: float, stages_ms: Mapping[str, float]
    ) -> None:
        """Remember the batch."""
        assert waited_s >= 0
        assert min(stages_ms.values()) >= 0
        self.jobs.append((job, images, sorted(stages_ms)))

    def turned_away(self, reason: str) -> None:
        """Remember the refusal."""
        self.refusals.append(reason)


async def settle() -> None:
    """Let every task run until it waits for something real."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_every_caller_gets_the_evidence_of_his_own_frames() -> None:
    """Two hundred concurrent callers with one to five frames each are never mixed up."""
    engine = Engine()
    limits = BatchLimits(workers=3, max_batch=8, window_ms=1, max_pending=10_000)
    async with Batcher(engine, decode=decode, limits=limits) as batcher:

        async def call(caller: int) -> None:
            mine = [frame(f"{caller}/{n}") for n in range(1 + caller % 5)]
            flags = {"liveness": caller % 2 == 0, "embed": caller % 3 == 0}
            evidence = await batcher.assess(mine, **flags)
            assert [item.digest for item in evidence] == [each.digest for each in mine]

        await asyncio.gather(*(call(caller) for caller in range(200)))
    assert max(len(batch) for batch in engine.batches) > 5, "nothing was batched"
    assert max(len(batch) for batch in engine.batches) <= 8
    assert engine.most_running <= 3


async def test_detections_and_assessments_do_not_share_a_batch() -> None:
    """Jobs of different kinds, or with other options, run apart."""
    engine = Engine()
    limits = BatchLimits(workers=1, window_ms=0)
    async with Batcher(engine, decode=decode, limits=limits) as batcher:
        a, b, c = frame("a"), frame("b"), frame("c")
        faces, evidence, other = await asyncio.gather(
            batcher.detect([a]), batcher.assess([b]), batcher.assess([c], liveness=False)
        )
    assert faces[0][0].score == int(a.digest[:6], 16) / 2**24
    assert [evidence[0].digest, other[0].digest] == [b.digest, c.digest]
    assert sorted(len(batch) for batch in engine.batches) == [1, 1, 1]
    assert [call["liveness"] for call in engine.calls] == [True, False]


async def test_references_and_faces_stay_with_their_frames() -> None:
    """In a shared batch every frame keeps its own reference; frames without one get None."""
    engine = Engine()
    engine.gate.clear()
    reference = np.array([1, 0], np.float32)
    async with Batcher(
        engine, decode=decode, limits=BatchLimits(workers=1, window_ms=0)
    ) as batcher:
        first = asyncio.create_task(batcher.detect([frame("holds the worker")]))
        await settle()
        tasks = [
            asyncio.create_task(batcher.assess([frame("a")])),
            asyncio.create_task(batcher.assess([frame("b")], references=[reference])),
            asyncio.create_task(batcher.assess([frame("c")], faces=[()])),
        ]
        await settle()
        engine.gate.set()
        await asyncio.gather(first, *tasks)
    shared, lone = engine.calls
    assert shared["references"][0] is None
    assert shared["references"][1] is reference
    assert shared["faces"] is None
    assert lone["faces"] == ((),)
    assert lone["references"] is None


async def test_a_reference_list_of_another_length_is_refused() -> None:
    """A caller's mistake is told to him before anything runs."""
    engine = Engine()
    async with Batcher(engine, decode=decode) as batcher:
        with pytest.raises(ValueError, match="zip"):
            await batcher.assess([frame("a"), frame("b")], references=[None])
    assert engine.batches == []


async def test_interactive_jobs_overtake_bulk() -> None:
    """What somebody waits for runs before what can wait."""
    engine = Engine()
    engine.gate.clear()
    limits = BatchLimits(workers=1, max_batch=1, window_ms=0)
    async with Batcher(engine, decode=decode, limits=limits) as batcher:
        names = ["first", "bulk", "urgent"]
        levels = [Priority.INTERACTIVE, Priority.BULK, Priority.INTERACTIVE]
        tasks = []
        for name, level in zip(names, levels, strict=True):
            tasks.append(asyncio.create_task(batcher.detect([frame(name)], priority=level)))
            await settle()
        engine.gate.set()
        await asyncio.gather(*tasks)
    order = [batch[0] for batch in engine.batches]
    assert order == [frame(name).digest for name in ("first", "urgent", "bulk")]


async def test_bulk_gets_its_share_after_a_while() -> None:
    """However much interactive work there is: every other batch, once it has waited long enough."""
    engine = Engine()
    engine.gate.clear()
    limits = BatchLimits(workers=1, max_batch=1, window_ms=0, patience_s=0)
    names = ["first", "bulk 1", "bulk 2", *(f"urgent {n}" for n in range(6))]
    async with Batcher(engine, decode=decode, limits=limits) as batcher:
        tasks = []
        for name in names:
            level = Priority.BULK if name.startswith("bulk") else Priority.INTERACTIVE
            tasks.append(asyncio.create_task(batcher.detect([frame(name)], priority=level)))
            await settle()
        engine.gate.set()
        await asyncio.gather(*tasks)
    by_digest = {frame(name).digest: name for name in names}
    order = [by_digest[batch[0]] for batch in engine.batches]
    assert order[:4] == ["first", "bulk 1", "urgent 0", "bulk 2"]
    assert order[4:] == [f"urgent {n}" for n in range(1, 6)]


async def test_glances_and_inspections_can_wait_too() -> None:
    """Background presence goes behind a learner who waits; unless told, both are interactive."""
    engine = Glancing()
    engine.gate.clear()
    limits = BatchLimits(workers=1, max_batch=1, window_ms=0)
    async with Batcher(engine, decode=decode, limits=limits) as batcher:
        faces: Any = {"digests": ["2"], "faces": [()], "reference": REFERENCE}
        calls = [
            batcher.glance(b"first", last=None),
            batcher.glance(b"1", last=None, priority=Priority.BULK),
            batcher.inspect([b"2"], priority=Priority.BULK, **faces),
            batcher.glance(b"3", last=None),
            batcher.inspect([b"4"], **faces | {"digests": ["4"]}),
        ]
        tasks = []
        for call in calls:
            tasks.append(asyncio.create_task(call))
            await settle()
        engine.gate.set()
        await asyncio.gather(*tasks)
    expected = [frame("first").digest, frame("3").digest, "4", frame("1").digest, "2"]
    assert [batch[0] for batch in engine.batches] == expected


async def test_a_full_queue_turns_away_and_recovers() -> None:
    """More images than allowed get Overloaded with a time to retry; later ones are served."""
    engine, counts = Engine(), Counts()
    engine.gate.clear()
    limits = BatchLimits(workers=1, max_batch=2, max_pending=4, window_ms=0)
    async with Batcher(engine, decode=decode, limits=limits, observer=counts) as batcher:
        tasks = [
            asyncio.create_task(batcher.detect([frame(str(n))], owner=str(n))) for n in range(4)
        ]
        await settle()
        with pytest.raises(Overloaded) as refusal:
            await batcher.detect([frame("too many")])
        assert refusal.value.retry_after_s is not None
        engine.gate.set()
        await asyncio.gather(*tasks)
        assert len(await batcher.detect([frame("again")])) == 1
    assert counts.refusals == ["full"]
    assert sum(images for _, images, _ in counts.jobs) == 5
    assert counts.depths[-1] == 0
    assert max(counts.depths) >= 3


async def test_memory_is_bounded_as_well_as_count() -> None:
    """Few but huge pictures are turned away too."""
    engine = Engine()
    engine.gate.clear()
    limits = BatchLimits(workers=1, max_pending=100, max_pending_bytes=5_000)
    async with Batcher(engine, decode=decode, limits=limits) as batcher:
        held = asyncio.create_task(batcher.detect([frame("big", side=40)]))
        await settle()
        with pytest.raises(Overloaded):
            await batcher.detect([frame("another", side=40)])
        engine.gate.set()
        await held


async def in_one_batch(engine: Engine, batcher: Batcher, *names: str) -> list[Any]:
    """Ask for one frame each, so that all share a batch; gives answers and errors."""
    engine.gate.clear()
    first = asyncio.create_task(batcher.detect([frame("first")]))
    await settle()
    tasks = [asyncio.create_task(batcher.detect([frame(name)])) for name in names]
    await settle()
    engine.gate.set()
    await first
    return await asyncio.gather(*tasks, return_exceptions=True)


ALONE = BatchLimits(workers=1, window_ms=0)


def of_an_engine() -> InferenceFailed:
    """What a network makes of an engine's error."""
    failed = InferenceFailed("tiny failed on (1, 3).")
    failed.__cause__ = RuntimeError("poison ; GPU=0 ; hostname=poison ; file=poison.cc")
    return failed


@pytest.mark.parametrize(
    ("raises", "kind"),
    [
        (ZeroDivisionError("poison"), InferenceFailed),
        (of_an_engine(), InferenceFailed),
        (SystemExit("poison"), InferenceFailed),
        (MemoryError("poison"), OutOfMemory),
        (RuntimeError("poison: Failed to allocate memory for poison"), OutOfMemory),
    ],
    ids=["a fault", "the engine", "the worker dies", "no memory", "no memory for an engine"],
)
async def test_a_failing_batch_takes_nobody_with_it(
    raises: BaseException, kind: type[BenrenError]
) -> None:
    """Each of its jobs is tried once more alone; only the one at fault gets an error, in words."""
    engine = Engine(poison=frame("poison").digest, raises=raises)
    async with Batcher(engine, decode=decode, limits=ALONE) as batcher:
        a, poison, b = await in_one_batch(engine, batcher, "a", "poison", "b")
        assert [a[0][0].score, b[0][0].score] == [
            int(frame(name).digest[:6], 16) / 2**24 for name in "ab"
        ]
        assert type(poison) is kind
        assert "poison" not in str(poison), "internals leak"
        assert poison.remedy
        assert bool(poison.retry_after_s) == (kind is OutOfMemory)
        assert "poison" in repr(poison.__cause__), "the log would not say why"
        assert len(await batcher.detect([frame("later")])) == 1
    assert [len(batch) for batch in engine.batches] == [1, 3, 1, 1, 1, 1]


async def test_an_error_brings_no_frames_of_its_worker() -> None:
    """Neither its own nor those of what it came from: they hold other callers' pictures."""

    class Chained(Engine):
        def detect(self, frames: Sequence[Frame], **_: Any) -> list[tuple[Face, ...]]:
            try:
                self._ran(frames)
            except ZeroDivisionError as error:
                raise InferenceFailed from error
            raise AssertionError("it is poisoned")

    async with Batcher(Chained(poison=frame("poison").digest), decode=decode) as batcher:
        with pytest.raises(InferenceFailed) as caught:
            await batcher.detect([frame("poison")])
    cause = caught.value.__cause__
    assert isinstance(cause, ZeroDivisionError)
    assert cause.__traceback__ is None
    assert "_alive" not in [entry.name for entry in caught.traceback]


async def test_a_worker_that_dies_in_mid_batch_leaves_nobody_waiting() -> None:
    """Whoever was alone in the batch is retried once and answered; the worker serves on."""
    engine = Engine(poison=frame("poison").digest, raises=SystemExit(1), deaths=1)
    async with Batcher(engine, decode=decode, limits=ALONE) as batcher:
        assert len(await batcher.detect([frame("poison")])) == 1
        engine.deaths = 2
        with pytest.raises(InferenceFailed):
            await batcher.detect([frame("poison")])
        assert len(await batcher.detect([frame("poison")])) == 1
    assert len(engine.batches) == 5


async def test_a_worker_that_never_comes_back_is_not_waited_for() -> None:
    """Its requests are answered in time, the other worker serves, and the service is not ready."""
    engine = Engine()
    engine.gate.clear()
    limits = BatchLimits(workers=2, window_ms=0, timeout_s=0.05, drain_s=0.01)
    batcher = Batcher(engine, decode=decode, limits=limits)
    hung = asyncio.create_task(batcher.detect([frame("hung")]))
    await settle()
    with pytest.raises(Overloaded, match=r"0\.05 s"):
        await hung
    assert len(await batcher.decode([b"served"])) == 1
    while batcher._queue.oldest_s <= limits.timeout_s:  # noqa: ASYNC110 - time has to pass
        await asyncio.sleep(0.005)
    with pytest.raises(InferenceFailed, match="has been running"):
        await batcher.self_test()
    assert not engine.tests, "what hangs once may hang again"
    engine.gate.set()
    while batcher._queue.oldest_s:  # noqa: ASYNC110 - until the thread comes back
        await asyncio.sleep(0.005)
    await batcher.self_test()
    assert engine.tests == 1
    await batcher.close()


async def test_an_observer_that_fails_stops_no_worker() -> None:
    """Counting is not worth a request."""

    class Broken(Counts):
        def ran(self, job: str, **_: Any) -> None:
            raise RuntimeError("no disk")

    async with Batcher(Engine(), decode=decode, limits=ALONE, observer=Broken()) as batcher:
        for _ in range(3):
            assert len(await batcher.detect([frame("a")])) == 1


@pytest.mark.parametrize("timeout_s", [0.0, -1.0])
async def test_a_deadline_that_is_past_costs_no_work(timeout_s: float) -> None:
    """It is refused before it is queued, with a time to retry, and counted."""
    engine, counts = Engine(), Counts()
    async with Batcher(engine, decode=decode, observer=counts) as batcher:
        with pytest.raises(Overloaded, match="No answer within 0 s") as refusal:
            await batcher.assess([frame("a")], timeout_s=timeout_s)
    assert refusal.value.retry_after_s is not None
    assert counts.refusals == ["late"]
    assert engine.batches == []


async def test_owners_take_turns() -> None:
    """Whoever asks for much at once does not hold up a session that asks for one frame."""
    engine = Engine()
    engine.gate.clear()
    limits = BatchLimits(workers=1, max_batch=1, window_ms=0)
    async with Batcher(engine, decode=decode, limits=limits) as batcher:
        asked = [("greedy", f"greedy {n}") for n in range(4)] + [("a", "a 0"), ("b", "b 0")]
        tasks = []
        for owner, name in [("first", "first"), *asked]:
            tasks.append(asyncio.create_task(batcher.detect([frame(name)], owner=owner)))
            await settle()
        engine.gate.set()
        await asyncio.gather(*tasks)
    names = {frame(name).digest: name for _, name in asked} | {frame("first").digest: "first"}
    order = [names[batch[0]] for batch in engine.batches]
    assert order == ["first", "greedy 0", "a 0", "b 0", "greedy 1", "greedy 2", "greedy 3"]


async def test_poses_take_turns_too() -> None:
    """Many poses of one session do not hold up those of another."""
    engine = Engine()
    engine.gate.clear()
    limits = BatchLimits(workers=1, max_batch=1, window_ms=0)
    face = Face(box=(0, 0, 1, 1), score=1, landmarks=np.zeros((5, 2), np.float32))
    names = ["first", "a 0", "a 1", "a 2", "b 0"]
    async with Batcher(engine, decode=decode, limits=limits) as batcher:
        tasks = []
        for name in names:
            call = batcher.poses([frame(name)], [face], owner=name[0])
            tasks.append(asyncio.create_task(call))
            await settle()
        engine.gate.set()
        await asyncio.gather(*tasks)
    order = [batch[0] for batch in engine.batches]
    assert order == [frame(name).digest for name in ("first", "a 0", "b 0", "a 1", "a 2")]


async def test_what_was_seen_before_stays_with_its_frame() -> None:
    """In a shared batch each frame keeps the last sample of its own camera."""
    engine = Engine()
    kept: list[Any] = []

    class Remembering(Engine):
        def detect(self, frames: Sequence[Frame], **options: Any) -> list[tuple[Face, ...]]:
            kept.append((options.pop("last"), len(frames)))
            return super().detect(frames, **options)

    engine = Remembering()
    mine = last_seen(frame("before"), ())
    async with Batcher(engine, decode=decode, limits=ALONE) as batcher:
        await batcher.detect([frame("a"), frame("b")], last=[None, mine])
        await batcher.detect([frame("c")])
    assert kept == [((None, mine), 2), (None, 1)]


async def test_how_a_frame_is_searched_is_not_up_to_its_neighbours() -> None:
    """A camera's first frame is one of a camera that is followed, whoever shares its batch."""
    kept: list[Any] = []

    class Remembering(Glancing):
        def detect(self, frames: Sequence[Frame], **options: Any) -> list[tuple[Face, ...]]:
            kept.append((options["last"], len(frames)))
            return super().detect(frames, **options)

        def glance(self, frames: Sequence[Frame], **options: Any) -> list[Any]:
            kept.append((options["last"], len(frames)))
            return super().glance(frames, **options)

    engine = Remembering()
    mine = last_seen(frame("before"), ())
    async with Batcher(engine, decode=decode, limits=ALONE) as batcher:
        await batcher.glance(b"a", last=None, closely=True)
        await batcher.detect([frame("b")], last=[None])
        engine.gate.clear()
        calls: list[Any] = [
            batcher.poses([frame("held")], [None]),  # type: ignore[list-item]
            batcher.detect([frame("c")]),
            batcher.detect([frame("d")], last=[mine]),
            batcher.detect([frame("e")], last=[None]),
        ]
        tasks = []
        for call in calls:
            tasks.append(asyncio.create_task(call))
            await settle()
        engine.gate.set()
        await asyncio.gather(*tasks)
    assert kept == [([None], 1), ((None,), 1), (None, 1), ((mine, None), 2)]


async def test_an_engine_that_loses_a_result_fails_the_batch() -> None:
    """Fewer answers than frames never shift results between callers."""

    class Lossy(Engine):
        def assess(self, frames: Sequence[Frame], **options: Any) -> list[Evidence]:
            return super().assess(frames, **options)[1:]

    async with Batcher(Lossy(), decode=decode) as batcher:
        with pytest.raises(InferenceFailed, match="2 in, 1 out"):
            await batcher.assess([frame("a"), frame("b")])


async def test_a_late_answer_is_overloaded_and_frees_its_place() -> None:
    """A caller whose time is over is told so, and his job leaves the queue."""
    engine, counts = Engine(), Counts()
    engine.gate.clear()
    limits = BatchLimits(workers=1, max_pending=2, window_ms=0)
    async with Batcher(engine, decode=decode, limits=limits, observer=counts) as batcher:
        held = asyncio.create_task(batcher.detect([frame("held")]))
        await settle()
        with pytest.raises(Overloaded, match="No answer within"):
            await batcher.detect([frame("late")], timeout_s=0.01, owner="late")
        waiting = asyncio.create_task(batcher.detect([frame("next")], owner="next"))
        await settle()
        engine.gate.set()
        await asyncio.gather(held, waiting)
    assert counts.refusals == ["late"]
    assert [frame("late").digest] not in engine.batches


async def test_a_cancelled_caller_leaves_no_trace() -> None:
    """Cancelled while waiting or while running: the others are served, the places are free."""
    engine = Engine()
    engine.gate.clear()
    limits = BatchLimits(workers=1, max_batch=1, max_pending=3, window_ms=0)
    async with Batcher(engine, decode=decode, limits=limits) as batcher:
        running, waiting, kept = (
            asyncio.create_task(batcher.detect([frame(name)], owner=name))
            for name in ("running", "waiting", "kept")
        )
        await settle()
        running.cancel()
        waiting.cancel()
        await settle()
        engine.gate.set()
        assert len(await kept) == 1
        await asyncio.gather(*(batcher.detect([frame(str(n))], owner=str(n)) for n in range(3)))
    assert [frame("waiting").digest] not in engine.batches
    assert running.cancelled()
    assert waiting.cancelled()


async def test_a_lone_worker_waits_a_moment_for_company() -> None:
    """Within the window jobs that arrive one after the other share a batch."""
    engine = Engine()
    limits = BatchLimits(workers=1, max_batch=2, window_ms=10_000)
    async with Batcher(engine, decode=decode, limits=limits) as batcher:
        one = asyncio.create_task(batcher.detect([frame("one")]))
        await settle()
        assert engine.batches == []
        two = asyncio.create_task(batcher.detect([frame("two")]))
        await asyncio.gather(one, two)
    assert len(engine.batches) == 1


async def test_a_worker_does_not_wait_where_another_is_free() -> None:
    """On an idle machine nobody waits for the window."""
    engine = Engine()
    limits = BatchLimits(workers=2, max_batch=2, window_ms=10_000, timeout_s=5)
    async with Batcher(engine, decode=decode, limits=limits) as batcher:
        for _ in range(2):
            assert len(await batcher.detect([frame("alone")])) == 1
    assert engine.batches == [[frame("alone").digest]] * 2


async def test_closing_finishes_what_waits_and_takes_nothing_more() -> None:
    """Closing drains the queue, refuses newcomers, and may be done twice."""
    engine, counts = Engine(), Counts()
    engine.gate.clear()
    limits = BatchLimits(workers=1, max_batch=1, window_ms=0)
    batcher = Batcher(engine, decode=decode, limits=limits, observer=counts)
    tasks = [asyncio.create_task(batcher.detect([frame(str(n))])) for n in range(3)]
    await settle()
    closing = asyncio.create_task(batcher.close())
    await settle()
    with pytest.raises(Overloaded, match="shutting down"):
        await batcher.detect([frame("newcomer")])
    engine.gate.set()
    await closing
    await batcher.close()
    assert [len(answer) for answer in await asyncio.gather(*tasks)] == [1, 1, 1]
    assert counts.refusals == ["closing"]


async def test_closing_does_not_wait_for_ever() -> None:
    """What is not done when the drain time is over gets Overloaded; its thread is left behind."""
    engine = Engine()
    engine.gate.clear()
    limits = BatchLimits(workers=1, max_batch=1, window_ms=0, drain_s=0.01)
    batcher = Batcher(engine, decode=decode, limits=limits)
    tasks = [asyncio.create_task(batcher.detect([frame(str(n))])) for n in range(2)]
    await settle()
    try:
        await batcher.close()
        assert engine.running == 1, "closing has waited for the thread"
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(error) for error in errors] == [Overloaded, Overloaded]
        assert engine.batches == [[frame("0").digest]]
    finally:
        engine.gate.set()


async def test_jobs_that_wait_for_company_are_answered_when_it_closes() -> None:
    """Taken from the queue, and not yet run, they get Overloaded at once."""
    limits = BatchLimits(workers=1, max_batch=2, window_ms=10_000, drain_s=0)
    batcher = Batcher(Engine(), decode=decode, limits=limits)
    lone = asyncio.create_task(batcher.detect([frame("lone")]))
    await settle()
    (worker,) = batcher._queue._workers
    worker.cancel()
    with pytest.raises(Overloaded, match="shutting down"):
        await lone
    assert batcher._queue.pending == 0
    await batcher.close()


class Fresh(Engine):
    """An engine whose errors are nobody else's."""

    kind: type[Exception] | None = None

    def detect(self, frames: Sequence[Frame], **options: Any) -> list[tuple[Face, ...]]:
        """Fail anew, where it is to fail."""
        if self.kind is not None:
            raise self.kind("no good")
        return super().detect(frames, **options)


@pytest.mark.parametrize("kind", [None, InferenceFailed, ZeroDivisionError])
@pytest.mark.parametrize("together", [1, 3])
async def test_no_picture_outlives_its_answer(
    monkeypatch: pytest.MonkeyPatch, kind: type[Exception] | None, together: int
) -> None:
    """Answered or failed, alone or in a batch: without the collector nothing is left of it."""
    monkeypatch.setattr(queue._log, "disabled", True)  # pytest keeps what is logged
    engine = Fresh()
    pictures = [np.zeros((2, 2, 3), np.uint8) for _ in range(together)]
    left = [weakref.ref(picture) for picture in pictures]

    async def ask() -> None:
        try:
            await batcher.detect([Frame(pixels=pictures.pop(), digest="0" * 64)])
        except InferenceFailed:
            assert kind is not None

    async with Batcher(engine, decode=decode, limits=ALONE) as batcher:
        gc.collect()
        gc.disable()
        try:
            engine.gate.clear()
            held = asyncio.create_task(batcher.poses([frame("held")], [None]))  # type: ignore[list-item]
            await settle()
            engine.kind = kind
            tasks = [asyncio.create_task(ask()) for _ in range(together)]
            await settle()
            engine.gate.set()
            await held
            while tasks:
                await tasks.pop()
            engine.kind = None
            await batcher.decode([b"x"])  # the thread has let go of the work before
            await settle()
            assert [ref() for ref in left] == [None] * together
        finally:
            gc.enable()


async def test_decoding_names_the_image_that_is_broken() -> None:
    """Of several images the broken one is named, and the remedy kept."""
    async with Batcher(Engine(), decode=decode) as batcher:
        assert (await batcher.decode([b"x"]))[0].digest == frame("x").digest
        with pytest.raises(ImageUnreadable, match="Image 2 of 3") as error:
            await batcher.decode([b"x", b"bad", b"y"])
        assert error.value.remedy == "Send another."
        with pytest.raises(ImageUnreadable, match=r"^The bytes are not"):
            await batcher.decode([b"bad"])


async def test_enrolling_goes_alone() -> None:
    """Photographs are judged one by one."""
    engine = Engine()
    async with Batcher(engine, decode=decode) as batcher:
        photos = [frame("a"), frame("b")]
        answers: list[Any] = await asyncio.gather(
            batcher.enrol(photos[0]), batcher.enrol(photos[1], strict=False)
        )
    assert answers == [(photos[0], True), (photos[1], False)]
    assert sorted(map(len, engine.batches)) == [1, 1]


async def test_callers_learn_the_times_of_their_batch() -> None:
    """Stage times of the engine go to whoever asks, and to the observer."""
    counts = Counts()
    timings: dict[str, float] = {"decode": 3.0}
    async with Batcher(Engine(), decode=decode, observer=counts) as batcher:
        await batcher.assess([frame("a"), frame("b")], timings_ms=timings)
        await batcher.detect([frame("a")])
    assert timings == {"decode": 3.0, "embed": 2.0}
    assert counts.jobs == [("assess", 2, ["embed"]), ("detect", 1, ["detect"])]


async def test_nothing_to_do_is_done_at_once() -> None:
    """An empty list costs no batch."""
    engine = Engine()
    async with Batcher(engine, decode=decode) as batcher:
        assert await batcher.assess([]) == []
    assert engine.batches == []


REFERENCE = np.ones(4, np.float32)


class Glancing(Engine):
    """An engine that looks at presence, and moves landmarks where they are refined."""

    def glance(self, frames: Sequence[Frame], **options: Any) -> list[Any]:
        """Name the frame, and what came before it."""
        before = options["last"] or [None] * len(frames)
        self._ran(frames)
        return [
            (each.digest[:4], one, options["closely"])
            for each, one in zip(frames, before, strict=True)
        ]

    def refine(self, frames: Sequence[Frame], faces: Sequence[Any], **_: Any) -> list[Any]:
        """Say that they were refined."""
        return [("refined", *some) for some in faces]


async def test_glances_share_a_batch_and_a_broken_picture_disturbs_nobody() -> None:
    """Each caller gets his own answer, or what is wrong with his own picture; once."""
    engine = Glancing()
    async with Batcher(engine, decode=decode, limits=BatchLimits(workers=1)) as batcher:
        engine.gate.clear()
        first = asyncio.create_task(batcher.glance(b"00", last=None))
        await asyncio.sleep(0.05)
        asked = [
            asyncio.create_task(batcher.glance(data, last=last, owner=data.hex()))
            for data, last in ((b"01", None), (b"bad", None), (b"02", "seen"))
        ]
        await asyncio.sleep(0.05)
        engine.gate.set()
        answers = await asyncio.gather(first, *asked, return_exceptions=True)
        names = [frame(name).digest[:4] for name in ("00", "01", "02", "03")]
        assert answers[0] == (names[0], None, False)
        assert answers[1] == (names[1], None, False)
        assert isinstance(answers[2], ImageUnreadable)
        assert answers[3] == (names[2], "seen", False)
        assert [[name[:4] for name in batch] for batch in engine.batches] == [names[:1], names[1:3]]
        assert await batcher.glance(frame("03"), last=None, closely=True) == (names[3], None, True)


async def test_pictures_are_inspected_under_their_names_with_refined_faces() -> None:
    """Decoding, exact landmarks and identity are one job; a video frame needs no decoding."""
    engine = Glancing()
    async with Batcher(engine, decode=decode) as batcher:
        found = await batcher.inspect(
            [b"00", frame("01")], digests=["a", "b"], faces=[(1,), (2,)], reference=REFERENCE
        )
    assert [one.digest for one in found] == ["a", "b"]
    assert engine.calls[0]["faces"] == [("refined", 1), ("refined", 2)]
    assert engine.calls[0]["references"] == (REFERENCE, REFERENCE)
