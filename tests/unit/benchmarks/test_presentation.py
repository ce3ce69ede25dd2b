"""Presentation attack rates against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.acquisition import Item
from benchmarks.dataset import Partition, Picture, Role, partition_of
from benchmarks.matching import Bootstrap
from benchmarks.observe import Observation
from benchmarks.presentation import (
    Presentations,
    measure_iapar,
    measure_presentations,
    study_liveness,
)
from benchmarks.tune import silent
from verifier.pipeline.profile import LivenessThresholds

BOOTSTRAP = Bootstrap(seed=0, stage=silent, replicates=50)
BEFORE = LivenessThresholds(live_from=0.75, spoof_below=0.45)
ALIKE = np.array([1.0, 0.0], dtype=np.float32)
ANOTHER = np.array([0.0, 1.0], dtype=np.float32)


def shown(
    subject: str,
    score: float | None,
    kind: str = "",
    *,
    victim: str = "",
    vector: np.ndarray = ALIKE,
    reasons: tuple[str, ...] = (),
) -> Item:
    """Present something: an attack where it has a kind, else somebody real."""
    return Item(
        picture=Picture(
            role=Role.ATTACK if kind else Role.BONA_FIDE,
            source="set",
            subject=subject,
            place=subject,
            key=subject,
            read=bytes,
            attack_type=kind,
            victim=victim,
        ),
        seen=Observation(
            digest=f"{subject}{kind}{score}", reasons=reasons, liveness=score, embedding=vector
        ),
    )


def identity(subject: str, vector: np.ndarray = ALIKE) -> Item:
    """Make an enrolled picture of a person."""
    return Item(
        picture=Picture(
            role=Role.IDENTITY,
            source="set",
            subject=subject,
            place=subject,
            key=subject,
            read=bytes,
        ),
        seen=Observation(digest=subject, reasons=(), embedding=vector),
    )


def measured(*items: Item) -> Presentations:
    """Measure at 0.75 and 0.45."""
    return measure_presentations(items, 0.75, 0.45, BOOTSTRAP)


def test_rates_by_hand() -> None:
    """Each type has its own APCER, and the worst is the headline."""
    found = measured(
        shown("a", 0.9),
        shown("b", 0.75),
        shown("c", 0.6),
        shown("d", 0.1),
        shown("p1", 0.9, "print"),
        shown("p2", 0.1, "print"),
        shown("s1", 0.2, "screen"),
    )
    assert found.bpcer.rate == 0.5
    assert found.called_spoof.rate == 0.25
    assert {kind: one.rate for kind, one in found.apcer.items()} == {"print": 0.5, "screen": 0.0}
    assert found.worst == "print"


def test_no_response_is_told_apart_from_an_error() -> None:
    """A picture without a face, or of no use as evidence, is neither alive nor an attack."""
    found = measured(
        shown("a", 0.9),
        shown("b", None, reasons=("no_face",)),
        shown("c", 0.1, reasons=("blurred",)),
        shown("d", 0.9, reasons=("occluded",)),
    )
    assert (found.bpcer.presentations, found.bpcer.no_response) == (2, 2)
    assert found.bpcer.rate == 0.0
    assert found.worst is None


def test_few_subjects_claim_little() -> None:
    """Ten pictures of two persons carry no claim at all, ten of ten persons 30 %."""
    two = measured(*(shown("ab"[n % 2], 0.9 + n / 1000) for n in range(10)))
    ten = measured(*(shown(f"person {n}", 0.9) for n in range(10)))
    assert two.bpcer.claim is not None
    assert ten.bpcer.claim is not None
    assert two.bpcer.claim.claimed == 1.0
    assert ten.bpcer.claim.claimed == pytest.approx(0.3)


def test_iapar_needs_liveness_and_likeness() -> None:
    """Of four attacks on known persons one is both called live and like its victim."""
    items = [
        identity("ann"),
        identity("bob", ANOTHER),
        shown("ann", 0.9, "print", victim="ann"),
        shown("ann", 0.2, "print", victim="ann"),
        shown("bob", 0.9, "print", victim="bob"),
        shown("bob", 0.9, "print", victim="bob", reasons=("blurred",)),
        shown("stranger", 0.9, "mask"),
    ]
    found = measure_iapar(
        items, similarity_from=0.5, live_from=0.75, located=False, bootstrap=BOOTSTRAP
    )
    assert list(found) == ["print"]
    assert found["print"].rate == pytest.approx(1 / 3)
    assert found["print"].no_response == 1


def test_iapar_is_told_of_persons_who_chose_no_threshold() -> None:
    """Where one was located, the attacks on the tuning side's victims say nothing new."""
    names = [f"person {n}" for n in range(40)]
    report = [one for one in names if partition_of(one, BOOTSTRAP.seed) is Partition.REPORT]
    assert 10 < len(report) < 30
    items = [identity(one) for one in names]
    items += [
        shown(f"print of {one}", 0.2 if one in report else 0.9, "print", victim=one)
        for one in names
    ]
    rates = {
        located: measure_iapar(
            items, similarity_from=0.5, live_from=0.75, located=located, bootstrap=BOOTSTRAP
        )["print"]
        for located in (False, True)
    }
    assert rates[False].presentations == 40
    assert rates[False].rate == pytest.approx(1 - len(report) / 40)
    assert (rates[True].presentations, rates[True].rate) == (len(report), 0.0)


