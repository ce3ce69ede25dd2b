"""Sessions in the database: rows in, rows out; no rules."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from session_tracker.ledger import Entry, to_entry
from session_tracker.records import SessionRecord, StreamRecord
from session_tracker.store.schema import (
    boots,
    ledger_entries,
    playback_reports,
    presence_runs,
    sessions,
    streams,
)
from verifier.clock import Stamp

_SESSION = tuple(item.name for item in fields(SessionRecord))
_STREAM = tuple(item.name for item in fields(StreamRecord))


async def insert_session(connection: AsyncConnection, record: SessionRecord) -> None:
    """Store a session that was opened."""
    values = {name: getattr(record, name) for name in _SESSION}
    values["media"] = json.dumps(record.media)
    await connection.execute(insert(sessions), values)


async def insert_stream(
    connection: AsyncConnection, stream: StreamRecord, *, session_id: str, opened_ms: int
) -> None:
    """Store a stream that was opened."""
    values = {name: getattr(stream, name) for name in _STREAM}
    await connection.execute(
        insert(streams), {**values, "session_id": session_id, "opened_ms": opened_ms}
    )


async def insert_boot(connection: AsyncConnection, stamp: Stamp) -> None:
    """Store the first stamp of a boot; harmless where another has done so."""
    known = await connection.scalar(select(boots.c.id).where(boots.c.id == stamp.boot_id))
    if known is None:
        await connection.execute(
            insert(boots),
            {"id": stamp.boot_id, "monotonic_ms": stamp.monotonic_ms, "utc_ms": stamp.utc_ms},
        )


async def read_boots(connection: AsyncConnection) -> dict[str, Stamp]:
    """Give the first stamp of every boot by its id."""
    rows = (await connection.execute(select(boots))).all()
    return {
        row.id: Stamp(boot_id=row.id, monotonic_ms=row.monotonic_ms, utc_ms=row.utc_ms)
        for row in rows
    }


async def mark(connection: AsyncConnection, session_id: str, **values: int) -> None:
    """Set ``closed_ms`` or ``settled_ms``."""
    await connection.execute(update(sessions).where(sessions.c.id == session_id).values(**values))


async def read_session(connection: AsyncConnection, session_id: str) -> SessionRecord | None:
    """Give one session."""
    query = select(sessions).where(sessions.c.id == session_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else _record(row)


async def read_unsettled(connection: AsyncConnection) -> list[SessionRecord]:
    """Give every session that is not settled."""
    query = select(sessions).where(sessions.c.settled_ms.is_(None)).order_by(sessions.c.opened_ms)
    return [_record(row) for row in (await connection.execute(query)).mappings()]


async def read_course(
    connection: AsyncConnection, learner_id: str, programme: str, course: int
) -> list[SessionRecord]:
    """Give every session of a learner's course, in the order of their opening."""
    query = select(sessions).where(
        sessions.c.learner_id == learner_id,
        sessions.c.programme == programme,
        sessions.c.course == course,
    )
    rows = (await connection.execute(query.order_by(sessions.c.opened_ms))).mappings()
    return [_record(row) for row in rows]


async def last_epoch(connection: AsyncConnection, learner_id: str) -> int:
    """Give the highest fencing number that a session of the learner has; 0 without any."""
    query = select(func.max(sessions.c.epoch)).where(sessions.c.learner_id == learner_id)
    return int(await connection.scalar(query) or 0)


async def read_streams(connection: AsyncConnection, session_id: str) -> list[StreamRecord]:
    """Give the streams of a session, the first one first."""
    query = select(streams).where(streams.c.session_id == session_id).order_by(streams.c.number)
    rows = (await connection.execute(query)).mappings()
    return [StreamRecord(**{name: row[name] for name in _STREAM}) for row in rows]


async def read_entries(connection: AsyncConnection, subject: str) -> list[Entry]:
    """Give the ledger entries of a session, in order."""
    query = select(ledger_entries).where(ledger_entries.c.subject == subject)
    rows = (await connection.execute(query.order_by(ledger_entries.c.idx))).all()
    return [to_entry(row) for row in rows]


async def read_presence(connection: AsyncConnection, session_id: str) -> list[dict[str, Any]]:
    """Give the presence runs of a session, in order."""
    query = select(presence_runs).where(presence_runs.c.session_id == session_id)
    rows = (await connection.execute(query.order_by(presence_runs.c.run))).mappings()
    return [dict(row) for row in rows]


async def read_playback(connection: AsyncConnection, session_id: str) -> list[dict[str, Any]]:
    """Give the playback reports of a session, by ``seq``."""
    query = select(playback_reports).where(playback_reports.c.session_id == session_id)
    rows = (await connection.execute(query.order_by(playback_reports.c.seq))).mappings()
    return [dict(row) for row in rows]


async def read_answer(
    connection: AsyncConnection, session_id: str, seq: int
) -> tuple[str, str] | None:
    """Give the digest and the first answer of one playback report; None where there is none."""
    query = select(playback_reports.c.digest, playback_reports.c.answer).where(
        playback_reports.c.session_id == session_id, playback_reports.c.seq == seq
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else (row.digest, row.answer)


def _record(row: Any) -> SessionRecord:
    values = {name: row[name] for name in _SESSION}
    values["media"] = tuple(json.loads(row["media"]))
    return SessionRecord(**values)
