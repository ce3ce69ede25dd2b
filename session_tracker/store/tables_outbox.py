"""Tables of the outbox: what others are told, and how far each of them has heard it."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Integer, Table, Text

from session_tracker.store.schema import big, metadata

outbox_events = Table(
    "outbox_events",
    metadata,
    Column("seq", big, primary_key=True, autoincrement=False, doc="order of the ledger"),
    Column("id", Text, nullable=False, unique=True, doc="the same in every delivery"),
    Column("type", Text, nullable=False, doc="such as session.settled"),
    Column("subject", Text, nullable=False, doc="session or learner; order holds within it"),
    Column("at_ms", big, nullable=False),
    Column("body", Text, nullable=False, doc="CloudEvents 1.0 JSON, as it is signed and sent"),
    Index("ix_outbox_events_at_ms", "at_ms"),
)

outbox_deliveries = Table(
    "outbox_deliveries",
    metadata,
    Column("target", Text, primary_key=True, doc="name of a configured receiver"),
    Column("seq", big, ForeignKey("outbox_events.seq"), primary_key=True),
    Column("subject", Text, nullable=False),
    Column("due_ms", big, doc="null while an earlier one of the subject waits, or once done"),
    Column("attempts", Integer, nullable=False),
    Column("first_ms", big, doc="of the first attempt"),
    Column("parked_ms", big, doc="when it was given up until somebody replays it"),
    Column("delivered_ms", big),
    Column("said", Text, doc="what the last attempt met"),
    Index("ix_outbox_deliveries_due", "target", "due_ms"),
    Index("ix_outbox_deliveries_subject", "target", "subject", "seq"),
)
