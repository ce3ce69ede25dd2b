"""Sections in processes of their own: results, progress, failures, limits."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import sections
from benchmarks.job import Found, Job
from benchmarks.sections import SECTIONS, TOGETHER, Section, run_apart
from verifier.errors import InferenceFailed

JOB = Job(pack="open", faces=Path("nowhere"), quick=True)


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_every_section_can_be_called(name: str) -> None:
    """Module and function exist."""
    module, _, function = SECTIONS[name].where.partition(":")
    imported = __import__(f"benchmarks.{module}", fromlist=[function])
    assert callable(getattr(imported, function))


def test_what_runs_together_takes_no_times() -> None:
    """Only sections without a clock may share the machine."""
    assert set(TOGETHER) == {"memory", "matching", "liveness"}


def test_a_section_that_fails_says_why() -> None:
    """Its error comes over from its process, and with it the remedy."""
    with pytest.raises(InferenceFailed, match="Stages: "):
        run_apart("stages", JOB, lambda *_: None)


def test_a_section_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for ever; the message says how long."""
    shortened = dict(SECTIONS) | {"stages": replace(SECTIONS["stages"], timeout_s=0.05)}
    monkeypatch.setattr(sections, "SECTIONS", shortened)
    with pytest.raises(InferenceFailed, match="longer than 0 s"):
        run_apart("stages", JOB, lambda *_: None)


def test_a_section_runs_its_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name leads to the function, which gets the job and says how far it is."""
    told: list[tuple[float, str]] = []
    module = ModuleType("benchmarks._made_up")

    def work(job: Job, tell: object) -> Found:
        assert callable(tell)
        tell(0.5, job.pack)
        return Found(metrics=[], detail={"pack": job.pack})

    module.work = work  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "benchmarks._made_up", module)
    section = Section(title="Made up", where="_made_up:work", weight=1)
    found = section.run(JOB, lambda done, what: told.append((done, what)))
    assert found.detail == {"pack": "open"}
    assert told == [(0.5, "open")]
