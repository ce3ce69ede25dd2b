"""What a course comes to: credit derived from all of its sessions, and their settlements."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from session_tracker import ledger, rebuild
from session_tracker.audit import evidence_digest
from session_tracker.credit import (
    LearnerCredit,
    Past,
    SessionCredit,
    SessionFacts,
    derive,
    past_of,
)
from session_tracker.events import Fact
from session_tracker.explain import fate_of
from session_tracker.kept import Kept
from session_tracker.ledger import Context
from session_tracker.policy import Policy, Provenance
from session_tracker.programmes import Programmes
from session_tracker.records import Course, SessionRecord
from session_tracker.segments import Segment, segments_of
from session_tracker.store import learners as people
from session_tracker.store import sessions as rows
from session_tracker.store.certificates import Standing, read_standing
from session_tracker.store.database import Database
from session_tracker.store.reviews import read_held_templates
from session_tracker.store.schema import ledger_entries, templates
from session_tracker.store.writer import NewEntry, Transaction
from verifier.clock import Clock
from verifier.errors import NotFound

_KEPT_FACTS: Final = 400_000
"""Facts of settled sessions, and of courses at a glance, held in memory: some 100 MB each."""
_KEPT_PASTS: Final = 400_000
"""Intervals of settled sessions, as derived: some 100 MB too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CourseCredit:
    """Where a learner stands in a course."""

    course: Course
    policy: Policy
    credit: LearnerCredit
    facts: Mapping[str, Sequence[Fact]]
    """By session id: what the credit was derived from."""
    records: tuple[SessionRecord, ...]
    certificate: Standing | None

    @property
    def certificate_number(self) -> str | None:
        """The number of the certificate that it has, also where it was revoked for good."""
        return None if self.certificate is None else self.certificate.number

    @property
    def confirmed_s(self) -> int:
        """Whole seconds that count whatever comes of enrolments that wait."""
        return self.credit.credited_s - self.credit.provisional_s

    @property
    def target_s(self) -> int:
        """What the certificate needs."""
        return self.policy.target_s(self.course.track)

    def of(self, session_id: str) -> SessionCredit:
        """Give one session's part. Raises NotFound."""
        for session in self.credit.sessions:
            if session.session_id == session_id:
                return session
        raise NotFound(f"There is no session {session_id!r} in this course.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inputs:
    """What the store said of a course."""

    records: tuple[SessionRecord, ...]
    facts: Mapping[str, tuple[Fact, ...]]
    provisional: frozenset[int]
    """Versions of the learner's template whose credit still waits for a person."""
    refused: frozenset[int]
    """Versions that staff refused."""
    certificate: Standing | None
    began: int
    """Counts the readings, in the order in which they began."""

    def size(self) -> int:
        """Count the facts."""
        return sum(len(facts) for facts in self.facts.values())


class Settlement:
    """Derives and settles. Reads everything from the store but running sessions."""

    def __init__(
        self,
        database: Database,
        programmes: Programmes,
        clock: Clock,
        *,
        kept_facts: int = _KEPT_FACTS,
    ) -> None:
        self._database = database
        self._programmes = programmes
        self._clock = clock
        self._settled: Kept[str, tuple[Fact, ...]] = Kept(kept_facts, len)
        self._inputs: Kept[Course, _Inputs] = Kept(kept_facts, _Inputs.size)
        self._pasts: Kept[Course, tuple[_Inputs, Past]] = Kept(_KEPT_PASTS, _weight)
        self._readings = itertools.count()
        self._decisions = 0
        """Counts what people decided since the start."""

    async def course_credit(
        self,
        course: Course,
        *,
        now_ms: int,
        running: Mapping[str, tuple[Fact, ...]],
        glance: bool = False,
    ) -> CourseCredit:
        """Derive a learner's credit in a course; `running` holds facts of sessions in memory.

        At a `glance`, which decides nothing, what the store said last time will do.
        """
        policy = self._programmes.policy(course.programme, course.policy_version)
        inputs = self._inputs.get(course)
        if inputs is None or not glance or not running.keys() <= inputs.facts.keys():
            inputs = await self._read(course, policy, running)
        sessions = [
            SessionFacts(
                session_id=record.id,
                facts=running.get(record.id) or inputs.facts[record.id],
                provisional=record.template_version in inputs.provisional,
                refused=record.template_version in inputs.refused,
            )
            for record in inputs.records
        ]
        return CourseCredit(
            course=course,
            policy=policy,
            credit=(
                self._at_a_glance(course, inputs, sessions, policy, now_ms)
                if glance
                else derive(sessions, policy, now=now_ms)
            ),
            facts={s.session_id: s.facts for s in sessions},
            records=inputs.records,
            certificate=inputs.certificate,
        )

    def _at_a_glance(
        self,
        course: Course,
        inputs: _Inputs,
        sessions: Sequence[SessionFacts],
        policy: Policy,
        now_ms: int,
    ) -> LearnerCredit:
        """Derive with what is settled taken as derived before, as far as nothing else overlaps."""
        kept = self._pasts.get(course)
        if kept is None or kept[0] is not inputs:
            over = _over(inputs.records)
            past = past_of([s for s in sessions if s.session_id in over], policy)
            kept = inputs, past
            if self._inputs.get(course) is inputs:
                self._pasts.keep(course, kept)
        done = {s.session_id for s in kept[1].sessions}
        rest = [s for s in sessions if s.session_id not in done]
        return derive(rest, policy, now=now_ms, past=kept[1])

    async def _read(
        self, course: Course, policy: Policy, running: Mapping[str, tuple[Fact, ...]]
    ) -> _Inputs:
        since, began = self._decisions, next(self._readings)
        async with self._database.read() as connection:
            records = await rows.read_course(
                connection, course.learner_id, course.programme, course.course
            )
            found = _Inputs(
                records=tuple(records),
                facts={
                    r.id: running.get(r.id) or await self._facts(connection, r, since)
                    for r in records
                },
                provisional=await _provisional(connection, course.learner_id, policy),
                refused=await people.read_refused(connection, course.learner_id),
                certificate=await read_standing(connection, course),
                began=began,
            )
        kept = self._inputs.get(course)
        if self._decisions == since and (kept is None or kept.began < began):
            self._inputs.keep(course, found)
        return found

    async def _facts(
        self, connection: AsyncConnection, record: SessionRecord, since: int
    ) -> tuple[Fact, ...]:
        kept = self._settled.get(record.id)
        if kept is not None:
            return kept
        found = tuple((await rebuild.facts_of(connection, record.id)).values())
        if record.settled_ms is not None and self._decisions == since:
            self._settled.keep(record.id, found)
        return found

    def forget(self, session_id: str) -> None:
        """Read a session's facts again next time: somebody decided about it.

        What is being read now, in a view from before that, is not kept.
        """
        self._decisions += 1
        self._settled.forget(session_id)

    async def evidence_digest(self, session_id: str) -> str:
        """Digest what of a session lies outside the ledger, for its settlement."""
        async with self._database.read() as connection:
            return await evidence_digest(connection, session_id)

    async def differing(self, state: CourseCredit) -> int:
        """Count the settlements in the ledger that say something else than the facts."""
        return len([record async for record, _, _ in self._outdated(state)])

    async def regrade(self, state: CourseCredit, context: Context) -> int:
        """Settle again what came to another result since: an enrolment that was confirmed, say.

        Gives how many sessions that were.
        """
        outdated = [found async for found in self._outdated(state)]
        for record, cut, last in outdated:
            await self._append(await self._anew(record, state, cut, last, context))
        return len(outdated)

    async def _outdated(
        self, state: CourseCredit
    ) -> AsyncIterator[tuple[SessionRecord, Sequence[Segment], ledger.Entry]]:
        settled = [record for record in state.records if record.settled_ms is not None]
        newest = await self._last_settlements([record.id for record in settled])
        for record in settled:
            session = state.of(record.id)
            last = newest[record.id]
            cut = segments_of(session, state.facts[record.id])
            if not _as_settled(last.content["data"], session, cut):
                yield record, cut, last

    async def _anew(
        self,
        record: SessionRecord,
        state: CourseCredit,
        cut: Sequence[Segment],
        last: ledger.Entry,
        context: Context,
    ) -> list[NewEntry]:
        """Make the entries of a settlement that takes the place of `last`."""
        digest = await self.evidence_digest(record.id)
        now = self._clock.stamp().utc_ms
        data = settlement_data(state.of(record.id), cut, state.course, state.policy, digest)
        before = {tuple(s) for s in last.content["data"].get("segments", ())}
        entries = [
            ledger.entry(
                subject=record.id,
                key=f"segment:{s.start}:{last.index}",
                kind="segment",
                at_ms=now,
                context=context,
                reason=fate_of(s),
                data=segment_data(s),
            )
            for s in cut
            if _compact(s) not in before
        ]
        settled = ledger.entry(
            subject=record.id,
            key=f"settled:{last.index}",
            kind="settled",
            at_ms=now,
            context=context,
            reason="regraded",
            data={"t": now, **data},
        )
        return [*entries, settled]

    async def _append(self, entries: Sequence[NewEntry]) -> None:
        async def job(tx: Transaction) -> None:
            await tx.append(entries)

        await self._database.write(job)

    async def last_settlement(self, session_id: str) -> ledger.Entry:
        """Give the newest settlement of a session that has one."""
        return (await self._last_settlements([session_id]))[session_id]

    async def _last_settlements(self, ids: Sequence[str]) -> Mapping[str, ledger.Entry]:
        """Give the newest settlement of each of a course's sessions, in one query."""
        query = (
            select(ledger_entries)
            .where(ledger_entries.c.subject.in_(ids), ledger_entries.c.kind == "settled")
            .order_by(ledger_entries.c.idx)
        )
        async with self._database.read() as connection:
            found = (await connection.execute(query)).all()
        return {row.subject: ledger.to_entry(row) for row in found}


def settlement_data(
    session: SessionCredit,
    cut: Sequence[Segment],
    course: Course,
    policy: Policy,
    evidence_sha256: str,
) -> dict[str, Any]:
    """Give what the ledger keeps of a settled session: every second with its reason."""
    return {
        "learner": course.learner_id,
        "programme": course.programme,
        "course": course.course,
        "track": str(course.track),
        "start": session.start,
        "end": session.end,
        "provisional": session.provisional,
        "verified_ms": session.verified_ms,
        "credited_ms": session.credited_ms,
        "pending_ms": session.pending_ms,
        "days": days_of(((i.start, i.end) for i in session.credited), policy),
        "credited": [
            [i.start, i.end, str(i.evidence), i.media_id, i.media_ms] for i in session.credited
        ],
        "void": [[i.start, i.end, str(i.reason)] for i in session.void],
        "segments": [list(_compact(s)) for s in cut],
        "jumps": [[j.t, j.media_id, j.by_ms] for j in session.jumps],
        "evidence_sha256": evidence_sha256,
    }


def segment_data(segment: Segment) -> dict[str, Any]:
    """Give what the ledger keeps of a segment."""
    return {
        "start": segment.start,
        "end": segment.end,
        "state": str(segment.state),
        "void_reason": "" if segment.reason is None else str(segment.reason),
        "evidence_type": "" if segment.evidence is None else str(segment.evidence),
        "facts": list(segment.keys),
    }


def _over(records: Sequence[SessionRecord]) -> frozenset[str]:
    """Name the settled sessions that ended before every session that is not among them began."""
    ends = {r.id: r.closed_ms for r in records if r.settled_ms is not None and r.closed_ms}
    over = frozenset(ends)
    while True:
        until = min((r.opened_ms for r in records if r.id not in over), default=None)
        kept = frozenset(i for i in over if until is None or ends[i] <= until)
        if kept == over:
            return over
        over = kept


def _weight(kept: tuple[_Inputs, Past]) -> int:
    return 1 + sum(len(s.credited) + len(s.void) for s in kept[1].sessions)


def _compact(segment: Segment) -> tuple[int, int, str, str]:
    reason = "" if segment.reason is None else str(segment.reason)
    return segment.start, segment.end, str(segment.state), reason


def _as_settled(data: Mapping[str, Any], session: SessionCredit, cut: Sequence[Segment]) -> bool:
    """Tell whether a settlement still says what the facts come to."""
    if (data["credited_ms"], data["provisional"]) != (session.credited_ms, session.provisional):
        return False
    # Settlements of the first version named no segments.
    said = data.get("segments")
    return said is None or [tuple(s) for s in said] == [_compact(s) for s in cut]


def days_of(intervals: Iterable[tuple[int, int]], policy: Policy) -> dict[str, int]:
    """Split intervals (UTC ms) by local day: ISO date -> milliseconds."""
    days: dict[str, int] = {}
    for start, end in intervals:
        at = start
        while at < end:
            day = datetime.fromtimestamp(at / 1_000, UTC).astimezone(policy.zone).date()
            midnight = datetime.combine(day + timedelta(days=1), time(), tzinfo=policy.zone)
            until = min(end, round(midnight.timestamp() * 1_000))
            days[day.isoformat()] = days.get(day.isoformat(), 0) + until - at
            at = until
    return dict(sorted(days.items()))


async def _provisional(
    connection: AsyncConnection, learner_id: str, policy: Policy
) -> frozenset[int]:
    """Name the template versions under which credit still waits for a confirmation."""
    query = select(templates.c.version, templates.c.provenance, templates.c.confirmed_ms)
    found = (await connection.execute(query.where(templates.c.learner_id == learner_id))).all()
    held = await read_held_templates(connection, learner_id)
    return held | frozenset(
        row.version
        for row in found
        if row.confirmed_ms is None and policy.is_provisional(Provenance(row.provenance))
    )
