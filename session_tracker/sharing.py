"""Gives away each second of a medium and of a learner's day once, in order of time."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

from session_tracker.brackets import Labelled
from session_tracker.events import VoidReason
from session_tracker.intervals import Intervals, intersect, subtract, union
from session_tracker.policy import Policy


@dataclass(frozen=True, slots=True)
class Slice:
    """Time that counts unless its media or its day is used up."""

    start: int
    end: int
    session: int
    media_id: str
    media_ms: int
    provisional: bool
    """Whether it rests on nothing but a face that nobody has confirmed."""


class Shares:
    """What is used up of every medium and every day; pieces have to come in order of time."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._media: dict[str, Intervals] = {}
        self.days: Counter[date] = Counter()
        """Credited milliseconds per local day."""
        self.confirmed_days: Counter[date] = Counter()
        """The same without what is provisional."""
        self.credited: defaultdict[int, list[Slice]] = defaultdict(list)
        self.refused: defaultdict[int, list[Labelled]] = defaultdict(list)

    def copy(self) -> Shares:
        """Copy what is used up, to give away more of it; who was given what stays behind."""
        made = Shares(self._policy)
        made._media = dict(self._media)
        made.days = self.days.copy()
        made.confirmed_days = self.confirmed_days.copy()
        return made

    def take(self, piece: Slice) -> None:
        """Credit what of it is not used up; note the reason of the rest."""
        length = piece.end - piece.start
        wanted: Intervals = ((piece.media_ms, piece.media_ms + length),)
        used = self._media.get(piece.media_id, ())
        shift = piece.start - piece.media_ms
        for start, end in intersect(wanted, used):
            self._refuse(piece, start + shift, end + shift, VoidReason.MEDIA_REPEATED)
        for start, end in subtract(wanted, used):
            self._within_days(piece, start + shift, end + shift)

    def _refuse(self, piece: Slice, start: int, end: int, why: VoidReason) -> None:
        self.refused[piece.session].append((start, end, why))

    def _within_days(self, piece: Slice, start: int, end: int) -> None:
        while start < end:
            day, midnight = self._day(start)
            until = min(end, midnight)
            free = max(0, self._policy.daily_cap_s * 1_000 - self.days[day])
            kept = min(until, start + free)
            if start < kept:
                self._credit(piece, start, kept)
                self.days[day] += kept - start
                if not piece.provisional:
                    self.confirmed_days[day] += kept - start
            if kept < until:
                self._refuse(piece, kept, until, VoidReason.DAILY_CAP)
            start = until

    def _credit(self, piece: Slice, start: int, end: int) -> None:
        media_ms = piece.media_ms + start - piece.start
        used = self._media.get(piece.media_id, ())
        self._media[piece.media_id] = union((*used, (media_ms, media_ms + end - start)))
        self.credited[piece.session].append(replace(piece, start=start, end=end, media_ms=media_ms))

    def _day(self, t: int) -> tuple[date, int]:
        """Find the local day of an instant, and when the next one begins."""
        zone = self._policy.zone
        day = datetime.fromtimestamp(t / 1_000, UTC).astimezone(zone).date()
        next_day = datetime.combine(day + timedelta(days=1), time(), tzinfo=zone)
        return day, round(next_day.timestamp() * 1_000)
