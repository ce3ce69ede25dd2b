"""``POST /v1/templates``: a photograph becomes a template, or is refused with reasons."""

from __future__ import annotations

import base64

from fastapi import APIRouter, Request

from verifier.api.bodies import (
    CompareTemplates,
    ComparisonBody,
    CreateTemplate,
    LikenessBody,
    OneTemplate,
    TemplateBody,
)
from verifier.api.metrics import VerifierMetrics
from verifier.api.verify import owner_of
from verifier.edge import actor_of
from verifier.pipeline.batching import Batcher
from verifier.pipeline.templates import TemplateVault, embedding_of
from verifier.types import SubjectTemplate, TemplateComparer


def templates_router(
    batcher: Batcher,
    vault: TemplateVault,
    metrics: VerifierMetrics,
    comparer: TemplateComparer | None = None,
) -> APIRouter:
    """Make the routes of ``/v1/templates``."""
    router = APIRouter(tags=["templates"])

    @router.post("/v1/templates", summary="Make a template")
    async def create_template(body: CreateTemplate, request: Request) -> TemplateBody:
        """Make a template of an ID photograph. The verifier keeps neither of them.

        A photograph with no face, with several, or with one that is too small, blurred, dark,
        turned away or hidden is refused with 422, code `template_refused` and its `reasons`.
        """
        deadline = batcher.deadline()
        owner = owner_of(actor_of(request).name, body.subject)
        (frame,) = await batcher.decode([body.photo], timeout_s=deadline.left_s, owner=owner)
        enrolment = await batcher.enrol(frame, timeout_s=deadline.left_s, owner=owner)
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

    if comparer is not None:
        _add_comparison(router, comparer)
    return router


def _add_comparison(router: APIRouter, comparer: TemplateComparer) -> None:
    @router.post("/v1/templates:compare", summary="Compare templates")
    async def compare(body: CompareTemplates) -> ComparisonBody:
        """Name who of `others` looks like `probe`: one person may be enrolled twice.

        Asked at enrolment, within one business; nothing is kept.
        """
        found = await comparer.compare_templates(_subject(body.probe), _subjects(body.others))
        return ComparisonBody(
            alike=[
                LikenessBody(
                    subject=one.subject,
                    similarity=round(one.similarity, 6),
                    threshold=one.threshold,
                )
                for one in found.alike
            ],
            compared=found.compared,
            skipped=list(found.skipped),
        )


def _subjects(templates: list[OneTemplate]) -> list[SubjectTemplate]:
    return [_subject(template) for template in templates]


def _subject(given: OneTemplate) -> SubjectTemplate:
    return SubjectTemplate(subject=given.subject, template=given.template)
