"""The programme policy: every number and every choice of the credit rules, from a versioned file.

Nothing here has a default: a hole in the file is refused as an unknown key is, by its name, so
that no constant of the program stands in for a decision of the programme.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from datetime import date
from enum import StrEnum
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from session_tracker.working_days import Calendar
from verifier.errors import ConfigurationError
from verifier.types import PresencePolicy

Seconds = Annotated[int, Field(gt=0, le=86_400)]
"""Whole seconds, up to a day."""
Count = Annotated[int, Field(gt=0, le=1_000)]


class Training(StrEnum):
    """The two tracks of a programme."""

    INITIAL = "initial"
    REFRESHER = "refresher"


class Provenance(StrEnum):
    """Where the enrolled picture came from."""

    ID_PHOTO = "id_photo"
    """An identity photograph that a server or staff vouch for."""
    VETTED_LIVE = "vetted_live"
    SELF_LIVE = "self_live"
    SELF_PHOTO = "self_photo"
    """A photograph that the learner himself sent as that of his identity card."""


SELF_MADE: Final = frozenset({Provenance.SELF_LIVE, Provenance.SELF_PHOTO})
"""What the learner's own device sent: whoever holds it could have sent any face."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Lenient(_Section):
    """TOML gives enumerations as strings and tuples as lists."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class ClassHour(_Section):
    """What one class hour (学时) is."""

    seconds: Seconds


class Targets(_Section):
    """Class hours to be credited online before the certificate."""

    initial_class_hours: Count
    refresher_class_hours: Count


class Admission(_Lenient):
    """Who may study online."""

    categories: tuple[str, ...] = Field(min_length=1)
    refused_industries: tuple[str, ...]


class EnrolmentRules(_Lenient):
    """Which enrolments are taken and what their credit is worth."""

    accepted: tuple[Provenance, ...] = Field(min_length=1)
    provisional: tuple[Provenance, ...]
    """Credit under these waits for a match with the ID photo or for staff."""
    compare_within_business: bool
    approval_tracks: tuple[Training, ...]
    """Tracks whose learners study only once staff have approved their registration."""


class CourseRules(_Section):
    """When a programme is studied again."""

    repeat_after_days: Annotated[int, Field(ge=0, le=3_650)]
    """So long after a certificate the next course may begin; 0: never."""


MOST_WINDOW_S: Final = 600
"""Of one attempt at a challenge; verifiers take no longer one."""


class Checks(_Section):
    """When checks are asked for and how long an answer may take."""

    at_start: bool
    at_end: bool
    random_mean_s: Seconds
    """Of the exponential before it is cut to [random_min_s, random_max_s]."""
    random_min_s: Seconds
    random_max_s: Seconds
    challenge_at_start: bool
    challenge_share: Annotated[float, Field(ge=0, le=1)]
    """Of the random checks."""
    challenge_turns: Annotated[int, Field(ge=3, le=8)]
    """Turns of a challenge's first attempt: a guess succeeds in 1 of 4 to that power."""
    force_after_s: Seconds
    """So long without a pass forces a check."""
    frames_needed_s: Seconds
    """A start, resume or retry check waits until fresh frames span so much time."""
    suspicion_wait_s: Seconds
    """A suspicion waits at most so long for two more frames before its check is asked for."""
    answer_window_s: Seconds
    answer_retries: Annotated[int, Field(ge=0, le=10)]
    retry_after_s: Seconds
    """Between two attempts within an answer window or a pause; doubled up to the answer window."""
    ask_again_after_s: Seconds
    """A check that was asked for and not answered by the verifier is asked for again."""
    start_limit_s: Seconds
    """A session without a passed start check for so long is closed."""

    @property
    def challenges(self) -> bool:
        """Whether the programme has active challenges at all: then they also follow alarms."""
        return self.challenge_at_start or self.challenge_share > 0

    def challenge_window_s(self, turns: int) -> int:
        """Give the time of an attempt at so many turns: a longer one has as much for each turn."""
        window = self.answer_window_s * max(turns, self.challenge_turns) // self.challenge_turns
        return min(window, MOST_WINDOW_S)


class BracketRules(_Section):
    """What breaks the time between two passes."""

    max_gap_s: Seconds
    absent_s: Seconds
    no_evidence_s: Seconds
    suspicion_s: Seconds
    """A failed identity sample has to be cleared by a check within this time."""


class Sampling(_Section):
    """How the stream is sampled (the verifier's presence policy)."""

    period_s: Seconds
    identity_one_in: Count
    window_s: Seconds
    check_frames: Annotated[int, Field(ge=1, le=8)]
    gap_s: Seconds


class Consequences(_Section):
    """What confirmed failures lead to."""

    mismatch_suspends_after: Count
    spoof_suspends_after: Count
    several_faces: Literal["flag"]


class LookingAway(_Section):
    """Whether a turned head pauses; it never voids."""

    enabled: bool
    yaw_deg: Annotated[int, Field(gt=0, le=90)]
    after_s: Seconds


