"""People who sit still before a fixed camera: the room does not move, the head hardly.

``python -m benchmarks.seated`` films them on several days, compares each picture with all that were
shown before as `verifier.streaming.replay` does, and tells how often honest learners are doubted or
accused, by how far they sway, and which replays of them are known. Photographs are real, movement,
light, noise and encoder are simulated. With ``--kept FILE`` fingerprints are taken up again.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from benchmarks.frames import find_faces
from benchmarks.timing import Json
from benren.demo.cameras import PHONE_LENS, VGA, Camera, Handheld, Lens, as_picture, read_photograph
from benren.demo.motion import Sway
from verifier.clock import ManualClock, work_time_ms
from verifier.pipeline.fingerprint import BYTES, fingerprint
from verifier.streaming.replay import ALARM, RECENT, SAME_EARLIER, SAME_HERE, ReplayWatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benren.demo.cameras import Picture, Scene

    Prints = NDArray[np.uint8]

PERIOD_S: Final = 5.0
DAY_FRAMES: Final = 360
"""Half an hour."""
SWAYS: Final = (0.003, 0.005, 0.01, 0.02, 0.03)
"""Of the width of the frame, each way."""
LENS: Final = Lens(exposure=0.01, blur_px=0.3, noise=2.0, jpeg_quality=75)
"""A fixed camera by lamp light."""
HELD: Final = 0.0
"""Instead of a sway: the telephone is in the hand."""
_HEAD_PX: Final = 350
"""Side of a photograph of LFW (250) in the frame: the head takes a quarter of the width."""


class Seated:
    """Somebody at a desk. Head and shoulders are layers over a room that never moves."""

    def __init__(
        self, person: Path, room: Path, *, sway: float, seed: int, settles: bool = False
    ) -> None:
        """`sway` as a share of the width; `seed` is the day. Who `settles` sits anew at times."""
        width, height = VGA
        self._room = as_picture(
            cv2.GaussianBlur(cv2.resize(read_photograph(room).pixels, VGA), (0, 0), 2.0)
        )
        photograph = read_photograph(person).pixels
        self._body = _layer(
            as_picture(cv2.GaussianBlur(cv2.resize(photograph, VGA), (0, 0), 3.0)),
            centre=(width // 2, 460),
            axes=(190, 150),
        )
        canvas = np.zeros((height, width, 3), np.uint8)
        head = cv2.resize(photograph, (_HEAD_PX, _HEAD_PX), interpolation=cv2.INTER_CUBIC)
        left, top = (width - _HEAD_PX) // 2, 215 - _HEAD_PX // 2
        canvas[top : top + _HEAD_PX, left : left + _HEAD_PX] = head
        self._head = _layer(canvas, centre=(width // 2, 215), axes=(85, 115))
        rng = np.random.default_rng(seed)
        self._place = rng.normal(0, (0.02 * width, 0.015 * height))
        self._size = 1 + float(rng.normal(0, 0.02))
        self._ramp = float(rng.normal(0, 0.015))
        self._x, self._y = Sway(sway * width, seed), Sway(0.7 * sway * width, seed + 1)
        self._tilt, self._scale = Sway(150 * sway, seed + 2), Sway(sway, seed + 3)
        self._light = Sway(0.015, seed + 4)
        self._seats = _seats(seed, width) if settles else ()
        self._seed = seed
        across = np.linspace(0, 255, width, dtype=np.float32)
        self._gradient = as_picture(
            np.repeat(np.tile(np.rint(across), (height, 1))[..., None], 3, 2).astype(np.uint8)
        )

    def paint(self, n: int, t_s: float) -> Picture:
        """Paint the person at `t_s`; `n` is the small jitter of reading and breathing."""
        rng = np.random.default_rng((self._seed, round(t_s * 1_000)))
        jitter = rng.normal(0, 0.0005 * VGA[0], 2)
        seat = next((place for start, place in reversed(self._seats) if start <= t_s), (0.0, 0.0))
        x = self._place[0] + seat[0] + self._x.at(t_s)
        y = self._place[1] + seat[1] + self._y.at(t_s)
        tilt, scale = self._tilt.at(t_s), self._size * (1 + self._scale.at(t_s))
        picture = _laid(self._room, self._body, (0.3 * x, 0.3 * y))
        place = (x + float(jitter[0]), y + float(jitter[1]))
        picture = _laid(picture, self._head, place, tilt=tilt, scale=scale)
        ramp = self._ramp + self._light.at(t_s)
        return as_picture(cv2.addWeighted(picture, 1.0, self._gradient, ramp, -128.0 * ramp))


def _seats(seed: int, width: int) -> tuple[tuple[float, tuple[float, float]], ...]:
    """Where somebody sits from when on: anew every three minutes or so, by a hundredth."""
    rng = np.random.default_rng((seed, 7))
    starts = np.cumsum(rng.exponential(180.0, 64))
    places = rng.normal(0, 0.01 * width, (64, 2))
    return tuple(
        (float(start), (float(x), float(y))) for start, (x, y) in zip(starts, places, strict=True)
    )


@dataclass(frozen=True, slots=True)
class _Layer:
    """A part of a picture, multiplied by where it is opaque."""

    pixels: Picture
    opaque: Picture


def _layer(pixels: Picture, *, centre: tuple[int, int], axes: tuple[int, int]) -> _Layer:
    opaque = np.zeros_like(pixels)
    cv2.ellipse(opaque, centre, axes, 0, 0, 360, (255, 255, 255), -1)
    opaque = as_picture(cv2.GaussianBlur(opaque, (0, 0), 5.0))
    return _Layer(as_picture(cv2.multiply(pixels, opaque, scale=1 / 255)), opaque)


def _laid(
    under: Picture,
    layer: _Layer,
    place: tuple[float, float],
    *,
    tilt: float = 0.0,
    scale: float = 1.0,
) -> Picture:
    """Lay a layer over a picture, moved, turned and scaled."""
    matrix = cv2.getRotationMatrix2D((VGA[0] / 2, 215.0), tilt, scale)
    matrix[:, 2] += np.array(place)
    pixels = cv2.warpAffine(layer.pixels, matrix, VGA, flags=cv2.INTER_LINEAR)
    opaque = cv2.warpAffine(layer.opaque, matrix, VGA, flags=cv2.INTER_LINEAR)
    rest = cv2.multiply(under, cv2.bitwise_not(opaque), scale=1 / 255)
    return as_picture(cv2.add(rest, pixels))


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """Fingerprints of one person's days, (n, 64) uint8 each."""

    earlier: tuple[Prints, ...]
    today: Prints
    """Honest, of another day."""
    again: Prints
    """The last of the earlier days, encoded anew."""
    between: Prints
    """The same recording, between the instants at which it was sampled."""
    frozen: Prints
    """One instant of it, with fresh noise."""


