"""The benchmark of the store runs, and what it measures is what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.store import events_per_second, ledger_of

pytestmark = pytest.mark.both_databases


async def test_events_are_counted(database_url: str) -> None:
    """Every frame is an event, checks come on top, and the ledger grows by less."""
    found = await events_per_second(database_url, sessions=3, rounds=4)
    assert found["events"] >= 12
    assert found["ledger_entries"] > 0


async def test_the_ledger_that_is_timed_is_intact(database_url: str, tmp_path: Path) -> None:
    """What is verified is a whole ledger, and so is its export."""
    found = await ledger_of(database_url, 300, tmp_path)
    assert found["intact"] is True
    assert found["export_intact"] is True
