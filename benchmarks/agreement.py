"""Two providers on the same frames: whether they give the same results.

Every frame goes through the whole pipeline on each: detection, landmarks, embedding, liveness,
verdict. What the second finds is held against the first, frame by frame, and the greatest
difference counts. Frames are decoded once; both engines have the same profile and savings.

Liveness crops are cut along whole pixels, as in training: a box that rounding moves across one
changes the score by more than any engine's arithmetic (0.04 seen, of a box that moved by 0.005 px).
So liveness is compared on the boxes of one engine; what its own boxes make of it is stated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.frames import arms_length_frames, near_frames
from benchmarks.job import Found, Job, Tell
from benchmarks.latency import EVERY_FRAME, load_pack_of
from benchmarks.timing import Json, Metric
from verifier.errors import InferenceFailed
from verifier.pipeline.engine import Engine
from verifier.pipeline.intake import decode
from verifier.pipeline.profile import load_profile

if TYPE_CHECKING:
    from verifier.types import Evidence, Face, Frame, Vector

SAMPLES: Final = 4
"""Samples of every camera, 5 s apart: its sway puts the face on other pixels each time."""
BATCH: Final = 8
OWN_BOXES: Final = "liveness_own_boxes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far two exact engines may differ on one frame."""

    words: str
    most: float
    unit: str
    why: str


TOLERANCES: Final[Mapping[str, Tolerance]] = {
    "embedding": Tolerance(
        words="1 - cosine of the embeddings", most=1e-4, unit="", why="see `similarity`"
    ),
    "similarity": Tolerance(
        words="similarity to the reference",
        most=1e-3,
        unit="",
        why="thresholds have three decimals",
    ),
    "liveness": Tolerance(
        words="liveness score on the same box",
        most=1e-3,
        unit="",
        why="thresholds have three decimals",
    ),
    "box": Tolerance(
        words="corners of the box", most=0.5, unit="px", why="half a pixel of a VGA frame"
    ),
    "landmarks": Tolerance(
        words="landmarks", most=0.25, unit="px", why="half of what moves a crop by half a pixel"
    ),
}
"""Rounding of float32 stays far below them; 16 bits, or another resize, do not."""


def run(job: Job, tell: Tell) -> Found:
    """Compare the job's provider with `against`."""
    if not job.against or job.against == job.provider:
        raise InferenceFailed(
            "There are no two providers to compare.", remedy="Name another one with --against."
        )
    tell(0.0, "loading")
    frames = _frames(job)
    profile = load_profile()
    names = (job.provider, job.against)
    engines = [Engine(load_pack_of(job.pack, name), profile, EVERY_FRAME) for name in names]
    reference = _reference(engines[1], frames)
    answers: list[list[Evidence]] = []
    for number, (name, engine) in enumerate(zip(names, engines, strict=True)):
        tell(0.1 + 0.45 * number, name)
        answers.append(_answers(engine, frames, reference))
    boxes = [one.faces for one in answers[1]]
    scores = [_liveness(engine, frames, boxes) for engine in engines]
    rows = [
        _row(engines, one, other, reference) | _apart("liveness", first, second)
        for one, other, first, second in zip(*answers, *scores, strict=True)
    ]
    return _found(job, engines, rows)


def _frames(job: Job) -> list[Frame]:
    samples = [arms_length_frames(job.faces, number) for number in range(job.count(1, SAMPLES))]
    jpegs = [one.jpeg for some in (*samples, near_frames(job.faces)) for one in some]
    return [decode(jpeg) for jpeg in jpegs]


def _reference(engine: Engine, frames: Sequence[Frame]) -> Vector:
    """Give the first face that can be one; both engines are asked about the same."""
    for frame in frames:
        vector = engine.enrol(frame, strict=False).embedding
        if vector is not None:
            return vector
    raise InferenceFailed("None of the frames can serve as a reference.")


