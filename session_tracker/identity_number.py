"""The 18 characters of a Chinese citizen's identity number: read, checked, masked. Pure.

GB 11643-1999: six digits of the place, eight of the date of birth, three of the order, and a
check character by ISO 7064 MOD 11-2. No error repeats the number: it would end up in logs.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Final

from verifier.errors import BadRequest

_SHAPE: Final = re.compile(r"[0-9]{17}[0-9X]")
_WEIGHTS: Final = tuple(pow(2, 17 - place, 11) for place in range(17))
_CHECK: Final = "10X98765432"
"""By the remainder of the weighted sum (ISO 7064, MOD 11-2)."""
_PROVINCES: Final = frozenset(
    {11, 12, 13, 14, 15, 21, 22, 23, 31, 32, 33, 34, 35, 36, 37, 41, 42, 43, 44, 45, 46}
    | {50, 51, 52, 53, 54, 61, 62, 63, 64, 65, 71, 81, 82, 83}
)
"""GB/T 2260; 81 to 83 are residence permits for people of Hong Kong, Macao and Taiwan."""
_OLDEST_YEARS: Final = 120


class IdentityNumberInvalid(BadRequest):
    """The identity number is not valid."""

    status = 422


def read_identity_number(text: str, *, today: date) -> str:
    """Give the number in its one form: 18 characters, a capital X. Raises IdentityNumberInvalid."""
    number = text.strip().upper()
    if len(number) != 18:
        raise IdentityNumberInvalid(
            f"An identity number has 18 characters, not {len(number)}.",
            remedy="Copy all 18 characters from the identity card.",
        )
    if not _SHAPE.fullmatch(number):
        raise IdentityNumberInvalid(
            "An identity number has 17 digits and then a digit or an X.",
            remedy="Copy all 18 characters from the identity card.",
        )
    _require_birth(number, today)
    if int(number[:2]) not in _PROVINCES:
        raise IdentityNumberInvalid(
            "The identity number begins with no province's code.",
            remedy="Compare its first two digits with the identity card.",
        )
    if check_character(number[:17]) != number[17]:
        raise IdentityNumberInvalid(
            "The check digit of the identity number is wrong: a digit was mistyped or two swapped.",
            remedy="Compare all 18 characters with the identity card.",
        )
    return number


def check_character(first: str) -> str:
    """Give the 18th character that belongs to the first 17 digits."""
    total = sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, first, strict=True))
    return _CHECK[total % 11]


def masked_number(number: str) -> str:
    """Give the number as staff see it in lists: place of origin and the last character only."""
    return f"{number[:6]}{'*' * 11}{number[-1]}"


def _require_birth(number: str, today: date) -> None:
    try:
        born = date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        born = date.max
    if not today.year - _OLDEST_YEARS <= born.year or born > today:
        raise IdentityNumberInvalid(
            "Characters 7 to 14 of the identity number are no date of birth.",
            remedy="They read YYYYMMDD; compare them with the identity card.",
        )
