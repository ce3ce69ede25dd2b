"""Sessions at work: held one at a time each, changed in turns, every turn durable before it shows.

Every session is worked on under its own lock; different sessions run beside each other. A turn
is stored in one transaction with its ledger entries before anybody hears of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy.exc import IntegrityError

from session_tracker import lease, rebuild
from session_tracker.axis import Axis
from session_tracker.ledger import Context
from session_tracker.live import Live
from session_tracker.playing import Playing
from session_tracker.policy import Policy
from session_tracker.programmes import Programmes
from session_tracker.records import SessionRecord
from session_tracker.sampling import Draw
from session_tracker.store import learners
from session_tracker.store import sessions as rows
from session_tracker.store.database import Database
from session_tracker.store.writer import Transaction
from session_tracker.throttle import Ration
from session_tracker.turn import Turn
from verifier.errors import Conflict, NotFound, StorageError, Unauthorised
from verifier.types import StreamVerifier

_TOO_FAST: Final = "The session is asked too often."
_LOOK_LESS: Final = "Look every few seconds."
_RENEW_LESS: Final = "Have the stream opened anew where it is over, and wait between two tries."
_REPORT_LESS: Final = "Report at changes of the player, and every report_every_s."


class Turns:
    """The sessions in memory, and the way by which they change."""

    def __init__(
        self,
        *,
        axis: Axis,
        verifier: StreamVerifier,
        database: Database,
        programmes: Programmes,
        draw: Draw,
        follow_up: Callable[[Live, Turn, str | None, bool], None],
    ) -> None:
        """`follow_up` sets going what follows from a turn that is durable.

        It gets the session, the turn, the session that the lease was taken from, and whether the
        checks of the turn are to be sent.
        """
        self._verifier = verifier
        self._database = database
        self._programmes = programmes
        self._draw = draw
        self._follow_up = follow_up
        self.axis = axis
        self.sessions = Playing()
        self.reports = Ration(every_ms=500, burst=20, detail=_TOO_FAST, remedy=_REPORT_LESS)
        """Of a device: one at each change of the player and every `lease.heartbeat_s`."""
        self.looks = Ration(every_ms=250, burst=20, detail=_TOO_FAST, remedy=_LOOK_LESS)
        """Of a device: one every few seconds."""
        self.streams = Ration(every_ms=5_000, burst=10, detail=_TOO_FAST, remedy=_RENEW_LESS)
        """Opened anew: every ten minutes, and a few times while the network comes and goes."""

    # --- sessions in memory ----------------------------------------------------------------

    @asynccontextmanager
    async def fresh(self, live: Live) -> AsyncIterator[Live]:
        """Hold a session; read it from the store first where a write of it failed."""
        async with live.lock:
            if live.stale:
                # What was cancelled may still be in the queue: let it come to its end first.
                # Where the store refuses, it has refused that too.
                with contextlib.suppress(StorageError):
                    await self._database.barrier()
                async with self._database.read() as connection:
                    await rebuild.reload(connection, live, self._draw)
            yield live

    @asynccontextmanager
    async def held(
        self, session_id: str, *, token: str | None, ration: Ration | None = None
    ) -> AsyncIterator[Live]:
        """Hold a session by id; raises as `admitted`."""
        async with self.fresh(await self.admitted(session_id, token=token, ration=ration)) as live:
            yield live

    async def admitted(
        self, session_id: str, *, token: str | None, ration: Ration | None = None
    ) -> Live:
        """Give a session by id, not held; with a token, only its own, and rationed.

        Raises NotFound, Unauthorised, TooManyRequests.
        """
        live = self.sessions.get(session_id)
        record = live.record if live is not None else await self._record(session_id)
        if token is not None:
            if not hmac.compare_digest(token_hash(token), record.token_hash):
                raise Unauthorised(
                    "The token does not belong to this session.",
                    remedy="Send the session_token that POST /v1/sessions returned.",
                )
            if ration is not None:  # before anything is read, or waited for
                ration.take(session_id, self.axis.now())
        return live if live is not None else await self.load(record)

    async def _record(self, session_id: str) -> SessionRecord:
        async with self._database.read() as connection:
            record = await rows.read_session(connection, session_id)
        if record is None:
            raise unknown_session(session_id)
        return record

    async def load(self, record: SessionRecord) -> Live:
        """Read a session from the store; who means to change it holds it first."""
        policy = self._programmes.policy(record.programme, record.policy_version)
        async with self._database.read() as connection:
            course = await learners.read_course_of(connection, record)
            return await rebuild.load(connection, record, course, policy, self._draw)

    # --- turns -----------------------------------------------------------------------------

    def turn(self, live: Live) -> Turn:
        """Begin a turn of a session that is held."""
        context = self.context(live.policy)
        return Turn(live, now=self.axis.now(), context=context, draw=self._draw)

    def context(self, policy: Policy | None = None) -> Context:
        """Say what explains an entry made now."""
        described = dict(self._verifier.describe())
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
                ousted = await self._database.write(job)
            except Conflict:
                if not _needs_lease(live, turn):
                    raise
                turn.give_way()
                ousted = await self._database.write(job)
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
        self._follow_up(live, turn, ousted, send)

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
