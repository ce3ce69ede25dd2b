"""A data set that nothing can be measured on is refused, and persons stay on their side."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.dataset import (
    Dataset,
    DatasetUnusable,
    PairList,
    Partition,
    Picture,
    Role,
    checked,
    dataset_digest,
    partition_of,
    side_of,
)


def picture(subject: str, number: int = 0, role: Role = Role.IDENTITY) -> Picture:
    """Name a picture; nothing reads it."""
    return Picture(
        role=role,
        source="set",
        subject=subject,
        place=f"{subject}/{number}.jpg",
        key=f"{subject}/{number}",
        read=bytes,
    )


def dataset(*pictures: Picture) -> Dataset:
    """Put pictures together."""
    return Dataset(name="ours", pictures=pictures)


def test_one_picture_of_a_person_makes_him_an_impostor_only() -> None:
    """A person with one picture is welcome as long as another has two."""
    some = dataset(picture("a"), picture("b", 0), picture("b", 1))
    assert checked(some) is some


@pytest.mark.parametrize(
    ("pictures", "why"),
    [
        ((), "holds no picture"),
        ((picture("a", 0), picture("a", 1)), "one person only"),
        ((picture("a"), picture("b")), "no genuine pair"),
        (
            (picture("a", 0), replace(picture("a", 1), source="another"), picture("b")),
            "no genuine pair",
        ),
        (
            tuple(replace(picture(who, n), genuine=False) for who in "ab" for n in (0, 1)),
            "no genuine pair",
        ),
        ((picture("a", role=Role.BONA_FIDE),), "no attack pictures"),
        ((picture("a", role=Role.ATTACK),), "no bona fide pictures"),
    ],
)
def test_what_cannot_be_measured_is_refused(pictures: tuple[Picture, ...], why: str) -> None:
    """Each refusal says what is missing and what to do."""
    with pytest.raises(DatasetUnusable, match=why) as refused:
        checked(dataset(*pictures))
    assert refused.value.remedy


def test_too_many_pictures_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their vectors would not fit into memory."""
    monkeypatch.setattr("benchmarks.dataset.MAX_PICTURES", 2)
    with pytest.raises(DatasetUnusable, match="2 can be measured"):
        checked(dataset(picture("a"), picture("b", 0), picture("b", 1)))


@given(st.text(), st.integers(), st.floats(0, 1))
def test_a_larger_report_side_only_gains_persons(person: str, seed: int, share: float) -> None:
    """Where a person stands is a fixed number: nobody changes sides for another's sake."""
    smaller, larger = (partition_of(person, seed, one) for one in (share / 2, share))
    assert smaller is Partition.TUNING or larger is Partition.REPORT
    assert partition_of(person, seed, 0.0) is Partition.TUNING


def test_the_split_is_even_and_turns_with_the_seed() -> None:
    """About half of many persons are on each side, and another seed makes another half."""
    names = [f"person {n}" for n in range(2_000)]
    first = [partition_of(name, 0) for name in names]
    assert 900 < first.count(Partition.REPORT) < 1_100
    moved = sum(a is not partition_of(name, 1) for a, name in zip(first, names, strict=True))
    assert 900 < moved < 1_100


def test_an_attack_is_on_the_side_of_its_victim() -> None:
    """Otherwise a person would be tuned on by his picture and reported on by his print."""
    attack = replace(picture("a print", role=Role.ATTACK), victim="a")
    assert side_of(attack) == "a"
    assert side_of(picture("a print", role=Role.ATTACK)) == "a print"


def test_the_digest_knows_content_and_names_but_no_order() -> None:
    """The same pictures in another order are the same data; another name is not."""
    first, second = (picture("a"), "11"), (picture("b"), "22")
    one = dataset_digest([first, second])
    assert one == dataset_digest([second, first])
    assert len(one) == 64
    assert one != dataset_digest([(picture("a"), "11"), (picture("c"), "22")])
    assert one != dataset_digest([(picture("a"), "12"), (picture("b"), "22")])
    pairs = PairList(name="p", source="set", pairs=(("a/0", "b/0"),))
    assert one != dataset_digest([first, second], [pairs])
