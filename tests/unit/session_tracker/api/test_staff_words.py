"""The staff's pages have a word for everything that the service may say to them."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from session_tracker.events import Outcome
from session_tracker.facts import _KINDS
from session_tracker.policy import Training
from session_tracker.records import RegistrationState
from session_tracker.review import ReviewKind, ReviewState, Ruling

WORDS = (resources.files("session_tracker") / "web/review/words.js").read_text("utf-8")
CODES = {
    "fact": _KINDS,
    "kind": ReviewKind,
    "state": ReviewState,
    "ruling": Ruling,
    "outcome": Outcome,
    "reg": RegistrationState,
    "track": Training,
}


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_code_has_a_word(language: str) -> None:
    """A code without a word would stand on the page as it is."""
    start = WORDS.index(f"  {language}: {{")
    part = WORDS[start : WORDS.index("\n  },", start)]
    known = set(re.findall(r'^    "([^"]+)":', part, re.MULTILINE))
    wanted = {f"{prefix}.{code}" for prefix, codes in CODES.items() for code in codes}
    assert wanted <= known, wanted - known
