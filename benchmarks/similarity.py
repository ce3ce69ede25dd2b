"""All pairs of a set of faces, in blocks: 87 million pairs in a few seconds and bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.metrics import GRID, Curve, from_histogram, place
from benchmarks.resampling import Entries, Step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Numbers = NDArray[np.int32]

BLOCK: Final = 256
"""Rows of a block: with 100 000 faces a block of similarities takes 100 MB."""
MAX_TAIL: Final = 500_000
"""Highest impostor scores that are kept with their persons: bounds memory and resampling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """Faces that can be compared, of persons numbered 0..persons-1 without a gap."""

    vectors: NDArray[np.float32]
    """(n, d), L2-normalised."""
    person: Numbers
    """(n,): whose face it is."""
    source: Numbers
    """(n,): from which set; below 0: of impostors only. Genuine pairs are formed within a set only:
    two sets may hold copies of one picture."""
    persons: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparisons:
    """Everything that error rates and their intervals need to know of all pairs of a gallery."""

    persons: int
    persons_genuine: int
    """Persons with at least two faces from one set."""
    genuine: Curve
    impostor: Curve
    genuine_entries: Entries
    impostor_entries: Entries
    """The highest scores only, from `impostor_entries.lowest` on."""


def compare_all(gallery: Gallery, step: Step | None = None) -> Comparisons:
    """Compare every face with every other, each pair once; `step` is told of every row of faces.

    Memory: a few blocks of `BLOCK` x n similarities, and the bounded tail.
    """
    genuine = _genuine(gallery)
    weights, counts = _impostor_histogram(gallery, step)
    lowest = _tail_start(counts)
    tail = _impostor_tail(gallery, lowest, step)
    return Comparisons(
        persons=gallery.persons,
        persons_genuine=len(np.unique(genuine.persons[0])),
        genuine=_curve_of(genuine),
        impostor=from_histogram(weights, counts),
        genuine_entries=_merged(genuine, gallery.persons),
        impostor_entries=_merged(tail, gallery.persons),
    )