class PlaybackRules(_Section):
    """What the player may do."""

    idle_s: Seconds
    rate: Annotated[float, Field(gt=0, le=1)]
    slack_s: Annotated[int, Field(ge=0, le=60)]
    jump_s: Seconds


class DailyCap(_Section):
    """The most that one day of a learner can bring."""

    class_hours: Count
    time_zone: str


class Lease(_Section):
    """One session per learner."""

    heartbeat_s: Seconds
    expiry_s: Seconds


class Network(_Section):
    """Gaps without frames."""

    tolerated_s: Seconds
    closed_after_s: Seconds


class ClockRules(_Section):
    """Whose time counts."""

    step_s: Seconds
    client_skew_s: Seconds


class Appeal(_Lenient):
    """Disputes."""

    within_working_days: Count
    answer_within_h: Count
    decide_within_working_days: Count
    spoof_reviewers: Count
    """People who have to agree before a spoof decision is overturned."""
    holidays: tuple[date, ...]
    worked_weekends: tuple[date, ...]
    """Days of a weekend that are worked in the stead of a holiday."""


class EvidencePictures(_Section):
    """Thumbnails of failed or disputed checks."""

    store: Literal["none", "on_failure"]
    days_after_appeal: Annotated[int, Field(ge=0, le=365)]


class Retention(_Section):
    """How long what is kept."""

    records_years: Annotated[int, Field(ge=1, le=30)]
    replay_fingerprint_days: Annotated[int, Field(ge=0, le=365)]
    templates_until: Literal["course_end_and_appeal"]
    idle_course_days: Annotated[int, Field(ge=1, le=3_650)]
    """A course without a session for so long has ended, finished or not."""


