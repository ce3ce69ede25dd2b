"""What each saving saves, and what it changes: with it and without it on the same frames.

Every row is one kind of frame to which the saving applies, on one core, decoded beforehand; both
ways take turns. What it changes is told in the terms of what follows: whether the verdict is the
same, and how like the embeddings are (a landmark that moves by the detector's own noise moves them
by about 0.01).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import TYPE_CHECKING, Final, TypeAlias

import cv2
import numpy as np

from benchmarks.job import Found, Job, Tell
from benchmarks.kinds import darkened, without_face
from benchmarks.latency import Bench, bench_of
from benchmarks.timing import Json, Metric, interleaved, pin_to_one_core
from verifier.errors import InferenceFailed
from verifier.pipeline import detect as detection
from verifier.pipeline.engine import Engine
from verifier.pipeline.intake import decode
from verifier.pipeline.savings import LastSeen, Savings, last_seen

if TYPE_CHECKING:
    from verifier.types import Evidence, Frame

Work: TypeAlias = Callable[[Engine, bool], list["Evidence"]]
"""Does the work on every frame; embeds as well, for a comparison, where the second says so."""
REENCODED: Final = 75
"""JPEG quality of a picture that is sent again."""
NOTHING: Final = Savings(
    small_looks=True,
    small_first=False,
    track=False,
    duplicates=False,
    glances=False,
    early_exit=False,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One saving, and frames to which it applies."""

    name: str
    """Its switch, or what needs none."""
    words: str
    on: Savings
    off: Savings
    work: Work
    plain: Work | None = None
    """What is done without it, where no switch turns it off."""


def run(job: Job, tell: Tell) -> Found:
    """Measure every saving."""
    pin_to_one_core()
    tell(0.0, "loading")
    bench = bench_of(job)
    cases = _cases(bench)
    rounds = job.count(3, 15)
    rows = []
    for number, case in enumerate(cases):
        tell(number / len(cases), case.words)
        rows.append(_measured(bench, case, rounds))
    return Found(
        metrics=[
            Metric(
                name=f"saving.{row['name']}.share",
                value=row["saved"],
                unit="of the time",
                better="higher",
                about=f"{row['words']}, pack {job.pack}",
                rounds=tuple(row.pop("rounds")),
                relative=True,
            )
            for row in rows
        ],
        detail={
            "pack": job.pack,
            "frames": len(bench.jpegs),
            "rows": rows,
            "held": _held(bench),
        },
    )


def _measured(bench: Bench, case: Case, rounds: int) -> Json:
    on, off = (bench.engine.with_savings(one) for one in (case.on, case.off))
    plain = case.plain or case.work
    same = _agreement(bench, case.work(on, True), plain(off, True))
    taken: dict[str, list[float]] = {"on": [], "off": []}
    runs: dict[str, Callable[[], object]] = {
        "on": lambda: case.work(on, False),
        "off": lambda: plain(off, False),
    }
    for name, took in interleaved(runs, rounds):
        taken[name].append(took.wall_ms / len(bench.jpegs))
    ratios = [1 - a / b for a, b in zip(taken["on"], taken["off"], strict=True)]
    return {
        "name": case.name,
        "words": case.words,
        "on_ms": median(taken["on"]),
        "off_ms": median(taken["off"]),
        "saved": median(ratios),
        "rounds": ratios,
    } | same


def _agreement(bench: Bench, on: Sequence[Evidence], off: Sequence[Evidence]) -> Json:
    """Compare what comes out: the verdicts, and the embeddings where both have one."""
    reference, judge = bench.reference, bench.engine.judge
    verdicts = [
        judge([a], reference).decision is judge([b], reference).decision
        for a, b in zip(on, off, strict=True)
    ]
    cosines = [
        float(a.embedding @ b.embedding)
        for a, b in zip(on, off, strict=True)
        if a.embedding is not None and b.embedding is not None
    ]
    return {
        "same_verdicts": fmean(verdicts),
        "cosine": {"median": median(cosines), "least": min(cosines)} if cosines else None,
    }


