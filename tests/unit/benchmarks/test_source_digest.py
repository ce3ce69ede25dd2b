"""The digest of the code behind scores, and the default profile that belongs to it."""

from __future__ import annotations

from benchmarks.source_digest import CODE, NO_SCORES, code_version, what_it_does
from verifier.pipeline.profile import DEFAULT_PROFILE, load_profile

BARE = """\
def scale(x):
    if x < 0:
        raise
    return x * 2  \t

FACTOR = 3
"""
TOLD = '''\
"""A module."""

# How it came about.
def scale(x):  # of one
    """Double it.

    And more of it.
    """
    if x < 0:
        raise ValueError(
            f"{x} is # too small",
        )

    return x * 2


FACTOR = 3
"""Three."""
'''


def test_prose_does_not_count() -> None:
    """Comments, docstrings, blank lines and the words of errors may change."""
    assert what_it_does(TOLD) == what_it_does(BARE)


def test_what_is_computed_counts() -> None:
    """A number, a condition, a string that is a value: all of it."""
    for old, new in (("* 2", "* 3"), ("x < 0", "x <= 0"), ("FACTOR = 3", 'FACTOR = "# 3"')):
        assert what_it_does(TOLD.replace(old, new)) != what_it_does(TOLD)
    kept = 'A = "# no comment"\nB = """\n\nno docstring\n"""\n'
    assert "no comment" in what_it_does(kept)
    assert "no docstring" in what_it_does(kept)


def test_modules_that_are_left_out_exist() -> None:
    """A name that has gone would hide the next module of that name."""
    from importlib import resources

    there = {one.name for package in CODE for one in resources.files(package).iterdir()}
    assert {f"{name}.py" for name in NO_SCORES} <= there
    assert {"engine.py", "embed.py", "detect.py", "ort.py"} <= there


def test_the_default_profile_was_measured_with_this_code() -> None:
    """Thresholds belong to scores: where the code behind these changed, they are measured anew."""
    made = load_profile().provenance
    assert made is not None
    assert made.code == code_version(), (
        f"{DEFAULT_PROFILE} was measured with another state of the pipeline: run the command in"
        " docs/tuning.md (The profile that comes along), and commit profile, report and evidence."
    )
