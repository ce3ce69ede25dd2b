"""Streams: fingerprints of a learner's earlier frames."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "frame_fingerprints",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("learner_id", sa.Text(), nullable=False),
        sa.Column("prints", sa.LargeBinary(), nullable=False),
        sa.Column(
            "keep_until_ms", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.PrimaryKeyConstraint("session_id", "part", name="pk_frame_fingerprints"),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name="fk_frame_fingerprints_session_id"
        ),
        sa.ForeignKeyConstraint(
            ["learner_id"], ["learners.id"], name="fk_frame_fingerprints_learner_id"
        ),
    )
    op.create_index("ix_frame_fingerprints_learner_id", "frame_fingerprints", ["learner_id"])
    op.create_index("ix_frame_fingerprints_keep_until_ms", "frame_fingerprints", ["keep_until_ms"])


def downgrade() -> None:
    """Forget them: recordings of earlier sessions are not known any more."""
    op.drop_table("frame_fingerprints")
