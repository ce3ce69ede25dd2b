"""Error rates of one photograph against one photograph, pair by pair as `benren compare` judges.

``python -m benchmarks.accuracy --faces DIR --pack open|edgeface --json``

The reference goes through `Engine.enrol(strict=False)`, the probe through `Engine.assess` and
`Engine.judge`. A pair without evidence counts as a false non-match, and is told apart as well.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from benchmarks.engines import measured_engine
from benchmarks.metrics import independent_comparisons, least_claim
from benchmarks.timing import told_on_stderr
from verifier.pipeline.intake import decode
from verifier.types import Decision, Face, Frame

if TYPE_CHECKING:
    from verifier.pipeline.engine import Engine, Enrolment

CHILDREN = ("Son", "Daughter")
"""In the names of `families/`: siblings, whom no threshold for adults tells apart reliably."""
BATCH = 8
Names: TypeAlias = set[str]
ONE_SIDED_95 = 1.645
"""Of the standard normal distribution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Photograph:
    """One file of a set."""

    name: str
    person: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """A photograph after everything that does not depend on whom it is compared with."""

    name: str
    person: str
    frame: Frame
    faces: tuple[Face, ...]
    reference: Enrolment


@dataclass(slots=True)
class Counts:
    """Outcomes of the pairs of one set."""

    set: str
    genuine: int = 0
    genuine_match: int = 0
    genuine_mismatch: int = 0
    genuine_no_evidence: int = 0
    impostor: int = 0
    impostor_match: int = 0
    impostor_no_evidence: int = 0
    genuine_persons: Names = field(default_factory=Names)
    """Who was compared with himself."""
    impostor_persons: Names = field(default_factory=Names)
    """Who was compared with another."""
    errors: list[str] = field(default_factory=list)
    """Pairs judged wrongly, with their similarity; no-evidence pairs are not among them."""

    def add(
        self, reference: Looked, probe: Looked, decision: Decision, score: float | None
    ) -> None:
        """Count one pair."""
        same = reference.person == probe.person
        (self.genuine_persons if same else self.impostor_persons).update(
            (reference.person, probe.person)
        )
        if same:
            self.genuine += 1
            self.genuine_match += decision is Decision.MATCH
            self.genuine_mismatch += decision is Decision.MISMATCH
            self.genuine_no_evidence += decision is Decision.NO_EVIDENCE
        else:
            self.impostor += 1
            self.impostor_match += decision is Decision.MATCH
            self.impostor_no_evidence += decision is Decision.NO_EVIDENCE
        if decision is (Decision.MISMATCH if same else Decision.MATCH):
            self.errors.append(f"{reference.name} {probe.name} {score:.3f}")

    @property
    def independent(self) -> dict[str, int]:
        """Comparisons of which no two share a person, of the impostors and of the genuine."""
        return {
            "impostor": independent_comparisons(len(self.impostor_persons)),
            "genuine": len(self.genuine_persons),
        }

    def rates(self) -> dict[str, float | None]:
        """Give the rates of this set, and what its persons allow to claim of them."""
        independent = self.independent
        fmr = _rate(self.impostor_match, self.impostor)
        fnmr = _rate(self.genuine - self.genuine_match, self.genuine)
        return {
            "fmr": fmr,
            "fmr_upper_95": upper_95(fmr, independent["impostor"]),
            "fnmr": fnmr,
            "fnmr_upper_95": upper_95(fnmr, independent["genuine"]),
            "fnmr_of_judged": _rate(self.genuine_mismatch, self.genuine - self.genuine_no_evidence),
            "no_evidence": _rate(
                self.genuine_no_evidence + self.impostor_no_evidence, self.genuine + self.impostor
            ),
        }

    def to_json(self) -> dict[str, Any]:
        """Give counts, numbers of persons and rates; no names but those of wrong pairs."""
        told = {name: getattr(self, name) for name in COUNTED}
        persons = {
            "genuine_persons": len(self.genuine_persons),
            "impostor_persons": len(self.impostor_persons),
        }
        return told | persons | {"independent": self.independent} | self.rates()


COUNTED = (
    *("set", "genuine", "genuine_match", "genuine_mismatch", "genuine_no_evidence"),
    *("impostor", "impostor_match", "impostor_no_evidence", "errors"),
)


def _rate(errors: int, of: int) -> float | None:
    return errors / of if of else None


def upper_95(rate: float | None, independent: int) -> float | None:
    """Bound a rate: what was measured and its error among so many trials, and never below 3 / n.

    The trials are those that share no person: pairs of one set are not independent (`metrics`).
    """
    if rate is None:
        return None
    if not independent:
        return 1.0
    error = math.sqrt(rate * (1 - rate) / independent)
    return min(max(rate + ONE_SIDED_95 * error, least_claim(independent)), 1.0)


def look(engine: Engine, photographs: Iterable[Photograph]) -> list[Looked]:
    """Decode, detect and enrol every photograph, in batches."""
    looked: list[Looked] = []
    remaining = iter(photographs)
    while batch := list(islice(remaining, BATCH)):
        frames = [decode(photograph.data) for photograph in batch]
        for photograph, frame, faces in zip(batch, frames, engine.detect(frames), strict=True):
            looked.append(
                Looked(
                    name=photograph.name,
                    person=photograph.person,
                    frame=frame,
                    faces=faces,
                    reference=engine.enrol(frame, strict=False),
                )
            )
    return looked


