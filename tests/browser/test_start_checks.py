"""The start check in a browser: nothing that only plays passes, whoever follows the arrows does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

from tests.browser.start_checks import tally
from tests.browser.whole import Album

pytestmark = [
    pytest.mark.soak,
    pytest.mark.models,
    pytest.mark.faces,
    pytest.mark.asyncio,
]

TRIES: Final = int(os.environ.get("BENREN_TRIES", "60"))


@pytest.mark.parametrize("kind", ["still", "loop", "sides"])
async def test_what_is_played_does_not_pass(kind: str, album: Album, tmp_path: Path) -> None:
    """A photograph, a recording and a clip that turns by itself: none passes, in 60 tries each.

    Not by any challenge that is shown until its session is over.
    """
    counts = await tally(kind, TRIES, album, tmp_path)
    assert counts.total() == TRIES
    assert counts["none"] == counts["pass"] == 0


async def test_whoever_follows_the_arrows_passes(album: Album, tmp_path: Path) -> None:
    """Nine of ten at the least, at the first challenge, on a machine that is shared."""
    counts = await tally("learner", TRIES, album, tmp_path)
    assert counts["pass"] >= 0.9 * TRIES
