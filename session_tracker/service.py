"""Where everything meets: stream events become facts, rules become actions, all of it durable.

Every session is worked on under its own lock; different sessions run beside each other. A turn
is stored in one transaction with its ledger entries before anybody hears of it. Sessions that
the process held when it died are rebuilt from the store at the next start.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final
from weakref import WeakValueDictionary

from sqlalchemy.exc import IntegrityError

from session_tracker import lease, rebuild, states
from session_tracker.audit import Audit, audit_database
from session_tracker.enrolment import (
    Admission,
    Consent,
    Registry,
    begin_course,
    course_of,
)
from session_tracker.events import (
    Closed,
    CloseReason,
    Fact,
    Opened,
    Settled,
    SystemFault,
)
from session_tracker.ledger import Context, Head, Ledger
from session_tracker.live import Asked, Live, Report, Turn
from session_tracker.machine import LIVE_STATES, AskCheck, Close, Machine, State
from session_tracker.policy import Policy
from session_tracker.records import Course, SessionRecord, StreamRecord
from session_tracker.scheduler import Scheduler
from session_tracker.settlement import CourseCredit, Settlement, settlement_data
from session_tracker.store import sessions as rows
from session_tracker.store.database import Database
from session_tracker.store.writer import Transaction
from session_tracker.timeline import to_utc_ms
from session_tracker.views import SessionView, totals_of, view_of
from verifier.clock import Clock, Stamp
from verifier.errors import (
    BadRequest,
    BenrenError,
    Conflict,
    NotFound,
    StreamGone,
    Unauthorised,
)
from verifier.keys import KeyRing
from verifier.types import CheckRequest, StreamEvent, StreamGrant, StreamSpec, StreamVerifier

_log = logging.getLogger("benren.tracker")
_HEAD: Final = "daily head"
_HEAD_PERIOD_MS: Final = 86_400_000
_CHECK_TRIES: Final = 2
_HANDED_OVER_WITHIN_S: Final = 30.0
"""The event of a check that was answered has to arrive within this (real time)."""
_SYSTEM_RANDOM: Final = secrets.SystemRandom()


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedSession:
    """What whoever opened a session gets."""

    session_id: str
    session_token: str
    """For the learner's device; kept by us as a hash only."""
    grant: StreamGrant
    view: SessionView


