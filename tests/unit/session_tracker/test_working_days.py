"""Working days: weekends, holidays, weekends that are worked, and where a term ends."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from session_tracker.policy import load_policy
from session_tracker.working_days import Calendar

SHANGHAI = ZoneInfo("Asia/Shanghai")
PLAIN = Calendar(zone=SHANGHAI)


def ms(text: str) -> int:
    """Read local time in Shanghai as UTC ms."""
    return round(datetime.fromisoformat(text).replace(tzinfo=SHANGHAI).timestamp() * 1_000)


def test_a_term_ends_with_its_last_day() -> None:
    """The day itself does not count, weekends do not, and the last day counts to its end."""
    assert PLAIN.after(ms("2026-11-24T09:00"), 3) == ms("2026-11-28T00:00")
    assert PLAIN.after(ms("2026-11-27T23:59"), 1) == ms("2026-12-01T00:00")
    assert PLAIN.after(ms("2026-11-28T12:00"), 1) == ms("2026-12-01T00:00")
    assert PLAIN.after(ms("2026-11-24T09:00"), 0) == ms("2026-11-25T00:00")


def test_the_day_is_that_of_the_place() -> None:
    """Half past midnight in Shanghai is the day before in UTC: the local day counts."""
    assert PLAIN.after(ms("2026-11-24T00:30"), 1) == ms("2026-11-26T00:00")


def test_holidays_and_worked_weekends_of_2026() -> None:
    """Spring festival: nine days off, the Saturdays before and after are worked."""
    calendar = load_policy("foshan-2021").calendar
    assert calendar.is_working_day(date(2026, 2, 14))
    assert not any(calendar.is_working_day(date(2026, 2, day)) for day in range(15, 24))
    assert calendar.is_working_day(date(2026, 2, 28))
    assert calendar.after(ms("2026-02-13T10:00"), 2) == ms("2026-02-25T00:00")
    assert calendar.after(ms("2026-09-30T10:00"), 3) == ms("2026-10-11T00:00")


@given(st.integers(1_577_836_800_000, 2_208_988_800_000), st.integers(1, 40))
def test_a_term_holds_as_many_working_days_as_it_says(began: int, days: int) -> None:
    """Counted one by one, the days between are the term's."""
    end = datetime.fromtimestamp(PLAIN.after(began, days) / 1_000, SHANGHAI)
    first = datetime.fromtimestamp(began / 1_000, SHANGHAI).date()
    between = (first + timedelta(days=n) for n in range(1, (end.date() - first).days))
    assert sum(PLAIN.is_working_day(day) for day in between) == days
    assert (end.hour, end.minute) == (0, 0)
