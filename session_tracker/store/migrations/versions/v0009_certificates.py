"""Certificates: one that holds for each course, beside those that were revoked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_COURSE = ["learner_id", "programme", "course"]
_ONCE = "uq_certificates_learner_id_programme_course"
_ONE_HOLDS = "ix_certificates_one_holds"


def upgrade() -> None:
    """Let another certificate take the place of one that was revoked."""
    with op.batch_alter_table("certificates") as table:
        table.drop_constraint(_ONCE, type_="unique")
    holds = sa.text("revoked_ms IS NULL")
    op.create_index(
        _ONE_HOLDS,
        "certificates",
        _COURSE,
        unique=True,
        sqlite_where=holds,
        postgresql_where=holds,
    )


def downgrade() -> None:
    """Keep the newest of each course; the ledger still has the others."""
    op.execute(
        sa.text(
            "DELETE FROM certificates WHERE EXISTS (SELECT 1 FROM certificates AS other"
            " WHERE other.learner_id = certificates.learner_id"
            " AND other.programme = certificates.programme"
            " AND other.course = certificates.course"
            " AND (other.issued_ms > certificates.issued_ms"
            " OR (other.issued_ms = certificates.issued_ms"
            " AND other.number > certificates.number)))"
        )
    )
    op.drop_index(_ONE_HOLDS, "certificates")
    with op.batch_alter_table("certificates") as table:
        table.create_unique_constraint(_ONCE, _COURSE)
