"""Revoked certificates can be replaced, approvals are of one face, staff's words are sealed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_COURSE = ["learner_id", "programme", "course"]
_ONE_EACH = "uq_certificates_learner_id_programme_course"
_ONE_IN_FORCE = "ix_certificates_in_force"
_WAIT_AGAIN = """
UPDATE registrations SET state = 'waiting', reasons = '[]', changed_by = ''
WHERE state = 'approved'
AND learner_id IN (SELECT id FROM learners WHERE track = 'initial')
AND template_version < (
    SELECT max(version) FROM templates WHERE templates.learner_id = registrations.learner_id
)
"""
_KEEP_ONE = """
DELETE FROM certificates WHERE revoked_ms IS NOT NULL AND EXISTS (
    SELECT 1 FROM certificates AS other
    WHERE other.learner_id = certificates.learner_id
    AND other.programme = certificates.programme
    AND other.course = certificates.course
    AND (
        other.revoked_ms IS NULL
        OR other.revoked_ms > certificates.revoked_ms
        OR (other.revoked_ms = certificates.revoked_ms AND other.number > certificates.number)
    )
)
"""


def upgrade() -> None:
    """Only of certificates in force there is one a course; who was approved by an older face waits.

    A face that was enrolled after the approval had never been looked at.
    """
    with op.batch_alter_table("certificates") as table:
        table.drop_constraint(_ONE_EACH, type_="unique")
    in_force = sa.text("revoked_ms IS NULL")
    op.create_index(
        _ONE_IN_FORCE,
        "certificates",
        _COURSE,
        unique=True,
        sqlite_where=in_force,
        postgresql_where=in_force,
    )
    op.execute(sa.text(_WAIT_AGAIN))
    op.create_table(
        "staff_words",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("learner_id", sa.Text(), nullable=False),
        sa.Column("words", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("subject", "key", name="pk_staff_words"),
        sa.ForeignKeyConstraint(["learner_id"], ["learners.id"], name="fk_staff_words_learner_id"),
    )
    op.create_index("ix_staff_words_learner_id", "staff_words", ["learner_id"])


def downgrade() -> None:
    """One certificate a course again: of several the one in force stays, or the one revoked last.

    The ledger still names the others. Whoever waits goes on waiting.
    """
    op.drop_table("staff_words")
    op.execute(sa.text(_KEEP_ONE))
    op.drop_index(_ONE_IN_FORCE, "certificates")
    with op.batch_alter_table("certificates") as table:
        table.create_unique_constraint(_ONE_EACH, _COURSE)
