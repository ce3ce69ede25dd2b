"""For tests of the tracker: a verifier without pictures, and a studio to play lessons in."""

from __future__ import annotations

import asyncio
import hashlib
import random
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from session_tracker.catalogue import Catalogue
from session_tracker.enroller import FaceTaken
from session_tracker.live import Report
from session_tracker.openings import OpenedSession
from session_tracker.policy import Policy, Provenance, Training
from session_tracker.service import SessionService
from session_tracker.store.database import Database
from session_tracker.views import SessionView
from verifier.clock import Clock, ManualClock, Stamp
from verifier.errors import BenrenError, StreamGone
from verifier.keys import KeyRing
from verifier.types import (
    ChallengeRequest,
    CheckRequest,
    Decision,
    EventKind,
    EventSink,
    StreamEvent,
    StreamGrant,
    StreamSpec,
    TemplateComparer,
)

MODELS: Final = {"detector": "scripted@00", "embedder": "scripted@01"}
PROFILE: Final = "scripted-1"
PICTURE: Final = b"\xff\xd8 a small picture \xff\xd9"
"""What the scripted verifier saw whenever a check failed."""
_TURNS: Final = ("left", "up", "left", "down")
_SCORES: Final = {
    Decision.MATCH: (0.71, 0.98),
    Decision.MISMATCH: (0.08, 0.97),
    Decision.SPOOF: (0.66, 0.02),
    Decision.NO_EVIDENCE: (None, None),
}


@dataclass(slots=True)
class ScriptedStream:
    """One open stream and what is in front of its camera."""

    id: str
    spec: StreamSpec
    shows: Decision | None = Decision.MATCH
    """What a verdict on the present frame says; None: nobody is there."""
    faces: int = 1
    """How many there are while there is one at all."""
    track: int = 0
    frames: int = 0
    events: int = 0
    owed: bool = True
    last: Stamp | None = None
    seen: list[tuple[Stamp, Decision]] = field(default_factory=list)
    """Frames of the present track."""
    answers: dict[str, StreamEvent] = field(default_factory=dict)
    away: bool | None = None
    """Whether whoever is there looks away; None: nobody asked."""
    obeys: bool = True
    """Whether whoever is there follows the arrows of a challenge."""
    challenge: ChallengeRequest | None = None
    """The challenge that is shown..."""
    challenged: Stamp | None = None
    """...since when..."""
    before: Stamp | None = None
    """...and the frame just before it, where that showed the learner."""
    order: asyncio.Lock = field(default_factory=asyncio.Lock)


