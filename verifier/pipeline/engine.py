"""The engine: the only file that knows the order of the rooms. Frames in batches, no state.

detect -> align and quality -> embed -> choose the face -> liveness -> decide. Liveness comes after
the choice, since only one face of a frame speaks. Any number of threads may share one engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from verifier.clock import work_time_ms
from verifier.models.embedder import ARCFACE_TEMPLATE
from verifier.pipeline import detect as detection
from verifier.pipeline import embed as embedding
from verifier.pipeline import liveness as liveliness
from verifier.pipeline import pose as posing
from verifier.pipeline import presence
from verifier.pipeline import savings as saving
from verifier.pipeline.align import align
from verifier.pipeline.decide import Rules, decide
from verifier.pipeline.fingerprint import fingerprint
from verifier.pipeline.presence import Glance, Small
from verifier.pipeline.quality import COVERS, SIDE, Measures, measure, reasons_against
from verifier.pipeline.selftest import check_engine
from verifier.types import AlignedFace, Evidence, Face, Frame, HeadPose, Quality, Reason, Verdict

if TYPE_CHECKING:
    from verifier.models.detector import Detector
    from verifier.models.packs import Pack
    from verifier.pipeline.profile import QualityLimits, ThresholdProfile
    from verifier.pipeline.savings import LastSeen, Savings
    from verifier.types import Points, Vector

MAX_CANDIDATES = 4
"""The largest faces of a frame that are looked at closely, a bound on the work per frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """Whether a photograph can become a template."""

    embedding: Vector | None
    """(d,) float32, L2-normalised; None where there are reasons."""
    quality: Quality | None
    """Of the largest face; None without a face."""
    reasons: tuple[Reason, ...]
    """Why it cannot; empty where it can."""
    face: Face | None
    """The largest face."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """One face of a frame on its way to becoming the chosen one."""

    face: Face
    aligned: AlignedFace
    """The canonical crop."""
    measures: Measures
    reasons: tuple[Reason, ...]
    vector: Vector | None = None


class Engine:
    """Pictures in, evidence and verdicts out, by one pack and one threshold profile."""

    def __init__(
        self, pack: Pack, profile: ThresholdProfile, savings: Savings | None = None
    ) -> None:
        """Check that the profile has a threshold for the pack's embedder (ConfigurationError).

        Sets OpenCV to one thread: its pool and onnxruntime's would wait for each other.
        """
        self._thresholds = profile.for_embedder(pack.embedder.name)
        self._pack = pack
        self._savings = savings if savings is not None else saving.Savings()
        self._profile = profile
        self._rules = Rules(embedder=pack.embedder.name, profile=profile, models=pack.models)
        template: Points = np.asarray(ARCFACE_TEMPLATE, dtype=np.float32)
        self._canonical = template
        embedder = pack.embedder
        self._one_crop = embedder.side == SIDE and np.array_equal(embedder.template, template)
        """Whether the crop that quality is measured on is the embedder's own."""
        cv2.setNumThreads(1)

    @property
    def models(self) -> Mapping[str, str]:
        """Role -> ``id@sha256`` of every network."""
        return self._pack.models

    @property
    def providers(self) -> Mapping[str, str]:
        """Role -> what runs that network, as its engine calls it."""
        return self._pack.providers

    @property
    def profile(self) -> ThresholdProfile:
        """The thresholds in force."""
        return self._profile

    @property
    def savings(self) -> Savings:
        """What is not computed twice."""
        return self._savings

    @property
    def detector(self) -> Detector:
        """The pack's detector, for whoever measures it."""
        return self._pack.detector

    def with_savings(self, savings: Savings) -> Engine:
        """Give an engine on the same networks that saves otherwise."""
        return Engine(self._pack, self._profile, savings)

    def detect(
        self,
        frames: Sequence[Frame],
        *,
        last: Sequence[LastSeen | None] | None = None,
        timings_ms: MutableMapping[str, float] | None = None,
    ) -> list[tuple[Face, ...]]:
        """Find the faces of each frame, in full-frame coordinates (px), the largest first.

        Frames are (H, W, 3) uint8 BGR of any shapes. `last`: what the camera of each frame showed
        before, where that is known (see `savings`); raises ValueError where it is not one for each.
        Raises `InferenceFailed`.
        """
        with _timed("detect", timings_ms):
            return saving.detect(frames, self._pack.detector, self._savings, last)

    def assess(
        self,
        frames: Sequence[Frame],
        *,
        faces: Sequence[tuple[Face, ...]] | None = None,
        references: Sequence[Vector | None] | None = None,
        liveness: bool = True,
        embed: bool = True,
        timings_ms: MutableMapping[str, float] | None = None,
    ) -> list[Evidence]:
        """Say what each frame says about one face of it.

        The chosen face is, among those of sufficient quality, the one most similar to the frame's
        reference, or the largest where there is no reference; where no face suffices, the largest.
        Hidden eyes and covers are no reason against a face that matches its reference: they
        excuse, they do not accuse. `faces` saves the detection; milliseconds per stage are added
        to `timings_ms`.

        A face that cannot be evidence is neither embedded nor, where identity is asked for, judged
        for liveness (`Savings.early_exit`).

        Frames are (H, W, 3) uint8 BGR of any shapes, faces in their coordinates (px), references
        (d,) float32, L2-normalised, as the embeddings that come out. Raises ValueError where the
        lists differ in length, `InferenceFailed` where a network fails.
        """
        given = list(faces) if faces is not None else [None] * len(frames)
        wanted = list(references) if references is not None else [None] * len(frames)
        if not len(frames) == len(given) == len(wanted):
            raise ValueError(f"{len(frames)} frames, {len(given)} faces, {len(wanted)} references")
        first = self._first_of_each(frames, given, wanted)
        distinct = sorted(set(first))
        evidence = self._assess(
            [frames[index] for index in distinct],
            [given[index] for index in distinct] if faces is not None else None,
            [wanted[index] for index in distinct],
            liveness=liveness,
            embed=embed,
            timings_ms=timings_ms,
        )
        by_index = dict(zip(distinct, evidence, strict=True))
        return [by_index[index] for index in first]

    def glance(
        self,
        frames: Sequence[Frame],
        *,
        last: Sequence[LastSeen | None] | None = None,
        closely: bool = False,
        timings_ms: MutableMapping[str, float] | None = None,
    ) -> list[Glance]:
        """Say who is there in each frame of a camera, and of what quality, as cheaply as may be.

        `closely` places landmarks as `detect` does, for whoever needs them at once. Frames are
        (H, W, 3) uint8 BGR of any shapes; faces come in their coordinates (px), the largest first.
        Raises ValueError where `last` is not one for each, `InferenceFailed`.
        """
        smalls = [presence.shrink(frame) for frame in frames]
        if closely or not self._glances:
            found = self.detect(frames, last=last, timings_ms=timings_ms)
        else:
            with _timed("detect", timings_ms):
                sure = self._profile.quality.probe.min_detector_score
                found = presence.find(smalls, self._pack.detector, self._savings, last, sure=sure)
        before = last if last is not None else [None] * len(frames)
        with _timed("quality", timings_ms):
            return [
                self._glanced(small, faces, one, closely=closely)
                for small, faces, one in zip(smalls, found, before, strict=True)
            ]

    @property
    def _glances(self) -> bool:
        """Whether presence is seen on small copies; not by detectors of one fixed size."""
        savings = self._savings
        return savings.glances and savings.small_looks and not self._pack.detector.sides

    def _glanced(
        self, small: Small, faces: tuple[Face, ...], before: LastSeen | None, *, closely: bool
    ) -> Glance:
        frame, shown = small.frame, b""
        if faces:
            shown = fingerprint(small.copy.pixels)
        if closely or not self._glances:
            small = Small(frame=frame, copy=frame, factor=1)
        aligned = presence.aligned(small, faces[:MAX_CANDIDATES], self._canonical)
        candidates = self._measured(frame, aligned, self._profile.quality.probe)
        return Glance(
            faces=faces,
            evidence=_evidence(frame, faces, self._chosen(candidates, None), None),
            seen=saving.last_seen(frame, faces, before),
            shown=shown,
            longer_side_px=max(frame.pixels.shape[:2]),
            frame=frame if closely else None,
        )

    def refine(
        self,
        frames: Sequence[Frame],
        faces: Sequence[tuple[Face, ...]],
        *,
        timings_ms: MutableMapping[str, float] | None = None,
    ) -> list[tuple[Face, ...]]:
        """Place the landmarks of faces that were found at a glance."""
        if not self._glances:
            return list(faces)
        with _timed("detect", timings_ms):
            return detection.refine(frames, faces, self._pack.detector)

    def _first_of_each(
        self,
        frames: Sequence[Frame],
        faces: Sequence[tuple[Face, ...] | None],
        references: Sequence[Vector | None],
    ) -> list[int]:
        """Tell for each frame which one, the first of its equals, is to be worked on."""
        if not self._savings.duplicates:
            return list(range(len(frames)))
        known: dict[tuple[object, ...], int] = {}
        return [
            known.setdefault((frame.digest, id(some), id(reference)), index)
            for index, (frame, some, reference) in enumerate(
                zip(frames, faces, references, strict=True)
            )
        ]

    def _assess(
        self,
        frames: Sequence[Frame],
        faces: Sequence[tuple[Face, ...] | None] | None,
        references: Sequence[Vector | None],
        *,
        liveness: bool,
        embed: bool,
        timings_ms: MutableMapping[str, float] | None,
    ) -> list[Evidence]:
        """Do the work of `assess`, on frames that are all different."""
        if faces is None:
            found = self.detect(frames, timings_ms=timings_ms)
        else:
            found = [some or () for some in faces]
        with _timed("quality", timings_ms):
            candidates = [
                self._candidates(frame, some, self._profile.quality.probe)
                for frame, some in zip(frames, found, strict=True)
            ]
        if embed:
            with _timed("embed", timings_ms):
                candidates = self._embedded(frames, candidates, references)
        chosen = [
            self._chosen(some, reference)
            for some, reference in zip(candidates, references, strict=True)
        ]
        scores: list[float | None] = [None] * len(frames)
        if liveness:
            with _timed("liveness", timings_ms):
                scores = self._liveness(frames, chosen, only_evidence=embed)
        return [
            _evidence(frame, some, one, score)
            for frame, some, one, score in zip(frames, found, chosen, scores, strict=True)
        ]

    def poses(
        self,
        frames: Sequence[Frame],
        faces: Sequence[Face],
        *,
        timings_ms: MutableMapping[str, float] | None = None,
    ) -> list[HeadPose | None]:
        """Give the head pose of one face of each frame; None where the face is not whole."""
        with _timed("pose", timings_ms):
            return posing.poses(frames, faces, self._pack.mesh)

    def judge(
        self,
        evidence: Sequence[Evidence],
        reference: Vector,
        *,
        require_liveness: bool = True,
        timings_ms: Mapping[str, float] | None = None,
    ) -> Verdict:
        """Decide over the evidence of one person's frames (see `decide`). Pure."""
        return decide(
            evidence,
            reference,
            self._rules,
            require_liveness=require_liveness,
            timings_ms=timings_ms,
        )

    def enrol(self, frame: Frame, *, strict: bool = True) -> Enrolment:
        """Judge whether a photograph can become a template, and make its embedding.

        Strict, as a template needs it: limits of enrolment, and one face only. Otherwise, as a
        reference for a single comparison: limits of a probe, covers allowed, the largest face.
        """
        # Whether there is company is looked for at both scales, once and for good.
        thorough = replace(self._savings, small_first=False)
        (faces,) = saving.detect([frame], self._pack.detector, thorough)
        if not faces:
            return Enrolment(embedding=None, quality=None, reasons=(Reason.NO_FACE,), face=None)
        levels = self._profile.quality
        limits = levels.enrolment if strict else levels.probe
        (candidate,) = self._candidates(frame, faces[:1], limits)
        reasons = candidate.reasons
        if not strict:
            reasons = tuple(reason for reason in reasons if reason not in COVERS)
        elif _has_company(faces, levels.bystander_share):
            reasons = (Reason.SEVERAL_FACES, *reasons)
        vector = None
        if not reasons:
            (vector,) = self._vectors([frame], [candidate])
        return Enrolment(
            embedding=vector,
            quality=candidate.measures.quality,
            reasons=reasons,
            face=candidate.face,
        )

    def warm_up(self) -> None:
        """Run the detector on the sizes in which it gets VGA frames, in every batch size.

        Other networks have one size and are warmed up when they are loaded. Raises `ModelTooLarge`
        where memory runs out, `InferenceFailed` where the detector does not work here.
        """
        detector = self._pack.detector
        detector.warm_up(detection.canvases(detector, small_looks=self._savings.small_looks))

    def self_test(self) -> None:
        """Run every network on a built-in picture; raises InferenceFailed where one is off."""
        check_engine(self._pack, self)

    def _candidates(
        self, frame: Frame, faces: Sequence[Face], limits: QualityLimits
    ) -> list[_Candidate]:
        """Measure the largest faces of a frame against `limits`."""
        some = faces[:MAX_CANDIDATES]
        aligned = align([frame] * len(some), some, self._canonical, SIDE)
        return self._measured(frame, aligned, limits)

    def _measured(
        self, frame: Frame, aligned: Sequence[AlignedFace], limits: QualityLimits
    ) -> list[_Candidate]:
        measured = [measure(frame, one, self._profile.quality) for one in aligned]
        return [
            _Candidate(
                face=one.face,
                aligned=one,
                measures=values,
                reasons=reasons_against(values, limits),
            )
            for one, values in zip(aligned, measured, strict=True)
        ]

    def _embedded(
        self,
        frames: Sequence[Frame],
        candidates: Sequence[Sequence[_Candidate]],
        references: Sequence[Vector | None],
    ) -> list[list[_Candidate]]:
        """Embed all candidates of frames with a reference, else the one that will be chosen."""
        picked = [
            list(some) if reference is not None else [self._chosen(some, None)] if some else []
            for some, reference in zip(candidates, references, strict=True)
        ]
        pairs = [
            (frame, one)
            for frame, some in zip(frames, picked, strict=True)
            for one in some
            if one is not None and self._may_speak(one)
        ]
        vectors = iter(self._vectors([frame for frame, _ in pairs], [one for _, one in pairs]))
        return [
            [
                replace(one, vector=next(vectors)) if self._may_speak(one) else one
                for one in some
                if one is not None
            ]
            for some in picked
        ]

    def _may_speak(self, candidate: _Candidate) -> bool:
        """Tell whether a face is worth more work: a cover may be excused, other faults may not."""
        return not self._savings.early_exit or COVERS.issuperset(candidate.reasons)

    def _vectors(self, frames: Sequence[Frame], candidates: Sequence[_Candidate]) -> list[Vector]:
        """Embed one face of each frame; a crop that serves is not cut again."""
        if self._one_crop:
            return embedding.embed_aligned([one.aligned for one in candidates], self._pack.embedder)
        return embedding.embed(frames, [one.face for one in candidates], self._pack.embedder)

    def _chosen(
        self, candidates: Sequence[_Candidate], reference: Vector | None
    ) -> _Candidate | None:
        """Pick the face that speaks for a frame, with the reasons that remain against it."""
        if not candidates:
            return None
        if reference is None:
            return next((one for one in candidates if not one.reasons), candidates[0])
        heard = [self._excused(one, reference) for one in candidates]
        usable = [one for one in heard if not one.reasons]
        if not usable:
            return heard[0]
        return max(usable, key=lambda one: _cosine(one.vector, reference))

    def _excused(self, candidate: _Candidate, reference: Vector) -> _Candidate:
        """Drop covers from the reasons where the face matches all the same."""
        if not COVERS.intersection(candidate.reasons):
            return candidate
        if _cosine(candidate.vector, reference) < self._thresholds.threshold:
            return candidate
        reasons = tuple(reason for reason in candidate.reasons if reason not in COVERS)
        return replace(candidate, reasons=reasons)

    def _liveness(
        self,
        frames: Sequence[Frame],
        chosen: Sequence[_Candidate | None],
        *,
        only_evidence: bool,
    ) -> list[float | None]:
        """Score the chosen face of every frame that has one."""
        asked = [
            None if one is None or (only_evidence and not self._may_speak(one)) else one
            for one in chosen
        ]
        pairs = [
            (frame, one.face) for frame, one in zip(frames, asked, strict=True) if one is not None
        ]
        scores = iter(
            liveliness.score(
                [frame for frame, _ in pairs], [face for _, face in pairs], self._pack.liveness
            )
        )
        return [None if one is None else next(scores) for one in asked]


