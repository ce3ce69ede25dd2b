"""Refusals that the learner's page tells apart."""

from __future__ import annotations

import inspect
import re

import pytest

from session_tracker import admission, lease, refusals
from session_tracker.refusals import OPENING
from verifier.errors import BenrenError, Refused


def test_each_has_a_code_of_its_own() -> None:
    """No two refusals to begin share a code, and none is a bare one that says nothing."""
    codes = [kind("").code for kind in OPENING]
    assert len(set(codes)) == len(codes)
    assert Refused not in OPENING


@pytest.mark.parametrize("module", [admission, lease], ids=["admission", "lease"])
def test_whatever_admission_raises_is_listed(module: object) -> None:
    """A new refusal is listed, so that the page gets words for it."""
    source = inspect.getsource(module)  # type: ignore[arg-type]
    names = {name for name in re.findall(r"raise ([A-Z]\w+)\(", source) if name != "TakenOver"}
    listed = {kind.__name__ for kind in OPENING}
    assert names <= listed
    assert all(
        issubclass(getattr(refusals, name), BenrenError) for name in names & set(vars(refusals))
    )
