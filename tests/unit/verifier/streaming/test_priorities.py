"""Who goes first: what somebody waits for; no answer waits for what is due in silence."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

from tests.unit.verifier.streaming.conftest import MakeStudio, Studio
from verifier.pipeline.batching import Batcher
from verifier.pipeline.ports import BatchLimits, Priority
from verifier.streaming.testing import Person, ScriptedEngine, scene
from verifier.types import ChallengeRequest, CheckRequest, PresencePolicy, StreamGrant

FIRST, BEHIND = Priority.INTERACTIVE, Priority.BULK
Asked = tuple[str, Priority, str]
"""Stage, priority, owner."""


class Noted(ScriptedEngine):
    """A batcher that writes down what it is asked for, and with which priority."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Asked] = []

    def _note(self, stage: str, how: dict[str, Any]) -> None:
        self.asked.append((stage, how["priority"], how["owner"]))

    async def glance(self, picture: Any, **how: Any) -> Any:
        """Note, and glance."""
        self._note("glance", how)
        return await super().glance(picture, **how)

    async def inspect(self, pictures: Any, **how: Any) -> Any:
        """Note, and inspect."""
        self._note("inspect", how)
        return await super().inspect(pictures, **how)

    async def poses(self, frames: Any, faces: Any, **how: Any) -> Any:
        """Note, and measure."""
        self._note("pose", how)
        return await super().poses(frames, faces, **how)

    async def assess(self, frames: Any, **how: Any) -> Any:
        """Note what challenges ask for; the rest is part of a glance or an inspection."""
        if "priority" in how:
            self._note("assess", how)
        return await super().assess(frames, **how)

    def since(self, start: int, *stages: str) -> list[Asked]:
        """What was asked for from this number on."""
        return [one for one in self.asked[start:] if not stages or one[0] in stages]


def noted(make_studio: MakeStudio, **how: Any) -> tuple[Studio, Noted]:
    """A studio whose batcher writes down."""
    studio, engine = make_studio(**how), Noted()
    studio.engine = studio.hub._batcher = engine
    return studio, engine


async def test_what_is_owed_goes_first_and_what_is_drawn_behind(make_studio: MakeStudio) -> None:
    """The first face is owed: somebody has just come. From then on samples are drawn."""
    studio, engine = noted(make_studio, draw=lambda: 0.0)
    grant = await studio.open()
    for _ in range(3):
        await studio.show(grant, "li")
    assert [one[1] for one in engine.since(0, "inspect")] == [FIRST, BEHIND, BEHIND]
    await studio.hub.resume(grant.stream_id)
    await studio.show(grant, "li")
    assert engine.asked[-1][:2] == ("inspect", FIRST)


async def test_a_check_that_is_awaited_goes_first_and_a_silent_one_behind(
    make_studio: MakeStudio,
) -> None:
    """The tracker says which it is."""
    studio, engine = noted(make_studio)
    grant = await studio.open()
    for number, priority in enumerate((FIRST, BEHIND)):
        for _ in range(2):
            await studio.show(grant, "li")
        start = len(engine.asked)
        request = CheckRequest(check_id=f"c-{number}", awaited=priority is FIRST)
        await studio.hub.check(grant.stream_id, request)
        assert [one[:2] for one in engine.since(start)] == [("inspect", priority)]


async def test_everything_of_a_challenge_that_is_shown_goes_first(make_studio: MakeStudio) -> None:
    """The frame before it, and each while it is shown: glance, pose and face."""
    studio, engine = noted(make_studio)
    grant = await studio.open()
    for _ in range(2):
        await studio.show(grant, "li")
    start = len(engine.asked)
    await studio.hub.challenge(grant.stream_id, ChallengeRequest(check_id="c-1"))
    for _ in range(3):
        await studio.show(grant, "li", after_ms=250)
    stages = engine.since(start)
    assert {one[0] for one in stages} == {"glance", "inspect", "pose", "assess"}
    assert {one[1] for one in stages} == {FIRST}


async def test_whatever_is_due_a_frame_is_asked_for_alike(make_studio: MakeStudio) -> None:
    """Glances and poses of a lesson: one priority, one owner, which no look and no check shares."""
    draws = iter([0.0, 0.9] * 20)
    studio, engine = noted(make_studio, draw=lambda: next(draws))
    grant = await studio.open(policy=PresencePolicy(away_yaw_deg=30))
    for number in range(12):
        await studio.show(grant, "li")
        if number % 3 == 0:
            request = CheckRequest(check_id=f"c-{number}", awaited=number % 2 == 0)
            await studio.hub.check(grant.stream_id, request)
    answers = engine.since(0, "glance", "pose")
    assert {one[1:] for one in answers} == {(BEHIND, "s-1")}
    assert len(answers) == 24
    looks = engine.since(0, "inspect")
    assert {one[1] for one in looks} == {FIRST, BEHIND}
    assert "s-1" not in {one[2] for one in looks}


