"""The tables: SQLAlchemy Core metadata, portable between SQLite and PostgreSQL.

Instants are whole milliseconds of UTC in 64-bit integers (SQLite hands back naive datetimes,
PostgreSQL aware ones: integers are the same on both). The migrations create what stands here;
a test compares the two. What the ledger holds is pseudonymous; biometrics have a table of
their own, so that one learner's can be erased while the hours stay.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

big = BigInteger().with_variant(Integer, "sqlite")
"""64 bits on both; on SQLite an INTEGER key is the row id itself."""

learners = Table(
    "learners",
    metadata,
    Column("id", Text, primary_key=True, doc="pseudonymous"),
    Column("category", Text, nullable=False),
    Column("track", Text, nullable=False, doc="initial or refresher"),
    Column("industry", Text, nullable=False),
    Column("business_ref", Text, nullable=False),
    Column("created_ms", big, nullable=False),
)

templates = Table(
    "templates",
    metadata,
    Column("learner_id", Text, ForeignKey("learners.id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("blob", LargeBinary, doc="opaque, encrypted by the verifier; null once erased"),
    Column("provenance", Text, nullable=False, doc="id_photo, vetted_live or self_live"),
    Column("enrolled_ms", big, nullable=False),
    Column("confirmed_ms", big, doc="when a self_live one was matched or vetted"),
    Column("erased_ms", big),
)

consents = Table(
    "consents",
    metadata,
    Column("id", Text, primary_key=True),
    Column("learner_id", Text, ForeignKey("learners.id"), nullable=False, index=True),
    Column("purpose", Text, nullable=False),
    Column("text_version", Text, nullable=False),
    Column("given_ms", big, nullable=False),
    Column("withdrawn_ms", big),
)

programmes = Table(
    "programmes",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("digest", Text, nullable=False, doc="SHA-256 of the policy as loaded"),
    Column("document", Text, nullable=False),
    Column("registered_ms", big, nullable=False),
)

enrolments = Table(
    "enrolments",
    metadata,
    Column("learner_id", Text, ForeignKey("learners.id"), primary_key=True),
    Column("programme", Text, primary_key=True),
    Column("course", Integer, primary_key=True, doc="1, then one more for every year's course"),
    Column("policy_version", Text, nullable=False, doc="in force when the course began"),
    Column("track", Text, nullable=False),
    Column("started_ms", big, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("learner_id", Text, ForeignKey("learners.id"), nullable=False),
    Column("programme", Text, nullable=False),
    Column("course", Integer, nullable=False),
    Column("policy_version", Text, nullable=False),
    Column("consent_id", Text, ForeignKey("consents.id"), nullable=False),
    Column("media", Text, nullable=False, doc="JSON list of media ids"),
    Column("token_hash", Text, nullable=False, unique=True),
    Column("epoch", Integer, nullable=False, doc="fencing number of the lease"),
    Column("opened_ms", big, nullable=False),
    Column("template_version", Integer, nullable=False, doc="its provenance may be provisional"),
    Column("taking_over", Text, doc="session that a first pass of this one will close"),
    Column("closed_ms", big),
    Column("settled_ms", big),
    Index("ix_sessions_learner", "learner_id", "programme", "course"),
    Index("ix_sessions_settled_ms", "settled_ms"),
)

boots = Table(
    "boots",
    metadata,
    Column("id", Text, primary_key=True, doc="boot id of a process that stamped something"),
    Column("monotonic_ms", big, nullable=False, doc="of its first stamp"),
    Column("utc_ms", big, nullable=False, doc="of its first stamp"),
)

streams = Table(
    "streams",
    metadata,
    Column("id", Text, primary_key=True),
    Column("session_id", Text, ForeignKey("sessions.id"), nullable=False, index=True),
    Column("number", Integer, nullable=False, doc="counts the streams of a session from 1"),
    Column("opened_ms", big, nullable=False),
    Column("last_event_id", big, nullable=False),
    Column("track_offset", Integer, nullable=False, doc="tracks count on within a session"),
)

ledger_entries = Table(
    "ledger_entries",
    metadata,
    Column("idx", big, primary_key=True, autoincrement=False),
    Column("subject", Text, nullable=False, doc="session, learner or programme"),
    Column("key", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("body", LargeBinary, nullable=False, doc="canonical JSON: what is hashed"),
    Column("leaf_hash", LargeBinary, nullable=False),
    UniqueConstraint("subject", "key"),
)

ledger_nodes = Table(
    "ledger_nodes",
    metadata,
    Column("level", Integer, primary_key=True),
    Column("position", big, primary_key=True),
    Column("hash", LargeBinary, nullable=False),
)

ledger_tiles = Table(
    "ledger_tiles",
    metadata,
    Column("level", Integer, primary_key=True),
    Column("position", big, primary_key=True),
    Column("hashes", LargeBinary, nullable=False, doc="the 256 of a full block, 8 KiB"),
)

ledger_heads = Table(
    "ledger_heads",
    metadata,
    Column("size", big, primary_key=True, autoincrement=False),
    Column("root", LargeBinary, nullable=False),
    Column("at_ms", big, nullable=False),
    Column("signature", Text, nullable=False, doc="key-id.base64url"),
)

presence_runs = Table(
    "presence_runs",
    metadata,
    Column("session_id", Text, ForeignKey("sessions.id"), primary_key=True),
    Column("run", Integer, primary_key=True),
    Column("first_ms", big, nullable=False),
    Column("last_ms", big, nullable=False),
    Column("track", Integer, nullable=False),
    Column("faces_max", Integer, nullable=False),
    Column("samples", Integer, nullable=False),
)

playback_reports = Table(
    "playback_reports",
    metadata,
    Column("session_id", Text, ForeignKey("sessions.id"), primary_key=True),
    Column("seq", big, primary_key=True),
    Column("digest", Text, nullable=False, doc="SHA-256 of the report, to know a repeat"),
    Column("received_ms", big, nullable=False),
    Column("media_id", Text, nullable=False),
    Column("media_ms", big, nullable=False),
    Column("playing", Boolean, nullable=False),
    Column("interaction", Boolean, nullable=False),
    Column("counted", Boolean, nullable=False, doc="false: came after a later report"),
    Column("answer", Text, nullable=False, doc="the first answer, for repeats"),
)

leases = Table(
    "leases",
    metadata,
    Column("learner_id", Text, ForeignKey("learners.id"), primary_key=True),
    Column("session_id", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("expires_ms", big, nullable=False),
)

certificates = Table(
    "certificates",
    metadata,
    Column("number", Text, primary_key=True),
    Column("learner_id", Text, ForeignKey("learners.id"), nullable=False),
    Column("programme", Text, nullable=False),
    Column("course", Integer, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Column("issued_ms", big, nullable=False),
    Column("revoked_ms", big),
    Column("revoked_reason", Text),
    Index(
        "ix_certificates_one_holds",
        "learner_id",
        "programme",
        "course",
        unique=True,
        sqlite_where=text("revoked_ms IS NULL"),
        postgresql_where=text("revoked_ms IS NULL"),
    ),
)

APPEND_ONLY = ("ledger_entries", "ledger_nodes", "ledger_tiles", "ledger_heads")
"""Tables of which the database itself refuses UPDATE and DELETE."""
