"""What happens to sessions: events of the verifier, the clock, the end, what people decide."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from session_tracker import lease
from session_tracker.asking import Asking
from session_tracker.axis import Axis
from session_tracker.certification import Certification
from session_tracker.enrolment import Registry
from session_tracker.erasure import Erasure
from session_tracker.events import (
    Closed,
    CloseReason,
    Disputed,
    Judgement,
    Settled,
    Supervised,
    SystemFault,
)
from session_tracker.explain import fate_of
from session_tracker.fingerprints import Fingerprints
from session_tracker.grading import Grading
from session_tracker.housekeeping import Housekeeping
from session_tracker.learner_keys import LearnerKeys
from session_tracker.ledger import HeadsFile, Ledger
from session_tracker.live import Live
from session_tracker.machine import Close, State
from session_tracker.pictures import Pictures
from session_tracker.records import SessionRecord
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
from session_tracker.stream_facts import take_event
from session_tracker.supervision import answered_for
from session_tracker.transitions import LIVELY
from session_tracker.turn import Turn
from session_tracker.turns import Turns, holds_lease, unknown_session
from verifier.clock import Clock
from verifier.errors import BadRequest, Conflict, NotFound, StorageError
from verifier.keys import KeyRing
from verifier.types import StreamEvent, StreamVerifier, TemplateComparer

_log = logging.getLogger("benren.tracker")
_HEAD: Final = "daily head"
_HOUSE: Final = "daily round"
_DAY_MS: Final = 86_400_000


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
        self.certification = Certification(
            database,
            self.settlement,
            self.ledger,
            keyring,
            clock,
            people=self.registry.people,
        )
        self.scheduler = Scheduler(clock, self._on_deadline)
        self.turns = Turns(
            axis=self.axis,
            verifier=verifier,
            database=database,
            programmes=self.registry.programmes,
            draw=draw,
            follow_up=self._follow_up,
        )
        self.asking = Asking(self.turns, verifier, self.sink)
        self.grading = Grading(
            self.turns,
            settlement=self.settlement,
            certification=self.certification,
            registry=self.registry,
        )

    async def raise_curtain(self) -> None:
        """Learn what the store knows of time, listen to the verifier, watch the clock."""
        await self.database.write(lambda tx: rows.insert_boot(tx.connection, self.axis.started))
        async with self.database.read() as connection:
            self.axis.learn(await rows.read_boots(connection))
            unsettled = await rows.read_unsettled(connection)
        self.verifier.subscribe(self.sink)
        self.scheduler.start()
        for daily in (_HEAD, _HOUSE):
            self.scheduler.at(daily, self.axis.started.monotonic_ms)
        for record in unsettled:
            await self._take_up(record)

    async def strangers(self, connection: AsyncConnection) -> bool:
        """Tell whether a process that we never heard of has come: another tracker."""
        return bool(self.axis.unheard_of(await rows.read_boots(connection)))

    async def _take_up(self, record: SessionRecord) -> None:
        """Go on with a session after a restart: the time without us was a fault of the service."""
        live = await self.turns.load(record)
        self.turns.sessions[live.id] = live
        if live.machine.state is State.CLOSED:
            self._settle_soon(live)
            return
        async with live.lock:
            turn = self.turns.turn(live)
            known, now = live.last_turn, self.axis.now()
            stepped = known - now > live.policy.clock.step_s * 1_000
            lost = live.machine.challenged_at is not None  # with the stream that it was shown on
            if live.machine.state in LIVELY or lost or stepped:
                key = f"fault:{self.axis.started.boot_id}"
                began = known if stepped else min(known, now)
                turn.note(SystemFault(key=key, t=began, end=max(known, now)))
            if stepped:
                # The clock was set back: what came now would lie in time that is over already.
                turn.flag("clock_step", {"boot": self.axis.started.boot_id, "utc_ms": now})
                turn.close(Close(reason=CloseReason.SYSTEM_ERROR))
            turn.let_pass()
            await self.turns.commit(live, turn)
        async with self.database.read() as connection:
            held = await lease.current(connection, record.learner_id)
        if held is not None and held.epoch > record.epoch and holds_lease(live):
            # It was taken over, and we went down before it had ended.
            self.end_soon(live, CloseReason.TAKEN_OVER)

    def _follow_up(self, live: Live, turn: Turn, ousted: str | None, send: bool) -> None:
        spawn = self.scheduler.spawn
        deadline = live.machine.next_deadline
        self.scheduler.at(live.id, None if deadline is None else self.axis.monotonic(deadline))
        if send:
            for asked in turn.asked:
                spawn(self.asking.carry_out(live, asked), what=f"check of {live.id}")
        if turn.resumed:
            spawn(self.asking.expect_identity(live), what=f"stream of {live.id}")
        if turn.closed is not None:
            stream_id, live.stream_id = live.stream_id, None
            if stream_id is not None:
                spawn(self.asking.close_stream(stream_id), what=f"stream of {live.id}")
            self._keep_fingerprints(live)
            self._settle_soon(live)
        other = self.turns.sessions.get(ousted or "")
        if other is not None and other is not live and other.open:
            self.end_soon(other, CloseReason.TAKEN_OVER)

    async def _on_deadline(self, name: str) -> None:
        if name == _HEAD:
            await self._sign_daily()
            return
        if name == _HOUSE:
            self.scheduler.at(_HOUSE, self._clock.stamp().monotonic_ms + _DAY_MS)
            self.scheduler.pursue("housekeeping", self._keep_house)
            return
        live = self.turns.sessions.get(name)
        if live is None:
            return
        async with self.turns.fresh(live):
            turn = self.turns.turn(live)
            turn.let_pass()
            await self.turns.commit(live, turn)

    async def _sign_daily(self) -> None:
        """See to it that no entry is without a signed head over it for more than a day."""
        head = await self.ledger.head(max_age_ms=_DAY_MS)
        now = self._clock.stamp()
        age = now.utc_ms - head.at_ms
        # One that is older although we asked covers everything: nothing was added since.
        wait = _DAY_MS - age if 0 <= age < _DAY_MS else _DAY_MS
        self.scheduler.at(_HEAD, now.monotonic_ms + wait)

    async def _keep_house(self) -> None:
        await self.housekeeping.run()

    # --- the verifier ----------------------------------------------------------------------

    async def sink(self, event: StreamEvent) -> None:
        """Take in a stream event; returns once it is durable. Repeats are welcome.

        Raises Conflict for an event whose number another one had, or that is out of turn.
        """
        live = self.turns.sessions.get(event.session_id)
        if live is None:
            await self._late(event)
            return
        async with self.turns.fresh(live):
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
            turn = self.turns.turn(live)
            if placed.stepped or placed.ahead:
                turn.flag("clock_step", {"boot": event.at.boot_id, "utc_ms": event.at.utc_ms})
            if placed.stepped:
                key = f"fault:clock:{event.at.boot_id}"
                known = min(live.last_turn, placed.at)
                turn.note(SystemFault(key=key, t=known, end=placed.at))
            take_event(turn, event, stream, placed.at, placed.since)
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

            await self.turns.commit(live, turn, before)
            live.hear(event)
            self.axis.learn(placed.news)
            if self.fingerprints.note(live, event):
                self._keep_fingerprints(live)

    def _keep_fingerprints(self, live: Live) -> None:
        name = f"frames of {live.id}"
        self.scheduler.pursue(name, lambda: self.fingerprints.keep(live.id))

    async def _late(self, event: StreamEvent) -> None:
        """Let go of an event of a session that has ended; refuse one that was never opened."""
        async with self.database.read() as connection:
            record = await rows.read_session(connection, event.session_id)
        if record is None or record.settled_ms is None:
            raise unknown_session(event.session_id)

    # --- the end, and what it comes to -----------------------------------------------------

    async def end(self, live: Live, reason: CloseReason) -> None:
        """End a session, if it has not ended yet; it is settled in the background."""
        async with self.turns.fresh(live):
            if not live.open:
                return
            turn = self.turns.turn(live)
            turn.close(Close(reason=reason))
            await self.turns.commit(live, turn)

    async def end_all(self, concerns: Callable[[SessionRecord], bool]) -> None:
        """End what is concerned; one that cannot be ended now holds up no other."""
        failures = []
        for live in [*self.turns.sessions.values()]:
            if concerns(live.record):
                try:
                    await self.end(live, CloseReason.LEARNER)
                except Exception as error:  # noqa: BLE001 - told below, once all were tried
                    _log.exception("session %s could not be ended", live.id)
                    self.end_soon(live, CloseReason.LEARNER)
                    failures.append(error)
        if failures:
            raise StorageError(
                f"{len(failures)} sessions could not be ended yet: {failures[0]}",
                remedy="They are ended as soon as the store allows it; asking again does no harm.",
            ) from failures[0]

    def end_soon(self, live: Live, reason: CloseReason) -> None:
        """End a session in the background, however often the store refuses."""
        self.scheduler.pursue(f"ending {live.id}", lambda: self.end(live, reason))

    def _settle_soon(self, live: Live) -> None:
        self.scheduler.pursue(f"settling {live.id}", lambda: self.settle(live))

    async def settle(self, live: Live) -> None:
        """Write down what a closed session came to, and certify what is due."""
        async with self.turns.fresh(live):
            if live.machine.state not in (State.CLOSED, State.SETTLED):
                return
            if live.record.settled_ms is None:
                await self._open_reviews(live)
                await self._write_settlement(live)
        self.turns.sessions.pop(live.id, None)
        self.scheduler.at(live.id, None)
        await self.grading.grade(live.course)

    async def _open_reviews(self, live: Live) -> None:
        """Ask people about what the rules leave to them; asked again it is the same question."""
        state = await self.grading.course_credit(live.course)
        cut = segments_of(state.of(live.id), state.facts[live.id])
        asked = questions(cut, tuple(live.facts.values()))
        if not asked:
            return
        turn = self.turns.turn(live)

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
        await self.turns.commit(live, turn, before)

    async def _write_settlement(self, live: Live) -> None:
        closed = next(f for f in live.facts.values() if isinstance(f, Closed))
        state = await self.grading.course_credit(live.course)
        digest = await self.settlement.evidence_digest(live.id)
        turn = self.turns.turn(live)
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

        await self.turns.commit(live, turn, before)

    async def decide(
        self,
        session_id: str,
        judgements: Sequence[Judgement],
        *,
        reason: str,
        data: Mapping[str, Any],
        before: Callable[[Transaction], Awaitable[None]] | None = None,
    ) -> CourseCredit:
        """Add what people decided to a session, in whatever state it is, and grade its course.

        `before` runs first in the transaction that stores it.
        """
        async with self.turns.held(session_id, token=None) as live:
            turn = self.turns.turn(live)
            for judgement in judgements:
                _require_within(live, judgement)
                turn.take_decision(judgement, reason=reason, data=data)
            await self._commit_decision(live, turn, before)
        return await self._graded(live)

    async def supervise(
        self,
        session_id: str,
        *,
        start: int,
        end: int,
        reason: str,
        data: Mapping[str, Any],
        keep: Callable[[Transaction, str], Awaitable[None]],
    ) -> Supervised:
        """Add that staff answer for the learner, where they may.

        `keep` is called with the fact's key in the transaction that stores it. Raises as
        `answered_for`.
        """
        async with self.turns.held(session_id, token=None) as live:
            turn = self.turns.turn(live)
            turn.let_pass()  # what is due comes first: whether the session still runs, above all
            state = turn.machine.state
            fact = answered_for(live, state, start, end, now=self.axis.now())
            turn.take_decision(fact, reason=reason, data=data)
            await self._commit_decision(live, turn, lambda tx: keep(tx, fact.key))
        await self._graded(live)
        return fact

    async def _commit_decision(
        self,
        live: Live,
        turn: Turn,
        before: Callable[[Transaction], Awaitable[None]] | None = None,
    ) -> None:
        turn.let_pass()
        await self.turns.commit(live, turn, before)
        self.settlement.forget(live.id)

    async def _graded(self, live: Live) -> CourseCredit:
        await self.grading.grade(live.course)
        return await self.grading.course_credit(live.course)


def _require_within(live: Live, fact: Judgement) -> None:
    record = live.record
    end = record.closed_ms
    if fact.t < fact.end and fact.t >= record.opened_ms and (end is None or fact.end <= end):
        return
    raise BadRequest(
        f"The interval {fact.t}-{fact.end} does not lie within the session.",
        remedy=f"It lasted from {record.opened_ms} to {'now' if end is None else end} (UTC ms).",
    )
