"""The outbox: what others are told, and how far each of them has heard it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the events and their deliveries."""
    op.create_table(
        "outbox_events",
        _big("seq", nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        _big("at_ms", nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_outbox_events"),
        sa.UniqueConstraint("id", name="uq_outbox_events_id"),
    )
    op.create_index("ix_outbox_events_at_ms", "outbox_events", ["at_ms"])
    op.create_table(
        "outbox_deliveries",
        sa.Column("target", sa.Text(), nullable=False),
        _big("seq", nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        _big("due_ms"),
        sa.Column("attempts", sa.Integer(), nullable=False),
        _big("first_ms"),
        _big("parked_ms"),
        _big("delivered_ms"),
        sa.Column("said", sa.Text()),
        sa.PrimaryKeyConstraint("target", "seq", name="pk_outbox_deliveries"),
        sa.ForeignKeyConstraint(["seq"], ["outbox_events.seq"], name="fk_outbox_deliveries_seq"),
    )
    op.create_index("ix_outbox_deliveries_due", "outbox_deliveries", ["target", "due_ms"])
    op.create_index(
        "ix_outbox_deliveries_subject", "outbox_deliveries", ["target", "subject", "seq"]
    )


def downgrade() -> None:
    """Remove both; what was not delivered yet is told to nobody."""
    op.drop_table("outbox_deliveries")
    op.drop_table("outbox_events")


def _big(name: str, *, nullable: bool = True) -> sa.Column[int]:
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, kind, nullable=nullable, autoincrement=False)
