"""Two engines on the same frames: what counts as different, and real engines that are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from benchmarks.agreement import TOLERANCES, _apart, _found, _row, run
from benchmarks.job import Job
from verifier.errors import InferenceFailed
from verifier.models.network import Network
from verifier.types import Decision, Evidence, Face, LivenessDecision, Reason

if TYPE_CHECKING:
    from verifier.pipeline.engine import Engine

REFERENCE = np.array([1.0, 0.0], dtype=np.float32)
FACE = Face(box=(10.0, 10.0, 50.0, 60.0), score=0.9, landmarks=np.zeros((5, 2), np.float32))
ONE = Evidence(digest="", faces=(FACE,), embedding=REFERENCE, liveness_score=0.9)


class Judge:
    """Calls a match from 0.5 on, and live from 0.75 on."""

    providers = {"embedder": "paper"}  # noqa: RUF012 - read only

    def judge(self, evidence: list[Evidence], reference: np.ndarray) -> Any:
        """Decide about one frame."""
        (one,) = evidence
        similar = one.embedding is not None and float(one.embedding @ reference) >= 0.5
        live = (one.liveness_score or 0) >= 0.75
        return _Verdict(
            decision=Decision.MATCH if similar else Decision.MISMATCH,
            liveness=_Live(LivenessDecision.LIVE if live else LivenessDecision.UNDECIDED),
        )


class _Live:
    def __init__(self, decision: LivenessDecision) -> None:
        self.decision = decision


class _Verdict:
    def __init__(self, *, decision: Decision, liveness: _Live) -> None:
        self.decision = decision
        self.liveness = liveness


JUDGES = cast("list[Engine]", [Judge(), Judge()])


def turned(cosine: float) -> np.ndarray:
    """Give a unit vector of this cosine to the reference."""
    return np.array([cosine, (1 - cosine**2) ** 0.5], dtype=np.float32)


def equal(other: Evidence) -> tuple[bool, list[str]]:
    """Tell whether the section says equal, and which tolerances are not held."""
    job = Job(pack="open", faces=Path(), against="openvino")
    rows = [
        _row(JUDGES, ONE, one, REFERENCE)
        | _apart("liveness", ONE.liveness_score, one.liveness_score)
        for one in (ONE, other)
    ]
    detail = _found(job, JUDGES, rows).detail
    return detail["equal"], [one["name"] for one in detail["differences"] if not one["held"]]


def test_the_same_answers_are_equal() -> None:
    """No difference in any value, and the greatest one of each is told."""
    assert equal(ONE) == (True, [])


@pytest.mark.parametrize(
    ("change", "beyond"),
    [
        ({"embedding": turned(0.998)}, ["embedding", "similarity"]),
        ({"liveness_score": 0.905}, ["liveness"]),
        ({"faces": (replace(FACE, box=(10.0, 10.0, 50.0, 61.0)),)}, ["box"]),
        ({"faces": (replace(FACE, landmarks=np.full((5, 2), 0.3, np.float32)),)}, ["landmarks"]),
    ],
)
def test_a_value_beyond_its_tolerance_is_told(change: dict[str, Any], beyond: list[str]) -> None:
    """Each by itself, though the verdict stays."""
    assert equal(replace(ONE, **change)) == (False, beyond)


@pytest.mark.parametrize(
    "change",
    [
        {"embedding": None, "reasons": (Reason.BLURRED,)},
        {"faces": (), "reasons": (Reason.NO_FACE,), "embedding": None, "liveness_score": None},
        {"faces": (FACE, FACE)},
        {"liveness_score": None},
    ],
)
def test_what_only_one_engine_has_is_unequal(change: dict[str, Any]) -> None:
    """A value that is missing on one side cannot be within a tolerance."""
    assert equal(replace(ONE, **change))[0] is False


def test_a_verdict_that_flips_is_unequal_however_near_the_values_are() -> None:
    """Two frames on either side of a threshold."""
    one, other = (replace(ONE, embedding=turned(cosine)) for cosine in (0.50001, 0.49999))
    row = _row(JUDGES, one, other, REFERENCE)
    assert row["same"] is False
    assert row["similarity"] < TOLERANCES["similarity"].most


def test_one_provider_is_no_comparison() -> None:
    """With itself everything is equal."""
    for against in ("", "cpu"):
        with pytest.raises(InferenceFailed, match="two providers"):
            run(Job(pack="open", faces=Path(), against=against), lambda *_: None)


@pytest.mark.models
@pytest.mark.faces
@pytest.mark.slow
def test_real_engines_agree_and_a_coarse_one_does_not(
    pack_dir: Path, faces_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float32 onnxruntime and OpenVINO are the same; one that rounds to eight bits is not."""
    monkeypatch.setenv("BENREN_MODELS", str(pack_dir))
    job = Job(pack="open", faces=faces_dir, quick=True, against="openvino")
    found = run(job, lambda *_: None)
    assert found.detail["equal"], found.detail
    assert found.detail["frames"] >= 30
    assert found.detail["engines"][0] != found.detail["engines"][1]
    original = Network.run

    def coarse(self: Network, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        outputs = original(self, batch)
        if "CPUExecutionProvider" not in self.provider:
            return outputs
        return tuple(np.round(one * 64) / 64 for one in outputs)

    monkeypatch.setattr(Network, "run", coarse)
    assert not run(job, lambda *_: None).detail["equal"]
