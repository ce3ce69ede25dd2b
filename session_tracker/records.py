"""Rows of learners, courses, sessions and streams, as values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from session_tracker.policy import Provenance, Training
from session_tracker.shown import Growing


@dataclass(frozen=True, slots=True, kw_only=True)
class Learner:
    """Somebody who studies, under a pseudonym."""

    id: str
    category: str
    track: Training
    industry: str
    business_ref: str
    created_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """An enrolled face: the verifier's opaque blob and where it came from."""

    learner_id: str
    version: int
    """Counts up from 1 with every enrolment."""
    blob: bytes | None
    """None once it was erased."""
    provenance: Provenance
    enrolled_ms: int
    confirmed_ms: int | None
    """When one that the learner made himself was matched with the ID photo or vetted by staff."""
    erased_ms: int | None


class RegistrationState(StrEnum):
    """What staff said to a learner's registration."""

    WAITING = "waiting"
    APPROVED = "approved"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """Where a learner's registration stands, by whom and why."""

    learner_id: str
    state: RegistrationState
    reasons: tuple[str, ...]
    template_version: int
    """The picture that was looked at; 0: none."""
    changed_ms: int
    changed_by: str
    """Name of an API key; empty before anybody has looked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What a learner agreed to: face verification, or a supervised session instead of it."""

    id: str
    learner_id: str
    purpose: str
    text_version: str
    given_ms: int
    withdrawn_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """A row of ``sessions``."""

    id: str
    learner_id: str
    programme: str
    course: int
    policy_version: str
    consent_id: str
    media: tuple[str, ...]
    token_hash: str
    epoch: int
    template_version: int
    taking_over: str | None
    opened_ms: int
    closed_ms: int | None = None
    settled_ms: int | None = None

    @property
    def without_camera(self) -> bool:
        """Whether it was opened by staff who answer for the learner: no face, no stream."""
        return self.template_version == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRecord:
    """A row of ``streams``."""

    id: str
    number: int
    """Counts the streams of a session from 1."""
    last_event_id: int
    track_offset: int
    """Added to the stream's track numbers, which begin anew: a session's count on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One learner's way through one programme, under the policy in force when it began."""

    learner_id: str
    programme: str
    course: int
    policy_version: str
    track: Training


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What a device is shown of its credit."""

    derived_ms: int
    """When, UTC ms."""
    credit: Growing
    target_s: int
    certificate: str | None
