"""The staff's pages have a word for everything that the service may say to them."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from session_tracker.events import Outcome
from session_tracker.facts import _KINDS
from session_tracker.machine import State
from session_tracker.policy import Training
from session_tracker.records import RegistrationState
from session_tracker.refusals import (
    ConsentWithdrawn,
    EnrolmentRefused,
    FaceWaits,
    IndustryOfflineOnly,
    OtherCategory,
    ProgrammeComplete,
    StudiesElsewhere,
)
from session_tracker.review import ReviewKind, ReviewState, Ruling

PAGES = resources.files("session_tracker") / "web/review"
WORDS = (PAGES / "words.js").read_text("utf-8")
SUPERVISED = (PAGES / "words-supervised.js").read_text("utf-8")
CODES = {
    "fact": _KINDS,
    "kind": ReviewKind,
    "state": ReviewState,
    "ruling": Ruling,
    "outcome": Outcome,
    "reg": RegistrationState,
    "track": Training,
}


REFUSED = (
    StudiesElsewhere,
    ConsentWithdrawn,
    FaceWaits,
    EnrolmentRefused,
    IndustryOfflineOnly,
    OtherCategory,
    ProgrammeComplete,
)
"""With what `open_supervised` is refused, but for what a form cannot send."""


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_code_has_a_word(language: str) -> None:
    """A code without a word would stand on the page as it is."""
    known = known_in(WORDS, language)
    wanted = {f"{prefix}.{code}" for prefix, codes in CODES.items() for code in codes}
    assert wanted <= known, wanted - known


@pytest.mark.parametrize("language", ["zh", "en"])
def test_supervised_study_has_words_for_every_state_and_refusal(language: str) -> None:
    """Where a session stands, and why one does not open; nothing of that is about a face."""
    known = known_in(SUPERVISED, language)
    wanted = {f"session.{state}" for state in State} | {
        f"problem.{kind('').code}" for kind in REFUSED
    }
    assert wanted <= known, wanted - known
    assert known_in(SUPERVISED, "zh") == known_in(SUPERVISED, "en")


def known_in(words: str, language: str) -> set[str]:
    """Names of the texts of a file in one language."""
    start = words.index(f"  {language}: {{")
    part = words[start : words.index("\n  },", start)]
    return set(re.findall(r'^    "([^"]+)":', part, re.MULTILINE))
