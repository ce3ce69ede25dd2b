"""What a client is told."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from verifier.streaming.advice import Advice, FrameReceipt, advise
from verifier.types import Evidence, Face, Reason

FACE = Face(box=(0.0, 0.0, 9.0, 9.0), score=0.9, landmarks=np.zeros((5, 2), np.float32))


def evidence(*reasons: Reason, faces: int = 1) -> Evidence:
    """Evidence of a frame with these reasons."""
    return Evidence(digest="0" * 64, faces=(FACE,) * faces, reasons=reasons)


@pytest.mark.parametrize(
    ("seen", "advice"),
    [
        (evidence(), Advice.OK),
        (evidence(Reason.NO_FACE, faces=0), Advice.NO_FACE),
        (evidence(faces=0), Advice.NO_FACE),
        (evidence(faces=2), Advice.SEVERAL_FACES),
        (evidence(Reason.TOO_DARK, faces=2), Advice.MORE_LIGHT),
        (evidence(Reason.BLURRED, Reason.FACE_TOO_SMALL), Advice.COME_CLOSER),
        (evidence(Reason.EYES_HIDDEN), Advice.UNCOVER_FACE),
        (evidence(Reason.TURNED_AWAY), Advice.FACE_CAMERA),
    ],
)
def test_advice(seen: Evidence, advice: Advice) -> None:
    """The most helpful advice comes first."""
    assert advise(seen) is advice


@pytest.mark.parametrize("reason", list(Reason))
def test_no_reason_leaks_identity(reason: Reason) -> None:
    """Reasons of identity and liveness give no advice; all others give one of the list."""
    told = advise(evidence(reason))
    hidden = {
        Reason.NOT_THE_SAME_PERSON,
        Reason.NOT_LIVE,
        Reason.LIVENESS_UNDECIDED,
        Reason.TOO_FEW_FRAMES,
        Reason.DUPLICATE_FRAME,
        Reason.WRONG_TURN,
        Reason.TOO_SLOW,
        Reason.FACE_LOST,
    }
    assert (told is Advice.OK) == (reason in hidden)


def test_a_receipt_holds_no_number_but_its_own() -> None:
    """The receipt has these three fields and no more."""
    assert [one.name for one in dataclasses.fields(FrameReceipt)] == ["seq", "accepted", "advice"]
