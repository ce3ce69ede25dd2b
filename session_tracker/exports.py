"""Hours for others: settled sessions of a period as CSV, JSON Lines, xAPI and LTI scores.

Everything is read from settlements in the ledger, page by page, up to the head that the export
names: what is exported can be held against the ledger, line by line. Credited and wall-clock time
are always two separate fields.
"""

from __future__ import annotations

import csv
import hashlib
import heapq
import hmac
import io
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from session_tracker import ledger
from session_tracker.ledger import Entry, Head, Ledger
from session_tracker.programmes import Programmes
from session_tracker.store.database import Database
from session_tracker.store.schema import enrolments, ledger_entries, sessions

HOURS_FORMAT: Final = "benren-hours-1"
SAMPLE_FORMAT: Final = "benren-sample-1"
_PAGE: Final = 200
_MOST_SAMPLED: Final = 1_000
_SPACE: Final = uuid.UUID("0d9bb8a4-6c1c-5d55-9d0c-2f6a4f6f1a11")
"""Name space of statement ids: the same settlement always gives the same statement."""
_HOME: Final = "urn:benren:learner"
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_EVIDENCE: Final = ("identity", "check", "supervised", "granted", "upheld", "disputed", "flag")
COLUMNS: Final = (
    "session_id",
    "learner_id",
    "programme",
    "course",
    "track",
    "policy",
    "start",
    "end",
    "credited_s",
    "wall_s",
    "verified_s",
    "pending_s",
    "provisional",
    "settled",
    "settlement_index",
    "ledger_head_size",
    "ledger_head_root",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """[since, until) in UTC ms: sessions that were first settled then."""

    since_ms: int
    until_ms: int


class Exports:
    """Makes the exports of one store."""

    def __init__(self, database: Database, book: Ledger, programmes: Programmes) -> None:
        self._database = database
        self._ledger = book
        self._programmes = programmes

    # --- hours -------------------------------------------------------------------------------

    async def hours_csv(self, period: Period, head: Head) -> AsyncIterator[str]:
        """Give the sessions as CSV (RFC 4180), fit to be opened in a spreadsheet."""
        yield _csv_line(COLUMNS)
        async for found in self._settlements(period, head):
            row = _row(found, head)
            yield _csv_line([row[name] for name in COLUMNS])

    async def hours_jsonl(self, period: Period, head: Head) -> AsyncIterator[str]:
        """Give the sessions as JSON Lines: what it is, the sessions, and how many they were."""
        about = {"since_ms": period.since_ms, "until_ms": period.until_ms, "head": head.as_json()}
        yield _line({"type": "export", "format": HOURS_FORMAT, **about})
        count = 0
        async for found in self._settlements(period, head):
            days = found.content["data"]["days"]
            yield _line({"type": "session", **_row(found, head), "days_ms": days})
            count += 1
        yield _line({"type": "end", "sessions": count})

    async def xapi(self, period: Period, head: Head) -> AsyncIterator[str]:
        """Give one xAPI 1.0.3 statement a line for every session."""
        async for found in self._settlements(period, head):
            yield _line(_statement(found, head))

    # --- scores ------------------------------------------------------------------------------

    async def scores(self, head: Head) -> AsyncIterator[str]:
        """Give an LTI 1.3 AGS score a line for every course: credited class hours of the target."""
        after = ("", "", 0)
        while True:
            rows = await self._courses(after)
            for row in rows:
                yield _line(await self._score(row, head))
            if len(rows) < _PAGE:
                return
            after = (rows[-1].learner_id, rows[-1].programme, rows[-1].course)

    async def _courses(self, after: tuple[str, str, int]) -> Sequence[Any]:
        c = enrolments.c
        query = select(c.learner_id, c.programme, c.course, c.policy_version, c.track).where(
            or_(
                c.learner_id > after[0],
                and_(c.learner_id == after[0], c.programme > after[1]),
                and_(c.learner_id == after[0], c.programme == after[1], c.course > after[2]),
            )
        )
        async with self._database.read() as connection:
            ordered = query.order_by(c.learner_id, c.programme, c.course).limit(_PAGE)
            return (await connection.execute(ordered)).all()

    async def _score(self, course: Any, head: Head) -> dict[str, Any]:
        policy = self._programmes.policy(course.programme, course.policy_version)
        query = select(sessions.c.id).where(
            sessions.c.learner_id == course.learner_id,
            sessions.c.programme == course.programme,
            sessions.c.course == course.course,
        )
        async with self._database.read() as connection:
            names = (await connection.scalars(query)).all()
            found = await _last_settlements(connection, names, head.size)
        said = [entry.content for entry in found]
        open_ones = len(names) - len(found)
        credited_ms = sum(s["data"]["credited_ms"] for s in said if not s["data"]["provisional"])
        waits = open_ones or any(s["data"]["provisional"] or s["data"]["pending_ms"] for s in said)
        target_s = policy.target_s(course.track)
        hour_s = policy.class_hour.seconds
        given = min(credited_ms // 1_000, target_s)
        return {
            "userId": course.learner_id,
            "scoreGiven": given // hour_s,
            "scoreMaximum": target_s // hour_s,
            "activityProgress": "Completed" if given >= target_s else "InProgress",
            "gradingProgress": "Pending" if waits else "FullyGraded",
            "timestamp": _instant(max((s["at_ms"] for s in said), default=head.at_ms)),
            "urn:benren:programme": course.programme,
            "urn:benren:course": course.course,
            "urn:benren:policy": f"{course.programme}@{course.policy_version}",
            "urn:benren:credited_s": credited_ms // 1_000,
            "urn:benren:wall_s": sum(s["data"]["end"] - s["data"]["start"] for s in said) // 1_000,
            "urn:benren:ledger_head_size": head.size,
        }

    # --- spot checks -------------------------------------------------------------------------

    async def sample(
        self, period: Period, head: Head, *, seed: str, count: int
    ) -> AsyncIterator[str]:
        """Draw sessions at random for a spot check, with the evidence that there is.

        Whoever has the seed and the ledger draws the same: the sessions with the lowest
        HMAC-SHA-256 of their id under the seed.
        """
        count = min(count, _MOST_SAMPLED)
        lowest: list[tuple[int, str, int]] = []
        seen = 0
        async for found in self._settlements(period, head):
            seen += 1
            lot = hmac.digest(seed.encode(), found.subject.encode(), hashlib.sha256)
            item = (-int.from_bytes(lot), found.subject, found.index)
            if len(lowest) < count:
                heapq.heappush(lowest, item)
            else:
                heapq.heappushpop(lowest, item)
        about = {"since_ms": period.since_ms, "until_ms": period.until_ms, "head": head.as_json()}
        drawn = {"seed": seed, "of": seen, "drawn": len(lowest)}
        yield _line({"type": "sample", "format": SAMPLE_FORMAT, **about, **drawn})
        for _, session_id, index in sorted(lowest, reverse=True):
            yield _line(await self._sampled(session_id, index, head))

    async def _sampled(self, session_id: str, index: int, head: Head) -> dict[str, Any]:
        settlement = await self._ledger.entry(index)
        path = await self._ledger.inclusion(index, head.size)
        evidence = [
            {"index": entry.index, "leaf_hash": entry.leaf_hash.hex(), "entry": entry.content}
            for entry in await self._ledger.of_subject(session_id)
            if entry.kind in _EVIDENCE and entry.index < head.size
        ]
        return {
            "type": "session",
            **_row(settlement, head),
            "settlement": settlement.body.decode("utf-8"),
            "path": [step.hex() for step in path],
            "evidence": evidence,
        }

    # --- reading -----------------------------------------------------------------------------

    async def _settlements(self, period: Period, head: Head) -> AsyncIterator[Entry]:
        """Give the last settlement under the head of every session of the period, by time."""
        after = (period.since_ms, "")
        c = sessions.c
        while True:
            query = select(c.settled_ms, c.id).where(
                c.settled_ms < period.until_ms,
                or_(
                    c.settled_ms > after[0],
                    and_(c.settled_ms == after[0], c.id > after[1]),
                ),
            )
            # A view of its own for every page: a slow reader holds no connection.
            async with self._database.read() as connection:
                ordered = query.order_by(c.settled_ms, c.id).limit(_PAGE)
                rows = (await connection.execute(ordered)).all()
                found = await _last_settlements(connection, [row.id for row in rows], head.size)
            for entry in found:
                yield entry
            if len(rows) < _PAGE:
                return
            after = (rows[-1].settled_ms, rows[-1].id)


async def _last_settlements(
    connection: AsyncConnection, names: Sequence[str], size: int
) -> list[Entry]:
    """Give the newest settlements among the first `size` entries, in the order of `names`."""
    c = ledger_entries.c
    newest = (
        select(func.max(c.idx))
        .where(c.subject.in_(names), c.kind == "settled", c.idx < size)
        .group_by(c.subject)
    )
    rows = await connection.execute(select(ledger_entries).where(c.idx.in_(newest)))
    found = {row.subject: ledger.to_entry(row) for row in rows}
    return [found[name] for name in names if name in found]


def _row(found: Entry, head: Head) -> dict[str, Any]:
    content = found.content
    data = content["data"]
    return {
        "session_id": found.subject,
        "learner_id": data["learner"],
        "programme": data["programme"],
        "course": data["course"],
        "track": data["track"],
        "policy": content["policy"],
        "start": _instant(data["start"]),
        "end": _instant(data["end"]),
        "credited_s": data["credited_ms"] // 1_000,
        "wall_s": (data["end"] - data["start"]) // 1_000,
        "verified_s": data["verified_ms"] // 1_000,
        "pending_s": data["pending_ms"] // 1_000,
        "provisional": data["provisional"],
        "settled": _instant(content["at_ms"]),
        "settlement_index": found.index,
        "ledger_head_size": head.size,
        "ledger_head_root": head.root.hex(),
    }


def _statement(found: Entry, head: Head) -> dict[str, Any]:
    row = _row(found, head)
    name = f"{found.subject}:{found.index}"
    return {
        "id": str(uuid.uuid5(_SPACE, name)),
        "actor": {
            "objectType": "Agent",
            "account": {"homePage": _HOME, "name": row["learner_id"]},
        },
        "verb": {
            "id": "http://adlnet.gov/expapi/verbs/attended",
            "display": {"en": "attended", "zh": "参加"},
        },
        "object": {
            "objectType": "Activity",
            "id": f"urn:benren:programme:{row['programme']}:{row['course']}",
        },
        "result": {
            "duration": f"PT{row['credited_s']}S",
            "extensions": {
                "urn:benren:credited_s": row["credited_s"],
                "urn:benren:wall_s": row["wall_s"],
                "urn:benren:provisional": row["provisional"],
            },
        },
        "context": {
            "registration": str(uuid.uuid5(_SPACE, found.subject)),
            "extensions": {
                "urn:benren:session": found.subject,
                "urn:benren:policy": row["policy"],
                "urn:benren:settlement_index": found.index,
                "urn:benren:ledger_head_size": head.size,
                "urn:benren:ledger_head_root": head.root.hex(),
            },
        },
        "timestamp": row["end"],
    }


def _instant(at_ms: int) -> str:
    at = datetime.fromtimestamp(at_ms / 1_000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"


def _csv_line(cells: Sequence[object]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow([_cell(cell) for cell in cells])
    return out.getvalue()


def _cell(value: object) -> object:
    """Keep a spreadsheet from taking text for a formula."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


__all__ = ["COLUMNS", "Exports", "Period"]
