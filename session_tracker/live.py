"""One session in memory: its record, its facts, its machine, and what is on its way."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from session_tracker.events import (
    Check,
    CheckCause,
    Fact,
    Identity,
    Playback,
    Presence,
    Resumed,
    Suspended,
)
from session_tracker.machine import LIVE_STATES, Machine
from session_tracker.policy import Policy
from session_tracker.records import Course, SessionRecord, StreamRecord, Totals
from verifier.types import StreamEvent

_REMEMBERED: Final = 64
"""Events of a session whose contents are remembered, to know another one under the same number."""
_ANSWERS: Final = 256
"""Answers to a session's newest reports that are remembered; the store has them all."""
_SAID: Final = tuple(name for name in StreamEvent.__slots__ if name != "models")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A check on its way."""

    check_id: str
    cause: CheckCause
    not_before: int | None
    """UTC ms on the session's axis."""
    turns: int = 0
    """Of a challenge's first attempt; 0: a silent check."""
    shown_at: int = 0
    """Instant of its `Challenged`."""
    awaited: bool = False
    """Whether the learner was told why he waits for it: never of a silent check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the player said."""

    seq: int
    media_id: str
    media_ms: int
    playing: bool
    interaction: bool = False
    client_ms: int | None = None
    """The client's own clock, UTC ms: advisory."""

    @property
    def digest(self) -> str:
        """SHA-256 of what it says, to tell a repeat from a contradiction."""
        said = [self.seq, self.media_id, self.media_ms, self.playing, self.interaction]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()


@dataclass(slots=True, kw_only=True)
class Live:
    """A session that is not settled yet. Everything but its two locks belongs to who holds it.

    Facts come in by `take`, answers to reports by `answered`. A turn changes it in one go, so that
    whoever only looks sees it before or after, and waits for nobody (`Grading.seen`).
    """

    record: SessionRecord
    course: Course
    policy: Policy
    machine: Machine
    by_challenge: bool = False
    """Whether its checks use the challenge instead of the passive vote: staff said so."""
    facts: dict[str, Fact] = field(default_factory=dict)
    streams: dict[str, StreamRecord] = field(default_factory=dict)
    stream_id: str | None = None
    """The stream that is open now; None before the first one and after a loss."""
    run: Presence | None = None
    """The presence run that may still grow."""
    runs: int = 0
    asked: dict[str, Asked] = field(default_factory=dict)
    answers: OrderedDict[int, tuple[str, str]] = field(default_factory=OrderedDict)
    """seq -> (digest, first answer) of the newest playback reports."""
    top_seq: int = -1
    """The highest `seq` of a report so far; those below may be in the store only."""
    last_report: Playback | None = None
    """The newest playback report that counted."""
    has_run: bool = False
    """Whether its player was ever let go."""
    suspended: bool = False
    """Whether it was stopped until a person has looked at it."""
    heard: OrderedDict[tuple[str, int], int] = field(default_factory=OrderedDict)
    """(stream, event) -> what the newest events said, as a hash of this process."""
    flagged: set[str] = field(default_factory=set)
    """Kinds of flags already in the ledger."""
    top_track: int = 0
    last_turn: int = 0
    """The newest instant given to a fact of our own making."""
    totals: Totals | None = None
    """Credit as derived last; None where a fact has come since that may change it."""
    stale: bool = False
    """Whether a write failed: the store knows better than we do."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    showing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while credit is derived for somebody who only looks."""
    changes: int = 0
    """Goes up with every change: what was derived in between is out of date."""
    progress: asyncio.Event = field(default_factory=asyncio.Event)
    """Set, and replaced, whenever a turn was applied."""

    def take(self, fact: Fact) -> None:
        """Add a fact, in whatever order they come."""
        self.facts[fact.key] = fact
        match fact:
            case Presence() | Identity() | Check():
                self.top_track = max(self.top_track, fact.track)
            case Playback() if self.last_report is None or fact.t >= self.last_report.t:
                self.last_report = fact
            case Resumed():
                self.has_run = True
            case Suspended():
                self.suspended = True

    def answered(self, seq: int, digest: str, answer: str) -> None:
        """Remember what a report was answered, to say it again."""
        self.top_seq = max(self.top_seq, seq)
        self.answers[seq] = (digest, answer)
        while len(self.answers) > _ANSWERS:
            self.answers.popitem(last=False)

    def hear(self, event: StreamEvent) -> None:
        """Remember what an event said."""
        self.heard[event.stream_id, event.event_id] = _hash_of(event)
        while len(self.heard) > _REMEMBERED:
            self.heard.popitem(last=False)

    def contradicts(self, event: StreamEvent) -> bool:
        """Tell whether another event was heard under this one's number, as far as remembered."""
        known = self.heard.get((event.stream_id, event.event_id))
        return known is not None and known != _hash_of(event)

    @property
    def id(self) -> str:
        """The session's id."""
        return self.record.id

    @property
    def open(self) -> bool:
        """Whether something may still be earned."""
        return self.machine.state in LIVE_STATES


def _hash_of(event: StreamEvent) -> int:
    said = tuple(getattr(event, name) for name in _SAID)
    return hash((said, tuple(sorted(event.models.items()))))
