"""The error rates that belong to the speed: the same pack, provider and thresholds, on real faces.

The work is that of `accuracy` and `liveness`; here it becomes sections of the benchmark. A speed
without these numbers beside it says nothing: whatever skips the work is fast.
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Final

from benchmarks import accuracy, liveness
from benchmarks.engines import RememberingEmbedder
from benchmarks.job import Found, Job, Tell
from benchmarks.latency import load_pack_of
from benchmarks.timing import Json, Metric
from verifier.pipeline.engine import Engine
from verifier.pipeline.profile import load_profile
from verifier.types import LivenessDecision

SETS: Final = ("families", "people", "lfw10", "lfw90")
QUICK_SETS: Final = ("families", "people", "lfw10")


def matching(job: Job, tell: Tell) -> Found:
    """Judge pairs of photographs, set by set."""
    tell(0.0, "loading")
    engine = _engine(job)
    sets = QUICK_SETS if job.quick else SETS
    rows: list[Json] = []
    for number, name in enumerate(sets):
        tell(0.2 * number, name)
        judged = accuracy.run(engine, job.faces, [name])
        rows += [counts.to_json() for counts in judged]
    metrics = [
        Metric(
            name=f"accuracy.{_slug(row['set'])}.{rate}",
            value=row[rate],
            unit="of pairs",
            better="lower",
            about=f"{rate.upper()} on {row['set']}, pack {job.pack}",
            relative=True,
            error=standard_error(row[rate], row["independent"][kind]),
        )
        for row in rows
        for rate, kind in (("fmr", "impostor"), ("fnmr", "genuine"))
        if row[rate] is not None
    ]
    return Found(
        metrics=metrics,
        detail={
            "pack": job.pack,
            "profile": engine.profile.version,
            "threshold": engine.profile.for_embedder(
                _embedder(engine.models["embedder"])
            ).threshold,
            "rows": rows,
        },
    )


def passive_liveness(job: Job, tell: Tell) -> Found:
    """Judge sample images, and simulated presentations of every photograph."""
    tell(0.0, "loading")
    engine = _engine(job)
    samples = [
        {
            "image": name,
            "decision": result.decision.value,
            "score": result.score,
            "right": (result.decision is LivenessDecision.LIVE) == name.startswith("real/"),
        }
        for name, result in liveness.samples(engine, job.faces)
    ]
    tell(0.1, "simulated presentations")
    rows: list[Json] = []
    for rates in liveness.simulated(engine, job.faces):
        rows.append(asdict(rates) | {"bona_fide": rates.bona_fide} | rates.error_rates())
        tell(min(0.1 + 0.15 * len(rows), 1.0), rates.kind)
    bursts = [row for row in rows if row["unit"] == "burst"]
    bona_fide = next(row for row in bursts if row["bona_fide"])
    worst = max((row for row in bursts if not row["bona_fide"]), key=lambda row: row["apcer"])
    return Found(
        metrics=[
            _rate("bpcer", bona_fide, "BPCER of bursts, undecided counted as rejected"),
            _rate("apcer", worst, f"APCER of bursts, worst type: {worst['kind']}"),
        ],
        detail={
            "pack": job.pack,
            "profile": engine.profile.version,
            "live_from": engine.profile.liveness.live_from,
            "samples": samples,
            "rows": rows,
            "worst": worst["kind"],
        },
        warnings=[
            "Simulated prints and screens show edges, moiré and loss of contrast; a real printer or"
            " screen may fare better. They bound nothing: tune on real attacks."
        ],
    )


def _engine(job: Job) -> Engine:
    """Load production's engine, with a memory for crops that were embedded already."""
    pack = load_pack_of(job.pack, job.provider)
    return Engine(replace(pack, embedder=RememberingEmbedder(pack.embedder)), load_profile())


def standard_error(rate: float, number: int) -> float:
    """Give that of a rate among `number` trials, never 0 (Agresti and Coull 1998: two of each).

    Trials are persons, or pairs that share none (`metrics.independent_comparisons`).
    """
    smoothed = (rate * number + 2) / (number + 4)
    return math.sqrt(smoothed * (1 - smoothed) / (number + 4))


def _rate(kind: str, row: Json, about: str) -> Metric:
    return Metric(
        name=f"liveness.{kind}{'_worst' if kind == 'apcer' else ''}",
        value=row[kind],
        unit="of bursts",
        better="lower",
        about=about,
        relative=True,
        error=standard_error(row[kind], row["persons"]),
    )


def _slug(words: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in words)


def _embedder(model_id: str) -> str:
    return model_id.partition("@")[0]
