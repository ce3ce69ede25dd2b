"""How sessions begin, and how a running one gets another stream."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

from session_tracker import lease
from session_tracker.admission import (
    Admission,
    Admissions,
    SupervisedAdmission,
    require_still,
    require_still_supervised,
)
from session_tracker.catalogue import Catalogue
from session_tracker.course import begin_course
from session_tracker.enrolment import Registry
from session_tracker.events import Closed, CloseReason, Opened, Supervised
from session_tracker.live import Live
from session_tracker.machine import Machine
from session_tracker.office import Office
from session_tracker.records import SessionRecord, StreamRecord
from session_tracker.refusals import SessionEnded, TakenOver
from session_tracker.staff_words import IN_WORDS
from session_tracker.stage import Stage
from session_tracker.store import sessions as rows
from session_tracker.store.writer import Transaction
from session_tracker.turns import token_hash
from session_tracker.views import SessionView
from verifier.errors import Conflict
from verifier.types import StreamGrant, StreamSpec, StreamVerifier


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


class Openings:
    """Admits learners to sessions."""

    def __init__(
        self, stage: Stage, *, verifier: StreamVerifier, office: Office, catalogue: Catalogue
    ) -> None:
        self._stage = stage
        self._verifier = verifier
        self._office = office
        self._catalogue = catalogue
        self._admissions = Admissions(stage.database, stage.registry)

    @property
    def _registry(self) -> Registry:
        return self._stage.registry

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
        self._catalogue.require(programme, media)
        admission = await self._admissions.admit(
            learner_id=learner_id,
            consent_id=consent_id,
            programme=programme,
            now_ms=self._stage.axis.now(),
        )
        # First the epoch, then who holds the lease: whoever takes it in between is seen, or has
        # the same epoch and wins.
        async with self._stage.database.read() as connection:
            epoch = 1 + await rows.last_epoch(connection, learner_id)
        held = await self._held_elsewhere(learner_id, take_over=take_over)
        record, token = _record(
            admission,
            media,
            epoch=epoch,
            template_version=admission.template.version,
            taking_over=held,
            opened_ms=self._stage.axis.now(),
        )
        by_challenge = await self._office.needs_challenge(learner_id)
        live = Live(
            record=record,
            course=admission.course,
            policy=admission.policy.by_challenge() if by_challenge else admission.policy,
            machine=Machine(),
            by_challenge=by_challenge,
        )
        async with live.lock:
            self._stage.turns.sessions[live.id] = live  # events wait for the lock
            try:
                grant = await self._open(live, admission)
            except BaseException:
                del self._stage.turns.sessions[live.id]
                raise
            view = await self._stage.grading.seen(live)
        return OpenedSession(session_id=live.id, session_token=token, grant=grant, view=view)

    async def _open(self, live: Live, admission: Admission) -> StreamGrant:
        record = live.record
        grant = await self._verifier.open_stream(await self._spec(live, admission.blob))
        stream = StreamRecord(id=grant.stream_id, number=1, last_event_id=0, track_offset=0)
        turn = self._stage.turns.turn(live)
        turn.add_entry(
            kind="session", key="session", at_ms=record.opened_ms, data=_opening(admission, live)
        )
        turn.take(Opened(key="opened", t=record.opened_ms))
        turn.stream = stream

        async def before(tx: Transaction) -> None:
            # Whoever withdraws, erases or refuses from here on finds the session, and ends it.
            await require_still(tx, admission)
            if admission.begins:
                await begin_course(tx, admission.course, record.opened_ms)
            if record.taking_over is None:
                await self._stage.turns.take_lease(tx, live)
            await rows.insert_session(tx.connection, record)
            await rows.insert_stream(
                tx.connection, stream, session_id=live.id, opened_ms=record.opened_ms
            )

        try:
            await self._stage.turns.commit(live, turn, before)
        except BaseException:
            await self._stage.asking.close_stream(grant.stream_id)
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
        self._catalogue.require(programme, media)
        admission = await self._admissions.admit_supervised(
            learner_id=learner_id, programme=programme, now_ms=self._stage.axis.now()
        )
        async with self._stage.database.read() as connection:
            epoch = 1 + await rows.last_epoch(connection, learner_id)
        if await self._held_elsewhere(learner_id, take_over=False) is not None:
            raise lease.refuse_parallel()
        now = self._stage.axis.now()
        record, token = _record(
            admission, media, epoch=epoch, template_version=0, taking_over=None, opened_ms=now
        )
        live = Live(
            record=record, course=admission.course, policy=admission.policy, machine=Machine()
        )
        until = now + minutes * 60_000
        sealed = await self._registry.staff_words.seal(learner_id, reason)
        fact = Supervised(key=f"supervised:{now}-{until}", t=now, end=until)
        async with live.lock:
            self._stage.turns.sessions[live.id] = live
            turn = self._stage.turns.turn(live)
            data = _opening_supervised(admission, record, actor)
            turn.add_entry(kind="session", key="session", at_ms=now, data=data)
            turn.note(Opened(key="opened", t=now))
            said = {"actor": actor, "reason_sha256": sealed.sha256}
            turn.take_decision(fact, reason=IN_WORDS, data=said)
            turn.let_pass()

            async def before(tx: Transaction) -> None:
                await require_still_supervised(tx, admission)
                if admission.begins:
                    await begin_course(tx, admission.course, now)
                await self._stage.turns.take_lease(tx, live)
                await rows.insert_session(tx.connection, record)
                await sealed.keep(tx, live.id, fact.key)

            try:
                await self._stage.turns.commit(live, turn, before)
            except BaseException:
                del self._stage.turns.sessions[live.id]
                raise
            view = await self._stage.grading.seen(live)
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
        async with self._stage.database.read() as connection:
            held = await lease.current(connection, learner_id)
        if held is None:
            return None
        if held.live(self._stage.axis.now()):
            if not take_over:
                raise lease.refuse_parallel()
            return held.session_id
        other = self._stage.turns.sessions.get(held.session_id)
        if other is not None and other.open:
            await self._stage.end(other, CloseReason.EXPIRED)
        return None

    async def reopen_stream(self, session_id: str, token: str) -> StreamGrant:
        """Open a new stream for a running session: after a drop, or after we were restarted.

        Whoever asks has none. So who still sends on the one before, from another window, is told
        that it was taken over: told that it was lost, he would ask too, and so on for ever. What
        the session has shown goes on to the new one (`verifier.streaming.memory`). Raises
        TooManyRequests.
        """
        stage, turns = self._stage, self._stage.turns
        async with turns.held(session_id, token=token, ration=turns.streams) as live:
            require_open(live)
            template = await self._registry.template(live.record.learner_id)
            if template.blob is None or template.version != live.record.template_version:
                raise Conflict(
                    "The face that this session was opened with is not enrolled any more.",
                    remedy="Close this session and open another.",
                )
            if live.stream_id is not None:
                await stage.asking.close_stream(live.stream_id, taken_over=True)
                live.stream_id = None
            grant = await self._verifier.open_stream(await self._spec(live, template.blob))
            stream = StreamRecord(
                id=grant.stream_id,
                number=1 + len(live.streams),
                last_event_id=0,
                track_offset=live.top_track,
            )
            turn = stage.turns.turn(live)
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
                await stage.turns.commit(live, turn, before)
            except BaseException:
                # The next one takes its place, and its memory.
                await stage.asking.close_stream(grant.stream_id, taken_over=True)
                raise
            if live.open:
                live.stream_id = grant.stream_id
            else:  # time was up the moment we looked
                await stage.asking.close_stream(grant.stream_id)
                require_open(live)
            return grant


def _record(
    admission: Admission | SupervisedAdmission,
    media: Sequence[str],
    *,
    epoch: int,
    template_version: int,
    taking_over: str | None,
    opened_ms: int,
) -> tuple[SessionRecord, str]:
    """Make a session's record and the token whose hash it keeps."""
    token = f"sst_{secrets.token_urlsafe(32)}"
    record = SessionRecord(
        id=f"ses_{secrets.token_hex(12)}",
        learner_id=admission.course.learner_id,
        programme=admission.course.programme,
        course=admission.course.course,
        policy_version=admission.policy.version,
        consent_id=admission.consent.id,
        media=tuple(media),
        token_hash=token_hash(token),
        epoch=epoch,
        template_version=template_version,
        taking_over=taking_over,
        opened_ms=opened_ms,
    )
    return record, token


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


def require_open(live: Live) -> None:
    """Raise TakenOver or SessionEnded where a session takes nothing in any more."""
    if live.open:
        return
    closed = next((f for f in live.facts.values() if isinstance(f, Closed)), None)
    if closed is not None and closed.reason is CloseReason.TAKEN_OVER:
        raise TakenOver(remedy="Open a new session here to take over, if that is wanted.")
    raise SessionEnded(
        f"The session has ended ({closed.reason if closed else live.machine.state}).",
        remedy="Open a new session.",
    )
