"""The sessions in memory, and the machinery by which a turn becomes durable and has its effects.

Every session is worked on under its own lock; different sessions run beside each other. A turn
is stored in one transaction with its ledger entries before anybody hears of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from weakref import WeakValueDictionary

from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from session_tracker import lease, rebuild
from session_tracker.axis import Axis
from session_tracker.certification import Certification
from session_tracker.enrolment import Registry, course_of
from session_tracker.erasure import Erasure
from session_tracker.events import (
    Closed,
    CloseReason,
    Decision,
    Disputed,
    Fact,
    Settled,
    Suspended,
    SystemFault,
)
from session_tracker.explain import fate_of
from session_tracker.fingerprints import Fingerprints
from session_tracker.housekeeping import Housekeeping
from session_tracker.learner_keys import LearnerKeys
from session_tracker.ledger import Context, HeadsFile, Ledger
from session_tracker.live import Asked, Live
from session_tracker.machine import Close, State
from session_tracker.pictures import Pictures
from session_tracker.playing import Playing
from session_tracker.policy import Policy
from session_tracker.records import Course, SessionRecord
from session_tracker.review import BY_RULE, questions
from session_tracker.reviews import Reviews
from session_tracker.sampling import Draw
from session_tracker.scheduler import Scheduler
from session_tracker.segments import segments_of
from session_tracker.settlement import CourseCredit, Settlement, segment_data, settlement_data
from session_tracker.store import sessions as rows
from session_tracker.store.database import Database
from session_tracker.store.tables_reviews import pictures
from session_tracker.store.writer import Transaction
from session_tracker.turn import Turn
from session_tracker.views import SessionView, totals_of, view_of
from verifier.clock import Clock
from verifier.errors import (
    BadRequest,
    BenrenError,
    Conflict,
    NotFound,
    StorageError,
    StreamGone,
    Unauthorised,
)
from verifier.keys import KeyRing
from verifier.types import (
    ChallengeRequest,
    CheckRequest,
    StreamEvent,
    StreamVerifier,
    TemplateComparer,
)

_log = logging.getLogger("benren.tracker")
_HEAD: Final = "daily head"
_HEAD_PERIOD_MS: Final = 86_400_000
_CHECK_TRIES: Final = 2
_CHECK_WITHIN_S: Final = 30.0
"""A check is answered, and its event handed over, within this (real time), or it failed."""


class Stage:
    """What `SessionService` plays on."""

    def __init__(
        self,
        *,
        clock: Clock,
        verifier: StreamVerifier,
        database: Database,
        keyring: KeyRing,
        learner_keys: LearnerKeys,
        comparer: TemplateComparer | None,
        draw: Draw,
        heads_file: HeadsFile | None = None,
    ) -> None:
        self._clock = clock
        self._draw = draw
        self.axis = Axis(clock)
        self.verifier = verifier
        self.database = database
        self.ledger = Ledger(database, keyring, clock, heads_file=heads_file)
        self.pictures = Pictures(database, learner_keys)
        self.reviews = Reviews(database, learner_keys, clock)
        self.registry = Registry(
            database, learner_keys, clock, reviews=self.reviews, comparer=comparer
        )
        self.erasure = Erasure(database, learner_keys, self.ledger, clock)
        self.fingerprints = Fingerprints(database, learner_keys, clock)
        self.housekeeping = Housekeeping(database, self.registry.programmes, self.erasure, clock)
        self.settlement = Settlement(database, self.registry.programmes, clock)
        self.certification = Certification(database, self.settlement, self.ledger, keyring, clock)
        self.scheduler = Scheduler(clock, self._on_deadline)
        self.sessions = Playing()
        self._grading: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def raise_curtain(self) -> None:
        """Learn what the store knows of time, listen to the verifier, watch the clock."""
        await self.database.write(lambda tx: rows.insert_boot(tx.connection, self.axis.started))
        async with self.database.read() as connection:
            self.axis.learn(await rows.read_boots(connection))
            unsettled = await rows.read_unsettled(connection)
        self.verifier.subscribe(self.sink)
        self.scheduler.start()
        self.scheduler.at(_HEAD, self.axis.started.monotonic_ms)
        for record in unsettled:
            await self._take_up(record)

    async def _take_up(self, record: SessionRecord) -> None:
        """Go on with a session after a restart: the time without us was a fault of the service."""
        live = await self._load(record)
        self.sessions[live.id] = live
        if live.machine.state is State.CLOSED:
            self._settle_soon(live)
            return
        async with live.lock:
            turn = self.turn(live)
            known, now = live.last_turn, self.axis.now()
            stepped = known - now > live.policy.clock.step_s * 1_000
            if live.machine.state is State.RUNNING or stepped:
                key = f"fault:{self.axis.started.boot_id}"
                began = known if stepped else min(known, now)
                turn.note(SystemFault(key=key, t=began, end=max(known, now)))
            if stepped:
                # The clock was set back: what came now would lie in time that is over already.
                turn.flag("clock_step", {"boot": self.axis.started.boot_id, "utc_ms": now})
                turn.close(Close(reason=CloseReason.SYSTEM_ERROR))
            turn.let_pass()
            await self.commit(live, turn)
        async with self.database.read() as connection:
            held = await lease.current(connection, record.learner_id)
        if held is not None and held.epoch > record.epoch and holds_lease(live):
            # It was taken over, and we went down before it had ended.
            self.end_soon(live, CloseReason.TAKEN_OVER)

    # --- sessions in memory ----------------------------------------------------------------

    @asynccontextmanager
    async def fresh(self, live: Live) -> AsyncIterator[Live]:
        """Hold a session; read it from the store first where a write of it failed."""
        async with live.lock:
            if live.stale:
                # What was cancelled may still be in the queue: let it come to its end first.
                # Where the store refuses, it has refused that too.
                with contextlib.suppress(StorageError):
                    await self.database.barrier()
                async with self.database.read() as connection:
                    await rebuild.reload(connection, live, self._draw)
            yield live

    @asynccontextmanager
    async def held(self, session_id: str, *, token: str | None) -> AsyncIterator[Live]:
        """Hold a session by id; with a token, only its own. Raises NotFound, Unauthorised."""
        live = self.sessions.get(session_id)
        if live is None:
            async with self.database.read() as connection:
                record = await rows.read_session(connection, session_id)
            if record is None:
                raise unknown_session(session_id)
            live = await self._load(record)
        if token is not None and not hmac.compare_digest(token_hash(token), live.record.token_hash):
            raise Unauthorised(
                "The token does not belong to this session.",
                remedy="Send the session_token that POST /v1/sessions returned.",
            )
        async with self.fresh(live):
            yield live

    async def _load(self, record: SessionRecord) -> Live:
        policy = self.registry.programmes.policy(record.programme, record.policy_version)
        async with self.database.read() as connection:
            course = await course_of(connection, record)
            return await rebuild.load(connection, record, course, policy, self._draw)

    # --- turns -----------------------------------------------------------------------------

    def turn(self, live: Live) -> Turn:
        """Begin a turn of a session that is held."""
        context = self.context(live.policy)
        return Turn(live, now=self.axis.now(), context=context, draw=self._draw)

    def context(self, policy: Policy | None = None) -> Context:
        """Say what explains an entry made now."""
        described = dict(self.verifier.describe())
        profile = described.pop("profile", "")
        name = f"{policy.name}@{policy.version}" if policy is not None else ""
        return Context(policy=name, models=described, profile=profile)

    async def commit(
        self,
        live: Live,
        turn: Turn,
        before: Callable[[Transaction], Awaitable[None]] | None = None,
        *,
        send: bool = True,
    ) -> None:
        """Make a turn durable, apply it, and set going what follows from it.

        `before` runs first in the same transaction; without `send` the checks of the turn are
        left to the caller. Where the turn needs the learner's lease and another session has it
        for good, the turn ends this session instead.
        """

        async def job(tx: Transaction) -> str | None:
            if before is not None:
                await before(tx)
            return await self._store(tx, live, turn)

        try:
            try:
                ousted = await self.database.write(job)
            except Conflict:
                if not _needs_lease(live, turn):
                    raise
                turn.give_way()
                ousted = await self.database.write(job)
        except IntegrityError as error:
            live.stale = True
            raise Conflict(
                "Somebody else has changed this session meanwhile.", remedy="Send it again."
            ) from error
        except BaseException:
            # Cancelled, or refused by the store: either way only the store knows what happened.
            live.stale = True
            raise
        turn.apply()
        self._follow_up(live, turn, send=send)
        other = self.sessions.get(ousted or "")
        if other is not None and other is not live and other.open:
            self.end_soon(other, CloseReason.TAKEN_OVER)

    async def _store(self, tx: Transaction, live: Live, turn: Turn) -> str | None:
        """Store a turn; returns the session that it took the lease from, if it did."""
        ousted = await self.take_lease(tx, live) if _needs_lease(live, turn) else None
        if turn.closed is not None:
            await lease.release(tx.connection, session_id=live.id)
            await rows.mark(tx.connection, live.id, closed_ms=turn.closed.t)
        for row in turn.presence:
            tx.put_presence(row)
        for row in turn.playback:
            tx.add_playback(row)
        if turn.stream is not None and turn.stream.last_event_id:
            tx.set_position(turn.stream.id, turn.stream.last_event_id)
        await tx.append(turn.entries)
        return ousted

    def _follow_up(self, live: Live, turn: Turn, *, send: bool) -> None:
        spawn = self.scheduler.spawn
        deadline = live.machine.next_deadline
        self.scheduler.at(live.id, None if deadline is None else self.axis.monotonic(deadline))
        if send:
            for asked in turn.asked:
                spawn(self.carry_out(live, asked), what=f"check of {live.id}")
        if turn.resumed:
            spawn(self._expect_identity(live), what=f"stream of {live.id}")
        if turn.closed is not None:
            stream_id, live.stream_id = live.stream_id, None
            if stream_id is not None:
                spawn(self.close_stream(stream_id), what=f"stream of {live.id}")
            spawn(self.fingerprints.keep(live), what=f"frames of {live.id}")
            self._settle_soon(live)

    async def _on_deadline(self, name: str) -> None:
        if name == _HEAD:
            await self.ledger.head(max_age_ms=_HEAD_PERIOD_MS)
            self.scheduler.at(_HEAD, self._clock.stamp().monotonic_ms + _HEAD_PERIOD_MS)
            self.scheduler.pursue("housekeeping", self._keep_house)
            return
        live = self.sessions.get(name)
        if live is None:
            return
        async with self.fresh(live):
            turn = self.turn(live)
            turn.let_pass()
            await self.commit(live, turn)

    async def _keep_house(self) -> None:
        await self.housekeeping.run()

    # --- the verifier ----------------------------------------------------------------------

    async def sink(self, event: StreamEvent) -> None:
        """Take in a stream event; returns once it is durable. Repeats are welcome.

        Raises Conflict for an event whose number another one had, or that is out of turn.
        """
        live = self.sessions.get(event.session_id)
        if live is None:
            await self._late(event)
            return
        async with self.fresh(live):
            stream = live.streams.get(event.stream_id)
            if stream is None:
                raise NotFound(f"Session {live.id} has no stream {event.stream_id}.")
            if live.contradicts(event):
                _log.error(
                    "session %s: stream %s said something else as event %d before: refused",
                    *(live.id, event.stream_id, event.event_id),
                )
                raise Conflict(
                    f"Another event {event.event_id} of stream {event.stream_id} was taken before.",
                    remedy="Give every event a number of its own, and repeat it as it was.",
                )
            if event.event_id <= stream.last_event_id or not live.open:
                return
            if event.event_id != stream.last_event_id + 1:
                raise Conflict(
                    f"Event {event.event_id} came before event {stream.last_event_id + 1}.",
                    remedy="Hand the events of a stream over in order.",
                )
            placed = self.axis.place(
                event.at,
                event.since,
                earliest=live.record.opened_ms,
                step_ms=live.policy.clock.step_s * 1_000,
            )
            turn = self.turn(live)
            if placed.stepped or placed.ahead:
                turn.flag("clock_step", {"boot": event.at.boot_id, "utc_ms": event.at.utc_ms})
            if placed.stepped:
                key = f"fault:clock:{event.at.boot_id}"
                known = min(live.last_turn, placed.at)
                turn.note(SystemFault(key=key, t=known, end=placed.at))
            turn.take_event(event, stream, placed.at, placed.since)
            shown = await self.pictures.sealed(
                turn.shots,
                learner_id=live.record.learner_id,
                session_id=live.id,
                policy=live.policy,
            )

            async def before(tx: Transaction) -> None:
                if shown:
                    await tx.connection.execute(insert(pictures), shown)
                for stamp in placed.news.values():
                    await rows.insert_boot(tx.connection, stamp)

            await self.commit(live, turn, before)
            live.hear(event)
            self.axis.learn(placed.news)
            if self.fingerprints.note(live, event):
                self.scheduler.spawn(self.fingerprints.keep(live), what=f"frames of {live.id}")

    async def _late(self, event: StreamEvent) -> None:
        """Let go of an event of a session that has ended; refuse one that was never opened."""
        async with self.database.read() as connection:
            record = await rows.read_session(connection, event.session_id)
        if record is None or record.settled_ms is None:
            raise unknown_session(event.session_id)

    async def carry_out(self, live: Live, asked: Asked) -> None:
        """Have a check made; a verifier that fails twice is a fault of the service."""
        began = self.axis.now()
        stream_id = live.stream_id
        if stream_id is None:
            return
        not_before = None if asked.not_before is None else self.axis.stamp(asked.not_before)
        request = CheckRequest(check_id=asked.check_id, not_before=not_before)
        rules = live.policy.checks
        challenge = ChallengeRequest(
            check_id=asked.check_id,
            turns=asked.turns,
            window_ms=rules.challenge_window_s(asked.turns) * 1_000,
            attempts=1 + rules.answer_retries,
            not_before=not_before,
        )
        for attempt in range(1, _CHECK_TRIES + 1):
            try:
                async with asyncio.timeout(_CHECK_WITHIN_S):
                    if asked.turns:
                        # Its answer takes as long as the learner does, and comes as an event.
                        await self.verifier.challenge(stream_id, challenge)
                        return
                    event = await self.verifier.check(stream_id, request)
                    await self._handed_over(live, event)
            except StreamGone:
                if live.stream_id == stream_id:
                    live.stream_id = None
                return
            except (BenrenError, TimeoutError) as error:
                _log.warning("check %s, attempt %d: %r", asked.check_id, attempt, error)
            else:
                return
        async with self.fresh(live):
            turn = self.turn(live)
            key = f"fault:{asked.check_id}"
            turn.take(SystemFault(key=key, t=began, end=turn.now))
            await self.commit(live, turn)

    async def _handed_over(self, live: Live, event: StreamEvent) -> None:
        """See to it that the event of a check is taken in, after those before it."""
        while True:
            stream = live.streams[event.stream_id]
            if event.event_id <= stream.last_event_id or not live.open:
                return
            if event.event_id == stream.last_event_id + 1:
                await self.sink(event)
                return
            await live.progress.wait()

    async def _expect_identity(self, live: Live) -> None:
        if live.stream_id is not None:
            try:
                await self.verifier.resume(live.stream_id)
            except StreamGone:
                live.stream_id = None

    async def close_stream(self, stream_id: str) -> None:
        """Close a stream; one that cannot be closed expires by itself."""
        try:
            await self.verifier.close_stream(stream_id)
        except BenrenError as error:
            _log.warning("stream %s could not be closed: %s", stream_id, error)

    # --- leases ----------------------------------------------------------------------------

    async def take_lease(self, tx: Transaction, live: Live) -> str | None:
        """Make a session the one that its learner studies in; returns the one before it."""
        return await lease.take(
            tx.connection,
            learner_id=live.record.learner_id,
            session_id=live.id,
            epoch=live.record.epoch,
            expires_ms=self.axis.now() + live.policy.lease.expiry_s * 1_000,
        )

    async def extend_lease(self, tx: Transaction, live: Live) -> None:
        """Note a heartbeat of the session that its learner studies in."""
        await lease.extend(
            tx.connection,
            learner_id=live.record.learner_id,
            session_id=live.id,
            epoch=live.record.epoch,
            expires_ms=self.axis.now() + live.policy.lease.expiry_s * 1_000,
        )

    # --- the end, and what it comes to -----------------------------------------------------

    async def end(self, live: Live, reason: CloseReason) -> None:
        """End a session, if it has not ended yet; it is settled in the background."""
        async with self.fresh(live):
            if not live.open:
                return
            turn = self.turn(live)
            turn.close(Close(reason=reason))
            await self.commit(live, turn)

    def end_soon(self, live: Live, reason: CloseReason) -> None:
        """End a session in the background, however often the store refuses."""
        self.scheduler.pursue(f"ending {live.id}", lambda: self.end(live, reason))

    def _settle_soon(self, live: Live) -> None:
        self.scheduler.pursue(f"settling {live.id}", lambda: self.settle(live))

    async def settle(self, live: Live) -> None:
        """Write down what a closed session came to, and certify what is due."""
        async with self.fresh(live):
            if live.machine.state not in (State.CLOSED, State.SETTLED):
                return
            if live.record.settled_ms is None:
                await self._open_reviews(live)
                await self._write_settlement(live)
        self.sessions.pop(live.id, None)
        self.scheduler.at(live.id, None)
        await self.grade(live.course)

    async def _open_reviews(self, live: Live) -> None:
        """Ask people about what the rules leave to them; asked again it is the same question."""
        state = await self.course_credit(live.course)
        suspended = next((f for f in live.facts.values() if isinstance(f, Suspended)), None)
        cut = segments_of(state.of(live.id), state.facts[live.id])
        asked = questions(cut, suspended)
        if not asked:
            return
        turn = self.turn(live)

        async def before(tx: Transaction) -> None:
            for question in asked:
                await self.reviews.open_for_session(
                    tx, live.record, question, context=turn.context, policy=live.policy
                )

        for question in asked:
            fact = Disputed(
                key=f"disputed:{question.kind}:{question.start}",
                t=question.start,
                end=question.end,
            )
            data = {"kind": str(question.kind), "opened_by": BY_RULE}
            turn.take_decision(fact, reason=question.cause, data=data)
        await self.commit(live, turn, before)

    async def _write_settlement(self, live: Live) -> None:
        closed = next(f for f in live.facts.values() if isinstance(f, Closed))
        state = await self.course_credit(live.course)
        digest = await self.settlement.evidence_digest(live.id)
        turn = self.turn(live)
        now = turn.now
        session = state.of(live.id)
        cut = segments_of(session, state.facts[live.id])
        for s in cut:
            turn.add_entry(
                kind="segment",
                key=f"segment:{s.start}",
                at_ms=now,
                reason=fate_of(s),
                data=segment_data(s),
            )
        data = settlement_data(session, cut, live.course, live.policy, digest)
        turn.settle(Settled(key="settled", t=now), data, reason=str(closed.reason))

        async def before(tx: Transaction) -> None:
            await rows.mark(tx.connection, live.id, settled_ms=now)

        await self.commit(live, turn, before)

    async def decide(
        self,
        session_id: str,
        decisions: Sequence[Decision],
        *,
        reason: str,
        data: Mapping[str, Any],
        before: Callable[[Transaction], Awaitable[None]] | None = None,
    ) -> CourseCredit:
        """Add decisions of people to a session, in whatever state it is, and grade its course.

        `before` runs first in the transaction that stores them.
        """
        async with self.held(session_id, token=None) as live:
            turn = self.turn(live)
            for fact in decisions:
                _require_within(live, fact)
                turn.take_decision(fact, reason=reason, data=data)
            turn.let_pass()
            await self.commit(live, turn, before)
            self.settlement.forget(session_id)
        await self.grade(live.course)
        return await self.course_credit(live.course)

    async def grade(self, course: Course) -> None:
        """Settle anew what has changed, and certify what is due; one at a time."""
        lock = self._grading.setdefault(course.learner_id, asyncio.Lock())
        async with lock:
            state = await self.course_credit(course)
            context = self.context(state.policy)
            await self.settlement.regrade(state, context)
            await self.certification.certify(state, context)

    async def grade_all(self, learner_id: str) -> None:
        """Settle anew what a decision about the learner changes in his courses."""
        for programme in self.registry.programmes.in_force():
            course = await self.registry.course(learner_id, programme)
            if course is not None:
                await self.grade(course)

    async def course_credit(self, course: Course) -> CourseCredit:
        """Derive a learner's credit in a course, now."""
        return await self.settlement.course_credit(
            course, now_ms=self.axis.now(), running=self._running(course)
        )

    def _running(self, course: Course) -> dict[str, tuple[Fact, ...]]:
        """Give the facts of the sessions of a course that are in memory."""
        return {
            live.id: tuple(live.facts.values())
            for live in self.sessions.of(course.learner_id)
            if live.course == course and not live.stale
        }

    async def view(self, live: Live, turn: Turn | None = None) -> SessionView:
        """Show a session as it stands, or as it will stand once `turn` is durable."""
        if turn is None and live.totals is not None:
            return view_of(live.id, live.machine, live.suspended, live.totals, live.policy)
        facts = live.facts
        if turn is not None:
            facts = {**facts, **{fact.key: fact for fact in turn.facts}}
        state = await self.settlement.course_credit(
            live.course,
            now_ms=self.axis.now(),
            running={**self._running(live.course), live.id: tuple(facts.values())},
            glance=live.record.settled_ms is None,
        )
        totals = totals_of(live.id, state)
        if turn is None:
            live.totals = totals
            return view_of(live.id, live.machine, live.suspended, totals, live.policy)
        turn.totals = totals
        return view_of(live.id, turn.machine, turn.suspended, totals, live.policy)


def _require_within(live: Live, fact: Decision) -> None:
    record = live.record
    end = record.closed_ms
    if fact.t < fact.end and fact.t >= record.opened_ms and (end is None or fact.end <= end):
        return
    raise BadRequest(
        f"The interval {fact.t}-{fact.end} does not lie within the session.",
        remedy=f"It lasted from {record.opened_ms} to {'now' if end is None else end} (UTC ms).",
    )


def holds_lease(live: Live) -> bool:
    """Tell whether a session has been given its learner's lease: to take over needs a pass."""
    return live.record.taking_over is None or live.has_run


def _needs_lease(live: Live, turn: Turn) -> bool:
    return turn.resumed and not holds_lease(live)


def token_hash(token: str) -> str:
    """Give what is stored of a session token: SHA-256, hex (the token is 256 random bits)."""
    return hashlib.sha256(token.encode()).hexdigest()


def unknown_session(session_id: str) -> NotFound:
    """Say that there is no such session."""
    return NotFound(
        f"There is no session {session_id!r}.", remedy="Open one with POST /v1/sessions."
    )
