"""Tables of streams: what a learner's earlier frames looked like, so that none is shown again."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, ForeignKey, Integer, LargeBinary, Table, Text

from session_tracker.store.schema import big, metadata

frame_fingerprints: Final = Table(
    "frame_fingerprints",
    metadata,
    Column("session_id", Text, ForeignKey("sessions.id"), primary_key=True),
    Column("part", Integer, primary_key=True, doc="counts from 1 within a session"),
    Column("learner_id", Text, ForeignKey("learners.id"), nullable=False, index=True),
    Column("prints", LargeBinary, nullable=False, doc="64 bytes each, under the learner's key"),
    Column("keep_until_ms", big, nullable=False, index=True),
)
