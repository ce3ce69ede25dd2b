"""When a face goes on and when a track breaks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.clock import Stamp
from verifier.streaming.track import Box, Track, anchored, continues, follow
from verifier.types import Face

GAP_MS = 12_000


def at(ms: int) -> Stamp:
    """An instant of one boot."""
    return Stamp(boot_id="boot", monotonic_ms=ms, utc_ms=1_795_000_000_000 + ms)


def face(x: float, y: float = 170.0, size: float = 120.0) -> Face:
    """A square face in a picture 640 pixels wide."""
    return Face(box=(x, y, size, size), score=0.9, landmarks=np.zeros((5, 2), np.float32))


def walk(*samples: tuple[int, list[Face]], gap_ms: int = GAP_MS) -> list[tuple[int, bool]]:
    """Number in view and freshness after each sample."""
    track, seen = Track(), []
    for ms, faces in samples:
        sighting = follow(track, faces, longer_side_px=640, at=at(ms), gap_ms=gap_ms)
        track = sighting.track
        seen.append((track.visible, sighting.fresh))
    return seen


def test_no_face_is_track_zero() -> None:
    """Before the first face there is track 0, and it is not fresh."""
    assert walk((0, []), (5_000, [])) == [(0, False), (0, False)]


def test_a_learner_who_sits_still_keeps_one_track() -> None:
    """Leaning and shifting on the chair within one period does not break the track."""
    seen = walk(
        (0, [face(270)]),
        (5_000, [face(300)]),
        (10_000, [face(340, size=150)]),
        (15_000, [face(290, y=200, size=110)]),
    )
    assert seen == [(1, True), (1, False), (1, False), (1, False)]


def test_a_face_that_was_lost_comes_back_as_another_track() -> None:
    """One sample without a face ends the track: whoever returns may be somebody else."""
    assert walk((0, [face(270)]), (5_000, []), (10_000, [face(270)])) == [
        (1, True),
        (0, False),
        (2, True),
    ]


@pytest.mark.parametrize(
    "other",
    [face(500), face(270, y=420), face(255, y=155, size=300), face(300, y=200, size=50)],
    ids=["aside", "below", "much larger", "much smaller"],
)
def test_a_jump_begins_another_track(other: Face) -> None:
    """A face elsewhere or of quite another size is not taken for the same one."""
    assert walk((0, [face(270)]), (5_000, [other])) == [(1, True), (2, True)]


def test_a_gap_begins_another_track() -> None:
    """Exactly the allowed gap still continues; one millisecond more does not."""
    assert walk((0, [face(270)]), (GAP_MS, [face(270)]))[-1] == (1, False)
    assert walk((0, [face(270)]), (GAP_MS + 1, [face(270)]))[-1] == (2, True)


def test_among_several_faces_the_one_that_continues_is_followed() -> None:
    """A larger face that joins does not take the track over."""
    joined = [face(20, y=20, size=240), face(280)]
    track = follow(Track(), [face(270)], longer_side_px=640, at=at(0), gap_ms=GAP_MS).track
    sighting = follow(track, joined, longer_side_px=640, at=at(5_000), gap_ms=GAP_MS)
    assert not sighting.fresh
    assert sighting.track.box == pytest.approx((280 / 640, 170 / 640, 120 / 640, 120 / 640))


def test_a_lower_resolution_does_not_break_a_track() -> None:
    """Boxes are compared relative to the picture, so a camera may lower its resolution."""
    track = follow(Track(), [face(270)], longer_side_px=640, at=at(0), gap_ms=GAP_MS).track
    half = face(135, y=85, size=60)
    assert not follow(track, [half], longer_side_px=320, at=at(5_000), gap_ms=GAP_MS).fresh


def test_an_anchored_track_follows_the_matched_face() -> None:
    """After a match on the second face the track goes with that face, under its number."""
    faces = [face(20, size=200), face(420)]
    track = follow(Track(), faces, longer_side_px=640, at=at(0), gap_ms=GAP_MS).track
    moved = anchored(track, faces[1], longer_side_px=640)
    alone = follow(moved, [face(430)], longer_side_px=640, at=at(5_000), gap_ms=GAP_MS)
    assert (alone.track.visible, alone.fresh) == (1, False)
    left = follow(moved, [faces[0]], longer_side_px=640, at=at(5_000), gap_ms=GAP_MS)
    assert (left.track.visible, left.fresh) == (2, True)


def test_numbers_never_go_back() -> None:
    """However often the face is lost, a number is given once."""
    samples = [(5_000 * n, [face(270)] if n % 2 else []) for n in range(20)]
    numbers = [number for number, _ in walk(*samples) if number]
    assert numbers == sorted(set(numbers)) == list(range(1, 11))


def test_a_face_that_joins_or_leaves_changes_the_company() -> None:
    """The track goes on, and the moment is marked; a new track marks nothing beside itself."""
    track, marks = Track(), []
    scenes = [[face(270)], [face(270)], [face(270), face(20)], [face(270), face(20)], [face(270)]]
    for ms, faces in enumerate([*scenes, [], [face(270), face(20)]]):
        sighting = follow(track, faces, longer_side_px=640, at=at(5_000 * ms), gap_ms=GAP_MS)
        track = sighting.track
        marks.append((sighting.fresh, sighting.company_changed))
    plain, joined, begun = (False, False), (False, True), (True, False)
    assert marks == [begun, plain, joined, plain, joined, plain, begun]


def test_boxes_without_area_do_not_continue() -> None:
    """A degenerate box neither divides by zero nor continues a track."""
    assert not continues((0.1, 0.1, 0.0, 0.0), (0.1, 0.1, 0.0, 0.0))


boxes = st.tuples(
    st.floats(-0.5, 1.5), st.floats(-0.5, 1.5), st.floats(0.01, 1.0), st.floats(0.01, 1.0)
)


@given(boxes, boxes)
def test_continuing_is_mutual(one: Box, other: Box) -> None:
    """Whether a face can have moved does not depend on the direction of time."""
    assert continues(one, other) == continues(other, one)


@given(boxes)
def test_a_box_continues_itself(box: Box) -> None:
    """A face that did not move goes on."""
    assert continues(box, box)
