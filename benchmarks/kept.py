"""Accuracy kept: what the small looks and the rewritten graphs cost, against neither.

``python -m benchmarks.kept --faces DIR --pack open > kept.json``

The same photographs go through production's engine and through one that detects at full
resolution and runs every graph as it was prepared. Each side gets its own threshold, at FMR 1e-4
over all pairs of different persons; the FNMR is that of all pairs of one person (`paired`). A
photograph without a usable face on one side misses all its pairs there. Persons: those of `lfw90`
(1 680 of them with two pictures or more), and of `lfw10`, `families`, `people`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args
from unittest.mock import patch

import numpy as np

from benchmarks.accuracy import BATCH, Photograph, families, lfw10, people
from benchmarks.paired import Album, Difference, compare
from benchmarks.targets import KEPT_PP
from benchmarks.timing import Json, told_on_stderr
from verifier.clock import work_time_ms
from verifier.errors import InferenceFailed
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
PICTURES: Final = 6
"""Of one person of `lfw90`, at most: half of them have no more than two, and those decide."""
CROPS: Final = "lfw90"

Step = Callable[[int], None]
"""Told how many photographs are done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One engine's vectors of the photographs in which it found a usable face."""

    vectors: dict[str, NDArray[np.float32]]
    failed: int
    """Photographs without a usable face."""

    def stacked(self, photographs: Sequence[Photograph]) -> NDArray[np.float32]:
        """Give the vectors (n, d) of some photographs; zeros where there is none."""
        size = len(next(iter(self.vectors.values())))
        nothing = np.zeros(size, dtype=np.float32)
        return np.stack([self.vectors.get(one.name, nothing) for one in photographs])


def embed_all(engine: Engine, photographs: Sequence[Photograph], step: Step) -> Side:
    """Embed the face of each photograph, as an enrolment that is not strict would."""
    vectors: dict[str, NDArray[np.float32]] = {}
    for start in range(0, len(photographs), BATCH):
        some = photographs[start : start + BATCH]
        frames: list[Frame] = [decode(one.data) for one in some]
        for one, evidence in zip(some, engine.assess(frames, liveness=False), strict=True):
            if evidence.embedding is not None:
                vectors[one.name] = evidence.embedding
        step(len(some))
    if not vectors:
        raise InferenceFailed("Not one photograph shows a usable face.")
    return Side(vectors=vectors, failed=len(photographs) - len(vectors))


def crops(faces: Path, persons: int | None) -> Iterator[Photograph]:
    """Give up to `PICTURES` crops of each person of `lfw90`; who has one is an impostor only.

    Of all persons, or of `persons` who have several and as many who have one, drawn with `SEED`.
    """
    with zipfile.ZipFile(faces / f"{CROPS}.zip") as archive:
        by_person: dict[str, list[str]] = {}
        for name in sorted(n for n in archive.namelist() if n.endswith(".jpg")):
            by_person.setdefault(Path(name).parent.name, []).append(name)
        chance = random.Random(SEED)  # noqa: S311 - a sample of a benchmark, not a secret
        for several in (True, False):
            some = [one for one, names in by_person.items() if (len(names) > 1) is several]
            if persons is not None and persons < len(some):
                some = sorted(chance.sample(some, persons))
            for person in some:
                for name in by_person[person][:PICTURES]:
                    stem = f"{CROPS}/{Path(name).stem}"
                    yield Photograph(name=stem, person=person, data=archive.read(name))


def load_as_prepared(pack: str) -> Pack:
    """Load a pack whose graphs are those of its files, byte by byte, on onnxruntime's CPU.

    Raises InferenceFailed where any of them is not.
    """
    with opened_graphs() as opened:
        loaded = load_pack(pack, Store.default(), Runtime("cpu", threads=1, rewrites=False))
    require_as_prepared(loaded, opened)
    return loaded


