"""Tables of sign-in: codes and links that were handed out, and the tokens they were changed for."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, ForeignKey, Integer, LargeBinary, Table, Text

from session_tracker.store.schema import big, metadata

invitations: Final = Table(
    "invitations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("learner_id", Text, ForeignKey("learners.id"), nullable=False, index=True),
    Column("selector", Text, nullable=False, index=True, doc="first four digits of the code"),
    Column("salt", LargeBinary, nullable=False),
    Column("code_hash", LargeBinary, nullable=False, doc="scrypt of the whole code"),
    Column("link_hash", Text, nullable=False, unique=True, doc="SHA-256 of the link's token"),
    Column("issued_ms", big, nullable=False),
    Column("code_expires_ms", big, nullable=False),
    Column("expires_ms", big, nullable=False),
    Column("failures", Integer, nullable=False, doc="wrong codes of the same first digits"),
    Column("used_ms", big, doc="when it was changed for a token, or replaced by another"),
)

learner_tokens: Final = Table(
    "learner_tokens",
    metadata,
    Column("hash", Text, primary_key=True, doc="SHA-256 of the token"),
    Column("learner_id", Text, ForeignKey("learners.id"), nullable=False, index=True),
    Column("issued_ms", big, nullable=False),
    Column("expires_ms", big, nullable=False),
)
