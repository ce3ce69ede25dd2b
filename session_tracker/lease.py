"""One lease per learner: whoever studies on two devices at once studies on one.

A lease belongs to one session at a time. Its epoch counts up with every new holder (a fencing
number): a write under an older epoch is refused, however late it arrives. Heartbeats extend it;
an expired one may be taken by anybody; a live one only explicitly, and the old session ends once
the new one has passed its start check.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from session_tracker.refusals import StudiesElsewhere, TakenOver
from session_tracker.store.schema import leases


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Who may study for a learner, until when."""

    learner_id: str
    session_id: str
    epoch: int
    expires_ms: int

    def live(self, now_ms: int) -> bool:
        """Tell whether it still holds."""
        return now_ms < self.expires_ms


async def current(connection: AsyncConnection, learner_id: str) -> Lease | None:
    """Give the learner's lease, expired or not."""
    query = select(leases).where(leases.c.learner_id == learner_id)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Lease(**row._mapping)


async def take(
    connection: AsyncConnection, *, learner_id: str, session_id: str, epoch: int, expires_ms: int
) -> str | None:
    """Give the lease to a session, under an epoch above every earlier one.

    Returns the session that had it before, if any. Raises Conflict where a session of the same or
    of a higher epoch has it.
    """
    before = await current(connection, learner_id)
    values = {"session_id": session_id, "epoch": epoch, "expires_ms": expires_ms}
    changed = await connection.execute(
        update(leases).where(leases.c.learner_id == learner_id, leases.c.epoch < epoch), values
    )
    if changed.rowcount:
        return None if before is None else before.session_id
    if before is not None:
        raise refuse_parallel()
    await connection.execute(insert(leases), {"learner_id": learner_id, **values})
    return None


async def extend(
    connection: AsyncConnection, *, learner_id: str, session_id: str, epoch: int, expires_ms: int
) -> None:
    """Note a heartbeat. Raises Conflict where another session holds the lease by now."""
    changed = await connection.execute(
        update(leases)
        .where(
            leases.c.learner_id == learner_id,
            leases.c.session_id == session_id,
            leases.c.epoch == epoch,
        )
        .values(expires_ms=expires_ms)
    )
    if not changed.rowcount:
        raise TakenOver(
            remedy="Open a new session here to take over, if that is wanted.",
        )


async def release(connection: AsyncConnection, *, session_id: str) -> None:
    """Let go of the lease, where this session holds it."""
    await connection.execute(
        update(leases).where(leases.c.session_id == session_id).values(expires_ms=0)
    )


async def forget(connection: AsyncConnection, *, learner_id: str) -> None:
    """Remove the learner's lease."""
    await connection.execute(delete(leases).where(leases.c.learner_id == learner_id))


def refuse_parallel() -> StudiesElsewhere:
    """Say that the learner studies elsewhere."""
    return StudiesElsewhere(
        remedy="Close that session, or open this one with take_over; it needs a pass.",
    )