def _evidence(
    frame: Frame, faces: tuple[Face, ...], chosen: _Candidate | None, score: float | None
) -> Evidence:
    if chosen is None:
        return Evidence(digest=frame.digest, faces=(), reasons=(Reason.NO_FACE,))
    others = tuple(face for face in faces if face is not chosen.face)
    return Evidence(
        digest=frame.digest,
        faces=(chosen.face, *others),
        quality=chosen.measures.quality,
        reasons=chosen.reasons,
        embedding=chosen.vector,
        liveness_score=score,
    )


def _has_company(faces: Sequence[Face], share: float) -> bool:
    """Tell whether a further face is at least `share` of the largest (heights compared)."""
    return any(face.box[3] >= share * faces[0].box[3] for face in faces[1:])


def _cosine(vector: Vector | None, reference: Vector) -> float:
    """Compare two vectors; what cannot be compared is as unlike as can be (`decide` tells why)."""
    if vector is None or vector.shape != reference.shape:
        return -1.0
    value = float(np.dot(vector, reference))
    return value if np.isfinite(value) else -1.0


@contextmanager
def _timed(stage: str, timings_ms: MutableMapping[str, float] | None) -> Iterator[None]:
    start_ms = work_time_ms()
    try:
        yield
    finally:
        if timings_ms is not None:
            timings_ms[stage] = timings_ms.get(stage, 0.0) + work_time_ms() - start_ms
