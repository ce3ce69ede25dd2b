"""`benren outbox` beside a service: it writes a little, and leaves the tables as they are."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benren.cli import app
from benren.config import Config
from session_tracker.store.database import Database

REPLAY = ["outbox", "replay", "course-server", "--since", "2026-11-24T08:00:00Z"]


async def _made(url: str) -> None:
    database = Database(url)
    await database.open()
    await database.close()


@pytest.mark.parametrize("called", [["outbox", "status"], REPLAY])
def test_it_migrates_nothing_under_a_service(tmp_path: Path, called: list[str]) -> None:
    """Of another version it wants nothing: that is the business of whoever serves sessions."""
    config = Config(data_directory=tmp_path)
    asyncio.run(_made(config.database))
    with closing(sqlite3.connect(config.sqlite_file)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0008'")
    done = CliRunner().invoke(app, [*called, "--data-dir", str(tmp_path)])
    assert done.exit_code != 0
    assert "version 0008" in str(done.exception)
    with closing(sqlite3.connect(config.sqlite_file)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [
            ("0008",)
        ]


def test_it_makes_no_database(tmp_path: Path) -> None:
    """A folder that was mistyped stays empty, and is named."""
    done = CliRunner().invoke(app, ["outbox", "status", "--data-dir", str(tmp_path)])
    assert done.exit_code != 0
    assert "There is no database" in str(done.exception)
    assert list(tmp_path.iterdir()) == []


def test_it_tells_beside_a_service(tmp_path: Path) -> None:
    """Of the same version it does its work."""
    asyncio.run(_made(Config(data_directory=tmp_path).database))
    done = CliRunner().invoke(app, ["outbox", "status", "--data-dir", str(tmp_path)])
    assert done.exit_code == 0, done.output
