"""Accuracy kept: what the small looks and the rewritten graphs cost, against neither.

``python -m benchmarks.kept --faces DIR --pack open``

The same photographs go through production's engine and through one that detects at full
resolution and runs every graph as it was prepared. Each side gets its own threshold, at FMR 1e-4
over all pairs of different persons (`lfw10`, `families`, `people`, and one crop of each of many
persons of `lfw90`). The FNMR over all pairs of one person of the first three is compared by a
paired bootstrap over persons: both sides count the same draws.
"""

from __future__ import annotations

import argparse
import json
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

import numpy as np

from benchmarks.accuracy import BATCH, Photograph, families, lfw10, people
from verifier.models.packs import Pack, load_pack
from verifier.models.runtime import Provider, Runtime
from verifier.models.store import Store
from verifier.pipeline.engine import Engine
from verifier.pipeline.intake import decode
from verifier.pipeline.profile import load_profile
from verifier.pipeline.savings import Savings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from verifier.types import Frame

FMR: Final = 1e-4
REPLICATES: Final = 2_000
SEED: Final = 20_261_125


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One engine's vectors of the photographs in which it found a usable face."""

    vectors: dict[str, NDArray[np.float32]]
    failed: int
    """Photographs without a usable face."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Both sides, and the difference."""

    pack: str
    persons: int
    genuine: int
    impostor: int
    threshold: tuple[float, float]
    """Of production, of full resolution."""
    fnmr: tuple[float, float]
    difference_pp: float
    """FNMR of production less that of full resolution, percentage points."""
    interval_pp: tuple[float, float]
    failed: tuple[int, int]


def embed_all(engine: Engine, photographs: Sequence[Photograph]) -> Side:
    """Embed the face of each photograph, as an enrolment that is not strict would."""
    vectors: dict[str, NDArray[np.float32]] = {}
    failed = 0
    for start in range(0, len(photographs), BATCH):
        some = photographs[start : start + BATCH]
        frames: list[Frame] = [decode(one.data) for one in some]
        for one, evidence in zip(some, engine.assess(frames, liveness=False), strict=True):
            if evidence.embedding is None:
                failed += 1
            else:
                vectors[one.name] = evidence.embedding
    return Side(vectors=vectors, failed=failed)


def many_persons(faces: Path, count: int) -> Iterator[Photograph]:
    """Give the first crop of each of `count` persons of `lfw90`, spread over the alphabet."""
    with zipfile.ZipFile(faces / "lfw90.zip") as archive:
        names = sorted(n for n in archive.namelist() if n.endswith("_0001.jpg"))
        for name in names[:: max(1, len(names) // count)][:count]:
            stem = Path(name).stem
            yield Photograph(name=f"90/{stem}", person=stem[:-5], data=archive.read(name))


def compare(
    photographs: Sequence[Photograph], genuine_of: frozenset[str], production: Side, full: Side
) -> tuple[tuple[float, float], tuple[float, float], float, tuple[float, float], int, int, int]:
    """Compare the sides on the photographs that both could use.

    `genuine_of` names the photographs whose pairs count for the FNMR.
    """
    used = [p for p in photographs if p.name in production.vectors and p.name in full.vectors]
    person = np.array([p.person.lower() for p in used])
    same = person[:, None] == person[None, :]
    upper = np.triu(np.ones_like(same), 1)
    counted = np.array([p.name in genuine_of for p in used])
    genuine = same & upper & counted[:, None] & counted[None, :]
    impostor = ~same & upper
    first, _ = np.nonzero(genuine)
    names, owner = np.unique(person[first], return_inverse=True)
    thresholds, misses = [], []
    for side in (production, full):
        stacked = np.stack([side.vectors[p.name] for p in used])
        scores = stacked @ stacked.T
        threshold = float(np.quantile(scores[impostor], 1 - FMR))
        thresholds.append(threshold)
        misses.append(scores[genuine] < threshold)
    rng = np.random.default_rng(SEED)
    draws = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), REPLICATES)
    weights = draws[:, owner]
    difference = (weights * (misses[0].astype(int) - misses[1])).sum(1) / weights.sum(1)
    low, high = (float(100 * q) for q in np.quantile(difference, (0.025, 0.975)))
    rates = (float(misses[0].mean()), float(misses[1].mean()))
    return (
        (thresholds[0], thresholds[1]),
        rates,
        100 * (rates[0] - rates[1]),
        (low, high),
        len(names),
        int(genuine.sum()),
        int(impostor.sum()),
    )


def measure(faces: Path, pack: str, persons: int, provider: Provider = "cpu") -> Kept:
    """Run both engines over the photographs."""
    mated = [*lfw10(faces), *families(faces), *people(faces)]
    photographs = [*mated, *many_persons(faces, persons)]
    profile = load_profile(None)
    production = embed_all(Engine(_load(pack, provider), profile), photographs)
    plain = _load(pack, "cpu", rewrites=False)
    full = embed_all(Engine(plain, profile, savings=Savings(small_looks=False)), photographs)
    names = frozenset(p.name for p in mated)
    threshold, fnmr, difference, interval, count, genuine, impostor = compare(
        photographs, names, production, full
    )
    return Kept(
        pack=pack,
        persons=count,
        genuine=genuine,
        impostor=impostor,
        threshold=threshold,
        fnmr=fnmr,
        difference_pp=difference,
        interval_pp=interval,
        failed=(production.failed, full.failed),
    )


def _load(pack: str, provider: Provider, *, rewrites: bool = True) -> Pack:
    return load_pack(pack, Store.default(), Runtime(provider, threads=1, rewrites=rewrites))


def main(argv: Sequence[str] | None = None) -> int:
    """Print one JSON object; exit code 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kept", description=__doc__)
    parser.add_argument("--faces", type=Path, required=True, help="folder of the photographs")
    parser.add_argument("--pack", default="open")
    parser.add_argument("--persons", type=int, default=1_500, help="of lfw90, for the threshold")
    parser.add_argument(
        "--provider", default="cpu", choices=get_args(Provider), help="of production's engine"
    )
    given = parser.parse_args(argv)
    found = measure(given.faces, given.pack, given.persons, given.provider)
    sys.stdout.write(json.dumps({n: getattr(found, n) for n in found.__slots__}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
