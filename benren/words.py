"""The closed lists of reasons and outcomes in plain words, for tables and reports."""

from __future__ import annotations

from collections.abc import Mapping

VOID_REASONS: Mapping[str, str] = {
    "before_first_pass": "before the learner was recognised for the first time",
    "after_last_pass": "after the learner was recognised for the last time",
    "pending": "not yet closed by a recognition",
    "max_gap": "too long without a recognition",
    "track_break": "the face was lost and not recognised again at once",
    "mismatch": "another person",
    "spoof": "not a living face",
    "unanswered": "a challenge was not answered",
    "no_evidence": "nothing to be seen: covered, dark, blurred or empty",
    "absent": "no face to be seen",
    "network_gap": "no pictures arrived",
    "system_error": "the service failed; credited by review",
    "not_playing": "the lesson stood still",
    "idle": "no sign of anybody following",
    "looking_away": "the head was turned away for long",
    "media_repeated": "this part was credited before",
    "media_too_fast": "the lesson ran faster than the clock",
    "parallel_session": "studied on two devices at once",
    "daily_cap": "more than a day may bring",
    "session_ended": "the session had been ended",
    "provisional": "waits until the enrolment is confirmed",
}

VOID_REASONS_SHORT: Mapping[str, str] = {
    "before_first_pass": "not yet recognised",
    "after_last_pass": "after the last pass",
    "pending": "pending",
    "max_gap": "gap too long",
    "track_break": "face lost",
    "mismatch": "other person",
    "spoof": "not alive",
    "unanswered": "not answered",
    "no_evidence": "nothing to see",
    "absent": "no face",
    "network_gap": "no pictures",
    "system_error": "service failed",
    "not_playing": "standing still",
    "idle": "idle",
    "looking_away": "looking away",
    "media_repeated": "seen before",
    "media_too_fast": "too fast",
    "parallel_session": "two devices",
    "daily_cap": "daily cap",
    "session_ended": "session ended",
    "provisional": "provisional",
}
"""For columns that have no room."""

OUTCOMES: Mapping[str, str] = {
    "pass": "recognised and alive",
    "match": "recognised and alive",
    "mismatch": "another person",
    "spoof": "not a living face",
    "no_evidence": "nothing to judge by",
    "unanswered": "not answered",
}

DECISIONS_SHORT: Mapping[str, str] = {
    "match": "match",
    "mismatch": "other person",
    "spoof": "not alive",
    "no_evidence": "no evidence",
    "unanswered": "not answered",
}

CHECK_CAUSES: Mapping[str, str] = {
    "start": "at the start",
    "random": "at random",
    "max_gap": "too long without one",
    "suspicion": "a sample looked wrong",
    "resume": "before going on",
    "retry": "once more",
    "take_over": "taking over from another device",
    "end": "at the end",
}
