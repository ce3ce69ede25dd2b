"""How long a whole check takes, stage by stage, and how many the machine does by batch and worker.

`stages` looks at one core; `throughput` lets workers of one thread each (threads on one engine, as
the service runs them, and processes beside it) judge batches from JPEG to verdict, and takes the
latency of every batch: what a frame in it waits, once its batch has begun.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Connection
from statistics import median
from typing import TYPE_CHECKING, Final, get_args

from benchmarks.frames import arms_length_frames
from benchmarks.job import Found, Job, Tell
from benchmarks.timing import Clocked, Json, Metric, clocked, percentiles, pin_to_one_core, until
from verifier.clock import work_time_ms
from verifier.errors import BenrenError, InferenceFailed
from verifier.models.packs import load_pack
from verifier.models.processors import available_processors
from verifier.models.runtime import Provider, Runtime
from verifier.models.store import Store
from verifier.pipeline.engine import Engine
from verifier.pipeline.intake import decode
from verifier.pipeline.profile import load_profile

if TYPE_CHECKING:
    from verifier.types import Vector

STAGES: Final[Mapping[str, str]] = {
    "decode": "JPEG decode",
    "detect": "detect, with landmarks refined",
    "quality": "align and quality",
    "embed": "align and embed",
    "liveness": "liveness, all networks",
    "decide": "decide",
}
"""Stage, as the engine names it -> in words; a stage that the engine adds keeps its name."""
BATCHES: Final = (1, 2, 4, 8)
MAX_WORKERS: Final = 2
FAR_BATCHES: Final = (1, 8)
"""Batches that are measured on providers other than the CPU's."""
CHILD_TIMEOUT_S: Final = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """An engine, the frames, and a reference that one of them shows."""

    engine: Engine
    jpegs: Sequence[bytes]
    reference: Vector

    def check(self, jpegs: Sequence[bytes], timings_ms: dict[str, float] | None = None) -> None:
        """Check frames, each for itself: bytes in, a verdict each out."""
        stages = {} if timings_ms is None else timings_ms
        start_ms = work_time_ms()
        frames = [decode(jpeg) for jpeg in jpegs]
        stages["decode"] = work_time_ms() - start_ms
        evidence = self.engine.assess(
            frames, references=[self.reference] * len(frames), timings_ms=stages
        )
        start_ms = work_time_ms()
        for one in evidence:
            self.engine.judge([one], self.reference)
        stages["decide"] = work_time_ms() - start_ms

    def batch(self, turn: int, size: int) -> list[bytes]:
        """Give the `turn`-th batch, round and round through the frames."""
        return [self.jpegs[(turn * size + i) % len(self.jpegs)] for i in range(size)]


def bench_of(job: Job, *, provider: Provider = "cpu", pack: str | None = None) -> Bench:
    """Load the engine and the frames at arm's length."""
    runtime = Runtime(provider, threads=1)
    engine = Engine(load_pack(pack or job.pack, Store.default(), runtime), load_profile())
    jpegs = [sample.jpeg for sample in arms_length_frames(job.faces)]
    for jpeg in jpegs:
        vector = engine.enrol(decode(jpeg), strict=False).embedding
        if vector is not None:
            return Bench(engine=engine, jpegs=jpegs, reference=vector)
    raise InferenceFailed("None of the frames can serve as a reference.")


# --- One core, stage by stage ---------------------------------------------------------------


def stages(job: Job, tell: Tell) -> Found:
    """Take the time of every stage of single checks on one core."""
    pin_to_one_core()
    tell(0.0, "loading")
    bench = bench_of(job)
    for jpeg in bench.jpegs:
        bench.check([jpeg])
    rounds = job.count(4, 20)
    taken: dict[str, list[float]] = {}
    whole: list[Clocked] = []
    by_round: list[float] = []
    for number in range(rounds):
        start = len(whole)
        for jpeg in bench.jpegs:
            timings: dict[str, float] = {}
            whole.append(clocked(lambda j=jpeg, t=timings: bench.check([j], t)))  # type: ignore[misc]
            for stage, ms in timings.items():
                taken.setdefault(stage, []).append(ms)
        by_round.append(median(one.wall_ms for one in whole[start:]))
        tell((number + 1) / rounds, "single checks")
    walls = [one.wall_ms for one in whole]
    total = median(walls)
    rows = _stage_rows(taken, total, len(whole))
    metrics = [
        Metric(
            name=f"stage.{row['stage']}.ms",
            value=row["ms"],
            unit="ms",
            better="lower",
            about=f"{row['words']}, pack {job.pack}, one frame on one core",
            rounds=_by_round(taken[row["stage"]], rounds),
        )
        for row in rows
        if row["stage"] in taken
    ]
    metrics.append(
        Metric(
            name="check.single.ms",
            value=total,
            unit="ms",
            better="lower",
            about=f"whole check, pack {job.pack}, one frame on one core",
            rounds=tuple(by_round),
        )
    )
    busy = median(one.cpu_ms for one in whole) / total
    return Found(
        metrics=metrics,
        detail={
            "pack": job.pack,
            "models": dict(bench.engine.models),
            "profile": bench.engine.profile.version,
            "stages": rows,
            "whole_ms": percentiles(walls),
            "cpu_share": busy,
        },
        warnings=_disturbed(busy),
    )


