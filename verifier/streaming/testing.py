"""An in-memory twin of the pipeline, for tests of whatever stands on streams.

Its pictures are scenes written down as JSON: who sits where, how large, alive or not. So a test
says what the camera sees, and the verdicts follow by plain rules. Nothing of the product uses it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import mean, median
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from verifier.errors import ImageUnreadable, TemplateError, TemplateTampered
from verifier.pipeline.fingerprint import fingerprint
from verifier.pipeline.ports import Priority
from verifier.pipeline.presence import Glance
from verifier.pipeline.savings import last_seen
from verifier.types import (
    Decision,
    Evidence,
    Face,
    Frame,
    HeadPose,
    LivenessDecision,
    LivenessResult,
    Quality,
    Reason,
    Verdict,
)

if TYPE_CHECKING:
    from verifier.pipeline.savings import LastSeen
    from verifier.types import Image, Vector

THRESHOLD = 0.4
LIVENESS_THRESHOLD = 0.5
MODELS = {"detector": "scripted@00", "embedder": "scripted@01"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One face of a scene, in a picture of 640 x 480."""

    who: str
    """People of one name have one face; those of different names are strangers."""
    x: float = 270.0
    y: float = 170.0
    size: float = 120.0
    """Width and height of the box, in pixels."""
    quality: float = 0.9
    live: float = 0.9
    yaw: float = 0.0
    """Positive: turned to the person's own left; degrees."""
    pitch: float = 0.0
    reasons: tuple[Reason, ...] = ()
    """Why the face cannot serve as evidence."""


def scene(*people: Person | str, shot: int = 0) -> bytes:
    """Write a picture; `shot` makes otherwise equal pictures differ in their bytes."""
    faces = [Person(who=person) if isinstance(person, str) else person for person in people]
    body = [
        {name: getattr(face, name) for name in Person.__slots__} | {"reasons": [*face.reasons]}
        for face in faces
    ]
    return json.dumps({"shot": shot, "faces": body}).encode()


def embedding_of(who: str) -> Vector:
    """Give a person's face: strangers' cosines lie near zero."""
    seed = int.from_bytes(hashlib.sha256(who.encode()).digest()[:4], "big")
    vector = np.random.default_rng(seed).standard_normal(64)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


