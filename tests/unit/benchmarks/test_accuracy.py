"""Tests of the counting of pairs, on outcomes made up."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy import Counts, Looked, lfw90_pairs, upper_95
from benchmarks.engines import RememberingEmbedder
from verifier.models.embedder import ARCFACE, Embedder
from verifier.pipeline.engine import Enrolment
from verifier.types import Decision, Frame


def looked(person: str) -> Looked:
    """A photograph of which only the person matters."""
    frame = Frame(pixels=np.zeros((1, 1, 3), dtype=np.uint8), digest="")
    nothing = Enrolment(embedding=None, quality=None, reasons=(), face=None)
    return Looked(name=person, person=person, frame=frame, faces=(), reference=nothing)


def counted(genuine: list[Decision], impostor: list[Decision]) -> Counts:
    """Count made-up decisions."""
    counts = Counts("made up")
    for decision in genuine:
        counts.add(looked("anna"), looked("anna"), decision, 0.1)
    for decision in impostor:
        counts.add(looked("anna"), looked("ben"), decision, 0.9)
    return counts


def test_no_evidence_counts_as_a_false_non_match_and_is_told_apart() -> None:
    """Ten genuine pairs: 7 match, 1 does not, 2 say nothing."""
    counts = counted(
        [Decision.MATCH] * 7 + [Decision.MISMATCH] + [Decision.NO_EVIDENCE] * 2,
        [Decision.MISMATCH] * 29 + [Decision.NO_EVIDENCE],
    )
    rates = counts.rates()
    assert rates["fnmr"] == pytest.approx(0.3)
    assert rates["fnmr_of_judged"] == pytest.approx(1 / 8)
    assert rates["no_evidence"] == pytest.approx(3 / 40)
    assert rates["fmr"] == 0


def test_no_smaller_rate_is_claimed_than_the_persons_carry() -> None:
    """Without an error the bound is 3 over comparisons that share no person, not over pairs."""
    counts = Counts("made up")
    crowd = [looked(f"person {n}") for n in range(120)]
    for reference, probe in combinations(crowd, 2):
        counts.add(reference, probe, Decision.MISMATCH, 0.1)
    for one in crowd[:30]:
        for _ in range(10):
            counts.add(one, one, Decision.MATCH, 0.9)
    assert counts.independent == {"impostor": 60, "genuine": 30}
    rates = counts.rates()
    assert rates["fmr_upper_95"] == pytest.approx(3 / 60)
    assert rates["fnmr_upper_95"] == pytest.approx(3 / 30)
    few = counted([Decision.MATCH] * 450, [Decision.MISMATCH] * 4_500).rates()
    assert few["fmr_upper_95"] == few["fnmr_upper_95"] == 1.0, "two persons carry nothing"


def test_with_errors_the_bound_lies_above_the_rate() -> None:
    """By the error among independent trials, and never below 3 / n."""
    assert upper_95(0.1, 100) == pytest.approx(0.1 + 1.645 * 0.03)
    assert upper_95(0.001, 100) == pytest.approx(0.03)
    assert upper_95(0.5, 0) == 1.0
    assert upper_95(None, 10) is None


def test_what_is_written_names_no_person() -> None:
    """But those of pairs that were judged wrongly."""
    told = counted([Decision.MATCH], [Decision.MISMATCH]).to_json()
    assert (told["genuine_persons"], told["impostor_persons"]) == (1, 2)
    assert "anna" not in json.dumps(told)


def test_without_pairs_there_are_no_rates() -> None:
    """Nothing measured is nothing claimed."""
    assert set(counted([], []).rates().values()) == {None}


def test_wrong_pairs_are_listed() -> None:
    """False matches and false non-matches by name, pairs without evidence not."""
    counts = counted([Decision.MISMATCH, Decision.NO_EVIDENCE], [Decision.MATCH])
    assert counts.errors == ["anna anna 0.100", "anna ben 0.900"]


def test_the_official_pairs_are_read(tmp_path: Path) -> None:
    """Three words are a genuine pair, four an impostor pair."""
    lines = "5\t300\nAbel_Pacheco\t1\t4\nAaron_Peirsol\t2\tZico\t13\n"
    (tmp_path / "lfw90_pairs_folds1-5.txt").write_text(lines, encoding="utf-8")
    assert lfw90_pairs(tmp_path) == [
        ("Abel_Pacheco_0001", "Abel_Pacheco_0004"),
        ("Aaron_Peirsol_0002", "Zico_0013"),
    ]


class Counting:
    """Embeds a crop as its first pixel and counts."""

    id = "counting@00"
    pixels = None

    def __init__(self) -> None:
        self.rows = 0

    def run(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        """Give the first pixel, shifted away from 0."""
        self.rows += len(batch)
        return (batch[:, :, 0, 0] + 3,)


def test_the_remembering_embedder_gives_what_the_plain_one_gives() -> None:
    """Each crop is computed once; order and values stay."""
    network = Counting()
    plain = Embedder(network, ARCFACE)  # type: ignore[arg-type]
    crops = [np.full((112, 112, 3), (v, 0, 255 - v), dtype=np.uint8) for v in (0, 90, 250)]
    expected = plain.embed(crops)
    network.rows = 0
    remembering = RememberingEmbedder(plain)
    assert np.allclose(remembering.embed(crops[:2]), expected[:2])
    assert np.allclose(remembering.embed(crops[::-1]), expected[::-1])
    assert network.rows == 3
