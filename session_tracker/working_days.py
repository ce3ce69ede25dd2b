"""Working days: weekends, public holidays, and the weekends that are worked in their stead. Pure.

The State Council publishes holidays and the days worked for them every November for the year
after; both lists are part of the programme policy. A day that no list knows counts by its weekday.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

_SATURDAY: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """Which days are worked, in one time zone."""

    zone: ZoneInfo
    holidays: Collection[date] = ()
    worked: Collection[date] = ()
    """Days of a weekend that are worked."""

    def is_working_day(self, day: date) -> bool:
        """Whether offices are open."""
        if day in self.worked:
            return True
        return day.weekday() < _SATURDAY and day not in self.holidays

    def after(self, at_ms: int, days: int) -> int:
        """Give the end of the last of `days` working days after the day of `at_ms`, UTC ms.

        The day of the event itself is not counted, as is usual with terms in days; a term ends
        with its last day, so that nobody loses the afternoon.
        """
        day = datetime.fromtimestamp(at_ms / 1_000, UTC).astimezone(self.zone).date()
        left = days
        while left:
            day += timedelta(days=1)
            left -= self.is_working_day(day)
        midnight = datetime.combine(day + timedelta(days=1), time(), tzinfo=self.zone)
        return round(midnight.timestamp() * 1_000)
