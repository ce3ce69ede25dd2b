"""How many learners' pictures this machine judges, at the rates of the credit model.

The rate of every kind of work is measured with all processors at it, in the batches that the
service makes under load; a learner costs the sum of his kinds. That is inference alone, and at full
load: HTTP, WebSockets, the tracker and its ledger come on top, and queues want room. The number to
plan with is what `benren bench streams capacity` finds of the whole service.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from statistics import median
from typing import Final

from benchmarks.job import Found, Job, Tell
from benchmarks.kinds import CHECK_FRAMES, WORDS, Run, kinds_of
from benchmarks.latency import bench_of
from benchmarks.roofline import RATES_PER_S
from benchmarks.timing import Json, Metric, until
from verifier.clock import work_time_ms
from verifier.models.processors import available_processors

BATCH: Final = 8
CHECK_EVERY_S: Final = 10.0
"""The simple rate: one whole check of one frame per learner."""


def run(job: Job, tell: Tell) -> Found:
    """Measure each kind of work on all processors, and reckon learners."""
    tell(0.0, "loading")
    bench = bench_of(job)
    kinds = kinds_of(bench)
    workers = available_processors()
    rounds, seconds = job.count(1, 4), job.pick(0.5, 1.1)
    per_s: dict[str, list[float]] = {name: [] for name in kinds}
    for number in range(rounds):
        for place, (name, work) in enumerate(kinds.items()):
            # A check is five frames already: two of them fill a batch.
            size = BATCH if name != "check" else max(BATCH // CHECK_FRAMES, 1)
            per_s[name].append(_rate(work, size, workers, seconds))
            tell((number + (place + 1) / len(kinds)) / rounds, WORDS[name])
    rates = {name: median(values) for name, values in per_s.items()}
    by_round = [{name: values[n] for name, values in per_s.items()} for n in range(rounds)]
    return Found(
        metrics=[
            Metric(
                name=f"capacity.{name}",
                value=reckon(rates),
                unit="learners",
                better="higher",
                about=f"learners at {words}, inference only, full load, pack {job.pack}",
                rounds=tuple(reckon(one) for one in by_round),
            )
            for name, words, reckon in (
                ("learners_simple", f"one whole check per {CHECK_EVERY_S:.0f} s", simple_learners),
                (
                    "learners_credit_model",
                    "presence per 5 s, identity per 30 s, a check per 6 min",
                    credited_learners,
                ),
            )
        ],
        detail=_detail(job.pack, workers, rates),
    )


def simple_learners(per_s: Mapping[str, float]) -> float:
    """Reckon learners who are checked once in a while, from how often a second work is done."""
    return per_s["whole"] * CHECK_EVERY_S


def credited_learners(per_s: Mapping[str, float]) -> float:
    """Reckon learners at the rates of the credit model."""
    return 1 / sum(rate / per_s[name] for name, rate in RATES_PER_S.items())


def _rate(work: Run, size: int, workers: int, seconds: float) -> float:
    """Give how often per second the machine does `work`, in batches of `size`."""
    turns = count()

    def batches(_: int) -> int:
        def batch() -> None:
            first = next(turns) * size
            work(range(first, first + size))

        return len(until(seconds, batch))

    with ThreadPoolExecutor(workers) as pool:
        start_ms = work_time_ms()
        done = sum(pool.map(batches, range(workers)))
        return done * size / ((work_time_ms() - start_ms) / 1_000)


def _detail(pack: str, workers: int, rates: Mapping[str, float]) -> Json:
    simple, whole = simple_learners(rates), credited_learners(rates)
    return {
        "pack": pack,
        "workers": workers,
        "batch": BATCH,
        "kinds": [
            {
                "kind": name,
                "words": WORDS[name],
                "per_s": rate,
                "core_ms": 1_000 * workers / rate,
                "per_learner_s": RATES_PER_S.get(name),
            }
            for name, rate in rates.items()
        ],
        "learners_simple": simple,
        "learners_credit_model": whole,
    }
