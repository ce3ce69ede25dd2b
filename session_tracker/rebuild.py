"""A session as the store has it: facts from the ledger, presence and playback from their tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from session_tracker import facts as codec
from session_tracker import states
from session_tracker.events import CheckCause, Decision, Fact, Playback, Presence
from session_tracker.ledger import Entry
from session_tracker.live import Asked, Live
from session_tracker.policy import Policy
from session_tracker.records import Course, SessionRecord
from session_tracker.sampling import Draw
from session_tracker.store import sessions as rows


async def facts_of(connection: AsyncConnection, session_id: str) -> dict[str, Fact]:
    """Give a session's facts by key."""
    entries = await rows.read_entries(connection, session_id)
    presence = await rows.read_presence(connection, session_id)
    playback = await rows.read_playback(connection, session_id)
    return _facts(entries, presence, playback)


async def load(
    connection: AsyncConnection,
    record: SessionRecord,
    course: Course,
    policy: Policy,
    draw: Draw,
) -> Live:
    """Rebuild a session after a crash, or after a write that failed."""
    live = Live(record=record, course=course, policy=policy, machine=states.Machine())
    await reload(connection, live, draw)
    return live


async def reload(connection: AsyncConnection, live: Live, draw: Draw) -> None:
    """Make `live` what the store says; its lock and its policy stay."""
    record = await rows.read_session(connection, live.id)
    live.record = record if record is not None else live.record
    entries = await rows.read_entries(connection, live.id)
    presence = await rows.read_presence(connection, live.id)
    playback = await rows.read_playback(connection, live.id)
    live.facts, live.last_report, live.top_track = {}, None, 0
    live.has_run = live.suspended = False
    for fact in _facts(entries, presence, playback).values():
        live.take(fact)
    if any(e.kind == "session" and e.content["data"].get("by_challenge") for e in entries):
        live.by_challenge, live.policy = True, live.policy.by_challenge()
    live.machine = states.fold(live.facts.values(), live.policy, draw)
    live.streams = {s.id: s for s in await rows.read_streams(connection, live.id)}
    live.runs = len(presence)
    run = live.facts.get(f"presence:{live.runs}")
    live.run = run if isinstance(run, Presence) else None
    live.asked = _unanswered(entries, live.facts)
    live.answers.clear()
    for row in playback:
        live.answered(row["seq"], row["digest"], row["answer"])
    live.flagged = {e.key.removeprefix("flag:") for e in entries if e.kind == "flag"}
    told = (f for f in live.facts.values() if not isinstance(f, Decision))
    live.last_turn = max((_end(f) for f in told), default=0)
    live.totals = None
    live.changes += 1
    live.stale = False


def _facts(
    entries: Iterable[Entry], presence: Iterable[dict[str, Any]], playback: Iterable[dict[str, Any]]
) -> dict[str, Fact]:
    found: dict[str, Fact] = {}
    for row in presence:
        key = f"presence:{row['run']}"
        found[key] = Presence(
            key=key,
            t=row["first_ms"],
            end=row["last_ms"],
            track=row["track"],
            faces_max=row["faces_max"],
            samples=row["samples"],
        )
    for row in playback:
        key = f"playback:{row['seq']:010d}"
        if row["counted"]:
            found[key] = Playback(
                key=key,
                t=row["received_ms"],
                media_id=row["media_id"],
                media_ms=row["media_ms"],
                playing=row["playing"],
                interaction=row["interaction"],
            )
    # The ledger comes last: where a table was changed by hand, the ledger is right.
    for entry in entries:
        if codec.is_fact(entry.kind):
            found[entry.key] = codec.decode(entry.kind, entry.key, entry.content["data"])
    return found


def _unanswered(entries: Iterable[Entry], facts: dict[str, Fact]) -> dict[str, Asked]:
    found = {}
    for entry in entries:
        if entry.kind != "check_asked":
            continue
        content = entry.content
        check_id = content["data"]["check_id"]
        if f"check:{check_id}" not in facts:
            found[check_id] = Asked(
                check_id=check_id,
                cause=CheckCause(content["reason"]),
                not_before=content["data"]["not_before"],
                turns=content["data"].get("turns", 0),
                shown_at=_end(facts[shown]) if (shown := f"challenged:{check_id}") in facts else 0,
            )
    return found


def _end(fact: Fact) -> int:
    return fact.end if isinstance(fact, Presence) else fact.t