class SessionService:
    """The tracker. `start` before use, `stop` after."""

    def __init__(
        self,
        *,
        clock: Clock,
        verifier: StreamVerifier,
        database: Database,
        policies: Sequence[Policy],
        keyring: KeyRing,
        draw: Callable[[], float] = _SYSTEM_RANDOM.random,
    ) -> None:
        self._clock = clock
        self._verifier = verifier
        self._database = database
        self._policies = tuple(policies)
        self._keyring = keyring
        self._draw = draw
        self.ledger = Ledger(database, keyring, clock)
        self.registry = Registry(database, clock)
        self.settlement = Settlement(database, self.registry, self.ledger, keyring, clock)
        self._scheduler = Scheduler(clock, self._on_deadline)
        self._sessions: dict[str, Live] = {}
        self._anchors: dict[str, Stamp] = {}
        self._grading: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._started = clock.stamp()

    # --- life ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the store, migrate, and take up the sessions that were running.

        Raises ConfigurationError or StorageError with the remedy.
        """
        await self._database.open()
        self._anchors = {self._started.boot_id: self._started}
        await self._database.write(lambda tx: rows.insert_boot(tx.connection, self._started))
        async with self._database.read() as connection:
            self._anchors |= await rows.read_boots(connection)
            unsettled = await rows.read_unsettled(connection)
        await self.registry.register_policies(self._policies)
        self._verifier.subscribe(self.sink)
        self._scheduler.start()
        self._scheduler.at(_HEAD, self._started.monotonic_ms + _HEAD_PERIOD_MS)
        for record in unsettled:
            await self._take_up(record)

    async def stop(self) -> None:
        """Finish what is in flight, sign a last head and close the store."""
        await self._scheduler.stop()
        await self._database.close()

    async def probe(self) -> None:
        """Raise StorageError where nothing can be recorded."""
        await self._database.probe()

    async def settled(self) -> None:
        """Return once nothing is due and no action is in flight; for a clock moved by hand."""
        await self._scheduler.settled()

    async def _take_up(self, record: SessionRecord) -> None:
        """Go on with a session after a restart: the time without us was a fault of the service."""
        policy = self.registry.policy(record.programme, record.policy_version)
        async with self._database.read() as connection:
            course = await course_of(connection, record)
            live = await rebuild.load(connection, record, course, policy, self._draw)
        self._sessions[live.id] = live
        if live.machine.state is State.CLOSED:
            self._scheduler.spawn(self._settle(live), what=f"settling {live.id}")
            return
        async with live.lock:
            turn = self._turn(live)
            if live.machine.state is State.RUNNING:
                known, now = live.last_turn, self._now()
                key = f"fault:{self._started.boot_id}"
                turn.note(SystemFault(key=key, t=min(known, now), end=max(known, now)))
            turn.let_pass()
            await self._commit(live, turn)

    # --- sessions --------------------------------------------------------------------------

    async def open_session(
        self,
        *,
        learner_id: str,
        consent_id: str,
        programme: str,
        media: Sequence[str],
        take_over: bool = False,
    ) -> OpenedSession:
        """Open a session and its stream.

        Raises NotFound, Refused with the reason, Conflict where the learner studies elsewhere
        and `take_over` is not set, TemplateError.
        """
        admission = await self.registry.admit(
            learner_id=learner_id, consent_id=consent_id, programme=programme
        )
        held = await self._held_elsewhere(learner_id, take_over=take_over)
        token = f"sst_{secrets.token_urlsafe(32)}"
        async with self._database.read() as connection:
            epoch = 1 + await rows.last_epoch(connection, learner_id)
        record = SessionRecord(
            id=f"ses_{secrets.token_hex(12)}",
            learner_id=learner_id,
            programme=programme,
            course=admission.course.course,
            policy_version=admission.policy.version,
            consent_id=consent_id,
            media=tuple(media),
            token_hash=_hash(token),
            epoch=epoch,
            template_version=admission.template.version,
            taking_over=held,
            opened_ms=self._now(),
        )
        live = Live(
            record=record, course=admission.course, policy=admission.policy, machine=Machine()
        )
        async with live.lock:
            self._sessions[live.id] = live  # events wait for the lock
            try:
                grant = await self._open(live, admission)
            except BaseException:
                del self._sessions[live.id]
                raise
        return OpenedSession(
            session_id=live.id, session_token=token, grant=grant, view=await self.view(live.id)
        )

    async def _open(self, live: Live, admission: Admission) -> StreamGrant:
        record = live.record
        spec = StreamSpec(
            session_id=live.id,
            subject=record.learner_id,
            template=admission.blob,
            policy=live.policy.presence(),
        )
        grant = await self._verifier.open_stream(spec)
        stream = StreamRecord(id=grant.stream_id, number=1, last_event_id=0, track_offset=0)
        turn = self._turn(live)
        turn.add_entry(
            kind="session",
            key="session",
            at_ms=record.opened_ms,
            data={
                "learner": record.learner_id,
                "programme": record.programme,
                "course": record.course,
                "track": str(admission.course.track),
                "consent": record.consent_id,
                "template_version": record.template_version,
                "provenance": str(admission.template.provenance),
                "media": list(record.media),
                "epoch": record.epoch,
                "taking_over": record.taking_over,
            },
        )
        turn.take(Opened(key="opened", t=record.opened_ms))
        turn.stream = stream

        async def before(tx: Transaction) -> None:
            if admission.begins:
                await begin_course(tx, admission.course, record.opened_ms)
            if record.taking_over is None:
                await self._take_lease(tx, live)
            await rows.insert_session(tx.connection, record)
            await rows.insert_stream(
                tx.connection, stream, session_id=live.id, opened_ms=record.opened_ms
            )

        try:
            await self._commit(live, turn, before)
        except BaseException:
            await self._close_stream(grant.stream_id)
            raise
        live.stream_id = grant.stream_id
        return grant

    async def _held_elsewhere(self, learner_id: str, *, take_over: bool) -> str | None:
        """Name the session that holds the learner's lease; end it where the lease has expired."""
        async with self._database.read() as connection:
            held = await lease.current(connection, learner_id)
        if held is None:
            return None
        if held.live(self._now()):
            if not take_over:
                raise lease.refuse_parallel()
            return held.session_id
        other = self._sessions.get(held.session_id)
        if other is not None and other.open:
            await self._end(other, CloseReason.EXPIRED)
        return None

    async def reopen_stream(self, session_id: str, token: str) -> StreamGrant:
        """Open a new stream for a running session: after a drop, or after we were restarted."""
        async with self._held(session_id, token=token) as live:
            _require_open(live)
            template = await self.registry.template(live.record.learner_id)
            if template.blob is None or template.version != live.record.template_version:
                raise Conflict(
                    "The face that this session was opened with is not enrolled any more.",
                    remedy="Close this session and open another.",
                )
            if live.stream_id is not None:
                await self._close_stream(live.stream_id)
                live.stream_id = None
            spec = StreamSpec(
                session_id=live.id,
                subject=live.record.learner_id,
                template=template.blob,
                policy=live.policy.presence(),
            )
            grant = await self._verifier.open_stream(spec)
            stream = StreamRecord(
                id=grant.stream_id,
                number=1 + len(live.streams),
                last_event_id=0,
                track_offset=live.top_track,
            )
            turn = self._turn(live)
            data = {"stream": grant.stream_id, "number": stream.number}
            turn.add_entry(kind="stream", key=f"stream:{stream.number}", at_ms=turn.now, data=data)
            turn.stream = stream
            turn.let_pass()

            async def before(tx: Transaction) -> None:
                await rows.insert_stream(
                    tx.connection, stream, session_id=live.id, opened_ms=turn.now
                )

            await self._commit(live, turn, before)
            live.stream_id = grant.stream_id
            return grant

    async def report(self, session_id: str, token: str, report: Report) -> SessionView:
        """Take in a playback report, which is a heartbeat too; a repeat gets the first answer."""
        async with self._held(session_id, token=token) as live:
            first = live.answers.get(report.seq)
            if first is not None:
                digest, answer = first
                if digest != report.digest:
                    raise Conflict(
                        f"Another report with seq {report.seq} was taken before.",
                        remedy="Count seq up by one for every new report.",
                    )
                return SessionView(**json.loads(answer))
            _require_open(live)
            if report.media_id not in live.record.media:
                raise BadRequest(
                    f"The session was not opened for the medium {report.media_id!r}.",
                    remedy=f"It was opened for: {', '.join(live.record.media)}.",
                )
            turn = self._turn(live)
            turn.take_report(report)
            view = await self._view_after(live, turn)
            answer = json.dumps(view.as_json(), separators=(",", ":"))
            turn.playback[-1]["answer"] = answer
            turn.answer = (report.seq, report.digest, answer)
            holds = live.record.taking_over is None or _has_run(live)

            async def before(tx: Transaction) -> None:
                if holds and turn.closed is None:
                    await self._extend_lease(tx, live)

            await self._commit(live, turn, before)
            return view

    async def view(self, session_id: str, token: str | None = None) -> SessionView:
        """Tell the learner's device where it stands: no score, no check, no cause."""
        async with self._held(session_id, token=token) as live:
            return await self._view_after(live, None)

    async def close(self, session_id: str, token: str | None = None) -> SessionView:
        """End a session for the learner: the end check, the end, the settlement."""
        async with self._held(session_id, token=token) as live:
            ask = next(
                (a for a in states.wind_up(live.machine, live.policy) if isinstance(a, AskCheck)),
                None,
            )
            asked = None
            if ask is not None and live.stream_id is not None:
                turn = self._turn(live)
                asked = turn.ask(ask)
                turn.machine = replace(turn.machine, asked_at=turn.now)
                await self._commit(live, turn, send=False)
        if asked is not None:
            await self._carry_out(live, asked)
        await self._end(live, CloseReason.LEARNER)
        await self._settle(live)
        # Where the end came from elsewhere a moment ago, its grading may still be under way.
        await self._grade(live.course)
        return await self.view(session_id)

    async def withdraw_consent(self, learner_id: str, consent_id: str) -> Consent:
        """Record that a consent no longer holds, and end the sessions that rest on it."""
        consent = await self.registry.withdraw_consent(learner_id, consent_id)
        for live in [*self._sessions.values()]:
            if live.record.consent_id == consent_id and live.open:
                await self._end(live, CloseReason.LEARNER)
        return consent

    # --- credit ----------------------------------------------------------------------------

    async def course_credit(self, learner_id: str, programme: str) -> CourseCredit:
        """Derive where a learner stands. Raises NotFound where no course was begun."""
        await self.registry.learner(learner_id)
        course = await self.registry.course(learner_id, programme)
        if course is None:
            raise NotFound(f"The learner has not begun the programme {programme!r}.")
        return await self._course_credit(course)

    async def _course_credit(self, course: Course) -> CourseCredit:
        return await self.settlement.course_credit(
            course, now_ms=self._now(), running=self._running(course)
        )

    def _running(self, course: Course) -> dict[str, tuple[Fact, ...]]:
        """Give the facts of the sessions of a course that are in memory."""
        return {
            live.id: tuple(live.facts.values())
            for live in self._sessions.values()
            if live.course == course and not live.stale
        }

    async def session_credit(self, session_id: str) -> tuple[SessionRecord, CourseCredit]:
        """Derive the course that a session belongs to. Raises NotFound."""
        async with self._database.read() as connection:
            record = await rows.read_session(connection, session_id)
            if record is None:
                raise _unknown(session_id)
            course = await course_of(connection, record)
        return record, await self._course_credit(course)

    async def facts(self, session_id: str) -> list[Fact]:
        """Give a session's facts, in order of time."""
        live = self._sessions.get(session_id)
        if live is not None and not live.stale:
            found = live.facts
        else:
            async with self._database.read() as connection:
                found = await rebuild.facts_of(connection, session_id)
        return sorted(found.values(), key=lambda fact: (fact.t, fact.key))

    async def confirm_template(self, learner_id: str, *, reason: str) -> None:
        """Confirm the enrolment, settle provisional hours for good, and certify what is due."""
        await self.registry.confirm_template(learner_id, reason=reason)
        for programme in self.registry.policies():
            course = await self.registry.course(learner_id, programme)
            if course is not None:
                await self._grade(course)

    async def audit(self) -> Audit:
        """Check the whole ledger."""
        return await audit_database(self._database, self._keyring)

    async def head(self) -> Head:
        """Give the signed head of the ledger as it stands."""
        return await self.ledger.head()

    def context(self, policy: Policy | None = None) -> Context:
        """Say what explains an entry made now."""
        described = dict(self._verifier.describe())
        profile = described.pop("profile", "")
        name = f"{policy.name}@{policy.version}" if policy is not None else ""
        return Context(policy=name, models=described, profile=profile)

    # --- stream events ---------------------------------------------------------------------

    async def sink(self, event: StreamEvent) -> None:
        """Take in a stream event; returns once it is durable. Repeats are welcome."""
        live = self._sessions.get(event.session_id)
        if live is None:
            await self._late(event)
            return
        async with self._fresh(live):
            stream = live.streams.get(event.stream_id)
            if stream is None:
                raise NotFound(f"Session {live.id} has no stream {event.stream_id}.")
            if event.event_id <= stream.last_event_id or not live.open:
                return
            if event.event_id != stream.last_event_id + 1:
                raise Conflict(
                    f"Event {event.event_id} came before event {stream.last_event_id + 1}.",
                    remedy="Hand the events of a stream over in order.",
                )
            news = [s for s in (event.at, event.since) if s and s.boot_id not in self._anchors]
            anchors = {**self._anchors, **{stamp.boot_id: stamp for stamp in reversed(news)}}
            at = to_utc_ms(event.at, anchors)
            since = at if event.since is None else to_utc_ms(event.since, anchors)
            turn = self._turn(live)
            turn.take_event(event, stream, at, since)

            async def before(tx: Transaction) -> None:
                for stamp in news[:1]:
                    await rows.insert_boot(tx.connection, stamp)

            await self._commit(live, turn, before)
            self._anchors = anchors

    async def _late(self, event: StreamEvent) -> None:
        """Let go of an event of a session that has ended; refuse one that was never opened."""
        async with self._database.read() as connection:
            record = await rows.read_session(connection, event.session_id)
        if record is None or record.settled_ms is None:
            raise _unknown(event.session_id)

    # --- actions ---------------------------------------------------------------------------

    async def _on_deadline(self, name: str) -> None:
        if name == _HEAD:
            self._scheduler.at(_HEAD, self._clock.stamp().monotonic_ms + _HEAD_PERIOD_MS)
            await self.ledger.head()
            return
        live = self._sessions.get(name)
        if live is None:
            return
        async with self._fresh(live):
            turn = self._turn(live)
            turn.let_pass()
            await self._commit(live, turn)

    async def _carry_out(self, live: Live, asked: Asked) -> None:
        """Have a check made; a verifier that fails twice is a fault of the service."""
        began = self._now()
        stream_id = live.stream_id
        if stream_id is None:
            return
        request = CheckRequest(check_id=asked.check_id, not_before=self._stamp_of(asked.not_before))
        for attempt in range(1, _CHECK_TRIES + 1):
            try:
                event = await self._verifier.check(stream_id, request)
            except StreamGone:
                if live.stream_id == stream_id:
                    live.stream_id = None
                return
            except BenrenError as error:
                _log.warning("check %s, attempt %d: %s", asked.check_id, attempt, error)
            else:
                await self._handed_over(live, event)
                return
        async with self._fresh(live):
            turn = self._turn(live)
            key = f"fault:{asked.check_id}"
            turn.take(SystemFault(key=key, t=began, end=turn.now))
            await self._commit(live, turn)

    async def _handed_over(self, live: Live, event: StreamEvent) -> None:
        """See to it that the event of a check is taken in, after those before it."""
        async with asyncio.timeout(_HANDED_OVER_WITHIN_S):
            while True:
                stream = live.streams[event.stream_id]
                if event.event_id <= stream.last_event_id or not live.open:
                    return
                if event.event_id == stream.last_event_id + 1:
                    await self.sink(event)
                    return
                await live.progress.wait()

    async def _end(self, live: Live, reason: CloseReason) -> None:
        async with self._fresh(live):
            if not live.open:
                return
            turn = self._turn(live)
            turn.close(Close(reason=reason))
            await self._commit(live, turn)

    async def _settle(self, live: Live) -> None:
        """Write down what a closed session came to, and certify what is due."""
        course = live.course
        async with self._fresh(live):
            if live.machine.state is not State.CLOSED or live.record.settled_ms is not None:
                return
            closed = next(f for f in live.facts.values() if isinstance(f, Closed))
            state = await self._course_credit(course)
            digest = await self.settlement.evidence_digest(live.id)
            turn = self._turn(live)
            now = turn.now
            data = settlement_data(state.of(live.id), course, live.policy, digest)
            turn.settle(Settled(key="settled", t=now), data, reason=str(closed.reason))

            async def before(tx: Transaction) -> None:
                await rows.mark(tx.connection, live.id, settled_ms=now)

            await self._commit(live, turn, before)
        self._sessions.pop(live.id, None)
        self._scheduler.at(live.id, None)
        await self._grade(course)

    async def _grade(self, course: Course) -> None:
        """Settle anew what has changed, and certify what is due; one at a time."""
        lock = self._grading.setdefault(course.learner_id, asyncio.Lock())
        async with lock:
            state = await self._course_credit(course)
            context = self.context(state.policy)
            await self.settlement.regrade(state, context)
            await self.settlement.certify(state, context)

    # --- the machinery of a turn -----------------------------------------------------------

    def _now(self) -> int:
        return to_utc_ms(self._clock.stamp(), {self._started.boot_id: self._started})

    def _turn(self, live: Live) -> Turn:
        return Turn(live, now=self._now(), context=self.context(live.policy), draw=self._draw)

    @asynccontextmanager
    async def _fresh(self, live: Live) -> AsyncIterator[Live]:
        """Hold a session; read it from the store first where a write of it failed."""
        async with live.lock:
            if live.stale:
                async with self._database.read() as connection:
                    await rebuild.reload(connection, live, self._draw)
            yield live

    @asynccontextmanager
    async def _held(self, session_id: str, *, token: str | None) -> AsyncIterator[Live]:
        """Hold a session by id; with a token, only its own. Raises NotFound, Unauthorised."""
        live = self._sessions.get(session_id)
        if live is None:
            async with self._database.read() as connection:
                record = await rows.read_session(connection, session_id)
                if record is None:
                    raise _unknown(session_id)
                policy = self.registry.policy(record.programme, record.policy_version)
                course = await course_of(connection, record)
                live = await rebuild.load(connection, record, course, policy, self._draw)
        if token is not None and not hmac.compare_digest(_hash(token), live.record.token_hash):
            raise Unauthorised(
                "The token does not belong to this session.",
                remedy="Send the session_token that POST /v1/sessions returned.",
            )
        async with self._fresh(live):
            yield live

    async def _commit(
        self,
        live: Live,
        turn: Turn,
        before: Callable[[Transaction], Awaitable[None]] | None = None,
        *,
        send: bool = True,
    ) -> None:
        """Make a turn durable, apply it, and set going what follows from it."""

        async def job(tx: Transaction) -> None:
            if before is not None:
                await before(tx)
            await self._store(tx, live, turn)

        try:
            await self._database.write(job)
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

    async def _store(self, tx: Transaction, live: Live, turn: Turn) -> None:
        if turn.resumed and live.record.taking_over is not None and not _has_run(live):
            await self._take_lease(tx, live)
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

    def _follow_up(self, live: Live, turn: Turn, *, send: bool) -> None:
        self._scheduler.at(live.id, self._monotonic(live.machine.next_deadline))
        if send:
            for asked in turn.asked:
                self._scheduler.spawn(self._carry_out(live, asked), what=f"check of {live.id}")
        if turn.resumed:
            self._scheduler.spawn(self._expect_identity(live), what=f"stream of {live.id}")
            other = self._sessions.get(live.record.taking_over or "")
            if other is not None and other.open:
                self._scheduler.spawn(
                    self._end(other, CloseReason.TAKEN_OVER), what=f"taking over {other.id}"
                )
        if turn.closed is not None:
            stream_id, live.stream_id = live.stream_id, None
            if stream_id is not None:
                self._scheduler.spawn(self._close_stream(stream_id), what=f"stream of {live.id}")
            self._scheduler.spawn(self._settle(live), what=f"settling {live.id}")

    async def _expect_identity(self, live: Live) -> None:
        if live.stream_id is not None:
            try:
                await self._verifier.resume(live.stream_id)
            except StreamGone:
                live.stream_id = None

    async def _close_stream(self, stream_id: str) -> None:
        try:
            await self._verifier.close_stream(stream_id)
        except BenrenError as error:
            _log.warning("stream %s could not be closed: %s", stream_id, error)

    async def _take_lease(self, tx: Transaction, live: Live) -> None:
        await lease.take(
            tx.connection,
            learner_id=live.record.learner_id,
            session_id=live.id,
            epoch=live.record.epoch,
            expires_ms=self._now() + live.policy.lease.expiry_s * 1_000,
        )

    async def _extend_lease(self, tx: Transaction, live: Live) -> None:
        await lease.extend(
            tx.connection,
            learner_id=live.record.learner_id,
            session_id=live.id,
            epoch=live.record.epoch,
            expires_ms=self._now() + live.policy.lease.expiry_s * 1_000,
        )

    async def _view_after(self, live: Live, turn: Turn | None) -> SessionView:
        """Show a session as it stands, or as it will stand once `turn` is durable."""
        if turn is None and live.totals is not None:
            return view_of(live.id, live.machine, live.suspended, live.totals, live.policy)
        facts = live.facts
        if turn is not None:
            facts = {**facts, **{fact.key: fact for fact in turn.facts}}
        state = await self.settlement.course_credit(
            live.course,
            now_ms=self._now(),
            running={**self._running(live.course), live.id: tuple(facts.values())},
            glance=live.record.settled_ms is None,
        )
        totals = totals_of(live.id, state)
        if turn is None:
            live.totals = totals
            return view_of(live.id, live.machine, live.suspended, totals, live.policy)
        turn.totals = totals
        return view_of(live.id, turn.machine, turn.suspended, totals, live.policy)

    def _monotonic(self, utc_ms: int | None) -> int | None:
        if utc_ms is None:
            return None
        return self._started.monotonic_ms + utc_ms - self._started.utc_ms

    def _stamp_of(self, utc_ms: int | None) -> Stamp | None:
        """Give an instant of the session's axis as a stamp of this boot."""
        if utc_ms is None:
            return None
        return Stamp(
            boot_id=self._started.boot_id,
            monotonic_ms=self._started.monotonic_ms + utc_ms - self._started.utc_ms,
            utc_ms=utc_ms,
        )


def _has_run(live: Live) -> bool:
    return any(fact.key.startswith("resumed:") for fact in live.facts.values())


def _require_open(live: Live) -> None:
    if live.machine.state in LIVE_STATES:
        return
    closed = next((f for f in live.facts.values() if isinstance(f, Closed)), None)
    taken = closed is not None and closed.reason is CloseReason.TAKEN_OVER
    raise Conflict(
        "The learner studies on another device by now."
        if taken
        else f"The session has ended ({closed.reason if closed else live.machine.state}).",
        remedy="Open a new session.",
    )


def _unknown(session_id: str) -> NotFound:
    return NotFound(f"There is no session {session_id!r}.", remedy="Open one: POST /v1/sessions.")


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
