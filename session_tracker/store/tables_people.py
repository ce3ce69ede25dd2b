"""Tables of people: what is known of them, encrypted, and what staff decided about them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, ForeignKey, Integer, LargeBinary, Table, Text

from session_tracker.store.schema import big, metadata

people: Final = Table(
    "people",
    metadata,
    Column("learner_id", Text, ForeignKey("learners.id"), primary_key=True),
    Column("name", LargeBinary, doc="under the learner's own key; null once erased"),
    Column("identity_number", LargeBinary, doc="under the learner's own key"),
    Column("recorded_ms", big, nullable=False),
    Column("erased_ms", big),
)

registrations: Final = Table(
    "registrations",
    metadata,
    Column("learner_id", Text, ForeignKey("learners.id"), primary_key=True),
    Column("state", Text, nullable=False, doc="waiting, approved or refused", index=True),
    Column("reasons", Text, nullable=False, doc="JSON list"),
    Column("template_version", Integer, nullable=False, doc="the one that was looked at, or 0"),
    Column("changed_ms", big, nullable=False),
    Column("changed_by", Text, nullable=False, doc="name of an API key"),
)

refused_templates: Final = Table(
    "refused_templates",
    metadata,
    Column("learner_id", Text, ForeignKey("learners.id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("refused_ms", big, nullable=False),
)

offline_hours: Final = Table(
    "offline_hours",
    metadata,
    Column("id", Text, primary_key=True),
    Column("learner_id", Text, ForeignKey("learners.id"), nullable=False, index=True),
    Column("programme", Text, nullable=False),
    Column("institution", Text, nullable=False, doc="name of its API key"),
    Column("minutes", Integer, nullable=False, doc="without exam time"),
    Column("held_on", Text, nullable=False, doc="local day, ISO 8601"),
    Column("topic", Text, nullable=False),
    Column("entered_ms", big, nullable=False),
    Column("withdrawn_ms", big),
    Column("withdrawn_reason", Text),
)

challenge_routes: Final = Table(
    "challenge_routes",
    metadata,
    Column("learner_id", Text, ForeignKey("learners.id"), primary_key=True),
    Column("since_ms", big, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("ended_ms", big),
)

staff_words: Final = Table(
    "staff_words",
    metadata,
    Column("subject", Text, primary_key=True, doc="of the ledger's entry with their digest"),
    Column("key", Text, primary_key=True),
    Column("learner_id", Text, ForeignKey("learners.id"), nullable=False, index=True),
    Column("words", LargeBinary, nullable=False, doc="under the learner's own key"),
)

access_log: Final = Table(
    "access_log",
    metadata,
    Column("id", big, primary_key=True, autoincrement=True),
    Column("at_ms", big, nullable=False),
    Column("actor", Text, nullable=False, index=True),
    Column("route", Text, nullable=False),
    Column("subject", Text, nullable=False, index=True, doc="whose data was read"),
    Column("purpose", Text, nullable=False),
)

APPEND_ONLY: Final = ("access_log",)
"""Of these too the database refuses UPDATE and DELETE."""
