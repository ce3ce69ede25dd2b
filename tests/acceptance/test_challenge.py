"""The active challenge on real faces and the real networks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.challenge_trials import KINDS, laboratory, tally

pytestmark = [pytest.mark.models, pytest.mark.faces, pytest.mark.slow]

ATTACKS = [name for name in KINDS if name != "virtual learner"]


async def test_the_virtual_learner_passes(faces_dir: Path, pack_dir: Path) -> None:
    """Three different people follow the arrows."""
    async with laboratory(faces_dir, pack_dir) as lab:
        counts = await tally(lab, KINDS["virtual learner"], 3)
    assert counts["match"] == 3, counts


@pytest.mark.parametrize("name", ATTACKS)
async def test_what_does_not_listen_fails(name: str, faces_dir: Path, pack_dir: Path) -> None:
    """Pictures and films of the right person, whatever they show, do not follow arrows."""
    async with laboratory(faces_dir, pack_dir) as lab:
        counts = await tally(lab, KINDS[name], 2)
    assert counts["match"] == 0, counts


@pytest.mark.soak
async def test_sixty_virtual_learners(faces_dir: Path, pack_dir: Path) -> None:
    """At least nine of ten pass."""
    async with laboratory(faces_dir, pack_dir) as lab:
        counts = await tally(lab, KINDS["virtual learner"], 60)
    assert counts["match"] >= 54, counts


@pytest.mark.soak
@pytest.mark.parametrize("name", ATTACKS)
async def test_sixty_attacks(name: str, faces_dir: Path, pack_dir: Path) -> None:
    """None of sixty passes, which bounds the rate at 5 %."""
    async with laboratory(faces_dir, pack_dir) as lab:
        counts = await tally(lab, KINDS[name], 60)
    assert counts["match"] == 0, counts
