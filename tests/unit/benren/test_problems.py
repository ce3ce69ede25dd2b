"""Problem details become the errors that they stand for, whichever service gave them."""

from __future__ import annotations

import httpx

from benren.problems import ServiceProblem, error_of
from session_tracker.refusals import SessionEnded
from verifier.errors import Conflict, Overloaded


def answer(status: int, code: str, **more: object) -> httpx.Response:
    """Make the answer of a service that reports a problem."""
    return httpx.Response(status, json={"code": code, "detail": "So it is.", **more})


def test_a_refusal_of_the_tracker_keeps_its_kind() -> None:
    """Whoever waits for a conflict hears of a session that has ended."""
    error = error_of(answer(409, "session_ended", remedy="Open another."))
    assert isinstance(error, SessionEnded)
    assert isinstance(error, Conflict)
    assert (error.detail, error.remedy) == ("So it is.", "Open another.")


def test_a_time_to_retry_comes_through() -> None:
    """As the service gave it."""
    error = error_of(answer(503, "overloaded", retry_after_s=7))
    assert isinstance(error, Overloaded)
    assert error.retry_after_s == 7


def test_a_code_of_another_release_is_told_as_it_is() -> None:
    """It is no error of this release, but its words and code are kept."""
    error = error_of(answer(418, "teapot"))
    assert isinstance(error, ServiceProblem)
    assert (error.code, error.reported_status) == ("teapot", 418)
