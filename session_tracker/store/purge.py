"""Removes every row about a learner; what the ledger holds under his pseudonym stays."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Table, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from session_tracker.store import schema as s
from session_tracker.store.tables_outbox import outbox_deliveries, outbox_events
from session_tracker.store.tables_people import (
    challenge_routes,
    offline_hours,
    people,
    refused_templates,
    registrations,
    staff_words,
)
from session_tracker.store.tables_reviews import pictures, review_votes, reviews
from session_tracker.store.tables_signin import invitations, learner_tokens
from session_tracker.store.tables_streams import frame_fingerprints


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """What was there."""

    sessions: tuple[str, ...]
    rows: int


async def purge_learner(connection: AsyncConnection, learner_id: str) -> Purged:
    """Remove a learner's rows, those that hang on others first."""
    found = await connection.scalars(
        select(s.sessions.c.id).where(s.sessions.c.learner_id == learner_id)
    )
    ids = tuple(sorted(found.all()))
    cases = select(reviews.c.id).where(reviews.c.learner_id == learner_id)
    events = select(outbox_events.c.seq).where(outbox_events.c.subject.in_((learner_id, *ids)))
    others = reviews.c.other_learner_id == learner_id
    await connection.execute(update(reviews).where(others).values(other_learner_id=None))
    steps: list[tuple[Table, ColumnElement[bool]]] = [
        (outbox_deliveries, outbox_deliveries.c.seq.in_(events)),
        (outbox_events, outbox_events.c.seq.in_(events)),
        (review_votes, review_votes.c.review_id.in_(cases)),
        *((t, t.c.session_id.in_(ids)) for t in (s.presence_runs, s.playback_reports, s.streams)),
        *((t, t.c.learner_id == learner_id) for t in (pictures, frame_fingerprints, reviews)),
        *((t, t.c.learner_id == learner_id) for t in (s.leases, s.sessions, s.certificates)),
        *((t, t.c.learner_id == learner_id) for t in (s.consents, s.enrolments, s.templates)),
        *((t, t.c.learner_id == learner_id) for t in (invitations, learner_tokens, people)),
        *((t, t.c.learner_id == learner_id) for t in (registrations, refused_templates)),
        *(
            (t, t.c.learner_id == learner_id)
            for t in (offline_hours, challenge_routes, staff_words)
        ),
        (s.learners, s.learners.c.id == learner_id),
    ]
    rows = 0
    for table, which in steps:
        rows += (await connection.execute(delete(table).where(which))).rowcount
    return Purged(sessions=ids, rows=rows)