class ScriptedVerifier:
    """A `StreamVerifier` without pictures."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sinks: list[EventSink] = []
        self.specs: list[StreamSpec] = []
        """What was asked for of every stream."""
        self.streams: dict[str, ScriptedStream] = {}
        self.failures: list[BenrenError] = []
        """Raised by the next checks, one each."""
        self.checks: list[CheckRequest] = []
        """Every check that was asked for."""
        self.challenges: list[ChallengeRequest] = []
        """Every challenge that was asked for."""
        self.closed: dict[str, bool] = {}
        """Streams that were closed -> whether another one took their place."""

    # --- what the tracker calls ------------------------------------------------------------

    async def open_stream(self, spec: StreamSpec) -> StreamGrant:
        """Open a stream; the camera shows the learner until told otherwise."""
        self.specs.append(spec)
        stream = ScriptedStream(id=f"str_{secrets.token_hex(8)}", spec=spec)
        self.streams[stream.id] = stream
        return StreamGrant(
            stream_id=stream.id,
            client_token=f"tok_{stream.id}",
            expires_utc_ms=self._clock.stamp().utc_ms + 3_600_000,
            frames_path=f"/v1/streams/{stream.id}/frames",
            socket_path=f"/v1/streams/{stream.id}/socket",
            offer_path=f"/v1/streams/{stream.id}/offer",
            sample_period_ms=spec.policy.sample_period_ms,
        )

    async def check(self, stream_id: str, request: CheckRequest) -> StreamEvent:
        """Judge the frames of the present track."""
        self.checks.append(request)
        if self.failures:
            raise self.failures.pop(0)
        stream = self._find(stream_id)
        if request.check_id not in stream.answers:
            stream.answers[request.check_id] = await self._judge(stream, request)
        return stream.answers[request.check_id]

    async def challenge(self, stream_id: str, request: ChallengeRequest) -> None:
        """Show a challenge; the next frame answers it, if somebody is there who obeys."""
        self.challenges.append(request)
        if self.failures:
            raise self.failures.pop(0)
        stream = self._find(stream_id)
        if request.check_id not in stream.answers and stream.challenge != request:
            stream.challenge, stream.challenged = request, self._clock.stamp()
            stream.before = stream.last if stream.shows is Decision.MATCH else None

    async def resume(self, stream_id: str) -> None:
        """Make the next face an identity sample."""
        self._find(stream_id).owed = True

    async def close_stream(self, stream_id: str, *, taken_over: bool = False) -> None:
        """Forget the stream."""
        self.streams.pop(stream_id, None)
        self.closed[stream_id] = taken_over

    def subscribe(self, sink: EventSink) -> None:
        """Give every event to `sink`."""
        self._sinks.append(sink)

    def describe(self) -> Mapping[str, str]:
        """Name the models and the profile."""
        return {**MODELS, "profile": PROFILE}

    # --- what the test calls ---------------------------------------------------------------

    def stream_of(self, session_id: str) -> ScriptedStream:
        """Give the newest stream of a session. Raises StreamGone."""
        for stream in reversed(self.streams.values()):
            if stream.spec.session_id == session_id:
                return stream
        raise StreamGone

    def show(self, session_id: str, shows: Decision | None, *, new_track: bool = True) -> None:
        """Put somebody else in front of the camera, or nobody."""
        stream = self.stream_of(session_id)
        if new_track and shows is not None:
            self._new_track(stream)
        if shows is None:
            stream.seen.clear()
            stream.owed = True
        stream.shows = shows

    async def frame(self, session_id: str, *, identity: bool = False) -> StreamEvent:
        """Have one frame arrive; returns once its event is durable."""
        stream = self.stream_of(session_id)
        async with stream.order:
            now = self._clock.stamp()
            if stream.shows is None:
                stream.track, stream.owed = stream.track, True
                event = self._event(stream, EventKind.PRESENCE, now, faces=0)
            else:
                gap = stream.spec.policy.gap_ms
                if stream.last is None or now.ms_since(stream.last) > gap or not stream.seen:
                    self._new_track(stream)
                stream.seen.append((now, stream.shows))
                judged = identity or stream.owed
                kind = EventKind.IDENTITY if judged else EventKind.PRESENCE
                event = self._event(stream, kind, now, faces=stream.faces)
                if not judged:
                    event = replace(event, away=stream.away)
                if judged:
                    event = _verdict(event, stream.shows)
                    stream.owed = stream.shows is Decision.NO_EVIDENCE
            stream.last = now
            stream.frames += 1
            await self._give(stream, event)
            await self._answer(stream, now)
            return event

    async def _answer(self, stream: ScriptedStream, now: Stamp) -> None:
        """End the challenge that is shown, if this frame answers it or its time is over."""
        request, since = stream.challenge, stream.challenged
        if request is None or since is None:
            return
        answered = stream.obeys and stream.shows is not None
        if not answered and now.ms_since(since) < request.window_ms * request.attempts:
            return
        faces = 0 if stream.shows is None else 1
        event = self._event(stream, EventKind.CHALLENGE, now, faces=faces)
        decision = Decision.NO_EVIDENCE if stream.shows is None else stream.shows
        if answered or stream.shows is None:
            event = _verdict(event, decision)
        event = replace(
            event,
            check_id=request.check_id,
            since=since,
            turns=_TURNS,
            attempts=1,
            before=stream.before,
        )
        stream.answers[request.check_id] = event
        stream.challenge = stream.challenged = None
        await self._give(stream, event)

    async def again(self, event: StreamEvent) -> None:
        """Give an event once more, as a verifier does that did not hear the answer."""
        for sink in self._sinks:
            await sink(event)

    # --- inside ----------------------------------------------------------------------------

    async def _judge(self, stream: ScriptedStream, request: CheckRequest) -> StreamEvent:
        async with stream.order:
            now = self._clock.stamp()
            window = stream.spec.policy.window_ms
            there = [
                (at, shows)
                for at, shows in stream.seen
                if now.ms_since(at) <= window
                and (request.not_before is None or at.ms_since(request.not_before) >= 0)
            ][-stream.spec.policy.check_frames :]
            if there:
                event = self._event(stream, EventKind.CHECK, there[-1][0], faces=1)
                worst = next((s for _, s in there if s is not Decision.MATCH), Decision.MATCH)
                event = _verdict(replace(event, since=there[0][0]), worst)
            else:
                event = self._event(stream, EventKind.CHECK, now, faces=0)
                event = _verdict(event, Decision.NO_EVIDENCE)
            event = replace(event, check_id=request.check_id)
            if stream.spec.policy.pictures and event.decision is not Decision.MATCH:
                digest = hashlib.sha256(PICTURE).hexdigest()
                event = replace(event, picture=PICTURE, picture_sha256=digest)
            await self._give(stream, event)
            return event

    def _new_track(self, stream: ScriptedStream) -> None:
        stream.track += 1
        stream.owed = True
        stream.seen.clear()

    def _event(
        self, stream: ScriptedStream, kind: EventKind, at: Stamp, *, faces: int
    ) -> StreamEvent:
        return StreamEvent(
            stream_id=stream.id,
            session_id=stream.spec.session_id,
            event_id=stream.events + 1,
            kind=kind,
            at=at,
            frame_seq=stream.frames + 1,
            track=stream.track if faces else 0,
            faces=faces,
        )

    async def _give(self, stream: ScriptedStream, event: StreamEvent) -> None:
        """Give an event to the sinks; where one raises, the event never happened."""
        for sink in self._sinks:
            await sink(event)
        stream.events = event.event_id

    def _find(self, stream_id: str) -> ScriptedStream:
        if stream_id not in self.streams:
            raise StreamGone
        return self.streams[stream_id]


class ScriptedEnroller:
    """An `Enroller` without pictures: it finds what `advice` says in whatever it is shown."""

    def __init__(self) -> None:
        self.advice: list[str] = []
        self.seen: list[tuple[str, bytes, bool]] = []
        """(learner, picture, asked to be alive) of every enrolment."""

    async def look(self, image: bytes) -> str:
        """Give the first advice."""
        return self.advice[0] if self.advice else "ok"

    async def enrol(self, learner_id: str, image: bytes, *, live: bool) -> FaceTaken:
        """Take the face where there is nothing to advise."""
        self.seen.append((learner_id, image, live))
        template = None if self.advice else b"opaque"
        return FaceTaken(template=template, advice=tuple(self.advice))


def _verdict(event: StreamEvent, decision: Decision) -> StreamEvent:
    similarity, liveness = _SCORES[decision]
    return replace(
        event,
        decision=decision,
        similarity=similarity,
        threshold=0.393,
        liveness_score=liveness,
        liveness_threshold=0.5,
        frame_digests=(f"{event.frame_seq:064x}",),
        models=MODELS,
        profile_version=PROFILE,
        signature="20261124-a.c2NyaXB0ZWQ",
    )


@dataclass(slots=True, kw_only=True)
class Lesson:
    """One open session, played by hand: frames every period, reports as a player sends them."""

    studio: Studio
    opened: OpenedSession
    media_id: str = "lesson-1"
    media_ms: int = 0
    seq: int = 0
    playing: bool = False
    since_report_ms: int = 0

    @property
    def id(self) -> str:
        """The session's id."""
        return self.opened.session_id

    @property
    def token(self) -> str:
        """The device's token."""
        return self.opened.session_token

    async def view(self) -> SessionView:
        """Look at the session as the device does."""
        return await self.studio.service.view(self.id, self.token)

    async def report(self, *, interaction: bool = False) -> SessionView:
        """Report where the player is; it runs where it may."""
        self.seq += 1
        self.since_report_ms = 0
        said = Report(
            seq=self.seq,
            media_id=self.media_id,
            media_ms=self.media_ms,
            playing=self.playing,
            interaction=interaction,
        )
        view = await self.studio.service.report(self.id, self.token, said)
        await self.studio.service.settled()
        return view

    async def watch(
        self, seconds: int, *, frames: bool = True, reports: bool = True, share: float = 1 / 6
    ) -> None:
        """Let time go by: a frame every 5 s, each an identity sample with probability `share`."""
        studio = self.studio
        for _ in range(seconds // 5):
            studio.clock.advance(5_000)
            await studio.service.settled()
            if self.playing:
                self.media_ms += 5_000
            self.since_report_ms += 5_000
            if frames:
                await studio.verifier.frame(self.id, identity=studio.draw() < share)
                await studio.service.settled()
            view = await self.view()
            if not view.play and view.state in ("closed", "settled", "suspended"):
                return
            if reports and (view.play != self.playing or self.since_report_ms >= 15_000):
                self.playing = view.play
                await self.report()

    async def close(self) -> SessionView:
        """End the session."""
        view = await self.studio.service.close(self.id, self.token)
        await self.studio.service.settled()
        return view


class Studio:
    """A tracker with a clock moved by hand, a scripted verifier and one enrolled learner."""

    def __init__(
        self,
        database: str,
        *,
        policy: Policy,
        seed: int = 1,
        keyring: KeyRing | None = None,
        catalogue: Catalogue | None = None,
        comparer: TemplateComparer | None = None,
    ) -> None:
        self.catalogue = catalogue
        self.comparer = comparer
        self.enroller = ScriptedEnroller()
        self.clock = ManualClock()
        self.draw = random.Random(seed).random  # noqa: S311 - repeatable on purpose
        self.keyring = keyring if keyring is not None else KeyRing.generate(self.clock)
        self.policy = policy
        self.url = database
        self.verifier = ScriptedVerifier(self.clock)
        self.service = self._service()
        self.learner_id = ""
        self.consent_id = ""

    def _service(self) -> SessionService:
        return SessionService(
            clock=self.clock,
            verifier=self.verifier,
            database=Database(self.url),
            policies=[self.policy],
            keyring=self.keyring,
            draw=self.draw,
            catalogue=self.catalogue,
            comparer=self.comparer,
        )

    async def start(self, *, provenance: Provenance = Provenance.ID_PHOTO) -> None:
        """Start the service and enrol the learner."""
        await self.service.start()
        self.learner_id, self.consent_id = await self.enrol(provenance)

    async def enrol(self, provenance: Provenance = Provenance.ID_PHOTO) -> tuple[str, str]:
        """Register, enrol and ask somebody for consent: (learner id, consent id)."""
        registry = self.service.registry
        learner = await registry.add_learner(
            category="principal", track=Training.INITIAL, industry="furniture", business_ref="b-1"
        )
        await registry.put_template(learner.id, b"opaque", provenance)
        consent = await registry.give_consent(learner.id, text_version="2026-11")
        await self.service.office.approve(learner.id, actor="counter", reason="seen")
        return learner.id, consent.id

    async def open(self, *, take_over: bool = False, media: str = "lesson-1") -> Lesson:
        """Open a session of the learner."""
        opened = await self.service.openings.open_session(
            learner_id=self.learner_id,
            consent_id=self.consent_id,
            programme=self.policy.name,
            media=[media],
            take_over=take_over,
        )
        return Lesson(studio=self, opened=opened, media_id=media)

    async def restart(self) -> None:
        """Stop and start anew on the same store; the verifier's streams are lost."""
        await self.service.stop()
        self.verifier = ScriptedVerifier(self.clock)
        self.service = self._service()
        await self.service.start()
        await self.service.settled()

    async def stop(self) -> None:
        """Stop the service."""
        await self.service.stop()
