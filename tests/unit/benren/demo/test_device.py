"""The demo's devices: they obey, or do not, and open another session when the learner returns."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from benren.client import SessionStatus
from benren.demo.attacks import Room
from benren.demo.cameras import PHONE, Camera
from benren.demo.cast import LESSON_S, Expectation, Role, Sitter, Stay
from benren.demo.device import THUMBNAILS, Device
from verifier.clock import ManualClock
from verifier.errors import Conflict, ImageUnreadable
from verifier.streaming.advice import Advice
from verifier.streaming.cues import Cue, ShownChallenge, Turn

STATUS = SessionStatus(
    state="awaiting_start_check",
    reason="start_check",
    play=False,
    credited_s=0,
    course_credited_s=0,
    target_s=480,
    certificate=None,
    report_every_s=15,
)
RUNNING = replace(STATUS, state="running", reason=None, play=True)


@dataclass
class ScriptedSession:
    """A session whose `play` follows a script, and which may end."""

    id: str
    clock: ManualClock
    plays: tuple[int, int]
    """From which second to which the player may run."""
    ends_s: int = LESSON_S + 1
    status: SessionStatus = STATUS
    reports: list[tuple[int, int, bool]] = field(default_factory=list)
    """Second, media position in ms, playing."""
    frames: list[int] = field(default_factory=list)
    advice: Advice = Advice.OK
    turns: list[ShownChallenge] = field(default_factory=list)
    """What a challenge shows, answer by answer."""

    @property
    def second(self) -> int:
        """The second of the lesson."""
        return self.clock.stamp().monotonic_ms // 1_000

    async def report(self, *, media_ms: int, playing: bool, **_: Any) -> SessionStatus:
        """Take a report, or say that the session has ended."""
        if self.second >= self.ends_s:
            raise Conflict("The session has ended.")
        self.reports.append((self.second, media_ms, playing))
        first, last = self.plays
        self.status = RUNNING if first <= self.second < last else STATUS
        return self.status

    async def push_frame(self, picture: bytes, **_: Any) -> Cue:
        """Take a frame, or say that the session has ended."""
        if self.second >= self.ends_s:
            raise Conflict("The session has ended.")
        self.frames.append(self.second)
        if self.advice is Advice.MORE_LIGHT:
            raise ImageUnreadable
        return Cue(
            seq=len(self.frames),
            accepted=self.advice is Advice.OK,
            advice=self.advice,
            period_ms=5_000,
            challenge=self.turns.pop(0) if self.turns else None,
        )

    async def look(self) -> SessionStatus:
        """Tell that it was suspended."""
        return replace(STATUS, state="suspended")

    async def close(self) -> SessionStatus:
        """End it."""
        return replace(STATUS, state="settled")


@dataclass
class ScriptedClient:
    """Opens the sessions it was given, one after the other."""

    sessions: list[ScriptedSession]

    async def open_session(self, **_: Any) -> ScriptedSession:
        """Open the next one."""
        return self.sessions.pop(0)


def _role(*stays: Stay, cheats: bool = False) -> Role:
    return Role(
        key="test",
        title="",
        story="",
        learner="tom",
        other="wei",
        stays=stays or (Stay(start_s=0, end_s=LESSON_S, sitter=Sitter.LEARNER),),
        expectation=Expectation.FULL,
        cheats=cheats,
        seed=1,
    )


async def _played(role: Role, *sessions: ScriptedSession) -> Device:
    clock = sessions[0].clock
    device = Device(
        role,
        Camera(Room(PHONE, 1), seed=1),
        cast("Any", ScriptedClient(list(sessions))),
        clock,
        learner_id="l",
        consent_id="c",
    )
    await device.open()
    for second in range(LESSON_S + 1):
        if second:
            clock.advance(1_000)
        await device.act(second)
    await device.leave()
    return device


async def test_frames_come_about_every_five_seconds_whatever_the_answers(
    clock: ManualClock,
) -> None:
    """The pace is jittered between 4 and 6 s and does not change with the state."""
    session = ScriptedSession("a", clock, plays=(10, 300))
    device = await _played(_role(), session)
    steps = {b - a for a, b in zip(session.frames, session.frames[1:], strict=False)}
    assert steps == {4, 5, 6}
    assert device.frames == len(session.frames)
    assert len(device.thumbnails) == THUMBNAILS
    assert device.refused == {}


async def test_who_sits_there_hears_what_a_challenge_asks_for(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a challenge is shown, frames come each second and the camera is told every change."""
    heard: list[tuple[str | None, float]] = []
    monkeypatch.setattr(Camera, "told", lambda _, turn, t_s: heard.append((turn, t_s)))
    asked = [
        ShownChallenge(id="x", step=1, steps=4, turn=turn, remaining_ms=9_000, attempt=1)
        for turn in (Turn.CENTRE, Turn.LEFT, Turn.CENTRE)
    ]
    session = ScriptedSession("a", clock, plays=(10, 300), turns=asked)
    await _played(_role(), session)
    first = session.frames[0]
    assert session.frames[:4] == [first, first + 1, first + 2, first + 3]
    assert [turn for turn, _ in heard] == ["centre", "left", "centre", None]
    assert session.frames[4] - session.frames[3] > 1


