"""What is kept of the store's answers."""

from __future__ import annotations

from session_tracker.kept import Kept


def test_the_least_recently_used_goes() -> None:
    """Weight decides, not number; what was asked for stays longest."""
    kept: Kept[str, str] = Kept(10, len)
    kept.keep("a", "xxxx")
    kept.keep("b", "xxxx")
    assert kept.get("a") == "xxxx"
    kept.keep("c", "xxx")
    assert kept.get("b") is None
    assert (kept.get("a"), kept.get("c"), kept.weight) == ("xxxx", "xxx", 7)


def test_a_new_value_takes_the_place_of_the_old() -> None:
    """And its weight."""
    kept: Kept[str, str] = Kept(10, len)
    kept.keep("a", "xxxx")
    kept.keep("a", "x")
    assert (len(kept), kept.weight) == (1, 1)
    kept.forget("a")
    kept.forget("a")
    assert (len(kept), kept.weight) == (0, 0)


def test_what_is_too_heavy_is_not_kept() -> None:
    """It pushes nothing else out."""
    kept: Kept[str, str] = Kept(3, len)
    kept.keep("a", "xx")
    kept.keep("b", "xxxx")
    assert kept.get("b") is None
    assert kept.get("a") == "xx"
