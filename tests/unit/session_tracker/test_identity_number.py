"""Identity numbers: every kind of mistake is told apart, and no error repeats the number."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_tracker.identity_number import (
    IdentityNumberInvalid,
    check_character,
    masked_number,
    read_identity_number,
)

TODAY = date(2026, 11, 24)
GOOD = "11010519491231002X"
"""The example of GB 11643."""


def test_the_example_of_the_standard_is_read() -> None:
    """A small x and blanks around are forgiven; the form is one."""
    assert read_identity_number(f" {GOOD.lower()} ", today=TODAY) == GOOD
    assert read_identity_number("440524188001010014", today=date(1999, 1, 1)) == (
        "440524188001010014"
    )


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ("", "18 characters"),
        ("11010519491231002", "18 characters"),
        ("11010519491231002XX", "18 characters"),
        ("1101051949123100AX", "17 digits"),
        ("１１０１０５１９４９１２３１００２X", "17 digits"),
        ("110105194912310021", "check digit"),
        ("11010519491321002X", "date of birth"),
        ("11010519490230002X", "date of birth"),
        ("110105202612310028", "date of birth"),
        ("11010518491231002X", "date of birth"),
        ("99010519491231002X", "province"),
    ],
)
def test_mistakes_are_refused_with_their_reason(number: str, reason: str) -> None:
    """The reason is named; the number is not repeated."""
    with pytest.raises(IdentityNumberInvalid, match=reason) as caught:
        read_identity_number(number, today=TODAY)
    assert caught.value.status == 422
    assert not number or number not in str(caught.value)


@given(st.integers(min_value=0, max_value=16), st.integers(min_value=1, max_value=9))
def test_every_single_wrong_digit_is_found(place: int, by: int) -> None:
    """MOD 11-2 finds every substitution of one digit."""
    digit = str((int(GOOD[place]) + by) % 10)
    changed = GOOD[:place] + digit + GOOD[place + 1 : 17]
    assert check_character(changed) != GOOD[17]


@given(st.text(alphabet="0123456789", min_size=17, max_size=17), st.integers(0, 15))
def test_swapped_neighbours_are_found(first: str, place: int) -> None:
    """MOD 11-2 finds every transposition of two neighbours that differ."""
    swapped = first[:place] + first[place + 1] + first[place] + first[place + 2 :]
    assert (check_character(swapped) == check_character(first)) == (swapped == first)


def test_the_masked_number_shows_no_birth() -> None:
    """Place and last character only."""
    assert masked_number(GOOD) == "110105***********X"