def _cases(bench: Bench) -> list[Case]:
    first = [decode(jpeg) for jpeg in bench.jpegs]
    later = [decode(jpeg) for jpeg in bench.later]
    faces = bench.engine.detect(first)
    memory = [last_seen(frame, some) for frame, some in zip(first, faces, strict=True)]
    dark = [darkened(jpeg) for jpeg in bench.jpegs]
    empty = decode(without_face(bench.jpegs[0]))

    def sample(frames: Sequence[Frame], last: Sequence[LastSeen] | None = None) -> Work:
        """Take presence samples, frame by frame."""

        def work(engine: Engine, embed: bool) -> list[Evidence]:
            return [
                engine.assess(
                    [frame],
                    faces=engine.detect([frame], last=None if last is None else [last[number]]),
                    liveness=False,
                    embed=embed,
                )[0]
                for number, frame in enumerate(frames)
            ]

        return work

    def presence(engine: Engine, embed: bool) -> list[Evidence]:
        """Take presence samples as streams do; looked at, where embeddings are wanted."""
        found = []
        for frame, before in zip(later, memory, strict=True):
            (glance,) = engine.glance([frame], last=[before])
            if embed:
                refined = engine.refine([frame], [glance.faces])
                found += engine.assess([frame], faces=refined, liveness=False)
            else:
                found.append(glance.evidence)
        return found

    def whole(frames: Sequence[Frame]) -> Work:
        return lambda engine, _: [
            engine.assess([frame], references=[bench.reference])[0] for frame in frames
        ]

    return [
        Case(
            name="small_looks",
            words="small looks and close ones, instead of one at 640 px",
            on=NOTHING,
            off=replace(NOTHING, small_looks=False),
            work=sample(first),
        ),
        Case(
            name="small_first",
            words="no large look where the small one plainly shows one face",
            on=replace(NOTHING, small_first=True),
            off=NOTHING,
            work=sample(first),
        ),
        Case(
            name="track",
            words="a sample 5 s later: the last boxes verified by the small look",
            on=replace(NOTHING, track=True),
            off=NOTHING,
            work=sample(later, memory),
        ),
        Case(
            name="glances",
            words="the same, on a small copy, and close looks only where identity is looked at",
            on=replace(NOTHING, track=True, glances=True),
            off=replace(NOTHING, track=True),
            work=presence,
        ),
        Case(
            name="duplicates",
            words=f"a near duplicate: the same picture, encoded again at quality {REENCODED}",
            on=replace(NOTHING, duplicates=True),
            off=NOTHING,
            work=sample([decode(_encoded(frame)) for frame in first], memory),
        ),
        Case(
            name="early_exit",
            words="a face too dark to judge: no embedding, no liveness",
            on=replace(NOTHING, early_exit=True),
            off=NOTHING,
            work=whole([decode(jpeg) for jpeg in dark]),
        ),
        Case(
            name="no_face",
            words="a frame without a face, against one with a face (needs no switch)",
            on=NOTHING,
            off=NOTHING,
            work=whole([empty] * len(first)),
            plain=whole(first),
        ),
    ]


def _held(bench: Bench) -> float:
    """Tell in which share of the samples 5 s later the last boxes were confirmed."""
    first, later = ([decode(jpeg) for jpeg in some] for some in (bench.jpegs, bench.later))
    faces = bench.engine.detect(first)
    found = detection.verify(later, faces, bench.engine.detector)
    return fmean(one is not None for one in found)


def _encoded(frame: Frame) -> bytes:
    done, data = cv2.imencode(
        ".jpg", np.asarray(frame.pixels), [cv2.IMWRITE_JPEG_QUALITY, REENCODED]
    )
    if not done:
        raise InferenceFailed("A frame of the benchmark could not be encoded.")
    return bytes(data)
