"""Whole checks against those of peers: the same frames, weights, core and run, taking turns.

A whole check is: decode a VGA JPEG, detect, align, quality, liveness of all three networks, embed,
compare. Every system runs on one core with one thread; each round takes all frames through each
system, and begins with another one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from benchmarks.frames import Sample, arms_length_frames, near_frames
from benchmarks.job import Found, Job, Tell
from benchmarks.ours import Ours
from benchmarks.rivals import Answer, Checker, InsightFace, OpenCv
from benchmarks.timing import Clocked, Json, Metric, interleaved, pin_to_one_core
from verifier.errors import BenrenError, InferenceFailed
from verifier.models.store import Store

if TYPE_CHECKING:
    from pathlib import Path


BATCH: Final = 8
TOGETHER: Final = f"batch{BATCH}"
AUTO: Final = "auto"
BF16: Final = "openvino-bf16"
INSIGHTFACE: Final = "insightface"
OPENCV: Final = "opencv"
PAIRS: Final = (("edgeface", INSIGHTFACE), ("open", INSIGHTFACE), ("open", OPENCV))
"""Pack and peer; the first and the last have the same embedder, the second is our default."""
MODES: Final = tuple(
    f"{mode}{many}" for mode in ("", f".{AUTO}", f".{BF16}") for many in ("", f".{TOGETHER}")
)
"""Ways in which ours may run."""
WORDS: Final[Mapping[str, str]] = {
    INSIGHTFACE: "insightface FaceAnalysis: SCRFD-500M at 640 × 640, EdgeFace-XS",
    OPENCV: "OpenCV FaceDetectorYN (YuNet at 640 × 480) and cv2.dnn: retail-0095",
    "edgeface": "benren, pack edgeface",
    "open": "benren, pack open",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Who takes part, and on what."""

    checkers: Mapping[str, Checker]
    missing: Mapping[str, str]
    """Who does not, and why."""
    frames: Sequence[Sample]
    """Frames on which all of them find a face."""
    left_out: Mapping[str, Sequence[str]]
    """Frames of the same set on which a system found none."""
    answers: Mapping[str, Sequence[Answer]]
    """Of each system on `frames`."""


def run(job: Job, tell: Tell) -> Found:
    """Measure; a peer that is not here is told apart, with what would bring it."""
    pin_to_one_core()
    cv2.setNumThreads(1)
    tell(0.0, "loading")
    store = Store.default()
    field = _field(job, store)
    rounds = job.count(3, 12)
    taken: dict[str, list[Clocked]] = {}
    runs = _runs(field)
    for done, (name, clocked) in enumerate(interleaved(runs, rounds), start=1):
        taken.setdefault(name, []).append(clocked)
        tell(done / (rounds * len(runs)), name)
    per_check = {
        name: [
            Clocked(wall_ms=one.wall_ms / len(field.frames), cpu_ms=one.cpu_ms / len(field.frames))
            for one in all_rounds
        ]
        for name, all_rounds in taken.items()
    }
    return Found(
        metrics=_metrics(per_check),
        detail=_detail(field, per_check, _near(field, job)) | {"provider": job.provider},
        warnings=[
            f"{words_of(name)} was not measured: {why}" for name, why in field.missing.items()
        ],
    )


def scrfd_path(store: Store) -> Path:
    """Say where SCRFD lies: `research/` beside the pack, which no manifest names."""
    name = "research/scrfd_500m_kps.onnx"
    places = [place.folder / name for place in store.places]
    return next((path for path in places if path.is_file()), places[-1])


def _field(job: Job, store: Store) -> Field:
    checkers: dict[str, Checker] = {}
    missing: dict[str, str] = {}
    makers: dict[str, Callable[[], Checker]] = {
        "edgeface": lambda: Ours("edgeface", store, job.provider),
        "open": lambda: Ours("open", store, job.provider),
        f"edgeface.{AUTO}": lambda: Ours("edgeface", store, AUTO),
        f"open.{AUTO}": lambda: Ours("open", store, AUTO),
        f"edgeface.{BF16}": lambda: Ours("edgeface", store, BF16),
        f"open.{BF16}": lambda: Ours("open", store, BF16),
        INSIGHTFACE: lambda: InsightFace(store, scrfd_path(store)),
        OPENCV: lambda: OpenCv(store),
    }
    for name, make in makers.items():
        if name.partition(".")[2] == job.provider:
            continue
        try:
            made = make()
        except BenrenError as error:
            missing[name] = str(error)
            continue
        if isinstance(made, Ours) and name.endswith(AUTO) and not _is_of_a_core(made.runs_on):
            continue
        checkers[name] = made
    samples = arms_length_frames(job.faces)
    answers = {
        name: [checker.check(sample.jpeg, None) for sample in samples]
        for name, checker in checkers.items()
    }
    seen = [
        index
        for index in range(len(samples))
        if all(given[index].embedding is not None for given in answers.values())
    ]
    if not checkers or not seen:
        raise InferenceFailed("There is nothing to compare: no system found a face.")
    return Field(
        checkers=checkers,
        missing=missing,
        frames=[samples[index] for index in seen],
        left_out={
            name: [samples[i].name for i, one in enumerate(given) if one.embedding is None]
            for name, given in answers.items()
        },
        answers={name: [given[index] for index in seen] for name, given in answers.items()},
    )


