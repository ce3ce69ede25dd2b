"""What the engine makes of every picture of a data set, once: kept on disk for the next run.

The cache holds vectors of faces, which are biometric data: its folder is readable by its owner
only, its rows bear the digest of a picture and never a name, and `benren tune --no-cache` does
without. A row is valid for one pack on one provider, in one version of what computes there, for
one set of quality limits and one state of the code.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from benchmarks.dataset import Picture, Role
from benchmarks.source_digest import code_version
from verifier.errors import ConfigurationError, ImageError
from verifier.models.installation import engine_versions
from verifier.models.processors import available_processors
from verifier.pipeline.intake import decode
from verifier.types import Evidence, Frame

if TYPE_CHECKING:
    from verifier.pipeline.engine import Enrolment
    from verifier.pipeline.profile import ThresholdProfile
    from verifier.types import Vector

BATCH: Final = 8
"""Pictures that go through the engine at a time: beyond it a CPU loses (DESIGN, facts measured)."""
UNREADABLE: Final = "unreadable"
"""Stands where reasons stand, for a picture that could not be decoded."""
KEPT_CACHES: Final = 6
"""Files of earlier configurations that stay: biometric data must not pile up."""

Stage = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Opens a progress bar: what is done, how many units; gives what is told of units done."""


class Measured(Protocol):
    """What is asked of an engine here; `verifier.pipeline.engine.Engine` is one."""

    @property
    def models(self) -> Mapping[str, str]:
        """Role -> ``id@sha256``."""
        ...

    @property
    def providers(self) -> Mapping[str, str]:
        """Role -> what runs that network: others give other numbers, bfloat16 most of all."""
        ...

    @property
    def profile(self) -> ThresholdProfile:
        """Its quality limits choose what can be compared."""
        ...

    def assess(self, frames: Sequence[Frame], *, liveness: bool) -> list[Evidence]:
        """Say what each frame says about its largest sufficient face."""
        ...

    def enrol(self, frame: Frame) -> Enrolment:
        """Judge whether a photograph can become a template."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One picture after everything that does not depend on whom it is compared with."""

    digest: str
    """SHA-256 of the file; empty where it could not be read."""
    reasons: tuple[str, ...]
    """Why it cannot be compared, by `verifier.types.Reason`, or `UNREADABLE`."""
    enrolment_reasons: tuple[str, ...] = ()
    """Why it cannot become a template; of identity pictures only."""
    liveness: float | None = None
    """Fused score; None where it was not asked for, or there is no face."""
    embedding: Vector | None = None
    """(d,) float32, L2-normalised; of the largest sufficient face, or the largest."""
    why: str = ""
    """Of an unreadable picture, in words."""


class Cache:
    """Observations on disk, by the digest of the picture."""

    def __init__(self, folder: Path, key: str) -> None:
        """Open (or make) the file of the configuration `key`. Raises ConfigurationError."""
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.chmod(0o700)
            path = folder / f"{key}.sqlite3"
            path.touch(mode=0o600)
            _prune(folder)
            self._database = sqlite3.connect(path)
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS seen (digest TEXT, live INTEGER, reasons TEXT,"
                " enrolment TEXT, liveness REAL, embedding BLOB, PRIMARY KEY (digest, live))"
            )
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(
                f"The cache in {folder} cannot be used: {error}.",
                remedy="Remove it, choose another with --cache, or do without by --no-cache.",
            ) from error

    def get(self, digest: str, *, live: bool) -> Observation | None:
        """Give what is known of a picture, with or without its liveness score."""
        row = self._database.execute(
            "SELECT reasons, enrolment, liveness, embedding FROM seen WHERE digest=? AND live=?",
            (digest, int(live)),
        ).fetchone()
        if row is None:
            return None
        reasons, enrolment, liveness, embedding = row
        return Observation(
            digest=digest,
            reasons=tuple(json.loads(reasons)),
            enrolment_reasons=tuple(json.loads(enrolment)),
            liveness=liveness,
            embedding=None if embedding is None else np.frombuffer(embedding, dtype="<f4"),
        )

    def put(self, observations: Sequence[Observation], *, live: bool) -> None:
        """Keep what was measured, all of it or nothing."""
        rows = [
            (
                one.digest,
                int(live),
                json.dumps(one.reasons),
                json.dumps(one.enrolment_reasons),
                one.liveness,
                None if one.embedding is None else one.embedding.astype("<f4").tobytes(),
            )
            for one in observations
        ]
        with self._database:
            self._database.executemany("INSERT OR REPLACE INTO seen VALUES (?,?,?,?,?,?)", rows)

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def _prune(folder: Path) -> None:
    """Remove the files of configurations that have not been used for longest."""
    files = sorted(folder.glob("*.sqlite3"), key=lambda path: -path.stat().st_mtime)
    for old in files[KEPT_CACHES:]:
        old.unlink(missing_ok=True)


