"""Sign-in of learners: invitations (codes and links), and the tokens of their devices."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the two tables."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "invitations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("learner_id", sa.Text(), nullable=False),
        sa.Column("selector", sa.Text(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("link_hash", sa.Text(), nullable=False),
        sa.Column("issued_ms", big, nullable=False),
        sa.Column("code_expires_ms", big, nullable=False),
        sa.Column("expires_ms", big, nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("used_ms", big, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_invitations"),
        sa.ForeignKeyConstraint(["learner_id"], ["learners.id"], name="fk_invitations_learner_id"),
        sa.UniqueConstraint("link_hash", name="uq_invitations_link_hash"),
    )
    op.create_index("ix_invitations_learner_id", "invitations", ["learner_id"])
    op.create_index("ix_invitations_selector", "invitations", ["selector"])
    op.create_table(
        "learner_tokens",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("learner_id", sa.Text(), nullable=False),
        sa.Column("issued_ms", big, nullable=False),
        sa.Column("expires_ms", big, nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_learner_tokens"),
        sa.ForeignKeyConstraint(
            ["learner_id"], ["learners.id"], name="fk_learner_tokens_learner_id"
        ),
    )
    op.create_index("ix_learner_tokens_learner_id", "learner_tokens", ["learner_id"])


def downgrade() -> None:
    """Remove them."""
    op.drop_table("learner_tokens")
    op.drop_table("invitations")
