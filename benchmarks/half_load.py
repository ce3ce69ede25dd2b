"""How long a check waits when the machine has half the work it can do.

Frames that are decoded already go through the batcher that serves. First callers who ask again as
soon as they are answered find the most it can do; then requests arrive by chance (exponential
gaps), half as many, and each one's time from arrival to verdict is taken.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from itertools import count
from statistics import median
from typing import TYPE_CHECKING, Final

from benchmarks.job import Found, Job, Tell
from benchmarks.latency import Bench, bench_of
from benchmarks.timing import Metric, percentiles
from benren.config import Config
from verifier.api.app import batch_limits
from verifier.clock import work_time_ms
from verifier.models.processors import available_processors
from verifier.pipeline.batching import Batcher
from verifier.pipeline.intake import decode

if TYPE_CHECKING:
    from verifier.types import Frame

LOAD: Final = 0.5
CALLERS_PER_BATCH: Final = 2
"""Callers at a time for each frame that fits into the batches of all workers: it never waits."""
MAX_CALLERS: Final = 200
SEED: Final = 0


def run(job: Job, tell: Tell) -> Found:
    """Find the most the batcher can do, then the waiting time at half of it."""
    return asyncio.run(_run(job, tell))


async def _run(job: Job, tell: Tell) -> Found:
    tell(0.0, "loading")
    bench = bench_of(job)
    frames = [decode(jpeg) for jpeg in bench.jpegs]
    config = Config(pack=job.pack, provider=job.provider)
    limits = batch_limits(config, available_processors(), bench.engine.providers.values())
    rounds, seconds = job.count(1, 4), job.pick(1.5, 3.0)
    most: list[float] = []
    waits_ms: list[list[float]] = []
    async with Batcher(bench.engine, decode=decode, limits=limits) as batcher:
        asker = Asker(bench, frames, batcher)
        callers = min(CALLERS_PER_BATCH * limits.workers * limits.max_batch, MAX_CALLERS)
        for number in range(rounds):
            tell(number / rounds, "full load")
            most.append(await asker.at_full_load(callers, seconds))
            tell((number + 0.4) / rounds, "half load")
            waits_ms.append(await asker.at_rate(LOAD * median(most), seconds))
    spread = percentiles([ms for one in waits_ms for ms in one])
    return Found(
        metrics=[
            Metric(
                name="half_load.p99_ms",
                value=spread["p99"],
                unit="ms",
                better="lower",
                about=f"99th percentile of a check from a decoded frame at half load, {job.pack}",
                rounds=tuple(percentiles(one)["p99"] for one in waits_ms),
            ),
            Metric(
                name="half_load.most_per_s",
                value=median(most),
                unit="/s",
                better="higher",
                about=f"checks from decoded frames through the batcher, full load, {job.pack}",
                rounds=tuple(most),
            ),
        ],
        detail={
            "pack": job.pack,
            "provider": job.provider,
            "load": LOAD,
            "callers": callers,
            "workers": limits.workers,
            "max_batch": limits.max_batch,
            "most_per_s": median(most),
            "offered_per_s": LOAD * median(most),
            "latency_ms": spread,
        },
    )


class Asker:
    """Asks a batcher for checks of single frames."""

    def __init__(self, bench: Bench, frames: Sequence[Frame], batcher: Batcher) -> None:
        self._bench = bench
        self._frames = frames
        self._batcher = batcher
        self._turns = count()
        self._chance = random.Random(SEED)  # noqa: S311 - arrivals of a benchmark, not a secret

    async def at_full_load(self, callers: int, seconds: float) -> float:
        """Let `callers` ask again as soon as they are answered; gives checks per second."""
        start_ms = work_time_ms()
        end_ms = start_ms + seconds * 1_000

        async def caller(number: int) -> int:
            done = 0
            while work_time_ms() < end_ms:
                await self._check(str(number))
                done += 1
            return done

        done = sum(await asyncio.gather(*(caller(number) for number in range(callers))))
        return done / ((work_time_ms() - start_ms) / 1_000)

    async def at_rate(self, per_s: float, seconds: float) -> list[float]:
        """Let `per_s` requests a second arrive by chance; gives the milliseconds of each."""
        start_ms = work_time_ms()
        due_ms = start_ms
        asked: list[asyncio.Task[float]] = []
        while True:
            due_ms += self._chance.expovariate(per_s) * 1_000
            if asked and due_ms > start_ms + seconds * 1_000:
                break
            await asyncio.sleep(max(due_ms - work_time_ms(), 0.0) / 1_000)
            # From when it was due: a loop that comes late must not flatter itself.
            asked.append(asyncio.create_task(self._timed(due_ms)))
        return await asyncio.gather(*asked)

    async def _timed(self, due_ms: float) -> float:
        await self._check(str(due_ms))
        return work_time_ms() - due_ms

    async def _check(self, owner: str) -> None:
        frame = self._frames[next(self._turns) % len(self._frames)]
        evidence = await self._batcher.assess(
            [frame], references=[self._bench.reference], owner=owner
        )
        self._batcher.judge(evidence, self._bench.reference)