def _is_of_a_core(engines: str) -> bool:
    """Whether what `auto` chose is another engine of the CPU than onnxruntime, and no GPU."""
    return "CUDA" not in engines and "OpenVINO".lower() in engines.lower()


def words_of(name: str) -> str:
    """Say in words what a system is: ``edgeface.auto.batch8``."""
    system, *more = name.split(".")
    words = WORDS[system]
    if AUTO in more:
        words += ", fastest engine for each network"
    if BF16 in more:
        words += ", in bfloat16"
    return words + (f", {BATCH} frames at a time" if TOGETHER in more else "")


def _runs(field: Field) -> dict[str, Callable[[], object]]:
    """Make one round of each system: every frame once."""
    jpegs = [sample.jpeg for sample in field.frames]

    def one_by_one(name: str) -> Callable[[], object]:
        checker, reference = field.checkers[name], field.answers[name][0].embedding
        return lambda: [checker.check(jpeg, reference) for jpeg in jpegs]

    def together(name: str, ours: Ours) -> Callable[[], object]:
        reference = field.answers[name][0].embedding
        parts = [jpegs[start : start + BATCH] for start in range(0, len(jpegs), BATCH)]
        return lambda: [ours.check_all(part, reference) for part in parts]

    runs: dict[str, Callable[[], object]] = {}
    for name, checker in field.checkers.items():
        runs[name] = one_by_one(name)
        if isinstance(checker, Ours):
            runs[f"{name}.{TOGETHER}"] = together(name, checker)
    for work in runs.values():
        work()  # everybody warm
    return runs


def _metrics(per_check: Mapping[str, Sequence[Clocked]]) -> list[Metric]:
    metrics = []
    for name, rounds in per_check.items():
        walls = tuple(one.wall_ms for one in rounds)
        metrics.append(
            Metric(
                name=f"check.{name}.wall_ms",
                value=median(walls),
                unit="ms",
                better="neither" if name in (INSIGHTFACE, OPENCV) else "lower",
                about=f"whole check on one core: {words_of(name)}",
                rounds=walls,
            )
        )
    metrics += [
        _ratio(ours + mode, peer, per_check)
        for ours, peer in PAIRS
        for mode in MODES
        if ours + mode in per_check and peer in per_check
    ]
    return metrics


def _ratio(ours: str, peer: str, per_check: Mapping[str, Sequence[Clocked]]) -> Metric:
    """Compare round by round: what disturbed one system disturbed its neighbour in time too."""
    pairs = zip(per_check[peer], per_check[ours], strict=True)
    ratios = tuple(theirs.wall_ms / own.wall_ms for theirs, own in pairs)
    return Metric(
        name=f"speedup.{ours}_over_{peer}",
        value=median(ratios),
        unit="×",
        better="higher",
        about=f"{words_of(ours)}, over {words_of(peer)}",
        rounds=ratios,
        relative=True,
    )


def _near(field: Field, job: Job) -> Json:
    """Count on how many near frames each system finds a face at all."""
    samples = near_frames(job.faces)
    return {
        name: sum(checker.check(one.jpeg, None).embedding is not None for one in samples)
        for name, checker in field.checkers.items()
    } | {"frames": len(samples)}


def _detail(field: Field, per_check: Mapping[str, Sequence[Clocked]], near: Json) -> Json:
    return {
        "systems": [
            {
                "name": name,
                "words": words_of(name),
                "wall_ms": median(one.wall_ms for one in rounds),
                "cpu_ms": median(one.cpu_ms for one in rounds),
                "fastest_ms": min(one.wall_ms for one in rounds),
                "slowest_ms": max(one.wall_ms for one in rounds),
                "rounds": len(rounds),
            }
            for name, rounds in per_check.items()
        ],
        "missing": dict(field.missing),
        "frames": [sample.name for sample in field.frames],
        "jpeg_bytes": round(mean(len(sample.jpeg) for sample in field.frames)),
        "no_face": {name: list(names) for name, names in field.left_out.items()},
        "near": near,
        "agreement": _agreement(field),
    }


def _agreement(field: Field) -> list[Json]:
    """Prove that the work is the same: embeddings and liveness of ours against the peer's."""
    told = []
    for ours, peer in (("edgeface", INSIGHTFACE), ("open", OPENCV)):
        if ours not in field.answers or peer not in field.answers:
            continue
        cosines, apart = [], []
        for own, theirs in zip(field.answers[ours], field.answers[peer], strict=True):
            if own.embedding is None or theirs.embedding is None:
                continue
            cosines.append(float(own.embedding @ theirs.embedding))
            fused = float(np.exp(np.mean(np.log(np.clip(theirs.liveness, 1e-3, 1.0)))))
            apart.append(abs(own.liveness[0] - fused))
        told.append(
            {
                "ours": ours,
                "peer": peer,
                "cosine_median": median(cosines),
                "cosine_least": min(cosines),
                "liveness_apart_median": median(apart),
            }
        )
    return told