def judge_pairs(engine: Engine, name: str, pairs: Iterable[tuple[Looked, Looked]]) -> Counts:
    """Judge each pair of reference and probe as `benren compare` does."""
    counts = Counts(name)
    remaining = iter(pairs)
    while batch := list(islice(remaining, BATCH)):
        judged = [pair for pair in batch if pair[0].reference.embedding is not None]
        for reference, probe in batch:
            if reference.reference.embedding is None:
                counts.add(reference, probe, Decision.NO_EVIDENCE, None)
        evidence = engine.assess(
            [probe.frame for _, probe in judged],
            faces=[probe.faces for _, probe in judged],
            references=[reference.reference.embedding for reference, _ in judged],
            liveness=False,
        )
        for (reference, probe), one in zip(judged, evidence, strict=True):
            vector = reference.reference.embedding
            if vector is None:
                continue
            verdict = engine.judge([one], vector, require_liveness=False)
            counts.add(reference, probe, verdict.decision, verdict.similarity)
    return counts


def families(faces: Path) -> Iterator[Photograph]:
    """Read `families/`: the name up to the digit is the person."""
    for path in sorted((faces / "families").glob("*.jpg")):
        person = path.stem.rstrip("0123456789")
        yield Photograph(name=path.stem, person=person, data=path.read_bytes())


def people(faces: Path) -> Iterator[Photograph]:
    """Read `people/`: a folder per person; `partial_*` are cut through the face."""
    for path in sorted((faces / "people").glob("*/*.*")):
        name = f"{path.parent.name}/{path.name}"
        yield Photograph(name=name, person=path.parent.name, data=path.read_bytes())


def lfw10(faces: Path) -> Iterator[Photograph]:
    """Read `lfw10/`: ten photographs of each of ten people."""
    for path in sorted((faces / "lfw10").glob("*/*.jpg")):
        yield Photograph(name=path.stem, person=path.parent.name, data=path.read_bytes())


def lfw90_pairs(faces: Path) -> list[tuple[str, str]]:
    """Read the official pairs of the first five folds, as names `Person_0001`."""
    lines = (faces / "lfw90_pairs_folds1-5.txt").read_text(encoding="utf-8").splitlines()[1:]
    pairs = []
    for line in lines:
        words = line.split("\t")
        if len(words) == 3:
            first, second = (words[0], words[1]), (words[0], words[2])
        else:
            first, second = (words[0], words[1]), (words[2], words[3])
        pairs.append((f"{first[0]}_{int(first[1]):04}", f"{second[0]}_{int(second[1]):04}"))
    return pairs


def lfw90(faces: Path, names: Iterable[str]) -> Iterator[Photograph]:
    """Read crops of 90 x 90 px from `lfw90.zip`."""
    with zipfile.ZipFile(faces / "lfw90.zip") as archive:
        for name in sorted(set(names)):
            person = name.rpartition("_")[0]
            data = archive.read(f"lfw90/{person}/{name}.jpg")
            yield Photograph(name=name, person=person, data=data)


def run(engine: Engine, faces: Path, sets: Sequence[str]) -> Iterator[Counts]:
    """Judge all pairs of the sets asked for: families, people, lfw10, lfw90."""
    if "families" in sets:
        looked = look(engine, families(faces))
        adults = [one for one in looked if not any(child in one.name for child in CHILDREN)]
        yield judge_pairs(engine, "families, adults", combinations(adults, 2))
        yield judge_pairs(engine, "families, all", combinations(looked, 2))
    if "people" in sets:
        looked = look(engine, people(faces))
        whole = [one for one in looked if "partial" not in one.name]
        cut = [one for one in looked if "partial" in one.name]
        yield judge_pairs(engine, "people", combinations(whole, 2))
        against = ((reference, probe) for reference in whole for probe in cut)
        yield judge_pairs(engine, "people, cut through the face", against)
    if "lfw10" in sets:
        yield judge_pairs(engine, "lfw10", combinations(look(engine, lfw10(faces)), 2))
    if "lfw90" in sets:
        pairs = lfw90_pairs(faces)
        crops = look(engine, lfw90(faces, (name for pair in pairs for name in pair)))
        by_name = {one.name: one for one in crops}
        named = ((by_name[first], by_name[second]) for first, second in pairs)
        yield judge_pairs(engine, "lfw90, folds 1-5", named)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the rates of each set; exit code 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("--faces", type=Path, required=True, help="folder of the photographs")
    parser.add_argument("--pack", default="open")
    parser.add_argument("--profile", default=None, help="threshold profile: name or path")
    parser.add_argument("--sets", nargs="+", default=["families", "people", "lfw10", "lfw90"])
    parser.add_argument("--json", action="store_true", help="print JSON Lines")
    given = parser.parse_args(argv)
    engine = measured_engine(given.pack, given.profile)
    with told_on_stderr() as tell:
        found: list[Counts] = []
        for number, name in enumerate(given.sets):
            tell(number / len(given.sets), name)
            found += run(engine, given.faces, [name])
    for counts in found:
        if given.json:
            line = {"pack": given.pack, "profile": engine.profile.version} | counts.to_json()
            sys.stdout.write(json.dumps(line) + "\n")
        else:
            sys.stdout.write(_told(counts))
    return 0


def _told(counts: Counts) -> str:
    rates = ", ".join(
        f"{name} {'-' if rate is None else f'{rate:.2%}'}" for name, rate in counts.rates().items()
    )
    size = f"{counts.genuine} genuine, {counts.impostor} impostor pairs"
    return f"{counts.set}: {size}: {rates}\n" + "".join(f"  {line}\n" for line in counts.errors)


if __name__ == "__main__":
    sys.exit(main())
