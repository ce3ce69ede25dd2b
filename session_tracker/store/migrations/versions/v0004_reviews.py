"""Reviews: questions to people, their votes, and pictures as evidence."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables."""
    _reviews()
    op.create_table(
        "review_votes",
        _text("review_id"),
        sa.Column("number", sa.Integer(), nullable=False),
        _text("actor"),
        _text("ruling"),
        sa.Column("reason", sa.LargeBinary(), nullable=False),
        _ms("from_ms", nullable=True),
        _ms("to_ms", nullable=True),
        _ms("at_ms"),
        sa.PrimaryKeyConstraint("review_id", "number", name="pk_review_votes"),
        sa.ForeignKeyConstraint(["review_id"], ["reviews.id"], name="fk_review_votes_review_id"),
    )
    op.create_table(
        "pictures",
        _text("session_id"),
        _text("fact_key"),
        _text("learner_id"),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        _text("sha256"),
        _ms("taken_ms"),
        _ms("keep_until_ms"),
        sa.PrimaryKeyConstraint("session_id", "fact_key", name="pk_pictures"),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name="fk_pictures_session_id"),
        sa.ForeignKeyConstraint(["learner_id"], ["learners.id"], name="fk_pictures_learner_id"),
    )
    op.create_index("ix_pictures_learner_id", "pictures", ["learner_id"])
    op.create_index("ix_pictures_keep_until_ms", "pictures", ["keep_until_ms"])


def downgrade() -> None:
    """Remove them."""
    for table in ("pictures", "review_votes", "reviews"):
        op.drop_table(table)


def _reviews() -> None:
    op.create_table(
        "reviews",
        _text("id"),
        _text("kind"),
        _text("cause"),
        _text("learner_id"),
        _text("session_id", nullable=True),
        _text("other_learner_id", nullable=True),
        sa.Column("template_version", sa.Integer(), nullable=True),
        _ms("from_ms", nullable=True),
        _ms("to_ms", nullable=True),
        sa.Column("spoof", sa.Boolean(), nullable=False),
        _text("opened_by"),
        _ms("opened_ms"),
        _ms("answer_by_ms"),
        _ms("decide_by_ms"),
        _text("state"),
        _ms("answered_ms", nullable=True),
        _ms("decided_ms", nullable=True),
        _text("ruling", nullable=True),
        _ms("applied_ms", nullable=True),
        sa.Column("statement", sa.LargeBinary(), nullable=True),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_reviews"),
        sa.ForeignKeyConstraint(["learner_id"], ["learners.id"], name="fk_reviews_learner_id"),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name="fk_reviews_session_id"),
        sa.ForeignKeyConstraint(
            ["other_learner_id"], ["learners.id"], name="fk_reviews_other_learner_id"
        ),
    )
    op.create_index("ix_reviews_learner_id", "reviews", ["learner_id"])
    op.create_index("ix_reviews_session_id", "reviews", ["session_id"])
    op.create_index("ix_reviews_state", "reviews", ["state", "decide_by_ms"])


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _ms(name: str, *, nullable: bool = False) -> sa.Column[int]:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, big, nullable=nullable)
