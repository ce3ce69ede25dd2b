"""What a learner's device may hear about its frame: advice from a closed list, never a score.

The advice of a frame comes from the detector and the quality stage, which run on *every* frame,
and never from the embedding or from liveness, which run on some: the same picture gets the same
advice whether or not it was an identity sample, so that the receipt does not tell. (A selfie for
enrolment is no frame of a stream: there liveness may be told.)
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from verifier.errors import BadRequest, BenrenError, Conflict, ImageError, TooManyRequests
from verifier.types import Evidence, Reason


class Advice(StrEnum):
    """The closed list of what a client is told about one frame."""

    OK = "ok"
    NO_FACE = "no_face"
    SEVERAL_FACES = "several_faces"
    COME_CLOSER = "come_closer"
    CENTRE_FACE = "centre_face"
    FACE_CAMERA = "face_camera"
    UNCOVER_FACE = "uncover_face"
    MORE_LIGHT = "more_light"
    LESS_LIGHT = "less_light"
    EVEN_LIGHT = "even_light"
    HOLD_STILL = "hold_still"
    DUPLICATE = "duplicate"
    """These bytes came before: not a sample."""
    NEWER_FRAME = "newer_frame"
    """A newer frame took its place: not a sample."""
    NOT_LIVE = "not_live"
    """A selfie for enrolment looks like a picture of a picture; never said of a stream's frame."""
    UNUSABLE = "unusable"
    """This picture cannot be decoded, or is too large: not a sample. (Uploads: a status.)"""
    SLOWER = "slower"
    """Frames come faster than allowed: not a sample. (Uploads: a status.)"""
    AGAIN = "again"
    """Nothing could be recorded just now: not a sample; send on. (Uploads: a status.)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameReceipt:
    """The answer to one uploaded frame; the same shape for every frame."""

    seq: int
    """The client's number of the frame."""
    accepted: bool
    """Whether it became a sample."""
    advice: Advice


_ADVICE: dict[Reason, Advice] = {
    Reason.NO_FACE: Advice.NO_FACE,
    Reason.FACE_CUT_OFF: Advice.CENTRE_FACE,
    Reason.FACE_TOO_SMALL: Advice.COME_CLOSER,
    Reason.TOO_DARK: Advice.MORE_LIGHT,
    Reason.TOO_BRIGHT: Advice.LESS_LIGHT,
    Reason.UNEVEN_LIGHT: Advice.EVEN_LIGHT,
    Reason.BLURRED: Advice.HOLD_STILL,
    Reason.EYES_HIDDEN: Advice.UNCOVER_FACE,
    Reason.OCCLUDED: Advice.UNCOVER_FACE,
    Reason.TURNED_AWAY: Advice.FACE_CAMERA,
    Reason.SEVERAL_FACES: Advice.SEVERAL_FACES,
}
"""In the order in which the learner should mend them: what hides the face comes first."""


def mend(reasons: Collection[Reason]) -> tuple[Advice, ...]:
    """Give advice for every reason why a photograph cannot be enrolled, the first to mend first."""
    found = [advice for reason, advice in _ADVICE.items() if reason in reasons]
    return tuple(dict.fromkeys(found))


def advise(evidence: Evidence) -> Advice:
    """Give the most helpful advice for a frame of which presence and quality are known.

    `evidence` must be that of the presence stages (no embedding, no liveness).
    """
    if not evidence.faces:
        return Advice.NO_FACE
    for reason, advice in _ADVICE.items():
        if reason in evidence.reasons:
            return advice
    return Advice.SEVERAL_FACES if len(evidence.faces) > 1 else Advice.OK


def advise_on(error: BenrenError) -> Advice:
    """Say in a cue what the upload of one frame says by its status."""
    if isinstance(error, ImageError):
        return Advice.UNUSABLE
    if isinstance(error, TooManyRequests):
        return Advice.SLOWER
    if isinstance(error, Conflict | BadRequest):
        return Advice.DUPLICATE
    return Advice.AGAIN