async def test_obedient_player_runs_only_while_it_may(clock: ManualClock) -> None:
    """It starts once it is let, stops when told at a report, and reports its end position."""
    session = ScriptedSession("a", clock, plays=(10, 300))
    device = await _played(_role(), session)
    claims = [second for second, _, playing in session.reports if playing]
    assert min(claims) >= 10
    assert max(claims) <= 315  # it heard of the pause at its next report
    assert 280 <= device.watched_s <= 305
    second, media_ms, playing = session.reports[-1]
    assert (second, playing) == (LESSON_S, False)
    assert media_ms == device.watched_s * 1_000
    assert device.state == "settled"


async def test_cheating_player_runs_whatever_it_is_told(clock: ManualClock) -> None:
    """A manipulated player claims to play from the first second to the last."""
    session = ScriptedSession("a", clock, plays=(0, 0))
    device = await _played(_role(cheats=True), session)
    assert all(playing for second, _, playing in session.reports if second < LESSON_S)
    assert device.watched_s == LESSON_S


async def test_session_that_was_ended_ends_the_obedient_player(clock: ManualClock) -> None:
    """Once the tracker has ended the session nothing runs on; its state is asked once more."""
    session = ScriptedSession("a", clock, plays=(0, LESSON_S), ends_s=100)
    stays = (
        Stay(start_s=0, end_s=60, sitter=Sitter.LEARNER),
        Stay(start_s=60, end_s=LESSON_S, sitter=Sitter.OTHER),
    )
    device = await _played(_role(*stays), session)
    assert device.watched_s <= 106
    assert device.state == "suspended"
    assert len(device.thumbnails) == THUMBNAILS  # the camera is still there


async def test_learner_who_comes_back_opens_another_session(clock: ManualClock) -> None:
    """It goes on in the medium where the tracker last saw it, not where the cheat ran to."""
    first = ScriptedSession("a", clock, plays=(0, LESSON_S), ends_s=250)
    second = ScriptedSession("b", clock, plays=(360, LESSON_S))
    role = _role(
        Stay(start_s=0, end_s=200, sitter=Sitter.LEARNER),
        Stay(start_s=200, end_s=350, sitter=Sitter.OTHER),
        Stay(start_s=350, end_s=LESSON_S, sitter=Sitter.LEARNER),
        cheats=True,
    )
    device = await _played(role, first, second)
    assert device.sessions == ["a", "b"]
    assert second.frames[0] >= 350
    assert second.reports[0][1] == first.reports[-1][1]


async def test_learner_who_finds_the_session_ended_opens_another(clock: ManualClock) -> None:
    """Where it was ended while he sits there, he opens another one at once."""
    first = ScriptedSession("a", clock, plays=(0, LESSON_S), ends_s=100)
    second = ScriptedSession("b", clock, plays=(0, LESSON_S))
    device = await _played(_role(), first, second)
    assert device.sessions == ["a", "b"]
    assert second.frames[0] < 115


@pytest.mark.parametrize(
    ("advice", "counted"),
    [(Advice.DUPLICATE, "duplicate"), (Advice.MORE_LIGHT, "image_unreadable")],
)
async def test_frames_that_were_not_taken_are_counted(
    clock: ManualClock, advice: Advice, counted: str
) -> None:
    """Frames that became no sample, or were refused, are counted by their reason."""
    session = ScriptedSession("a", clock, plays=(0, LESSON_S), advice=advice)
    device = await _played(_role(), session)
    assert device.refused == {counted: device.frames}
