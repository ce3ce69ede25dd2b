"""People before a fixed camera, and what the watch over replays makes of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.seated import Seated, film, near, rows, told, watched
from benren.demo.cameras import VGA

FRAMES = 96


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Something with structure of every size in the places of a person and a room."""
    rng = np.random.default_rng(1)
    for place, side in (("lfw10/Nobody/1.jpg", 250), ("families/room.jpg", 480)):
        total = np.full((side, side, 3), 128, np.float32)
        for width in (4, 8, 16, 32):
            grid = rng.normal(0, 60 / width**0.5, (width, width, 3)).astype(np.float32)
            total += cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC)
        (tmp_path / place).parent.mkdir(parents=True)
        cv2.imwrite(str(tmp_path / place), np.clip(total, 0, 255))
    return tmp_path


def test_the_room_stands_still_and_the_head_moves(faces: Path) -> None:
    """At the edge of the picture nothing changes but the light, in the middle the head does."""
    person, room = faces / "lfw10/Nobody/1.jpg", faces / "families/room.jpg"
    seated = Seated(person, room, sway=0.02, seed=1)
    first, later = (seated.paint(0, t_s).astype(int) for t_s in (0.0, 20.0))
    changed = np.abs(first - later)
    assert changed[:40].max() <= 8
    assert changed[120:320, 240:400].mean() > 5
    assert first.shape == (VGA[1], VGA[0], 3)


@pytest.mark.parametrize("sway", [0.003, 0.01])
def test_honest_learners_are_not_accused_and_a_frozen_picture_is(faces: Path, sway: float) -> None:
    """Who sits still at the same desk resembles himself, day after day."""
    days = film(faces, 0, sway, settles=False, days=2, frames=FRAMES)
    found = told(days)
    assert found["accused_by_distance"] > 0.5
    assert found["honest"]["accused"] == found["honest_first_day"]["accused"] == 0.0
    assert found["honest"]["doubted"] < 0.5
    assert found["frozen"]["doubted"] > 0.8
    assert found["frozen"]["accused_from"] is not None


def test_a_recording_of_somebody_who_moves_is_known_by_its_order(faces: Path) -> None:
    """Encoded anew: most of it is no evidence, and in the end it is an alarm."""
    days = film(faces, 0, 0.03, settles=False, days=2, frames=FRAMES)
    known = np.concatenate(days.earlier)
    assert near(days.again, known, 14) > 0.95
    found = watched(known.tobytes(), rows(days.again))
    assert found["doubted"] > 0.9
    assert found["accused_from"] is not None
