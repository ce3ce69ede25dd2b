"""Fingerprints of frames: kept with the session, given to the next, forgotten in time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from session_tracker.fingerprints import BYTES, PART
from session_tracker.policy import load_policy
from session_tracker.store.tables_streams import frame_fingerprints
from session_tracker.testing import Lesson, ScriptedStream, ScriptedVerifier, Studio
from verifier.clock import Clock, Stamp
from verifier.errors import StorageError
from verifier.types import EventKind, StreamEvent

DAY_MS = 86_400_000


class Printing(ScriptedVerifier):
    """Its frames have fingerprints: the number of the event, over and over."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.shown = 0

    def _event(
        self, stream: ScriptedStream, kind: EventKind, at: Stamp, *, faces: int
    ) -> StreamEvent:
        event = super()._event(stream, kind, at, faces=faces)
        self.shown += 1
        return replace(event, fingerprint=self.shown.to_bytes(BYTES).hex() if faces else "")


async def rows(studio: Studio) -> int:
    """How many rows are stored."""
    async with studio.service._database.read() as connection:
        query = select(func.count()).select_from(frame_fingerprints)
        return int(await connection.scalar(query) or 0)


async def study(studio: Studio, seconds: int) -> Lesson:
    """A lesson, ended by the learner."""
    lesson = await studio.open()
    await lesson.watch(seconds)
    await lesson.close()
    await studio.service.settled()
    return lesson


async def test_what_was_seen_goes_to_the_next_session(tmp_path: Path) -> None:
    """Sealed in rows of two minutes; the next stream gets all of it, in order; erasing empties."""
    studio = Studio(f"sqlite:///{tmp_path}/a.sqlite3", policy=load_policy("demo"))
    studio.verifier = Printing(studio.clock)
    studio.service = studio._service()
    await studio.start()
    first = await study(studio, 400)
    seen = studio.verifier.stream_of
    assert seen is not None
    async with studio.service._database.read() as connection:
        stored = (await connection.execute(select(frame_fingerprints))).all()
    assert len(stored) >= 3
    assert {row.session_id for row in stored} == {first.id}
    assert [row.part for row in stored] == list(range(1, len(stored) + 1))
    assert all(bytes([0] * 32) not in row.prints for row in stored)
    second = await studio.open()
    given = studio.verifier.stream_of(second.id).spec.fingerprints
    numbers = [int.from_bytes(given[at : at + BYTES]) for at in range(0, len(given), BYTES)]
    assert len(numbers) >= PART * 2
    assert numbers == sorted(numbers)
    await second.close()
    await studio.service.erase_biometrics(studio.learner_id, actor="test")
    assert await rows(studio) == 0
    await studio.stop()


async def test_they_are_forgotten_after_their_days(tmp_path: Path) -> None:
    """Ninety days later the daily work removes them, and no stream is given them any more."""
    studio = Studio(f"sqlite:///{tmp_path}/a.sqlite3", policy=load_policy("demo"))
    studio.verifier = Printing(studio.clock)
    studio.service = studio._service()
    await studio.start()
    await study(studio, 200)
    assert await rows(studio) > 0
    studio.clock.advance(91 * DAY_MS)
    await studio.service.settled()
    assert await studio.service._stage.fingerprints.earlier(studio.learner_id) == b""
    await studio.service.keep_house()
    assert await rows(studio) == 0
    await studio.stop()


async def lesson_on(tmp_path: Path) -> tuple[Studio, Lesson]:
    """A lesson whose frames have fingerprints, and none of them is stored yet."""
    studio = Studio(f"sqlite:///{tmp_path}/a.sqlite3", policy=load_policy("demo"))
    studio.verifier = Printing(studio.clock)
    studio.service = studio._service()
    await studio.start()
    lesson = await studio.open()
    await lesson.watch(60)
    assert await rows(studio) == 0
    return studio, lesson


async def test_a_stream_opened_anew_is_given_what_is_not_stored_yet(tmp_path: Path) -> None:
    """Else whoever asks for another one every two minutes plays the same two minutes for ever."""
    studio, lesson = await lesson_on(tmp_path)
    await studio.service.openings.reopen_stream(lesson.id, lesson.token)
    assert len(studio.verifier.specs[-1].fingerprints) >= 10 * BYTES
    await studio.stop()


async def test_what_cannot_be_stored_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is away: it is tried again, and nothing is stored twice."""
    studio, lesson = await lesson_on(tmp_path)
    kept = studio.service._stage.fingerprints

    async def away(*_: object) -> None:
        raise StorageError("away")

    with monkeypatch.context() as changed:
        changed.setattr(kept._database, "write", away)
        with pytest.raises(StorageError):
            await kept.keep(lesson.id)
    await asyncio.gather(kept.keep(lesson.id), kept.keep(lesson.id))
    assert await rows(studio) == 1
    assert len(await kept.earlier(studio.learner_id)) >= 10 * BYTES
    assert kept._collected == {}
    await studio.stop()


async def test_a_keep_cancelled_once_it_is_written_is_stored_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stop ends whoever keeps and keeps the rest: what is committed is no rest."""
    studio, lesson = await lesson_on(tmp_path)
    kept = studio.service._stage.fingerprints
    write = kept._database.write
    committed, told = asyncio.Event(), asyncio.Event()

    async def then_waits(job: Any) -> Any:
        done = await write(job)
        committed.set()
        await told.wait()
        return done

    with monkeypatch.context() as changed:
        changed.setattr(kept._database, "write", then_waits)
        keeping = asyncio.create_task(kept.keep(lesson.id))
        await committed.wait()
        keeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await keeping
    told.set()
    await kept.keep_all()
    assert await rows(studio) == 1
    assert kept._collected == {}
    await studio.stop()


async def test_a_stop_keeps_the_last_ones(tmp_path: Path) -> None:
    """A restart forgets nothing of what a session has shown."""
    studio, _ = await lesson_on(tmp_path)
    await studio.service.stop()
    studio.service = studio._service()
    await studio.service.start()
    assert await rows(studio) == 1
    await studio.stop()
