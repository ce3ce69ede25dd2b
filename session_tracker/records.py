"""Rows of courses, sessions and streams, as values."""

from __future__ import annotations

from dataclasses import dataclass

from session_tracker.policy import Training


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

    credited_s: int
    course_credited_s: int
    target_s: int
    certificate: str | None
