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
from benchmarks.kinds import WORDS, kinds_of
from benchmarks.latency import bench_of
from benchmarks.timing import Json, Metric, clocked, noise, pin_to_one_core
from verifier.clock import work_time_ms
from verifier.models.network import Network
from verifier.models.store import Store

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDES: Final = (384, 512, 768, 1024)
"""Of the square matrices; the best of them counts."""
FULL_LOOK: Final = (1, 3, 640, 640)
"""The detector's input where nothing is saved: the size that peers use."""
RATES_PER_S: Final[Mapping[str, float]] = {"presence": 1 / 5, "identity": 1 / 30, "check": 1 / 360}
"""Of one learner (CREDIT_MODEL): the same as in `capacity`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One run of a network."""

    network: str
    shape: tuple[int, ...]
    ms: float


def run(job: Job, tell: Tell) -> Found:
    """Measure the roof, count and time every network of a whole check, and what is skipped."""
    pin_to_one_core()
    tell(0.0, "peak")
    peak = peak_flops(job.count(6, 20))
    bench = bench_of(job)
    counter = Counter(Store.default())
    kinds = kinds_of(bench)
    rounds = job.count(2, 8)
    calls: dict[str, list[Call]] = {}
    whole_ms: list[float] = []
    frames = len(bench.jpegs)
    for name, work in kinds.items():
        with recorded() as seen:
            for turn in range(frames * (rounds if name == "whole" else 1)):
                took = clocked(lambda w=work, t=turn: w([t]))  # type: ignore[misc]
                if name == "whole":
                    whole_ms.append(took.wall_ms)
        calls[name] = seen
        tell(0.2 + 0.8 * len(calls) / len(kinds), WORDS[name])
    per_kind = {
        name: sum(counter.flops(call) for call in seen)
        / (frames * (rounds if name == "whole" else 1))
        for name, seen in calls.items()
    }
    networks = _networks(calls["whole"], counter, peak, frames * rounds)
    return _found(job, networks, per_kind, counter, peak=peak, whole_ms=whole_ms)


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


def _found(
    job: Job,
    networks: Sequence[Json],
    per_kind: Mapping[str, float],
    counter: Counter,
    *,
    peak: float,
    whole_ms: Sequence[float],
) -> Found:
    check_ms, unsure = median(whole_ms), noise(whole_ms) / median(whole_ms)
    network_ms = sum(row["ms"] * row["runs_per_check"] for row in networks)
    whole = per_kind["whole"]
    of_networks = whole / (network_ms / 1_000) / peak
    of_check = whole / (check_ms / 1_000) / peak
    detectors = {row["network"] for row in networks if row["network"].startswith("yunet")}
    looks = sum(
        row["mflop"] * 1e6 * row["runs_per_check"]
        for row in networks
        if row["network"] in detectors
    )
    full = whole - looks + sum(counter.of(name, FULL_LOOK) for name in detectors)
    spent = sum(rate * per_kind[name] for name, rate in RATES_PER_S.items())
    unskipped = (RATES_PER_S["presence"] + 5 * RATES_PER_S["check"]) * full
    saved = 1 - spent / unskipped
    metrics = [
        _metric("roofline.peak_gflops", peak / 1e9, "GFLOP/s", "neither", "peak of one core, fp32"),
        _metric("roofline.check_mflop", whole / 1e6, "MFLOP", "lower", "one whole check"),
        _metric(
            "roofline.networks_share",
            of_networks,
            "of peak",
            "higher",
            "rate within the networks over the core's peak",
            error=of_networks * unsure,
        ),
        _metric(
            "roofline.check_share",
            of_check,
            "of peak",
            "higher",
            "rate of the whole check, decoding and crops included, over the core's peak",
            error=of_check * unsure,
        ),
        _metric(
            "roofline.saved_share",
            saved,
            "of FLOPs",
            "higher",
            "operations saved at a learner's rates against full checks of every frame at 640²",
        ),
    ]
    return Found(
        metrics=metrics,
        detail={
            "pack": job.pack,
            "peak_gflops": peak / 1e9,
            "whole_ms": check_ms,
            "networks_ms": network_ms,
            "networks": list(networks),
            "kinds": [
                {"kind": name, "words": WORDS[name], "mflop": flops / 1e6}
                for name, flops in per_kind.items()
            ],
            "full_mflop": full / 1e6,
            "floor_ms": whole / peak * 1_000,
            "learner_mflop_per_s": spent / 1e6,
            "unskipped_mflop_per_s": unskipped / 1e6,
        },
    )


def _metric(
    name: str, value: float, unit: str, better: Any, about: str, *, error: float = 0.0
) -> Metric:
    relative = unit.startswith("of ")
    return Metric(name=name, value=value, unit=unit, better=better, about=about, relative=relative)