def compare_listed(gallery: Gallery, first: Numbers, second: Numbers) -> Comparisons:
    """Compare the listed pairs of rows only; whether a pair is genuine follows from its persons."""
    scores = np.einsum("nd,nd->n", gallery.vectors[first], gallery.vectors[second])
    places = place(scores).astype(np.int32)
    pairs = np.stack([gallery.person[first], gallery.person[second]])
    known, numbers = np.unique(pairs, return_inverse=True)
    low, high = np.sort(numbers.reshape(pairs.shape).astype(np.int32), axis=0)
    same = low == high
    count = len(known)
    genuine = _equal_weights((low[same],), places[same], count)
    impostor = _equal_weights((low[~same], high[~same]), places[~same], count)
    return Comparisons(
        persons=count,
        persons_genuine=len(np.unique(genuine.persons[0])),
        genuine=_curve_of(genuine),
        impostor=_curve_of(impostor),
        genuine_entries=_merged(genuine, count),
        impostor_entries=replace(_merged(impostor, count), every_pair=False),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """Pairs whose similarity fits their names least: similarity and two rows, the worst first."""

    impostor: tuple[tuple[float, int, int], ...]
    genuine: tuple[tuple[float, int, int], ...]


def most_alike(gallery: Gallery, count: int) -> Alike:
    """Find the most similar pairs of two persons, and the least similar of one (any source)."""
    impostor: list[tuple[float, int, int]] = []
    genuine: list[tuple[float, int, int]] = []
    for start, block in _blocks(gallery):
        above = np.triu(np.ones(block.shape, dtype=np.bool_), k=1)
        rows = gallery.person[start : start + len(block), None]
        same = rows == gallery.person[None, start:]
        impostor = _worst(impostor, np.where(above & ~same, block, -np.inf), start, count, -1)
        genuine = _worst(genuine, np.where(above & same, block, np.inf), start, count, 1)
    return Alike(impostor=tuple(impostor), genuine=tuple(genuine))


def _worst(
    known: list[tuple[float, int, int]],
    block: NDArray[np.float32],
    start: int,
    count: int,
    sign: int,
) -> list[tuple[float, int, int]]:
    """Merge the `count` lowest (sign 1) or highest (-1) finite values of a block into `known`."""
    flat = (sign * block).ravel()
    best = np.argpartition(flat, min(count, flat.size - 1))[:count]
    row, column = np.unravel_index(best[np.isfinite(flat[best])], block.shape)
    new = [
        (float(block[r, c]), start + int(r), start + int(c))
        for r, c in zip(row, column, strict=True)
    ]
    return sorted(known + new, key=lambda one: (sign * one[0], one[1:]))[:count]


def _genuine(gallery: Gallery) -> Entries:
    """Score all pairs of one person within a set; each person's weights sum to 1."""
    order = np.lexsort((gallery.source, gallery.person))
    order = order[gallery.source[order] >= 0]
    key = np.stack([gallery.person[order], gallery.source[order]], axis=1)
    starts = np.flatnonzero((key[1:] != key[:-1]).any(axis=1)) + 1
    persons: list[Numbers] = []
    places: list[Numbers] = []
    for rows in np.split(order, starts):
        if len(rows) < 2:
            continue
        for i in range(0, len(rows), BLOCK):
            block = gallery.vectors[rows[i : i + BLOCK]] @ gallery.vectors[rows[i:]].T
            upper = np.triu(np.ones(block.shape, dtype=np.bool_), k=1)
            places.append(place(block[upper]).astype(np.int32))
            persons.append(np.full(int(upper.sum()), gallery.person[rows[0]], dtype=np.int32))
    empty = np.empty(0, dtype=np.int32)
    return _equal_weights(
        (np.concatenate(persons) if persons else empty,),
        np.concatenate(places) if places else empty,
        gallery.persons,
    )


def _equal_weights(persons: tuple[Numbers, ...], places: Numbers, count: int) -> Entries:
    """Give every person, or every pair of persons, the same weight, however many scores it has."""
    key = _key(persons, count)
    _, inverse, number = np.unique(key, return_inverse=True, return_counts=True)
    weights = 1.0 / number[inverse] if len(key) else np.empty(0)
    return Entries(persons=persons, places=places, weights=weights, lowest=0)


def _impostor_histogram(gallery: Gallery, step: Step | None) -> tuple[Floats, NDArray[np.int64]]:
    weights = np.zeros(len(GRID))
    counts = np.zeros(len(GRID), dtype=np.int64)
    share = _share(gallery)
    for start, block in _blocks(gallery):
        differs = _impostors(gallery, start, block.shape)
        weight = np.outer(share[start : start + len(block)], share[start:])
        weight *= differs
        places = place(block).ravel()
        weights += np.bincount(places, weights=weight.ravel(), minlength=len(GRID))
        counts += np.bincount(places[differs.ravel()], minlength=len(GRID))
        if step is not None:
            step(len(block))
    return weights, counts


def _impostor_tail(gallery: Gallery, lowest: int, step: Step | None) -> Entries:
    share = _share(gallery)
    found: list[tuple[Numbers, Numbers, Numbers, Floats]] = []
    # The floor lies a hair too low on purpose: `place` then decides exactly.
    floor = np.nextafter(np.float32(GRID[lowest]), np.float32(-np.inf)) if lowest else -np.inf
    for start, block in _blocks(gallery):
        row, column = np.nonzero(_impostors(gallery, start, block.shape) & (block >= floor))
        places = place(block[row, column]).astype(np.int32)
        kept = places >= lowest
        row, column, places = row[kept] + start, column[kept] + start, places[kept]
        a, b = gallery.person[row], gallery.person[column]
        found.append((np.minimum(a, b), np.maximum(a, b), places, share[row] * share[column]))
        if step is not None:
            step(len(block))
    columns = [np.concatenate(part) for part in zip(*found, strict=True)] if found else []
    if not columns:
        empty = np.empty(0, dtype=np.int32)
        return Entries(persons=(empty, empty), places=empty, weights=np.empty(0), lowest=lowest)
    return Entries(
        persons=(columns[0], columns[1]), places=columns[2], weights=columns[3], lowest=lowest
    )


def _blocks(gallery: Gallery) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Give the first row of each block, and its similarities to all faces from that row on."""
    for start in range(0, len(gallery.vectors), BLOCK):
        rows = gallery.vectors[start : start + BLOCK]
        yield start, rows @ gallery.vectors[start:].T


def _impostors(gallery: Gallery, start: int, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Mark the pairs of different persons above the diagonal of a block."""
    rows = gallery.person[start : start + shape[0], None]
    differs = rows != gallery.person[None, start:]
    square = differs[:, : shape[0]]
    square &= np.triu(np.ones(square.shape, dtype=np.bool_), k=1)
    return np.asarray(differs, dtype=np.bool_)


def _share(gallery: Gallery) -> Floats:
    """Weigh each face so that those of one person sum to 1."""
    pictures = np.bincount(gallery.person, minlength=gallery.persons)
    return np.asarray(1.0 / pictures[gallery.person], dtype=np.float64)


def _tail_start(counts: NDArray[np.int64]) -> int:
    """Find the lowest grid index from which on at most `MAX_TAIL` scores lie."""
    above = counts[::-1].cumsum()[::-1]
    fits = np.flatnonzero(above <= MAX_TAIL)
    return int(fits[0]) if fits.size else len(GRID) - 1


def _curve_of(entries: Entries) -> Curve:
    counts = np.bincount(entries.places, minlength=len(GRID)).astype(np.int64)
    weights = np.bincount(entries.places, weights=entries.weights, minlength=len(GRID))
    return from_histogram(weights.astype(np.float64), counts)


def _key(persons: tuple[Numbers, ...], count: int) -> NDArray[np.int64]:
    key = np.zeros(len(persons[0]), dtype=np.int64)
    for part in persons:
        key = key * max(count, 1) + part
    return key


def _merged(entries: Entries, count: int) -> Entries:
    """Add up entries of the same persons and grid point: fewer to resample."""
    size = len(GRID)
    key = _key(entries.persons, count) * size + entries.places
    unique, inverse = np.unique(key, return_inverse=True)
    weights = np.bincount(inverse, weights=entries.weights, minlength=len(unique))
    places = (unique % size).astype(np.int32)
    rest = unique // size
    parts: list[Numbers] = []
    for _ in entries.persons:
        parts.append((rest % max(count, 1)).astype(np.int32))
        rest = rest // max(count, 1)
    return Entries(
        persons=tuple(reversed(parts)),
        places=places,
        weights=weights.astype(np.float64),
        lowest=entries.lowest,
    )
