"""Tests of detection with a detector that finds red rectangles, as small as a real one does."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.models.backend import GPU_LADDER
from verifier.models.bound import MAX_SHAPES
from verifier.models.openvino import SHAPES, STEPS
from verifier.models.selection import SIDES
from verifier.pipeline.detect import (
    LOOKS,
    VGA,
    Look,
    canvases,
    detect,
    detect_large,
    letterbox,
    merge,
    mirror,
    overlap,
)
from verifier.types import Face, Frame

MARKS = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)])
"""Landmarks as shares of the box."""


class RedFinder:
    """Finds each red area whose height a network could see: 12 px to 85 % of the picture."""

    id = "red@00"
    sides: tuple[int, ...] | None = None

    def __init__(self, score: float = 0.9) -> None:
        self.score = score
        self.batches: list[tuple[int, ...]] = []
        self.blind_close = False
        self.blind_far = False

    def detect(self, images: np.ndarray) -> list[tuple[Face, ...]]:
        """Find the connected red areas of each picture."""
        self.batches.append(images.shape)
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> tuple[Face, ...]:
        close = image.shape[:2] == (160, 160) and image[0, 0].any()
        if (self.blind_close and close) or (self.blind_far and not close):
            return ()
        red = ((image[..., 2] > 128) & (image[..., 0] < 60)).astype(np.uint8)
        count, _, stats, _ = cv2.connectedComponentsWithStats(red)
        faces = []
        for x, y, width, height, _ in stats[1:count]:
            if 12 <= height <= 0.85 * image.shape[0]:
                points = np.array([x - 0.5, y - 0.5]) + MARKS * (width, height)
                box = (float(x) - 0.5, float(y) - 0.5, float(width), float(height))
                faces.append(Face(box=box, score=self.score, landmarks=points.astype(np.float32)))
        return tuple(faces)


def photo(size: tuple[int, int], *boxes: tuple[int, int, int, int]) -> Frame:
    """A grey picture (height, width) with red rectangles."""
    pixels = np.full((*size, 3), 90, dtype=np.uint8)
    for x, y, width, height in boxes:
        pixels[y : y + height, x : x + width] = (0, 0, 255)
    return Frame(pixels=pixels, digest="")


def check(face: Face, box: tuple[int, int, int, int]) -> None:
    """The face is where the rectangle was drawn, within 2 % of its height and a pixel."""
    slack = 0.02 * box[3] + 1.0
    assert face.box == pytest.approx((box[0] - 0.5, box[1] - 0.5, box[2], box[3]), abs=2 * slack)
    expected = np.array(box[:2]) - 0.5 + MARKS * box[2:]
    assert np.abs(face.landmarks - expected).max() < slack


@pytest.mark.parametrize("sides", [None, (640,)])
@pytest.mark.parametrize("small_looks", [True, False])
def test_canvases_are_the_sizes_that_the_detector_gets(
    sides: tuple[int, ...] | None, small_looks: bool
) -> None:
    """Of VGA frames in both orientations with a face, at first looks and at close ones."""
    detector = RedFinder()
    detector.sides = sides
    for height, width in VGA:
        frames = [photo((height, width), (200, 180, 150, 200))]
        if small_looks or sides:
            detect(frames, detector)
            detect(frames, detector, small_first=True)
        else:
            detect_large(frames, detector)
            detector.detect(np.zeros((2, 160, 160, 3), np.uint8))  # as a glance refines
    seen = {(height, width) for _, height, width, _ in detector.batches}
    found = canvases(detector, small_looks=small_looks)
    assert set(found) == seen
    assert len(found) == len(seen)


def test_there_is_room_for_every_canvas_in_every_batch_size() -> None:
    """Bound memory of a GPU and graphs of openvino: nothing of VGA frames pushes another out."""
    found = canvases(RedFinder())
    assert len(GPU_LADDER) * len(found) <= MAX_SHAPES
    assert len(STEPS) * len(found) <= SHAPES
    assert SIDES in found, "what `auto` measures on takes no place of its own"


@pytest.mark.parametrize("share", [0.2, 0.35, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("size", [(640, 360), (1920, 1080), (360, 640), (480, 640), (500, 500)])
def test_faces_from_far_to_frame_filling_are_found_in_place(
    size: tuple[int, int], share: float
) -> None:
    """Phones and webcams, upright and lying: the coordinates are those of the frame."""
    height = int(share * size[0])
    width = min(int(0.75 * height), int(0.9 * size[1]))
    box = ((size[1] - width) // 2, (size[0] - height) // 2, width, height)
    ((face,),) = detect([photo(size, box)], RedFinder())
    check(face, box)


def test_the_largest_face_comes_first() -> None:
    """Order is by area, not by score or place."""
    boxes = [(20, 20, 60, 80), (300, 100, 150, 200), (120, 300, 75, 100)]
    (faces,) = detect([photo((480, 640), *boxes)], RedFinder())
    assert [round(face.box[3]) for face in faces] == pytest.approx([200, 100, 80], abs=4)


def test_frames_of_one_shape_share_a_batch() -> None:
    """Three frames at two scales are two inferences, and one more for the close looks."""
    finder = RedFinder()
    frames = [photo((480, 640), (100 + 20 * i, 100, 150, 200)) for i in range(3)]
    found = detect(frames, finder)
    assert [shape[0] for shape in finder.batches] == [3, 3, 6]
    for i, (face,) in enumerate(found):
        check(face, (100 + 20 * i, 100, 150, 200))


def test_frames_of_different_shapes_keep_their_own_faces() -> None:
    """Mixed shapes, mixed contents: nobody gets another frame's box."""
    frames = [
        photo((480, 640), (50, 60, 90, 120)),
        photo((640, 360)),
        photo((900, 900), (500, 500, 150, 200)),
    ]
    found = detect(frames, RedFinder())
    assert [len(faces) for faces in found] == [1, 0, 1]
    check(found[0][0], (50, 60, 90, 120))
    check(found[2][0], (500, 500, 150, 200))


