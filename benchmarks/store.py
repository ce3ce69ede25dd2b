"""What the store can take: durable events a second, a ledger of a million entries, proofs.

``python -m benchmarks.store`` measures on SQLite and, where its programs are installed, on a
PostgreSQL server of its own with fsync on. Events go through the tracker's sink: rules, ledger
entries, the tree and the commit are all in the number. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from session_tracker import ledger
from session_tracker.audit import audit_database
from session_tracker.ledger import Context, Ledger
from session_tracker.ledger_file import audit_export, export_ledger
from session_tracker.merkle import BLOCK
from session_tracker.policy import load_policy
from session_tracker.store.database import Database
from session_tracker.store.testing import PostgresServer, find_postgres
from session_tracker.store.writer import NewEntry, Transaction
from session_tracker.testing import MODELS, PROFILE, Studio
from verifier.clock import Clock, ManualClock
from verifier.keys import KeyRing

_PERIOD_MS: Final = 5_000
_IDENTITY_SHARE: Final = 1 / 6
_BATCH: Final = 5_000
_PROOFS: Final = 200


async def events_per_second(url: str, *, sessions: int, rounds: int) -> dict[str, Any]:
    """Have `sessions` learners send a frame each, `rounds` times, all at once."""
    studio = Studio(url, policy=load_policy("foshan-2021"), seed=7)
    chance = random.Random(7)  # noqa: S311 - repeatable on purpose
    await studio.start()
    try:
        opened = [await _open(studio) for _ in range(sessions)]
        streams = studio.verifier.streams
        before = await studio.service.ledger.size()
        taken, busy, worked = 0, 0.0, 0.0
        latencies: list[float] = []

        async def frame(session_id: str, *, identity: bool) -> None:
            began = time.perf_counter()
            await studio.verifier.frame(session_id, identity=identity)
            latencies.append(time.perf_counter() - began)

        for _ in range(rounds):
            studio.clock.advance(_PERIOD_MS)
            had = sum(stream.events for stream in streams.values())
            began, had_worked = time.perf_counter(), time.process_time()
            await studio.service.settled()  # deadlines of the rules: checks are events too
            await asyncio.gather(
                *(frame(name, identity=chance.random() < _IDENTITY_SHARE) for name in opened)
            )
            await studio.service.settled()
            busy += time.perf_counter() - began
            worked += time.process_time() - had_worked
            taken += sum(stream.events for stream in streams.values()) - had
        appended = await studio.service.ledger.size() - before
    finally:
        await studio.stop()
    latencies.sort()
    return {
        "sessions": sessions,
        "events": taken,
        "seconds": round(busy, 2),
        "events_per_s": round(taken / busy),
        "events_per_cpu_s": round(taken / worked),
        "ledger_entries": appended,
        "frame_p50_ms": round(latencies[len(latencies) // 2] * 1e3, 1),
        "frame_p99_ms": round(latencies[len(latencies) * 99 // 100] * 1e3, 1),
    }


async def _open(studio: Studio) -> str:
    learner, consent = await studio.enrol()
    opened = await studio.service.openings.open_session(
        learner_id=learner, consent_id=consent, programme=studio.policy.name, media=["m"]
    )
    return opened.session_id


def entries(count: int) -> Iterable[list[NewEntry]]:
    """Make entries like those of real lessons, in batches: identity samples with evidence."""
    context = Context(policy="foshan-2021@1", models=MODELS, profile=PROFILE)
    for start in range(0, count, _BATCH):
        yield [
            ledger.entry(
                subject=f"ses_{number // 500:024x}",
                key=f"identity:1:{number}",
                kind="identity",
                at_ms=1_795_482_000_000 + number * 30_000,
                context=context,
                reason="pass",
                data={
                    "t": 1_795_482_000_000 + number * 30_000,
                    "track": 1,
                    "outcome": "pass",
                    "evidence": {
                        "event": number,
                        "faces": 1,
                        "frames": [f"{number:064x}"],
                        "similarity_millionths": 710_000,
                        "signature": "20261124-a." + "c2NyaXB0ZWQ" * 8,
                    },
                },
            )
            for number in range(start, min(start + _BATCH, count))
        ]


async def ledger_of(url: str, count: int, folder: Path) -> dict[str, Any]:
    """Fill a ledger, sign heads on the way, then verify it, export it and prove from it."""
    clock = ManualClock()
    ring = KeyRing.generate(clock)
    database = Database(url)
    await database.open()
    book = Ledger(database, ring, clock)
    try:
        began = time.perf_counter()
        for number, batch in enumerate(entries(count)):
            await _append(database, batch)
            if number % 20 == 0:
                clock.advance(86_400_000)
                await book.head()
        head = await book.head()
        result: dict[str, Any] = {"entries": count, "fill_s": round(time.perf_counter() - began, 1)}
        began, worked = time.perf_counter(), time.process_time()
        audit = await audit_database(database, ring, held=[head])
        result["verify_s"] = round(time.perf_counter() - began, 1)
        result["verify_cpu_s"] = round(time.process_time() - worked, 1)
        result["intact"] = audit.intact
        chance = random.Random(3)  # noqa: S311
        result |= await _proofs((database, ring, clock), count, chance)
        path = folder / "export.jsonl"
        began = time.perf_counter()
        with path.open("w", encoding="utf-8", newline="\n") as out:
            await export_ledger(database, out)
        result["export_s"] = round(time.perf_counter() - began, 1)
        result["export_mb"] = round(path.stat().st_size / 1e6)
        began, worked = time.perf_counter(), time.process_time()
        result["export_intact"] = audit_export(path, ring, held=[head]).intact
        result["verify_export_s"] = round(time.perf_counter() - began, 1)
        result["verify_export_cpu_s"] = round(time.process_time() - worked, 1)
    finally:
        await database.close()
    result["peak_rss_mb"] = round(_peak_rss_mb())
    return result


async def _append(database: Database, batch: list[NewEntry]) -> None:
    async def job(tx: Transaction) -> None:
        await tx.append(batch)

    await database.write(job)


async def _proofs(
    parts: tuple[Database, KeyRing, Clock], count: int, chance: random.Random
) -> dict[str, float]:
    """Prove as the database and the memory of blocks may have it, the worst first."""
    book = Ledger(*parts)
    await book.head()  # whoever asks for a proof has a head
    spread = [chance.randrange(count) for _ in range(_PROOFS)]
    near = [chance.randrange(min(count, 100_000)) for _ in range(_PROOFS)]
    found = await _timed("first", [(Ledger(*parts), index) for index in spread], count)
    # Every one in a block of its own, while there are enough: each is read from the database.
    blocks = -(-count // BLOCK)
    apart = [position * BLOCK for position in chance.sample(range(blocks), min(_PROOFS, blocks))]
    found |= await _timed("database", [(book, index) for index in apart], count)
    for index in near:
        await book.inclusion(index, count)
    return found | await _timed("memory", [(book, index) for index in near], count)


async def _timed(name: str, proofs: list[tuple[Ledger, int]], size: int) -> dict[str, float]:
    took = []
    for book, index in proofs:
        began = time.perf_counter()
        await book.inclusion(index, size)
        took.append((time.perf_counter() - began) * 1e3)
    took.sort()
    return {
        f"proof_{name}_p50_ms": round(took[len(took) // 2], 2),
        f"proof_{name}_p95_ms": round(took[len(took) * 95 // 100], 2),
    }


def _peak_rss_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def fsync_ms(folder: Path) -> float:
    """Median time of a 4 KiB write with fsync: what a commit costs at least."""
    took = []
    with (folder / "probe").open("wb", buffering=0) as file:
        for _ in range(50):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            os.fsync(file.fileno())
            took.append((time.perf_counter() - began) * 1e3)
    return round(sorted(took)[25], 2)


@asynccontextmanager
async def _address(kind: str, folder: Path) -> AsyncIterator[Callable[[str], str]]:
    if kind == "sqlite":
        yield lambda name: f"sqlite:///{folder / name}.sqlite3"
        return
    with PostgresServer(durable=True) as server:
        yield lambda _: server.url(server.create())


async def measure(options: argparse.Namespace) -> None:
    """Measure what was asked for; one JSON line each."""
    kinds = options.database or ["sqlite", *(["postgresql"] if find_postgres() else [])]
    with tempfile.TemporaryDirectory(prefix="benren-bench-") as made:
        folder = Path(made)
        _tell({"fsync_ms": fsync_ms(folder), "folder": str(folder.parent)})
        for kind in kinds:
            async with _address(kind, folder) as address:
                if not options.only or "events" in options.only:
                    taken = await events_per_second(
                        address("events"), sessions=options.sessions, rounds=options.rounds
                    )
                    _tell({"database": kind, "what": "events", **taken})
                if not options.only or "ledger" in options.only:
                    found = await ledger_of(address("ledger"), options.entries, folder)
                    _tell({"database": kind, "what": "ledger", **found})


def _tell(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)  # noqa: T201 - its output


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store", description=__doc__)
    parser.add_argument("--database", action="append", choices=["sqlite", "postgresql"])
    parser.add_argument("--only", action="append", choices=["events", "ledger"])
    parser.add_argument("--sessions", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--entries", type=int, default=1_000_000)
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
