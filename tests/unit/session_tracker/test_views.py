"""What a learner's device is told of a session's end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from session_tracker.events import Closed, CloseReason, Opened, PauseReason, Suspended
from session_tracker.policy import load_policy
from session_tracker.records import Totals
from session_tracker.shown import Growing
from session_tracker.states import fold
from session_tracker.views import view_of

POLICY = load_policy("demo")
NOTHING = Growing(days={}, own=(), closed=False)
TOTALS = Totals(derived_ms=0, credit=NOTHING, target_s=480, certificate=None)
OPENED = Opened(key="opened", t=1_000)
NOW = 3_000


@pytest.mark.parametrize("reason", list(CloseReason))
def test_a_closed_session_tells_how_it_ended(reason: CloseReason) -> None:
    """The page explains an end that it did not cause: taken over, network away, expired."""
    closed = Closed(key="closed", t=2_000, reason=reason)
    machine = fold([OPENED, closed], POLICY, lambda: 0.5)
    view = view_of("ses_1", machine, False, TOTALS, POLICY, now=NOW)
    assert (view.state, view.reason, view.play) == ("closed", str(reason), False)


def test_the_first_end_stays() -> None:
    """What is stored after the end changes nothing, the reason least of all."""
    suspended = Suspended(key="suspended", t=2_000, reason=PauseReason.MISMATCH)
    closed = Closed(key="closed", t=2_001, reason=CloseReason.SUSPENDED)
    late = replace(closed, key="closed:2", t=2_002, reason=CloseReason.EXPIRED)
    machine = fold([OPENED, suspended, closed, late], POLICY, lambda: 0.5)
    assert view_of("ses_1", machine, False, TOTALS, POLICY, now=NOW).reason == "suspended"
