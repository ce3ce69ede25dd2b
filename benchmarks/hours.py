"""How fast hours are derived, and a year of learners settled.

``python -m benchmarks.hours derive`` times the derivation of one learner's 16 hours: the pure
rules, the explanation of every second, and the whole way from the store. ``python -m
benchmarks.hours settle [--learners N] [--lessons N] [--minutes N]`` fills a database with so many
learners and settles them all in one pass, with the memory it takes along the way. JSON on standard
output.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, Final

from sqlalchemy import insert

from benchmarks.eyes import Who
from benchmarks.lesson import Actor, play
from session_tracker import facts as codec
from session_tracker import ledger
from session_tracker.course import begin_course
from session_tracker.credit import SessionCredit, SessionFacts, derive
from session_tracker.events import Closed, CloseReason, Fact, Playback, Presence, Settled
from session_tracker.explain import explain
from session_tracker.ledger import Context
from session_tracker.policy import Policy, Training, load_policy
from session_tracker.records import Course, SessionRecord
from session_tracker.segments import Segment, segments_of
from session_tracker.settle_all import settle_all
from session_tracker.settlement import Settlement, settlement_data
from session_tracker.store.database import Database
from session_tracker.store.schema import consents, learners
from session_tracker.store.sessions import insert_session
from session_tracker.store.writer import NewEntry, Transaction
from verifier.clock import SystemClock

ORIGIN: Final = 1_790_000_000_000
_AT_ONCE: Final = 50
"""Learners that are written together: the store commits them as one group."""
_EVIDENCE: Final = {
    "stream": "str_0123456789abcdef",
    "event": 1,
    "frame_seq": 1,
    "boot": "0123456789abcdef",
    "monotonic_ms": 1_000_000,
    "utc_ms": ORIGIN,
    "faces": 1,
    "reasons": [],
    "similarity_millionths": 612_345,
    "threshold_millionths": 393_000,
    "liveness_millionths": 981_234,
    "liveness_threshold_millionths": 750_000,
    "frames": ["0" * 64],
    "signature": "20261124-a." + "A" * 86,
}
"""As large as the real thing: what an entry weighs decides how fast it is read."""
_CONTEXT: Final = Context(
    policy="foshan-2021@1",
    models={"detector": "yunet@" + "0" * 64, "embedder": "retail@" + "1" * 64},
    profile="supplied-2026-11-30",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Studied:
    """One session as it is stored, but for its id and its learner."""

    facts: tuple[Fact, ...]
    start: int
    end: int
    session: SessionCredit
    cut: tuple[Segment, ...]


def course_of_study(policy: Policy, *, lessons: int, minutes: int) -> list[Studied]:
    """Have a learner study so many lessons, one every half day, each with a medium of its own."""
    made = []
    for number in range(lessons):
        origin = ORIGIN + number * 43_200_000
        actor = Actor([(0, Who.LEARNER)])
        lesson = play(actor, policy, Random(number), length_s=60 * minutes, origin=origin)  # noqa: S311
        facts = [
            replace(f, media_id=f"lesson-{number}") if isinstance(f, Playback) else f
            for f in lesson.facts
        ]
        end = origin + 60_000 * minutes
        if not any(isinstance(f, Closed) for f in facts):
            facts.append(Closed(key="closed", t=end, reason=CloseReason.SUSPENDED))
        given = SessionFacts(session_id="one", facts=facts)
        (session,) = derive([given], policy, now=end).sessions
        cut = segments_of(session, facts)
        made.append(Studied(facts=tuple(facts), start=origin, end=end, session=session, cut=cut))
    return made


def timed(work: Callable[[], object], rounds: int = 9) -> dict[str, float]:
    """Time a piece of work, on the wall and on the processor; milliseconds."""
    wall, processor = [], []
    for _ in range(rounds):
        before, used = time.perf_counter(), time.process_time()
        work()
        wall.append((time.perf_counter() - before) * 1_000)
        processor.append((time.process_time() - used) * 1_000)
    return {
        "median_ms": round(sorted(wall)[rounds // 2], 1),
        "best_ms": round(min(wall), 1),
        "processor_median_ms": round(sorted(processor)[rounds // 2], 1),
    }


# --- deriving 16 hours ------------------------------------------------------------------------


def measure_derive() -> dict[str, Any]:
    """Derive and explain one learner's 16 class hours and more, from facts and from the store."""
    policy = load_policy("foshan-2021")
    studied = course_of_study(policy, lessons=22, minutes=45)
    given = [SessionFacts(session_id=f"s{n}", facts=s.facts) for n, s in enumerate(studied)]
    now = ORIGIN + 1_000_000_000
    credit = derive(given, policy, now=now)

    def explained() -> None:
        by_id = {g.session_id: g.facts for g in given}
        for session in credit.sessions:
            explain(session, by_id[session.session_id])

    with tempfile.TemporaryDirectory() as folder:
        stored = asyncio.run(_from_store(Path(folder), policy, studied))
    return {
        "credited_h": round(credit.credited_s / 3_600, 2),
        "sessions": len(given),
        "facts": sum(len(g.facts) for g in given),
        "derive": timed(lambda: derive(given, policy, now=now)),
        "explain": timed(explained),
        "read_and_derive": stored,
        "target_ms": 50,
    }


