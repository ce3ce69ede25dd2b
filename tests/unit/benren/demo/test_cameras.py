"""Simulated cameras: repeatable, of the right size, moving, and each real frame once."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from benren.demo.attacks import Beside, Covered, Room, left_size, on_screen, printed, right_size
from benren.demo.cameras import (
    AS_RECORDED,
    PHONE,
    VGA,
    Camera,
    Clip,
    Cuts,
    Handheld,
    Photograph,
    Scene,
    read_photograph,
)
from benren.demo.motion import Sway
from verifier.errors import BadRequest, ImageUnreadable


@pytest.fixture
def photograph() -> Photograph:
    """A picture with a bright top left quarter, so that movement can be seen."""
    pixels = np.full((200, 160, 3), 60, np.uint8)
    pixels[:100, :80] = 220
    return Photograph(pixels=pixels)


def _decoded(jpeg: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture


def test_sway_stays_within_its_amplitude_and_moves() -> None:
    """A sway never leaves ±amplitude, uses a good part of it, and is the same for one seed."""
    values = [Sway(3.0, seed=5).at(t / 10) for t in range(3_000)]
    assert max(map(abs, values)) <= 3.0
    assert max(values) - min(values) > 3.0
    assert values[77] == Sway(3.0, seed=5).at(7.7)
    assert values[77] != Sway(3.0, seed=6).at(7.7)


@pytest.mark.parametrize("size", [PHONE, VGA])
def test_every_scene_fills_the_frame(photograph: Photograph, size: tuple[int, int]) -> None:
    """Every scene gives (height, width, 3) uint8 of the size that was asked for."""
    scenes: list[Scene] = [
        Handheld((photograph,), size, 1),
        printed(photograph, size, 1),
        on_screen(photograph, size, 1),
        Room(size, 1),
        Covered(size, 1),
    ]
    for scene in scenes:
        picture = scene.paint(0, 12.5)
        assert picture.shape == (size[1], size[0], 3)
        assert picture.dtype == np.uint8


def test_handheld_shows_nothing_but_the_photograph(photograph: Photograph) -> None:
    """A bona fide simulation has no background: only grey levels of the photograph occur."""
    scene = Handheld((photograph,), PHONE, 3)
    for t_s in (0.0, 50.0, 333.3):
        picture = scene.paint(0, t_s)
        assert picture.min() >= 40
        assert picture.max() >= 215


def test_camera_repeats_itself_for_one_seed_only(photograph: Photograph) -> None:
    """The same seed, frame and time give the same bytes; another of any gives other bytes."""

    def shot(seed: int, n: int, t_s: float) -> bytes:
        return Camera(Handheld((photograph,), PHONE, seed), seed=seed).frame(n, t_s)

    assert shot(1, 4, 20.0) == shot(1, 4, 20.0)
    assert len({shot(1, 4, 20.0), shot(2, 4, 20.0), shot(1, 5, 20.0), shot(1, 4, 25.0)}) == 4


def test_person_changes_pose_with_the_photographs(photograph: Photograph) -> None:
    """With two photographs the camera shows the one, then the other, in turn."""
    dark = Photograph(pixels=np.full_like(photograph.pixels, 10))
    scene = Handheld((photograph, dark), PHONE, 1, pose_s=100)
    means = [scene.paint(0, t_s).mean() > 20 for t_s in (0, 99, 100, 199, 200)]
    assert means == [True, True, False, False, True]


def test_print_has_a_white_border_and_screen_a_dark_one(photograph: Photograph) -> None:
    """What gives a print and a screen away is drawn: paper white, bezel black, before a room."""
    grey = Photograph(pixels=np.full((200, 160, 3), 120, np.uint8))
    paper = printed(grey, PHONE, 1).paint(0, 0.0)
    tablet = on_screen(grey, PHONE, 1).paint(0, 0.0)
    assert (paper.min(axis=2) > 225).mean() > 0.05
    assert (tablet.max(axis=2) < 30).mean() > 0.05
    assert abs(float(paper[320, 240].mean()) - 114) < 25  # faded: 120 * 0.84 + 32 within grain


def test_covered_lens_is_dark(photograph: Photograph) -> None:
    """Behind a covered lens there is nearly no light."""
    assert _decoded(Camera(Covered(PHONE, 1), seed=1).frame(0, 3.0)).mean() < 25


def test_beside_keeps_both_scenes(photograph: Photograph) -> None:
    """The left scene keeps the left part, the right one the right part, and between them fades."""

    class Plain:
        def __init__(self, size: tuple[int, int], grey: int) -> None:
            self.picture = np.full((size[1], size[0], 3), grey, np.uint8)

        def paint(self, n: int, t_s: float) -> np.ndarray:
            return self.picture

    both = Beside(
        Plain(left_size(VGA, 0.6), 200), Plain(right_size(VGA, 0.6), 20), VGA, seam=0.6
    ).paint(0, 0.0)
    assert both.shape == (480, 640, 3)
    assert both[0, 340, 0] == 200
    assert both[0, 430, 0] == 20
    assert 90 < both[0, 384, 0] < 130
    assert (np.diff(both[0, :, 0].astype(int)) <= 0).all()


def test_cuts_follow_the_script(photograph: Photograph) -> None:
    """Each scene is shown from its second on until the next one begins."""
    scene = Cuts([(0, Handheld((photograph,), PHONE, 1)), (30, Covered(PHONE, 1))])
    assert scene.paint(0, 29.9).mean() > 50
    assert scene.paint(0, 30.0).mean() < 25


@pytest.mark.parametrize("starts", [[], [5], [0, 20, 10]])
def test_cuts_refuse_holes_and_disorder(starts: list[float]) -> None:
    """A sequence that does not begin at 0 or goes back is refused."""
    with pytest.raises(BadRequest):
        Cuts([(start, Room(PHONE, 1)) for start in starts])


def test_handheld_refuses_no_photograph() -> None:
    """A camera without a photograph is refused."""
    with pytest.raises(BadRequest):
        Handheld((), PHONE, 1)


def test_window_crops_the_photograph() -> None:
    """The window is given as fractions of the picture."""
    pixels = np.zeros((100, 200, 3), np.uint8)
    pixels[20:60, 100:150] = 9
    view = Photograph(pixels=pixels, window=(0.5, 0.2, 0.75, 0.6)).view
    assert view.shape == (40, 50, 3)
    assert (view == 9).all()


def test_missing_and_broken_files_are_told(tmp_path: Path) -> None:
    """Neither a missing photograph nor a text file named .mp4 passes for a picture."""
    broken = tmp_path / "clip.mp4"
    broken.write_text("no video")
    with pytest.raises(ImageUnreadable, match=r"nothing\.jpg"):
        read_photograph(tmp_path / "nothing.jpg")
    with pytest.raises(ImageUnreadable, match=r"clip\.mp4"):
        Clip(broken, first=0, last=3)
    with pytest.raises(ImageUnreadable):
        Clip(tmp_path / "missing.mp4", first=0, last=3)


@pytest.mark.faces
def test_recording_gives_each_frame_once(faces_dir: Path) -> None:
    """All frames come, each once, then no more; a stride that misses some is refused."""
    path = faces_dir / "video" / "white_house_clip.mp4"
    clip = Clip(path, first=90, last=99, stride=7)
    seen = {clip.paint(n, 0.0).tobytes() for n in range(clip.frames)}
    assert len(seen) == clip.frames == 10
    with pytest.raises(BadRequest, match="10 frames"):
        clip.paint(10, 0.0)
    with pytest.raises(BadRequest, match="stride"):
        Clip(path, first=90, last=99, stride=5)
    with pytest.raises(ImageUnreadable, match="before frame"):
        Clip(path, first=270, last=300)
    jpeg = Camera(clip, seed=1, lens=AS_RECORDED).frame(0, 0.0)
    assert np.abs(_decoded(jpeg).astype(int) - clip.paint(0, 0.0)).mean() < 3