def configuration_key(engine: Measured) -> str:
    """Name all that decides what is observed: networks, what runs them, quality limits, code."""
    parts = {
        "models": dict(sorted(engine.models.items())),
        "providers": dict(sorted(engine.providers.items())),
        "engines": engine_versions(),
        "quality": engine.profile.quality.model_dump(mode="json"),
        "code": code_version(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def observe(
    engine: Measured,
    pictures: Sequence[Picture],
    *,
    cache_folder: Path | None,
    stage: Stage,
    workers: int | None = None,
) -> list[Observation]:
    """Observe every picture, in order; each distinct file goes through the engine once.

    On as many threads as there are processors, a few batches ahead at most. A picture that cannot
    be decoded is an observation too; what else goes wrong is raised.
    """
    if cache_folder is None:
        return _observe(engine, pictures, None, stage, workers)
    with closing(Cache(cache_folder, configuration_key(engine))) as cache:
        return _observe(engine, pictures, cache, stage, workers)


def _observe(
    engine: Measured,
    pictures: Sequence[Picture],
    cache: Cache | None,
    stage: Stage,
    workers: int | None,
) -> list[Observation]:
    seen: dict[tuple[str, bool], Observation] = {}
    order: list[tuple[str, bool] | Observation] = []
    threads = workers or available_processors()
    with (
        stage("Looking at pictures", len(pictures)) as done,
        ThreadPoolExecutor(threads, thread_name_prefix="tune") as pool,
    ):
        running: list[tuple[bool, Future[list[Observation]]]] = []

        def settle(ahead: int) -> None:
            while len(running) > ahead:
                live, future = running.pop(0)
                finished = future.result()
                if cache is not None:
                    known = [one for one in finished if one.reasons != (UNREADABLE,)]
                    cache.put(known, live=live)
                seen.update({(one.digest, live): one for one in finished})
                done(len(finished))

        for live, batch in _batches(_unknown(pictures, cache, seen, order, done)):
            running.append((live, pool.submit(_through, engine, batch, live)))
            settle(2 * threads)
        settle(0)
    return [seen[one] if isinstance(one, tuple) else one for one in order]


def _unknown(
    pictures: Sequence[Picture],
    cache: Cache | None,
    seen: dict[tuple[str, bool], Observation],
    order: list[tuple[str, bool] | Observation],
    done: Callable[[int], None],
) -> Iterator[tuple[bool, str, bytes]]:
    """Read pictures one after the other; give on those of which nothing is known yet."""
    asked: set[tuple[str, bool]] = set()
    for picture in pictures:
        live = picture.live or picture.role is not Role.IDENTITY
        try:
            data = picture.read()
        except ImageError as error:
            order.append(Observation(digest="", reasons=(UNREADABLE,), why=error.detail))
            done(1)
            continue
        digest = hashlib.sha256(data).hexdigest()
        key = (digest, live)
        order.append(key)
        if key in asked:
            done(1)
            continue
        asked.add(key)
        known = cache.get(digest, live=live) if cache is not None else None
        if known is not None:
            seen[key] = known
            done(1)
            continue
        yield live, digest, data


def _batches(
    unknown: Iterator[tuple[bool, str, bytes]],
) -> Iterator[tuple[bool, list[tuple[str, bytes]]]]:
    """Put neighbours that are asked the same question into batches."""
    waiting: dict[bool, list[tuple[str, bytes]]] = {False: [], True: []}
    for live, digest, data in unknown:
        waiting[live].append((digest, data))
        if len(waiting[live]) == BATCH:
            yield live, waiting[live]
            waiting[live] = []
    for live, rest in waiting.items():
        if rest:
            yield live, rest


def _through(engine: Measured, batch: Sequence[tuple[str, bytes]], live: bool) -> list[Observation]:
    """Decode and observe one batch; runs on a worker's thread."""
    unreadable: list[Observation] = []
    frames: list[Frame] = []
    for digest, data in batch:
        try:
            frames.append(decode(data))
        except ImageError as error:
            unreadable.append(Observation(digest=digest, reasons=(UNREADABLE,), why=error.detail))
    if not frames:
        return unreadable
    evidence = engine.assess(frames, liveness=live)
    seen = [
        Observation(
            digest=frame.digest,
            reasons=tuple(reason.value for reason in one.reasons),
            liveness=one.liveness_score,
            embedding=one.embedding,
        )
        for frame, one in zip(frames, evidence, strict=True)
    ]
    enrolled = [engine.enrol(frame).reasons for frame in frames]
    return unreadable + [
        replace(one, enrolment_reasons=tuple(reason.value for reason in reasons))
        for one, reasons in zip(seen, enrolled, strict=True)
    ]
