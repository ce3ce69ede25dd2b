"""The tracker, as its API, its operators and its demo see it: sessions, credit, records.

Stream events become facts, rules become actions, all of it durable: that machinery is `stage`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from session_tracker import rebuild, states
from session_tracker.audit import Audit, audit_database
from session_tracker.casework import Casework
from session_tracker.catalogue import Catalogue
from session_tracker.certification import Certification, Issued
from session_tracker.credit import SessionCredit
from session_tracker.dispatch import Dispatcher
from session_tracker.enrolment import Registry
from session_tracker.erasure import Erased
from session_tracker.events import (
    CloseReason,
    Fact,
    Judgement,
)
from session_tracker.explain import Explanation, explain, for_learner
from session_tracker.exports import Exports
from session_tracker.housekeeping import Swept
from session_tracker.learner_keys import LearnerKeys
from session_tracker.ledger import Context, Head, HeadsFile, Ledger
from session_tracker.live import Live, Report
from session_tracker.machine import AskCheck
from session_tracker.office import Office
from session_tracker.openings import Openings, require_open
from session_tracker.outbox import Outbox
from session_tracker.paper import Paper
from session_tracker.policy import Policy
from session_tracker.printing import Printer
from session_tracker.records import Consent, Registration, SessionRecord, Template
from session_tracker.settle_all import CourseOutcome, settle_all
from session_tracker.settlement import CourseCredit, Settlement
from session_tracker.signin import SignIn
from session_tracker.stage import Stage
from session_tracker.store import learners
from session_tracker.store import sessions as rows
from session_tracker.store.certificates import ISSUED_ANEW
from session_tracker.store.database import Database
from session_tracker.store.writer import Transaction
from session_tracker.trail import Trail
from session_tracker.turns import holds_lease, unknown_session
from session_tracker.views import SessionView
from session_tracker.webhooks import Sender, Target
from verifier.clock import Clock
from verifier.errors import BadRequest, Conflict, NotFound, StorageError
from verifier.keys import KeyRing
from verifier.types import (
    StreamEvent,
    StreamVerifier,
    TemplateComparer,
)

_SYSTEM_RANDOM: Final = secrets.SystemRandom()
ASKED_FOR: Final = "asked_for"
"""Why something is erased at somebody's word."""
_log = logging.getLogger("benren.tracker")


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
        self.openings = Openings(
            self._stage,
            verifier=verifier,
            office=self.office,
            catalogue=self.catalogue,
        )
        """Opens sessions, and streams of running ones."""
        self._database = database
        self._policies = tuple(policies)
        self._settling = asyncio.Lock()
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
            same=self._is_holder,
        )
        """Prints certificates."""

    # --- life ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the store, migrate, and take up the sessions that were running.

        Raises ConfigurationError, also while another tracker serves this database, or
        StorageError with the remedy.
        """
        await self._database.open(strangers=self._stage.strangers)
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
        if not self._database.is_open:
            await self._learner_keys.close()
            return
        try:
            await self._stage.fingerprints.keep_all()
        except StorageError as error:
            _log.warning("the fingerprints of the last minutes are lost: %s", error)
        await self._learner_keys.close()
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

    async def _is_holder(self, issued: Issued) -> bool:
        known = await self.certification.holder_tag(issued)
        return known in (None, await self.registry.people.name_tag(issued.learner_id))

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

    async def report(self, session_id: str, token: str, report: Report) -> SessionView:
        """Take in a playback report, which is a heartbeat too; a repeat gets the first answer.

        Raises TooManyRequests, before anything is read, where they come too fast.
        """
        stage = self._stage
        turns = stage.turns
        async with turns.held(session_id, token=token, ration=turns.reports) as live:
            first = await self._answered(live, report.seq)
            if first is not None:
                return _first_answer(report, *first)
            require_open(live)
            if report.media_id not in live.record.media:
                raise BadRequest(
                    f"The session was not opened for the medium {report.media_id!r}.",
                    remedy=f"It was opened for: {', '.join(live.record.media)}.",
                )
            self.catalogue.require_within(live.record.programme, report.media_id, report.media_ms)
            turn = stage.turns.turn(live)
            turn.take_report(report)
            view = await stage.grading.view(live, turn)
            answer = json.dumps(view.as_json(), separators=(",", ":"))
            turn.playback[-1]["answer"] = answer
            turn.answer = (report.seq, report.digest, answer)
            holds = holds_lease(live)

            async def before(tx: Transaction) -> None:
                if holds and turn.closed is None:
                    await stage.turns.extend_lease(tx, live)

            await stage.turns.commit(live, turn, before)
            return view

    async def _answered(self, live: Live, seq: int) -> tuple[str, str] | None:
        """Give digest and answer of a report that came before."""
        if seq > live.top_seq or seq in live.answers:
            return live.answers.get(seq)
        async with self._database.read() as connection:
            return await rows.read_answer(connection, live.id, seq)

    async def view(self, session_id: str, token: str | None = None) -> SessionView:
        """Tell the learner's device where it stands: no score, no check, no cause.

        It waits for nobody. Raises TooManyRequests, where a device asks too often.
        """
        turns = self._stage.turns
        live = await turns.admitted(session_id, token=token, ration=turns.looks)
        if live.stale:
            async with turns.fresh(live):
                pass
        return await self._stage.grading.seen(live)

    async def close(self, session_id: str, token: str | None = None) -> SessionView:
        """End a session for the learner: the end check, the end, the settlement."""
        stage, turns = self._stage, self._stage.turns
        async with turns.held(session_id, token=token, ration=turns.looks) as live:
            ask = next(
                (a for a in states.wind_up(live.machine, live.policy) if isinstance(a, AskCheck)),
                None,
            )
            asked = None
            if ask is not None and live.stream_id is not None:
                turn = stage.turns.turn(live)
                asked = turn.ask(ask, awaited=True)
                turn.machine = replace(turn.machine, asked_at=turn.now)
                await stage.turns.commit(live, turn, send=False)
        if asked is not None:
            await stage.asking.carry_out(live, asked)
        await stage.end(live, CloseReason.LEARNER)
        await stage.settle(live)
        return await self.view(session_id)

    async def withdraw_consent(self, learner_id: str, consent_id: str) -> Consent:
        """Record that a consent no longer holds, and end the sessions that rest on it."""
        consent = await self.registry.withdraw_consent(learner_id, consent_id)
        await self._stage.end_all(lambda record: record.consent_id == consent_id)
        return consent

    async def erase_biometrics(
        self, learner_id: str, *, actor: str = "", cause: str = ASKED_FOR, words: str = ""
    ) -> Erased:
        """End a learner's sessions, destroy the face key and all that lies under it.

        The hours stay. Gives the proof, an entry of the ledger under a signed head.
        """
        work = self._stage.erasure.biometrics
        return await self._erase(
            learner_id, lambda: work(learner_id, actor=actor, cause=cause, words=words)
        )

    async def erase_person(
        self, learner_id: str, *, actor: str, cause: str = ASKED_FOR, words: str = ""
    ) -> Erased:
        """Erase whatever names a learner, biometrics too; what is left has a pseudonym only.

        `cause` is a code; of what somebody wrote, `words`, the ledger has a digest.
        """
        work = self._stage.erasure.person
        erased = await self._erase(
            learner_id, lambda: work(learner_id, actor=actor, cause=cause, words=words)
        )
        self.printer.forget(learner_id)
        return erased

    async def _erase(self, learner_id: str, work: Callable[[], Awaitable[Erased]]) -> Erased:
        """End the learner's sessions, so that nothing new comes; erase; end what was opened since.

        A session that cannot be ended yet holds up no erasure: its pictures find no key.
        """

        def theirs(record: SessionRecord) -> bool:
            return record.learner_id == learner_id

        with contextlib.suppress(StorageError):  # raised below, where it is so still
            await self._stage.end_all(theirs)
        erased = await work()
        await self._stage.end_all(theirs)
        return erased

    async def keep_house(self) -> Swept:
        """Erase what may no longer be kept; done every day by itself."""
        return await self._stage.housekeeping.run()

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
        return await self._stage.grading.course_credit(course)

    async def all_credit(self, learner_id: str) -> list[CourseCredit]:
        """Derive every course of the programmes in force, earlier years' too."""
        courses = await self.registry.courses(learner_id)
        return [await self._stage.grading.course_credit(course) for course in courses]

    async def session_credit(self, session_id: str) -> tuple[SessionRecord, CourseCredit]:
        """Derive the course that a session belongs to. Raises NotFound."""
        async with self._database.read() as connection:
            record = await rows.read_session(connection, session_id)
            if record is None:
                raise unknown_session(session_id)
            course = await learners.read_course_of(connection, record)
        return record, await self._stage.grading.course_credit(course)

    async def facts(self, session_id: str) -> list[Fact]:
        """Give a session's facts, in order of time."""
        live = self._stage.turns.sessions.get(session_id)
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
        judgements: Sequence[Judgement],
        *,
        reason: str,
        data: Mapping[str, Any] | None = None,
    ) -> CourseCredit:
        """Record what people decided about a session, and settle anew what it changes.

        A decision is a fact like any other: credit follows by derivation only. Its key makes it
        one however often it is sent. Raises NotFound, BadRequest where it lies outside of the
        session.
        """
        return await self._stage.decide(session_id, judgements, reason=reason, data=data or {})

    async def confirm_template(
        self, learner_id: str, *, reason: str, actor: str = "", version: int | None = None
    ) -> Template:
        """Confirm an enrolment, settle provisional hours for good, and certify what is due.

        Without a `version` it is the newest. Raises NotFound, Conflict where it was refused.
        """
        confirmed = await self.registry.confirm_template(
            learner_id, reason=reason, actor=actor, version=version
        )
        await self._stage.grading.grade_all(learner_id)
        return confirmed

    async def refuse_registration(
        self, learner_id: str, *, actor: str, reasons: Sequence[str], version: int | None = None
    ) -> Registration:
        """Refuse a registration, end the sessions that rest on it, void what its face earned.

        Raises Conflict where another face than `version` was enrolled since.
        """
        refused = await self.office.refuse(
            learner_id, actor=actor, reasons=reasons, version=version
        )
        await self._stage.end_all(lambda record: record.learner_id == learner_id)
        await self._stage.grading.grade_all(learner_id)
        return refused

    async def settle_all(self, *, write: bool = False) -> AsyncGenerator[CourseOutcome, None]:
        """Derive every course in one pass; `write` grades each, as after a decision about it.

        Raises Conflict where such a pass is under way.
        """
        programmes, grading = self.registry.programmes, self._stage.grading
        settlement = Settlement(self._database, programmes, self._clock, kept_facts=0)
        now = self._stage.axis.now()
        if not write:
            async for outcome in settle_all(self._database, settlement, now_ms=now):
                yield outcome
            return
        if self._settling.locked():
            raise Conflict(
                "Somebody is settling every course already.", remedy="Wait for the end of it."
            )
        async with self._settling:
            outcomes = settle_all(
                self._database,
                settlement,
                now_ms=now,
                grade=lambda course: grading.grade(course, settlement),
            )
            async for outcome in outcomes:
                yield outcome

    async def revoke_certificate(self, number: str, *, actor: str, reason: str) -> Issued:
        """Revoke a certificate; for reasons of `ISSUED_ANEW` another takes its place where due."""
        revoked = await self.certification.revoke(
            number, actor=actor, reason=reason, context=self.context()
        )
        if revoked.revoked_reason in ISSUED_ANEW:
            await self._stage.grading.grade_all(revoked.learner_id)
        return revoked

    # --- records ---------------------------------------------------------------------------

    async def audit(self) -> Audit:
        """Check the whole ledger."""
        return await audit_database(self._database, self._keyring)

    async def head(self, *, max_age_ms: int = 0) -> Head:
        """Give a signed head: that of the ledger as it stands, or one at most so old."""
        return await self.ledger.head(max_age_ms=max_age_ms)

    def context(self, policy: Policy | None = None) -> Context:
        """Say what explains an entry made now."""
        return self._stage.turns.context(policy)


def _first_answer(report: Report, digest: str, answer: str) -> SessionView:
    if digest != report.digest:
        raise Conflict(
            f"Another report with seq {report.seq} was taken before.",
            remedy="Count seq up by one for every new report.",
        )
    return SessionView(**json.loads(answer))
