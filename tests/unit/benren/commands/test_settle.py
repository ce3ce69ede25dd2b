"""`benren settle`: a pass over a stopped installation."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path

from typer.testing import CliRunner

from benren.cli import app
from session_tracker.policy import load_policy
from session_tracker.testing import Studio


async def _lesson(database: Path) -> int:
    studio = Studio(f"sqlite:///{database}", policy=load_policy("demo"))
    await studio.start()
    lesson = await studio.open()
    await lesson.watch(570)
    view = await lesson.close()
    await studio.stop()
    return view.course_credited_s


def test_it_tells_what_every_course_comes_to(tmp_path: Path) -> None:
    """An object per course; 0 where the ledger says the same, 1 where it does not."""
    database = tmp_path / "benren.sqlite3"
    credited_s = asyncio.run(_lesson(database))
    called = ["settle", "--db", f"sqlite:///{database}", "--json"]
    done = CliRunner().invoke(app, called)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.splitlines()[0])
    assert (told["credited_s"], told["reached"], told["differing"]) == (credited_s, True, 0)
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE templates SET provenance = 'self_live'")
    connection.close()
    assert CliRunner().invoke(app, called).exit_code == 1
