"""How many whole checks the machine does, by batch, worker and provider, and how long each waits.

Workers of one thread each (threads on one engine, as the service runs them, and processes beside
it) judge batches. The latency is that of a batch: what a frame in it waits once its batch has
begun. On a GPU frames are decoded beforehand, since decoding is not its work. What a check costs a
processor outside the networks (`outside`) bounds what any GPU can do beside these processors.
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
from typing import Final, get_args

from benchmarks.job import Found, Job, Tell
from benchmarks.latency import Bench, bench_of
from benchmarks.outside import outside_networks_ms
from benchmarks.timing import Clocked, Json, Metric, percentiles, until
from verifier.clock import work_time_ms
from verifier.errors import BenrenError, InferenceFailed
from verifier.models.backend import GPU
from verifier.models.processors import available_processors
from verifier.models.runtime import Provider
from verifier.pipeline.intake import decode

BATCHES: Final = (1, 2, 4, 8)
PROCESS_BATCHES: Final = (1, 8)
MAX_WORKERS: Final = 2
GPU_BATCHES: Final = (1, 8, 32)
GPU_WORKERS: Final = (1, 2, 4, 8)
"""Each process has an engine, and a context of the device, of its own."""
FAR_BATCHES: Final = (1, 8)
"""Batches that every provider is measured with."""
CHILD_TIMEOUT_S: Final = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One way to run: so many workers, so many frames at a time."""

    workers: int
    batch: int
    kind: str = "threads"
    decoded: bool = False
    """Whether the frames are decoded beforehand."""

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
    rounds, seconds = job.count(2, 5), job.pick(0.5, 1.5)
    filled = {cell: Filled([], []) for cell in cells_of(job.provider, available_processors())}
    workers = max(cell.workers for cell in filled)
    steps = count(1)
    total = rounds * len(filled)
    with _processes(job, workers) as children:
        for _ in range(rounds):
            for cell, found in filled.items():
                if cell.kind == "threads":
                    fill_threads(bench, cell, seconds, found)
                else:
                    _fill_processes(children[: cell.workers], cell, seconds, found)
                tell(next(steps) / total, cell.name)
    outside = outside_networks_ms(bench, rounds)
    return Found(
        metrics=[*_cell_metrics(filled, job.pack), *_scaling(filled), _outside(outside, job.pack)],
        detail={
            "pack": job.pack,
            "outside_networks_ms": median(outside),
            "processors": available_processors(),
            "grid": [_row(cell, found) for cell, found in filled.items()],
            "seconds_per_cell": rounds * seconds,
        },
        warnings=[]
        if workers > 1
        else ["This machine grants one processor: two workers cannot be compared with one."],
    )


def cells_of(provider: str, processors: int) -> list[Cell]:
    """Choose the ways to run that make sense on a provider."""
    gpu = provider in GPU
    numbers = GPU_WORKERS if gpu else range(1, MAX_WORKERS + 1)
    return [
        Cell(workers=n, batch=size, kind=kind, decoded=gpu)
        for kind, sizes in (
            ("threads", GPU_BATCHES if gpu else BATCHES),
            ("processes", GPU_BATCHES[-1:] if gpu else PROCESS_BATCHES),
        )
        for n in numbers
        for size in sizes
        if n <= processors
    ]


def fill_threads(bench: Bench, cell: Cell, seconds: float, found: Filled) -> None:
    """Let the cell's threads check batches for `seconds`, and add what they did to `found`."""
    batch = batch_work(bench, count(), cell)

    def work(_: int) -> list[Clocked]:
        return until(seconds, batch)

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
        child.send((seconds, cell))
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
            seconds, cell = pipe.recv()
        except EOFError:
            return
        done = until(seconds, batch_work(bench, turns, cell))
        pipe.send([one.wall_ms for one in done])


def batch_work(bench: Bench, turns: Iterator[int], cell: Cell) -> Callable[[], None]:
    """Give what checks one more batch of the cell each time, round and round the frames."""
    if not cell.decoded:
        return lambda: bench.check(bench.batch(next(turns), cell.batch))
    frames = [decode(jpeg) for jpeg in bench.jpegs]

    def check() -> None:
        first = next(turns) * cell.batch
        bench.check_decoded([frames[(first + i) % len(frames)] for i in range(cell.batch)], {})

    return check


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


def _outside(rounds: tuple[float, ...], pack: str) -> Metric:
    return Metric(
        name="throughput.outside_networks.ms",
        value=median(rounds),
        unit="ms",
        better="lower",
        about=f"processor time of a check outside the networks, pack {pack}",
        rounds=rounds,
    )


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
            bench = bench_of(job, provider=name)
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
