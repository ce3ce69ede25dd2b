"""Templates against templates: who of many has the same face? Asked at enrolment only."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from verifier.errors import TemplateError
from verifier.pipeline.templates import TemplateVault
from verifier.types import Comparison, Likeness, SubjectTemplate


class VaultComparer:
    """A `TemplateComparer` that opens the blobs itself; it keeps nothing.

    The threshold is that of one comparison. Among n others the chance of a false hit is about n
    times its false match rate: a hit is a question to a person, never a decision.
    """

    def __init__(self, vault: TemplateVault, *, threshold: float) -> None:
        self._vault = vault
        self._threshold = threshold

    async def compare_templates(
        self, probe: SubjectTemplate, others: Sequence[SubjectTemplate]
    ) -> Comparison:
        """Name who of `others` looks like `probe`, or raise TemplateError for the probe."""
        return await asyncio.to_thread(self._compare, probe, others)

    def _compare(self, probe: SubjectTemplate, others: Sequence[SubjectTemplate]) -> Comparison:
        reference = self._vault.open(probe.template, subject=probe.subject).embedding
        alike, skipped = [], []
        for other in others:
            try:
                embedding = self._vault.open(other.template, subject=other.subject).embedding
            except TemplateError:
                skipped.append(other.subject)
                continue
            similarity = float(np.dot(reference, embedding))
            if similarity >= self._threshold:
                alike.append(
                    Likeness(
                        subject=other.subject, similarity=similarity, threshold=self._threshold
                    )
                )
        return Comparison(
            alike=tuple(sorted(alike, key=lambda one: (-one.similarity, one.subject))),
            compared=len(others) - len(skipped),
            skipped=tuple(skipped),
        )
