"""What staff and institutions decide about learners: approvals, offline hours, the challenge route.

Every decision is an entry of the ledger under the learner's pseudonym, with the name of the key
that decided.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, insert, or_, select, update

from session_tracker import ledger
from session_tracker.enrolment import Registry, no_template, require_newest
from session_tracker.ledger import Context
from session_tracker.records import Learner, Registration, RegistrationState
from session_tracker.staff_words import IN_WORDS, Sealed, digest
from session_tracker.store import learners as rows
from session_tracker.store.database import Database
from session_tracker.store.schema import learners
from session_tracker.store.tables_people import (
    challenge_routes,
    offline_hours,
    refused_templates,
    registrations,
)
from session_tracker.store.writer import NewEntry, Transaction
from verifier.clock import Clock
from verifier.errors import BadRequest, Conflict, NotFound

_NOTHING: Final = Context(policy="", models={}, profile="")
_MOST: Final = 200
_MOST_MINUTES: Final = 24 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineHours:
    """Class hours that an institution taught and entered, without exam time."""

    id: str
    learner_id: str
    programme: str
    institution: str
    minutes: int
    held_on: date
    topic: str
    entered_ms: int
    withdrawn_ms: int | None
    withdrawn_reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decided:
    """What somebody decided about a registration, and why."""

    state: RegistrationState
    reasons: tuple[str, ...]
    actor: str
    sealed: Sealed
    """The reasons, for whoever reads the ledger."""


class Office:
    """Decides and records; who may is up to the routes."""

    def __init__(self, database: Database, registry: Registry, clock: Clock) -> None:
        self._database = database
        self._registry = registry
        self._clock = clock

    # --- registrations ---------------------------------------------------------------------

    async def approve(
        self, learner_id: str, *, actor: str, reason: str, version: int | None = None
    ) -> Registration:
        """Approve a registration with the face enrolled for it; twice is once.

        `version` is the face that was looked at. Raises NotFound, Conflict after a refusal and
        where another face was enrolled since.
        """
        decided = await self._decided(learner_id, RegistrationState.APPROVED, (reason,), actor)
        return await self._settle(learner_id, decided, version)

    async def refuse(
        self, learner_id: str, *, actor: str, reasons: Sequence[str], version: int | None = None
    ) -> Registration:
        """Refuse a registration and the face enrolled with it: what it vouched for is void.

        The learner may enrol again, and waits again. Raises NotFound, Conflict where another face
        than `version` was enrolled since.
        """
        decided = await self._decided(learner_id, RegistrationState.REFUSED, reasons, actor)
        return await self._settle(learner_id, decided, version)

    async def refuse_face(
        self, learner_id: str, version: int, *, actor: str, reasons: Sequence[str]
    ) -> bool:
        """Refuse one enrolled face; tell whether the registration was refused with it.

        It was where no other face has been enrolled since. Raises NotFound where there is no such
        face.
        """
        now = self._clock.stamp().utc_ms
        decided = await self._decided(learner_id, RegistrationState.REFUSED, reasons, actor)

        async def job(tx: Transaction) -> bool:
            if await rows.read_template(tx.connection, learner_id, version) is None:
                raise no_template(learner_id, version)
            if await _newest(tx, learner_id) == version:
                await _store(tx, learner_id, decided, version, now)
                return True
            if await _void(tx, learner_id, version, now):
                entry = _said(learner_id, "template_refused", decided, version=version, now=now)
                await _append(tx, entry, decided)
            return False

        return await self._database.write(job)

    async def _decided(
        self, learner_id: str, state: RegistrationState, reasons: Sequence[str], actor: str
    ) -> _Decided:
        sealed = await self._registry.staff_words.seal(learner_id, "\n".join(reasons))
        return _Decided(state=state, reasons=tuple(reasons), actor=actor, sealed=sealed)

    async def _settle(
        self, learner_id: str, decided: _Decided, looked_at: int | None
    ) -> Registration:
        now = self._clock.stamp().utc_ms

        async def job(tx: Transaction) -> Registration:
            version = await _newest(tx, learner_id)
            require_newest(looked_at, version)
            return await _store(tx, learner_id, decided, version, now)

        return await self._database.write(job)

    async def learners(
        self,
        *,
        state: RegistrationState | None = None,
        business_ref: str | None = None,
        face_waits: bool = False,
        after: str = "",
        limit: int = _MOST,
    ) -> list[tuple[Learner, Registration]]:
        """List learners with their registrations, by pseudonym; `after` goes on behind one.

        With `face_waits` only those whose hours wait for somebody to confirm a face, the newest or
        an earlier one that they studied with.
        """
        conditions: list[Any] = [learners.c.id > after]
        if state is not None:
            conditions.append(self._stands(state))
        if business_ref is not None:
            conditions.append(learners.c.business_ref == business_ref)
        if face_waits:
            conditions.append(rows.unconfirmed(self._registry.programmes.provisional()))
        query = (
            select(learners, registrations)
            .outerjoin(registrations, registrations.c.learner_id == learners.c.id)
            .where(*conditions)
            .order_by(learners.c.id)
            .limit(min(limit, _MOST))
        )
        async with self._database.read() as connection:
            found = (await connection.execute(query)).mappings().all()
        return [
            (
                rows.to_learner(row),
                self._registry.standing(rows.to_learner(row), None)
                if row["state"] is None
                else rows.to_registration(row),
            )
            for row in found
        ]

    def _stands(self, state: RegistrationState) -> ColumnElement[bool]:
        """Give the condition of a state; whoever nobody has decided about waits, or need not."""
        recorded = registrations.c.state == str(state)
        if state is RegistrationState.REFUSED:
            return recorded
        waiting = {
            str(track)
            for policy in self._registry.programmes.in_force().values()
            for track in policy.enrolment.approval_tracks
        }
        by_track = learners.c.track.in_(waiting)
        unsaid = by_track if state is RegistrationState.WAITING else ~by_track
        return or_(recorded, and_(registrations.c.state.is_(None), unsaid))

    # --- offline class hours ---------------------------------------------------------------

    async def enter_offline(
        self,
        learner_id: str,
        *,
        programme: str,
        institution: str,
        minutes: int,
        held_on: date,
        topic: str,
    ) -> OfflineHours:
        """Enter class hours that were taught offline. Raises NotFound, BadRequest."""
        policy = self._registry.programmes.policy(programme, None)
        now = self._clock.stamp()
        if not 0 < minutes <= _MOST_MINUTES:
            raise BadRequest("Offline hours are between 1 minute and a day.")
        if held_on > now.utc.astimezone(policy.zone).date():
            raise BadRequest(
                "The offline hours lie in the future.", remedy="Enter them once they were taught."
            )
        made = OfflineHours(
            id=f"off_{secrets.token_hex(10)}",
            learner_id=learner_id,
            programme=programme,
            institution=institution,
            minutes=minutes,
            held_on=held_on,
            topic=topic,
            entered_ms=now.utc_ms,
            withdrawn_ms=None,
            withdrawn_reason=None,
        )
        values = {name: getattr(made, name) for name in OfflineHours.__slots__}
        data = {
            "id": made.id,
            "programme": programme,
            "institution": institution,
            "minutes": minutes,
            "held_on": held_on.isoformat(),
        }

        async def job(tx: Transaction) -> None:
            await rows.read_learner(tx.connection, learner_id)
            await tx.connection.execute(
                insert(offline_hours), {**values, "held_on": held_on.isoformat()}
            )
            await tx.append(
                [_entry(learner_id, f"offline:{made.id}", "offline_hours", now.utc_ms, data)]
            )

        await self._database.write(job)
        return made

    async def withdraw_offline(
        self, hours_id: str, *, institution: str | None, actor: str, reason: str
    ) -> OfflineHours:
        """Take back hours entered by mistake; an institution its own only. Raises NotFound."""
        now = self._clock.stamp().utc_ms
        query = select(offline_hours).where(offline_hours.c.id == hours_id)

        async def job(tx: Transaction) -> None:
            row = (await tx.connection.execute(query)).mappings().one_or_none()
            if row is None or institution not in (None, row["institution"]):
                raise NotFound(f"There are no offline hours {hours_id!r}.")
            if row["withdrawn_ms"] is not None:
                return
            await tx.connection.execute(
                update(offline_hours)
                .where(offline_hours.c.id == hours_id)
                .values(withdrawn_ms=now, withdrawn_reason=reason)
            )
            data = {"id": hours_id, "actor": actor, "reason_sha256": digest(reason)}
            kind = "offline_hours_withdrawn"
            key = f"offline_withdrawn:{hours_id}"
            await tx.append([_entry(row["learner_id"], key, kind, now, data, reason=IN_WORDS)])

        await self._database.write(job)
        async with self._database.read() as connection:
            return _hours((await connection.execute(query)).mappings().one())

    async def offline(self, learner_id: str) -> list[OfflineHours]:
        """List a learner's offline hours, those that were withdrawn too. Raises NotFound."""
        async with self._database.read() as connection:
            await rows.read_learner(connection, learner_id)
            query = select(offline_hours).where(offline_hours.c.learner_id == learner_id)
            ordered = query.order_by(offline_hours.c.held_on, offline_hours.c.id)
            return [_hours(row) for row in (await connection.execute(ordered)).mappings()]

    # --- the challenge instead of the passive vote -----------------------------------------

    async def require_challenge(self, learner_id: str, *, actor: str, reason: str) -> None:
        """Confirm a person whom the passive networks keep flagging: he is asked to act instead.

        Passive errors are tied to persons, not to chance. Raises NotFound.
        """
        await self._challenge(learner_id, actor=actor, reason=reason, wanted=True)

    async def lift_challenge(self, learner_id: str, *, actor: str, reason: str) -> None:
        """Let the passive networks vote again. Raises NotFound."""
        await self._challenge(learner_id, actor=actor, reason=reason, wanted=False)

    async def needs_challenge(self, learner_id: str) -> bool:
        """Tell whether this learner's checks use the challenge instead of the passive vote."""
        query = select(challenge_routes.c.since_ms).where(
            challenge_routes.c.learner_id == learner_id, challenge_routes.c.ended_ms.is_(None)
        )
        async with self._database.read() as connection:
            return await connection.scalar(query) is not None

    async def _challenge(self, learner_id: str, *, actor: str, reason: str, wanted: bool) -> None:
        now = self._clock.stamp().utc_ms
        sealed = await self._registry.staff_words.seal(learner_id, reason)

        async def job(tx: Transaction) -> None:
            mine = challenge_routes.c.learner_id == learner_id
            query = select(challenge_routes).where(mine)
            row = (await tx.connection.execute(query)).one_or_none()
            if wanted is (row is not None and row.ended_ms is None):
                return
            values = {"since_ms": now, "actor": actor, "reason": "", "ended_ms": None}
            if not wanted:
                values = {"ended_ms": now}
            if row is None:
                await tx.connection.execute(
                    insert(challenge_routes), {"learner_id": learner_id, **values}
                )
            else:
                await tx.connection.execute(update(challenge_routes).where(mine).values(**values))
            kind = "challenge_route" if wanted else "challenge_route_ended"
            data = {"actor": actor, "reason_sha256": sealed.sha256}
            key = f"{kind}:{now}"
            await tx.append([_entry(learner_id, key, kind, now, data, reason=IN_WORDS)])
            await sealed.keep(tx, learner_id, key)

        await self._database.write(job)


