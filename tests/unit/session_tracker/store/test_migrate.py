"""Migrations: up, down, the same tables as the code believes, and databases from the future."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, inspect, text

from session_tracker.store import migrate
from session_tracker.store.schema import APPEND_ONLY, metadata
from verifier.errors import ConfigurationError


@pytest.fixture
def connection() -> Iterator[Connection]:
    """A connection to an empty SQLite database."""
    engine = create_engine("sqlite://")
    with engine.connect() as made:
        yield made
    engine.dispose()


def test_migrated_tables_are_those_of_the_code(connection: Connection) -> None:
    """What the migrations make and what the code believes differ in nothing."""
    migrate.upgrade(connection)
    options = {"compare_type": True, "compare_server_default": True}
    context = MigrationContext.configure(connection, opts=options)
    assert compare_metadata(context, metadata) == []
    assert migrate.version(connection) == migrate.newest()


def test_up_down_and_up_again(connection: Connection) -> None:
    """Going back leaves nothing, and going forward again gives the triggers anew."""
    migrate.upgrade(connection)
    migrate.downgrade(connection)
    assert inspect(connection).get_table_names() == ["alembic_version"]
    migrate.upgrade(connection)
    triggers = connection.scalars(text("SELECT tbl_name FROM sqlite_master WHERE type='trigger'"))
    assert set(triggers) == set(APPEND_ONLY)


def test_upgrading_twice_changes_nothing(connection: Connection) -> None:
    """A second start of the same release finds everything done."""
    migrate.upgrade(connection)
    before = connection.scalars(text("SELECT sql FROM sqlite_master")).all()
    migrate.upgrade(connection)
    assert connection.scalars(text("SELECT sql FROM sqlite_master")).all() == before


def test_a_database_of_a_newer_release_is_refused(connection: Connection) -> None:
    """An older program does not touch tables that it does not know."""
    migrate.upgrade(connection)
    connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="9999") as caught:
        migrate.upgrade(connection)
    assert "newer" in caught.value.remedy
