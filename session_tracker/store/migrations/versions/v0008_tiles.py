"""Tiles: the hashes of each full block of the ledger in one row, so that a proof reads few rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

from session_tracker.store.append_only import refusals

revision = "0008"
down_revision = "0007"

_BLOCK = 256
_AT_ONCE = 64
"""Tiles per statement: half a megabyte."""


def upgrade() -> None:
    """Make the table and fill it from the hashes that are there."""
    tiles = op.create_table(
        "ledger_tiles",
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "position", name="pk_ledger_tiles"),
    )
    rows: list[dict[str, Any]] = []
    for row in _tiles(op.get_bind()):
        rows.append(row)
        if len(rows) == _AT_ONCE:
            op.bulk_insert(tiles, rows)
            rows = []
    if rows:
        op.bulk_insert(tiles, rows)
    for statement in refusals(op.get_context().dialect.name, ("ledger_tiles",)):
        op.execute(sa.text(statement))


def downgrade() -> None:
    """Remove it: everything in it can be had from the other tables."""
    op.drop_table("ledger_tiles")


def _tiles(connection: sa.Connection) -> Iterator[dict[str, Any]]:
    """Give the tile of every block whose root is there.

    Of a damaged ledger some may lack hashes: `benren ledger verify` finds that, a migration does
    not stop a service for it.
    """
    roots = sa.text("SELECT level, position FROM ledger_nodes ORDER BY level, position")
    for level, position in connection.execute(roots).all():
        start = position * _BLOCK
        if level == 1:
            query = "SELECT leaf_hash FROM ledger_entries WHERE idx >= :a AND idx < :b ORDER BY idx"
        else:
            query = (
                "SELECT hash FROM ledger_nodes WHERE level = :level AND position >= :a"
                " AND position < :b ORDER BY position"
            )
        values = {"a": start, "b": start + _BLOCK}
        below = {} if level == 1 else {"level": level - 1}
        hashes = connection.scalars(sa.text(query), values | below).all()
        if len(hashes) == _BLOCK:
            yield {"level": level - 1, "position": position, "hashes": b"".join(hashes)}
