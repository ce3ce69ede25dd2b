"""What is not computed: near duplicates, boxes that are verified; and that each can be switched."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from tests.unit.verifier.pipeline.test_detect import RedFinder, check, photo
from verifier.pipeline.savings import (
    LastSeen,
    Savings,
    detect,
    is_near_duplicate,
    last_seen,
)
from verifier.types import Frame

BOX = (200, 100, 150, 200)
FAR = (285, 200, 45, 60)
"""Too small to be plain."""
FULL = [1, 1, 2]
"""Pictures per inference of a search in full: two looks, and one face close, with its mirror."""
ALWAYS_LARGE = Savings(small_first=False)


def seen(*boxes: tuple[int, int, int, int]) -> LastSeen:
    """Make the memory of a frame with these faces."""
    frame = photo((480, 640), *boxes)
    (faces,) = detect([frame], RedFinder(), Savings())
    return last_seen(frame, faces)


def noisy(frame: Frame, sigma: float) -> Frame:
    """The same scene, another exposure."""
    noise = np.random.default_rng(1).normal(0, sigma, frame.pixels.shape)
    return replace(frame, pixels=np.clip(frame.pixels + noise, 0, 255).astype(np.uint8))


def test_a_picture_that_is_sent_again_is_a_near_duplicate() -> None:
    """Encoded anew or not; a live camera's noise, motion or another size is not."""
    rng = np.random.default_rng(0)
    coarse = np.repeat(rng.integers(0, 255, (12, 16, 1), dtype=np.uint8), 3, axis=2)
    pixels = cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC)
    frame = Frame(pixels=pixels, digest="")
    before = last_seen(frame, ())
    _, again = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 88])
    encoded = Frame(pixels=cv2.imdecode(again, cv2.IMREAD_COLOR).astype(np.uint8), digest="")
    assert is_near_duplicate(frame, before)
    assert is_near_duplicate(encoded, before)
    assert not is_near_duplicate(noisy(frame, 4.0), before)
    assert not is_near_duplicate(replace(frame, pixels=np.roll(pixels, 2, axis=1)), before)
    assert not is_near_duplicate(replace(frame, pixels=pixels[:-2].copy()), before)


def test_one_plain_face_needs_no_large_look() -> None:
    """The small look and the close one place it as exactly as all three do."""
    finder, spared = RedFinder(), RedFinder()
    ((face,),) = detect([photo((480, 640), BOX)], finder, ALWAYS_LARGE)
    ((same,),) = detect([photo((480, 640), BOX)], spared, Savings())
    check(face, BOX)
    check(same, BOX)
    assert [shape[0] for shape in finder.batches] == FULL
    assert [shape[:3] for shape in spared.batches] == [(1, 160, 160), (2, 160, 160)]


@pytest.mark.parametrize(
    ("boxes", "score"),
    [((), 0.9), ((FAR,), 0.9), ((BOX, (420, 120, 120, 160)), 0.9), ((BOX,), 0.7)],
    ids=["nobody", "far", "two", "unsure"],
)
def test_what_is_not_plain_is_looked_at_large(
    boxes: tuple[tuple[int, int, int, int], ...], score: float
) -> None:
    """Nobody, somebody far, two people or a doubtful face: found as without the saving."""
    frame, finder = photo((480, 640), *boxes), RedFinder(score)
    found = [one.box for one in detect([frame], finder, Savings())[0]]
    expected = [one.box for one in detect([frame], RedFinder(score), ALWAYS_LARGE)[0]]
    assert np.array(found) == pytest.approx(np.array(expected), abs=2.0)
    assert max(shape[2] for shape in finder.batches) == 320


def test_frames_plain_and_not_share_their_looks() -> None:
    """Each frame keeps its own faces; only those that need it are looked at large."""
    finder = RedFinder()
    found = detect([photo((480, 640), one) for one in (BOX, FAR, BOX)], finder, Savings())
    for (face,), box in zip(found, (BOX, FAR, BOX), strict=True):
        check(face, box)
    assert [shape[:3] for shape in finder.batches] == [(3, 160, 160), (1, 256, 320), (6, 160, 160)]


def test_a_near_duplicate_keeps_its_faces() -> None:
    """No network runs; the faces are those of the last sample."""
    before, finder = seen(BOX), RedFinder()
    assert detect([photo((480, 640), BOX)], finder, Savings(), [before]) == [before.faces]
    assert finder.batches == []


