"""The facts about one session: the only input of the credit rules.

All rules are pure functions over these facts. Times are whole milliseconds of UTC, resolved by
:func:`session_tracker.timeline.to_utc_ms` from stamps (monotonic within a boot, UTC across
boots), so that facts of several sessions of one learner lie on one axis. Every fact carries
`key`, unique within its session: two facts with one key are one fact (repeats do not matter; of
a growing :class:`Presence` run the longest version counts).

What the rules rely on, and who appends facts has to keep:

- *every* frame is in a :class:`Presence` run, those of identity samples and checks too; a new run
  begins with another track, with the loss or return of the face, and where a frame came later
  than ``presence.gap_s`` after the one before it;
- tracks are numbered per session, upwards, never used again: who reopens a stream goes on
  counting above the highest track so far; a frame without a face has track 0;
- a session stands still until its first :class:`Resumed`;
- facts of one kind and one millisecond are in the order of their keys (zero-padded numbers).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


class Outcome(StrEnum):
    """What an identity sample, a check or a challenge found."""

    PASS = "pass"  # noqa: S105 (no password)
    """Matched and live: identity-bearing."""
    MISMATCH = "mismatch"
    SPOOF = "spoof"
    NO_EVIDENCE = "no_evidence"
    UNANSWERED = "unanswered"


class CheckCause(StrEnum):
    """Why a check was asked for. Never told to the client."""

    START = "start"
    RANDOM = "random"
    MAX_GAP = "max_gap"
    """No pass for so long that the bracket would break."""
    SUSPICION = "suspicion"
    """An identity sample of this track failed."""
    RESUME = "resume"
    """After a pause, an absence or a gap."""
    RETRY = "retry"
    """The one before had no evidence."""
    TAKE_OVER = "take_over"
    END = "end"


class PauseReason(StrEnum):
    """Why the player has to stand still; told to the learner in plain words."""

    START_CHECK = "start_check"
    ABSENT = "absent"
    NO_EVIDENCE = "no_evidence"
    MISMATCH = "mismatch"
    SPOOF = "spoof"
    NETWORK_GAP = "network_gap"
    IDLE = "idle"
    LEARNER = "learner"
    """The learner pressed pause."""
    SYSTEM_ERROR = "system_error"
    CHALLENGE = "challenge"
    """An active challenge is shown, or was not answered."""
    LOOKING_AWAY = "looking_away"
    """The head was turned away for long, where a programme asks about that."""


class CloseReason(StrEnum):
    """Why a session ended."""

    LEARNER = "learner"
    NETWORK_GAP = "network_gap"
    SUSPENDED = "suspended"
    TAKEN_OVER = "taken_over"
    EXPIRED = "expired"
    SYSTEM_ERROR = "system_error"
    """The service could not go on: its clock was set back."""
    STAFF = "staff"
    """Staff, who had answered for the learner, ended it."""


class VoidReason(StrEnum):
    """The reason of every uncredited second."""

    BEFORE_FIRST_PASS = "before_first_pass"  # noqa: S105 (no password)
    AFTER_LAST_PASS = "after_last_pass"  # noqa: S105 (no password)
    PENDING = "pending"
    """The tail of a running session: not yet closed by a pass."""
    MAX_GAP = "max_gap"
    TRACK_BREAK = "track_break"
    MISMATCH = "mismatch"
    SPOOF = "spoof"
    UNANSWERED = "unanswered"
    NO_EVIDENCE = "no_evidence"
    ABSENT = "absent"
    NETWORK_GAP = "network_gap"
    SYSTEM_ERROR = "system_error"
    NOT_PLAYING = "not_playing"
    IDLE = "idle"
    LOOKING_AWAY = "looking_away"
    MEDIA_REPEATED = "media_repeated"
    """This second of the medium was credited before."""
    MEDIA_TOO_FAST = "media_too_fast"
    """The medium advanced faster than the clock, or jumped."""
    PARALLEL_SESSION = "parallel_session"
    DAILY_CAP = "daily_cap"
    PROVISIONAL = "provisional"
    """Credit that waits for the enrolment to be confirmed."""
    ENROLMENT_REFUSED = "enrolment_refused"
    """Staff refused the picture that it was verified against."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The session began."""

    key: str
    t: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """A run of presence samples of one track: `t` the first sample, `end` the last.

    A run may be given again as it grows: same `key`, same `t`, later `end`.
    """

    key: str
    t: int
    end: int
    track: int
    """0: no face."""
    faces_max: int
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """An identity sample on one frame. A failed one suspects; it never decides."""

    key: str
    t: int
    track: int
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A check, over frames that arrived from `since` to `t`. It decides.

    A passed one counts as a pass at `since` (a challenge also at `before`), a failed one against
    everything from `since` to `t`.
    """

    key: str
    t: int
    since: int
    """Arrival of the oldest judged frame; where a suspicion called it, that sample's instant."""
    cause: CheckCause
    track: int
    outcome: Outcome
    active: bool = False
    """Whether it was an active challenge."""
    asked: int = 0
    """Instant of the `Challenged` that it answers; 0: of none."""
    before: int = 0
    """Arrival of the frame from just before it was shown that matched, too; 0: there was none.
    Whoever is fetched by a challenge proves nothing about the time before it."""
    shown: bool = True
    """Of a challenge: whether its arrows were. Where a stranger sat there already, none are."""
    heard: int = 0
    """When the tracker took it in; 0: at `t`. Credit goes by `t` and `since`, but what the machine
    did depended on the order in which it heard: the fold needs it to do the same again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenged:
    """An active challenge was asked for: from here on it is shown, and the player stands still.

    Its answer is a `Check` that is `active`; after one that passed the player is let go again.
    """

    key: str
    t: int
    cause: CheckCause


@dataclass(frozen=True, slots=True, kw_only=True)
class Looking:
    """The learner turned away, or back; of a programme that asks about that only."""

    key: str
    t: int
    away: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Playback:
    """The player reported where it is; positions between two reports are not trusted."""

    key: str
    t: int
    """When the tracker received it."""
    media_id: str
    media_ms: int
    playing: bool
    """Whether the player runs from here on."""
    interaction: bool = False
    """Whether the learner touched something since the last report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """The tracker stopped the player."""

    key: str
    t: int
    reason: PauseReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """The tracker let the player go on."""

    key: str
    t: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemFault:
    """The service itself failed from `t` to `end`: paused, credited by review only."""

    key: str
    t: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """A reviewer granted an interval."""

    key: str
    t: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Disputed:
    """Somebody's decision is asked for about an interval: a review was opened, or an appeal."""

    key: str
    t: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Upheld:
    """A reviewer found that what was not credited of an interval stays so."""

    key: str
    t: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervised:
    """Staff confirmed an interval without a face check (the non-face route)."""

    key: str
    t: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspended:
    """Stopped until a person has looked at it."""

    key: str
    t: int
    reason: PauseReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """The session ended; no later fact of it counts."""

    key: str
    t: int
    reason: CloseReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The credit of the closed session was written down; nothing of it is pending."""

    key: str
    t: int


Fact: TypeAlias = (
    Opened
    | Presence
    | Identity
    | Check
    | Challenged
    | Looking
    | Playback
    | Paused
    | Resumed
    | SystemFault
    | Granted
    | Disputed
    | Upheld
    | Supervised
    | Suspended
    | Closed
    | Settled
)
Judgement: TypeAlias = Granted | Disputed | Upheld
"""What reviewers and learners say about an interval of a session, at any time after it."""
Decision: TypeAlias = Judgement | Supervised
"""What people decide about an interval; staff supervise under rules of their own."""
