"""Sets of instants."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from session_tracker.intervals import intersect, subtract, total_ms, union

SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=8)


def instants(intervals: object) -> set[int]:
    """Spell a set out."""
    return {t for a, b in intervals for t in range(a, b)}  # type: ignore[attr-defined]


def test_union_joins_what_touches_and_drops_what_is_empty() -> None:
    """Touching intervals become one; an interval that ends before it begins is nothing."""
    assert union([(5, 7), (0, 2), (2, 3), (9, 9), (8, 6)]) == ((0, 3), (5, 7))


@given(SPANS, SPANS)
def test_they_are_sets(first: list[tuple[int, int]], second: list[tuple[int, int]]) -> None:
    """Union, intersection, difference and size agree with sets of whole milliseconds."""
    a, b = union(first), union(second)
    assert instants(union((*a, *b))) == instants(first) | instants(second)
    assert instants(intersect(a, b)) == instants(a) & instants(b)
    assert instants(subtract(a, b)) == instants(a) - instants(b)
    assert total_ms(a) == len(instants(a))


@given(SPANS, SPANS)
def test_results_are_in_normal_form(
    first: list[tuple[int, int]], second: list[tuple[int, int]]
) -> None:
    """Results are sorted, disjoint and without empty parts, so that they can be used again."""
    a, b = union(first), union(second)
    for result in (a, intersect(a, b), subtract(a, b)):
        assert union(result) == result
