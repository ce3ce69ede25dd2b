"""What never comes to a comparison is counted, and what is left out is named."""

from __future__ import annotations

import numpy as np

from benchmarks.acquisition import Item, acquisition, cleaned
from benchmarks.dataset import Dataset, Picture, Role
from benchmarks.observe import UNREADABLE, Observation

FACE = np.array([1.0, 0.0], dtype=np.float32)


def picture(subject: str, number: int = 0, source: str = "set") -> Picture:
    """Name a picture of a person."""
    return Picture(
        role=Role.IDENTITY,
        source=source,
        subject=subject,
        place=f"{subject}/{number}",
        key=f"{subject}/{number}",
        read=bytes,
    )


def seen(
    digest: str, reasons: tuple[str, ...] = (), enrolment: tuple[str, ...] = ()
) -> Observation:
    """Make an observation with a vector, as the engine gives one even against reasons."""
    return Observation(digest=digest, reasons=reasons, enrolment_reasons=enrolment, embedding=FACE)


def unreadable(digest: str = "") -> Observation:
    """Make the observation of a broken file."""
    return Observation(digest=digest, reasons=(UNREADABLE,), why="cut short")


def test_rates_by_hand() -> None:
    """Of four pictures two fail; of two persons one has no picture fit for a template."""
    items = [
        Item(picture=picture("a", 0), seen=seen("1")),
        Item(picture=picture("a", 1), seen=unreadable("2")),
        Item(picture=picture("b", 0), seen=seen("3", ("blurred", "too_dark"), ("blurred",))),
        Item(picture=picture("b", 1), seen=seen("4", (), ("face_too_small",))),
    ]
    (row,) = acquisition(items)
    assert (row.persons, row.pictures, row.unreadable) == (2, 4, 1)
    assert (row.fta, row.fte_pictures, row.fte) == (0.5, 0.75, 0.5)
    assert dict(row.reasons) == {"unreadable": 1, "blurred": 1, "too_dark": 1}


def test_a_cover_is_no_failure_to_acquire() -> None:
    """A covered face that matches all the same is a match, so it is compared."""
    covered = Item(picture=picture("a"), seen=seen("1", ("occluded",)))
    assert covered.comparable
    blurred = Item(picture=picture("a"), seen=seen("1", ("occluded", "blurred")))
    assert not blurred.comparable


def test_several_sources_get_a_sum_first() -> None:
    """With one source the sum would say the same twice."""
    items = [Item(picture=picture("a", source=s), seen=seen(s)) for s in ("one", "two")]
    assert [row.source for row in acquisition(items)] == ["all", "one", "two"]
    assert [row.source for row in acquisition(items[:1])] == ["one"]


def test_wrong_names_copies_and_broken_files_are_told_apart() -> None:
    """A picture with two names is dropped, a copy once; a broken file stays and counts."""
    pictures = [
        picture("a", 0),
        picture("a", 1),
        picture("b", 0),
        picture("c", 0),
        picture("d", 0),
        picture("d", 1),
    ]
    observations = [seen("x"), seen("x"), seen("y"), seen("y"), seen("z"), unreadable("w")]
    items, problems = cleaned(Dataset(name="n", pictures=tuple(pictures)), pictures, observations)
    assert [item.picture.place for item in items] == ["a/0", "d/0", "d/1"]
    assert {one.place: one.why for one in problems} == {
        "a/1": "left out: a copy of an earlier picture",
        "b/0": "left out: the same picture bears the names of several persons",
        "c/0": "left out: the same picture bears the names of several persons",
        "d/1": "unreadable: cut short",
    }


def test_pictures_can_be_excluded_by_content() -> None:
    """What a data set excludes by digest is left out without a word: it was asked for."""
    pictures = [picture("a", 0), picture("a", 1)]
    dataset = Dataset(name="n", pictures=tuple(pictures), excluded=frozenset({"x"}))
    items, problems = cleaned(dataset, pictures, [seen("x"), seen("y")])
    assert [item.picture.place for item in items] == ["a/1"]
    assert problems == []


def test_two_broken_files_are_two_failures() -> None:
    """Files that could not even be read have no digest, and are no copies of each other."""
    pictures = [picture("a", 0), picture("a", 1)]
    items, problems = cleaned(
        Dataset(name="n", pictures=tuple(pictures)), pictures, [unreadable(), unreadable()]
    )
    assert len(items) == len(problems) == 2
