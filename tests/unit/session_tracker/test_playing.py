"""Sessions in memory are found by id and by learner."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from session_tracker.playing import Playing


def live(session_id: str, learner_id: str) -> Any:
    """Make as much of a session as is asked of it here."""
    return SimpleNamespace(id=session_id, record=SimpleNamespace(learner_id=learner_id))


def test_sessions_are_found_by_id_and_by_learner() -> None:
    """Also after one was replaced or has ended; nobody's sessions are none."""
    playing = Playing()
    first, second, other = live("1", "li"), live("2", "li"), live("3", "wang")
    for one in (first, second, other):
        playing[one.id] = one
    assert (len(playing), list(playing)) == (3, ["1", "2", "3"])
    assert playing.of("li") == [first, second]
    again = live("2", "li")
    playing["2"] = again
    assert playing.of("li") == [first, again]
    del playing["1"]
    assert playing.pop("2") is again
    assert playing.pop("2", None) is None
    assert playing.of("li") == []
    assert playing.get("3") is other
