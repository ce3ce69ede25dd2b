"""The whole tracker beside a small model: sequences of everything that can happen to a lesson.

`SessionService` over SQLite, with a scripted verifier and a clock moved by hand, is driven by
random sequences: who sits there, frames or none, samples, challenges that are followed or not,
failing verifiers, a player that plays, jumps, stalls and lies, repeats and contradictions, a second
device that takes over, restarts, staff who answer for the learner with and without a camera,
reviews, appeals and those who decide them, midnight. After each the credit of every second is
compared with `session_tracker.reference`, which goes through them by brute force; and along the way
the player runs only where it may. `make soak` plays 3 000 sequences, the ordinary run fewer.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from session_tracker.events import (
    Challenged,
    Check,
    Closed,
    Disputed,
    Fact,
    Granted,
    Outcome,
    Paused,
    PauseReason,
    Resumed,
    Suspended,
    SystemFault,
    Upheld,
    VoidReason,
)
from session_tracker.explain import Explanation, fate_of
from session_tracker.live import Report
from session_tracker.openings import OpenedSession, OpenedSupervised
from session_tracker.policy import Policy, load_policy
from session_tracker.reference import (
    SHOWN,
    Case,
    Frame,
    Look,
    Said,
    Seen,
    count,
    may_say,
    middles,
)
from session_tracker.review import ReviewKind, ReviewState, Ruling
from session_tracker.reviews import SHORTEST_APPEAL_MS
from session_tracker.testing import ScriptedVerifier, Studio
from session_tracker.throttle import Ration
from session_tracker.views import SessionView
from verifier.clock import Stamp
from verifier.errors import BadRequest, Conflict, InferenceFailed, Refused
from verifier.types import Decision, EventKind, StreamEvent

pytestmark = pytest.mark.slow

T = TypeVar("T")
DAY_MS = 86_400_000
SHANGHAI_MS = 8 * 3_600_000
OUTCOMES = {
    Decision.MATCH: "pass",
    Decision.MISMATCH: "mismatch",
    Decision.SPOOF: "spoof",
    Decision.NO_EVIDENCE: "no_evidence",
}


def hurried(name: str, *, challenges: bool) -> Policy:
    """The rules of Foshan at a fifth of their times, so that a minute holds what takes five."""
    foshan = load_policy("foshan-2021").model_dump(mode="json")
    changes: dict[str, dict[str, Any]] = {
        "class_hour": {"seconds": 20},
        "checks": {
            "challenge_at_start": challenges,
            "challenge_share": 0.5 if challenges else 0.0,
            "random_mean_s": 30,
            "random_min_s": 4,
            "random_max_s": 144,
            "force_after_s": 18,
            "frames_needed_s": 2,
            "suspicion_wait_s": 3,
            "answer_window_s": 12,
            "retry_after_s": 2,
            "ask_again_after_s": 3,
            "start_limit_s": 60,
        },
        "brackets": {"max_gap_s": 24, "absent_s": 3, "no_evidence_s": 6, "suspicion_s": 6},
        "sampling": {"period_s": 1, "window_s": 5, "gap_s": 3},
        "playback": {"idle_s": 40, "slack_s": 2, "jump_s": 30},
        "daily_cap": {"class_hours": 2},
        "lease": {"heartbeat_s": 3, "expiry_s": 24},
        "network": {"tolerated_s": 6, "closed_after_s": 24},
    }
    for section, values in changes.items():
        foshan[section] = {**foshan[section], **values}
    return Policy.model_validate({**foshan, "name": name})


SILENT = hurried("silent", challenges=False)
CHALLENGED = hurried("challenged", challenges=True)
PEOPLE = ("li", "wu", "zhao")
PARTS = st.sampled_from(((0, 1), (0, 1), (0, 1), (0, 0.5), (0.5, 1), (0.25, 0.75), (-0.5, 1)))
"""Of an interval, what somebody grants; the last is more than what is asked about."""
WITHOUT_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate, Phase.target)
"""A sequence that fails is short already; to shrink it would take minutes."""


@dataclass
class Device:
    """A learner's device in one session, and everything about it that can be seen from outside."""

    opened: OpenedSession | OpenedSupervised
    seen: Seen
    position: int = 0
    medium: str = "a"
    playing: bool = False
    pressed: bool = True
    """Whether the learner wants the player to run."""
    seq: int = 0
    last: Report | None = None
    silent_s: int = 0
    offset: int = 0
    """Added to the track numbers of the newest stream."""
    said: dict[int, Said] = field(default_factory=dict)