def test_a_face_that_touches_the_border_is_found() -> None:
    """The margin around the picture leaves room for the box."""
    (faces,) = detect([photo((300, 300), (0, 0, 150, 200))], RedFinder())
    check(faces[0], (0, 0, 150, 200))


def test_no_frames_and_empty_frames_are_no_error() -> None:
    """Nothing in, nothing out."""
    assert detect([], RedFinder()) == []
    assert detect([photo((480, 640))], RedFinder()) == [()]


@pytest.mark.parametrize(("score", "faces"), [(0.7, 0), (0.9, 1)])
def test_an_unconfirmed_face_counts_only_where_the_first_look_was_sure(
    score: float, faces: int
) -> None:
    """What the second look cannot see is dropped, unless it was plain at first."""
    finder = RedFinder(score)
    finder.blind_close = True
    (found,) = detect([photo((480, 640), (200, 100, 150, 200))], finder)
    assert len(found) == faces


def test_the_second_look_has_no_left_right_bias() -> None:
    """A detector that is off to the right in every picture is right on the mean."""

    class Biased(RedFinder):
        def _detect(self, image: np.ndarray) -> tuple[Face, ...]:
            return tuple(
                Face(box=f.box, score=f.score, landmarks=f.landmarks + np.float32([3, 0]))
                for f in super()._detect(image)
            )

    ((face,),) = detect([photo((480, 640), (200, 100, 150, 200))], Biased())
    check(face, (200, 100, 150, 200))


def test_a_detector_of_one_size_only_is_asked_at_that_size() -> None:
    """SCRFD files with a fixed input get squares of it, and find the same faces."""
    finder = RedFinder()
    finder.sides = (640,)
    ((face,),) = detect([photo((480, 640), (200, 100, 150, 200))], finder)
    assert {shape[1:3] for shape in finder.batches} == {(640, 640)}
    check(face, (200, 100, 150, 200))


@given(height=st.integers(32, 3000), width=st.integers(32, 3000), look=st.sampled_from(LOOKS))
def test_letterboxes_keep_everything_and_a_margin(height: int, width: int, look: Look) -> None:
    """Sides are multiples of 32, the whole picture is inside, the margin is kept.

    Halving may leave out odd last rows and columns of the frame: less than a pixel of the look.
    """
    picture, matrix = letterbox(np.full((height, width, 3), 255, dtype=np.uint8), look)
    assert picture.shape[0] % 32 == picture.shape[1] % 32 == 0
    assert max(picture.shape) <= 320
    corners = np.array([[-0.5, -0.5], [width - 0.5, height - 0.5]]) @ matrix[:, :2].T + matrix[:, 2]
    assert corners.min() >= look.margin - 0.51
    assert (np.array(picture.shape[1::-1]) - corners[1]).min() >= look.margin - 1.0
    assert picture[: look.margin].max() == 0


def a_face(x: float, y: float, width: float, height: float, score: float = 0.8) -> Face:
    """A face of which only the box matters."""
    return Face(box=(x, y, width, height), score=score, landmarks=np.zeros((5, 2), np.float32))


def test_doubles_of_the_two_scales_are_merged() -> None:
    """The surer one stays; a box within another is part of it; a neighbour stays."""
    sure, double = a_face(0, 0, 100, 100, 0.9), a_face(5, 5, 100, 100)
    part, neighbour = a_face(10, 20, 40, 40), a_face(120, 0, 100, 100)
    assert merge([double, part, neighbour, sure]) == [sure, neighbour]


def test_overlap_of_known_boxes() -> None:
    """Half of one is common: a third of the union."""
    assert overlap((0, 0, 10, 10), (5, 0, 10, 10)) == pytest.approx((1 / 3, 1 / 2))
    assert overlap((0, 0, 10, 10), (20, 0, 10, 10)) == (0.0, 0.0)


def test_mirroring_twice_gives_the_face_back() -> None:
    """Eyes and corners of the mouth change places, and back."""
    landmarks = np.arange(10, dtype=np.float32).reshape(5, 2)
    face = Face(box=(10, 20, 30, 40), score=0.8, landmarks=landmarks)
    once = mirror(face, 160)
    assert once.box[0] == 160 - 1 - 10 - 30
    assert once.landmarks[0].tolist() == [159 - 2, 3]
    twice = mirror(once, 160)
    assert twice.box == face.box
    assert np.array_equal(twice.landmarks, face.landmarks)


@pytest.mark.parametrize(
    "face",
    [
        a_face(0, 0, 50, 60),
        Face(box=(0, 0, 0.5, 60), score=0.9, landmarks=(MARKS * 50).astype(np.float32)),
        Face(box=(0, 0, np.inf, 60), score=0.9, landmarks=(MARKS * 50).astype(np.float32)),
        Face(box=(0, 0, 50, 60), score=0.9, landmarks=np.full((5, 2), np.nan, np.float32)),
    ],
    ids=["landmarks coincide", "no width", "endless", "not numbers"],
)
def test_noise_of_the_detector_is_no_face(face: Face) -> None:
    """What cannot be cut out or aligned never reaches the next room."""

    class Noisy(RedFinder):
        def _detect(self, image: np.ndarray) -> tuple[Face, ...]:
            return (face,)

    assert detect([photo((480, 640))], Noisy()) == [()]
