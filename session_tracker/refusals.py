"""Refusals that the learner's page tells apart: each has a code of its own (`BenrenError.code`)."""

from __future__ import annotations

from typing import Final

from verifier.errors import (
    BadRequest,
    BenrenError,
    Conflict,
    NotFound,
    Refused,
    TemplateOfAnotherModel,
    TemplateTampered,
)


class StudiesElsewhere(Conflict):
    """The learner already studies on another device."""


class TakenOver(Conflict):
    """The learner studies on another device by now."""


class SessionEnded(Conflict):
    """The session has ended."""


class ConsentNeeded(Conflict):
    """There is no consent to face verification."""


class ConsentTextChanged(Conflict):
    """The text of the consent is not this one any more."""


class FaceNeeded(Conflict):
    """No face is enrolled."""


class FaceWaits(Conflict):
    """The enrolment still waits for its approval."""


class FaceChanged(Conflict):
    """Another face was enrolled while the session was being opened."""


class EnrolmentRefused(Refused):
    """The registration was refused by staff."""


class FaceThere(Conflict):
    """A face is enrolled already."""


class WrongProvenance(Refused):
    """A face cannot be enrolled in this way here."""


class IndustryOfflineOnly(Refused):
    """Learners of this industry train offline only."""


class OtherCategory(Refused):
    """The programme is for learners of another category."""


class ConsentWithdrawn(Refused):
    """The consent to face verification was withdrawn."""


class EnrolmentNotAccepted(Refused):
    """The programme does not accept a face enrolled in this way."""


class AnotherReviewer(Refused):
    """Another reviewer has to decide."""


class ProgrammeComplete(Conflict):
    """The online part of this programme is complete."""


OPENING: Final[tuple[type[BenrenError], ...]] = (
    StudiesElsewhere,
    ConsentNeeded,
    ConsentWithdrawn,
    FaceNeeded,
    FaceWaits,
    FaceChanged,
    EnrolmentRefused,
    EnrolmentNotAccepted,
    IndustryOfflineOnly,
    OtherCategory,
    ProgrammeComplete,
    TemplateTampered,
    TemplateOfAnotherModel,
    NotFound,
    BadRequest,
)
"""What a learner who begins to study can be refused with; the page has words for each."""
