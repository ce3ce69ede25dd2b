"""One stream: frames become samples, some samples become identity samples, checks look back.

Every accepted frame goes through detection and quality. A sample is also an identity sample with
the probability of the policy, and always while one is *owed*: from the first face of a new track
(stream opened, face lost, face jumped, gap in time), from a face that joins or leaves, and from
`expect_identity` (a pause is over), until a frame gave evidence for or against the identity.

Nothing about a frame is recorded before its presence is known, and then all of it at once, between
two awaits: a frame is a sample with its event, or it is nothing.

A frame is answered from its presence alone, once *that* is durable; whether it is looked at is
drawn before and carried out after (`looks`), so that neither the answer nor its time tells. The
event of an identity sample follows the presence event of the same frame.

What somebody waits for goes first in the batcher: the frames of a challenge, a check that the
tracker says is awaited, an identity sample that is owed. Presence, drawn samples and silent checks
go behind, all alike: what a frame's glance waits for does not depend on what is due in silence.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from verifier.clock import Clock, Stamp
from verifier.errors import BenrenError, StorageError, StreamGone, StreamTakenOver
from verifier.pipeline.ports import Priority
from verifier.streaming.active import ActiveCheck, Outcome
from verifier.streaming.advice import FrameReceipt, advise
from verifier.streaming.arrivals import Arrival, Arrivals
from verifier.streaming.challenges import Challenges
from verifier.streaming.checks import Checks
from verifier.streaming.cues import CueBoard
from verifier.streaming.eventlog import EventLog
from verifier.streaming.gaze import Gaze
from verifier.streaming.judging import Judging
from verifier.streaming.limits import StreamLimits
from verifier.streaming.looks import Look, Looks
from verifier.streaming.memory import Memory, loosely
from verifier.streaming.ports import Inference, LookObserver
from verifier.streaming.record import Record
from verifier.streaming.thumbnails import thumbnail
from verifier.streaming.track import Sighting
from verifier.streaming.view import View, followed
from verifier.streaming.ways import End, Way
from verifier.streaming.window import Sample, Window
from verifier.streaming.wire import Signer
from verifier.types import (
    ChallengeRequest,
    CheckRequest,
    Decision,
    EventSink,
    Frame,
    StreamEvent,
    StreamSpec,
)

if TYPE_CHECKING:
    from verifier.pipeline.presence import Glance
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
        memory: Memory,
    ) -> None:
        """`memory`: what the session has shown before."""
        policy = spec.policy
        self.id = stream_id
        self.session_id = spec.session_id
        self.whose = (spec.session_id, spec.subject)
        self.memory = memory
        self.sample_period_ms = policy.sample_period_ms
        self.last_frame_at: Stamp = clock.stamp()
        """Arrival of the newest frame, or the opening."""
        self.cues = CueBoard(clock, policy.sample_period_ms)
        """What the device is told; a challenge shows its prompts here."""
        self.log = EventLog(clock, sinks, limits)
        self._policy = policy
        self._inference = inference
        self._clock = clock
        self._draw = draw
        self._observer = observer
        self._arrivals = Arrivals(loosely(self._process), self.log.deliver, limits, memory)
        self._gaze = Gaze(policy.away_yaw_deg)
        self._view = View(
            Window(
                window_ms=policy.window_ms,
                max_frames=limits.ring_frames,
                max_bytes=limits.ring_bytes,
            ),
            gap_ms=policy.gap_ms,
        )
        self._judging = Judging(
            spec,
            reference,
            inference=inference,
            window=self._view.window,
            replays=memory.replays,
        )
        self._record = Record(
            stream_id, spec.session_id, log=self.log, signer=signer, inference=inference
        )
        self._looks = Looks(loosely(self._look), observer.look_passed_over)
        self._asked = 0
        """How often identity was asked for; owed while above `_answered`."""
        self._answered = 0
        self._way: Way | None = None
        self._uploads = Way()
        self._checks = Checks(
            policy=policy,
            clock=clock,
            view=self._view,
            judging=self._judging,
            gaze=self._gaze,
            record=self._record,
            log=self.log,
            require_open=loosely(self._require_open),
            remembered=limits.remembered_checks,
        )
        self._challenges = Challenges(
            inference=inference,
            reference=reference,
            identify=self._judging.identify,
            passive_vote=policy.passive_vote,
            clock=clock,
            cues=self.cues,
            end=loosely(self._end_challenge),
            remembered=limits.remembered_checks,
            owner=self.session_id,
        )
        self._closed: End | None = None
        """Why it was closed; None while it is open."""

    @property
    def held_bytes(self) -> int:
        """Bytes of the pictures kept."""
        return self._view.window.bytes

    def enter(self, way: Way) -> None:
        """Let `way` be the live one; the one before ends."""
        self._require_open()
        before, self._way = self._way, way
        began = before is not None or self._view.newest_seq
        way.offset = self._arrivals.next_seq if began else 0
        if before is not None:
            self._view.anew = True
            before.end(End.TAKEN_OVER)

    def leave(self, way: Way) -> None:
        """Note that a way is over; leaving twice is fine."""
        if self._way is way:
            self._way = None
            self._view.anew = True

    async def push(
        self, seq: int, data: bytes, *, way: Way | None = None, frame: Frame | None = None
    ) -> FrameReceipt:
        """Take one picture of a live way, or an upload; returns once its event is durable.

        The receipt bears the way's own number. Raises StreamTakenOver where the way was.
        """
        self._require_open()
        if way is None:
            if self._way is not self._uploads:
                self._uploads = Way()
                self.enter(self._uploads)
            way = self._uploads
        elif way is not self._way:
            raise StreamTakenOver("Another way in has taken over.", remedy="Send frames there.")
        self.last_frame_at = self._clock.stamp()
        receipt = await self._arrivals.push(way.offset + seq, data, self.last_frame_at, frame=frame)
        return replace(receipt, seq=seq)

    def expect_identity(self) -> None:
        """Make the next face that arrives an identity sample."""
        self._asked += 1

    async def check(self, request: CheckRequest) -> StreamEvent:
        """Judge what is there; the same check id gets the first answer again."""
        self._require_open()
        return await self._checks.check(request)

    async def challenge(self, request: ChallengeRequest) -> None:
        """Begin a challenge; its event follows. The same id begins it only once.

        A challenge that is still shown ends as it stands, so that each has its event.
        """
        self._require_open()
        if self._challenges.knows(request.check_id):
            return
        self.log.require_room()
        chosen = self._view.chosen(
            self._policy.check_frames, now=self._clock.stamp(), not_before=request.not_before
        )
        before = None
        if chosen:
            evidence = await self._judging.evidence_of(chosen, Priority.INTERACTIVE)
            before = (self._judging.identify(evidence), chosen[0].stamp)
        self._require_open()
        if not self._challenges.knows(request.check_id):
            self._challenges.begin(request, before)

    def close(self, why: End = End.GONE) -> None:
        """Forget pictures and face; no event follows. What is on the list is still handed over.

        `why` is what the live way hears, and whoever still sends.
        """
        if self._closed is None:
            self._closed = why
        self._challenges.close()
        way, self._way = self._way, None
        if way is not None:
            way.end(why)
        self._looks.drop()
        self._view.window.clear()
        self._judging.forget()
        self.memory = Memory()
        self.log.end()
        self.log.deliver_in_background()

    async def stop(self) -> None:
        """End everything in hand. For the end of the process."""
        self.close()
        await self._looks.stop()
        await self._challenges.stop()
        await self._arrivals.stop()
        await self._checks.stop()
        await self.log.stop()

    def age(self) -> None:
        """Forget the pictures that no check looks back on any more."""
        self._view.window.age(self._clock.stamp())
        self._checks.drop_pictures_taken()

    async def settled(self) -> None:
        """Return once no frame is being looked at; for a clock moved by hand."""
        await self._looks.settled()

    # --- samples ---------------------------------------------------------------------------

    async def _process(self, arrival: Arrival) -> FrameReceipt:
        self._require_open()
        self.log.require_room()
        picture = arrival.data if arrival.frame is None else arrival.frame
        shown = self._challenges.active is not None
        glance = await self._inference.glance(
            picture,
            last=self._view.seen,
            closely=shown or self._gaze.measures,
            priority=Priority.INTERACTIVE if shown else Priority.BULK,
            owner=self.session_id,
        )
        away = await self._looks_away(arrival.seq, glance)
        self._require_open()
        sample, sighting = self._take(arrival, glance, away=away)
        receipt = self._arrivals.became_sample(
            arrival, advise(glance.evidence), faces=len(glance.faces)
        )
        if glance.frame is not None:
            face = followed(glance.faces, sighting, glance.longer_side_px)
            await self._challenges.take(sample, glance.frame, face)
        priority = self._is_looked_at(sighting) if glance.faces else None
        asked = self._asked
        try:
            await self.log.deliver()
        finally:
            if priority is not None:
                self._looks.add(
                    Look(
                        sample=sample,
                        picture=picture,
                        longer_side_px=glance.longer_side_px,
                        asked=asked,
                        priority=priority,
                    )
                )
        self.cues.advise(receipt.advice)
        return receipt

    async def _looks_away(self, seq: int, glance: Glance) -> bool | None:
        """Tell whether the one who is there looks away, where the programme asks."""
        alone = len(glance.faces) == 1 and self._challenges.active is None
        if not self._gaze.measures or not alone or glance.frame is None:
            return None
        (pose,) = await self._inference.poses(
            [glance.frame], [glance.faces[0]], priority=Priority.BULK, owner=self.session_id
        )
        return self._gaze.see(seq, pose)

    def _take(
        self, arrival: Arrival, glance: Glance, *, away: bool | None
    ) -> tuple[Sample, Sighting]:
        """Make the frame a sample: event, window and track, without an await in between."""
        shown = self._challenges.active
        # One that turns away in a challenge may be out of sight for a blink.
        blink_ms = None if shown is None else shown.state.blink_ms
        sighting = self._view.sight(glance, arrival.stamp, blink_ms=blink_ms)
        sample = Sample(
            seq=arrival.seq,
            stamp=arrival.stamp,
            track=sighting.track.visible,
            data=arrival.data,
            presence=glance.evidence,
        )
        if glance.shown:
            self._judging.replays.take(glance.shown, glance.evidence.digest, arrival.stamp)
        self._record.presence(sample, shown=glance.shown, away=away)
        self._view.add(sample, sighting, glance)
        return sample, sighting

    def _is_looked_at(self, sighting: Sighting) -> Priority | None:
        """Tell how soon a frame with a face is an identity sample; None: it is none.

        One that is being looked at may still serve what is owed. While a challenge is shown none
        does, since turned heads say little of the identity; what is owed then is owed afterwards.
        """
        if sighting.fresh or sighting.company_changed:
            self._asked += 1
        if self._challenges.active is not None:
            return None
        if self._asked > max(self._answered, self._looks.asked):
            return Priority.INTERACTIVE  # owed: whoever has come back waits for it
        return Priority.BULK if self._draw() < self._policy.identity_share else None

    async def _look(self, look: Look) -> None:
        """Take an identity sample; where that fails, the next face is looked at in its stead."""
        sample = look.sample
        try:
            (evidence,) = await self._judging.inspect([sample], [look.picture], look.priority)
            self.log.require_room()
        except BenrenError as error:
            _log.warning("a sample of session %s was not looked at: %s", self.session_id, error)
            self._asked += 1
            return
        if self._closed is not None:
            return
        verdict = self._judging.verdict([evidence])
        self._record.identity(sample, verdict)
        self._view.window.remember(sample.seq, evidence)
        if verdict.decision is Decision.NO_EVIDENCE:
            self._asked += 1
        else:
            self._answered = max(self._answered, look.asked)
        if verdict.decision is Decision.MATCH:
            self._gaze.learn([sample.seq])
        if verdict.decision is Decision.MATCH and self._view.newest_seq == sample.seq:
            self._view.anchor(evidence.faces[0], longer_side_px=look.longer_side_px)
        with contextlib.suppress(StorageError):  # it is offered again in the background
            await self.log.deliver()
            self._observer.look_taken(self._clock.stamp().ms_since(sample.stamp))

    # --- the end of what was begun ----------------------------------------------------------

    def _end_challenge(self, active: ActiveCheck, outcome: Outcome) -> None:
        """Put the event of a challenge that has ended on the list."""
        newest = self._view.newest_at
        late = newest is None or newest.ms_since(active.began) < 0
        if outcome.decision is Decision.MATCH:
            self._judging.replays.absolve()
        picture = b""
        if outcome.decision is not Decision.MATCH and self._policy.pictures and not late:
            # At once, and so of small pictures only: a phone's, some milliseconds.
            picture = thumbnail(self._view.window.newest_data(_MAX_AT_ONCE_BYTES))
        at = self._clock.stamp() if newest is None or late else newest
        self._record.challenge(active, outcome, self._view, at=at, picture=picture)
        self.log.deliver_in_background()

    def _require_open(self) -> None:
        if self._closed is End.TAKEN_OVER:
            raise StreamTakenOver(remedy="Send here again only where the learner wants it.")
        if self._closed is not None:
            raise StreamGone(remedy="Ask the session tracker for a new stream.")
