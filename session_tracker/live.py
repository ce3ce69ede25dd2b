"""One session in memory: its record, its facts, its machine, and what is on its way."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from session_tracker.events import CheckCause, Fact, Playback, Presence, Resumed, Suspended
from session_tracker.machine import LIVE_STATES, Machine
from session_tracker.policy import Policy
from session_tracker.records import Course, SessionRecord, StreamRecord, Totals
from verifier.types import StreamEvent

_REMEMBERED: Final = 64
"""Events of a session whose contents are remembered, to know another one under the same number."""
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
    """A session that is not settled yet. Everything but `lock` belongs to whoever holds it."""

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
    answers: dict[int, tuple[str, str]] = field(default_factory=dict)
    """seq -> (digest, first answer) of every playback report."""
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
    progress: asyncio.Event = field(default_factory=asyncio.Event)
    """Set, and replaced, whenever a turn was applied."""

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

    @property
    def has_run(self) -> bool:
        """Whether its player was ever let go."""
        return any(isinstance(fact, Resumed) for fact in self.facts.values())

    @property
    def suspended(self) -> bool:
        """Whether it was stopped until a person has looked at it."""
        return any(isinstance(fact, Suspended) for fact in self.facts.values())

    @property
    def last_report(self) -> Playback | None:
        """The newest playback report that counted."""
        reports = [fact for fact in self.facts.values() if isinstance(fact, Playback)]
        return max(reports, key=lambda r: r.t, default=None)


def _hash_of(event: StreamEvent) -> int:
    said = tuple(getattr(event, name) for name in _SAID)
    return hash((said, tuple(sorted(event.models.items()))))
