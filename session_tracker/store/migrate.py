"""Bring the tables to the version this program knows, or say clearly why not."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from verifier.errors import ConfigurationError


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def newest() -> str:
    """Give the newest version this program knows."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    head = ScriptDirectory.from_config(config).get_current_head()
    if head is None:
        raise ConfigurationError("The migrations are missing from the installation.")
    return head


def version(connection: Connection) -> str | None:
    """Give the version of the tables in the database; None for an empty one."""
    return MigrationContext.configure(connection).get_current_revision()


def require_newest(connection: Connection) -> None:
    """Raise ConfigurationError where the database has another version than this program."""
    found = version(connection)
    if found != newest():
        raise ConfigurationError(
            f"The database has version {found}, this program works with {newest()}.",
            remedy="Start the service once with this program: it migrates the database.",
        )


def upgrade(connection: Connection, to: str = "head") -> None:
    """Migrate forward, in the caller's transaction.

    Raises ConfigurationError where the database was made by a newer program.
    """
    found = version(connection)
    known = {
        script.revision
        for script in ScriptDirectory.from_config(_config(connection)).walk_revisions()
    }
    if found is not None and found not in known:
        raise ConfigurationError(
            f"The database has version {found}, which this program does not know.",
            remedy="Start the version of benren that made it, or a newer one.",
        )
    command.upgrade(_config(connection), to)


def downgrade(connection: Connection, to: str = "base") -> None:
    """Migrate back, in the caller's transaction. What the newer tables held is lost."""
    command.downgrade(_config(connection), to)