@contextmanager
def opened_graphs() -> Iterator[set[str]]:
    """Give the digests of all graphs that onnxruntime opens while this is open."""
    import onnxruntime  # noqa: PLC0415 - one of two extras

    opened: set[str] = set()
    open_session = onnxruntime.InferenceSession

    def noted(graph: object, *args: Any, **kwargs: Any) -> Any:
        content = graph if isinstance(graph, bytes) else str(graph).encode()
        opened.add(hashlib.sha256(content).hexdigest())
        return open_session(graph, *args, **kwargs)

    with patch.object(onnxruntime, "InferenceSession", noted):
        yield opened


def require_as_prepared(pack: Pack, opened: set[str]) -> None:
    """Raise InferenceFailed unless `opened` are the digests of the pack's files, and no others.

    Else this benchmark would compare rewritten graphs with themselves, and find no difference.
    """
    wanted = {model.partition("@")[2] for model in pack.models.values()}
    if opened != wanted:
        raise InferenceFailed(
            f"{len(wanted - opened)} of {len(wanted)} graphs of the pack {pack.name} were not run"
            " as they were prepared.",
            remedy="Graphs are rewritten elsewhere now: let benchmarks/kept.py (load_as_prepared)"
            " switch that off.",
        )


def measure(
    faces: Path, pack: str, persons: int | None, provider: Provider, tell: Callable[..., None]
) -> Json:
    """Run both engines over the photographs; gives what is printed."""
    start_ms = work_time_ms()
    sets = {
        "lfw10": list(lfw10(faces)),
        "families": list(families(faces)),
        "people": list(people(faces)),
        CROPS: list(crops(faces, persons)),
    }
    photographs = [one for some in sets.values() for one in some]
    sources = [name for name, some in sets.items() for _ in some]
    profile = load_profile(None)
    # First: what it refuses to measure, it refuses before the long work.
    plain = load_as_prepared(pack)
    production = load_pack(pack, Store.default(), Runtime(provider, threads=1))
    sides = []
    for number, (words, engine) in enumerate(
        (
            ("production", Engine(production, profile)),
            ("full", Engine(plain, profile, savings=Savings(small_looks=False))),
        )
    ):
        done = number * len(photographs)

        def step(units: int, words: str = words) -> None:
            nonlocal done
            done += units
            tell(done / (2 * len(photographs)), words)

        sides.append(embed_all(engine, photographs, step))
    found = difference_of(photographs, sources, sides[0], sides[1])
    return _told(found, sides) | {
        "pack": pack,
        "provider": provider,
        "photographs": len(photographs),
        "seconds": round((work_time_ms() - start_ms) / 1_000),
    }


def difference_of(
    photographs: Sequence[Photograph], sources: Sequence[str], production: Side, full: Side
) -> Difference:
    """Compare the sides on all photographs, those that one of them lost among them."""
    return compare(
        Album(person=[one.person for one in photographs], source=sources),
        production.stacked(photographs),
        full.stacked(photographs),
        fmr=FMR,
        replicates=REPLICATES,
        seed=SEED,
        margin_pp=KEPT_PP,
    )


def _told(found: Difference, sides: Sequence[Side]) -> Json:
    mine, other = (set(side.vectors) for side in sides)
    return asdict(found) | {
        "fmr": FMR,
        "failed": [side.failed for side in sides],
        "failed_alone": [len(other - mine), len(mine - other)],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print one JSON object, progress on stderr; exit code 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kept", description=__doc__)
    parser.add_argument("--faces", type=Path, required=True, help="folder of the photographs")
    parser.add_argument("--pack", default="open")
    parser.add_argument(
        "--persons", type=int, default=None, help="of lfw90 with several pictures (default: all)"
    )
    parser.add_argument(
        "--provider", default="cpu", choices=get_args(Provider), help="of production's engine"
    )
    given = parser.parse_args(argv)
    with told_on_stderr() as tell:
        found = measure(given.faces, given.pack, given.persons, given.provider, tell)
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
