"""What a section of the benchmark is told, and how it reports how far it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from benchmarks.timing import Json, Metric

Tell: TypeAlias = Callable[[float, str], None]
"""Takes the share that is done, 0..1, and a word on what is being done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be measured."""

    pack: str
    faces: Path
    quick: bool = False
    """A look in a minute: few rounds, numbers for developers and for no report."""
    provider: str = "cpu"
    """Of the sections that measure one provider."""
    against: str = ""
    """Another provider, whose results are to be the same; empty: none is compared."""

    def pick(self, quick: float, full: float) -> float:
        """Choose a number of seconds."""
        return quick if self.quick else full

    def count(self, quick: int, full: int) -> int:
        """Choose a number of rounds."""
        return quick if self.quick else full


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a section found."""

    metrics: Sequence[Metric]
    """What is compared between runs."""
    detail: Json = field(default_factory=dict)
    """What the report tells besides."""
    warnings: Sequence[str] = ()
    """What a reader must know before he believes the numbers."""
