"""Reviews in the database: rows in, rows out; no rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from session_tracker.review import Review, ReviewKind, ReviewState, Ruling, Vote
from session_tracker.store.tables_reviews import review_votes, reviews

_PLAIN = (
    "id",
    "cause",
    "learner_id",
    "session_id",
    "other_learner_id",
    "template_version",
    "spoof",
    "opened_by",
    "opened_ms",
    "answer_by_ms",
    "decide_by_ms",
    "answered_ms",
    "decided_ms",
)


async def insert_review(
    connection: AsyncConnection, review: Review, *, statement: bytes | None = None
) -> bool:
    """Store a review that was opened; false where it is there already."""
    known = await connection.scalar(select(reviews.c.id).where(reviews.c.id == review.id))
    if known is None:
        await connection.execute(
            insert(reviews), {**_values(review), "id": review.id, "statement": statement}
        )
    return known is None


async def update_review(
    connection: AsyncConnection, review: Review, *, was: ReviewState, **values: Any
) -> bool:
    """Store how far a review is now; false where somebody else was quicker."""
    changed = await connection.execute(
        update(reviews)
        .where(reviews.c.id == review.id, reviews.c.state == str(was))
        .values(**_values(review), **values)
    )
    return bool(changed.rowcount)


async def insert_vote(
    connection: AsyncConnection, review_id: str, number: int, vote: Vote, reason: bytes
) -> None:
    """Store a vote; its reason in words is encrypted."""
    await connection.execute(
        insert(review_votes),
        {
            "review_id": review_id,
            "number": number,
            "actor": vote.actor,
            "ruling": str(vote.ruling),
            "reason": reason,
            "from_ms": vote.start,
            "to_ms": vote.end,
            "at_ms": vote.at_ms,
        },
    )


async def mark_applied(connection: AsyncConnection, review_id: str, now_ms: int) -> None:
    """Note that a decision was carried out."""
    await connection.execute(
        update(reviews).where(reviews.c.id == review_id).values(applied_ms=now_ms)
    )


async def read_reviews(
    connection: AsyncConnection, *conditions: Any, limit: int | None = None
) -> list[Review]:
    """Give reviews with their votes (without their words), the most urgent first."""
    query = select(reviews).where(*conditions).order_by(reviews.c.decide_by_ms, reviews.c.id)
    rows = (await connection.execute(query.limit(limit))).mappings().all()
    votes = await _votes(connection, [row["id"] for row in rows])
    return [_review(row, votes.get(row["id"], ())) for row in rows]


async def find_appeal(
    connection: AsyncConnection, session_id: str, start: int, end: int
) -> str | None:
    """Name an appeal about part of [start, end) of a session, decided or not."""
    query = select(reviews.c.id).where(
        *_appeals_about(session_id), reviews.c.from_ms < end, reviews.c.to_ms > start
    )
    found: str | None = await connection.scalar(query.limit(1))
    return found


async def count_open_appeals(connection: AsyncConnection, session_id: str) -> int:
    """Count the appeals about a session that nobody has decided yet."""
    query = select(func.count()).where(*_appeals_about(session_id), reviews.c.decided_ms.is_(None))
    return int(await connection.scalar(query) or 0)


def _appeals_about(session_id: str) -> tuple[Any, ...]:
    return reviews.c.session_id == session_id, reviews.c.kind == str(ReviewKind.APPEAL)


async def read_held_templates(connection: AsyncConnection, learner_id: str) -> frozenset[int]:
    """Name the versions of a learner's template that a review holds.

    One that is not decided, or that found one person under two accounts and is not carried out.
    """
    refuses = reviews.c.applied_ms.is_(None) & (reviews.c.ruling == str(Ruling.UPHELD))
    query = select(reviews.c.template_version).where(
        reviews.c.learner_id == learner_id,
        reviews.c.kind == str(ReviewKind.ENROLMENT_HIT),
        reviews.c.decided_ms.is_(None) | refuses,
    )
    return frozenset((await connection.scalars(query)).all())


async def read_words(connection: AsyncConnection, review_id: str) -> dict[str, bytes]:
    """Give what was said about a review, encrypted: ``statement``, ``answer``, ``vote:N``."""
    query = select(reviews.c.statement, reviews.c.answer).where(reviews.c.id == review_id)
    row = (await connection.execute(query)).one()
    found = {"statement": row.statement, "answer": row.answer}
    query = select(review_votes.c.number, review_votes.c.reason)
    for vote in await connection.execute(query.where(review_votes.c.review_id == review_id)):
        found[f"vote:{vote.number}"] = vote.reason
    return {name: bytes(words) for name, words in found.items() if words is not None}


async def _votes(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, tuple[Vote, ...]]:
    query = select(review_votes).where(review_votes.c.review_id.in_(ids))
    found: dict[str, tuple[Vote, ...]] = {}
    ordered = query.order_by(review_votes.c.review_id, review_votes.c.number)
    for row in await connection.execute(ordered):
        vote = Vote(
            actor=row.actor,
            ruling=Ruling(row.ruling),
            reason="",
            start=row.from_ms,
            end=row.to_ms,
            at_ms=row.at_ms,
        )
        found[row.review_id] = (*found.get(row.review_id, ()), vote)
    return found


def _values(review: Review) -> dict[str, Any]:
    values = {name: getattr(review, name) for name in _PLAIN if name != "id"}
    return {
        **values,
        "kind": str(review.kind),
        "state": str(review.state),
        "ruling": None if review.ruling is None else str(review.ruling),
        "from_ms": review.start,
        "to_ms": review.end,
    }


def _review(row: Any, votes: tuple[Vote, ...]) -> Review:
    return Review(
        **{name: row[name] for name in _PLAIN},
        kind=ReviewKind(row["kind"]),
        state=ReviewState(row["state"]),
        ruling=None if row["ruling"] is None else Ruling(row["ruling"]),
        start=row["from_ms"],
        end=row["to_ms"],
        votes=votes,
    )
