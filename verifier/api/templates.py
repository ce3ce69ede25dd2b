"""``POST /v1/templates``: a photograph becomes a template, or is refused with reasons."""

from __future__ import annotations

import base64

from fastapi import APIRouter

from verifier.api.bodies import CreateTemplate, TemplateBody
from verifier.api.metrics import VerifierMetrics
from verifier.pipeline.batching import Batcher
from verifier.pipeline.templates import TemplateVault, embedding_of


def templates_router(batcher: Batcher, vault: TemplateVault, metrics: VerifierMetrics) -> APIRouter:
    """Make the route of ``/v1/templates``."""
    router = APIRouter(tags=["templates"])

    @router.post("/v1/templates", summary="Make a template")
    async def create_template(body: CreateTemplate) -> TemplateBody:
        """Make a template of an ID photograph. The verifier keeps neither of them.

        A photograph with no face, with several, or with one that is too small, blurred, dark,
        turned away or hidden is refused with 422, code `template_refused` and its `reasons`.
        """
        (frame,) = await batcher.decode([body.photo])
        enrolment = await batcher.enrol(frame)
        metrics.enrolled(enrolment.reasons)
        embedding = embedding_of(enrolment)
        quality = enrolment.quality.by_ofiq_name() if enrolment.quality is not None else {}
        blob = vault.seal(subject=body.subject, embedding=embedding, quality=quality)
        return TemplateBody(
            template=base64.b64encode(blob).decode("ascii"),
            subject=body.subject,
            quality=quality,
            models=dict(batcher.models),
            profile_version=batcher.profile_version,
        )

    return router
