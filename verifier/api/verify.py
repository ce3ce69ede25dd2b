"""``POST /v1/verify`` and ``/v1/verify:batch``: frames against a template or a photograph."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request

from verifier.api.bodies import (
    BatchBody,
    BatchItem,
    FaceBody,
    LivenessBody,
    VerdictBody,
    VerifyBatch,
    VerifyByPhoto,
    VerifyByTemplate,
    VerifyRequest,
)
from verifier.api.metrics import VerifierMetrics
from verifier.clock import Clock
from verifier.edge import actor_of, problem_of, request_id_of, unexpected_problem
from verifier.errors import BenrenError
from verifier.keys import KeyRing, canonical_json
from verifier.pipeline.batching import Batcher, Priority
from verifier.pipeline.templates import TemplateVault, embedding_of
from verifier.types import Face, Verdict

if TYPE_CHECKING:
    from verifier.pipeline.deadline import Deadline
    from verifier.types import Vector

PURPOSE = "verdict"
"""Domain of a verdict's signature in the key ring."""
UNSIGNED = frozenset({"signature", "timings_ms"})
"""What of a verdict is not under its signature."""
_ITEMS_AT_A_TIME = 4  # of one batch, so that it cannot fill the queue alone
_log = logging.getLogger("benren.verify")


class Verification:
    """Answers verify requests: everything between the parsed request and the shaped answer."""

    def __init__(
        self,
        *,
        batcher: Batcher,
        vault: TemplateVault,
        keyring: KeyRing,
        clock: Clock,
        metrics: VerifierMetrics,
    ) -> None:
        self._batcher = batcher
        self._vault = vault
        self._keyring = keyring
        self._clock = clock
        self._metrics = metrics

    async def verify(
        self,
        request: VerifyByTemplate | VerifyByPhoto,
        *,
        caller: str,
        priority: Priority = Priority.INTERACTIVE,
    ) -> VerdictBody:
        """Judge one request of `caller`, an API key's name, all of it within one deadline.

        Raises ImageError, TemplateError, TemplateRefused, Overloaded.
        """
        timings: dict[str, float] = {}
        deadline = self._batcher.deadline()
        owner = owner_of(caller, request.subject if isinstance(request, VerifyByTemplate) else "")
        with _timed(timings, "reference"):
            reference = await self._reference(request, deadline, owner, priority)
        with _timed(timings, "decode"):
            frames = await self._batcher.decode(
                request.frames, priority=priority, timeout_s=deadline.left_s, owner=owner
            )
        with _timed(timings, "assess"):
            evidence = await self._batcher.assess(
                frames,
                references=[reference] * len(frames),
                priority=priority,
                timeout_s=deadline.left_s,
                owner=owner,
                timings_ms=timings,
            )
        with _timed(timings, "judge"):
            verdict = self._batcher.judge(evidence, reference)
        self._metrics.judged(verdict)
        return self._signed(request, verdict, timings)

    async def item(
        self, request: VerifyByTemplate | VerifyByPhoto, request_id: str, *, caller: str
    ) -> BatchItem:
        """Judge one item of a batch; its errors, and its deadline, are its own."""
        try:
            verdict = await self.verify(request, caller=caller, priority=Priority.BULK)
            return BatchItem(verdict=verdict)
        except BenrenError as error:
            return BatchItem(problem=problem_of(error, request_id))
        except Exception:  # noqa: BLE001 - one item's bug must not cost the other items
            _log.exception("request %s: unexpected error in an item of a batch", request_id)
            return BatchItem(problem=unexpected_problem(request_id))

    async def _reference(
        self,
        request: VerifyByTemplate | VerifyByPhoto,
        deadline: Deadline,
        owner: str,
        priority: Priority,
    ) -> Vector:
        if isinstance(request, VerifyByTemplate):
            return self._vault.open(request.template, subject=request.subject).embedding
        (frame,) = await self._batcher.decode(
            [request.reference_photo], priority=priority, timeout_s=deadline.left_s, owner=owner
        )
        enrolment = await self._batcher.enrol(
            frame, strict=False, priority=priority, timeout_s=deadline.left_s, owner=owner
        )
        return embedding_of(enrolment)

    def _signed(
        self,
        request: VerifyByTemplate | VerifyByPhoto,
        verdict: Verdict,
        timings: dict[str, float],
    ) -> VerdictBody:
        if isinstance(request, VerifyByTemplate):
            subject, sent = request.subject, request.template
        else:
            subject, sent = None, request.reference_photo
        body = VerdictBody(
            decision=verdict.decision,
            reasons=list(verdict.reasons),
            similarity=_rounded(verdict.similarity),
            threshold=verdict.threshold,
            fmr_at_threshold=verdict.fmr_at_threshold,
            liveness=LivenessBody(
                score=_rounded(verdict.liveness.score),
                threshold=verdict.liveness.threshold,
                decision=verdict.liveness.decision,
            ),
            quality=verdict.quality.by_ofiq_name() if verdict.quality is not None else None,
            face=_face(verdict.face) if verdict.face is not None else None,
            frames_judged=verdict.frames_judged,
            frame_digests=list(verdict.frame_digests),
            reference_digest=hashlib.sha256(sent).hexdigest(),
            subject=subject,
            models=dict(verdict.models),
            profile_version=verdict.profile_version,
            judged_at_utc_ms=self._clock.stamp().utc_ms,
            signature="",
            timings_ms={stage: round(ms, 2) for stage, ms in timings.items()},
        )
        body.signature = self._keyring.sign(PURPOSE, signed_payload(body.model_dump(mode="json")))
        return body


def owner_of(caller: str, subject: str) -> str:
    """Name who takes turns: one person of one API key, or a key that names nobody."""
    return f"{caller}/{subject}"


def signed_payload(verdict: dict[str, Any]) -> bytes:
    """Give the bytes under a verdict's signature, from its JSON as the API returned it."""
    signed = {name: value for name, value in verdict.items() if name not in UNSIGNED}
    return canonical_json(signed, floats=True)


def verify_router(verification: Verification) -> APIRouter:
    """Make the routes of ``/v1/verify``."""
    router = APIRouter(tags=["verify"])

    @router.post("/v1/verify", summary="Verify a person")
    async def verify(body: VerifyRequest, request: Request) -> VerdictBody:
        """Say whether the frames show the person of the template or photograph, alive.

        *No face*, *mismatch* and *spoof* are verdicts (200). The answer holds scores: it is for
        servers, never for a learner's device.
        """
        return await verification.verify(body, caller=actor_of(request).name)

    @router.post("/v1/verify:batch", summary="Verify many")
    async def verify_batch(body: VerifyBatch, request: Request) -> BatchBody:
        """Verify up to 64 items. Each gets its own verdict or its own problem."""
        request_id, caller = request_id_of(request), actor_of(request).name
        at_a_time = asyncio.Semaphore(_ITEMS_AT_A_TIME)

        async def judged(item: VerifyByTemplate | VerifyByPhoto) -> BatchItem:
            async with at_a_time:
                return await verification.item(item, request_id, caller=caller)

        return BatchBody(results=list(await asyncio.gather(*map(judged, body.items))))

    return router


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    started = loop.time()
    yield
    timings[stage] = (loop.time() - started) * 1000


def _face(face: Face) -> FaceBody:
    x, y, width, height = (round(float(value), 1) for value in face.box)
    return FaceBody(
        box=(x, y, width, height),
        score=round(float(face.score), 3),
        landmarks=[(round(float(px), 1), round(float(py), 1)) for px, py in face.landmarks],
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 6)
