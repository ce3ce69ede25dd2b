"""The judge of the demo: right verdicts on lessons whose truth is known."""

from __future__ import annotations

import dataclasses

import pytest

from benren.demo.cast import CAST, LESSON_S, Role
from benren.demo.outcome import Mark, Outcome, VoidSpan, judge, overlap, total

ROLES = {role.key: role for role in CAST}
PASSES = tuple(range(5, LESSON_S, 30))
"""5, 35, ... 545."""


def _outcome(
    role: Role, credited: tuple[tuple[float, float], ...], passes: tuple[float, ...] = PASSES
) -> Outcome:
    return Outcome(
        role=role,
        learner_id="l",
        sessions=("s",),
        watched_s=LESSON_S,
        credited=credited,
        void=(),
        marks=tuple(Mark(at_s=at, kind="identity", outcome="pass") for at in passes),
        state="settled",
    )


def test_full_credit_outside_first_and_last_bracket_holds() -> None:
    """What is lost in the first and in the last bracket does not count against the credit."""
    finding = judge(_outcome(ROLES["genuine"], ((35, 515),)))
    assert finding.holds
    assert finding.found == "100.0% of 480 s"


@pytest.mark.parametrize(("lost_s", "holds"), [(23, True), (25, False)])
def test_full_demands_95_percent(lost_s: float, holds: bool) -> None:
    """Of 480 s at most 24 may be missing."""
    assert judge(_outcome(ROLES["genuine"], ((35, 515 - lost_s),))).holds is holds


def test_full_is_not_met_by_one_short_bracket() -> None:
    """A ratio over a few seconds proves nothing: the passes must span most of the lesson."""
    assert not judge(_outcome(ROLES["genuine"], ((5, 95),), (5, 35, 65, 95))).holds
    assert not judge(_outcome(ROLES["genuine"], ((5, 35),), (5, 35))).holds
    assert not judge(_outcome(ROLES["genuine"], (), ())).holds


def test_a_lesson_of_nothing_but_a_challenge_does_not_hold() -> None:
    """Who cannot do what is asked for has no seconds of his own: that is told, not divided by."""
    outcome = dataclasses.replace(_outcome(ROLES["genuine"], ()), challenged=((0, LESSON_S),))
    assert not judge(outcome).holds


@pytest.mark.parametrize("key", ["other_person", "printed_photo", "photo_on_screen", "nobody"])
def test_nothing_means_nothing(key: str) -> None:
    """A single credited half second breaks the demand, though it rounds to zero."""
    assert judge(_outcome(ROLES[key], ())).holds
    assert not judge(_outcome(ROLES[key], ((100.0, 100.5),))).holds


def test_own_only_lets_one_bracket_reach_over() -> None:
    """At a swap one bracket may hold seconds of the other person, a second one may not."""
    role = ROLES["swap"]  # the other sits there from 240 s on; passes at 215, 245, 275
    assert judge(_outcome(role, ((5, 240),))).holds
    assert judge(_outcome(role, ((5, 245),))).holds
    assert not judge(_outcome(role, ((5, 275),))).holds


def test_own_only_counts_credit_outside_of_all_brackets_as_stolen() -> None:
    """Credit of the other person after the last pass is within no bracket."""
    assert not judge(_outcome(ROLES["swap"], ((5, 300),), (5, 235))).holds


def test_own_only_demands_credit_for_the_learner() -> None:
    """A system that credits nothing at all does not pass."""
    assert not judge(_outcome(ROLES["swap"], ())).holds


def test_json_line_has_exactly_the_agreed_members() -> None:
    """The members, their order, whole seconds, and counts by outcome."""
    outcome = dataclasses.replace(
        _outcome(ROLES["swap"], ((5, 100.9),)),
        void=(
            VoidSpan(start_s=0, end_s=5, reason="before_first_pass"),
            VoidSpan(start_s=100.9, end_s=300, reason="mismatch"),
            VoidSpan(start_s=300, end_s=400, reason="mismatch"),
            VoidSpan(start_s=400, end_s=400.2, reason="idle"),
        ),
        marks=(
            Mark(at_s=1, kind="check", outcome="pass", cause="start"),
            Mark(at_s=2, kind="identity", outcome="pass"),
            Mark(at_s=3, kind="identity", outcome="mismatch"),
        ),
    )
    assert outcome.as_json() == {
        "learner": "l",
        "role": "swap",
        "watched_s": 570,
        "credited_s": 95,
        "void": {"mismatch": 299, "before_first_pass": 5},
        "checks": {"match": 2, "mismatch": 1},
    }


def test_overlap_cuts_and_orders() -> None:
    """What lies in both lists, in order; touching ends do not overlap."""
    spans = overlap([(0, 10), (20, 30)], [(25, 40), (5, 20)])
    assert spans == ((5, 10), (25, 30))
    assert total(spans) == 10
