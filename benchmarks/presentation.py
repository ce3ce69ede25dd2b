"""Presentation attacks by ISO/IEC 30107-3: APCER per type, BPCER, IAPAR, single pictures.

One picture is weak evidence; the product fuses a burst, so its rates over time are better than
these. A score at or above `live_from` is *live*, one below `spoof_below` *spoof*, between the two
*undecided*. An attack error is an attack called live; a bona fide error is a person not called so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from benchmarks.dataset import Partition, Role, partition_of, side_of
from benchmarks.metrics import (
    GRID,
    RULE_OF_THREE,
    ZERO,
    Claim,
    Curve,
    Interval,
    bpcer_at_apcer,
    claim,
    curve,
    grid_index,
    highest_with_miss,
    interval_of,
)
from benchmarks.resampling import draw_persons, share_replicates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.acquisition import Item
    from benchmarks.matching import Bootstrap
    from verifier.pipeline.profile import LivenessThresholds

    IsError: TypeAlias = Callable[[NDArray[np.float64]], NDArray[np.bool_]]

APCER_POINTS: Final = (0.05, 0.01)
"""BPCER is told at these, as ISO/IEC 30107-3 reports do (BPCER20 and BPCER100)."""
SPOOF_SHARE: Final = 0.2
"""Of the bona fide errors, so many may be the graver kind: *spoof* instead of *undecided*."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRate:
    """A share of presentations that went wrong, with what it stands on."""

    presentations: int
    """Those that got an answer."""
    no_response: int
    """Further ones without: no face, or a quality that is no evidence (APNRR, BPNRR)."""
    subjects: int
    """Persons, or pictures of unknown persons: what counts as independent."""
    errors: int
    rate: float | None
    """None without a presentation that got an answer."""
    interval: Interval | None = None
    claim: Claim | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Presentations:
    """One side of the split at one pair of thresholds."""

    bpcer: ErrorRate
    """Bona fide not called live."""
    called_spoof: ErrorRate
    """Bona fide called an attack outright; part of BPCER."""
    apcer: Mapping[str, ErrorRate]
    """Attack type -> attacks called live."""
    bpcer_at_apcer: Mapping[float, tuple[float, float] | None]
    """APCER -> BPCER and the threshold; None where a side is empty."""
    bona_fide: Curve
    attacks: Mapping[str, Curve]

    @property
    def worst(self) -> str | None:
        """The type with the highest APCER: the headline. None without an attack."""
        heard = {kind: one.rate for kind, one in self.apcer.items() if one.rate is not None}
        return max(heard, key=lambda kind: heard[kind], default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class LivenessStudy:
    """Everything about liveness."""

    live_from: float
    spoof_below: float
    located: bool
    """Whether the tuning side carries the target; otherwise the thresholds are those before."""
    why: str
    """How the thresholds came about, in words."""
    tuning: Presentations
    report: Presentations
    everybody: Presentations
    """Both sides together: fair where the thresholds were kept, and only then worth quoting."""


def study_liveness(
    items: Sequence[Item],
    *,
    target_bpcer: float | None,
    target_apcer: float | None,
    before: LivenessThresholds,
    bootstrap: Bootstrap,
) -> LivenessStudy | None:
    """Recommend thresholds on one half of the subjects and measure on the other; None without data.

    Exactly one target is given. With too few subjects (fewer than 3 expected errors at the target,
    the rule of three turned round) the thresholds before are kept.
    """
    shown = [one for one in items if one.picture.live or one.picture.role is not Role.IDENTITY]
    if not shown:
        return None
    sides = {part: on_side(shown, part, bootstrap.seed) for part in Partition}
    tuning = sides[Partition.TUNING]
    why = _too_few(tuning, target_bpcer, target_apcer)
    if why:
        live_from, spoof_below = before.live_from, before.spoof_below
    else:
        live_from, spoof_below, why = _recommend(tuning, target_bpcer, target_apcer, before)
    measured = [
        measure_presentations(some, live_from, spoof_below, bootstrap)
        for some in (tuning, sides[Partition.REPORT], shown)
    ]
    return LivenessStudy(
        live_from=live_from,
        spoof_below=spoof_below,
        located=not _too_few(tuning, target_bpcer, target_apcer),
        why=why,
        tuning=measured[0],
        report=measured[1],
        everybody=measured[2],
    )


def measure_presentations(
    items: Sequence[Item], live_from: float, spoof_below: float, bootstrap: Bootstrap
) -> Presentations:
    """Measure all rates of some presentations at two thresholds."""
    bona_fide = [one for one in items if one.picture.role is not Role.ATTACK]
    kinds = sorted({one.picture.attack_type for one in items if one.picture.role is Role.ATTACK})
    attacks = {kind: [one for one in items if one.picture.attack_type == kind] for kind in kinds}
    curves = {kind: score_curve(some) for kind, some in attacks.items()}
    live = score_curve(bona_fide)
    return Presentations(
        bpcer=_error_rate(bona_fide, lambda scores: scores < live_from, bootstrap),
        called_spoof=_error_rate(bona_fide, lambda scores: scores < spoof_below, bootstrap),
        apcer={
            kind: _error_rate(some, lambda scores: scores >= live_from, bootstrap)
            for kind, some in attacks.items()
        },
        bpcer_at_apcer={
            point: bpcer_at_apcer(live, list(curves.values()), point) for point in APCER_POINTS
        },
        bona_fide=live,
        attacks=curves,
    )


def measure_iapar(
    items: Sequence[Item],
    *,
    similarity_from: float,
    live_from: float,
    located: bool,
    bootstrap: Bootstrap,
) -> dict[str, ErrorRate]:
    """Give, per attack type, the share of attacks accepted as their victim: IAPAR.

    Only attacks whose victim is among the identities. Accepted is what is called live *and* whose
    median similarity to the victim's pictures reaches the threshold. Where one of the thresholds
    was `located` on these items, persons of the report side only: the others chose it.
    """
    if located:
        items = on_side(items, Partition.REPORT, bootstrap.seed)
    references: dict[str, list[NDArray[np.float32]]] = {}
    for one in items:
        if one.picture.role is Role.IDENTITY and one.comparable and one.seen.embedding is not None:
            references.setdefault(one.picture.subject, []).append(one.seen.embedding)
    found: dict[str, list[Item]] = {}
    for one in items:
        if one.picture.role is Role.ATTACK and one.picture.victim in references:
            found.setdefault(one.picture.attack_type, []).append(one)
    return {
        kind: _rate_of(
            some,
            [
                _accepted(one, references[one.picture.victim], similarity_from, live_from)
                for one in some
                if answered(one)
            ],
            bootstrap,
        )
        for kind, some in sorted(found.items())
    }


def on_side(items: Sequence[Item], part: Partition, seed: int) -> list[Item]:
    """Keep the items of one side of the split; an attack goes with its victim."""
    return [one for one in items if partition_of(side_of(one.picture), seed) is part]


def answered(item: Item) -> bool:
    """Tell whether the product would let liveness speak about this picture."""
    return item.seen.liveness is not None and item.comparable


def score_curve(items: Sequence[Item]) -> Curve:
    """Make the curve of the liveness scores of presentations that got an answer."""
    return curve(_scores(items))


def _scores(items: Sequence[Item]) -> NDArray[np.float64]:
    return np.array([one.seen.liveness for one in items if answered(one)], dtype=np.float64)


def _accepted(
    item: Item,
    references: Sequence[NDArray[np.float32]],
    similarity_from: float,
    live_from: float,
) -> bool:
    if item.seen.liveness is None or item.seen.liveness < live_from or item.seen.embedding is None:
        return False
    return float(np.median(np.stack(references) @ item.seen.embedding)) >= similarity_from


def _error_rate(items: Sequence[Item], is_error: IsError, bootstrap: Bootstrap) -> ErrorRate:
    return _rate_of(items, is_error(_scores(items)).tolist(), bootstrap)


def _rate_of(items: Sequence[Item], wrong: Sequence[bool], bootstrap: Bootstrap) -> ErrorRate:
    """Make the rate of `wrong`, one value per presentation that got an answer."""
    heard = [one for one in items if answered(one)]
    names, units = np.unique([one.picture.subject for one in heard], return_inverse=True)
    errors = np.array(wrong, dtype=np.bool_)
    count, subjects = int(errors.sum()), len(names)
    if not heard:
        return ErrorRate(presentations=0, no_response=len(items), subjects=0, errors=0, rate=None)
    rate = count / len(heard)
    draws = draw_persons(subjects, bootstrap.replicates, np.random.default_rng(bootstrap.seed))
    replicates = share_replicates(errors, units.reshape(-1), draws)
    interval = interval_of(replicates, rate, errors=count, independent=subjects)
    return ErrorRate(
        presentations=len(heard),
        no_response=len(items) - len(heard),
        subjects=subjects,
        errors=count,
        rate=rate,
        interval=interval,
        claim=claim(rate, interval, subjects),
    )


def _too_few(items: Sequence[Item], target_bpcer: float | None, target_apcer: float | None) -> str:
    """Say why a target cannot be located on these presentations; empty where it can."""
    heard = [one for one in items if answered(one)]
    persons = len({one.picture.subject for one in heard if one.picture.role is not Role.ATTACK})
    by_type = Counter(
        kind
        for kind, _ in {
            (one.picture.attack_type, one.picture.subject)
            for one in heard
            if one.picture.role is Role.ATTACK
        }
    )
    target, there, whom = (
        (target_bpcer, persons, "bona fide subjects")
        if target_apcer is None
        else (target_apcer, min(by_type.values(), default=0), "subjects of the rarest attack type")
    )
    if target is None:
        raise ValueError("one of the two targets must be given")
    needed = int(np.ceil(RULE_OF_THREE / target))
    if persons and by_type and there >= needed:
        return ""
    return (
        f"thresholds kept: the tuning side has {there} {whom}, a rate of {target:g} needs {needed}"
        " there"
    )


def _recommend(
    items: Sequence[Item],
    target_bpcer: float | None,
    target_apcer: float | None,
    before: LivenessThresholds,
) -> tuple[float, float, str]:
    bona_fide = [one for one in items if one.picture.role is not Role.ATTACK]
    live = score_curve(bona_fide)
    if target_apcer is None:
        target = target_bpcer or 0.0
        live_from = max(highest_with_miss(live, target), 0.0)
        why = f"live_from: the highest threshold with a BPCER of at most {target:g}"
    else:
        kinds = sorted({one.picture.attack_type for one in items} - {""})
        attacks = [
            score_curve([one for one in items if one.picture.attack_type == kind]) for kind in kinds
        ]
        worst = np.max([one.at_or_above for one in attacks], axis=0)
        fits = np.flatnonzero(worst[ZERO:] <= target_apcer)
        live_from = float(GRID[ZERO + fits[0]]) if fits.size else 1.0
        why = f"live_from: the lowest threshold with a worst-type APCER of at most {target_apcer:g}"
    graver = SPOOF_SHARE * float(live.below[grid_index(live_from)])
    subjects = len({one.picture.subject for one in bona_fide if answered(one)})
    if graver * subjects >= RULE_OF_THREE:
        spoof_below = min(max(highest_with_miss(live, graver), 0.0), live_from)
        why += f"; spoof_below: a fifth of that BPCER ({graver:.2g}) falls below"
    else:
        spoof_below = min(before.spoof_below, live_from)
        why += "; spoof_below kept: too few subjects for a fifth of that BPCER"
    return live_from, spoof_below, why
