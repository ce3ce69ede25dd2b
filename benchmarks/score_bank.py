"""A bank of real scores: what the networks say of real persons before simulated cameras.

``python -m benchmarks.score_bank -o FILE`` shows every photograph of ``shared/faces`` but one per
person (his reference) to a hand-held camera, prints and screens of them to the same, and measures
each frame with the engine of production: usable or not, similarity to *every* reference, liveness.
The bank holds these numbers only: no picture, no embedding, no name. Simulated lessons
(`benchmarks.lesson`) draw their frames from it, seat by seat: an error that is tied to a person, to
his glasses or to his light stays tied to him.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final

from session_tracker.events import Outcome

if TYPE_CHECKING:
    from benren.demo.cameras import Photograph, Scene
    from verifier.pipeline.engine import Engine
    from verifier.types import Vector

FORMAT: Final = "benren-scores-1"
SHIPPED: Final = "open.json"
"""Measured with the pack ``open`` on the photographs of shared/faces."""
_FRAMES: Final = {"live": 14, "print": 8, "screen": 8}
_MOST_PHOTOGRAPHS: Final = 7
"""Of one person."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One frame as the networks saw it."""

    usable: bool
    liveness: float
    """Fused over the networks, 0..1."""
    similarity: tuple[float, ...]
    """To the reference of every person, by number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """One person before one camera, or a picture of him: the frames in order of time."""

    person: int
    kind: str
    """``live``, ``print`` or ``screen``."""
    shots: tuple[Shot, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bank:
    """Everything that was measured, and under which thresholds it is judged."""

    models: Mapping[str, str]
    profile: str
    threshold: float
    live_from: float
    spoof_below: float
    persons: int
    seats: tuple[Seat, ...]

    def of(self, kind: str) -> tuple[Seat, ...]:
        """Give the seats of one kind."""
        return tuple(s for s in self.seats if s.kind == kind)

    def judge(self, shots: Sequence[Shot], reference: int, *, passive: bool = True) -> Outcome:
        """Decide as `verifier.pipeline.decide` does; without `passive` liveness has no vote."""
        usable = [s for s in shots if s.usable]
        if not usable:
            return Outcome.NO_EVIDENCE
        similarity = _median([s.similarity[reference] for s in usable])
        liveness = _median([s.liveness for s in usable])
        if passive and liveness < self.spoof_below:
            return Outcome.SPOOF
        if similarity < self.threshold:
            return Outcome.MISMATCH
        if passive and liveness < self.live_from:
            return Outcome.NO_EVIDENCE
        return Outcome.PASS


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def load_bank(path: Path | None = None) -> Bank:
    """Read a bank; the one that comes with the project where none is named."""
    shipped = resources.files("benchmarks") / "scores" / SHIPPED
    text = (path or shipped).read_text(encoding="utf-8")
    data = json.loads(text)
    if data.get("format") != FORMAT:
        raise ValueError(f"{path or SHIPPED} is not a bank of scores ({FORMAT})")
    return Bank(
        models=data["models"],
        profile=data["profile"],
        threshold=data["threshold"],
        live_from=data["live_from"],
        spoof_below=data["spoof_below"],
        persons=data["persons"],
        seats=tuple(
            Seat(
                person=seat["person"],
                kind=seat["kind"],
                shots=tuple(
                    Shot(bool(shot[0]), shot[1] / 1_000, tuple(s / 1_000 for s in shot[2:]))
                    for shot in seat["shots"]
                ),
            )
            for seat in data["seats"]
        ),
    )


# --- building one: needs the pack and the photographs ---------------------------------------------


def persons_in(faces: Path) -> Iterator[tuple[Path, ...]]:
    """Give the photographs of each person, the first of whom is to be the reference."""
    for folder in sorted(p for p in (faces / "lfw10").iterdir() if p.is_dir()):
        yield tuple(sorted(folder.glob("*.jpg")))
    for folder in sorted(p for p in (faces / "people").iterdir() if p.is_dir()):
        yield tuple(p for p in sorted(folder.iterdir()) if not p.name.startswith("partial"))
    by_name: dict[str, list[Path]] = {}
    for path in sorted((faces / "families").glob("*.jpg")):
        # Family2-Man1 and -Man2 may be two brothers.
        name = path.stem if path.stem.startswith("Family2") else re.sub(r"\d+$", "", path.stem)
        by_name.setdefault(name, []).append(path)
    yield from (tuple(paths) for paths in by_name.values())


def build(engine: Engine, faces: Path) -> Bank:
    """Measure every seat. Takes minutes."""
    from benren.demo.cameras import read_photograph  # noqa: PLC0415 - heavy

    enrolled: list[Vector] = []
    shown: list[tuple[int, str, int, Photograph]] = []
    for paths in persons_in(faces):
        vector, rest = _reference(engine, paths)
        if vector is None:
            continue
        number = len(enrolled)
        enrolled.append(vector)
        for path in rest[:_MOST_PHOTOGRAPHS]:
            shown.append((number, "live", len(shown), read_photograph(path)))
        held_up = [p for p in paths if p not in rest][:1] + list(rest[:1])
        for path in held_up:
            for kind in ("print", "screen"):
                shown.append((number, kind, len(shown), read_photograph(path)))
    seats = []
    for number, kind, seed, photograph in shown:
        shots = tuple(_shots(engine, _scene(kind, photograph, seed), seed, _FRAMES[kind], enrolled))
        seats.append(Seat(person=number, kind=kind, shots=shots))
        sys.stderr.write(f"\r{len(seats)} of {len(shown)} seats")
    sys.stderr.write("\n")
    thresholds = engine.profile.liveness
    embedder = engine.models["embedder"].split("@")[0]
    return Bank(
        models=dict(engine.models),
        profile=engine.profile.version,
        threshold=engine.profile.for_embedder(embedder).threshold,
        live_from=thresholds.live_from,
        spoof_below=thresholds.spoof_below,
        persons=len(enrolled),
        seats=tuple(seats),
    )


def _reference(engine: Engine, paths: Sequence[Path]) -> tuple[Vector | None, list[Path]]:
    """Enrol the first photograph that may serve as a template; give the others."""
    from verifier.pipeline.intake import decode  # noqa: PLC0415

    for path in paths:
        enrolment = engine.enrol(decode(path.read_bytes()), strict=True)
        if enrolment.embedding is not None:
            return enrolment.embedding, [p for p in paths if p != path]
    return None, []


def _scene(kind: str, photograph: Photograph, seed: int) -> Scene:
    from benren.demo.attacks import on_screen, printed  # noqa: PLC0415
    from benren.demo.cameras import PHONE, Handheld  # noqa: PLC0415

    if kind == "live":
        return Handheld([photograph], PHONE, seed)
    return (printed if kind == "print" else on_screen)(photograph, PHONE, seed)


def _shots(
    engine: Engine, scene: Scene, seed: int, frames: int, enrolled: Sequence[Vector]
) -> Iterable[Shot]:
    import numpy as np  # noqa: PLC0415

    from benren.demo.cameras import Camera  # noqa: PLC0415
    from verifier.pipeline.intake import decode  # noqa: PLC0415

    camera = Camera(scene, seed=seed)
    taken = [decode(camera.frame(n, 5.0 * n)) for n in range(frames)]
    for at in range(0, len(taken), 4):
        for one in engine.assess(taken[at : at + 4]):
            vector = one.embedding
            similar = (
                (0.0,) * len(enrolled)
                if vector is None
                else tuple(float(np.dot(vector, reference)) for reference in enrolled)
            )
            yield Shot(one.usable, one.liveness_score or 0.0, similar)


def as_json(bank: Bank) -> str:
    """Write a bank down, a line per seat."""
    head = {
        "format": FORMAT,
        "models": dict(bank.models),
        "profile": bank.profile,
        "threshold": bank.threshold,
        "live_from": bank.live_from,
        "spoof_below": bank.spoof_below,
        "persons": bank.persons,
    }
    lines = ",\n".join(
        json.dumps(
            {
                "person": seat.person,
                "kind": seat.kind,
                "shots": [
                    [int(s.usable), round(s.liveness * 1_000)]
                    + [round(value * 1_000) for value in s.similarity]
                    for s in seat.shots
                ],
            },
            separators=(",", ":"),
        )
        for seat in bank.seats
    )
    return json.dumps(head, indent=1)[:-2] + ',\n "seats": [\n' + lines + "\n]}\n"


def main(arguments: list[str]) -> int:
    """Measure a bank and write it to a file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.score_bank", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--pack", default="open")
    parser.add_argument("--faces", type=Path, default=Path("../shared/faces"))
    options = parser.parse_args(arguments)
    from benchmarks.engines import measured_engine  # noqa: PLC0415

    bank = build(measured_engine(options.pack), options.faces)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(as_json(bank), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