async def _store(
    tx: Transaction, learner_id: str, decided: _Decided, version: int, now: int
) -> Registration:
    """Store what was decided about the newest face, `version`; 0: there is none."""
    state = decided.state
    before = await rows.read_registration(tx.connection, learner_id)
    if before is not None and (before.state, before.template_version) == (state, version):
        return before
    if state is RegistrationState.APPROVED and version in await rows.read_refused(
        tx.connection, learner_id
    ):
        raise Conflict(
            "The face that is enrolled was refused.",
            remedy="Have the learner enrol again; then approve that.",
        )
    made = Registration(
        learner_id=learner_id,
        state=state,
        reasons=decided.reasons,
        template_version=version,
        changed_ms=now,
        changed_by=decided.actor,
    )
    await rows.put_registration(tx.connection, made)
    if state is RegistrationState.REFUSED and version:
        await _void(tx, learner_id, version, now)
    entry = _said(learner_id, f"registration_{state}", decided, version=version, now=now)
    await _append(tx, entry, decided)
    return made


def _said(learner_id: str, kind: str, decided: _Decided, *, version: int, now: int) -> NewEntry:
    data = {
        "actor": decided.actor,
        "template_version": version,
        "reasons_sha256": decided.sealed.sha256,
    }
    key = f"{kind}:{version}:{now}"
    return _entry(learner_id, key, kind, now, data, reason=IN_WORDS)


async def _append(tx: Transaction, entry: NewEntry, decided: _Decided) -> None:
    """Append the entry of a decision, and keep its words beside it."""
    await tx.append([entry])
    await decided.sealed.keep(tx, entry.subject, entry.key)


async def _newest(tx: Transaction, learner_id: str) -> int:
    """Give the version of the newest template; 0: there is none."""
    template = await rows.read_template(tx.connection, learner_id)
    return 0 if template is None else template.version


async def _void(tx: Transaction, learner_id: str, version: int, now: int) -> bool:
    """Note that a face was refused; tell whether that is new."""
    if version in await rows.read_refused(tx.connection, learner_id):
        return False
    await tx.connection.execute(
        insert(refused_templates),
        {"learner_id": learner_id, "version": version, "refused_ms": now},
    )
    return True


def _hours(row: Any) -> OfflineHours:
    return OfflineHours(**{**row, "held_on": date.fromisoformat(row["held_on"])})


def _entry(
    subject: str, key: str, kind: str, at_ms: int, data: Mapping[str, Any], *, reason: str = ""
) -> NewEntry:
    return ledger.entry(
        subject=subject,
        key=key,
        kind=kind,
        at_ms=at_ms,
        context=_NOTHING,
        reason=reason,
        data=data,
    )
