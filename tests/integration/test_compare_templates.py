"""One template against many over real HTTP: the tracker's side reads what the verifier says."""

from __future__ import annotations

import pytest

from benren.remote import RemoteVerifier
from benren.server import listening
from verifier.api.testing import scripted_verifier
from verifier.errors import TemplateTampered
from verifier.streaming.testing import embedding_of
from verifier.types import SubjectTemplate


async def test_the_remote_verifier_compares_templates() -> None:
    """A hit, a stranger, one that cannot be read, and a probe that cannot."""
    verifier = scripted_verifier()

    def template(subject: str, who: str) -> SubjectTemplate:
        blob = verifier.vault.seal(subject=subject, embedding=embedding_of(who), quality={})
        return SubjectTemplate(subject=subject, template=blob)

    probe = template("s-1", "li")
    stolen = SubjectTemplate(subject="s-9", template=probe.template)
    others = [template("s-2", "li"), template("s-3", "wang"), stolen]
    async with listening(verifier.app) as address:
        remote = await RemoteVerifier.connect(address, clock=verifier.clock)
        found = await remote.compare_templates(probe, others)
        assert [one.subject for one in found.alike] == ["s-2"]
        assert found.alike[0].similarity == pytest.approx(1, abs=1e-5)
        assert (found.compared, found.skipped) == (2, ("s-9",))
        with pytest.raises(TemplateTampered):
            await remote.compare_templates(stolen, others)
        await remote.aclose()
    await verifier.batcher.close()
