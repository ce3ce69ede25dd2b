"""False and lost credit of whole sessions on real networks' scores: a small version of the study.

The bank of scores comes with the project (`benchmarks.score_bank` measured it); the whole study is
``python -m benchmarks.real_sessions``.
"""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.real_sessions import (
    BOUNDS,
    genuine,
    recognised,
    troubled,
    two_devices,
)
from benchmarks.score_bank import Bank, load_bank
from benchmarks.sessions import attacks, repeat
from session_tracker.events import Outcome
from session_tracker.policy import load_policy

FOSHAN = load_policy("foshan-2021")
BY_NAME = {attack.name: attack for attack in attacks()}


@pytest.fixture(scope="module")
def bank() -> Bank:
    """Give the bank that comes with the project."""
    return load_bank()


def test_the_bank_holds_numbers_of_many_persons_and_no_names(bank: Bank) -> None:
    """Seats of real people, prints and screens; errors are tied to seats, as they are."""
    assert bank.persons > 20
    assert {s.kind for s in bank.seats} == {"live", "print", "screen"}
    assert sum(len(s.shots) for s in bank.seats) > 1_500
    alarms = {
        number: sum(bank.judge([shot], s.person) is Outcome.SPOOF for shot in s.shots)
        for number, s in enumerate(bank.of("live"))
    }
    always = [number for number, count in alarms.items() if count == 14]
    assert 0 < len(always) < len(alarms) / 10
    wrong = [
        bank.judge([shot], other)
        for s in bank.of("live")
        for shot in s.shots
        for other in range(bank.persons)
        if other != s.person
    ]
    assert wrong.count(Outcome.PASS) <= len(wrong) / 1_000


@pytest.mark.parametrize("name", BOUNDS)
def test_an_attack_on_real_scores_stays_within_its_bound(name: str, bank: Bank) -> None:
    """Over 40 lessons each."""
    attack = BY_NAME[name]
    outcome = repeat(attack, FOSHAN, lessons=40, bank=bank)
    assert outcome.share(attack.who) <= BOUNDS[name]
    if not name.endswith("throughout"):
        assert outcome.ran_ms[attack.who] > 400_000, "the attack was hardly played"


def test_swaps_among_gaps_restarts_and_repeats(bank: Bank) -> None:
    """Whoever takes the seat for good is cut off in minutes, and earns next to nothing."""
    found: dict[str, Any] = troubled(bank, FOSHAN, lessons=60)
    assert found["credited_share"] <= 0.02
    assert found["swaps_while_running"] > 30
    assert found["time_to_cut_s"]["p95"] < 120


def test_two_devices_count_no_second_twice_on_real_scores(bank: Bank) -> None:
    """However they overlap."""
    assert two_devices(bank, FOSHAN, lessons=10)["seconds_twice"] == 0


def test_genuine_learners_lose_at_most_a_hundredth_to_errors(bank: Bank) -> None:
    """A third of the seats from which people are recognised, through a course of 8 hours."""
    seats = [s for s in bank.of("live") if recognised(bank, s)][::3]
    found = genuine(bank, FOSHAN, seats=seats, name="a third")
    assert found.lessons > 300
    assert found.lost_share <= 0.01
    assert found.credited_s > 0.9 * found.wanted_s