def _stage_rows(taken: Mapping[str, Sequence[float]], total: float, checks: int) -> list[Json]:
    """Order the stages as they happen; what is between them is a row of its own."""
    order = [stage for stage in ("decode", *taken) if stage != "decide"] + ["decide"]
    rows = []
    for stage in dict.fromkeys(order):
        values = list(taken[stage]) + [0.0] * (checks - len(taken[stage]))
        rows.append({"stage": stage, "words": STAGES.get(stage, stage), "ms": median(values)})
    rest = max(total - sum(float(str(row["ms"])) for row in rows), 0.0)
    rows.append({"stage": "rest", "words": "between the stages", "ms": rest})
    return [row | {"share": float(str(row["ms"])) / total} for row in rows]


def _by_round(values: Sequence[float], rounds: int) -> tuple[float, ...]:
    size = max(len(values) // rounds, 1)
    return tuple(median(values[start : start + size]) for start in range(0, len(values), size))


def _disturbed(cpu_share: float) -> list[str]:
    if cpu_share >= 0.95:
        return []
    return [
        f"Other programs had {1 - cpu_share:.0%} of the core while single checks were timed:"
        " wall times are too long. Measure again on a quiet machine."
    ]


# --- Batches, workers, providers --------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One way to run: so many workers, so many frames at a time."""

    workers: int
    batch: int
    kind: str = "threads"

    @property
    def name(self) -> str:
        """As it stands in the names of metrics."""
        return f"{self.kind}{self.workers}.batch{self.batch}"


@dataclass(slots=True)
class Filled:
    """What a cell has done so far."""

    per_s: list[float]
    """Frames per second of each round."""
    batches_ms: list[float]
    """Latency of each batch."""


def throughput(job: Job, tell: Tell) -> Found:
    """Fill the grid of batch sizes and workers in rounds that take turns."""
    tell(0.0, "loading")
    bench = bench_of(job)
    workers = range(1, min(available_processors(), MAX_WORKERS) + 1)
    cells = [Cell(workers=n, batch=size) for n in workers for size in BATCHES]
    both = [Cell(workers=n, batch=size, kind="processes") for n in workers for size in (1, 8)]
    rounds, seconds = job.count(2, 5), job.pick(0.5, 1.5)
    filled = {cell: Filled([], []) for cell in (*cells, *both)}
    steps = count(1)
    total = rounds * len(filled)
    with _processes(job, max(workers)) as children:
        for _ in range(rounds):
            for cell, found in filled.items():
                if cell.kind == "threads":
                    fill_threads(bench, cell, seconds, found)
                else:
                    _fill_processes(children[: cell.workers], cell, seconds, found)
                tell(next(steps) / total, cell.name)
    return Found(
        metrics=[*_cell_metrics(filled, job.pack), *_scaling(filled)],
        detail={
            "pack": job.pack,
            "grid": [_row(cell, found) for cell, found in filled.items()],
            "seconds_per_cell": rounds * seconds,
        },
        warnings=[]
        if len(workers) > 1
        else ["This machine grants one processor: two workers cannot be compared with one."],
    )


def fill_threads(bench: Bench, cell: Cell, seconds: float, found: Filled) -> None:
    """Let the cell's threads check batches for `seconds`, and add what they did to `found`."""
    turns = count()

    def work(_: int) -> list[Clocked]:
        return until(seconds, lambda: bench.check(bench.batch(next(turns), cell.batch)))

    with ThreadPoolExecutor(cell.workers) as pool:
        start_ms = work_time_ms()
        done = [one for part in pool.map(work, range(cell.workers)) for one in part]
        elapsed_s = (work_time_ms() - start_ms) / 1_000
    found.per_s.append(len(done) * cell.batch / elapsed_s)
    found.batches_ms += [one.wall_ms for one in done]


def _fill_processes(
    children: Sequence[Connection], cell: Cell, seconds: float, found: Filled
) -> None:
    start_ms = work_time_ms()
    for child in children:
        child.send((seconds, cell.batch))
    walls: list[float] = []
    for child in children:
        if not child.poll(CHILD_TIMEOUT_S):
            raise InferenceFailed("A worker process of the benchmark does not answer.")
        walls += child.recv()
    elapsed_s = (work_time_ms() - start_ms) / 1_000
    found.per_s.append(len(walls) * cell.batch / elapsed_s)
    found.batches_ms += walls


@contextmanager
def _processes(job: Job, number: int) -> Iterator[list[Connection]]:
    """Start worker processes with an engine each, ready to run; end them in any case."""
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(number)]
    workers = [
        context.Process(target=_serve, args=(job, theirs), daemon=True) for _, theirs in pipes
    ]
    for worker in workers:
        worker.start()
    try:
        for ours, _ in pipes:
            if not ours.poll(CHILD_TIMEOUT_S):
                raise InferenceFailed("A worker process of the benchmark does not start.")
            ours.recv()
        yield [ours for ours, _ in pipes]
    finally:
        for ours, _ in pipes:
            ours.close()
        for worker in workers:
            worker.terminate()
            worker.join(10)


