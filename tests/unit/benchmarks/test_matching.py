"""A threshold is recommended on some persons, measured on others, and claimed with restraint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest

from benchmarks import matching
from benchmarks.acquisition import Item
from benchmarks.dataset import DatasetUnusable, PairList, Partition, Picture, Role, partition_of
from benchmarks.matching import (
    Bootstrap,
    Choice,
    Matching,
    gallery_of,
    needed_persons,
    study_matching,
)
from benchmarks.observe import Observation
from benchmarks.similarity import compare_all
from benchmarks.tune import silent
from verifier.pipeline.profile import EmbedderThresholds, OperatingPoint

BOOTSTRAP = Bootstrap(seed=0, stage=silent, replicates=60)


def face(person: int, number: int, spread: float, source: str = "set") -> Item:
    """Make a picture of a person, with a vector near that person's own."""
    vector = np.random.default_rng(person).standard_normal(24)
    vector += np.random.default_rng((person, number)).normal(0, spread, 24)
    vector /= np.linalg.norm(vector)
    return Item(
        picture=Picture(
            role=Role.IDENTITY,
            source=source,
            subject=f"person {person}",
            place=f"{person}/{number}",
            key=f"{person}/{number}",
            read=bytes,
        ),
        seen=Observation(
            digest=f"{source}{person}/{number}", reasons=(), embedding=vector.astype(np.float32)
        ),
    )


def crowd(persons: int, pictures: int = 2, spread: float = 0.5) -> list[Item]:
    """Make persons with some pictures each."""
    return [face(p, n, spread) for p in range(persons) for n in range(pictures)]


def before(threshold: float) -> EmbedderThresholds:
    """Make what a profile already says."""
    point = OperatingPoint(fmr=0.01, similarity=-0.5, fnmr=0.5)
    return EmbedderThresholds(threshold=threshold, points=(point,))


def study(
    items: Sequence[Item],
    *,
    target: float,
    known: EmbedderThresholds | None = None,
    lists: Sequence[PairList] = (),
) -> Matching:
    """Run a study with few replicates."""
    return study_matching(items, lists, target=target, before=known, bootstrap=BOOTSTRAP)


def test_the_threshold_holds_its_target_on_the_tuning_side() -> None:
    """It is the lowest with that FMR there; the other side says what it is really worth."""
    items = crowd(200)
    found = study(items, target=0.01)
    assert found.choice is Choice.LOCATED
    assert found.at.tuning.fmr is not None
    assert found.at.tuning.fmr <= 0.01
    tuning = [i for i in items if partition_of(i.picture.subject, 0) is Partition.TUNING]
    below = compare_all(gallery_of(tuning)).impostor
    index = np.searchsorted(matching.GRID, found.threshold - 0.0005) - 1
    assert below.at_or_above[index] > 0.01
    assert found.at.report.fmr is not None
    assert found.at.report.fmr_interval is not None
    assert found.at.report.fmr_interval.low <= found.at.report.fmr
    assert found.at.report.fmr <= found.at.report.fmr_interval.high


def test_no_person_of_the_report_side_moves_the_threshold() -> None:
    """Spoil every picture of the report side: the threshold stays, the rates do not."""
    items = crowd(200)
    spoiled = [
        face(0, n, 5.0) if partition_of(item.picture.subject, 0) is Partition.REPORT else item
        for n, item in enumerate(items)
    ]
    spoiled = [
        Item(picture=item.picture, seen=other.seen)
        for item, other in zip(items, spoiled, strict=True)
    ]
    honest, dishonest = study(items, target=0.01), study(spoiled, target=0.01)
    assert honest.threshold == dishonest.threshold
    assert honest.tuning.size == dishonest.tuning.size
    assert honest.at.report.fmr != dishonest.at.report.fmr


def test_both_sides_together_are_everybody() -> None:
    """Nobody is on both sides, nobody on none."""
    found = study(crowd(150), target=0.02)
    assert found.tuning.size.persons + found.report.size.persons == 150
    assert found.tuning.size.genuine + found.report.size.genuine == 150


