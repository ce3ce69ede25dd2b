"""The events of one stream: made of what was seen and decided, signed where they judge."""

from __future__ import annotations

from dataclasses import replace

from verifier.clock import Stamp
from verifier.streaming.active import ActiveCheck, Outcome
from verifier.streaming.eventlog import EventLog
from verifier.streaming.ports import Inference
from verifier.streaming.thumbnails import digest_of
from verifier.streaming.view import View
from verifier.streaming.window import Sample
from verifier.streaming.wire import PURPOSE, Signer, in_millionths, signed_payload
from verifier.types import Decision, EventKind, Reason, StreamEvent, Verdict


class Record:
    """Puts the events of one stream on its list."""

    def __init__(
        self,
        stream_id: str,
        session_id: str,
        *,
        log: EventLog,
        signer: Signer,
        inference: Inference,
    ) -> None:
        """`inference` names its models and its profile."""
        self._stream_id = stream_id
        self._session_id = session_id
        self._log = log
        self._signer = signer
        self._inference = inference

    def presence(self, sample: Sample, *, shown: bytes, away: bool | None) -> StreamEvent:
        """Say who is there; not signed. `shown` is the picture's fingerprint."""
        event = replace(self._of(sample, EventKind.PRESENCE), fingerprint=shown.hex(), away=away)
        self._log.append(event)
        return event

    def identity(self, sample: Sample, verdict: Verdict) -> StreamEvent:
        """Say whose face a sample shows."""
        return self._sign(_with_verdict(self._of(sample, EventKind.IDENTITY), verdict))

    def check(
        self, check_id: str, samples: list[Sample], verdict: Verdict, *, picture: bytes
    ) -> StreamEvent:
        """Answer a check that judged `samples`, the oldest first; `picture` may be empty."""
        event = replace(
            self._of(samples[-1], EventKind.CHECK),
            check_id=check_id,
            since=samples[0].stamp,
            picture=picture,
            picture_sha256=digest_of(picture),
        )
        return self._sign(_with_verdict(event, verdict))

    def empty_check(self, check_id: str, view: View, *, at: Stamp, reason: Reason) -> StreamEvent:
        """Answer a check for which no frame of the track in view was there."""
        event = self._bare(EventKind.CHECK, at, frame_seq=view.newest_seq, track=view.track.visible)
        return self._sign(
            replace(event, check_id=check_id, decision=Decision.NO_EVIDENCE, reasons=(reason,))
        )

    def challenge(
        self, active: ActiveCheck, outcome: Outcome, view: View, *, at: Stamp, picture: bytes
    ) -> StreamEvent:
        """Say what a challenge came to, at the newest frame or `at` a time without one."""
        track = view.track
        event = self._bare(
            EventKind.CHALLENGE,
            at,
            frame_seq=view.newest_seq,
            track=track.visible or track.number,
            faces=track.faces,
        )
        if outcome.verdict is not None:
            event = _with_verdict(event, outcome.verdict)
        return self._sign(
            replace(
                event,
                check_id=active.request.check_id,
                since=active.since or active.began,
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

    def _of(self, sample: Sample, kind: EventKind) -> StreamEvent:
        return StreamEvent(
            stream_id=self._stream_id,
            session_id=self._session_id,
            event_id=self._log.next_id,
            kind=kind,
            at=sample.stamp,
            frame_seq=sample.seq,
            track=sample.track,
            faces=len(sample.faces),
        )

    def _bare(
        self, kind: EventKind, at: Stamp, *, frame_seq: int, track: int, faces: int = 0
    ) -> StreamEvent:
        """Begin an event that belongs to no sample."""
        return StreamEvent(
            stream_id=self._stream_id,
            session_id=self._session_id,
            event_id=self._log.next_id,
            kind=kind,
            at=at,
            frame_seq=frame_seq,
            track=track,
            faces=faces,
            models=dict(self._inference.models),
            profile_version=self._inference.profile_version,
        )

    def _sign(self, event: StreamEvent) -> StreamEvent:
        signed = replace(event, signature=self._signer.sign(PURPOSE, signed_payload(event)))
        self._log.append(signed)
        return signed


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