class Yard:
    """One tracker for all sequences, each with a learner of its own."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.folder = tempfile.TemporaryDirectory(
            dir="/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 (only faster)
        )
        self.runner = asyncio.Runner()
        self.studio = Studio(f"sqlite:///{self.folder.name}/tracker.sqlite3", policy=policy)
        self.rng = random.Random(0)
        self.studio.draw = self.rng.random
        self.studio.service = self.studio._service()
        self.unrationed()
        self.events: list[StreamEvent] = []
        self.sequences = 0
        self.fates: Counter[str] = Counter()
        """Seconds compared, by what the tracker says of them."""
        self.met: Counter[str] = Counter()
        """What the sequences have met, beside that."""
        self.run(self.studio.start())
        self.studio.verifier.subscribe(self.hear)

    async def hear(self, event: StreamEvent) -> None:
        """Note an event that the tracker has taken in."""
        self.events.append(event)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for it."""
        return self.runner.run(work)

    def restart(self) -> None:
        """Stop the service and start it on the same store."""
        self.run(self.studio.restart())
        self.unrationed()
        self.studio.verifier.subscribe(self.hear)

    def unrationed(self) -> None:
        """Let devices do what no hand does: press ten times in no time at all."""
        turns = self.studio.service._stage.turns
        endless = Ration(every_ms=1, burst=1_000_000, detail="", remedy="")
        turns.reports = turns.looks = turns.streams = endless

    def close(self) -> None:
        """Check the ledger that all sequences have left, and clear away."""
        audit = self.run(self.studio.service.audit())
        self.run(self.studio.stop())
        self.runner.close()
        self.folder.cleanup()
        assert audit.intact, audit.findings


