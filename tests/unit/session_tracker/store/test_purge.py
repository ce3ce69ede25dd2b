"""What a purge takes: every table that knows a learner or a session."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from sqlalchemy import Delete

from session_tracker.store.purge import purge_learner
from session_tracker.store.schema import APPEND_ONLY, metadata

OWNERS = frozenset({"learner_id", "session_id"})


class Recorder:
    """A connection without rows; it notes from where something is deleted."""

    def __init__(self) -> None:
        self.emptied: list[str] = []

    async def scalars(self, _query: object) -> Any:
        """Find nothing."""
        return SimpleNamespace(all=list)

    async def execute(self, statement: Any) -> Any:
        """Note a deletion."""
        if isinstance(statement, Delete):
            self.emptied.append(statement.table.name)
        return SimpleNamespace(rowcount=0)


async def test_no_table_with_a_learner_or_a_session_is_forgotten() -> None:
    """A table that is added later has to be added to the purge, or this fails."""
    recorder = Recorder()
    await purge_learner(recorder, "lrn_1")  # type: ignore[arg-type]
    owned = {
        table.name
        for table in metadata.tables.values()
        if OWNERS.intersection(table.columns.keys()) and table.name not in APPEND_ONLY
    }
    assert owned <= set(recorder.emptied), owned - set(recorder.emptied)
    assert len(recorder.emptied) == len(set(recorder.emptied))
