"""All pairs in blocks: the same as one by one, whatever the size of a block."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import similarity
from benchmarks.metrics import GRID, grid_index, place
from benchmarks.similarity import Gallery, compare_all, compare_listed, most_alike


def gallery(person: list[int], source: list[int], seed: int = 0) -> Gallery:
    """Make faces with random vectors."""
    vectors = np.random.default_rng(seed).standard_normal((len(person), 5))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Gallery(
        vectors=vectors.astype(np.float32),
        person=np.array(person, dtype=np.int32),
        source=np.array(source, dtype=np.int32),
        persons=max(person) + 1,
    )


faces = st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 1)), min_size=2, max_size=14)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let even these galleries take several blocks."""
    monkeypatch.setattr(similarity, "BLOCK", 3)


@given(faces)
def test_blocks_find_every_pair_once(some: list[tuple[int, int]]) -> None:
    """Counts and weighted rates equal those of a plain loop over all pairs."""
    numbers = sorted({person for person, _ in some})
    person = [numbers.index(one) for one, _ in some]
    one = gallery(person, [source for _, source in some])
    compared = compare_all(one)
    genuine: dict[int, list[int]] = {}
    impostor: dict[tuple[int, int], list[int]] = {}
    for a, b in combinations(range(len(person)), 2):
        index = int(place(np.array([one.vectors[a] @ one.vectors[b]]))[0])
        if person[a] != person[b]:
            pair = (min(person[a], person[b]), max(person[a], person[b]))
            impostor.setdefault(pair, []).append(index)
        elif one.source[a] == one.source[b] >= 0:
            genuine.setdefault(person[a], []).append(index)
    assert compared.genuine.count == sum(map(len, genuine.values()))
    assert compared.impostor.count == sum(map(len, impostor.values()))
    assert compared.persons_genuine == len(genuine)
    middle = grid_index(0.1)
    for found, groups in ((compared.genuine, genuine), (compared.impostor, impostor)):
        shares = [np.mean([index >= middle for index in group]) for group in groups.values()]
        expected = float(np.mean(shares)) if shares else 0.0
        # A matrix product rounds otherwise than a row by row one: no score lies on 0.1 itself.
        assert found.at_or_above[middle] == pytest.approx(expected, abs=1e-9)


def test_every_person_weighs_the_same() -> None:
    """A person of ten pictures that all match does not hide one whose two pictures do not."""
    same = np.tile([1.0, 0.0], (10, 1))
    apart = np.array([[1.0, 0.0], [0.0, 1.0]])
    one = Gallery(
        vectors=np.concatenate([same, apart]).astype(np.float32),
        person=np.array([0] * 10 + [1] * 2, dtype=np.int32),
        source=np.zeros(12, dtype=np.int32),
        persons=2,
    )
    compared = compare_all(one)
    assert compared.genuine.count == 46
    assert compared.genuine.below[grid_index(0.5)] == pytest.approx(0.5)


def test_the_tail_is_bounded_and_complete_above_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most so many entries are kept, and they are the highest."""
    monkeypatch.setattr(similarity, "MAX_TAIL", 20)
    compared = compare_all(gallery(list(range(12)), [0] * 12))
    tail = compared.impostor_entries
    assert 0 < len(tail.places) <= 20
    assert tail.places.min() >= tail.lowest > 0
    assert len(tail.places) == compared.impostor.reaching(tail.lowest)
    assert compared.impostor.reaching(tail.lowest - 1) > 20 or tail.lowest == 0


def test_without_a_bound_in_the_way_the_tail_is_everything() -> None:
    """A small set can be resampled at every threshold."""
    compared = compare_all(gallery(list(range(6)), [0] * 6))
    assert compared.impostor_entries.lowest == 0
    assert len(compared.impostor_entries.places) == 15


def test_listed_pairs_only() -> None:
    """Two listed pairs make two scores, and only their persons count."""
    one = gallery([0, 0, 1, 2, 3], [0] * 5)
    compared = compare_listed(one, np.array([0, 0], np.int32), np.array([1, 3], np.int32))
    assert (compared.genuine.count, compared.impostor.count) == (1, 1)
    assert compared.persons == 2
    assert not compared.impostor_entries.every_pair
    expected = place(np.array([one.vectors[0] @ one.vectors[3]]))[0]
    assert np.flatnonzero(compared.impostor.counts).tolist() == [expected]


def test_the_pairs_that_fit_their_names_least() -> None:
    """The likest of two persons and the unlikest of one come first, each pair once."""
    vectors = np.array([[1, 0], [0.6, 0.8], [1, 0.01], [0, 1]], dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    one = Gallery(
        vectors=vectors,
        person=np.array([0, 0, 1, 0], dtype=np.int32),
        source=np.zeros(4, dtype=np.int32),
        persons=2,
    )
    found = most_alike(one, 2)
    assert [rows[1:] for rows in found.impostor] == [(0, 2), (1, 2)]
    assert [rows[1:] for rows in found.genuine] == [(0, 3), (0, 1)]
    assert found.genuine[0][0] == pytest.approx(0.0, abs=1e-6)


def test_nobody_to_compare() -> None:
    """A single face makes no pair and no error."""
    compared = compare_all(gallery([0], [0]))
    assert compared.genuine.count == compared.impostor.count == 0
    assert len(GRID) == len(compared.impostor.at_or_above)
