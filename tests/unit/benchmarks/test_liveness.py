"""Tests of the rates and the window of the liveness benchmark."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.liveness import Rates, window_around
from verifier.types import Face, Frame


def rates(kind: str, live: int, undecided: int, spoof: int, no_face: int) -> Rates:
    """Outcomes of ten presentations."""
    return Rates(
        kind=kind, unit="image", presentations=10, persons=5, live=live, undecided=undecided,
        spoof=spoof, no_face=no_face,
    )  # fmt: skip


def test_of_the_living_all_that_is_not_called_live_is_an_error() -> None:
    """Undecided and unseen are rejections too; false accusations are told apart."""
    found = rates("simulated, bona fide", 6, 2, 1, 1).error_rates()
    assert found == {"bpcer": pytest.approx(0.4), "bona_fide_called_spoof": pytest.approx(0.1)}


def test_of_attacks_only_those_called_live_are_errors() -> None:
    """Undecided is not accepted."""
    assert rates("simulated print", 3, 2, 4, 1).error_rates() == {"apcer": pytest.approx(0.3)}


@given(
    x=st.floats(-40, 600),
    y=st.floats(-40, 400),
    width=st.floats(10, 600),
    height=st.floats(10, 600),
)
def test_the_window_lies_inside_the_photograph(
    x: float, y: float, width: float, height: float
) -> None:
    """Fractions from 0 to 1, left before right, top above bottom."""
    frame = Frame(pixels=np.zeros((480, 640, 3), dtype=np.uint8), digest="")
    face = Face(box=(x, y, width, height), score=0.9, landmarks=np.zeros((5, 2), np.float32))
    left, top, right, bottom = window_around(frame, face)
    assert -1e-9 <= left < right <= 1 + 1e-9
    assert -1e-9 <= top < bottom <= 1 + 1e-9
