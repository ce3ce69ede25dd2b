"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from session_tracker.store.append_only import removal, statements

revision = "0001"
down_revision = None

_LEDGER = ("ledger_entries", "ledger_nodes", "ledger_heads")


def upgrade() -> None:
    """Make everything."""
    _people()
    _courses()
    _ledger()
    _evidence()
    for statement in statements(op.get_context().dialect.name, _LEDGER):
        op.execute(sa.text(statement.replace(":=", r"\:=")))


def downgrade() -> None:
    """Remove everything."""
    for table in (
        "certificates",
        "leases",
        "playback_reports",
        "presence_runs",
        "ledger_heads",
        "ledger_nodes",
        "ledger_entries",
        "streams",
        "boots",
        "sessions",
        "enrolments",
        "programmes",
        "consents",
        "templates",
        "learners",
    ):
        op.drop_table(table)
    for statement in removal(op.get_context().dialect.name):
        op.execute(statement)


def _big() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _ms(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, _big(), nullable=nullable)


def _int(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _people() -> None:
    op.create_table(
        "learners",
        _text("id"),
        _text("category"),
        _text("track"),
        _text("industry"),
        _text("business_ref"),
        _ms("created_ms"),
        sa.PrimaryKeyConstraint("id", name="pk_learners"),
    )
    op.create_table(
        "templates",
        _text("learner_id"),
        _int("version"),
        sa.Column("blob", sa.LargeBinary(), nullable=True),
        _text("provenance"),
        _ms("enrolled_ms"),
        _ms("confirmed_ms", nullable=True),
        _ms("erased_ms", nullable=True),
        sa.PrimaryKeyConstraint("learner_id", "version", name="pk_templates"),
        sa.ForeignKeyConstraint(["learner_id"], ["learners.id"], name="fk_templates_learner_id"),
    )
    op.create_table(
        "consents",
        _text("id"),
        _text("learner_id"),
        _text("purpose"),
        _text("text_version"),
        _ms("given_ms"),
        _ms("withdrawn_ms", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_consents"),
        sa.ForeignKeyConstraint(["learner_id"], ["learners.id"], name="fk_consents_learner_id"),
    )
    op.create_index("ix_consents_learner_id", "consents", ["learner_id"])


def _courses() -> None:
    op.create_table(
        "programmes",
        _text("name"),
        _text("version"),
        _text("digest"),
        _text("document"),
        _ms("registered_ms"),
        sa.PrimaryKeyConstraint("name", "version", name="pk_programmes"),
    )
    op.create_table(
        "enrolments",
        _text("learner_id"),
        _text("programme"),
        _int("course"),
        _text("policy_version"),
        _text("track"),
        _ms("started_ms"),
        sa.PrimaryKeyConstraint("learner_id", "programme", "course", name="pk_enrolments"),
        sa.ForeignKeyConstraint(["learner_id"], ["learners.id"], name="fk_enrolments_learner_id"),
    )
    op.create_table(
        "sessions",
        _text("id"),
        _text("learner_id"),
        _text("programme"),
        _int("course"),
        _text("policy_version"),
        _text("consent_id"),
        _text("media"),
        _text("token_hash"),
        _int("epoch"),
        _ms("opened_ms"),
        _int("template_version"),
        _text("taking_over", nullable=True),
        _ms("closed_ms", nullable=True),
        _ms("settled_ms", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        sa.ForeignKeyConstraint(["learner_id"], ["learners.id"], name="fk_sessions_learner_id"),
        sa.ForeignKeyConstraint(["consent_id"], ["consents.id"], name="fk_sessions_consent_id"),
        sa.UniqueConstraint("token_hash", name="uq_sessions_token_hash"),
    )
    op.create_index("ix_sessions_learner", "sessions", ["learner_id", "programme", "course"])
    op.create_index("ix_sessions_settled_ms", "sessions", ["settled_ms"])
    op.create_table(
        "leases",
        _text("learner_id"),
        _text("session_id"),
        _int("epoch"),
        _ms("expires_ms"),
        sa.PrimaryKeyConstraint("learner_id", name="pk_leases"),
        sa.ForeignKeyConstraint(["learner_id"], ["learners.id"], name="fk_leases_learner_id"),
    )
    op.create_table(
        "certificates",
        _text("number"),
        _text("learner_id"),
        _text("programme"),
        _int("course"),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        _ms("issued_ms"),
        _ms("revoked_ms", nullable=True),
        _text("revoked_reason", nullable=True),
        sa.PrimaryKeyConstraint("number", name="pk_certificates"),
        sa.ForeignKeyConstraint(["learner_id"], ["learners.id"], name="fk_certificates_learner_id"),
        sa.UniqueConstraint(
            "learner_id",
            "programme",
            "course",
            name="uq_certificates_learner_id_programme_course",
        ),
    )


def _ledger() -> None:
    op.create_table(
        "boots",
        _text("id"),
        _ms("monotonic_ms"),
        _ms("utc_ms"),
        sa.PrimaryKeyConstraint("id", name="pk_boots"),
    )
    op.create_table(
        "ledger_entries",
        sa.Column("idx", _big(), nullable=False, autoincrement=False),
        _text("subject"),
        _text("key"),
        _text("kind"),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("idx", name="pk_ledger_entries"),
        sa.UniqueConstraint("subject", "key", name="uq_ledger_entries_subject_key"),
    )
    op.create_table(
        "ledger_nodes",
        _int("level"),
        _ms("position"),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "position", name="pk_ledger_nodes"),
    )
    op.create_table(
        "ledger_heads",
        sa.Column("size", _big(), nullable=False, autoincrement=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        _ms("at_ms"),
        _text("signature"),
        sa.PrimaryKeyConstraint("size", name="pk_ledger_heads"),
    )


def _evidence() -> None:
    op.create_table(
        "streams",
        _text("id"),
        _text("session_id"),
        _int("number"),
        _ms("opened_ms"),
        _ms("last_event_id"),
        _int("track_offset"),
        sa.PrimaryKeyConstraint("id", name="pk_streams"),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name="fk_streams_session_id"),
    )
    op.create_index("ix_streams_session_id", "streams", ["session_id"])
    op.create_table(
        "presence_runs",
        _text("session_id"),
        _int("run"),
        _ms("first_ms"),
        _ms("last_ms"),
        _int("track"),
        _int("faces_max"),
        _int("samples"),
        sa.PrimaryKeyConstraint("session_id", "run", name="pk_presence_runs"),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name="fk_presence_runs_session_id"
        ),
    )
    op.create_table(
        "playback_reports",
        _text("session_id"),
        _ms("seq"),
        _text("digest"),
        _ms("received_ms"),
        _text("media_id"),
        _ms("media_ms"),
        sa.Column("playing", sa.Boolean(), nullable=False),
        sa.Column("interaction", sa.Boolean(), nullable=False),
        sa.Column("counted", sa.Boolean(), nullable=False),
        _text("answer"),
        sa.PrimaryKeyConstraint("session_id", "seq", name="pk_playback_reports"),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name="fk_playback_reports_session_id"
        ),
    )
