"""What a signed-in learner can do: see where he stands, consent, enrol a face, begin to study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from session_tracker import shown
from session_tracker.catalogue import Medium
from session_tracker.consent_text import ConsentText
from session_tracker.enroller import Enroller
from session_tracker.explain import Explanation, explain, for_learner
from session_tracker.intervals import Interval, Intervals, subtract, total_ms, union
from session_tracker.openings import OpenedSession
from session_tracker.policy import SELF_MADE, Policy, Provenance, Training
from session_tracker.records import Consent, Learner, RegistrationState, Template
from session_tracker.refusals import (
    ConsentNeeded,
    ConsentTextChanged,
    FaceNeeded,
    FaceThere,
    WrongProvenance,
)
from session_tracker.service import SessionService
from session_tracker.settlement import CourseCredit
from session_tracker.turns import unknown_session
from verifier.errors import TooManyRequests

_LOOK_EVERY_MS: Final = 250
"""Live advice of one learner at most so often."""
_KEPT_LOOKS: Final = 10_000
_GAP_MS: Final = 1_000
"""Whole seconds count: a shorter gap earns nothing."""
_MAX_GAPS: Final = 50
OWN_WAYS: Final = {
    Training.INITIAL: (Provenance.SELF_PHOTO,),
    Training.REFRESHER: (Provenance.SELF_PHOTO, Provenance.SELF_LIVE),
}
"""How a learner may enrol himself. Initial training begins with a registration that is approved;
who comes for the refresher may never have registered here, so that a selfie has to do at first.
Nobody has looked at either: hours under them are provisional until somebody did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceStanding:
    """Where the learner's enrolment stands."""

    state: RegistrationState
    provenance: Provenance
    provisional: bool
    """Whether hours count only once the enrolment was confirmed."""
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceAnswer:
    """What became of a picture that the learner sent."""

    accepted: bool
    advice: tuple[str, ...]
    face: FaceStanding | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MediumStanding:
    """How far the learner is in one medium."""

    medium: Medium
    resume_ms: int
    """Where to go on: the end of what was credited last. What lies between may be earned again."""
    reach_ms: int
    """The high-water mark: what a player begins beyond it is not credited."""
    credited_ms: int
    gaps: Intervals
    """Before `resume_ms`: what was played but not credited, the first ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgrammeStanding:
    """How far the learner is in one programme."""

    policy: Policy
    target_s: int
    credited_s: int
    provisional_s: int
    certificate: str | None
    media: tuple[MediumStanding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Everything that the learner's page begins with."""

    learner: Learner
    name_masked: str | None
    consent: Consent | None
    face: FaceStanding | None
    face_ways: tuple[Provenance, ...]
    """How the learner may enrol himself now; none where a face is there."""
    programmes: tuple[ProgrammeStanding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PastSession:
    """One session of the learner."""

    session_id: str
    programme: str
    opened_ms: int
    closed_ms: int | None
    settled: bool
    wall_s: int
    credited_s: int
    void_s: dict[str, int]
    provisional: bool


class Desk:
    """Acts for one learner at a time, who was signed in by the caller."""

    def __init__(
        self, service: SessionService, *, enroller: Enroller | None, consent_text: ConsentText
    ) -> None:
        self._service = service
        self._enroller = enroller
        self._looks: dict[str, int] = {}
        self.consent_text = consent_text

    async def overview(self, learner_id: str) -> Overview:
        """Tell where the learner stands. Raises NotFound."""
        registry = self._service.registry
        learner = await registry.learner(learner_id)
        face = await self.face(learner_id)
        enrols = self._enroller is not None and (face is None or face.state == "refused")
        return Overview(
            learner=learner,
            name_masked=await registry.people.masked_name(learner_id),
            consent=await registry.consent_in_force(learner_id),
            face=face,
            face_ways=OWN_WAYS[learner.track] if enrols else (),
            programmes=tuple(
                [
                    await self._programme(learner, policy)
                    for _, policy in sorted(registry.programmes.in_force().items())
                    if learner.category in policy.admission.categories
                ]
            ),
        )

    async def sessions(self, learner_id: str) -> list[PastSession]:
        """List the learner's sessions, the newest first."""
        found: list[PastSession] = []
        for state in await self._service.all_credit(learner_id):
            found += _past(state)
        return sorted(found, key=lambda session: session.opened_ms, reverse=True)

    async def explain(self, learner_id: str, session_id: str) -> Explanation:
        """Explain one of the learner's own sessions. Raises NotFound for anybody else's too."""
        found = await self._service.explain(session_id)
        if found.record.learner_id != learner_id:
            raise unknown_session(session_id)
        return for_learner(found.told, found.facts, found.state.policy)

    # --- consent ---------------------------------------------------------------------------

    async def give_consent(self, learner_id: str, *, text_version: str, language: str) -> Consent:
        """Record the consent to the present text; giving it twice is fine.

        Raises ConsentTextChanged where the learner saw another version.
        """
        if text_version != self.consent_text.version:
            raise ConsentTextChanged(remedy="Load the text anew and show it.")
        registry = self._service.registry
        given = await registry.consent_in_force(learner_id)
        if given is not None and given.text_version == text_version:
            return given
        seen = {"language": language, "text_sha256": self.consent_text.sha256(language)}
        return await registry.give_consent(learner_id, text_version=text_version, seen=seen)

    async def withdraw_consent(self, learner_id: str) -> Consent:
        """Withdraw every consent of the learner, and end the sessions that rest on it.

        Raises ConsentNeeded where there is none.
        """
        withdrawn: Consent | None = None
        while (given := await self._service.registry.consent_in_force(learner_id)) is not None:
            withdrawn = await self._service.withdraw_consent(learner_id, given.id)
        if withdrawn is None:
            raise ConsentNeeded(remedy="There is nothing to withdraw.")
        return withdrawn

    # --- face ------------------------------------------------------------------------------

    async def face(self, learner_id: str) -> FaceStanding | None:
        """Tell where the learner's enrolment stands; None where there is none, or it was erased."""
        try:
            template = await self._service.registry.template(learner_id)
        except FaceNeeded:
            return None
        if template.blob is None:
            return None
        return await self._standing(template)

    async def look(self, learner_id: str, image: bytes) -> str:
        """Give live advice for one picture, of which nothing is kept.

        Raises ConsentNeeded, TooManyRequests, ImageError.
        """
        await self._require_consent(learner_id)
        now = self._service.now_ms()
        if now - self._looks.get(learner_id, 0) < _LOOK_EVERY_MS:
            raise TooManyRequests("Pictures come too fast.", remedy="Send about two a second.")
        while len(self._looks) >= _KEPT_LOOKS:
            self._looks.pop(next(iter(self._looks)))
        self._looks[learner_id] = now
        return await self._enrolling().look(image)

    async def enrol(self, learner_id: str, image: bytes, provenance: Provenance) -> FaceAnswer:
        """Enrol the learner's face, once; only staff can replace what was taken.

        Whoever holds the phone could otherwise put his own face in the learner's place. Raises
        ConsentNeeded, FaceThere, WrongProvenance, ImageError.
        """
        registry = self._service.registry
        learner = await registry.learner(learner_id)
        await self._require_consent(learner_id)
        if provenance not in OWN_WAYS[learner.track]:
            raise WrongProvenance(
                f"A learner of the {learner.track} track cannot enrol by {provenance}.",
                remedy=f"Enrol by: {', '.join(OWN_WAYS[learner.track])}.",
            )
        there = await self.face(learner_id)
        if there is not None and there.state is not RegistrationState.REFUSED:
            raise FaceThere(remedy="Ask the institution that registered you to replace it.")
        live = provenance is Provenance.SELF_LIVE
        taken = await self._enrolling().enrol(learner_id, image, live=live)
        if taken.template is None:
            return FaceAnswer(accepted=False, advice=taken.advice, face=None)
        made = await registry.put_template(learner_id, taken.template, provenance)
        standing = await self._standing(made)
        return FaceAnswer(accepted=True, advice=(), face=standing)

    # --- study -----------------------------------------------------------------------------

    async def open_session(
        self, learner_id: str, *, programme: str, media: Sequence[str], take_over: bool
    ) -> OpenedSession:
        """Open a session under the learner's consent. Raises as `SessionService.open_session`."""
        consent = await self._require_consent(learner_id)
        self._service.catalogue.require(programme, media, offered=True)
        return await self._service.openings.open_session(
            learner_id=learner_id,
            consent_id=consent.id,
            programme=programme,
            media=media,
            take_over=take_over,
        )

    # --- inside ----------------------------------------------------------------------------

    async def _standing(self, template: Template) -> FaceStanding:
        registry = self._service.registry
        registration = await registry.registration(template.learner_id)
        unconfirmed = template.confirmed_ms is None
        return FaceStanding(
            state=registration.state,
            provenance=template.provenance,
            provisional=(template.provenance in SELF_MADE and unconfirmed)
            or await registry.is_held(template),
            reasons=registration.reasons,
        )

    async def _require_consent(self, learner_id: str) -> Consent:
        given = await self._service.registry.consent_in_force(learner_id)
        if given is None:
            raise ConsentNeeded(
                remedy="Give it first, or study under supervision at a training institution."
            )
        return given

    def _enrolling(self) -> Enroller:
        if self._enroller is None:
            raise WrongProvenance(
                "This service takes no pictures for enrolment.",
                remedy="Enrol at the institution that registered you.",
            )
        return self._enroller

    async def _programme(self, learner: Learner, policy: Policy) -> ProgrammeStanding:
        present = await self._service.registry.present_course(learner, policy.name)
        state = None
        if not present.begins:
            state = await self._service.course_credit(learner.id, policy.name)
        seen = None if state is None else shown.course(state.credit, state.policy)
        return ProgrammeStanding(
            policy=present.policy,
            target_s=present.policy.target_s(present.course.track),
            credited_s=0 if seen is None else seen.credited_s,
            provisional_s=0 if seen is None else seen.provisional_s,
            certificate=None if state is None else state.certificate_number,
            media=tuple(
                _medium(medium, _credited(state, medium.id), _reach_ms(state, medium.id))
                for medium in self._service.catalogue.media(policy.name)
            ),
        )


def _credited(state: CourseCredit | None, media_id: str) -> Intervals:
    """Give which parts of a medium were credited, in ms of the medium."""
    if state is None:
        return ()
    parts: list[Interval] = [
        (i.media_ms, i.media_ms + i.end - i.start)
        for session in state.credit.sessions
        for i in shown.credited(session, state.policy)
        if i.media_id == media_id
    ]
    return union(parts)


def _reach_ms(state: CourseCredit | None, media_id: str) -> int:
    return 0 if state is None else state.credit.reach.get(media_id, 0)


def _medium(medium: Medium, credited: Intervals, reach_ms: int) -> MediumStanding:
    resume_ms = min(credited[-1][1], medium.duration_ms) if credited else 0
    gaps = [g for g in subtract(((0, resume_ms),), credited) if g[1] - g[0] >= _GAP_MS]
    return MediumStanding(
        medium=medium,
        resume_ms=resume_ms,
        reach_ms=min(reach_ms, medium.duration_ms),
        credited_ms=total_ms(credited),
        gaps=tuple(gaps[:_MAX_GAPS]),
    )


def _past(state: CourseCredit) -> list[PastSession]:
    records = {record.id: record for record in state.records}
    past = []
    for session in state.credit.sessions:
        record = records[session.session_id]
        facts = state.facts[record.id]
        told = for_learner(explain(session, facts), facts, state.policy)
        credited_s, void_s = told.in_seconds()
        past.append(
            PastSession(
                session_id=record.id,
                programme=record.programme,
                opened_ms=record.opened_ms,
                closed_ms=record.closed_ms,
                settled=record.settled_ms is not None,
                wall_s=session.wall_ms // 1_000,
                credited_s=credited_s,
                void_s=void_s,
                provisional=session.provisional,
            )
        )
    return past