@dataclass(slots=True)
class ScriptedEngine:
    """Takes the place of the batcher; counts the frames that went through each stage."""

    models: Mapping[str, str] = field(default_factory=lambda: dict(MODELS))
    profile_version: str = "scripted-1"
    frames: Counter[str] = field(default_factory=Counter)
    """Stage (`decode`, `detect`, `quality`, `identity`) -> frames."""
    fail_with: Exception | None = None
    """Raised by the next call of `assess` with an embedding, once."""
    _scenes: dict[str, list[Person]] = field(default_factory=dict)

    async def decode(self, images: Sequence[bytes], **_: Any) -> list[Frame]:
        """Read scenes. Raises ImageUnreadable."""
        await asyncio.sleep(0)
        self.frames["decode"] += len(images)
        return [self._read(data) for data in images]

    async def detect(self, frames: Sequence[Frame], **_: Any) -> list[tuple[Face, ...]]:
        """Find the people of each scene, the largest first."""
        await asyncio.sleep(0)
        self.frames["detect"] += len(frames)
        return [tuple(_face(person) for person in self._of(frame)) for frame in frames]

    async def assess(
        self,
        frames: Sequence[Frame],
        *,
        faces: Sequence[tuple[Face, ...]] | None = None,
        references: Sequence[Vector | None] | None = None,
        liveness: bool = True,
        embed: bool = True,
        **_: Any,
    ) -> list[Evidence]:
        """Say of each frame what its scene says; the person most like the reference is chosen."""
        await asyncio.sleep(0)
        self.frames["identity" if embed else "quality"] += len(frames)
        if embed and self.fail_with is not None:
            error, self.fail_with = self.fail_with, None
            raise error
        wanted = references if references is not None else [None] * len(frames)
        given = faces if faces is not None else [None] * len(frames)
        return [
            self._evidence(frame, reference, some, liveness=liveness, embed=embed)
            for frame, reference, some in zip(frames, wanted, given, strict=True)
        ]

    async def glance(
        self,
        picture: bytes | Frame,
        *,
        last: LastSeen | None,
        closely: bool = False,
        priority: Priority = Priority.INTERACTIVE,
        owner: str = "",
    ) -> Glance:
        """Decode, detect, measure, one after the other."""
        frame = picture if isinstance(picture, Frame) else (await self.decode([picture]))[0]
        (faces,) = await self.detect([frame], last=[last], owner=owner)
        (evidence,) = await self.assess(
            [frame], faces=[faces], liveness=False, embed=False, owner=owner
        )
        return Glance(
            faces=faces,
            evidence=evidence,
            seen=last_seen(frame, faces, last),
            shown=fingerprint(frame.pixels) if faces else b"",
            longer_side_px=max(frame.pixels.shape[:2]),
            frame=frame if closely else None,
        )

    async def inspect(
        self,
        pictures: Sequence[bytes | Frame],
        *,
        digests: Sequence[str],
        faces: Sequence[tuple[Face, ...]],
        reference: Vector,
        priority: Priority = Priority.INTERACTIVE,
        owner: str = "",
    ) -> list[Evidence]:
        """Decode what is no frame yet, and say whose face it is."""
        frames = [
            one if isinstance(one, Frame) else (await self.decode([one]))[0] for one in pictures
        ]
        frames = [replace(one, digest=digest) for one, digest in zip(frames, digests, strict=True)]
        references = [reference] * len(frames)
        return await self.assess(frames, faces=faces, references=references, owner=owner)

    async def poses(
        self,
        frames: Sequence[Frame],
        faces: Sequence[Face],
        *,
        priority: Priority = Priority.INTERACTIVE,
        owner: str = "",
    ) -> list[HeadPose | None]:
        """Say where the person in that place is turned."""
        await asyncio.sleep(0)
        self.frames["pose"] += len(frames)
        found: list[HeadPose | None] = []
        for frame, face in zip(frames, faces, strict=True):
            (person,) = (p for p in self._of(frame) if _face(p).box == face.box)
            found.append(HeadPose(yaw_deg=person.yaw, pitch_deg=person.pitch, roll_deg=0.0))
        return found

    def judge(
        self, evidence: Sequence[Evidence], reference: Vector, *, require_liveness: bool = True
    ) -> Verdict:
        """Compare the median similarity and the mean liveness with their thresholds."""
        usable = [one for one in evidence if one.usable]
        similarity = _median([_cosine(one.embedding, reference) for one in usable])
        scores = [one.liveness_score for one in usable if one.liveness_score is not None]
        score = mean(scores) if scores else None
        reasons = {reason for one in evidence for reason in one.reasons} if not usable else set()
        if similarity is None or score is None:
            decision = Decision.NO_EVIDENCE
        elif require_liveness and score < LIVENESS_THRESHOLD:
            decision = Decision.SPOOF
            reasons.add(Reason.NOT_LIVE)
        elif similarity < THRESHOLD:
            decision = Decision.MISMATCH
            reasons.add(Reason.NOT_THE_SAME_PERSON)
        else:
            decision = Decision.MATCH
        if any(len(one.faces) > 1 for one in evidence):
            reasons.add(Reason.SEVERAL_FACES)
        return Verdict(
            decision=decision,
            reasons=tuple(sorted(reasons)),
            similarity=similarity,
            threshold=THRESHOLD,
            fmr_at_threshold=1e-4,
            liveness=LivenessResult(
                score=score, threshold=LIVENESS_THRESHOLD, decision=_liveness(score)
            ),
            quality=usable[0].quality if usable else None,
            face=usable[0].faces[0] if usable else None,
            frames_judged=len(usable),
            frame_digests=tuple(one.digest for one in evidence),
            models=self.models,
            profile_version=self.profile_version,
        )

    def _read(self, data: bytes) -> Frame:
        try:
            body = json.loads(data)
            people = [
                Person(**{**face, "reasons": tuple(Reason(reason) for reason in face["reasons"])})
                for face in body["faces"]
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise ImageUnreadable from error
        digest = hashlib.sha256(data).hexdigest()
        self._scenes[digest] = sorted(people, key=lambda face: -face.size)
        while len(self._scenes) > 256:
            del self._scenes[next(iter(self._scenes))]
        return Frame(pixels=_pattern(digest), digest=digest)

    def _of(self, frame: Frame) -> list[Person]:
        return self._scenes[frame.digest]

    def _evidence(
        self,
        frame: Frame,
        reference: Vector | None,
        faces: tuple[Face, ...] | None,
        *,
        liveness: bool,
        embed: bool,
    ) -> Evidence:
        boxes = None if faces is None else {face.box for face in faces}
        people = [p for p in self._of(frame) if boxes is None or _face(p).box in boxes]
        if not people:
            return Evidence(digest=frame.digest, faces=(), reasons=(Reason.NO_FACE,))
        if reference is not None:
            people = sorted(people, key=lambda p: -_cosine(embedding_of(p.who), reference))
        chosen = people[0]
        return Evidence(
            digest=frame.digest,
            faces=tuple(_face(person) for person in people),
            quality=_quality(chosen.quality),
            reasons=chosen.reasons,
            embedding=embedding_of(chosen.who) if embed else None,
            liveness_score=chosen.live if liveness else None,
        )


class ScriptedVault:
    """Templates that are the subject's name: ``b"template of NAME"``, bound to ``NAME``."""

    def open(self, blob: bytes, *, subject: str) -> OpenedTemplate:
        """Open a template for its subject, or raise TemplateError."""
        if not blob:
            raise TemplateError
        if blob != b"template of " + subject.encode():
            raise TemplateTampered
        return OpenedTemplate(embedding=embedding_of(subject))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedTemplate:
    """What `ScriptedVault.open` returns."""

    embedding: Vector


def _pattern(digest: str) -> Image:
    """Paint something (480, 640, 3) that no other scene looks like."""
    cells = np.random.default_rng(int(digest[:16], 16)).integers(0, 255, (24, 32, 3), np.uint8)
    large = cv2.resize(cells, (640, 480), interpolation=cv2.INTER_NEAREST)
    return np.asarray(large, np.uint8)


_EYES_AND_MOUTH = np.array(
    [[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32
)


def _face(person: Person) -> Face:
    corner = np.array([person.x, person.y], np.float32)
    return Face(
        box=(person.x, person.y, person.size, person.size),
        score=0.95,
        landmarks=(corner + _EYES_AND_MOUTH * person.size).astype(np.float32),
    )


def _quality(unified: float) -> Quality:
    return Quality(
        sharpness=200.0,
        illumination_mean=120.0,
        illumination_uniformity=0.8,
        head_pose_yaw_deg=0.0,
        head_pose_pitch_deg=0.0,
        head_pose_roll_deg=0.0,
        inter_eye_distance_px=48.0,
        unified_quality_score=unified,
    )


def _cosine(embedding: Vector | None, reference: Vector) -> float:
    return 0.0 if embedding is None else float(embedding @ reference)


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None


def _liveness(score: float | None) -> LivenessDecision:
    if score is None:
        return LivenessDecision.UNDECIDED
    return LivenessDecision.LIVE if score >= LIVENESS_THRESHOLD else LivenessDecision.SPOOF
