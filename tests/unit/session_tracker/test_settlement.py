"""What is derived once: settled sessions that nothing else overlaps."""

from __future__ import annotations

from session_tracker.records import SessionRecord
from session_tracker.settlement import _over


def record(name: str, opened: int, closed: int | None) -> SessionRecord:
    """A session that was settled when it ended."""
    return SessionRecord(
        id=name,
        learner_id="lrn_1",
        programme="demo",
        course=1,
        policy_version="3",
        consent_id="cns_1",
        media=("lesson-1",),
        token_hash=name,
        epoch=1,
        template_version=1,
        taking_over=None,
        opened_ms=opened,
        closed_ms=closed,
        settled_ms=closed,
    )


def test_take_overs_in_a_row_leave_nothing_overlapping() -> None:
    """The second was taken over by the third and began before the first had ended: both wait."""
    first, second = record("a", 100, 210), record("b", 200, 310)
    third = record("c", 300, None)
    assert _over([record("z", 10, 90), first, second, third]) == {"z"}
    assert _over([first, second]) == {"a", "b"}
    assert _over([third]) == frozenset()