def film(
    faces: Path,
    number: int,
    sway: float,
    *,
    settles: bool,
    days: int,
    frames: int = DAY_FRAMES,
) -> Days:
    """Film one person on `days` days and today."""
    people = sorted(one for one in (faces / "lfw10").iterdir() if one.is_dir())
    person = sorted(people[number % len(people)].glob("*.jpg"))[0]
    room = sorted((faces / "families").glob("*.jpg"))[number % 16]
    cameras = []
    for day in range(days + 1):
        seed = 1_000 * (number + 1) + 20 * day + (500 if settles else 0)
        scene: Scene
        if sway == HELD:
            scene = Handheld([read_photograph(room)], VGA, seed)
            cameras.append(Camera(scene, seed=seed, lens=PHONE_LENS))
        else:
            scene = Seated(person, room, sway=sway, seed=seed, settles=settles)
            cameras.append(Camera(scene, seed=seed, lens=LENS))

    def print_of(job: tuple[int, int, float, bool]) -> bytes:
        day, n, t_s, anew = job
        data = cameras[day].frame(n, t_s)
        if anew:
            quality = [cv2.IMWRITE_JPEG_QUALITY, (80, 60, 45)[n % 3]]
            data = bytes(cv2.imencode(".jpg", _decoded(data, cv2.IMREAD_COLOR), quality)[1])
        return fingerprint(_decoded(data, cv2.IMREAD_REDUCED_COLOR_2))

    def series(jobs: list[tuple[int, int, float, bool]]) -> Prints:
        with ThreadPoolExecutor(2) as pool:
            prints = b"".join(pool.map(print_of, jobs))
        return np.frombuffer(prints, np.uint8).reshape(-1, BYTES)

    instants = [(n, n * PERIOD_S) for n in range(frames)]
    last = days - 1
    return Days(
        earlier=tuple(series([(d, n, t, False) for n, t in instants]) for d in range(days)),
        today=series([(days, n, t, False) for n, t in instants]),
        again=series([(last, n, t, True) for n, t in instants[: frames // 2]]),
        between=series([(last, n, t + PERIOD_S / 2, True) for n, t in instants[: frames // 2]]),
        frozen=series([(last, n, 600.0, False) for n in range(60)]),
    )


def _decoded(data: bytes, how: int) -> Picture:
    return as_picture(np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), how)))


def watched(earlier: bytes, shown: Sequence[bytes], period_ms: int = 5_000) -> Json:
    """Show pictures to a watch; tells how many were doubted and when somebody was accused."""
    watch, clock = ReplayWatch(earlier), ManualClock()
    doubted, accused = 0, []
    for number, one in enumerate(shown):
        clock.advance(period_ms)
        doubted += watch.take(one, str(number), clock.stamp())
        if watch.alarm:
            accused.append(number)
    return {
        "doubted": doubted / len(shown),
        "accused": len(accused) / len(shown),
        "accused_from": accused[0] if accused else None,
    }


def rows(prints: Prints) -> list[bytes]:
    """Give each fingerprint as bytes."""
    return [one.tobytes() for one in prints]


def near(shown: Prints, known: Prints, most: int) -> float:
    """Tell how many pictures have one among `known` that differs in at most `most` signs."""
    found = [int(_differing(one, known).min()) <= most for one in shown]
    return float(np.mean(found))


def _near_own(shown: Prints, most: int) -> float:
    """Tell the same of those of its own day that lie more than 20 s back."""
    return float(np.mean(_like_own(shown, most)))


def _like_own(shown: Prints, most: int) -> list[bool]:
    return [
        number > 4 and int(_differing(one, shown[: number - 4]).min()) <= most
        for number, one in enumerate(shown)
    ]


def _accused_by_distance(shown: Prints, known: Prints) -> float:
    """Tell how often somebody would be accused who resembles himself in every second picture."""
    alike = [
        here or int(_differing(one, known).min()) <= SAME_EARLIER
        for one, here in zip(shown, _like_own(shown, SAME_HERE), strict=True)
    ]
    counts = [sum(alike[max(0, end - RECENT) : end]) for end in range(1, len(alike) + 1)]
    return float(np.mean([count >= ALARM for count in counts]))


def _differing(one: Prints, known: Prints) -> NDArray[np.int64]:
    return np.asarray(np.bitwise_count(known ^ one).sum(axis=1), np.int64)


def told(days: Days) -> Json:
    """Tell what the watch makes of one person's days."""
    known = np.concatenate(days.earlier)
    earlier = known.tobytes()
    honest = rows(days.today)
    shuffled = np.random.default_rng(1).permutation(days.again)
    loop = np.concatenate([days.earlier[-1][:24], days.again[:24]] * 5)
    pairs = [_differing(one, days.today) for one in days.today[::9]]
    copied = days.again ^ days.earlier[-1][: len(days.again)]
    twins = np.asarray(np.bitwise_count(copied).sum(axis=1), np.int64)
    still = [_differing(one, days.frozen) for one in days.frozen[::6]]
    return {
        "own_differ": _levels(np.concatenate(pairs)),
        "encoded_anew_differ": _levels(twins),
        "frozen_differ": _levels(np.concatenate(still)),
        "near_14_of_earlier": near(days.today, known, 14),
        "near_8_of_own": _near_own(days.today, 8),
        "accused_by_distance": _accused_by_distance(days.today, known),
        "honest_first_day": watched(b"", honest),
        "honest": watched(earlier, honest),
        "in_order": watched(earlier, rows(days.again)),
        "from_the_middle": watched(earlier, rows(days.again[len(days.again) // 2 :])),
        "between": watched(earlier, rows(days.between)),
        "shuffled": watched(earlier, rows(shuffled)),
        "loop": watched(b"", rows(loop)),
        "frozen": watched(b"", rows(days.frozen)),
    }


def _levels(values: NDArray[np.int64]) -> list[float]:
    """Give the 1st, 10th, 50th, 90th and 99th percentile."""
    return [round(float(one), 1) for one in np.percentile(values, (1, 10, 50, 90, 99))]


def main(argv: Sequence[str] | None = None) -> int:
    """Film, compare, and print a JSON object for each person and sway."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.seated", description=__doc__)
    parser.add_argument("--people", type=int, default=2)
    parser.add_argument("--days", type=int, default=3)
    parser.add_argument("--sway", type=float, action="append", help="instead of all")
    parser.add_argument("--faces", type=Path, default=None, help="folder of the photographs")
    parser.add_argument("--kept", type=Path, default=None, help="folder of fingerprints")
    parser.add_argument("--most-s", type=float, default=math.inf, help="begin nothing after")
    given = parser.parse_args(argv)
    faces = find_faces(given.faces)
    began_ms = work_time_ms()
    for number in range(given.people):
        for sway in given.sway or [*SWAYS, HELD]:
            for settles in (False, True) if sway != HELD else (False,):
                if work_time_ms() - began_ms > given.most_s * 1_000:
                    return 0
                days = _kept(given.kept, faces, number, sway, settles=settles, days=given.days)
                found = {"person": number, "sway": sway, "settles": settles, **told(days)}
                sys.stdout.write(json.dumps(found) + "\n")
                sys.stdout.flush()
    return 0


def _kept(
    folder: Path | None, faces: Path, number: int, sway: float, *, settles: bool, days: int
) -> Days:
    """Film, or take up again what was filmed."""
    if folder is None:
        return film(faces, number, sway, settles=settles, days=days)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number}-{sway}-{settles:d}-{days}.npz"
    if not path.exists():
        found = film(faces, number, sway, settles=settles, days=days)
        np.savez(
            path,
            *found.earlier,
            today=found.today,
            again=found.again,
            between=found.between,
            frozen=found.frozen,
        )
    with np.load(path) as kept:
        return Days(
            earlier=tuple(kept[f"arr_{day}"] for day in range(days)),
            today=kept["today"],
            again=kept["again"],
            between=kept["between"],
            frozen=kept["frozen"],
        )


if __name__ == "__main__":
    sys.exit(main())
