"""People: what is known of them, encrypted, and what staff decided about them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from session_tracker.store.append_only import refusals

revision = "0003"
down_revision = "0002"

_TABLES = (
    "people",
    "registrations",
    "refused_templates",
    "offline_hours",
    "challenge_routes",
    "access_log",
)


def upgrade() -> None:
    """Make the tables; of the trail of who looked at what, the database refuses changes."""
    _known()
    _decided()
    op.create_table(
        "access_log",
        sa.Column("id", _big(), nullable=False, autoincrement=True),
        _ms("at_ms"),
        _text("actor"),
        _text("route"),
        _text("subject"),
        _text("purpose"),
        sa.PrimaryKeyConstraint("id", name="pk_access_log"),
    )
    op.create_index("ix_access_log_actor", "access_log", ["actor"])
    op.create_index("ix_access_log_subject", "access_log", ["subject"])
    for statement in refusals(op.get_context().dialect.name, ("access_log",)):
        op.execute(sa.text(statement))


def downgrade() -> None:
    """Remove them."""
    for table in reversed(_TABLES):
        op.drop_table(table)


def _known() -> None:
    op.create_table(
        "people",
        _text("learner_id"),
        sa.Column("name", sa.LargeBinary(), nullable=True),
        sa.Column("identity_number", sa.LargeBinary(), nullable=True),
        _ms("recorded_ms"),
        _ms("erased_ms", nullable=True),
        sa.PrimaryKeyConstraint("learner_id", name="pk_people"),
        _of_learner("people"),
    )
    op.create_table(
        "offline_hours",
        _text("id"),
        _text("learner_id"),
        _text("programme"),
        _text("institution"),
        sa.Column("minutes", sa.Integer(), nullable=False),
        _text("held_on"),
        _text("topic"),
        _ms("entered_ms"),
        _ms("withdrawn_ms", nullable=True),
        _text("withdrawn_reason", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_offline_hours"),
        _of_learner("offline_hours"),
    )
    op.create_index("ix_offline_hours_learner_id", "offline_hours", ["learner_id"])


def _decided() -> None:
    op.create_table(
        "registrations",
        _text("learner_id"),
        _text("state"),
        _text("reasons"),
        sa.Column("template_version", sa.Integer(), nullable=False),
        _ms("changed_ms"),
        _text("changed_by"),
        sa.PrimaryKeyConstraint("learner_id", name="pk_registrations"),
        _of_learner("registrations"),
    )
    op.create_index("ix_registrations_state", "registrations", ["state"])
    op.create_table(
        "refused_templates",
        _text("learner_id"),
        sa.Column("version", sa.Integer(), nullable=False),
        _ms("refused_ms"),
        sa.PrimaryKeyConstraint("learner_id", "version", name="pk_refused_templates"),
        _of_learner("refused_templates"),
    )
    op.create_table(
        "challenge_routes",
        _text("learner_id"),
        _ms("since_ms"),
        _text("actor"),
        _text("reason"),
        _ms("ended_ms", nullable=True),
        sa.PrimaryKeyConstraint("learner_id", name="pk_challenge_routes"),
        _of_learner("challenge_routes"),
    )


def _big() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _ms(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, _big(), nullable=nullable)


def _of_learner(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["learner_id"], ["learners.id"], name=f"fk_{table}_learner_id")
