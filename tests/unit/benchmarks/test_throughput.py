"""The grid of workers and batches: which ways make sense, what is made of them."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest

from benchmarks.throughput import Cell, Filled, batch_work, cells_of, fill_threads

if TYPE_CHECKING:
    from collections.abc import Sequence


class _Bench:
    """Counts what it is asked for instead of doing it."""

    def __init__(self) -> None:
        self.jpegs = [b"a", b"b", b"c"]
        self.asked: list[list[bytes]] = []

    def batch(self, turn: int, size: int) -> list[bytes]:
        """Give the frames of a turn, as the real one does."""
        return [self.jpegs[(turn * size + i) % 3] for i in range(size)]

    def check(self, jpegs: Sequence[bytes]) -> None:
        """Note the batch."""
        self.asked.append(list(jpegs))


def test_a_cpu_gets_threads_and_processes_up_to_two() -> None:
    """One and two of both, and never more than there are processors."""
    cells = cells_of("cpu", 2)
    assert {cell.workers for cell in cells} == {1, 2}
    assert {cell.kind for cell in cells} == {"threads", "processes"}
    assert not any(cell.decoded for cell in cells)
    assert {cell.workers for cell in cells_of("cpu", 1)} == {1}


def test_a_gpu_gets_decoded_frames_and_larger_batches() -> None:
    """Decoding is not its work; large batches are."""
    cells = cells_of("cuda", 16)
    assert all(cell.decoded for cell in cells)
    assert max(cell.batch for cell in cells) >= 32
    assert max(cell.workers for cell in cells) > 2


def test_names_are_those_of_metrics() -> None:
    """Comparisons and targets find them by name."""
    assert Cell(workers=2, batch=8).name == "threads2.batch8"
    assert Cell(workers=1, batch=1, kind="processes").name == "processes1.batch1"


@pytest.mark.parametrize("workers", [1, 2])
def test_threads_work_through_the_frames_in_turn(workers: int) -> None:
    """Batches follow one another over all frames, and each is counted."""
    bench, found = _Bench(), Filled([], [])
    fill_threads(bench, Cell(workers=workers, batch=2), 0.02, found)  # type: ignore[arg-type]
    assert len(found.batches_ms) == len(bench.asked) >= workers
    assert {tuple(batch) for batch in bench.asked} <= {(b"a", b"b"), (b"c", b"a"), (b"b", b"c")}
    (per_s,) = found.per_s
    assert per_s > 0


def test_each_batch_is_the_next_one() -> None:
    """No frame is skipped."""
    bench = _Bench()
    work = batch_work(bench, count(), Cell(workers=1, batch=2))  # type: ignore[arg-type]
    for _ in range(3):
        work()
    assert [frame for batch in bench.asked for frame in batch] == [b"a", b"b", b"c"] * 2
