"""Passive liveness: sample images, and simulated hand-held cameras, prints and screens.

``python -m benchmarks.liveness --faces DIR --pack open --json``

Rates by ISO/IEC 30107-3: APCER per attack type (the headline is the worst), BPCER. An image that
is not called *live* counts as rejected; what was left undecided is told apart. The simulation is
the demo's: it shows edges, moiré and loss of contrast, no real printer, so that it bounds nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.engines import measured_engine
from benchmarks.timing import told_on_stderr
from benren.demo.attacks import on_screen, printed
from benren.demo.cameras import PHONE, VGA, Camera, Handheld, Photograph, Size
from verifier.pipeline import liveness
from verifier.pipeline.intake import decode
from verifier.types import Frame, LivenessDecision, LivenessResult

if TYPE_CHECKING:
    from benren.demo.cameras import Scene
    from verifier.pipeline.engine import Engine
    from verifier.types import Face

BURST = 5
"""Frames of one check."""
SPACING_S = 5.0
"""Between them, in lesson time."""
KINDS = 6
"""Rows of the simulation: three kinds of presentation, in pictures and in bursts."""
WINDOW_FACES = 2.2
"""A simulated camera sees at most this many face heights of a photograph."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Outcomes of one kind of presentation."""

    kind: str
    unit: str
    """``image``, or ``burst`` of five frames."""
    presentations: int
    persons: int
    """Who is shown: presentations of one person are not independent."""
    live: int
    undecided: int
    spoof: int
    no_face: int

    @property
    def bona_fide(self) -> bool:
        """Whether these are living people, by the name of the kind."""
        return "bona fide" in self.kind

    def error_rates(self) -> dict[str, float]:
        """Give BPCER (not live of the living) or APCER (live of the attacks)."""
        if self.bona_fide:
            return {
                "bpcer": 1 - self.live / self.presentations,
                "bona_fide_called_spoof": self.spoof / self.presentations,
            }
        return {"apcer": self.live / self.presentations}


def samples(engine: Engine, faces: Path) -> Iterator[tuple[str, LivenessResult]]:
    """Judge each image of `spoof_samples/` alone: name with folder, and result."""
    for path in sorted((faces / "spoof_samples").glob("*/*.*")):
        frame = decode(path.read_bytes())
        yield f"{path.parent.name}/{path.name}", judge_burst(engine, [frame])[1]


def judge_burst(engine: Engine, frames: Sequence[Frame]) -> tuple[list[float], LivenessResult]:
    """Score the frames and judge them together, without a look at their quality."""
    evidence = engine.assess(frames, embed=False)
    scores = [one.liveness_score for one in evidence if one.liveness_score is not None]
    return scores, liveness.judge(scores, engine.profile.liveness)


def simulated(engine: Engine, faces: Path) -> Iterator[Rates]:
    """Judge simulated presentations of every photograph of `families/` and `people/`."""
    paths = sorted((faces / "families").glob("*.jpg"))
    paths += [p for p in sorted((faces / "people").glob("*/*.*")) if "partial" not in p.name]
    photographs = [_windowed(engine, path) for path in paths]
    persons = len({_person(path) for path in paths})
    kinds: dict[str, Callable[[Photograph, Size, int], Scene]] = {
        "simulated, bona fide": lambda photograph, size, seed: Handheld([photograph], size, seed),
        "simulated print": printed,
        "simulated screen": on_screen,
    }
    for kind, scene in kinds.items():
        singles: list[LivenessResult] = []
        bursts: list[LivenessResult] = []
        for seed, photograph in enumerate(photographs):
            for size in (PHONE, VGA):
                camera = Camera(scene(photograph, size, seed), seed=seed)
                frames = [decode(camera.frame(n, n * SPACING_S)) for n in range(BURST)]
                scores, result = judge_burst(engine, frames)
                padded: list[list[float]] = [[score] for score in scores]
                padded += [[]] * (BURST - len(scores))
                singles += [liveness.judge(one, engine.profile.liveness) for one in padded]
                bursts.append(result)
        yield _counted(kind, "image", singles, persons)
        yield _counted(kind, "burst", bursts, persons)


def _person(path: Path) -> str:
    """Name whom a photograph shows, as `accuracy` reads the two folders."""
    return path.stem.rstrip("0123456789") if path.parent.name == "families" else path.parent.name


def _counted(kind: str, unit: str, results: Sequence[LivenessResult], persons: int) -> Rates:
    scored = [result.decision for result in results if result.score is not None]
    return Rates(
        kind=kind,
        unit=unit,
        presentations=len(results),
        persons=persons,
        live=scored.count(LivenessDecision.LIVE),
        undecided=scored.count(LivenessDecision.UNDECIDED),
        spoof=scored.count(LivenessDecision.SPOOF),
        no_face=len(results) - len(scored),
    )


def _windowed(engine: Engine, path: Path) -> Photograph:
    """Cut a photograph around its face, as a camera at arm's length would see it."""
    frame = decode(path.read_bytes())
    (found,) = engine.detect([frame])
    if not found:
        raise SystemExit(f"{path}: no face found")
    return Photograph(pixels=frame.pixels, window=window_around(frame, found[0]))


def window_around(frame: Frame, face: Face) -> tuple[float, float, float, float]:
    """Give left, top, right, bottom, as fractions, of a window around the face."""
    rows, columns = frame.pixels.shape[:2]
    x, y, width, height = face.box
    tall = min(float(rows), WINDOW_FACES * height)
    wide = min(float(columns), tall)
    left = min(max(x + width / 2 - wide / 2, 0.0), columns - wide)
    top = min(max(y + height / 2 - tall / 2, 0.0), rows - tall)
    return left / columns, top / rows, (left + wide) / columns, (top + tall) / rows


def main(argv: Sequence[str] | None = None) -> int:
    """Print the judgement of each sample and the rates of each simulation; exit code 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.liveness", description=__doc__)
    parser.add_argument("--faces", type=Path, required=True, help="folder of the photographs")
    parser.add_argument("--pack", default="open")
    parser.add_argument("--profile", default=None, help="threshold profile: name or path")
    parser.add_argument("--json", action="store_true", help="print JSON Lines")
    given = parser.parse_args(argv)
    engine = measured_engine(given.pack, given.profile)
    head = {"pack": given.pack, "profile": engine.profile.version}
    for name, result in samples(engine, given.faces):
        right = (result.decision is LivenessDecision.LIVE) == name.startswith("real/")
        told = {"image": name, "decision": result.decision, "score": result.score, "right": right}
        _write(head | told, as_json=given.json)
    with told_on_stderr() as tell:
        tell(0.0, "simulated presentations")
        rows = []
        for rates in simulated(engine, given.faces):
            rows.append(rates)
            tell(len(rows) / KINDS, rates.kind)
    for rates in rows:
        _write(head | asdict(rates) | rates.error_rates(), as_json=given.json)
    return 0


def _write(line: dict[str, object], *, as_json: bool) -> None:
    text = json.dumps(line) if as_json else "  ".join(f"{k} {v}" for k, v in line.items())
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
