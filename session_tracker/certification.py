"""Certificates in the store: issued when they are due, looked up, revoked."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from session_tracker import certificate, ledger
from session_tracker.certificate import Claim, Holding
from session_tracker.ledger import Context, Ledger
from session_tracker.people import PERSON_RECORDED, People
from session_tracker.records import Course
from session_tracker.review import BY_RULE
from session_tracker.settlement import CourseCredit, Settlement
from session_tracker.staff_words import IN_WORDS, digest
from session_tracker.store.certificates import HOURS_VOID, ISSUED_ANEW, read_standing
from session_tracker.store.database import Database
from session_tracker.store.schema import certificates, ledger_entries
from session_tracker.store.writer import Transaction
from verifier.clock import Clock
from verifier.errors import Conflict, NotFound
from verifier.keys import KeyRing


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate as stored."""

    number: str
    learner_id: str
    programme: str
    course: int
    document: bytes
    issued_ms: int
    revoked_ms: int | None
    revoked_reason: str | None


class Certification:
    """Issues and revokes; `certificate` knows what a certificate is."""

    def __init__(
        self,
        database: Database,
        settlement: Settlement,
        book: Ledger,
        keyring: KeyRing,
        clock: Clock,
        *,
        people: People,
    ) -> None:
        self._people = people
        self._database = database
        self._settlement = settlement
        self._ledger = book
        self._keyring = keyring
        self._clock = clock

    async def certify(self, state: CourseCredit, context: Context) -> str | None:
        """Issue the certificate where the target is met by settled, confirmed hours.

        Returns its number, or None where it is not due. It waits until nothing is pending or
        provisional: time that a system fault left pending until a person has decided about it.
        """
        credit = state.credit
        due = (
            state.certificate is None
            and credit.credited_s >= state.target_s
            and credit.final
            and all(record.settled_ms is not None for record in state.records)
        )
        if not due:
            return None
        head = await self._ledger.head()
        holdings = [await self._holding(r.id, head.size) for r in state.records]
        now = self._clock.stamp().utc_ms
        number = certificate.new_number(now)
        claim = Claim(
            number=number,
            learner_id=state.course.learner_id,
            programme=state.course.programme,
            title=state.policy.title,
            course=state.course.course,
            policy=f"{state.policy.name}@{state.policy.version}",
            track=str(state.course.track),
            class_hour_s=state.policy.class_hour.seconds,
            target_s=state.target_s,
            issued_ms=now,
        )
        document = certificate.issue(claim, holdings, head, self._keyring)
        return await self._store(state.course, number, document, now, context)

    async def revoke_void(self, state: CourseCredit, context: Context) -> bool:
        """Revoke a certificate of whose hours too few are left; tell whether there was one.

        Another is issued once the target is met again.
        """
        held = state.certificate
        if held is None or not held.holds or state.confirmed_s >= state.target_s:
            return False
        await self.revoke(held.number, actor=BY_RULE, reason=HOURS_VOID, context=context)
        return True

    async def _holding(self, session_id: str, size: int) -> Holding:
        found = await self._settlement.last_settlement(session_id)
        path = await self._ledger.inclusion(found.index, size)
        return Holding(index=found.index, body=found.body, path=path)

    async def _store(
        self, course: Course, number: str, document: bytes, now: int, context: Context
    ) -> str:
        checked = certificate.verify_certificate(document, self._keyring)
        tag = await self._people.name_tag(course.learner_id)
        values = {
            "number": number,
            "learner_id": course.learner_id,
            "programme": course.programme,
            "course": course.course,
            "document": document,
            "issued_ms": now,
        }
        entry = ledger.entry(
            subject=course.learner_id,
            key=f"certificate:{number}",
            kind="certificate_issued",
            at_ms=now,
            context=context,
            data={
                "number": number,
                "document_sha256": hashlib.sha256(document).hexdigest(),
                "credited_s": checked.credited_s,
                "programme": course.programme,
                "course": course.course,
                "holder_hmac": tag,
            },
        )

        async def job(tx: Transaction) -> str:
            there = await read_standing(tx.connection, course)
            if there is not None:
                return there.number
            await tx.connection.execute(insert(certificates), values)
            await tx.append([entry])
            return number

        try:
            return await self._database.write(job)
        except IntegrityError as error:
            raise Conflict("The certificate was issued already.") from error

    async def issued(self, number: str) -> Issued:
        """Give a certificate. Raises NotFound."""
        async with self._database.read() as connection:
            query = select(certificates).where(certificates.c.number == number)
            row = (await connection.execute(query)).mappings().one_or_none()
        if row is None:
            raise NotFound(
                "There is no certificate of this number.",
                remedy="Compare it with the paper: it has no I, L, O or U.",
            )
        return Issued(**{**row, "document": bytes(row["document"])})

    async def holder_tag(self, issued: Issued) -> str | None:
        """Give the keyed hash of the name at issue, or of the first that was recorded since."""
        mine = ledger_entries.c.subject == issued.learner_id
        made = mine & (ledger_entries.c.key == f"certificate:{issued.number}")
        async with self._database.read() as connection:
            query = select(ledger_entries.c.idx, ledger_entries.c.body).where(made)
            row = (await connection.execute(query)).one()
            tag = json.loads(row.body)["data"].get("holder_hmac")
            if tag is not None:
                return str(tag)
            since = mine & (ledger_entries.c.kind == PERSON_RECORDED)
            query = select(ledger_entries.c.body).where(since, ledger_entries.c.idx > row.idx)
            body = await connection.scalar(query.order_by(ledger_entries.c.idx).limit(1))
        return None if body is None else str(json.loads(body)["data"]["name_hmac"])

    async def of_learner(self, learner_id: str) -> tuple[Issued, ...]:
        """Give every certificate of a learner, the oldest first."""
        query = (
            select(certificates)
            .where(certificates.c.learner_id == learner_id)
            .order_by(certificates.c.issued_ms, certificates.c.number)
        )
        async with self._database.read() as connection:
            found = (await connection.execute(query)).mappings().all()
        return tuple(Issued(**{**row, "document": bytes(row["document"])}) for row in found)

    async def revoke(self, number: str, *, actor: str, reason: str, context: Context) -> Issued:
        """Revoke a certificate; revoking twice keeps the first reason. Raises NotFound.

        `actor`, who does it, stands in the ledger: the name of an API key, or `BY_RULE`.
        """
        found = await self.issued(number)
        now = self._clock.stamp().utc_ms
        entry = ledger.entry(
            subject=found.learner_id,
            key=f"certificate_revoked:{number}",
            kind="certificate_revoked",
            at_ms=now,
            context=context,
            reason=reason if reason in ISSUED_ANEW else IN_WORDS,
            data={"number": number, "actor": actor, "reason_sha256": digest(reason)},
        )

        async def job(tx: Transaction) -> None:
            changed = await tx.connection.execute(
                update(certificates)
                .where(certificates.c.number == number, certificates.c.revoked_ms.is_(None))
                .values(revoked_ms=now, revoked_reason=reason)
            )
            if changed.rowcount:
                await tx.append([entry])

        await self._database.write(job)
        return await self.issued(number)