class Held:
    """An engine on threads that holds up chosen pictures and says in which order it worked."""

    def __init__(self) -> None:
        self.script = ScriptedEngine()
        self.models, self.profile = self.script.models, self
        self.version = self.script.profile_version
        self.order: list[tuple[str, str]] = []
        """(stage, who is in the picture)."""
        self.gates: dict[str, threading.Event] = {}

    def decode(self, data: bytes) -> Any:
        """Read a scene."""
        return self.script._read(data)

    def _begin(self, stage: str, frames: Sequence[Any]) -> None:
        for frame in frames:
            who = self.script._of(frame)[0].who
            self.order.append((stage, who))
            if who in self.gates:
                assert self.gates[who].wait(10), "the test forgot to open the gate"

    def glance(self, frames: Sequence[Any], **how: Any) -> list[Any]:
        """Glance at each."""
        self._begin("glance", frames)
        closely = how["closely"]
        return [asyncio.run(self.script.glance(f, last=None, closely=closely)) for f in frames]

    def refine(self, frames: Sequence[Any], faces: Any, **_: Any) -> Any:
        """Leave the faces as they are."""
        return faces

    def assess(self, frames: Sequence[Any], *, faces: Any, references: Any, **_: Any) -> Any:
        """Look for identity."""
        self._begin("look", frames)
        return asyncio.run(self.script.assess(frames, faces=faces, references=references))

    def judge(self, evidence: Any, reference: Any, **how: Any) -> Any:
        """Decide."""
        return self.script.judge(evidence, reference, **how)


class Line:
    """A hub over the real batcher, one picture at a time; learners who each have a stream."""

    def __init__(self, make_studio: MakeStudio, draw: Callable[[], float]) -> None:
        self.engine = Held()
        limits = BatchLimits(workers=1, max_batch=1, window_ms=0, patience_s=60)
        engine: Any = self.engine
        self.batcher = Batcher(engine, decode=self.engine.decode, limits=limits)
        self.studio = make_studio(draw=draw)
        self.studio.hub._batcher = self.batcher
        self.grants: dict[str, StreamGrant] = {}
        self.sent: list[asyncio.Task[Any]] = []
        self._seq = 0

    async def enter(self, *names: str) -> None:
        """Have learners sit down, each with a first frame that is looked at."""
        for name in names:
            self.grants[name] = await self.studio.open(name, session=f"s-{name}")
            await self.send(name)
        await self.studio.hub.settled()

    def send(self, name: str) -> asyncio.Task[Any]:
        """Send a learner's next frame."""
        self._seq += 1
        grant = self.grants[name]
        push = self.studio.hub.push_frame(
            grant.stream_id,
            grant.client_token,
            seq=self._seq,
            data=scene(Person(who=name), shot=self._seq),
        )
        self.sent.append(asyncio.create_task(push))
        return self.sent[-1]

    async def waits(self, jobs: int) -> None:
        """Return once so many jobs wait in the line."""
        await until(lambda: sum(map(len, self.batcher._queue._queues.values())) == jobs)

    def hold(self, name: str) -> threading.Event:
        """Hold up whatever shows a learner; gives what lets it go."""
        self.engine.gates[name] = threading.Event()
        return self.engine.gates[name]

    async def over(self) -> list[tuple[str, str]]:
        """Let everything come to its end; gives the order of work."""
        await asyncio.gather(*self.sent)
        await self.studio.hub.settled()
        await self.batcher.close()
        return self.engine.order


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what it watches announces nothing
            await asyncio.sleep(0.001)


async def check_in_a_full_line(make_studio: MakeStudio, *, awaited: bool) -> list[tuple[str, str]]:
    """Frames of three wait; a fourth is checked; gives the order from the first frame on."""
    line = Line(make_studio, lambda: 0.999)
    await line.enter("li", "ann", "bob", "cho")
    await line.send("li")
    start = len(line.engine.order)
    gate = line.hold("ann")
    for number, name in enumerate(("ann", "bob", "cho")):
        line.send(name)
        await until(lambda: len(line.engine.order) > start)
        await line.waits(number)
    request = CheckRequest(check_id="c", awaited=awaited)
    check = asyncio.create_task(line.studio.hub.check(line.grants["li"].stream_id, request))
    await line.waits(3)
    gate.set()
    await check
    return (await line.over())[start:]


async def test_a_check_that_is_awaited_overtakes_a_full_line(make_studio: MakeStudio) -> None:
    """Presence of others waits; a silent check waits behind it."""
    frames = [("glance", "ann"), ("glance", "bob"), ("glance", "cho")]
    found = await check_in_a_full_line(make_studio, awaited=True)
    assert found == [frames[0], ("look", "li"), *frames[1:]]
    found = await check_in_a_full_line(make_studio, awaited=False)
    assert found == [*frames, ("look", "li")]


async def frames_around_a_look(make_studio: MakeStudio, *, drawn: bool) -> list[tuple[str, str]]:
    """A frame of li is answered, a look is due or not; li's next frame comes before dan's."""
    draws = iter([0.0 if drawn else 0.999] + [0.999] * 9)
    line = Line(make_studio, lambda: next(draws))
    await line.enter("li", "cho", "dan")
    start = len(line.engine.order)
    before, busy = line.hold("li"), line.hold("cho")
    answer = line.send("li")
    await until(lambda: len(line.engine.order) > start)
    line.send("cho")
    await line.waits(1)
    before.set()
    await answer
    await line.waits(1 if drawn else 0)
    line.send("li")
    await line.waits(2 if drawn else 1)
    line.send("dan")
    await line.waits(3 if drawn else 2)
    busy.set()
    return (await line.over())[start:]


async def test_a_look_takes_no_turn_from_the_next_frame(make_studio: MakeStudio) -> None:
    """Of the frames that wait, each is answered in the same place, look or none."""
    without = await frames_around_a_look(make_studio, drawn=False)
    assert without == [("glance", who) for who in ("li", "cho", "li", "dan")]
    with_look = await frames_around_a_look(make_studio, drawn=True)
    assert with_look.count(("look", "li")) == 1
    assert [one for one in with_look if one[0] == "glance"] == without
