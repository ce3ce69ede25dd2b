"""The tracker, as its API, its operators and its demo see it: sessions, credit, records.

Stream events become facts, rules become actions, all of it durable: that machinery is `stage`.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from session_tracker import lease, rebuild, states
from session_tracker.audit import Audit, audit_database
from session_tracker.casework import Casework
from session_tracker.catalogue import Catalogue
from session_tracker.certification import Certification
from session_tracker.credit import SessionCredit
from session_tracker.dispatch import Dispatcher
from session_tracker.enrolment import (
    Admission,
    Consent,
    Registry,
    SupervisedAdmission,
    begin_course,
    course_of,
)
from session_tracker.erasure import Erased
from session_tracker.events import (
    Closed,
    CloseReason,
    Decision,
    Fact,
    Opened,
    Supervised,
)
from session_tracker.explain import Explanation, explain, for_learner
from session_tracker.exports import Exports
from session_tracker.housekeeping import Swept
from session_tracker.learner_keys import LearnerKeys
from session_tracker.ledger import Context, Head, HeadsFile, Ledger
from session_tracker.live import Live, Report
from session_tracker.machine import AskCheck, Machine
from session_tracker.office import Office
from session_tracker.outbox import Outbox
from session_tracker.paper import Paper
from session_tracker.policy import Policy
from session_tracker.printing import Printer
from session_tracker.records import Registration, SessionRecord, StreamRecord
from session_tracker.refusals import SessionEnded, TakenOver
from session_tracker.settle_all import CourseOutcome, settle_all
from session_tracker.settlement import CourseCredit, Settlement
from session_tracker.signin import SignIn
from session_tracker.stage import Stage, holds_lease, token_hash, unknown_session
from session_tracker.store import sessions as rows
from session_tracker.store.database import Database
from session_tracker.store.writer import Transaction
from session_tracker.trail import Trail
from session_tracker.views import SessionView
from session_tracker.webhooks import Sender, Target
from verifier.clock import Clock
from verifier.errors import BadRequest, Conflict, NotFound, StorageError
from verifier.keys import KeyRing
from verifier.types import (
    StreamEvent,
    StreamGrant,
    StreamSpec,
    StreamVerifier,
    TemplateComparer,
)

_SYSTEM_RANDOM: Final = secrets.SystemRandom()
_log = logging.getLogger("benren.tracker")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedSession:
    """What whoever opened a session gets."""

    session_id: str
    session_token: str
    """For the learner's device; kept by us as a hash only."""
    grant: StreamGrant
    view: SessionView


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedSupervised:
    """What whoever opened a session without a face gets: there is no stream."""

    session_id: str
    session_token: str
    supervised_until_ms: int
    """So long staff answer for the learner."""
    view: SessionView


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A session, what it came to, and the facts behind it in order of time."""

    record: SessionRecord
    state: CourseCredit
    facts: tuple[Fact, ...]
    told: Explanation

    @property
    def credit(self) -> SessionCredit:
        """The session's part of the course."""
        return self.state.of(self.record.id)

    def to_learner(self) -> Explanation:
        """Give what the learner's own device may know of it."""
        return for_learner(self.told, self.facts, self.state.policy)


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
        learner_keys: LearnerKeys | None = None,
        comparer: TemplateComparer | None = None,
        draw: Callable[[], float] = _SYSTEM_RANDOM.random,
        paper: Paper | None = None,
        catalogue: Catalogue | None = None,
        webhooks: Sequence[Target] = (),
        sender: Sender | None = None,
        heads_file: HeadsFile | None = None,
    ) -> None:
        """Say what the tracker works with.

        Without `learner_keys` they are kept beside the database; without a `comparer` faces are
        not compared at enrolment.
        """
        self._learner_keys = (
            learner_keys
            if learner_keys is not None
            else LearnerKeys.beside(database.url, keyring, clock)
        )
        self.catalogue = catalogue if catalogue is not None else Catalogue()
        self.sign_in = SignIn(database, clock)
        self._stage = Stage(
            clock=clock,
            verifier=verifier,
            database=database,
            keyring=keyring,
            learner_keys=self._learner_keys,
            comparer=comparer,
            draw=draw,
            heads_file=heads_file,
        )
        self.office = Office(database, self._stage.registry, clock)
        self.trail = Trail(database, clock)
        self.casework = Casework(self._stage, self.office)
        self._clock = clock
        self._verifier = verifier
        self._database = database
        self._policies = tuple(policies)
        self._keyring = keyring
        self.exports = Exports(database, self._stage.ledger, self._stage.registry.programmes)
        """Hours for others."""
        self.outbox = Outbox(database, webhooks, clock)
        """What others are told."""
        self._dispatcher = Dispatcher(self.outbox, sender or Sender(), clock=clock)
        self.printer = Printer(
            self._stage.certification,
            keyring,
            paper if paper is not None else Paper(),
            self._name_of,
        )
        """Prints certificates."""

    # --- life ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the store, migrate, and take up the sessions that were running.

        Raises ConfigurationError or StorageError with the remedy.
        """
        await self._database.open()
        try:
            await self._learner_keys.open()
            await self.registry.require_keys()
            await self.registry.programmes.register(self._policies)
            await self.ledger.publish()
            self._dispatcher.start()
            await self._stage.raise_curtain()
            await self.casework.take_up()
        except BaseException:
            await self._stage.scheduler.stop()
            await self._dispatcher.stop()
            await self._database.close()
            await self._learner_keys.close()
            raise

    async def stop(self) -> None:
        """Finish what is in flight, sign a last head and close the store; twice is fine."""
        await self._stage.scheduler.stop()
        await self._learner_keys.close()
        if not self._database.is_open:
            return
        try:
            await self.ledger.head()
        except StorageError as error:
            _log.warning("no last head was signed: %s", error)
        await self._dispatcher.stop()
        await self._database.close()

    async def probe(self) -> None:
        """Raise StorageError where nothing can be recorded."""
        await self._database.probe()

    def now_ms(self) -> int:
        """Tell the time, UTC ms."""
        return self._clock.stamp().utc_ms

    async def settled(self) -> None:
        """Return once nothing is due and no action is in flight; for a clock moved by hand."""
        await self._stage.scheduler.settled()

    async def _name_of(self, learner_id: str) -> str | None:
        person = await self.registry.people.read(learner_id)
        return None if person is None else person.name

    @property
    def registry(self) -> Registry:
        """Learners, templates, consents and programmes."""
        return self._stage.registry

    @property
    def ledger(self) -> Ledger:
        """Entries, heads and proofs."""
        return self._stage.ledger

    @property
    def certification(self) -> Certification:
        """Certificates."""
        return self._stage.certification

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
        and `take_over` is not set, BadRequest for media that the programme does not offer,
        TemplateError.
        """
        self.catalogue.require(programme, media)
        admission = await self.registry.admit(
            learner_id=learner_id, consent_id=consent_id, programme=programme
        )
        # First the epoch, then who holds the lease: whoever takes it in between is seen, or has
        # the same epoch and wins.
        async with self._database.read() as connection:
            epoch = 1 + await rows.last_epoch(connection, learner_id)
        held = await self._held_elsewhere(learner_id, take_over=take_over)
        token = f"sst_{secrets.token_urlsafe(32)}"
        record = SessionRecord(
            id=f"ses_{secrets.token_hex(12)}",
            learner_id=learner_id,
            programme=programme,
            course=admission.course.course,
            policy_version=admission.policy.version,
            consent_id=consent_id,
            media=tuple(media),
            token_hash=token_hash(token),
            epoch=epoch,
            template_version=admission.template.version,
            taking_over=held,
            opened_ms=self._stage.axis.now(),
        )
        by_challenge = await self.office.needs_challenge(learner_id)
        live = Live(
            record=record,
            course=admission.course,
            policy=admission.policy.by_challenge() if by_challenge else admission.policy,
            machine=Machine(),
            by_challenge=by_challenge,
        )
        async with live.lock:
            self._stage.sessions[live.id] = live  # events wait for the lock
            try:
                grant = await self._open(live, admission)
            except BaseException:
                del self._stage.sessions[live.id]
                raise
            view = await self._stage.view(live)
        return OpenedSession(session_id=live.id, session_token=token, grant=grant, view=view)

    async def _open(self, live: Live, admission: Admission) -> StreamGrant:
        record = live.record
        grant = await self._verifier.open_stream(await self._spec(live, admission.blob))
        stream = StreamRecord(id=grant.stream_id, number=1, last_event_id=0, track_offset=0)
        turn = self._stage.turn(live)
        turn.add_entry(
            kind="session", key="session", at_ms=record.opened_ms, data=_opening(admission, live)
        )
        turn.take(Opened(key="opened", t=record.opened_ms))
        turn.stream = stream

        async def before(tx: Transaction) -> None:
            if admission.begins:
                await begin_course(tx, admission.course, record.opened_ms)
            if record.taking_over is None:
                await self._stage.take_lease(tx, live)
            await rows.insert_session(tx.connection, record)
            await rows.insert_stream(
                tx.connection, stream, session_id=live.id, opened_ms=record.opened_ms
            )

        try:
            await self._stage.commit(live, turn, before)
        except BaseException:
            await self._stage.close_stream(grant.stream_id)
            raise
        live.stream_id = grant.stream_id
        return grant

    async def open_supervised(
        self,
        *,
        learner_id: str,
        programme: str,
        media: Sequence[str],
        minutes: int,
        actor: str,
        reason: str,
    ) -> OpenedSupervised:
        """Open a session without a face: staff are there and answer for the learner.

        For so many minutes at first; they answer for more by `casework.supervise`. What they do
        not answer for is not credited, and the session ends. Raises as `open_session`.
        """
        self.catalogue.require(programme, media)
        admission = await self.registry.admit_supervised(learner_id=learner_id, programme=programme)
        async with self._database.read() as connection:
            epoch = 1 + await rows.last_epoch(connection, learner_id)
        if await self._held_elsewhere(learner_id, take_over=False) is not None:
            raise lease.refuse_parallel()
        token = f"sst_{secrets.token_urlsafe(32)}"
        now = self._stage.axis.now()
        record = SessionRecord(
            id=f"ses_{secrets.token_hex(12)}",
            learner_id=learner_id,
            programme=programme,
            course=admission.course.course,
            policy_version=admission.policy.version,
            consent_id=admission.consent.id,
            media=tuple(media),
            token_hash=token_hash(token),
            epoch=epoch,
            template_version=0,
            taking_over=None,
            opened_ms=now,
        )
        live = Live(
            record=record, course=admission.course, policy=admission.policy, machine=Machine()
        )
        until = now + minutes * 60_000
        fact = Supervised(key=f"supervised:{now}-{until}", t=now, end=until)
        async with live.lock:
            self._stage.sessions[live.id] = live
            turn = self._stage.turn(live)
            data = _opening_supervised(admission, record, actor)
            turn.add_entry(kind="session", key="session", at_ms=now, data=data)
            turn.note(Opened(key="opened", t=now))
            turn.take_decision(fact, reason=reason, data={"actor": actor})
            turn.let_pass()

            async def before(tx: Transaction) -> None:
                if admission.begins:
                    await begin_course(tx, admission.course, now)
                await self._stage.take_lease(tx, live)
                await rows.insert_session(tx.connection, record)

            try:
                await self._stage.commit(live, turn, before)
            except BaseException:
                del self._stage.sessions[live.id]
                raise
            view = await self._stage.view(live)
        return OpenedSupervised(
            session_id=live.id, session_token=token, supervised_until_ms=until, view=view
        )

    async def _spec(self, live: Live, blob: bytes) -> StreamSpec:
        return StreamSpec(
            session_id=live.id,
            subject=live.record.learner_id,
            template=blob,
            policy=replace(live.policy.presence(), passive_vote=not live.by_challenge),
            fingerprints=await self._stage.fingerprints.earlier(live.record.learner_id),
        )

    async def _held_elsewhere(self, learner_id: str, *, take_over: bool) -> str | None:
        """Name the session that holds the learner's lease; end it where the lease has expired."""
        async with self._database.read() as connection:
            held = await lease.current(connection, learner_id)
        if held is None:
            return None
        if held.live(self._stage.axis.now()):
            if not take_over:
                raise lease.refuse_parallel()
            return held.session_id
        other = self._stage.sessions.get(held.session_id)
        if other is not None and other.open:
            await self._stage.end(other, CloseReason.EXPIRED)
        return None

    async def reopen_stream(self, session_id: str, token: str) -> StreamGrant:
        """Open a new stream for a running session: after a drop, or after we were restarted."""
        stage = self._stage
        async with stage.held(session_id, token=token) as live:
            _require_open(live)
            template = await self.registry.template(live.record.learner_id)
            if template.blob is None or template.version != live.record.template_version:
                raise Conflict(
                    "The face that this session was opened with is not enrolled any more.",
                    remedy="Close this session and open another.",
                )
            if live.stream_id is not None:
                await stage.close_stream(live.stream_id)
                live.stream_id = None
            grant = await self._verifier.open_stream(await self._spec(live, template.blob))
            stream = StreamRecord(
                id=grant.stream_id,
                number=1 + len(live.streams),
                last_event_id=0,
                track_offset=live.top_track,
            )
            turn = stage.turn(live)
            data = {"stream": grant.stream_id, "number": stream.number}
            turn.add_entry(kind="stream", key=f"stream:{stream.number}", at_ms=turn.now, data=data)
            turn.stream = stream
            if turn.machine.challenged_at is not None:
                # It was shown on the stream that is gone: another one takes its place.
                turn.machine = replace(turn.machine, asked_at=None)
            turn.let_pass()

            async def before(tx: Transaction) -> None:
                await rows.insert_stream(
                    tx.connection, stream, session_id=live.id, opened_ms=turn.now
                )

            try:
                await stage.commit(live, turn, before)
            except BaseException:
                await stage.close_stream(grant.stream_id)
                raise
            if live.open:
                live.stream_id = grant.stream_id
            else:  # time was up the moment we looked
                await stage.close_stream(grant.stream_id)
                _require_open(live)
            return grant

    async def report(self, session_id: str, token: str, report: Report) -> SessionView:
        """Take in a playback report, which is a heartbeat too; a repeat gets the first answer."""
        stage = self._stage
        async with stage.held(session_id, token=token) as live:
            first = live.answers.get(report.seq)
            if first is not None:
                return _first_answer(report, *first)
            _require_open(live)
            if report.media_id not in live.record.media:
                raise BadRequest(
                    f"The session was not opened for the medium {report.media_id!r}.",
                    remedy=f"It was opened for: {', '.join(live.record.media)}.",
                )
            self.catalogue.require_within(live.record.programme, report.media_id, report.media_ms)
            turn = stage.turn(live)
            turn.take_report(report)
            view = await stage.view(live, turn)
            answer = json.dumps(view.as_json(), separators=(",", ":"))
            turn.playback[-1]["answer"] = answer
            turn.answer = (report.seq, report.digest, answer)
            holds = holds_lease(live)

            async def before(tx: Transaction) -> None:
                if holds and turn.closed is None:
                    await stage.extend_lease(tx, live)

            await stage.commit(live, turn, before)
            return view

    async def view(self, session_id: str, token: str | None = None) -> SessionView:
        """Tell the learner's device where it stands: no score, no check, no cause."""
        async with self._stage.held(session_id, token=token) as live:
            return await self._stage.view(live)

    async def close(self, session_id: str, token: str | None = None) -> SessionView:
        """End a session for the learner: the end check, the end, the settlement."""
        stage = self._stage
        async with stage.held(session_id, token=token) as live:
            ask = next(
                (a for a in states.wind_up(live.machine, live.policy) if isinstance(a, AskCheck)),
                None,
            )
            asked = None
            if ask is not None and live.stream_id is not None:
                turn = stage.turn(live)
                asked = turn.ask(ask)
                turn.machine = replace(turn.machine, asked_at=turn.now)
                await stage.commit(live, turn, send=False)
        if asked is not None:
            await stage.carry_out(live, asked)
        await stage.end(live, CloseReason.LEARNER)
        await stage.settle(live)
        return await self.view(session_id)

    async def withdraw_consent(self, learner_id: str, consent_id: str) -> Consent:
        """Record that a consent no longer holds, and end the sessions that rest on it."""
        consent = await self.registry.withdraw_consent(learner_id, consent_id)
        await self._end_all(lambda record: record.consent_id == consent_id)
        return consent

    async def erase_biometrics(
        self, learner_id: str, *, actor: str = "", cause: str = "asked_for"
    ) -> Erased:
        """Destroy a learner's face key and all that lies under it; end the sessions that use it.

        The hours stay. Gives the proof, an entry of the ledger under a signed head.
        """
        erased = await self._stage.erasure.biometrics(learner_id, actor=actor, cause=cause)
        await self._end_all(lambda record: record.learner_id == learner_id)
        return erased

    async def erase_person(self, learner_id: str, *, actor: str, cause: str) -> Erased:
        """Erase whatever names a learner, biometrics too; what is left has a pseudonym only."""
        erased = await self._stage.erasure.person(learner_id, actor=actor, cause=cause)
        await self._end_all(lambda record: record.learner_id == learner_id)
        return erased

    async def keep_house(self) -> Swept:
        """Erase what may no longer be kept; done every day by itself."""
        return await self._stage.housekeeping.run()

    async def _end_all(self, concerns: Callable[[SessionRecord], bool]) -> None:
        """End what is concerned; one that cannot be ended now holds up no other."""
        failures = []
        for live in [*self._stage.sessions.values()]:
            if concerns(live.record):
                try:
                    await self._stage.end(live, CloseReason.LEARNER)
                except Exception as error:  # noqa: BLE001 - told below, once all were tried
                    _log.exception("session %s could not be ended", live.id)
                    self._stage.end_soon(live, CloseReason.LEARNER)
                    failures.append(error)
        if failures:
            raise StorageError(
                f"{len(failures)} sessions could not be ended yet: {failures[0]}",
                remedy="They are ended as soon as the store allows it; asking again does no harm.",
            ) from failures[0]

    async def sink(self, event: StreamEvent) -> None:
        """Take in a stream event; returns once it is durable. Repeats are welcome."""
        await self._stage.sink(event)

    # --- credit ----------------------------------------------------------------------------

    async def course_credit(self, learner_id: str, programme: str) -> CourseCredit:
        """Derive where a learner stands. Raises NotFound where no course was begun."""
        await self.registry.learner(learner_id)
        course = await self.registry.course(learner_id, programme)
        if course is None:
            raise NotFound(
                f"The learner has not begun the programme {programme!r}.",
                remedy="It begins with the first session.",
            )
        return await self._stage.course_credit(course)

    async def session_credit(self, session_id: str) -> tuple[SessionRecord, CourseCredit]:
        """Derive the course that a session belongs to. Raises NotFound."""
        async with self._database.read() as connection:
            record = await rows.read_session(connection, session_id)
            if record is None:
                raise unknown_session(session_id)
            course = await course_of(connection, record)
        return record, await self._stage.course_credit(course)

    async def facts(self, session_id: str) -> list[Fact]:
        """Give a session's facts, in order of time."""
        live = self._stage.sessions.get(session_id)
        if live is not None and not live.stale:
            found = live.facts
        else:
            async with self._database.read() as connection:
                found = await rebuild.facts_of(connection, session_id)
        return sorted(found.values(), key=lambda fact: (fact.t, fact.key))

    async def explain(self, session_id: str) -> Explained:
        """Explain every second of a session. Raises NotFound."""
        record, state = await self.session_credit(session_id)
        facts = tuple(await self.facts(session_id))
        told = explain(state.of(session_id), facts)
        return Explained(record=record, state=state, facts=facts, told=told)

    async def decide(
        self,
        session_id: str,
        decisions: Sequence[Decision],
        *,
        reason: str,
        data: Mapping[str, Any] | None = None,
    ) -> CourseCredit:
        """Record what people decided about a session, and settle anew what it changes.

        A decision is a fact like any other: credit follows by derivation only. Its key makes it
        one however often it is sent. Raises NotFound, BadRequest where it lies outside of the
        session.
        """
        return await self._stage.decide(session_id, decisions, reason=reason, data=data or {})

    async def confirm_template(self, learner_id: str, *, reason: str, actor: str = "") -> None:
        """Confirm the enrolment, settle provisional hours for good, and certify what is due."""
        await self.registry.confirm_template(learner_id, reason=reason, actor=actor)
        await self._stage.grade_all(learner_id)

    async def refuse_registration(
        self, learner_id: str, *, actor: str, reasons: Sequence[str]
    ) -> Registration:
        """Refuse a registration, end the sessions that rest on it, void what its face earned."""
        refused = await self.office.refuse(learner_id, actor=actor, reasons=reasons)
        await self._end_all(lambda record: record.learner_id == learner_id)
        await self._stage.grade_all(learner_id)
        return refused

    async def settle_all(self, *, write: bool = False) -> AsyncIterator[CourseOutcome]:
        """Derive every course in one pass; `write` settles anew what came to another result."""
        programmes = self.registry.programmes
        settlement = Settlement(self._database, programmes, self._clock, kept_facts=0)
        now = self._stage.axis.now()
        context = self.context() if write else None
        outcomes = settle_all(self._database, settlement, now_ms=now, context=context)
        async for outcome in outcomes:
            yield outcome

    # --- records ---------------------------------------------------------------------------

    async def audit(self) -> Audit:
        """Check the whole ledger."""
        return await audit_database(self._database, self._keyring)

    async def head(self, *, max_age_ms: int = 0) -> Head:
        """Give a signed head: that of the ledger as it stands, or one at most so old."""
        return await self.ledger.head(max_age_ms=max_age_ms)

    def context(self, policy: Policy | None = None) -> Context:
        """Say what explains an entry made now."""
        return self._stage.context(policy)


