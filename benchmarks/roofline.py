"""How near the networks come to what a core can do, and what is saved by not computing at all.

The roof is the best rate of a single-threaded float32 matrix product (numpy's BLAS) on this core,
now. Operations are those of the original graphs (see `flops`): what an optimised graph adds in
padding is no useful work and does not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks.flops import count_flops
from benchmarks.job import Found, Job, Tell
from benchmarks.kinds import CHECK_FRAMES, WORDS, kinds_of
from benchmarks.latency import bench_of
from benchmarks.peers import PAIRS
from benchmarks.timing import Better, Json, Metric, clocked, noise, pin_to_one_core
from verifier.clock import work_time_ms
from verifier.models.network import Network
from verifier.models.store import Store
from verifier.pipeline.intake import decode
from verifier.pipeline.savings import OLDEST, Savings

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDES: Final = (384, 512, 768, 1024)
"""Of the square matrices; the best of them counts."""
FULL_LOOK: Final = (1, 3, 640, 640)
"""The detector's input where nothing is saved: the size that peers use."""
SMALL_LOOKS: Final = Savings(small_first=False, track=False, duplicates=False, glances=False)
"""A search of every frame for itself, with small looks and close ones."""
COUNTED: Final = "MFLOP"
SAVED: Final = "of FLOPs"
SAMPLES_PER_S: Final = 1 / 5
RATES_PER_S: Final[Mapping[str, float]] = {
    "presence": SAMPLES_PER_S / (OLDEST + 1),
    "tracked": SAMPLES_PER_S * OLDEST / (OLDEST + 1),
    "identity": 1 / 30,
    "check": 1 / 360,
}
"""Of one learner (CREDIT_MODEL): the same as in `capacity`. Every sixth sample is searched in full,
the others rest on the one before (`savings`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One run of a network."""

    network: str
    shape: tuple[int, ...]
    ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What one pack computes, and in what time."""

    whole_ms: Sequence[float]
    """Of single whole checks."""
    networks: Sequence[Json]
    """Network and input shape -> work and time, the most time first."""
    flops: Mapping[str, float]
    """Kind of work -> operations."""
    refine_flops: float
    """Close looks at the face of one frame that was found at a glance; part of *identity*."""
    small_look_flops: float
    """A search with small and close looks, landmarks placed, as if nothing were known before."""
    full_look_flops: float
    """One look at 640 px, which places landmarks at once."""

    @property
    def learner(self) -> Mapping[str, float]:
        """Operations a second of one learner, at the same rates and for the same evidence.

        ``full``: every sample looked at in full. ``small``: every sample searched with small
        looks. ``spent``: what the product does.
        """
        identities = RATES_PER_S["identity"] + CHECK_FRAMES * RATES_PER_S["check"]
        evidence = identities * (self.flops["identity"] - self.refine_flops)
        return {
            "full": SAMPLES_PER_S * self.full_look_flops + evidence,
            "small": SAMPLES_PER_S * self.small_look_flops + evidence,
            "spent": sum(rate * self.flops[name] for name, rate in RATES_PER_S.items()),
        }

    @property
    def networks_ms(self) -> float:
        """Time within the networks in one whole check."""
        return float(sum(row["ms"] * row["runs_per_check"] for row in self.networks))


def run(job: Job, tell: Tell) -> Found:
    """Measure the roof, count and time every network of a whole check, and what is skipped."""
    pin_to_one_core()
    tell(0.0, "peak")
    peak = peak_flops(job.count(6, 20))
    counter = Counter(Store.default())
    packs = dict.fromkeys([job.pack, *(pack for pack, _ in PAIRS)])
    studies: dict[str, Study] = {}
    for number, pack in enumerate(packs):
        tell(0.1 + 0.9 * number / len(packs), f"pack {pack}")
        studies[pack] = _study(job, pack, counter, peak)
    return _found(job.pack, studies, peak)


def _study(job: Job, pack: str, counter: Counter, peak: float) -> Study:
    bench = bench_of(job, pack=pack)
    rounds, frames = job.count(2, 8), len(bench.jpegs)
    calls: dict[str, list[Call]] = {}
    whole_ms: list[float] = []
    for name, work in kinds_of(bench).items():
        with recorded() as calls[name]:
            for turn in range(frames * (rounds if name == "whole" else 1)):
                took = clocked(lambda w=work, t=turn: w([t]))  # type: ignore[misc]
                if name == "whole":
                    whole_ms.append(took.wall_ms)
    networks = _networks(calls["whole"], counter, peak, frames * rounds)
    flops = {
        name: sum(counter.flops(call) for call in seen)
        / (frames * (rounds if name == "whole" else 1))
        for name, seen in calls.items()
    }
    detector = bench.engine.models["detector"].partition("@")[0]
    frames_seen = [decode(jpeg) for jpeg in bench.jpegs]
    with recorded() as looks:
        bench.engine.with_savings(SMALL_LOOKS).detect(frames_seen)
    glanced = bench.engine.glance(frames_seen)
    with recorded() as close:
        bench.engine.refine(frames_seen, [one.faces for one in glanced])
    return Study(
        whole_ms=whole_ms,
        networks=networks,
        flops=flops,
        refine_flops=sum(counter.flops(call) for call in close) / frames,
        small_look_flops=sum(counter.flops(call) for call in looks) / frames,
        full_look_flops=counter.of(detector, FULL_LOOK),
    )


def peak_flops(rounds: int) -> float:
    """Give the best floating-point operations per second of one core in float32."""
    best = 0.0
    generator = np.random.default_rng(0)
    for side in SIDES:
        a = generator.random((side, side), dtype=np.float32)
        b = generator.random((side, side), dtype=np.float32)
        out = np.empty_like(a)
        for _ in range(rounds):
            took = clocked(lambda x=a, y=b, z=out: np.matmul(x, y, out=z))  # type: ignore[misc]
            best = max(best, 2 * side**3 / (took.wall_ms / 1_000))
    return best


class Counter:
    """Operations of a network's original graph, by input shape."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[tuple[str, tuple[int, ...]], int] = {}

    def flops(self, call: Call) -> int:
        """Count those of one run."""
        return self.of(call.network, call.shape)

    def of(self, network: str, shape: tuple[int, ...]) -> int:
        """Count those of a run on `shape`, in the engine's layout or in that of the file."""
        key = (network, shape)
        if key not in self._known:
            content = self._store.find(network).content
            # The batch is counted once and multiplied: some files fix it.
            single = self._in_layout_of_file(network, (1, *shape[1:]))
            self._known[key] = count_flops(content, single) * shape[0]
        return self._known[key]

    def _in_layout_of_file(self, network: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Undo a change of layout by preparation: colours last where the file has them first."""
        layout = self._store.manifest.file(network).input.layout
        if layout == "NCHW" and len(shape) == 4 and shape[3] == 3 != shape[1]:
            return (shape[0], 3, shape[1], shape[2])
        return shape


@contextmanager
def recorded() -> Iterator[list[Call]]:
    """Note every run of every network while this is open; for one thread."""
    calls: list[Call] = []
    original = Network.run

    def run_and_note(self: Network, batch: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        start_ms = work_time_ms()
        outputs = original(self, batch)
        ms = work_time_ms() - start_ms
        calls.append(Call(network=self.name, shape=tuple(batch.shape), ms=ms))
        return outputs

    Network.run = run_and_note  # type: ignore[method-assign]
    try:
        yield calls
    finally:
        Network.run = original  # type: ignore[method-assign]


def _networks(calls: Sequence[Call], counter: Counter, peak: float, checks: int) -> list[Json]:
    """Tell, per network and input shape, its work and time in one whole check."""
    groups: dict[tuple[str, tuple[int, ...]], list[Call]] = {}
    for call in calls:
        groups.setdefault((call.network, call.shape), []).append(call)
    rows = []
    for (network, shape), some in groups.items():
        flops, ms = counter.of(network, shape), median(call.ms for call in some)
        rows.append(
            {
                "network": network,
                "shape": list(shape),
                "runs_per_check": len(some) / checks,
                "mflop": flops / 1e6,
                "ms": ms,
                "gflops": flops / ms / 1e6,
                "share_of_peak": flops / ms * 1_000 / peak,
            }
        )
    return sorted(rows, key=lambda row: -row["ms"] * row["runs_per_check"])


def _found(pack: str, studies: Mapping[str, Study], peak: float) -> Found:
    study = studies[pack]
    whole = study.flops["whole"]
    check_ms = median(study.whole_ms)
    unsure = (noise(study.whole_ms) or 0.0) / check_ms
    learner = study.learner
    metrics = [
        Metric(
            name=f"roofline.{name}",
            value=value,
            unit=unit,
            better=better,
            about=f"{about}, pack {pack}",
            relative=unit.startswith("of "),
            error=error,
            exact=unit in (COUNTED, SAVED),
        )
        for name, value, unit, better, about, error in _rows(
            peak=peak,
            whole=whole,
            of_networks=whole / (study.networks_ms / 1_000) / peak,
            of_check=whole / (check_ms / 1_000) / peak,
            small=1 - learner["small"] / learner["full"],
            skipped=(learner["small"] - learner["spent"]) / learner["full"],
            unsure=unsure,
        )
    ]
    return Found(
        metrics=metrics,
        detail={
            "pack": pack,
            "peak_gflops": peak / 1e9,
            "networks": list(study.networks),
            "kinds": [
                {"kind": name, "words": WORDS[name], "mflop": flops / 1e6}
                for name, flops in study.flops.items()
            ],
            "full_look_mflop": study.full_look_flops / 1e6,
            "small_look_mflop": study.small_look_flops / 1e6,
            "learner_mflop_per_s": {name: flops / 1e6 for name, flops in learner.items()},
            "packs": {
                name: {
                    "mflop": one.flops["whole"] / 1e6,
                    "whole_ms": median(one.whole_ms),
                    "networks_ms": one.networks_ms,
                    "floor_ms": one.flops["whole"] / peak * 1_000,
                }
                for name, one in studies.items()
            },
        },
    )


def _rows(
    *,
    peak: float,
    whole: float,
    of_networks: float,
    of_check: float,
    small: float,
    skipped: float,
    unsure: float,
) -> Iterator[tuple[str, float, str, Better, str, float]]:
    """Give name, value, unit, direction, words and standard error of each metric."""
    yield "peak_gflops", peak / 1e9, "GFLOP/s", "neither", "peak of one core, fp32", 0.0
    yield "check_mflop", whole / 1e6, COUNTED, "lower", "one whole check", 0.0
    words = "rate within the networks over the core's peak"
    yield "networks_share", of_networks, "of peak", "higher", words, of_networks * unsure
    words = "rate of the whole check, decoding and crops included, over the core's peak"
    yield "check_share", of_check, "of peak", "higher", words, of_check * unsure
    words = "operations saved at a learner's rates by small looks, not exact, against one at 640²"
    yield "saved_by_small_looks", small, SAVED, "higher", words, 0.0
    words = "further operations saved by what is known of the sample before, of those at 640²"
    yield "saved_by_skipping", skipped, SAVED, "higher", words, 0.0
