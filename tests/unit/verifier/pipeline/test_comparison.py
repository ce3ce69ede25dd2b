"""Templates against templates: hits above the threshold, and what cannot be compared."""

from __future__ import annotations

import numpy as np
import pytest

from verifier.clock import ManualClock
from verifier.errors import TemplateTampered
from verifier.keys import KeyRing
from verifier.pipeline.comparison import VaultComparer
from verifier.pipeline.templates import TemplateVault
from verifier.streaming.testing import embedding_of
from verifier.types import SubjectTemplate


@pytest.fixture
def vault() -> TemplateVault:
    """A vault of one model."""
    clock = ManualClock()
    return TemplateVault(KeyRing.generate(clock), embedder="net@1", clock=clock)


def template(vault: TemplateVault, subject: str, who: str) -> SubjectTemplate:
    """Seal somebody's face for a subject."""
    blob = vault.seal(subject=subject, embedding=embedding_of(who), quality={})
    return SubjectTemplate(subject=subject, template=blob)


async def test_the_same_face_is_found_under_another_subject(vault: TemplateVault) -> None:
    """Who looks alike is named, the most similar first; strangers are not."""
    comparer = VaultComparer(vault, threshold=0.4)
    mixed = embedding_of("li") + 0.5 * embedding_of("wang")
    blob = vault.seal(
        subject="s-4", embedding=(mixed / np.linalg.norm(mixed)).astype(np.float32), quality={}
    )
    found = await comparer.compare_templates(
        template(vault, "s-1", "li"),
        [
            template(vault, "s-2", "wang"),
            SubjectTemplate(subject="s-4", template=blob),
            template(vault, "s-3", "li"),
        ],
    )
    assert [one.subject for one in found.alike] == ["s-3", "s-4"]
    assert found.alike[0].similarity == pytest.approx(1, abs=1e-5)
    assert found.alike[0].threshold == 0.4
    assert (found.compared, found.skipped) == (3, ())


async def test_what_cannot_be_compared_is_named(vault: TemplateVault) -> None:
    """Another model's template and broken ones are skipped; a broken probe is an error."""
    comparer = VaultComparer(vault, threshold=0.4)
    probe = template(vault, "s-1", "li")
    stolen = SubjectTemplate(subject="s-2", template=probe.template)
    found = await comparer.compare_templates(probe, [stolen])
    assert (found.alike, found.compared, found.skipped) == ((), 0, ("s-2",))
    with pytest.raises(TemplateTampered):
        await comparer.compare_templates(stolen, [probe])
    assert (await comparer.compare_templates(probe, [])).compared == 0