def _answers(engine: Engine, frames: Sequence[Frame], reference: Vector) -> list[Evidence]:
    found: list[Evidence] = []
    for start in range(0, len(frames), BATCH):
        some = frames[start : start + BATCH]
        found += engine.assess(some, references=[reference] * len(some))
    return found


def _liveness(
    engine: Engine, frames: Sequence[Frame], boxes: Sequence[tuple[Face, ...]]
) -> list[float | None]:
    """Score the largest face of each frame where others found it."""
    found: list[float | None] = []
    for start in range(0, len(frames), BATCH):
        part = slice(start, start + BATCH)
        evidence = engine.assess(frames[part], faces=boxes[part], embed=False)
        found += [one.liveness_score for one in evidence]
    return found


def _apart(name: str, first: float | None, second: float | None) -> dict[str, float | bool]:
    return {} if first is None or second is None else {name: abs(first - second)}


def _row(
    engines: Sequence[Engine], one: Evidence, other: Evidence, reference: Vector
) -> dict[str, float | bool]:
    """Hold the two answers to one frame against each other; what only one has counts as unequal."""
    row: dict[str, float | bool] = {"same": _same(engines, one, other, reference)}
    if one.faces and other.faces:
        row["box"] = float(np.abs(_corners(one) - _corners(other)).max())
        apart = one.faces[0].landmarks - other.faces[0].landmarks
        row["landmarks"] = float(np.abs(apart).max())
    if one.embedding is not None and other.embedding is not None:
        row["embedding"] = 1 - float(one.embedding @ other.embedding)
        row["similarity"] = abs(float((one.embedding - other.embedding) @ reference))
    return row | _apart(OWN_BOXES, one.liveness_score, other.liveness_score)


def _same(engines: Sequence[Engine], one: Evidence, other: Evidence, reference: Vector) -> bool:
    """Whether verdict, reasons and number of faces are equal, and both have the same values."""
    verdicts = [
        engine.judge([evidence], reference)
        for engine, evidence in zip(engines, (one, other), strict=True)
    ]
    return (
        verdicts[0].decision is verdicts[1].decision
        and verdicts[0].liveness.decision is verdicts[1].liveness.decision
        and one.reasons == other.reasons
        and len(one.faces) == len(other.faces)
        and (one.embedding is None) is (other.embedding is None)
        and (one.liveness_score is None) is (other.liveness_score is None)
    )


def _corners(evidence: Evidence) -> np.ndarray:
    x, y, width, height = evidence.faces[0].box
    return np.array([x, y, x + width, y + height])


def _found(job: Job, engines: Sequence[Engine], rows: Sequence[Mapping[str, float]]) -> Found:
    differences: list[Json] = []
    for name, tolerance in TOLERANCES.items():
        values = [row[name] for row in rows if name in row]
        if not values:
            raise InferenceFailed(f"No frame has a value to compare: {tolerance.words}.")
        differences.append(
            {
                "name": name,
                "words": tolerance.words,
                "unit": tolerance.unit,
                "greatest": max(values),
                "most": tolerance.most,
                "why": tolerance.why,
                "frames": len(values),
                "held": max(values) <= tolerance.most,
            }
        )
    unequal = sum(not row["same"] for row in rows)
    return Found(
        metrics=[
            Metric(
                name="agreement.unequal",
                value=unequal,
                unit="frames",
                better="lower",
                about=f"frames judged otherwise by {job.provider} than by {job.against}",
                exact=True,
            )
        ],
        detail={
            "pack": job.pack,
            "providers": [job.provider, job.against],
            "engines": [sorted(set(engine.providers.values())) for engine in engines],
            "frames": len(rows),
            "unequal": unequal,
            "differences": differences,
            OWN_BOXES: max((row[OWN_BOXES] for row in rows if OWN_BOXES in row), default=None),
            "equal": not unequal and all(one["held"] for one in differences),
        },
    )
