"""Tables of reviews: questions to people, their votes, and what evidence there is in pictures."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, LargeBinary, Table, Text

from session_tracker.store.schema import big, metadata

reviews: Final = Table(
    "reviews",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("learner_id", Text, ForeignKey("learners.id"), nullable=False, index=True),
    Column("session_id", Text, ForeignKey("sessions.id"), index=True),
    Column("other_learner_id", Text, ForeignKey("learners.id")),
    Column("template_version", Integer),
    Column("from_ms", big),
    Column("to_ms", big),
    Column("spoof", Boolean, nullable=False),
    Column("opened_by", Text, nullable=False, doc="rules, learner, or name of an API key"),
    Column("opened_ms", big, nullable=False),
    Column("answer_by_ms", big, nullable=False),
    Column("decide_by_ms", big, nullable=False),
    Column("state", Text, nullable=False),
    Column("answered_ms", big),
    Column("decided_ms", big),
    Column("ruling", Text),
    Column("applied_ms", big, doc="when its decision was carried out; null: still to do"),
    Column("statement", LargeBinary, doc="the learner's words, under his key"),
    Column("answer", LargeBinary, doc="what he was answered, under his key"),
    Index("ix_reviews_state", "state", "decide_by_ms"),
)

review_votes: Final = Table(
    "review_votes",
    metadata,
    Column("review_id", Text, ForeignKey("reviews.id"), primary_key=True),
    Column("number", Integer, primary_key=True, doc="from 1"),
    Column("actor", Text, nullable=False, doc="name of an API key"),
    Column("ruling", Text, nullable=False),
    Column("reason", LargeBinary, nullable=False, doc="in words, under the learner's key"),
    Column("from_ms", big),
    Column("to_ms", big),
    Column("at_ms", big, nullable=False),
)

pictures: Final = Table(
    "pictures",
    metadata,
    Column("session_id", Text, ForeignKey("sessions.id"), primary_key=True),
    Column("fact_key", Text, primary_key=True, doc="of the check that it shows"),
    Column("learner_id", Text, ForeignKey("learners.id"), nullable=False, index=True),
    Column("sealed", LargeBinary, nullable=False, doc="small JPEG, under the learner's key"),
    Column("sha256", Text, nullable=False, doc="of the JPEG: what the verifier signed"),
    Column("taken_ms", big, nullable=False),
    Column("keep_until_ms", big, nullable=False, index=True),
)
