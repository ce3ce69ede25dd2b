"""A turn: facts that are about to be added to a session, and everything that follows from them.

A turn takes in facts, lets the machine answer, and collects what has to be stored. It changes
nothing of the session: only when the store has it all is the turn applied. What fails is thrown
away, and the session is read from the store again before its next turn.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from session_tracker import facts as codec
from session_tracker import ledger, states
from session_tracker.events import (
    Challenged,
    Check,
    Closed,
    CloseReason,
    Decision,
    Fact,
    Identity,
    Looking,
    Paused,
    Playback,
    Presence,
    Resumed,
    Settled,
    Suspended,
)
from session_tracker.ledger import Context
from session_tracker.live import Asked, Live, Report
from session_tracker.machine import Action, AskCheck, Close, Pause, Resume, Suspend
from session_tracker.pictures import Shot
from session_tracker.records import StreamRecord, Totals
from session_tracker.sampling import Draw
from session_tracker.store.writer import NewEntry
from session_tracker.transitions import absorb

_MOST_ACTIONS: Final = 64
"""Actions of one turn; more would be a circle in the rules."""
_SHOWN_LATER: Final = (
    Presence,
    Identity,
    Check,
    Playback,
    Looking,
    Challenged,
    Paused,
    Resumed,
)
"""What a lesson consists of: what it changes is shown some time later anyway (`shown`)."""


class Turn:
    """Facts that are about to be added to a session, and everything that follows from them."""

    def __init__(self, live: Live, *, now: int, context: Context, draw: Draw) -> None:
        self.live = live
        self.machine = live.machine
        self.now = max(now, live.last_turn)
        self.context = context
        self._draw = draw
        self.facts: list[Fact] = []
        self.entries: list[NewEntry] = []
        self.presence: list[dict[str, Any]] = []
        self.playback: list[dict[str, Any]] = []
        self.answer: tuple[int, str, str] | None = None
        self.stream: StreamRecord | None = None
        self.run = live.run
        self.runs = live.runs
        self.asked: list[Asked] = []
        self.answered: set[str] = set()
        self.shots: list[Shot] = []
        """Pictures that came with failed checks; whoever commits seals and stores them."""
        self.flags: set[str] = set()
        self.closed: Closed | None = None
        self.resumed = False
        self.settled_ms: int | None = None
        self.totals: Totals | None = None

    # --- taking in -------------------------------------------------------------------------

    def take(self, fact: Fact, *, evidence: Mapping[str, Any] | None = None) -> None:
        """Take in a fact and let the machine answer; a fact that is known changes nothing."""
        self.note(fact, evidence=evidence)
        self.let_pass()

    def note(
        self,
        fact: Fact,
        *,
        evidence: Mapping[str, Any] | None = None,
        context: Context | None = None,
        in_ledger: bool = True,
    ) -> None:
        """Take in a fact without letting the machine answer yet."""
        known = self.live.facts.get(fact.key)
        if known == fact or (known is not None and not isinstance(fact, Presence)):
            return
        self.facts.append(fact)
        self.machine = absorb(self.machine, fact, self.live.policy, self._draw)
        if in_ledger and not isinstance(fact, Presence):
            self.entries.append(
                self._entry(
                    kind=codec.kind_of(fact),
                    key=fact.key,
                    at_ms=fact.t,
                    reason=codec.reason_of(fact),
                    data={**codec.encode(fact), **({"evidence": evidence} if evidence else {})},
                    context=context,
                )
            )

    def take_decision(self, fact: Decision, *, reason: str, data: Mapping[str, Any]) -> None:
        """Take in what somebody decided about the past, with its reason."""
        if fact.key in self.live.facts or any(f.key == fact.key for f in self.facts):
            return
        self.facts.append(fact)
        self.machine = absorb(self.machine, fact, self.live.policy, self._draw)
        self.entries.append(
            self._entry(
                kind=codec.kind_of(fact),
                key=fact.key,
                at_ms=self.now,
                reason=reason,
                data={**codec.encode(fact), "decision": dict(data)},
            )
        )

    def let_pass(self, now: int | None = None) -> None:
        """Let time pass up to `now`, and carry out what the machine wants, until it is content."""
        at = self.now if now is None else max(now, self.now)
        for _ in range(_MOST_ACTIONS):
            self.machine, actions = states.due(self.machine, at, self.live.policy)
            if not actions:
                return
            for action in actions:
                self.act(action)
        raise AssertionError(f"session {self.live.id} goes round in circles: {actions}")

    def act(self, action: Action) -> None:
        """Turn one action into its fact; a check into a request that goes out after the commit."""
        match action:
            case AskCheck():
                self.ask(action)
            case Pause():
                t = self._tick()
                self.note(Paused(key=f"paused:{t}", t=t, reason=action.reason))
            case Resume():
                t = self._tick()
                self.note(Resumed(key=f"resumed:{t}", t=t))
                self.resumed = True
            case Suspend():
                t = self._tick()
                self.note(Suspended(key=f"suspended:{t}", t=t, reason=action.reason))
                # Nothing more can be earned: what was seen so far is settled at once, and the
                # review that follows adds its decision as a fact of its own.
                self.close(Close(reason=CloseReason.SUSPENDED))
            case Close():
                self.close(action)

    def ask(self, action: AskCheck, *, awaited: bool = False) -> Asked:
        """Have a check asked for once this turn is durable.

        It is `awaited` too where the learner is told why he waits.
        """
        asked = Asked(
            check_id=f"chk_{secrets.token_hex(10)}",
            cause=action.cause,
            not_before=action.not_before,
            turns=action.turns if action.active else 0,
            shown_at=self._tick() if action.active else 0,
            awaited=awaited or self.machine.cue is not None,
        )
        self.asked.append(asked)
        self.entries.append(
            self._entry(
                kind="check_asked",
                key=f"asked:{asked.check_id}",
                at_ms=self.now,
                reason=str(action.cause),
                data={
                    "check_id": asked.check_id,
                    "not_before": action.not_before,
                    "turns": asked.turns,
                },
            )
        )
        if action.active:
            key = f"challenged:{asked.check_id}"
            self.note(Challenged(key=key, t=asked.shown_at, cause=action.cause))
        return asked

    def close(self, action: Close) -> None:
        """End the session."""
        t = self._tick()
        fact = Closed(key="closed", t=t, reason=action.reason)
        self.note(fact)
        self.closed = fact

    def give_way(self) -> None:
        """End the session where it was let go: another one has the learner's lease for good."""
        self.resumed = False
        self.close(Close(reason=CloseReason.TAKEN_OVER))

    def settle(self, fact: Settled, data: Mapping[str, Any], *, reason: str) -> None:
        """Write down what the closed session came to."""
        self.facts.append(fact)
        self.machine = absorb(self.machine, fact, self.live.policy, self._draw)
        self.settled_ms = fact.t
        self.entries.append(
            self._entry(
                kind="settled",
                key=fact.key,
                at_ms=fact.t,
                reason=reason,
                data={"t": fact.t, **data},
            )
        )

    def flag(self, kind: str, data: Mapping[str, Any]) -> None:
        """Record an anomaly, once per kind and session."""
        if kind in self.live.flagged or kind in self.flags:
            return
        self.flags.add(kind)
        self.entries.append(
            self._entry(kind="flag", key=f"flag:{kind}", at_ms=self.now, reason=kind, data=data)
        )

    def add_entry(
        self, *, kind: str, key: str, at_ms: int, data: Mapping[str, Any], reason: str = ""
    ) -> None:
        """Add an entry that is no fact of the rules."""
        entry = self._entry(kind=kind, key=key, at_ms=at_ms, data=data, reason=reason)
        self.entries.append(entry)

    # --- playback --------------------------------------------------------------------------

    def take_report(self, report: Report) -> None:
        """Take in a playback report with a `seq` that is new."""
        last = self.live.last_report
        counted = report.seq > self.live.top_seq
        t = self._tick() if last is not None and last.t >= self.now else self.now
        if counted:
            fact = Playback(
                key=f"playback:{report.seq:010d}",
                t=t,
                media_id=report.media_id,
                media_ms=report.media_ms,
                playing=report.playing,
                interaction=report.interaction,
            )
            self.note(fact, in_ledger=self._is_change(fact, last))
        self.playback.append(
            {
                "session_id": self.live.id,
                "seq": report.seq,
                "digest": report.digest,
                "received_ms": t,
                "media_id": report.media_id,
                "media_ms": report.media_ms,
                "playing": report.playing,
                "interaction": report.interaction,
                "counted": counted,
            }
        )
        skew_ms = 0 if report.client_ms is None else report.client_ms - self.now
        if abs(skew_ms) > self.live.policy.clock.client_skew_s * 1_000:
            self.flag("client_skew", {"skew_ms": skew_ms})
        self.let_pass()

    def _is_change(self, report: Playback, last: Playback | None) -> bool:
        """Tell a report worth an entry of its own from a heartbeat."""
        if last is None or last.media_id != report.media_id or last.playing != report.playing:
            return True
        expected = last.media_ms + (report.t - last.t if last.playing else 0)
        return abs(report.media_ms - expected) > self.live.policy.playback.jump_s * 1_000

    @property
    def suspended(self) -> bool:
        """Whether the session will be suspended."""
        return self.live.suspended or any(isinstance(f, Suspended) for f in self.facts)

    @property
    def changes_what_is_shown(self) -> bool:
        """Whether the learner is to be shown at once what it comes to: see `shown`."""
        return any(not isinstance(f, _SHOWN_LATER) for f in self.facts)

    # --- the end ---------------------------------------------------------------------------

    def apply(self) -> None:
        """Change the session: everything is durable now."""
        live = self.live
        live.changes += 1
        live.machine = self.machine
        if self.totals is not None or self.changes_what_is_shown:
            live.totals = self.totals
        for fact in self.facts:
            live.take(fact)
        live.run, live.runs = self.run, self.runs
        live.last_turn = self.now
        live.flagged |= self.flags
        for check_id in self.answered:
            live.asked.pop(check_id, None)
        live.asked.update((asked.check_id, asked) for asked in self.asked)
        if self.stream is not None:
            live.streams[self.stream.id] = self.stream
        if self.answer is not None:
            live.answered(*self.answer)
        if self.closed is not None:
            live.record = replace(live.record, closed_ms=self.closed.t)
        if self.settled_ms is not None:
            live.record = replace(live.record, settled_ms=self.settled_ms)
        live.progress.set()
        live.progress = asyncio.Event()

    def _tick(self) -> int:
        """Give an instant of its own to a fact that we make: their order is their time."""
        self.now = max(self.now, self.live.last_turn + 1, *(f.t + 1 for f in self.facts[-1:]))
        return self.now

    def _entry(
        self,
        *,
        kind: str,
        key: str,
        at_ms: int,
        data: Mapping[str, Any],
        reason: str = "",
        context: Context | None = None,
    ) -> NewEntry:
        return ledger.entry(
            subject=self.live.id,
            key=key,
            kind=kind,
            at_ms=at_ms,
            context=context or self.context,
            reason=reason,
            data=data,
        )
