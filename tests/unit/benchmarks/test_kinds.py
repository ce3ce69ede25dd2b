"""What is timed as a learner's work is what a real stream asks of the engine."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import kinds as module
from benchmarks.kinds import CHECK_FRAMES, kinds_of
from verifier.api.testing import ScriptedInference, scripted_verifier
from verifier.clock import ManualClock
from verifier.errors import InferenceFailed
from verifier.pipeline.savings import OLDEST
from verifier.streaming.testing import embedding_of, scene
from verifier.types import CheckRequest, PresencePolicy, StreamEvent, StreamSpec

FRAMES = [scene("li", shot=shot) for shot in range(8)]


class Calls(list[tuple[Any, ...]]):
    """What was asked of the engine, in order, without whose faces and pictures they were."""

    def taken(self) -> list[tuple[Any, ...]]:
        """Give them and forget them; decoding counts together."""
        found, decoded = [one for one in self if one != ("decode",)], self.count(("decode",))
        self.clear()
        return [("decode", decoded), *found]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Every call of every scripted engine."""
    recorded = Calls()

    def record(name: str, told: Any) -> None:
        original = getattr(ScriptedInference, name)

        def method(self: ScriptedInference, *given: Any, **options: Any) -> Any:
            recorded.append((name, *told(*given, **options)))
            return original(self, *given, **options)

        monkeypatch.setattr(ScriptedInference, name, method)

    def memory(last: Any) -> list[str]:
        if last is None:
            return ["none"]
        return [
            "none" if one is None else "rested" if one.age >= OLDEST else "followed" for one in last
        ]

    def glance(frames: Any, *, last: Any = None, closely: bool = False, **_: Any) -> Any:
        return len(frames), memory(last), closely

    def assess(frames: Any, *, faces: Any, references: Any, **options: Any) -> Any:
        options.pop("timings_ms")
        return len(frames), [len(some) for some in faces], len(references), options

    record("decode", lambda _: ())
    record("glance", glance)
    record("refine", lambda frames, faces, **_: (len(frames), [len(some) for some in faces]))
    record("assess", assess)
    record("detect", lambda *_, **__: ("by itself",))
    return recorded


async def streamed(calls: Calls) -> dict[str, Any]:
    """Let a stream run, and give what it asked for each kind of work."""
    clock = ManualClock()
    made = scripted_verifier(clock=clock)
    events: list[StreamEvent] = []

    async def sink(event: StreamEvent) -> None:
        events.append(event)

    made.hub.subscribe(sink)
    template = made.vault.seal(subject="li", embedding=embedding_of("li"), quality={})
    policy = PresencePolicy(identity_share=0.0, check_frames=CHECK_FRAMES)
    spec = StreamSpec(session_id="s", subject="li", template=template, policy=policy)
    grant = await made.hub.open_stream(spec)
    by_frame, second = [], clock.stamp()
    for seq, data in enumerate(FRAMES[: OLDEST + 2], start=1):
        clock.advance(2_000)
        second = clock.stamp() if seq == 2 else second
        calls.clear()
        await made.hub.push_frame(grant.stream_id, grant.client_token, seq=seq, data=data)
        await made.hub.settled()
        by_frame.append(calls.taken())
    await made.hub.check(grant.stream_id, CheckRequest(check_id="c", not_before=second))
    checked = calls.taken()
    await made.hub.aclose()
    await made.batcher.close()
    # The first frame is a presence sample and, since identity is owed, an identity sample.
    first = by_frame[0]
    assert [one[0] for one in first] == ["decode", "glance", "refine", "assess"]
    assert first[0] == ("decode", 2)
    return {
        "tracked": by_frame[1],
        "presence": by_frame[OLDEST + 1],
        "identity": [("decode", 1), *first[2:]],
        "check": checked,
    }


def test_kinds_of_work_are_what_a_stream_does(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same calls with the same options, for each kind."""
    expected = asyncio.run(streamed(calls))
    engine = ScriptedInference()
    monkeypatch.setattr(module, "decode", engine.decode)
    bench: Any = SimpleNamespace(
        engine=engine, reference=embedding_of("li"), jpegs=FRAMES, later=FRAMES[1:]
    )
    work = kinds_of(bench)
    for name, asked in expected.items():
        calls.clear()
        work[name]([0])
        assert calls.taken() == asked, name
    assert expected["presence"][1] == ("glance", 1, ["rested"], False)
    assert expected["tracked"][1] == ("glance", 1, ["followed"], False)


def test_a_frame_without_a_face_is_no_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is timed on it."""
    engine = ScriptedInference()
    monkeypatch.setattr(module, "decode", engine.decode)
    bench: Any = SimpleNamespace(
        engine=engine, reference=embedding_of("li"), jpegs=[scene()], later=FRAMES
    )
    with pytest.raises(InferenceFailed, match="no face"):
        kinds_of(bench)