class Policy(_Section):
    """One programme's rules; equal content has an equal `digest`."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.-]{0,31}$")]
    title: Annotated[str, Field(min_length=1, max_length=200)]
    class_hour: ClassHour
    targets: Targets
    admission: Admission
    enrolment: EnrolmentRules
    course: CourseRules
    checks: Checks
    brackets: BracketRules
    sampling: Sampling
    consequences: Consequences
    looking_away: LookingAway
    playback: PlaybackRules
    daily_cap: DailyCap
    lease: Lease
    network: Network
    clock: ClockRules
    appeal: Appeal
    evidence_pictures: EvidencePictures
    retention: Retention

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for wrong, message in self._contradictions():
            if wrong:
                raise ValueError(message)
        try:
            ZoneInfo(self.daily_cap.time_zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(
                f"daily_cap.time_zone {self.daily_cap.time_zone!r} is not a known time zone"
            ) from error
        return self

    def _contradictions(self) -> tuple[tuple[bool, str], ...]:
        checks, brackets, network = self.checks, self.brackets, self.network
        return (
            (
                not checks.at_start,
                "checks.at_start must be true: a session without a start check has no first pass",
            ),
            (
                not checks.random_min_s < checks.random_mean_s < checks.random_max_s,
                "checks: random_min_s < random_mean_s < random_max_s must hold",
            ),
            (
                checks.force_after_s >= brackets.max_gap_s,
                "checks.force_after_s must be less than brackets.max_gap_s, "
                "or the forced check comes too late",
            ),
            (
                checks.suspicion_wait_s >= brackets.suspicion_s,
                "checks.suspicion_wait_s must be less than brackets.suspicion_s",
            ),
            (
                network.tolerated_s >= network.closed_after_s,
                "network.tolerated_s must be less than network.closed_after_s",
            ),
            (
                not self.sampling.period_s < self.sampling.gap_s < network.tolerated_s,
                "sampling.period_s < sampling.gap_s < network.tolerated_s must hold",
            ),
            (
                self.lease.heartbeat_s >= self.lease.expiry_s,
                "lease.heartbeat_s must be less than lease.expiry_s",
            ),
            (
                not set(self.enrolment.provisional) <= set(self.enrolment.accepted),
                "enrolment.provisional names a provenance that is not in enrolment.accepted",
            ),
            (
                not SELF_MADE & set(self.enrolment.accepted) <= set(self.enrolment.provisional),
                "enrolment.provisional lacks what learners enrol themselves and "
                "enrolment.accepted takes (self_live, self_photo)",
            ),
            (
                self.playback.rate != 1.0,
                "playback.rate: this build credits media at the speed of the clock only; "
                "set it to 1.0",
            ),
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content, 64 hex digits: what the ledger names beside the version."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(canonical.encode()).hexdigest()

    @cached_property
    def zone(self) -> ZoneInfo:
        """The time zone whose days the daily cap counts."""
        return ZoneInfo(self.daily_cap.time_zone)

    @cached_property
    def calendar(self) -> Calendar:
        """The working days by which terms are counted."""
        rules = self.appeal
        return Calendar(
            zone=self.zone,
            holidays=frozenset(rules.holidays),
            worked=frozenset(rules.worked_weekends),
        )

    def appeal_until(self, closed_ms: int) -> int:
        """Give until when a learner may appeal about a session that ended then, UTC ms."""
        return self.calendar.after(closed_ms, self.appeal.within_working_days)

    @property
    def daily_cap_s(self) -> int:
        """The most that a day of a learner brings, in seconds."""
        return self.daily_cap.class_hours * self.class_hour.seconds

    def target_s(self, training: Training) -> int:
        """Give the seconds to be credited before the certificate of this training."""
        hours = {
            Training.INITIAL: self.targets.initial_class_hours,
            Training.REFRESHER: self.targets.refresher_class_hours,
        }[training]
        return hours * self.class_hour.seconds

    def presence(self) -> PresencePolicy:
        """Say how a stream of this programme is sampled."""
        return PresencePolicy(
            sample_period_ms=self.sampling.period_s * 1_000,
            identity_share=1 / self.sampling.identity_one_in,
            window_ms=self.sampling.window_s * 1_000,
            check_frames=self.sampling.check_frames,
            gap_ms=self.sampling.gap_s * 1_000,
            pictures=self.evidence_pictures.store == "on_failure",
            away_yaw_deg=self.looking_away.yaw_deg if self.looking_away.enabled else 0,
        )

    def by_challenge(self) -> Policy:
        """Give the same rules for somebody whose checks use the challenge, not the passive vote."""
        checks = self.checks.model_copy(update={"challenge_at_start": True, "challenge_share": 1.0})
        return self.model_copy(update={"checks": checks})

    def is_provisional(self, provenance: Provenance) -> bool:
        """Tell whether credit under such an enrolment waits for its confirmation."""
        return provenance in self.enrolment.provisional


def stored_policy(document: str) -> Policy:
    """Read a policy as the store holds it, also one from before some of today's fields.

    Then no course was ever repeated, and `id_photo` was also what learners sent themselves: that
    is `self_photo` now, and provisional.
    """
    whole = json.loads(document)
    if "course" not in whole:
        rules = whole["enrolment"]
        accepted, provisional = set(rules["accepted"]), set(rules["provisional"])
        if Provenance.ID_PHOTO in accepted:
            accepted.add(Provenance.SELF_PHOTO)
        rules["accepted"] = sorted(accepted)
        rules["provisional"] = sorted(provisional | (SELF_MADE & accepted))
        whole["course"] = {"repeat_after_days": 0}
    return Policy.model_validate_json(json.dumps(whole))


def parse_policy(text: str, *, source: str) -> Policy:
    """Read a policy from TOML; `source` names it in errors.

    A file that ``extends`` a shipped policy states only what differs; its version is completed
    by that of the policy below (``1-2``), so that other rules there are another version here.
    Raises ConfigurationError with the name of every field that is missing, unknown or wrong.
    """
    try:
        return Policy.model_validate(_completed(tomllib.loads(text), source))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(
            f"the policy {source} is not valid TOML: {error}",
            remedy="Correct the file; policies/foshan-2021.toml shows a complete one.",
        ) from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in e['loc']) or 'policy'}: {e['msg']}"
            for e in error.errors(include_url=False)
        )
        raise ConfigurationError(
            f"the policy {source} cannot be used: {problems}",
            remedy="Correct these fields; policies/foshan-2021.toml shows a complete policy.",
        ) from error


def _completed(stated: dict[str, Any], source: str) -> dict[str, Any]:
    """Put what a file states on top of the policy that it extends, section by section."""
    below = stated.pop("extends", None)
    if below is None:
        return stated
    if below not in shipped_policies():
        raise ConfigurationError(
            f"the policy {source} extends {below!r}, which does not come along.",
            remedy=f"Extend one of: {', '.join(shipped_policies())}.",
        )
    whole = load_policy(below).model_dump()
    version = f"{stated.get('version', '')}-{whole['version']}"
    for name, value in stated.items():
        known = whole.get(name)
        whole[name] = {**known, **value} if isinstance(known, dict) else value
    return {**whole, "version": version}


def shipped_policies() -> tuple[str, ...]:
    """Name the policies that come with the package."""
    folder = resources.files("session_tracker") / "policies"
    return tuple(sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".toml")))


def load_policy(name_or_path: str | Path) -> Policy:
    """Load a shipped policy by its name (``foshan-2021``) or any other by the path of its file.

    Raises ConfigurationError where there is none or it cannot be used.
    """
    name = str(name_or_path)
    if name in shipped_policies():
        file = resources.files("session_tracker") / "policies" / f"{name}.toml"
        return parse_policy(file.read_text(encoding="utf-8"), source=name)
    path = Path(name_or_path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"there is no policy {name!r} ({error})",
            remedy=f"Give the path of a TOML file or one of: {', '.join(shipped_policies())}.",
        ) from error
    return parse_policy(text, source=name)