def many(count: int) -> list[Item]:
    """Present as many living persons (0.5 to 1) as prints (0 to 0.5)."""
    rng = np.random.default_rng(0)
    return [shown(f"live {n}", 0.5 + rng.random() / 2) for n in range(count)] + [
        shown(f"print {n}", rng.random() / 2, "print") for n in range(count)
    ]


def test_with_enough_subjects_the_target_sets_the_threshold() -> None:
    """At most a tenth of the tuning side's living falls below it, and one step more would."""
    found = study_liveness(
        many(400), target_bpcer=0.1, target_apcer=None, before=BEFORE, bootstrap=BOOTSTRAP
    )
    assert found is not None
    assert found.located
    rate = found.tuning.bpcer.rate
    assert rate is not None
    assert 0.08 < rate <= 0.1
    assert 0.53 < found.live_from < 0.58
    assert found.spoof_below <= found.live_from
    assert found.tuning.bpcer.subjects + found.report.bpcer.subjects == 400


def test_a_target_for_attacks_sets_the_threshold_too() -> None:
    """At most a twentieth of the prints of the tuning side is called live."""
    found = study_liveness(
        many(400), target_bpcer=None, target_apcer=0.05, before=BEFORE, bootstrap=BOOTSTRAP
    )
    assert found is not None
    assert found.located
    rate = found.tuning.apcer["print"].rate
    assert rate is not None
    assert 0.03 < rate <= 0.05
    assert 0.45 < found.live_from < 0.5


@pytest.mark.parametrize(
    ("bpcer", "apcer", "whom"), [(0.05, None, "bona fide"), (None, 0.05, "rarest attack type")]
)
def test_too_few_subjects_keep_the_thresholds(
    bpcer: float | None, apcer: float | None, whom: str
) -> None:
    """Ten persons cannot tell five in a hundred; the reason is written down."""
    found = study_liveness(
        many(10), target_bpcer=bpcer, target_apcer=apcer, before=BEFORE, bootstrap=BOOTSTRAP
    )
    assert found is not None
    assert not found.located
    assert (found.live_from, found.spoof_below) == (0.75, 0.45)
    assert whom in found.why
    assert found.everybody.bpcer.presentations == 10


def test_pictures_of_one_person_are_on_one_side() -> None:
    """A hundred pictures of one person are one subject, on one side."""
    items = [shown("ann", 0.8 + n / 1000) for n in range(100)] + many(20)[20:]
    found = study_liveness(
        items, target_bpcer=0.05, target_apcer=None, before=BEFORE, bootstrap=BOOTSTRAP
    )
    assert found is not None
    assert sorted((found.tuning.bpcer.presentations, found.report.bpcer.presentations)) == [0, 100]


def test_without_presentations_there_is_no_study() -> None:
    """Identities alone say nothing of liveness."""
    items = [identity("a"), identity("b")]
    assert (
        study_liveness(
            items, target_bpcer=0.05, target_apcer=None, before=BEFORE, bootstrap=BOOTSTRAP
        )
        is None
    )