class Tracked(RuleBasedStateMachine):
    """A learner's days with the tracker."""

    yard: Yard

    def __init__(self) -> None:
        super().__init__()
        self.devices: list[Device] = []
        self.clock = self.yard.studio.clock
        self.service = self.yard.studio.service
        self.learner = ("", "")
        self.last_event: StreamEvent | None = None
        self.asked: dict[str, Stamp | None] = {}
        self.cases: dict[str, Case] = {}
        self.yard.events.clear()

    # --- what happens ----------------------------------------------------------------------

    @initialize(
        before_midnight_s=st.sampled_from((40_000, 40_000, 50)), seed=st.integers(0, 1 << 30)
    )
    def begin(self, before_midnight_s: int, seed: int) -> None:
        """A new learner enrols, at noon or shortly before midnight in Shanghai."""
        self.yard.sequences += 1
        self.yard.rng.seed(seed)
        now = self.now()
        midnight = ((now + SHANGHAI_MS) // DAY_MS + 1) * DAY_MS - SHANGHAI_MS
        at = midnight - before_midnight_s * 1_000
        self.advance(at - now if at > now else at + DAY_MS - now)
        self.learner = self.run(self.yard.studio.enrol())
        self.open(take_over=False)
        self.watch(6, Decision.MATCH, samples=0, frames=True)

    @rule(
        seconds=st.integers(1, 9),
        shows=st.sampled_from(
            (
                *(Decision.MATCH,) * 6,
                None,
                Decision.MISMATCH,
                Decision.SPOOF,
                Decision.NO_EVIDENCE,
            )
        ),
        samples=st.integers(0, 511),
        frames=st.sampled_from((True, True, True, True, False)),
        new_track=st.sampled_from((False, False, False, True)),
    )
    def sit(
        self, seconds: int, shows: Decision | None, samples: int, frames: bool, new_track: bool
    ) -> None:
        """Somebody or nobody sits there for a while; frames come or do not."""
        stream = self.stream()
        if stream is not None and (shows is not stream.shows or new_track):
            self.yard.studio.verifier.show(self.device.seen.name, shows, new_track=new_track)
        self.watch(seconds, shows, samples=samples, frames=frames)

    @rule(seconds=st.integers(4, 12), samples=st.integers(0, 4_095))
    def stay(self, seconds: int, samples: int) -> None:
        """Whoever sits there goes on."""
        stream = self.stream()
        shows = Decision.MATCH if stream is None else stream.shows
        self.watch(seconds, shows, samples=samples, frames=True)

    @rule(seconds=st.integers(8, 25), samples=st.integers(0, 1 << 25))
    def study(self, seconds: int, samples: int) -> None:
        """The learner sits there and studies."""
        stream = self.stream()
        if stream is not None and stream.shows is not Decision.MATCH:
            self.yard.studio.verifier.show(self.device.seen.name, Decision.MATCH, new_track=False)
        self.watch(seconds, Decision.MATCH, samples=samples, frames=True)

    @rule(
        what=st.sampled_from(("pause", "play", "nudge", "ahead", "far", "back", "other", "touch"))
    )
    def press(self, what: str) -> None:
        """The learner, or his program, does something to the player."""
        device = self.device
        moves = {"nudge": 1_000, "ahead": 4_000, "far": 40_000, "back": -15_000}
        device.position = max(0, device.position + moves.get(what, 0))
        if what in ("pause", "play"):
            device.pressed = what == "play"
        if what == "other":
            device.medium, device.position = ("b" if device.medium == "a" else "a"), 0
        self.report(interaction=what == "touch")

    @rule(obeys=st.sampled_from((True, False, False)), seconds=st.integers(1, 30))
    @precondition(lambda self: self.yard.policy.checks.challenges)
    def heed(self, obeys: bool, seconds: int) -> None:
        """Whoever sits there follows the arrows from now on, or does not."""
        stream = self.stream()
        if stream is not None:
            stream.obeys = obeys
            self.watch(seconds, stream.shows, samples=0, frames=True)

    @rule(what=st.sampled_from(("repeat", "contradict", "overtake", "echo")))
    @precondition(lambda self: self.device.last is not None)
    def stumble(self, what: str) -> None:
        """Something is sent twice, contradicts itself, or comes too late."""
        {
            "repeat": self.repeat,
            "contradict": self.contradict,
            "overtake": self.overtake,
            "echo": self.echo,
        }[what]()

    def repeat(self) -> None:
        """A report is sent twice: the first answer, and nothing else."""
        device = self.device
        assert device.last is not None
        assert self.send(device, device.last) == self.send(device, device.last)

    def contradict(self) -> None:
        """The same number with another body is refused."""
        device = self.device
        last = device.last
        assert last is not None
        other = Report(
            seq=last.seq, media_id=last.media_id, media_ms=last.media_ms + 1, playing=True
        )
        with pytest.raises(Conflict):
            self.send(device, other)

    def overtake(self) -> None:
        """A report that a later one has overtaken counts for nothing."""
        device = self.device
        device.seq += 2
        self.report()
        late = Report(
            seq=device.seq - 1, media_id=device.medium, media_ms=device.position + 500, playing=True
        )
        try:
            self.send(device, late)
        except Conflict:
            assert not self.view(device).play

    def echo(self) -> None:
        """The verifier did not hear the answer and gives its last event again."""
        if self.last_event is not None:
            size = len(self.yard.events)
            self.run(self.yard.studio.verifier.again(self.last_event))
            del self.yard.events[size:]

    @rule(what=st.sampled_from(("fail", "restart")))
    def trouble(self, what: str) -> None:
        """The verifier fails for the next check and when asked anew, or the service restarts."""
        if what == "fail":
            self.yard.studio.verifier.failures += [InferenceFailed("gone")] * 2
            return
        before = self.yard.studio.verifier
        self.yard.restart()
        self.asked |= _asked_of(before)
        self.service = self.yard.studio.service
        self.settle()
        for device in self.devices:
            if self.view(device).state not in ("settled", "closed", "suspended"):
                self.reopen(device)

    @rule()
    @precondition(lambda self: len(self.devices) < 4)
    def second_device(self) -> None:
        """Another device takes over; from now on it is the one that is used."""
        self.open(take_over=True)

    @rule(pause_s=st.sampled_from((5, 60, 4_000)))
    @precondition(lambda self: len(self.devices) < 4)
    def come_again(self, pause_s: int) -> None:
        """The session is ended; after a while another one begins with the same lesson."""
        self.leave(pause_s)
        self.open(take_over=False)
        self.watch(4, Decision.MATCH, samples=0, frames=True)

    def leave(self, pause_s: int) -> None:
        """End all sessions, and stay away for a while."""
        for device in self.devices:
            self.run(self.service.close(device.seen.name, device.opened.session_token))
        self.settle()
        self.advance(pause_s * 1_000)

    @rule(
        which=st.integers(0, 3),
        back_s=st.sampled_from((0, 0, 0, 3, -3, 20, -20)),
        length=st.integers(1, 90),
    )
    def supervise(self, which: int, back_s: int, length: int) -> None:
        """Staff answer for the learner: from now on, or where there is no camera, before."""
        device = self.devices[which % len(self.devices)]
        now = self.now()
        start, end = now - back_s * 1_000, now + length * 1_000
        runs = self.view(device).state not in ("settled", "closed", "suspended")
        if runs and abs(back_s) <= self.yard.policy.clock.client_skew_s:
            start = now
        end = end if runs else min(end, self.seen_end(device) // 1_000 * 1_000)
        may = device.seen.opened <= start < end and (
            start == now if isinstance(device.opened, OpenedSession) else start <= now
        )
        facts = self.run(self.service.facts(device.seen.name))
        if any(isinstance(f, Upheld) and f.t < end and start < f.end for f in facts):
            may = False
        work = self.service.casework.supervise(
            device.seen.name, start=start, end=end, actor="counter", reason="room 2"
        )
        if not may or (not runs and isinstance(device.opened, OpenedSession)):
            with pytest.raises((Refused, Conflict, BadRequest)):
                self.run(work)
            self.yard.met["supervision refused"] += 1
            return
        self.run(work)
        device.seen.supervised.append((start, end))
        self.yard.met["supervised"] += 1
        self.settle()

    @rule(pause_s=st.sampled_from((5, 60)), seconds=st.integers(10, 90))
    @precondition(lambda self: len(self.devices) < 4)
    def come_without_camera(self, pause_s: int, seconds: int) -> None:
        """The session is ended; the next one is under the eyes of staff, for a minute at first."""
        self.leave(pause_s)
        opened = self.run(
            self.service.openings.open_supervised(
                learner_id=self.learner[0],
                programme=self.yard.policy.name,
                media=["a", "b"],
                minutes=1,
                actor="counter",
                reason="declined the camera",
            )
        )
        seen = Seen(name=opened.session_id, opened=self.now())
        seen.supervised.append((seen.opened, opened.supervised_until_ms))
        self.devices.append(Device(opened=opened, seen=seen))
        self.yard.met["without a camera"] += 1
        self.watch(seconds, None, samples=0, frames=False)

    @rule(
        which=st.integers(0, 3),
        a=st.integers(0, 60),
        length=st.integers(1, 30),
        kind=st.sampled_from((Granted, Disputed, Upheld)),
    )
    def decide(self, which: int, a: int, length: int, kind: type[Granted]) -> None:
        """A reviewer decides about a stretch of one of the sessions."""
        device = self.devices[which % len(self.devices)]
        start = device.seen.opened + a * 1_000
        end = min(start + length * 1_000, self.seen_end(device) // 1_000 * 1_000)
        if start >= end:
            return
        fact = kind(key=f"{kind.__name__.lower()}:{start}:{end}", t=start, end=end)
        self.run(self.service.decide(device.seen.name, [fact], reason="decided"))
        if kind is Granted:
            device.seen.answered_for.append((start, end))
        self.settle()

    @rule(
        which=st.integers(0, 3),
        a=st.integers(0, 60),
        length=st.integers(1, 40),
        ends=st.sampled_from((True, False, False)),
    )
    def appeal(self, which: int, a: int, length: int, ends: bool) -> None:
        """The learner appeals about a stretch of one of his sessions, which he may end first."""
        device = self.devices[which % len(self.devices)]
        name = device.seen.name
        if ends:
            self.run(self.service.close(name, device.opened.session_token))
            self.settle()
        start, end = device.seen.opened + a * 1_000, self.seen_end(device) // 1_000 * 1_000
        end = min(start + length * 1_000, end)
        if end - start < SHORTEST_APPEAL_MS:
            return
        appealed = any(
            c.appeal and c.session == name and c.start < end and start < c.end
            for c in self.cases.values()
        )
        runs = self.view(device).state not in ("settled", "closed", "suspended")
        work = self.service.casework.appeal(
            self.learner[0], name, start=start, end=end, text="it was me"
        )
        if appealed or runs:
            with pytest.raises(Conflict):
                self.run(work)
            self.yard.met["appeal refused"] += 1
            return
        made = self.run(work)
        self.settle()
        facts = self.run(self.service.facts(name))
        assert made.spoof or not any(_is_spoof(f, start, end) for f in facts)
        self.yard.met["appeal"] += 1
        self.docket()

    @rule(
        which=st.integers(0, 7),
        votes=st.lists(
            st.tuples(st.sampled_from(PEOPLE), st.sampled_from((True, True, False)), PARTS),
            min_size=1,
            max_size=3,
        ),
        again=st.booleans(),
    )
    @precondition(lambda self: self.docket())
    def judge(
        self, which: int, votes: list[tuple[str, bool, tuple[float, float]]], again: bool
    ) -> None:
        """People decide a question that the rules or the learner have asked, or try to."""
        cases = [c for c in self.cases.items() if again or not c[1].decided]
        if not cases:
            return
        name, case = cases[which % len(cases)]
        for person, grants, part in votes:
            self.vote(name, case, person, part if grants else None)

    def vote(self, name: str, case: Case, person: str, part: tuple[float, float] | None) -> None:
        """Somebody grants a part of what is asked about, or upholds."""
        width = (case.end - case.start) / 1_000
        a, b = (case.start + round(share * width) * 1_000 for share in part or (0, 0))
        span = None if part is None else (a, min(b, case.end))
        before = self.run(self.service.facts(case.session))
        work = self.service.casework.decide(
            name,
            actor=person,
            ruling=Ruling.UPHELD if span is None else Ruling.GRANTED,
            reason="seen",
            start=None if span is None else span[0],
            end=None if span is None else span[1],
        )
        if not may_say(case, person, span, list(self.cases.values())):
            with pytest.raises((Refused, Conflict, BadRequest)):
                self.run(work)
            self.yard.met["vote refused"] += 1
            assert self.run(self.service.facts(case.session)) == before
            return
        found = self.run(work)
        self.settle()
        case.said[person] = span
        assert (found.state is ReviewState.DECIDED) is case.decided
        assert found.granted == case.granted
        if case.granted is not None:
            device = next(d for d in self.devices if d.seen.name == case.session)
            device.seen.answered_for.append(case.granted)
            self.yard.met["granted by two" if case.needed > 1 else "granted"] += 1
        else:
            self.yard.met["upheld" if case.decided else "second needed"] += 1

    def docket(self) -> bool:
        """Take in what the rules have asked people since; tell whether there is anything."""
        for device in self.devices:
            name = device.seen.name
            for review in self.run(self.service.casework.reviews.of_session(name)):
                if review.id in self.cases or review.start is None or review.end is None:
                    continue
                appeal = review.kind is ReviewKind.APPEAL
                needed = self.yard.policy.appeal.spoof_reviewers if review.spoof else 1
                self.cases[review.id] = Case(name, review.start, review.end, appeal, needed)
                self.yard.met[str(review.kind)] += 1
        return bool(self.cases)

    # --- what has to hold ------------------------------------------------------------------

    def teardown(self) -> None:
        """Compare every second of every session with the model; then end what still runs."""
        if not self.devices:
            return
        self.yard.studio.verifier.failures.clear()
        self.advance(500)  # the tracker orders its own facts by milliseconds ahead of the clock
        self.compare()
        for device in self.devices:
            self.run(self.service.close(device.seen.name, device.opened.session_token))
        self.settle()
        self.compare()

    def compare(self) -> None:
        """Each second is credited by both or by neither, and has its reason where by neither."""
        facts = {d.seen.name: self.run(self.service.facts(d.seen.name)) for d in self.devices}
        for device in self.devices:
            self.look(device, facts[device.seen.name])
        now = self.now()
        expected = count([d.seen for d in self.devices], self.yard.policy, now=now)
        total = 0
        for device in self.devices:
            name = device.seen.name
            explained = self.run(self.service.explain(name))
            total += sum(s.end - s.start for s in explained.told.spans if s.evidence is not None)
            for m in middles(device.seen, now):
                if not explained.told.start <= m < explained.told.end:
                    continue
                span = explained.told.at(m)
                theirs, ours = span.evidence is not None, (name, m) in expected.instants
                assert theirs == ours, (
                    f"{name} at {(m - device.seen.opened) / 1_000} s: the tracker says "
                    f"{span.state} ({span.reason}), the model {'credited' if ours else 'void'}"
                )
                assert theirs or span.reason is not None
                self.yard.fates[fate_of(span)] += 1
            self.excuse(facts[name], explained.told)
        assert abs(total - 1_000 * len(expected.instants)) < 1_500

    def excuse(self, facts: list[Fact], told: Explanation) -> None:
        """No second is called unanswered for nothing but a challenge that could not be shown."""
        shown = {f.key.removeprefix("challenged:"): f for f in facts if isinstance(f, Challenged)}
        for fact in facts:
            lost = shown.get(fact.key.removeprefix("fault:"))
            if lost is None or not told.start <= lost.t < told.end:
                continue
            self.yard.met["challenge lost"] += 1
            span = told.at(lost.t)
            others = [c for c in shown.values() if span.start <= c.t <= span.end and c is not lost]
            assert span.reason is not VoidReason.UNANSWERED or others, (span, lost)

    # --- how it is done --------------------------------------------------------------------

    @property
    def device(self) -> Device:
        """The device that is used now."""
        return self.devices[-1]

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for it."""
        return self.yard.run(work)

    def now(self) -> int:
        """The present, UTC ms."""
        return self.clock.stamp().utc_ms

    def settle(self) -> None:
        """Let the service finish what is due."""
        self.run(self.service.settled())

    def advance(self, ms: int) -> None:
        """Let time pass."""
        self.clock.advance(ms)
        self.settle()

    def seen_end(self, device: Device) -> int:
        """When a session ended, or now."""
        closed = [
            f for f in self.run(self.service.facts(device.seen.name)) if isinstance(f, Closed)
        ]
        return closed[0].t if closed else self.now()

    def open(self, *, take_over: bool) -> None:
        """Open a session and use its device from now on."""
        learner_id, consent_id = self.learner
        opened = self.run(
            self.service.openings.open_session(
                learner_id=learner_id,
                consent_id=consent_id,
                programme=self.yard.policy.name,
                media=["a", "b"],
                take_over=take_over,
            )
        )
        self.devices.append(
            Device(opened=opened, seen=Seen(name=opened.session_id, opened=self.now()))
        )

    def reopen(self, device: Device) -> None:
        """Open the stream of a session anew."""
        top = max((f.track for f in device.seen.frames), default=0)
        self.gather()
        top = max((f.track for f in device.seen.frames), default=top)
        try:
            self.run(
                self.service.openings.reopen_stream(device.seen.name, device.opened.session_token)
            )
        except Conflict:
            return
        device.offset = top
        self.settle()

    def stream(self) -> Any:
        """The open stream of the device, if any."""
        for stream in reversed(self.yard.studio.verifier.streams.values()):
            if stream.spec.session_id == self.device.seen.name:
                return stream
        return None

    def view(self, device: Device) -> SessionView:
        """What the device sees."""
        return self.run(self.service.view(device.seen.name, device.opened.session_token))

    def watch(self, seconds: int, shows: Decision | None, *, samples: int, frames: bool) -> None:
        """Second after second: a frame, the view, a report where one is due."""
        device = self.device
        for n in range(seconds):
            self.advance(1_000)
            if device.playing:
                device.position += 1_000
            device.silent_s += 1
            if frames and self.stream() is not None:
                name = device.seen.name
                identity = bool(samples >> n & 1)
                self.run(self.yard.studio.verifier.frame(name, identity=identity))
                self.settle()
            view = self.view(device)
            if view.play != device.playing or device.silent_s >= self.yard.policy.lease.heartbeat_s:
                self.report()
        self.gather()

    def report(self, *, interaction: bool = False) -> None:
        """Report where the player is; it runs where it may and shall."""
        device = self.device
        device.playing = self.view(device).play and device.pressed
        device.seq += 1
        said = Report(
            seq=device.seq,
            media_id=device.medium,
            media_ms=device.position,
            playing=device.playing,
            interaction=interaction,
        )
        try:
            self.send(device, said)
        except Conflict:
            device.playing = False
            return
        device.silent_s = 0
        device.last = said
        device.said[said.seq] = Said(self.now(), device.medium, device.position, device.playing)
        if not self.view(device).play:
            device.playing = False

    def send(self, device: Device, said: Report) -> SessionView:
        """Send a report as the device does."""
        found = self.run(self.service.report(device.seen.name, device.opened.session_token, said))
        self.settle()
        return found

    def gather(self) -> None:
        """Note what the verifier has seen since."""
        self.asked |= _asked_of(self.yard.studio.verifier)
        by_name = {d.seen.name: d for d in self.devices}
        for event in self.yard.events:
            device = by_name.get(event.session_id)
            if device is not None:
                self.take(device, event)
                self.last_event = event
        self.yard.events.clear()

    def take(self, device: Device, event: StreamEvent) -> None:
        """Note one event as the model sees it."""
        seen, t = device.seen, event.at.utc_ms
        track = event.track + device.offset if event.track else 0
        if event.kind not in (EventKind.CHECK, EventKind.CHALLENGE):
            seen.frames.append(Frame(t, track if event.faces else 0))
        if event.kind is EventKind.CHALLENGE:
            since = t if event.since is None else min(event.since.utc_ms, t)
            outcome = "unanswered" if event.decision is None else OUTCOMES[event.decision]
            before = 0 if event.before is None else event.before.utc_ms
            track = event.track + device.offset
            seen.looks.append(Look(t, track, outcome, since, before))
            self.yard.met[f"challenge {outcome}"] += 1
            return
        if event.decision is None:
            return
        outcome = OUTCOMES[event.decision]
        if event.kind is EventKind.IDENTITY:
            seen.looks.append(Look(t, track if event.faces else 0, outcome))
            return
        since = t if event.since is None else event.since.utc_ms
        not_before = self.asked[event.check_id or ""]
        suspects = {
            k.t for k in seen.looks if k.since is None and k.outcome in ("mismatch", "spoof")
        }
        if not_before is not None and not_before.utc_ms in suspects:
            since = not_before.utc_ms  # a suspicion: the window reaches back to the sample
        seen.looks.append(Look(t, event.track + device.offset, outcome, min(since, t)))

    def look(self, device: Device, facts: list[Fact]) -> None:
        """Take from the tracker its stamps, and when it had the player stand and go."""
        self.gather()
        seen = device.seen
        seen.turns = []
        stamped = {f.key: f.t for f in facts}
        seen.said = [
            # As the tracker stamped it: to the millisecond, where one more is over the slack.
            replace(said, t=stamped[f"playback:{seq:010d}"])
            for seq, said in sorted(device.said.items())
        ]
        seen.faults = [(f.t, f.end) for f in facts if isinstance(f, SystemFault)]
        seen.upheld = [(f.t, f.end) for f in facts if isinstance(f, Upheld)]
        for fact in facts:
            match fact:
                case Resumed():
                    seen.turns.append((fact.t, "run"))
                case Challenged():
                    seen.turns.append((fact.t, SHOWN))
                case Paused() | Suspended():
                    seen.turns.append((fact.t, str(fact.reason)))
                case Closed():
                    seen.closed = fact.t
                case _:
                    pass


def _asked_of(verifier: ScriptedVerifier) -> dict[str, Stamp | None]:
    """What the verifier was asked for, and from which frame on."""
    return {c.check_id: c.not_before for c in (*verifier.checks, *verifier.challenges)}


def _is_spoof(fact: Fact, start: int, end: int) -> bool:
    """Whether a decision about that interval is one about a spoof."""
    if isinstance(fact, Check):
        return fact.outcome is Outcome.SPOOF and fact.since < end and start <= fact.t
    reason = fact.reason if isinstance(fact, Suspended) else None
    return reason is PauseReason.SPOOF and start <= fact.t <= end


@pytest.fixture(params=[SILENT, CHALLENGED], ids=lambda policy: policy.name)
def yard(request: pytest.FixtureRequest) -> Any:
    """One tracker for the whole test."""
    made = Yard(request.param)
    yield made
    made.close()


def test_the_tracker_and_the_model_agree(yard: Yard, request: pytest.FixtureRequest) -> None:
    """Every second of every sequence, whatever happened."""
    soaked = request.config.getoption("--hypothesis-profile") == "soak"

    class Beside(Tracked):
        pass

    Beside.yard = yard
    challenged = yard.policy.checks.challenges
    sequences = (2_000 if challenged else 1_000) if soaked else 30
    Beside.TestCase.settings = settings(
        max_examples=sequences,
        stateful_step_count=16,
        phases=WITHOUT_SHRINKING,
        suppress_health_check=[HealthCheck.too_slow],
    )
    Beside.TestCase("runTest").runTest()
    print(yard.sequences, dict(yard.fates), dict(yard.met))  # noqa: T201 (shown with -s)
    assert yard.sequences >= (sequences if soaked else 20)
    assert yard.fates["credited"] > 250
    assert len(yard.fates) > 8, "the sequences are hardly worth comparing"
    if soaked:
        staff = ("supervised", "supervision refused", "without a camera")
        for what in ("appeal", "appeal refused", "granted", "granted by two", "upheld", *staff):
            assert yard.met[what] > 10, what
        for what in ("pass", "mismatch", "spoof", "no_evidence", "unanswered"):
            assert not challenged or yard.met[f"challenge {what}"] > 10, what
        assert not challenged or yard.met["challenge lost"] > 10