def test_the_last_boxes_are_verified_by_the_small_look() -> None:
    """The large look is not taken; the face is as exactly in place as ever."""
    finder, moved = RedFinder(), (215, 110, 150, 200)
    frame = noisy(photo((480, 640), moved), 5.0)
    ((face,),) = detect([frame], finder, Savings(), [seen(BOX)])
    check(face, moved)
    assert [shape[0] for shape in finder.batches] == [1, 2]
    assert [shape[1:3] for shape in finder.batches] == [(160, 160), (160, 160)]


@pytest.mark.parametrize(
    "boxes",
    [(), ((20, 100, 150, 200),), (BOX, (420, 120, 120, 160)), ((200, 100, 75, 100),)],
    ids=["gone", "elsewhere", "joined", "much smaller"],
)
def test_what_has_changed_is_searched_in_full(boxes: tuple[tuple[int, int, int, int], ...]) -> None:
    """Faces that left, moved or joined: the answer is that of a search without a memory."""
    frame = noisy(photo((480, 640), *boxes), 5.0)
    finder = RedFinder()
    assert str(detect([frame], finder, Savings(), [seen(BOX)])) == str(
        detect([frame], RedFinder(), ALWAYS_LARGE)
    )
    assert max(shape[2] for shape in finder.batches) == 320, "the large look was taken"


def test_a_face_that_the_close_look_loses_is_searched_in_full() -> None:
    """What the small look believes and the close one does not is no confirmation."""
    finder = RedFinder(score=0.7)
    finder.blind_close = True
    assert detect([noisy(photo((480, 640), BOX), 5.0)], finder, Savings(), [seen(BOX)]) == [()]
    assert max(shape[2] for shape in finder.batches) == 320


def test_frames_with_and_without_a_memory_share_a_batch() -> None:
    """Each frame gets its own faces, whichever way they were found."""
    other = (60, 60, 120, 160)
    frames = [
        noisy(photo((480, 640), BOX), 5.0),
        photo((480, 640), other),
        photo((480, 640), BOX),
        photo((480, 640)),
    ]
    before = seen(BOX)
    found = detect(frames, RedFinder(), Savings(), [before, None, before, seen(other)])
    check(found[0][0], BOX)
    check(found[1][0], other)
    assert found[2] == before.faces
    assert found[3] == ()


def test_every_sixth_sample_is_searched_in_full() -> None:
    """What only the large look sees goes unnoticed for half a minute at most."""
    finder, before = RedFinder(), None
    large = []
    for number in range(13):
        frame = noisy(photo((480, 640), (200 + 3 * number, 100, 150, 200)), 5.0)
        finder.batches.clear()
        (faces,) = detect([frame], finder, Savings(duplicates=False), [before])
        before = last_seen(frame, faces, before)
        large.append(max(shape[2] for shape in finder.batches) == 320)
    assert [number for number, full in enumerate(large) if full] == [0, 6, 12]


def test_each_saving_can_be_switched_off() -> None:
    """Off means that the networks run as if there were no memory."""
    before, same = seen(BOX), photo((480, 640), BOX)
    moved = noisy(same, 5.0)
    for savings, frame in (
        (Savings(duplicates=False, track=False), same),
        (Savings(track=False), moved),
    ):
        finder = RedFinder()
        ((face,),) = detect([frame], finder, savings, [before])
        check(face, BOX)
        assert [shape[0] for shape in finder.batches] == FULL
    finder = RedFinder()
    ((face,),) = detect([moved], finder, Savings(small_looks=False), [before])
    check(face, BOX)
    assert [shape[1:3] for shape in finder.batches] == [(512, 640), (160, 160)]


def test_a_detector_of_one_size_only_saves_duplicates_alone() -> None:
    """It has no small look to verify with."""
    before, finder = seen(BOX), RedFinder()
    finder.sides = (640,)
    moved = noisy(photo((480, 640), BOX), 5.0)
    detect([moved], finder, Savings(), [before])
    assert {shape[1:3] for shape in finder.batches} == {(640, 640)}


def test_a_memory_for_each_frame() -> None:
    """Lists of different lengths are a mistake of the caller's."""
    with pytest.raises(ValueError, match="2 frames, 1 seen"):
        detect([photo((480, 640))] * 2, RedFinder(), Savings(), [None])
