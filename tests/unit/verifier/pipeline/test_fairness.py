"""Whose turn it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from verifier.pipeline.fairness import REMEMBERED, Turns


def test_an_owner_waits_behind_himself() -> None:
    """A second job starts when the first would have ended; another owner's starts at once."""
    turns = Turns()
    assert [turns.enter("a", 5), turns.enter("a", 1), turns.enter("b", 1)] == [0, 5, 0]


def test_nobody_saves_up_turns() -> None:
    """Who comes late starts now, not in the past."""
    turns = Turns()
    turns.enter("a", 1)
    turns.begin(turns.enter("a", 1), idle=False)
    assert turns.enter("late", 1) == 1


def test_an_idle_queue_forgets() -> None:
    """Where nobody waits, there is nothing to be fair about."""
    turns = Turns()
    turns.begin(turns.enter("a", 100), idle=True)
    assert turns.enter("a", 1) == 0


@given(sizes=st.lists(st.integers(1, 8), min_size=1, max_size=60))
def test_a_small_job_is_never_far_behind(sizes: list[int]) -> None:
    """Of all that a greedy owner has queued, at most one job goes before a newcomer's first."""
    turns = Turns()
    starts = [turns.enter("greedy", size) for size in sizes]
    newcomer = turns.enter("newcomer", 1)
    assert sum(start <= newcomer for start in starts) <= 1
    assert starts == sorted(starts)


def test_memory_is_bounded() -> None:
    """However many owners come, some thousand are remembered."""
    turns = Turns()
    for number in range(3 * REMEMBERED):
        turns.begin(turns.enter(str(number), 1), idle=False)
        turns.enter("busy", 1)
    assert len(turns._ends) <= REMEMBERED + 1