def test_the_claim_is_bound_by_persons() -> None:
    """100 persons make thousands of pairs, but carry no claim below 3/50."""
    found = study(crowd(200), target=0.01)
    independent = found.report.size.persons // 2
    assert found.report.size.impostor > 10_000
    assert found.at.claim.claimed >= 3 / independent
    assert not found.at.claim.carries(0.01)
    for level in found.levels:
        assert level.claim.claimed >= 3 / independent


def test_too_few_persons_keep_the_threshold_before() -> None:
    """40 persons cannot show where one impostor in ten thousand is let in."""
    found = study(crowd(40), target=1e-4, known=before(0.95))
    assert found.choice is Choice.KEPT
    assert found.threshold == 0.95
    assert found.needed_persons > found.tuning.size.persons
    assert all(level.target >= 0.1 for level in found.levels)


def test_a_threshold_that_fails_already_is_raised() -> None:
    """Few persons suffice to see that a threshold lets nearly everybody in."""
    found = study(crowd(40), target=1e-4, known=before(-0.4))
    assert found.choice is Choice.RAISED
    assert found.threshold > -0.4
    assert found.at.tuning.false_matches == 0


def test_a_kept_threshold_is_rounded_up() -> None:
    """Thresholds of four decimals move to the next of three, never below."""
    assert study(crowd(40), target=1e-4, known=before(0.9501)).threshold == 0.951


def test_nothing_to_keep_and_too_few_to_tune_is_refused() -> None:
    """The message says how many persons it would take."""
    with pytest.raises(DatasetUnusable, match="too few") as refused:
        study(crowd(40), target=1e-4)
    assert str(needed_persons(1e-4)) in refused.value.detail


def test_a_side_without_a_genuine_pair_is_refused() -> None:
    """One person with two pictures cannot be on both sides."""
    items = [*crowd(30, pictures=1), face(0, 1, 0.5)]
    with pytest.raises(DatasetUnusable, match="no genuine pair"):
        study(items, target=0.1, known=before(0.5))


@pytest.mark.parametrize("target", [0.5, 0.1, 1e-3, 1e-4])
def test_needed_persons_are_the_fewest_that_suffice(target: float) -> None:
    """So many make pairs for thirty expected errors, one fewer do not."""
    count = needed_persons(target)
    assert count * (count - 1) / 2 * target >= 30 * (1 - 1e-9)
    assert (count - 1) * (count - 2) / 2 * target < 30


def test_sets_and_lists_are_measured_by_themselves() -> None:
    """Each source has its own row; of a list only pairs of the report side count."""
    items = [
        *crowd(60, spread=1.5),
        *(face(p, n, 0.1, "clear") for p in range(100, 140) for n in range(2)),
    ]
    everyone = [(f"{p}/0", f"{p}/1") for p in range(60)] + [("0/0", "missing/0")]
    one = PairList(name="listed", source="set", pairs=tuple(everyone))
    found = study(items, target=0.02, known=before(0.5), lists=[one])
    rows = {row.name: row for row in found.sets}
    assert list(rows) == ["clear", "set", "listed"]
    assert rows["clear"].size.persons + rows["set"].size.persons == found.report.size.persons
    assert rows["listed"].size.genuine == rows["set"].size.genuine
    assert rows["listed"].rates.fnmr == pytest.approx(rows["set"].rates.fnmr)
    assert rows["listed"].rates.fmr is None
    clear, rest = rows["clear"].rates.fnmr, rows["set"].rates.fnmr
    assert clear is not None
    assert rest is not None
    assert clear < rest


def test_progress_is_told_from_start_to_end() -> None:
    """Every bar reaches its end."""
    bars: dict[str, list[int]] = {}

    @contextmanager
    def stage(label: str, total: int) -> Iterator[object]:
        bars.setdefault(label, [0, 0])[1] += total
        yield lambda units: bars[label].__setitem__(0, bars[label][0] + units)

    study_matching(
        crowd(40),
        [],
        target=0.1,
        before=before(0.5),
        bootstrap=Bootstrap(seed=0, stage=stage, replicates=20),  # type: ignore[arg-type]
    )
    assert len(bars) >= 3
    assert all(done == total > 0 for done, total in bars.values())
