"""Tests of the counting of pairs, on outcomes made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy import Counts, Looked, lfw90_pairs
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


def test_no_smaller_fmr_is_claimed_than_the_data_carry() -> None:
    """Without an error among 30, a tenth is the bound; with errors it lies above the rate."""
    assert counted([], [Decision.MISMATCH] * 30).rates()["fmr_upper_95"] == pytest.approx(0.1)
    rates = counted([], [Decision.MATCH] * 2 + [Decision.MISMATCH] * 98).rates()
    assert rates["fmr"] == pytest.approx(0.02)
    assert rates["fmr_upper_95"] is not None
    assert 0.04 < rates["fmr_upper_95"] < 0.07


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
