"""A whole verifier on scripted pictures, for tests of whatever calls it. The product uses none.

Pictures are scenes (`verifier.streaming.testing.scene`); everything else is real: batcher, vault,
keys, hub, routes and edge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import FastAPI

from verifier.api.app import create_app
from verifier.api.metrics import VerifierMetrics
from verifier.clock import Clock, ManualClock
from verifier.edge import HttpMetrics
from verifier.keys import KeyRing
from verifier.pipeline.batching import Batcher, BatchLimits
from verifier.pipeline.comparison import VaultComparer
from verifier.pipeline.engine import Enrolment
from verifier.pipeline.templates import TemplateVault
from verifier.settings import Settings
from verifier.streaming.hub import StreamHub
from verifier.streaming.testing import THRESHOLD, ScriptedEngine
from verifier.types import Evidence, Face, Frame, HeadPose, Reason, Verdict

if TYPE_CHECKING:
    from verifier.pipeline.presence import Glance
    from verifier.pipeline.savings import LastSeen
    from verifier.types import Vector


class ScriptedInference:
    """`ScriptedEngine` as the batcher's threads call an engine: without asyncio."""

    def __init__(self) -> None:
        self._inner = ScriptedEngine()
        self.broken: Exception | None = None
        """Raised by `assess` and by the self-test, as long as it is set."""

    def decode(self, data: bytes) -> Frame:
        """Read a scene. Raises ImageUnreadable."""
        return asyncio.run(self._inner.decode([data]))[0]

    def detect(
        self,
        frames: Sequence[Frame],
        *,
        last: Sequence[LastSeen | None] | None = None,
        timings_ms: MutableMapping[str, float] | None = None,
    ) -> list[tuple[Face, ...]]:
        """Find the people of each scene."""
        return asyncio.run(self._inner.detect(frames))

    def glance(
        self,
        frames: Sequence[Frame],
        *,
        last: Sequence[LastSeen | None] | None = None,
        closely: bool = False,
        timings_ms: MutableMapping[str, float] | None = None,
    ) -> list[Glance]:
        """Say who is there."""
        before = last if last is not None else [None] * len(frames)
        self.self_test()
        return [
            asyncio.run(self._inner.glance(frame, last=one, closely=closely))
            for frame, one in zip(frames, before, strict=True)
        ]

    def refine(
        self,
        frames: Sequence[Frame],
        faces: Sequence[tuple[Face, ...]],
        *,
        timings_ms: MutableMapping[str, float] | None = None,
    ) -> list[tuple[Face, ...]]:
        """Leave them where they are."""
        return list(faces)

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
        """Say of each frame what its scene says."""
        self.self_test()
        if timings_ms is not None:
            timings_ms["scripted"] = 1.0
        return asyncio.run(
            self._inner.assess(
                frames, faces=faces, references=references, liveness=liveness, embed=embed
            )
        )

    def poses(
        self,
        frames: Sequence[Frame],
        faces: Sequence[Face],
        *,
        timings_ms: MutableMapping[str, float] | None = None,
    ) -> list[HeadPose | None]:
        """Say where people are turned."""
        self.self_test()
        if timings_ms is not None:
            timings_ms["scripted"] = 1.0
        return asyncio.run(self._inner.poses(frames, faces))

    def judge(
        self, evidence: Sequence[Evidence], reference: Vector, *, require_liveness: bool = True
    ) -> Verdict:
        """Decide by plain rules."""
        return self._inner.judge(evidence, reference, require_liveness=require_liveness)

    def enrol(self, frame: Frame, *, strict: bool = True) -> Enrolment:
        """Take a scene of one person who has no reasons against him; company only if not strict."""
        (evidence,) = self.assess([frame])
        several = strict and len(evidence.faces) > 1
        reasons = (*evidence.reasons, *((Reason.SEVERAL_FACES,) if several else ()))
        return Enrolment(
            embedding=None if reasons else evidence.embedding,
            quality=evidence.quality,
            reasons=reasons,
            face=evidence.faces[0] if evidence.faces else None,
        )

    def self_test(self) -> None:
        """Raise what is broken."""
        if self.broken is not None:
            raise self.broken

    @property
    def models(self) -> Mapping[str, str]:
        """Role -> ``id@sha256``."""
        return self._inner.models

    @property
    def profile(self) -> ScriptedProfile:
        """The version that verdicts quote."""
        return ScriptedProfile(version=self._inner.profile_version)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedProfile:
    """What is told of the threshold profile."""

    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedVerifier:
    """An app and its parts; close the batcher at the end."""

    app: FastAPI
    engine: ScriptedInference
    batcher: Batcher
    vault: TemplateVault
    keyring: KeyRing
    hub: StreamHub
    clock: Clock


def scripted_verifier(
    *,
    clock: Clock | None = None,
    settings: Settings | None = None,
    limits: BatchLimits | None = None,
) -> ScriptedVerifier:
    """Put a verifier together, as the composition root does, on scripted pictures."""
    chosen = clock if clock is not None else ManualClock()
    engine = ScriptedInference()
    metrics = HttpMetrics()
    counted = VerifierMetrics(metrics.registry)
    batcher = Batcher(engine, decode=engine.decode, limits=limits, observer=counted)
    keyring = KeyRing.generate(chosen)
    vault = TemplateVault(keyring, embedder=engine.models["embedder"], clock=chosen)
    hub = StreamHub(batcher, vault, keyring, clock=chosen)
    app = create_app(
        batcher=batcher,
        vault=vault,
        keyring=keyring,
        clock=chosen,
        settings=settings if settings is not None else Settings(),
        metrics=metrics,
        verifier_metrics=counted,
        hub=hub,
        comparer=VaultComparer(vault, threshold=THRESHOLD),
        providers=("scripted",),
    )
    return ScriptedVerifier(
        app=app,
        engine=engine,
        batcher=batcher,
        vault=vault,
        keyring=keyring,
        hub=hub,
        clock=chosen,
    )
