"""Where people decide: appeals come in, reviewers vote, decisions become facts of the session.

Credit follows by derivation only: a decision adds `Granted` and `Upheld` facts, never a number.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from session_tracker.credit import EvidenceType
from session_tracker.enrolment import Registry
from session_tracker.events import (
    CloseReason,
    Disputed,
    Granted,
    Judgement,
    Supervised,
    Upheld,
)
from session_tracker.intervals import Intervals, subtract, union
from session_tracker.live import Live
from session_tracker.machine import Close
from session_tracker.office import Office
from session_tracker.pictures import Pictures
from session_tracker.policy import Policy
from session_tracker.records import SessionRecord
from session_tracker.review import Review, ReviewState, Ruling, touches_spoof
from session_tracker.reviews import Reviews
from session_tracker.segments import segments_of
from session_tracker.staff_words import IN_WORDS
from session_tracker.stage import Stage
from session_tracker.store import sessions as rows
from session_tracker.store.writer import Transaction
from session_tracker.turns import unknown_session
from verifier.errors import NotFound, Refused

ENDED: Final = "ended_by_staff"
"""Kind of the entry that says who of staff ended a session, with a digest of why."""
SAME_FACE: Final = "same_face"
_log = logging.getLogger("benren.tracker")


class Casework:
    """Brings reviews, sessions and registrations together."""

    def __init__(self, stage: Stage, office: Office) -> None:
        self._stage = stage
        self._office = office

    @property
    def reviews(self) -> Reviews:
        """The reviews in the store."""
        return self._stage.reviews

    @property
    def pictures(self) -> Pictures:
        """The evidence pictures in the store."""
        return self._stage.pictures

    @property
    def _registry(self) -> Registry:
        return self._stage.registry

    async def take_up(self) -> None:
        """Carry out decisions that were stored before a crash and not carried out."""
        for review in await self.reviews.unapplied():
            await self._see_to(review)

    async def appeal(
        self, learner_id: str, session_id: str, *, start: int, end: int, text: str
    ) -> Review:
        """Take in a learner's appeal. Raises NotFound, BadRequest, Conflict, Refused."""
        record, policy = await self._session(session_id)
        if record.learner_id != learner_id:
            raise unknown_session(session_id)
        made, before = await self.reviews.appeal(
            record,
            policy,
            self._stage.turns.context(policy),
            start=start,
            end=end,
            text=text,
            spoof=await self._is_spoof(record, start, end),
        )
        fact = Disputed(key=f"disputed:{made.id}", t=start, end=end)
        await self._stage.decide(
            session_id,
            [fact],
            reason="appeal",
            data={"review": made.id, "opened_by": made.opened_by},
            before=before,
        )
        return made

    async def reviewers_needed(self, review: Review) -> int:
        """Tell how many people have to agree before it is granted."""
        return (await self._policy(review)).appeal.spoof_reviewers if review.spoof else 1

    async def answer(self, review_id: str, *, actor: str, text: str) -> Review:
        """Tell the learner that somebody looks at it. Raises NotFound, Conflict."""
        found = await self.reviews.get(review_id)
        context = self._stage.turns.context(await self._policy(found))
        return await self.reviews.answer(review_id, actor=actor, text=text, context=context)

    async def decide(
        self,
        review_id: str,
        *,
        actor: str,
        ruling: Ruling,
        reason: str,
        start: int | None = None,
        end: int | None = None,
    ) -> Review:
        """Take in a reviewer's decision; carry it out where nobody else has to agree.

        Once stored it stands, and what cannot be carried out at once is as soon as it can. Raises
        NotFound, BadRequest, Conflict where it is decided, Refused where this reviewer may not
        decide it.
        """
        found = await self.reviews.get(review_id)
        policy = await self._policy(found)
        after = await self.reviews.vote(
            review_id,
            actor=actor,
            ruling=ruling,
            reason=reason,
            start=start,
            end=end,
            policy=policy,
            context=self._stage.turns.context(policy),
            barred=await self.reviews.judges_of(found),
        )
        if after.state is ReviewState.DECIDED:
            await self._see_to(after)
        return after

    async def supervise(
        self, session_id: str, *, start: int, end: int, actor: str, reason: str
    ) -> Supervised:
        """Confirm that staff see the learner study: evidence of its own type, without a face.

        Of a session with a camera from now on only. Raises NotFound, and as
        `supervision.answered_for`.
        """
        record, _ = await self._session(session_id)
        sealed = await self._registry.staff_words.seal(record.learner_id, reason)
        return await self._stage.supervise(
            session_id,
            start=start,
            end=end,
            reason=IN_WORDS,
            data={"actor": actor, "reason_sha256": sealed.sha256},
            keep=lambda tx, key: sealed.keep(tx, session_id, key),
        )

    def supervised(self) -> list[Live]:
        """Give the sessions without a camera that have not ended, the newest first."""
        found = (live for live in self._stage.turns.sessions.values() if live.open)
        without = [live for live in found if live.record.without_camera]
        return sorted(without, key=lambda live: live.record.opened_ms, reverse=True)

    async def end_supervised(self, session_id: str, *, actor: str, reason: str) -> None:
        """End a session without a camera and settle it; one that has ended keeps its end.

        Raises NotFound, Refused for a session with a camera.
        """
        record, _ = await self._session(session_id)
        if not record.without_camera:
            raise Refused(
                "A session with a camera is the learner's to end.",
                remedy="Refuse the registration, or erase, where it must not go on.",
            )
        sealed = await self._registry.staff_words.seal(record.learner_id, reason)
        turns = self._stage.turns
        async with turns.held(session_id, token=None) as live:
            if live.open:
                turn = turns.turn(live)
                turn.let_pass()  # what is due comes first: it may have ended by itself
                ends = turn.closed is None
                if ends:
                    turn.close(Close(reason=CloseReason.STAFF))
                    data = {"actor": actor, "reason_sha256": sealed.sha256}
                    turn.add_entry(
                        kind=ENDED, key=ENDED, at_ms=turn.now, reason=IN_WORDS, data=data
                    )

                async def before(tx: Transaction) -> None:
                    if ends:
                        await sealed.keep(tx, session_id, ENDED)

                await turns.commit(live, turn, before)
        await self._stage.settle(live)

    async def refuse_face(
        self, learner_id: str, version: int, *, actor: str, reasons: Sequence[str]
    ) -> None:
        """Refuse one enrolled face, end what runs with it, and settle anew what it earned.

        Raises NotFound.
        """
        whole = await self._office.refuse_face(learner_id, version, actor=actor, reasons=reasons)
        await self._stage.end_all(
            lambda record: (
                record.learner_id == learner_id and (whole or record.template_version == version)
            )
        )
        await self._stage.grading.grade_all(learner_id)

    # --- carrying out ----------------------------------------------------------------------

    async def _see_to(self, review: Review) -> None:
        """Carry a decision out now, or in the background until it is done."""
        try:
            await self._carry_out(review)
        except Exception:  # noqa: BLE001 - whatever it is, the decision is stored and stands
            _log.exception("the decision of %s could not be carried out yet", review.id)
            self._pursue(review)
        except asyncio.CancelledError:
            self._pursue(review)
            raise

    def _pursue(self, review: Review) -> None:
        async def again() -> None:
            # The learner's records may have been removed meanwhile, and the review with them.
            if any(one.id == review.id for one in await self.reviews.unapplied()):
                await self._carry_out(review)

        self._stage.scheduler.pursue(f"carrying out {review.id}", again)

    async def _carry_out(self, review: Review) -> None:
        if review.session_id is not None:
            await self._stage.decide(
                review.session_id,
                _facts_of(review, await self._answered_for(review.session_id)),
                reason=str(review.ruling),
                data={"review": review.id, "actors": [vote.actor for vote in review.votes]},
            )
        else:
            await self._carry_out_enrolment(review)
        await self.reviews.mark_applied(review.id)

    async def _carry_out_enrolment(self, review: Review) -> None:
        """Refuse the very face that was asked about, or let it count."""
        if review.ruling is not Ruling.UPHELD:
            await self._stage.grading.grade_all(review.learner_id)
            return
        if review.template_version is None:
            raise NotFound(f"The review {review.id} names no enrolled face.")
        await self.refuse_face(
            review.learner_id,
            review.template_version,
            actor=review.votes[-1].actor,
            reasons=[SAME_FACE],
        )

    async def _answered_for(self, session_id: str) -> Intervals:
        """Give the time that counts because staff answered for the learner."""
        async with self._stage.turns.held(session_id, token=None) as live:
            course = live.course
        credit = (await self._stage.grading.course_credit(course)).of(session_id)
        counted = (c for c in credit.credited if c.evidence is EvidenceType.SUPERVISED)
        return union((c.start, c.end) for c in counted)

    async def _session(self, session_id: str) -> tuple[SessionRecord, Policy]:
        async with self._stage.database.read() as connection:
            record = await rows.read_session(connection, session_id)
        if record is None:
            raise unknown_session(session_id)
        programmes = self._registry.programmes
        return record, programmes.policy(record.programme, record.policy_version)

    async def _policy(self, review: Review) -> Policy:
        if review.session_id is not None:
            return (await self._session(review.session_id))[1]
        policies = self._registry.programmes.in_force()
        if not policies:
            raise NotFound("There is no programme in force.")
        return next(iter(policies.values()))

    async def _is_spoof(self, record: SessionRecord, start: int, end: int) -> bool:
        """Tell whether granting an interval would overturn a spoof decision."""
        async with self._stage.turns.held(record.id, token=None) as live:
            facts = tuple(live.facts.values())
            course = live.course
        state = await self._stage.grading.course_credit(course)
        cut = segments_of(state.of(record.id), facts)
        return touches_spoof(facts, cut, start, end)


def _facts_of(review: Review, answered_for: Intervals) -> Sequence[Judgement]:
    """Give what a decision says about a session; what of it was not granted is upheld.

    Not so what counts because staff answered for the learner: that was not the question.
    """
    whole = (review.start or 0, review.end or 0)
    granted = review.granted
    left = (whole,) if granted is None else subtract((whole,), (granted,))
    left = subtract(left, answered_for)
    facts: list[Judgement] = [
        Upheld(key=f"upheld:{review.id}:{start}", t=start, end=end) for start, end in left
    ]
    if granted is not None:
        facts.append(Granted(key=f"granted:{review.id}", t=granted[0], end=granted[1]))
    return facts
