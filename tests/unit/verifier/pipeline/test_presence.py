"""Presence at a glance: the same faces as a search finds, by less work."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.verifier.pipeline.test_detect import RedFinder, check, photo
from verifier.models.embedder import ARCFACE_TEMPLATE
from verifier.pipeline.align import align
from verifier.pipeline.presence import LEAST_SIDE, aligned, find, shrink
from verifier.pipeline.quality import SIDE
from verifier.pipeline.savings import LastSeen, Savings, detect, last_seen
from verifier.types import Face, Frame

BOX = (200, 100, 150, 200)
SURE = 0.87


def noisy(frame: Frame, sigma: float = 5.0) -> Frame:
    """The same scene, another exposure."""
    noise = np.random.default_rng(1).normal(0, sigma, frame.pixels.shape)
    return replace(frame, pixels=np.clip(frame.pixels + noise, 0, 255).astype(np.uint8))


def glanced(frame: Frame, finder: RedFinder, before: LastSeen | None = None) -> tuple[Face, ...]:
    """Find the faces of one frame at a glance."""
    (faces,) = find([shrink(frame)], finder, Savings(), [before], sure=SURE)
    return faces


def seen(*boxes: tuple[int, int, int, int]) -> LastSeen:
    """Make the memory of a frame with these faces."""
    frame = photo((480, 640), *boxes)
    return last_seen(frame, glanced(frame, RedFinder()))


@pytest.mark.parametrize(
    ("size", "factor"),
    [((480, 640), 2), ((640, 480), 2), ((720, 1280), 4), ((240, 320), 1), ((481, 641), 1)],
)
def test_copies_are_as_small_as_will_do(size: tuple[int, int], factor: int) -> None:
    """A power of 2 that goes into both sides, and leaves pixels for the large look."""
    small = shrink(photo(size, (60, 60, 80, 100)))
    assert small.factor == factor
    assert small.copy.pixels.shape[:2] == (size[0] // factor, size[1] // factor)
    assert max(small.copy.pixels.shape) >= LEAST_SIDE


def test_a_sure_face_is_found_in_place_without_a_close_look() -> None:
    """Two looks at the copy, and that is all; coordinates are those of the frame."""
    finder = RedFinder()
    (face,) = glanced(photo((480, 640), BOX), finder)
    assert face.box == pytest.approx((199.5, 99.5, 150, 200), abs=6)
    assert sorted(shape[0] for shape in finder.batches) == [1, 1]


def test_the_last_boxes_are_held_by_the_small_look_alone() -> None:
    """One look of 160 px for a frame that shows what the last one showed."""
    finder = RedFinder()
    (face,) = glanced(noisy(photo((480, 640), (215, 110, 150, 200))), finder, seen(BOX))
    assert face.box == pytest.approx((214.5, 109.5, 150, 200), abs=10)
    assert finder.batches == [(1, 160, 160, 3)]


@pytest.mark.parametrize("score", [0.7, 0.86])
def test_a_doubtful_face_gets_its_close_look(score: float) -> None:
    """Below what is sure, or below what quality asks of a detector, landmarks are exact."""
    finder = RedFinder(score=score)
    (face,) = glanced(photo((480, 640), BOX), finder)
    check(face, BOX)
    assert 2 in [shape[0] for shape in finder.batches]


def test_a_small_face_gets_its_close_look() -> None:
    """Where the small look has too few pixels for landmarks."""
    finder, box = RedFinder(), (300, 200, 75, 100)
    (face,) = glanced(photo((480, 640), box), finder)
    check(face, box)
    assert 2 in [shape[0] for shape in finder.batches]


def test_a_doubtful_face_that_the_close_look_loses_is_none() -> None:
    """A first look that is not sure is believed no more than it ever was."""
    finder = RedFinder(score=0.7)
    finder.blind_close = True
    assert glanced(photo((480, 640), BOX), finder) == ()
    assert glanced(noisy(photo((480, 640), BOX)), finder, seen(BOX)) == ()


@pytest.mark.parametrize(
    "boxes",
    [(), ((20, 100, 150, 200),), (BOX, (420, 120, 120, 160)), ((200, 100, 75, 100),)],
    ids=["gone", "elsewhere", "joined", "much smaller"],
)
def test_what_has_changed_is_searched_in_full(boxes: tuple[tuple[int, int, int, int], ...]) -> None:
    """The faces are those that a search with nothing saved finds, in the same places."""
    frame = noisy(photo((480, 640), *boxes))
    finder = RedFinder()
    found = glanced(frame, finder, seen(BOX))
    (expected,) = detect([frame], RedFinder(), Savings(track=False, duplicates=False))
    assert len(found) == len(expected)
    for face, other in zip(found, expected, strict=True):
        assert face.box == pytest.approx(other.box, abs=8)
    assert max(shape[2] for shape in finder.batches) == 320, "the large look was taken"


def test_each_frame_of_a_batch_gets_its_own_faces() -> None:
    """Near duplicates, held boxes, searches and doubts side by side."""
    before = seen(BOX)
    frames = [photo((480, 640), BOX), noisy(photo((480, 640), BOX)), photo((480, 640))]
    frames += [photo((480, 640), (300, 200, 75, 100)), photo((720, 1280), (400, 200, 300, 400))]
    memory = [before, before, before, None, None]
    found = find([shrink(one) for one in frames], RedFinder(), Savings(), memory, sure=SURE)
    assert found[0] == before.faces
    assert [len(some) for some in found] == [1, 1, 0, 1, 1]
    check(found[3][0], (300, 200, 75, 100))
    assert found[4][0].box == pytest.approx((399.5, 199.5, 300, 400), abs=12)


@pytest.mark.parametrize("width", [60, 200])
def test_crops_are_cut_from_whichever_has_pixels_enough(width: int) -> None:
    """A crop from the copy shows what one from the frame shows; a small face is cut from this."""
    rng = np.random.default_rng(0)
    coarse = np.kron(rng.integers(0, 255, (30, 40, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    frame = Frame(pixels=coarse, digest="")
    template = np.asarray(ARCFACE_TEMPLATE, np.float32)
    landmarks = (template / 112 * width + (250, 150)).astype(np.float32)
    face = Face(box=(250, 150, width, width), score=0.9, landmarks=landmarks)
    (cut,) = aligned(shrink(frame), [face], template)
    (whole,) = align([frame], [face], template, SIDE)
    difference = np.abs(cut.crop.astype(int) - whole.crop)
    assert difference.mean() < (1e-9 if width < 2 * 112 * 0.5 else 6)
