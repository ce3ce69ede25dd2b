"""One stream: frames become samples, some samples become identity samples, checks look back.

Every accepted frame goes through detection and quality. A sample is also an identity sample with
the probability of the policy, and always while one is *owed*: from the first face of a new track
(stream opened, face lost, face jumped, gap in time), from a face that joins or leaves, and from
`expect_identity` (a pause is over), until a frame gave evidence for or against the identity.

Nothing about a frame is recorded before its presence is known, and then all of it at once, between
two awaits: a frame is a sample with its event, or it is nothing.

A check neither waits for frames nor makes them wait, and its event is handed to the tracker in
the background, so that the tracker may ask for a check while it takes an event. An event's `at`
is when its newest judged frame arrived: the events of checks may lie before older ids in time.

A frame is answered from its presence alone, once *that* is durable; whether it is looked at is
drawn before and carried out after (`looks`), so that neither the answer nor its time tells. The
event of an identity sample follows the presence event of the same frame.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from verifier.clock import Clock, Stamp
from verifier.errors import BenrenError, StorageError, StreamGone
from verifier.streaming.active import ActiveCheck, Outcome
from verifier.streaming.adaptive import AdaptiveReference, without_passive
from verifier.streaming.advice import FrameReceipt, advise
from verifier.streaming.arrivals import Arrival, Arrivals
from verifier.streaming.challenges import Challenges
from verifier.streaming.cues import CueBoard
from verifier.streaming.eventlog import EventLog
from verifier.streaming.gaze import Gaze
from verifier.streaming.limits import StreamLimits
from verifier.streaming.looks import Look, Looks, answered
from verifier.streaming.ports import Inference, LookObserver
from verifier.streaming.replay import ReplayWatch
from verifier.streaming.thumbnails import digest_of, thumbnail
from verifier.streaming.track import Sighting, Track, anchored, follow, relative
from verifier.streaming.ways import End, Way
from verifier.streaming.window import Sample, Window, select
from verifier.streaming.wire import PURPOSE, Signer, in_millionths, signed_payload
from verifier.types import (
    ChallengeRequest,
    CheckRequest,
    Decision,
    EventKind,
    EventSink,
    Evidence,
    Face,
    Frame,
    Reason,
    StreamEvent,
    StreamSpec,
    Verdict,
)

if TYPE_CHECKING:
    from verifier.pipeline.presence import Glance
    from verifier.pipeline.savings import LastSeen
    from verifier.types import Vector

_log = logging.getLogger(__name__)


_MAX_AT_ONCE_BYTES: Final = 512 * 1024
"""Of a picture that is made small without leaving the event loop."""


class Stream:
    """One open stream of one session."""

    def __init__(
        self,
        stream_id: str,
        spec: StreamSpec,
        reference: Vector,
        *,
        inference: Inference,
        signer: Signer,
        clock: Clock,
        draw: Callable[[], float],
        limits: StreamLimits,
        sinks: Sequence[EventSink],
        observer: LookObserver,
    ) -> None:
        self.id = stream_id
        self.session_id = spec.session_id
        self.sample_period_ms = spec.policy.sample_period_ms
        self.last_frame_at: Stamp = clock.stamp()
        """Arrival of the newest frame, or the opening."""
        self.cues = CueBoard(clock, spec.policy.sample_period_ms)
        """What the device is told; a challenge shows its prompts here."""
        self._policy = spec.policy
        self._reference = reference
        self._adaptive = AdaptiveReference(reference)
        self._replays = ReplayWatch(spec.fingerprints)
        self._gaze = Gaze(spec.policy.away_yaw_deg)
        self._inference = inference
        self._signer = signer
        self._clock = clock
        self._draw = draw
        self._limits = limits
        self.log = EventLog(clock, sinks, limits)
        self._arrivals = Arrivals(self._process, self.log.deliver, limits)
        self._window = Window(
            window_ms=spec.policy.window_ms,
            max_frames=limits.ring_frames,
            max_bytes=limits.ring_bytes,
        )
        self._track = Track()
        self._seen: LastSeen | None = None
        self._newest_seq = 0
        self._newest_at: Stamp | None = None
        self._looks = Looks(self._look, observer.look_passed_over)
        self._observer = observer
        self._asked = 0
        """How often identity was asked for; owed while above `_answered`."""
        self._answered = 0
        self._way: Way | None = None
        self._uploads = Way()
        self._anew = False
        """Whether another camera may stand behind the next frame: a way has been taken over."""
        self._checks: OrderedDict[str, asyncio.Future[StreamEvent]] = OrderedDict()
        self._challenges = Challenges(
            inference=inference,
            reference=reference,
            identify=self._identify,
            passive_vote=spec.policy.passive_vote,
            clock=clock,
            cues=self.cues,
            end=self._append_challenge,
            remembered=limits.remembered_checks,
            owner=self.session_id,
        )
        self._closed = False

    @property
    def held_bytes(self) -> int:
        """Bytes of the pictures kept."""
        return self._window.bytes

    def enter(self, way: Way) -> None:
        """Let `way` be the live one; the one before ends."""
        self._require_open()
        before, self._way = self._way, way
        way.offset = self._arrivals.next_seq if before is not None or self._newest_seq else 0
        if before is not None:
            self._anew = True
            before.end(End.TAKEN_OVER)

    def leave(self, way: Way) -> None:
        """Note that a way is over; leaving twice is fine."""
        if self._way is way:
            self._way = None
            self._anew = True

    async def push(
        self, seq: int, data: bytes, *, way: Way | None = None, frame: Frame | None = None
    ) -> FrameReceipt:
        """Take one picture of a live way, or an upload; returns once its event is durable.

        The receipt bears the way's own number. Raises StreamGone where the way was taken over.
        """
        self._require_open()
        if way is None:
            if self._way is not self._uploads:
                self._uploads = Way()
                self.enter(self._uploads)
            way = self._uploads
        elif way is not self._way:
            raise StreamGone("Another way in has taken over.", remedy="Send frames there.")
        self.last_frame_at = self._clock.stamp()
        receipt = await self._arrivals.push(way.offset + seq, data, self.last_frame_at, frame=frame)
        return replace(receipt, seq=seq)

    def expect_identity(self) -> None:
        """Make the next face that arrives an identity sample."""
        self._asked += 1

    async def check(self, request: CheckRequest) -> StreamEvent:
        """Judge what is there; the same check id gets the first answer again."""
        self._require_open()
        task: asyncio.Future[StreamEvent] | None = self._checks.get(request.check_id)
        if task is None:
            task = asyncio.create_task(self._look_back(request), name="stream check")
            self._checks[request.check_id] = task
            task.add_done_callback(lambda done: self._settle(request.check_id, done))
        return await asyncio.shield(task)

    async def challenge(self, request: ChallengeRequest) -> None:
        """Begin a challenge; its event follows. The same id begins it only once.

        A challenge that is still shown ends as it stands, so that each has its event.
        """
        self._require_open()
        if self._challenges.knows(request.check_id):
            return
        self.log.require_room()
        chosen = self._chosen(request.not_before)
        before = None
        if chosen:
            verdict = self._identify(await self._evidence_of(chosen))
            before = (verdict, chosen[0].stamp)
        self._require_open()
        if not self._challenges.knows(request.check_id):
            self._challenges.begin(request, before)

    def close(self) -> None:
        """Forget the pictures; no event follows. What is on the list is still handed over."""
        self._closed = True
        self._challenges.close()
        way, self._way = self._way, None
        if way is not None:
            way.end(End.GONE)
        self._window.clear()
        self.log.end()
        self.log.deliver_in_background()

    async def stop(self) -> None:
        """End everything in hand. For the end of the process."""
        self.close()
        await self._looks.stop()
        await self._challenges.stop()
        await self._arrivals.stop()
        checks = [task for task in self._checks.values() if not task.done()]
        for task in checks:
            task.cancel()
        await asyncio.gather(*checks, return_exceptions=True)
        await self.log.stop()

    def age(self) -> None:
        """Forget the pictures that no check looks back on any more."""
        self._window.age(self._clock.stamp())
        self._drop_pictures_taken()

    async def settled(self) -> None:
        """Return once no frame is being looked at; for a clock moved by hand."""
        await self._looks.settled()

    # --- samples ---------------------------------------------------------------------------

    async def _process(self, arrival: Arrival) -> FrameReceipt:
        self._require_open()
        self.log.require_room()
        picture = arrival.data if arrival.frame is None else arrival.frame
        closely = self._challenges.active is not None or self._gaze.measures
        glance = await self._inference.glance(
            picture, last=self._seen, closely=closely, owner=self.session_id
        )
        away = await self._looks_away(arrival.seq, glance)
        self._require_open()
        sample, sighting = self._record(arrival, glance, away=away)
        receipt = self._arrivals.became_sample(
            arrival, advise(glance.evidence), faces=len(glance.faces)
        )
        if glance.frame is not None:
            face = _followed(glance.faces, sighting, glance.longer_side_px)
            await self._challenges.take(sample, glance.frame, face)
        looked_at = bool(glance.faces) and self._is_looked_at(sighting)
        look = Look(
            sample=sample,
            picture=picture,
            longer_side_px=glance.longer_side_px,
            asked=self._asked,
        )
        try:
            await self.log.deliver()
        finally:
            if looked_at:
                self._looks.add(look)
        self.cues.advise(receipt.advice)
        return receipt

    async def _looks_away(self, seq: int, glance: Glance) -> bool | None:
        """Tell whether the one who is there looks away, where the programme asks."""
        alone = len(glance.faces) == 1 and self._challenges.active is None
        if not self._gaze.measures or not alone or glance.frame is None:
            return None
        (pose,) = await self._inference.poses(
            [glance.frame], [glance.faces[0]], owner=self.session_id
        )
        return self._gaze.see(seq, pose)

    def _record(
        self, arrival: Arrival, glance: Glance, *, away: bool | None
    ) -> tuple[Sample, Sighting]:
        """Make the frame a sample: event, window and track, without an await in between."""
        sighting = self._sight(glance, arrival.stamp)
        sample = Sample(
            seq=arrival.seq,
            stamp=arrival.stamp,
            track=sighting.track.visible,
            data=arrival.data,
            presence=glance.evidence,
        )
        if glance.shown:
            self._replays.take(glance.shown, glance.evidence.digest, arrival.stamp)
        self._append(EventKind.PRESENCE, sample, None, shown=glance.shown, away=away)
        self._track = sighting.track
        self._seen = glance.seen
        self._anew = False
        self._newest_seq, self._newest_at = sample.seq, sample.stamp
        self._window.add(sample, None)
        return sample, sighting

    def _sight(self, glance: Glance, at: Stamp) -> Sighting:
        """Follow the face; one that turns away in a challenge may be out of sight for a blink."""
        last = replace(self._track, box=None) if self._anew else self._track
        shown = self._challenges.active
        since = last.at if last.box is not None and not glance.faces else None
        if shown is not None and since is not None and at.ms_since(since) <= shown.state.blink_ms:
            return Sighting(track=last, fresh=False)
        return follow(
            last,
            glance.faces,
            longer_side_px=glance.longer_side_px,
            at=at,
            gap_ms=self._policy.gap_ms,
        )

    def _is_looked_at(self, sighting: Sighting) -> bool:
        """Tell whether a frame with a face becomes an identity sample.

        One that is being looked at may still serve what is owed. While a challenge is shown none
        does, since turned heads say little of the identity; what is owed then is owed afterwards.
        """
        if sighting.fresh or sighting.company_changed:
            self._asked += 1
        if self._challenges.active is not None:
            return False
        owed = self._asked > max(self._answered, self._looks.asked)
        return owed or self._draw() < self._policy.identity_share

    async def _look(self, look: Look) -> None:
        """Take an identity sample; where that fails, the next face is looked at in its stead."""
        sample = look.sample
        try:
            (evidence,) = await self._inspect([sample], [look.picture])
            self.log.require_room()
        except BenrenError as error:
            _log.warning("a sample of session %s was not looked at: %s", self.session_id, error)
            self._asked += 1
            return
        if self._closed:
            return
        verdict = self._verdict([evidence])
        self._append(EventKind.IDENTITY, sample, verdict)
        self._window.remember(sample.seq, evidence)
        if verdict.decision is Decision.NO_EVIDENCE:
            self._asked += 1
        else:
            self._answered = max(self._answered, look.asked)
        if verdict.decision is Decision.MATCH:
            self._gaze.learn([sample.seq])
        if verdict.decision is Decision.MATCH and self._newest_seq == sample.seq:
            self._track = anchored(
                self._track, evidence.faces[0], longer_side_px=look.longer_side_px
            )
        with contextlib.suppress(StorageError):  # it is offered again in the background
            await self.log.deliver()
            self._observer.look_taken(self._clock.stamp().ms_since(sample.stamp))

    # --- checks ----------------------------------------------------------------------------

    async def _look_back(self, request: CheckRequest) -> StreamEvent:
        self.log.require_room()
        now = self._clock.stamp()
        chosen = self._chosen(request.not_before)
        await answered()
        if chosen:
            evidence = await self._evidence_of(chosen)
            self._require_open()
            verdict = self._verdict(evidence)
            failed = verdict.decision is not Decision.MATCH
            if not failed:
                self._gaze.learn([sample.seq for sample in chosen])
            picture = b""
            if failed and self._policy.pictures:
                picture = await asyncio.to_thread(thumbnail, chosen[-1].data)
                self._require_open()
            event = self._append(
                EventKind.CHECK,
                chosen[-1],
                verdict,
                check_id=request.check_id,
                since=chosen[0].stamp,
                picture=picture,
            )
        else:
            event = self._append_empty_check(request, now)
        self.log.deliver_in_background()
        return event

    def _chosen(self, not_before: Stamp | None) -> list[Sample]:
        """Choose the frames of the track in view that a check judges."""
        track = self._track.visible
        if not track:
            return []
        there = self._window.of_track(track, now=self._clock.stamp(), not_before=not_before)
        return select(there, self._policy.check_frames)

    def _verdict(self, evidence: Sequence[Evidence]) -> Verdict:
        """Decide by identity and, unless it has no vote here, passive liveness; learn."""
        if not self._policy.passive_vote:
            return self._replays.judge(self._identify(evidence))
        fresh = self._replays.without_repeats(evidence)
        verdict = self._adaptive.judge(fresh, self._inference.judge)
        self._adaptive.learn(verdict, fresh)
        return self._replays.judge(verdict)

    def _identify(self, evidence: Sequence[Evidence]) -> Verdict:
        """Decide by identity alone; frames that were shown before say nothing."""
        fresh = self._replays.without_repeats(evidence)
        return self._adaptive.judge(fresh, without_passive(self._inference.judge))

    async def _evidence_of(self, samples: Sequence[Sample]) -> list[Evidence]:
        """Evidence of identity of each sample; computes only what is not there yet."""
        known = {sample.seq: self._window.evidence(sample.seq) for sample in samples}
        missing = [sample for sample in samples if known[sample.seq] is None]
        if missing:
            computed = await self._inspect(missing, [sample.data for sample in missing])
            for sample, evidence in zip(missing, computed, strict=True):
                known[sample.seq] = evidence
                self._window.remember(sample.seq, evidence)
        return [evidence for evidence in known.values() if evidence is not None]

    async def _inspect(
        self, samples: Sequence[Sample], pictures: Sequence[bytes | Frame]
    ) -> list[Evidence]:
        return await self._inference.inspect(
            pictures,
            digests=[sample.presence.digest for sample in samples],
            faces=[sample.faces for sample in samples],
            reference=self._reference,
            owner=self.session_id,
        )

    def _append_empty_check(self, request: CheckRequest, now: Stamp) -> StreamEvent:
        """Record a check for which no frame of the current track was there."""
        newest = self._window.newest
        recent = newest is not None and now.ms_since(newest.stamp) <= self._policy.window_ms
        reason = Reason.NO_FACE if recent and self._track.box is None else Reason.TOO_FEW_FRAMES
        return self._sign_and_append(
            StreamEvent(
                stream_id=self.id,
                session_id=self.session_id,
                event_id=self.log.next_id,
                kind=EventKind.CHECK,
                at=now,
                frame_seq=self._newest_seq,
                track=self._track.visible,
                faces=0,
                decision=Decision.NO_EVIDENCE,
                reasons=(reason,),
                check_id=request.check_id,
                models=dict(self._inference.models),
                profile_version=self._inference.profile_version,
            )
        )

    def _settle(self, check_id: str, task: asyncio.Future[StreamEvent]) -> None:
        """Remember an answer, forget a failure, and keep the memory bounded."""
        if task.cancelled() or task.exception() is not None:
            self._checks.pop(check_id, None)
        while len(self._checks) > self._limits.remembered_checks:
            self._checks.popitem(last=False)

    def _drop_pictures_taken(self) -> None:
        """Remember answers without their picture, once the event that bears it has been taken."""
        for check_id, task in self._checks.items():
            if not task.done() or task.cancelled() or task.exception() is not None:
                continue
            event = task.result()
            if event.picture and event.event_id <= self.log.taken_id:
                bare: asyncio.Future[StreamEvent] = asyncio.get_running_loop().create_future()
                bare.set_result(replace(event, picture=b""))
                self._checks[check_id] = bare

    # --- events ----------------------------------------------------------------------------

    def _append_challenge(self, active: ActiveCheck, outcome: Outcome) -> None:
        """Put the event of a challenge that has ended on the list."""
        newest = self._newest_at
        late = newest is None or newest.ms_since(active.began) < 0
        event = StreamEvent(
            stream_id=self.id,
            session_id=self.session_id,
            event_id=self.log.next_id,
            kind=EventKind.CHALLENGE,
            at=self._clock.stamp() if newest is None or late else newest,
            frame_seq=self._newest_seq,
            track=self._track.visible or self._track.number,
            faces=self._track.faces,
            check_id=active.request.check_id,
            since=active.since or active.began,
            models=dict(self._inference.models),
            profile_version=self._inference.profile_version,
        )
        if outcome.verdict is not None:
            event = _with_verdict(event, outcome.verdict)
        if outcome.decision is Decision.MATCH:
            self._replays.absolve()
        picture = b""
        if outcome.decision is not Decision.MATCH and self._policy.pictures and not late:
            # At once, and so of small pictures only: a phone's, some milliseconds.
            picture = thumbnail(self._window.newest_data(_MAX_AT_ONCE_BYTES))
        self._sign_and_append(
            replace(
                event,
                picture=picture,
                picture_sha256=digest_of(picture),
                decision=outcome.decision,
                reasons=outcome.reasons,
                frame_digests=outcome.digests,
                turns=tuple(turn.value for turn in active.state.plan.turns),
                attempts=active.state.attempt + 1 if active.shown else 0,
                before=active.before,
            )
        )
        self.log.deliver_in_background()

    def _append(
        self,
        kind: EventKind,
        sample: Sample,
        verdict: Verdict | None,
        *,
        check_id: str | None = None,
        since: Stamp | None = None,
        shown: bytes = b"",
        picture: bytes = b"",
        away: bool | None = None,
    ) -> StreamEvent:
        bare = StreamEvent(
            stream_id=self.id,
            session_id=self.session_id,
            event_id=self.log.next_id,
            kind=kind,
            at=sample.stamp,
            frame_seq=sample.seq,
            track=sample.track,
            faces=len(sample.faces),
            check_id=check_id,
            since=since,
            fingerprint=shown.hex(),
            away=away,
            picture=picture,
            picture_sha256=digest_of(picture),
        )
        if verdict is None:
            self.log.append(bare)
            return bare
        return self._sign_and_append(_with_verdict(bare, verdict))

    def _sign_and_append(self, event: StreamEvent) -> StreamEvent:
        signed = replace(event, signature=self._signer.sign(PURPOSE, signed_payload(event)))
        self.log.append(signed)
        return signed

    def _require_open(self) -> None:
        if self._closed:
            raise StreamGone(remedy="Ask the session tracker for a new stream.")


def _followed(faces: Sequence[Face], sighting: Sighting, longer_side_px: int) -> Face | None:
    """Find the face that the track follows."""
    box = sighting.track.box
    return next((face for face in faces if relative(face, longer_side_px) == box), None)


def _with_verdict(event: StreamEvent, verdict: Verdict) -> StreamEvent:
    return replace(
        event,
        decision=verdict.decision,
        reasons=verdict.reasons,
        similarity=in_millionths(verdict.similarity),
        threshold=in_millionths(verdict.threshold),
        liveness_score=in_millionths(verdict.liveness.score),
        liveness_threshold=in_millionths(verdict.liveness.threshold),
        frame_digests=verdict.frame_digests,
        models=dict(verdict.models),
        profile_version=verdict.profile_version,
    )
