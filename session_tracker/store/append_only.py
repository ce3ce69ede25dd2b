"""Triggers by which the database itself refuses to change the ledger.

They stop mistakes and ordinary clients. Whoever owns the file can drop them: what finds that is
the Merkle tree with its signed heads, not the trigger.
"""

from __future__ import annotations

from collections.abc import Iterator

_SQLITE_REFUSE = """
CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END
"""

# INSERT OR REPLACE deletes without firing the DELETE trigger: hence the checks on insertion.
_SQLITE_INSERT = {
    "ledger_entries": """
CREATE TRIGGER ledger_entries_in_order BEFORE INSERT ON ledger_entries
WHEN NEW.idx IS NOT (SELECT COALESCE(MAX(idx) + 1, 0) FROM ledger_entries)
  OR EXISTS (SELECT 1 FROM ledger_entries WHERE subject = NEW.subject AND key = NEW.key)
BEGIN SELECT RAISE(ABORT, 'ledger_entries is append-only: index or key taken'); END
""",
    "ledger_nodes": """
CREATE TRIGGER ledger_nodes_once BEFORE INSERT ON ledger_nodes
WHEN EXISTS (SELECT 1 FROM ledger_nodes WHERE level = NEW.level AND position = NEW.position)
BEGIN SELECT RAISE(ABORT, 'ledger_nodes is append-only: node taken'); END
""",
    "ledger_heads": """
CREATE TRIGGER ledger_heads_in_order BEFORE INSERT ON ledger_heads
WHEN EXISTS (SELECT 1 FROM ledger_heads WHERE size >= NEW.size)
BEGIN SELECT RAISE(ABORT, 'ledger_heads is append-only: head taken'); END
""",
}

_POSTGRES_FUNCTIONS = (
    """
CREATE FUNCTION benren_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = '23514'; END $$
""",
    """
CREATE FUNCTION benren_in_order() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.idx IS DISTINCT FROM (SELECT COALESCE(MAX(idx) + 1, 0) FROM ledger_entries) THEN
    RAISE EXCEPTION 'ledger_entries is append-only: index % is not the next', NEW.idx
      USING ERRCODE = '23505';
  END IF;
  RETURN NEW;
END $$
""",
)
_POSTGRES_REFUSE = """
CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table}
FOR EACH ROW EXECUTE FUNCTION benren_append_only()
"""
_POSTGRES_TRUNCATE = """
CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION benren_append_only()
"""
_POSTGRES_ORDER = """
CREATE TRIGGER ledger_entries_in_order BEFORE INSERT ON ledger_entries
FOR EACH ROW EXECUTE FUNCTION benren_in_order()
"""


def statements(dialect: str, tables: tuple[str, ...]) -> Iterator[str]:
    """Give the DDL that makes `tables` append-only on ``sqlite`` or ``postgresql``."""
    if dialect == "sqlite":
        for table in tables:
            for verb in ("UPDATE", "DELETE"):
                yield _SQLITE_REFUSE.format(table=table, verb=verb)
            yield _SQLITE_INSERT[table]
        return
    yield from _POSTGRES_FUNCTIONS
    for table in tables:
        yield _POSTGRES_REFUSE.format(table=table)
        yield _POSTGRES_TRUNCATE.format(table=table)
    yield _POSTGRES_ORDER


def refusals(dialect: str, tables: tuple[str, ...]) -> Iterator[str]:
    """Give the DDL by which further tables refuse UPDATE and DELETE, after `statements` ran.

    Not against INSERT OR REPLACE on a taken id of SQLite, but the program's connections have
    `recursive_triggers` on, and with those it fires the trigger against DELETE.
    """
    for table in tables:
        if dialect == "sqlite":
            for verb in ("UPDATE", "DELETE"):
                yield _SQLITE_REFUSE.format(table=table, verb=verb)
        else:
            yield _POSTGRES_REFUSE.format(table=table)
            yield _POSTGRES_TRUNCATE.format(table=table)


def removal(dialect: str) -> Iterator[str]:
    """Give the DDL that forgets what dropping the tables leaves behind."""
    if dialect == "postgresql":
        yield "DROP FUNCTION benren_append_only()"
        yield "DROP FUNCTION benren_in_order()"
