"""How long a whole check takes on one core, stage by stage; and the bench it is done on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final, cast

from benchmarks.frames import arms_length_frames
from benchmarks.job import Found, Job, Tell
from benchmarks.timing import Clocked, Json, Metric, clocked, percentiles, pin_to_one_core
from verifier.clock import work_time_ms
from verifier.errors import InferenceFailed
from verifier.models.packs import Pack, load_pack
from verifier.models.runtime import Provider, Runtime
from verifier.models.store import Store
from verifier.pipeline.engine import Engine
from verifier.pipeline.intake import decode
from verifier.pipeline.profile import load_profile
from verifier.pipeline.savings import Savings

if TYPE_CHECKING:
    from verifier.types import Frame, Vector

STAGES: Final[Mapping[str, str]] = {
    "decode": "JPEG decode",
    "detect": "detect, with landmarks refined",
    "quality": "align and quality",
    "embed": "align and embed",
    "liveness": "liveness, all networks",
    "decide": "decide",
}
"""Stage, as the engine names it -> in words; a stage that the engine adds keeps its name."""
EVERY_FRAME: Final = Savings(duplicates=False)
"""Benchmarks show the same frames again and again; cameras do not."""
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
    later: Sequence[bytes] = ()
    """What each frame's camera shows one sample later."""

    def check(self, jpegs: Sequence[bytes], timings_ms: dict[str, float] | None = None) -> None:
        """Check frames, each for itself: bytes in, a verdict each out."""
        stages = {} if timings_ms is None else timings_ms
        start_ms = work_time_ms()
        frames = [decode(jpeg) for jpeg in jpegs]
        stages["decode"] = work_time_ms() - start_ms
        self.check_decoded(frames, stages)

    def check_decoded(self, frames: Sequence[Frame], stages: dict[str, float]) -> None:
        """Check frames that are decoded already; milliseconds per stage go to `stages`."""
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


def load_pack_of(pack: str, provider: str, store: Store | None = None) -> Pack:
    """Load a pack as one worker runs it: one thread for each inference."""
    return load_pack(pack, store or Store.default(), Runtime(cast("Provider", provider), threads=1))


def bench_of(job: Job, *, provider: str = "", pack: str = "") -> Bench:
    """Load the engine and the frames at arm's length; pack and provider default to the job's."""
    loaded = load_pack_of(pack or job.pack, provider or job.provider)
    engine = Engine(loaded, load_profile(), EVERY_FRAME)
    jpegs = [sample.jpeg for sample in arms_length_frames(job.faces)]
    for jpeg in jpegs:
        vector = engine.enrol(decode(jpeg), strict=False).embedding
        if vector is not None:
            later = [sample.jpeg for sample in arms_length_frames(job.faces, 1)]
            return Bench(engine=engine, jpegs=jpegs, reference=vector, later=later)
    raise InferenceFailed("None of the frames can serve as a reference.")


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