def _opening(admission: Admission, live: Live) -> dict[str, object]:
    """Give what the ledger keeps of an opening."""
    record = live.record
    return {
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
        "by_challenge": live.by_challenge,
    }


def _opening_supervised(
    admission: SupervisedAdmission, record: SessionRecord, actor: str
) -> dict[str, object]:
    return {
        "learner": record.learner_id,
        "programme": record.programme,
        "course": record.course,
        "track": str(admission.course.track),
        "consent": record.consent_id,
        "mode": "supervised",
        "actor": actor,
        "media": list(record.media),
        "epoch": record.epoch,
    }


def _first_answer(report: Report, digest: str, answer: str) -> SessionView:
    if digest != report.digest:
        raise Conflict(
            f"Another report with seq {report.seq} was taken before.",
            remedy="Count seq up by one for every new report.",
        )
    return SessionView(**json.loads(answer))


def _require_open(live: Live) -> None:
    if live.open:
        return
    closed = next((f for f in live.facts.values() if isinstance(f, Closed)), None)
    if closed is not None and closed.reason is CloseReason.TAKEN_OVER:
        raise TakenOver(remedy="Open a new session here to take over, if that is wanted.")
    raise SessionEnded(
        f"The session has ended ({closed.reason if closed else live.machine.state}).",
        remedy="Open a new session.",
    )