def _serve(job: Job, pipe: Connection) -> None:
    """Run in a worker process: told seconds and batch size, answers with the latencies."""
    bench = bench_of(job)
    turns = count()
    bench.check(bench.batch(0, 8))
    pipe.send("ready")
    while True:
        try:
            seconds, size = pipe.recv()
        except EOFError:
            return
        done = until(seconds, _batch_work(bench, turns, size))
        pipe.send([one.wall_ms for one in done])


def _batch_work(bench: Bench, turns: Iterator[int], size: int) -> Callable[[], None]:
    return lambda: bench.check(bench.batch(next(turns), size))


def _row(cell: Cell, found: Filled) -> Json:
    return {
        "kind": cell.kind,
        "workers": cell.workers,
        "batch": cell.batch,
        "per_s": median(found.per_s),
        "latency_ms": percentiles(found.batches_ms),
    }


def _cell_metrics(filled: Mapping[Cell, Filled], pack: str) -> list[Metric]:
    return [
        Metric(
            name=f"throughput.{cell.name}.per_s",
            value=median(found.per_s),
            unit="/s",
            better="higher",
            about=f"whole checks, pack {pack}: {cell.workers} {cell.kind}, {cell.batch} at a time",
            rounds=tuple(found.per_s),
        )
        for cell, found in filled.items()
    ]


def _scaling(filled: Mapping[Cell, Filled]) -> list[Metric]:
    """Compare two workers with one, at the same batch, round by round."""
    metrics = []
    for cell, found in filled.items():
        one = filled.get(Cell(workers=1, batch=cell.batch, kind=cell.kind))
        if cell.workers != 2 or one is None:
            continue
        ratios = tuple(two / single for two, single in zip(found.per_s, one.per_s, strict=True))
        metrics.append(
            Metric(
                name=f"scaling.{cell.kind}.batch{cell.batch}",
                value=median(ratios),
                unit="×",
                better="higher",
                about=f"two {cell.kind} on two cores over one, {cell.batch} at a time",
                rounds=ratios,
                relative=True,
            )
        )
    return metrics


def providers(job: Job, tell: Tell) -> Found:
    """Measure one worker on every provider that this installation and machine have."""
    known = [str(name) for name in get_args(Provider)]
    rows: list[Json] = []
    metrics: list[Metric] = []
    missing: dict[str, str] = {}
    for number, name in enumerate(known):
        tell(number / len(known), name)
        try:
            bench = bench_of(job, provider=name)  # type: ignore[arg-type]
        except BenrenError as error:
            missing[name] = str(error)
            continue
        for size in FAR_BATCHES:
            cell, found = Cell(workers=1, batch=size), Filled([], [])
            bench.check(bench.batch(0, size))
            for _ in range(job.count(2, 5)):
                fill_threads(bench, cell, job.pick(0.4, 1.0), found)
            rows.append(_row(cell, found) | {"provider": name})
            metrics.append(
                Metric(
                    name=f"provider.{name}.batch{size}.per_s",
                    value=median(found.per_s),
                    unit="/s",
                    better="higher",
                    about=f"whole checks on {name}, one worker, {size} at a time",
                    rounds=tuple(found.per_s),
                )
            )
    return Found(metrics=metrics, detail={"rows": rows, "missing": missing})
