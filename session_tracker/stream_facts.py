"""What the events of a stream are to its session: presence, verdicts, answers to checks."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, Final

from session_tracker.events import (
    Check,
    CheckCause,
    Fact,
    Identity,
    Looking,
    Outcome,
    PauseReason,
    Presence,
)
from session_tracker.ledger import Context
from session_tracker.pictures import Shot
from session_tracker.records import StreamRecord
from session_tracker.turn import Turn
from verifier.errors import BadRequest
from verifier.types import Decision as Verdict
from verifier.types import EventKind, StreamEvent

_log = logging.getLogger("benren.tracker")
_OUTCOMES: Final = {
    Verdict.MATCH: Outcome.PASS,
    Verdict.MISMATCH: Outcome.MISMATCH,
    Verdict.SPOOF: Outcome.SPOOF,
    Verdict.NO_EVIDENCE: Outcome.NO_EVIDENCE,
}


def take_event(turn: Turn, event: StreamEvent, stream: StreamRecord, at: int, since: int) -> None:
    """Take in a stream's event, which arrived `at` and judged frames from `since` on."""
    track = event.track + stream.track_offset if event.track and event.faces else 0
    context = Context(
        policy=turn.context.policy,
        models=event.models or turn.context.models,
        profile=event.profile_version or turn.context.profile,
    )
    known = turn.run is not None and at <= turn.run.end
    if event.kind is EventKind.PRESENCE or (event.kind is EventKind.IDENTITY and not known):
        turn.note(_presence(turn, at, track, event.faces))
    if event.kind is EventKind.IDENTITY:
        fact: Fact = Identity(
            key=f"identity:{stream.number}:{event.event_id}",
            t=at,
            track=track,
            outcome=_outcome(event),
        )
        turn.note(fact, evidence=_evidence(event), context=context)
    elif event.kind in (EventKind.CHECK, EventKind.CHALLENGE):
        followed = event.track + stream.track_offset
        _take_check(turn, event, at, since, track=followed, context=context)
    if event.kind is EventKind.PRESENCE and event.away is not None:
        _take_gaze(turn, at, event.away, f"looking:{stream.number}:{event.event_id}")
    if event.faces > 1:
        # The verifier judged the enrolled face among them; where there is none, a mismatch.
        turn.flag("several_faces", {"at": at, "faces": event.faces})
    turn.stream = replace(stream, last_event_id=event.event_id)
    turn.let_pass()


def _take_gaze(turn: Turn, at: int, away: bool, key: str) -> None:
    """Note that he turned away or back: an entry for each turn, not for each frame."""
    m = turn.machine
    waits = m.pause_reason is PauseReason.LOOKING_AWAY and not m.may_resume
    if away is not (m.away_since is not None) or (waits and not away):
        turn.note(Looking(key=key, t=at, away=away))


def _take_check(
    turn: Turn, event: StreamEvent, at: int, since: int, *, track: int, context: Context
) -> None:
    asked = turn.live.asked.get(event.check_id or "")
    if asked is None:
        # Refused, it would come again for ever and hold up all that follows it.
        _log.warning("session %s: nobody asked for %s", turn.live.id, event.check_id)
        turn.flag("unknown_check", {"stream": event.stream_id, "event": event.event_id})
        return
    if asked.cause is CheckCause.SUSPICION and asked.not_before is not None:
        # The window of a check that a sample called reaches back to that sample.
        since = asked.not_before
    turn.answered.add(asked.check_id)
    fact = Check(
        key=f"check:{asked.check_id}",
        t=at,
        since=min(since, at),
        cause=asked.cause,
        track=track,
        outcome=_outcome(event),
        active=event.kind is EventKind.CHALLENGE,
        asked=asked.shown_at,
        before=_before(event, at),
        shown=event.kind is not EventKind.CHALLENGE or event.attempts > 0,
        heard=turn.now,
    )
    turn.note(fact, evidence=_evidence(event), context=context)
    if event.picture and fact.outcome is not Outcome.PASS:
        shot = Shot(
            fact_key=fact.key,
            jpeg=event.picture,
            sha256=event.picture_sha256,
            taken_ms=at,
        )
        turn.shots.append(shot)


def _presence(turn: Turn, at: int, track: int, faces: int) -> Presence:
    run = turn.run
    gap_ms = turn.live.policy.sampling.gap_s * 1_000
    if run is not None and run.track == track and at - run.end <= gap_ms:
        run = replace(
            run,
            end=max(run.end, at),
            faces_max=max(run.faces_max, faces),
            samples=run.samples + 1,
        )
    else:
        turn.runs += 1
        key = f"presence:{turn.runs}"
        run = Presence(key=key, t=at, end=at, track=track, faces_max=faces, samples=1)
    turn.run = run
    turn.presence.append(
        {
            "session_id": turn.live.id,
            "run": turn.runs,
            "first_ms": run.t,
            "last_ms": run.end,
            "track": run.track,
            "faces_max": run.faces_max,
            "samples": run.samples,
        }
    )
    return run


def _outcome(event: StreamEvent) -> Outcome:
    if event.decision is not None:
        return _OUTCOMES[event.decision]
    if event.kind is EventKind.CHALLENGE:
        return Outcome.UNANSWERED
    raise BadRequest(f"Event {event.event_id} of stream {event.stream_id} has no decision.")


def _before(event: StreamEvent, at: int) -> int:
    """Place the frame from before a challenge on the session's axis; 0: there was none."""
    return 0 if event.before is None else at - event.at.ms_since(event.before)


def _evidence(event: StreamEvent) -> dict[str, Any]:
    """Give what the verdict rests on; scores as whole millionths."""
    return {
        "stream": event.stream_id,
        "event": event.event_id,
        "frame_seq": event.frame_seq,
        "boot": event.at.boot_id,
        "monotonic_ms": event.at.monotonic_ms,
        "utc_ms": event.at.utc_ms,
        "faces": event.faces,
        "reasons": [str(reason) for reason in event.reasons],
        "similarity_millionths": _millionths(event.similarity),
        "threshold_millionths": _millionths(event.threshold),
        "liveness_millionths": _millionths(event.liveness_score),
        "liveness_threshold_millionths": _millionths(event.liveness_threshold),
        "frames": list(event.frame_digests),
        "picture_sha256": event.picture_sha256,
        "signature": event.signature,
        **({"turns": list(event.turns), "attempts": event.attempts} if event.turns else {}),
    }


def _millionths(value: float | None) -> int | None:
    return None if value is None else round(value * 1_000_000)
