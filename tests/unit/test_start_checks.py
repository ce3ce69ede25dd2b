"""How a start check that was tried in a browser is judged: a fake by all its challenges."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("playwright")

from tests.browser.start_checks import Front, judged, settled

LEARNER = Front("li", b"", poses={"neutral": b""})
FAKE = Front("li", b"", film=b"film")


def challenge(outcome: str, t: int = 30_000) -> dict[str, Any]:
    """A challenge that has ended."""
    data = {"active": True, "outcome": outcome, "t": t, "asked": t - 20_000, "shown": True}
    return {"kind": "check", "data": data}


SILENT = {"kind": "check", "data": {"active": False, "outcome": "pass", "t": 1, "asked": 0}}
CLOSED = {"kind": "closed", "data": {}}
SUSPENDED = {"kind": "suspended", "data": {}}


def test_a_fake_that_passes_a_later_challenge_has_passed() -> None:
    """The first one says nothing of the second."""
    facts = [challenge("unanswered"), challenge("unanswered"), challenge("pass", 90_000)]
    tried = judged(FAKE, [*facts, challenge("unanswered"), CLOSED])
    assert (tried.outcome, tried.challenges, tried.over) == ("pass", 4, True)
    assert tried.took_s == 20.0
    assert settled(FAKE, judged(FAKE, facts))


def test_a_fake_is_waited_for_until_its_session_is_over() -> None:
    """Closed or suspended: no challenge follows."""
    facts = [SILENT, challenge("unanswered"), challenge("spoof")]
    assert judged(FAKE, facts).outcome == "spoof"
    assert not settled(FAKE, judged(FAKE, facts))
    assert not settled(FAKE, judged(FAKE, []))
    for end in (CLOSED, SUSPENDED):
        assert settled(FAKE, judged(FAKE, [*facts, end]))


def test_a_session_that_ends_without_a_challenge_proves_nothing() -> None:
    """It is neither passed nor failed."""
    tried = judged(FAKE, [SILENT, CLOSED])
    assert (tried.outcome, tried.challenges) == ("none", 0)


def test_a_learner_is_judged_by_the_first_challenge() -> None:
    """What he would do at the next one does not count for him."""
    assert not settled(LEARNER, judged(LEARNER, [SILENT]))
    tried = judged(LEARNER, [challenge("unanswered")])
    assert settled(LEARNER, tried)
    assert tried.outcome == "unanswered"