async def _from_store(folder: Path, policy: Policy, studied: Sequence[Studied]) -> dict[str, float]:
    database, settlement = await _place(folder, policy)
    try:
        entries = await _fill(database, policy, studied, number=0)
        course = _course(0, policy)
        taken = []
        for _ in range(7):
            before = time.perf_counter()
            await settlement.course_credit(course, now_ms=ORIGIN + 10**9, running={})
            taken.append((time.perf_counter() - before) * 1_000)
    finally:
        await database.close()
    return {
        "median_ms": round(sorted(taken)[3], 1),
        "best_ms": round(min(taken), 1),
        "ledger_entries": entries,
    }


# --- settling a year --------------------------------------------------------------------------


def measure_settle(learners_wanted: int, *, lessons: int, minutes: int) -> dict[str, Any]:
    """Fill a database and settle all of it in one pass."""
    policy = load_policy("foshan-2021")
    studied = course_of_study(policy, lessons=lessons, minutes=minutes)
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(_settle(Path(folder), policy, studied, learners_wanted))
    found["facts_per_learner"] = sum(len(s.facts) for s in studied)
    found["minutes_per_learner"] = lessons * minutes
    return found


async def _settle(
    folder: Path, policy: Policy, studied: Sequence[Studied], wanted: int
) -> dict[str, Any]:
    database, settlement = await _place(folder, policy)
    try:
        for first in range(0, wanted, _AT_ONCE):
            numbers = range(first, min(wanted, first + _AT_ONCE))
            await asyncio.gather(
                *(_fill(database, policy, studied, number=number) for number in numbers)
            )
            sys.stderr.write(f"\r{numbers[-1] + 1} of {wanted} learners written")
        sys.stderr.write("\n")
        began, done, credited, differing = time.perf_counter(), 0, 0, 0
        memory = [_resident_mb()]
        async for outcome in settle_all(database, settlement, now_ms=ORIGIN + 10**10):
            done += 1
            credited += outcome.credited_s
            differing += outcome.regraded
            if done % max(1, wanted // 10) == 0:
                memory.append(_resident_mb())
        took = time.perf_counter() - began
    finally:
        await database.close()
    return {
        "learners": done,
        "seconds": round(took, 1),
        "learners_per_s": round(done / took, 1),
        "credited_h": round(credited / 3_600),
        "differing": differing,
        "resident_mb": memory,
        "database_mb": _size_mb(folder),
    }


def _size_mb(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.iterdir()) // 2**20


def _resident_mb() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4_096 // 2**20


async def _place(folder: Path, policy: Policy) -> tuple[Database, Settlement]:
    from session_tracker.programmes import Programmes  # noqa: PLC0415

    clock = SystemClock()
    database = Database(f"sqlite:///{folder}/hours.sqlite3")
    await database.open()
    programmes = Programmes(database, clock)
    await programmes.register([policy])
    return database, Settlement(database, programmes, clock, kept_facts=0)


def _course(number: int, policy: Policy) -> Course:
    return Course(
        learner_id=f"lrn_{number:08d}",
        programme=policy.name,
        course=1,
        policy_version=policy.version,
        track=Training.INITIAL,
    )


async def _fill(
    database: Database, policy: Policy, studied: Sequence[Studied], *, number: int
) -> int:
    """Write one learner with everything that his sessions left; returns the ledger entries."""
    course = _course(number, policy)
    entries: list[NewEntry] = []
    sessions: list[tuple[SessionRecord, Studied]] = []
    for n, one in enumerate(studied):
        session_id = f"ses_{number:08d}{n:04d}"
        entries += _entries(session_id, one, course, policy)
        sessions.append((_record(session_id, course, one, n), one))

    async def job(tx: Transaction) -> None:
        await tx.connection.execute(insert(learners), _learner(course))
        await tx.connection.execute(insert(consents), _consent(course))
        await begin_course(tx, course, ORIGIN)
        for record, one in sessions:
            await insert_session(tx.connection, record)
            _put_rows(tx, record.id, one)
        await tx.append(entries)

    await database.write(job)
    return len(entries)


def _learner(course: Course) -> dict[str, Any]:
    return {
        "id": course.learner_id,
        "category": "principal",
        "track": str(course.track),
        "industry": "furniture",
        "business_ref": "b-1",
        "created_ms": ORIGIN,
    }


def _consent(course: Course) -> dict[str, Any]:
    return {
        "id": f"con_{course.learner_id}",
        "learner_id": course.learner_id,
        "purpose": "face_verification",
        "text_version": "2026-11",
        "given_ms": ORIGIN,
    }


def _record(session_id: str, course: Course, one: Studied, epoch: int) -> SessionRecord:
    return SessionRecord(
        id=session_id,
        learner_id=course.learner_id,
        programme=course.programme,
        course=course.course,
        policy_version=course.policy_version,
        consent_id=f"con_{course.learner_id}",
        media=("lesson",),
        token_hash=session_id,
        epoch=epoch,
        template_version=1,
        taking_over=None,
        opened_ms=one.start,
        closed_ms=one.end,
        settled_ms=one.end,
    )


def _entries(session_id: str, one: Studied, course: Course, policy: Policy) -> list[NewEntry]:
    made = []
    for fact in one.facts:
        if isinstance(fact, Presence | Playback):
            continue
        kind = codec.kind_of(fact)
        data = codec.encode(fact)
        if kind in ("identity", "check"):
            data["evidence"] = _EVIDENCE
        made.append(_entry(session_id, fact.key, kind, fact.t, data))
    data = settlement_data(one.session, one.cut, course, policy, "0" * 64)
    settled = Settled(key="settled", t=one.end)
    made.append(_entry(session_id, settled.key, "settled", one.end, {"t": one.end, **data}))
    return made


def _entry(subject: str, key: str, kind: str, at_ms: int, data: dict[str, Any]) -> NewEntry:
    return ledger.entry(
        subject=subject, key=key, kind=kind, at_ms=at_ms, context=_CONTEXT, reason="", data=data
    )


def _put_rows(tx: Transaction, session_id: str, one: Studied) -> None:
    runs = [f for f in one.facts if isinstance(f, Presence)]
    for n, run in enumerate(runs, start=1):
        tx.put_presence(
            {
                "session_id": session_id,
                "run": n,
                "first_ms": run.t,
                "last_ms": run.end,
                "track": run.track,
                "faces_max": run.faces_max,
                "samples": run.samples,
            }
        )
    reports = [f for f in one.facts if isinstance(f, Playback)]
    for n, report in enumerate(reports, start=1):
        tx.add_playback(
            {
                "session_id": session_id,
                "seq": n,
                "digest": "0" * 64,
                "received_ms": report.t,
                "media_id": report.media_id,
                "media_ms": report.media_ms,
                "playing": report.playing,
                "interaction": report.interaction,
                "counted": True,
                "answer": "{}",
            }
        )


def main(arguments: list[str]) -> int:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hours", description=__doc__)
    parser.add_argument("what", choices=("derive", "settle"))
    parser.add_argument("--learners", type=int, default=1_000)
    parser.add_argument("--lessons", type=int, default=2, help="of each learner (settle)")
    parser.add_argument("--minutes", type=int, default=10, help="of each lesson (settle)")
    options = parser.parse_args(arguments)
    found = (
        measure_derive()
        if options.what == "derive"
        else measure_settle(options.learners, lessons=options.lessons, minutes=options.minutes)
    )
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
