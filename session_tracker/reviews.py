"""Reviews in the store: opened by the rules and by learners, answered, decided, carried out.

A decision is stored first, then carried out as facts of the session (`decide`), which is safe to
repeat: after a crash the decisions that were not carried out are taken up again. Everything that
happens is an entry of the ledger; words lie encrypted beside it, under the learner's key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from session_tracker import ledger, review
from session_tracker.learner_keys import LearnerKeys, Realm
from session_tracker.ledger import Context
from session_tracker.policy import Policy
from session_tracker.records import SessionRecord
from session_tracker.review import Question, Review, ReviewKind, ReviewState, Ruling, Vote
from session_tracker.store import reviews as rows
from session_tracker.store.database import Database
from session_tracker.store.tables_reviews import reviews
from session_tracker.store.writer import NewEntry, Transaction
from verifier.clock import Clock
from verifier.errors import BadRequest, Conflict, NotFound, Refused

_WORDS: Final = "review-words"
_MOST: Final = 200
SHORTEST_APPEAL_MS: Final = 1_000
"""Hours are counted in whole seconds: less than one is nobody's loss."""
MOST_OPEN_APPEALS: Final = 10
"""About one session and undecided: each costs a person's time, and the session a new settlement. A
learner's page offers one for each stretch that was lost; whoever lost more writes one about all."""
_ERASED: Final = "(erased)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What people wrote about a review, in clear."""

    statement: str | None
    answer: str | None
    reasons: tuple[str, ...]
    """Of the votes, in their order."""


class Reviews:
    """Opens, reads, answers and decides; `settle` carries out."""

    def __init__(self, database: Database, keys: LearnerKeys, clock: Clock) -> None:
        self._database = database
        self._keys = keys
        self._clock = clock

    # --- opening ---------------------------------------------------------------------------

    async def open_for_session(
        self,
        tx: Transaction,
        record: SessionRecord,
        question: Question,
        *,
        context: Context,
        policy: Policy,
    ) -> Review:
        """Open what the rules ask about a session, once; a repeat opens nothing."""
        now = self._clock.stamp().utc_ms
        made = _made(
            _rule_id(record.id, question),
            policy,
            now,
            kind=question.kind,
            cause=question.cause,
            learner_id=record.learner_id,
            session_id=record.id,
            start=question.start,
            end=question.end,
            spoof=question.spoof,
        )
        if await rows.insert_review(tx.connection, made):
            await tx.append([_opened(made, context)])
        return made

    async def open_for_enrolment(
        self,
        tx: Transaction,
        *,
        learner_id: str,
        other_learner_id: str,
        template_version: int,
        policy: Policy,
        context: Context,
    ) -> Review:
        """Ask whether two accounts of a business have one face."""
        now = self._clock.stamp().utc_ms
        made = _made(
            _id(learner_id, other_learner_id, str(template_version)),
            policy,
            now,
            kind=ReviewKind.ENROLMENT_HIT,
            cause="same_face",
            learner_id=learner_id,
            other_learner_id=other_learner_id,
            template_version=template_version,
        )
        if await rows.insert_review(tx.connection, made):
            await tx.append([_opened(made, context)])
        return made

    async def appeal(
        self,
        record: SessionRecord,
        policy: Policy,
        context: Context,
        *,
        start: int,
        end: int,
        text: str,
        spoof: bool,
    ) -> tuple[Review, Callable[[Transaction], Awaitable[None]]]:
        """Make an appeal about an interval of a session that has ended, and the job to store it.

        Raises BadRequest where it is too short, Conflict where the session still runs, where the
        stretch was appealed before or too many appeals wait, and Refused after the term. The job
        raises Conflict where that has come about meanwhile.
        """
        now = self._clock.stamp().utc_ms
        closed = record.closed_ms
        if closed is None:
            raise Conflict("The session still runs.", remedy="Appeal once it has ended.")
        if now > policy.appeal_until(closed):
            raise Refused(
                f"The term of {policy.appeal.within_working_days} working days for an appeal"
                " is over.",
                remedy="Ask the training institution what else can be done.",
            )
        if end - start < SHORTEST_APPEAL_MS:
            raise BadRequest(
                "An appeal is about one second at least.", remedy="Appeal about the whole stretch."
            )
        async with self._database.read() as connection:
            await _require_room(connection, record.id, start, end)
        made = _made(
            _id(record.id, "appeal", f"{start}-{end}"),
            policy,
            now,
            kind=ReviewKind.APPEAL,
            cause="appeal",
            learner_id=record.learner_id,
            session_id=record.id,
            start=start,
            end=end,
            spoof=spoof,
            opened_by="learner",
        )
        key = await self._keys.ensure(record.learner_id, Realm.PERSON)
        statement = key.seal(_WORDS, text.encode())

        async def job(tx: Transaction) -> None:
            await _require_room(tx.connection, record.id, start, end)
            await rows.insert_review(tx.connection, made, statement=statement)
            await tx.append([_opened(made, context, text=text)])

        return made, job

    # --- reading ---------------------------------------------------------------------------

    async def get(self, review_id: str) -> Review:
        """Give a review. Raises NotFound."""
        async with self._database.read() as connection:
            found = await rows.read_reviews(connection, reviews.c.id == review_id)
        if not found:
            raise NotFound(f"There is no review {review_id!r}.")
        return found[0]

    async def find(
        self,
        *,
        state: ReviewState | None = None,
        kind: ReviewKind | None = None,
        learner_id: str | None = None,
        session_id: str | None = None,
        overdue: bool = False,
        limit: int = _MOST,
    ) -> list[Review]:
        """List reviews, the most urgent first."""
        conditions: list[Any] = []
        if state is not None:
            conditions.append(reviews.c.state == str(state))
        if kind is not None:
            conditions.append(reviews.c.kind == str(kind))
        if learner_id is not None:
            conditions.append(reviews.c.learner_id == learner_id)
        if session_id is not None:
            conditions.append(reviews.c.session_id == session_id)
        if overdue:
            now = self._clock.stamp().utc_ms
            late = (reviews.c.answered_ms.is_(None)) & (reviews.c.answer_by_ms < now)
            conditions.append(reviews.c.decided_ms.is_(None))
            conditions.append(late | (reviews.c.decide_by_ms < now))
        async with self._database.read() as connection:
            return await rows.read_reviews(connection, *conditions, limit=min(limit, _MOST))

    async def of_session(self, session_id: str) -> list[Review]:
        """List everything that was asked about a session."""
        async with self._database.read() as connection:
            return await rows.read_reviews(connection, reviews.c.session_id == session_id)

    async def words(self, found: Review) -> Words:
        """Give what people wrote; after an erasure that it was erased."""
        async with self._database.read() as connection:
            sealed = await rows.read_words(connection, found.id)
        key = await self._keys.get(found.learner_id, Realm.PERSON)
        plain = {
            name: _ERASED if key is None else key.open(_WORDS, words).decode()
            for name, words in sealed.items()
        }
        return Words(
            statement=plain.get("statement"),
            answer=plain.get("answer"),
            reasons=tuple(
                plain.get(f"vote:{number}", "") for number in range(1, len(found.votes) + 1)
            ),
        )

    # --- deciding --------------------------------------------------------------------------

    async def answer(self, review_id: str, *, actor: str, text: str, context: Context) -> Review:
        """Tell the learner that somebody looks at it. Raises NotFound, Conflict."""
        found = await self.get(review_id)
        now = self._clock.stamp().utc_ms
        after = review.answer(found, at_ms=now)
        if after is found:
            raise Conflict("The review was answered already.", remedy="Decide it.")
        key = await self._keys.ensure(found.learner_id, Realm.PERSON)
        data = {"review": found.id, "actor": actor, "text_sha256": _digest(text)}
        sealed = key.seal(_WORDS, text.encode())
        entry = _entry(
            after, f"answered:{found.id}", data, context, kind="review_answered", at_ms=now
        )

        async def job(tx: Transaction) -> None:
            if not await rows.update_review(tx.connection, after, was=found.state, answer=sealed):
                raise _overtaken()
            await tx.append([entry])

        await self._database.write(job)
        return after

    async def vote(
        self,
        review_id: str,
        *,
        actor: str,
        ruling: Ruling,
        reason: str,
        start: int | None,
        end: int | None,
        policy: Policy,
        context: Context,
        barred: Collection[str] = (),
    ) -> Review:
        """Take in what a reviewer found. Raises NotFound, Conflict, Refused, BadRequest."""
        found = await self.get(review_id)
        now = self._clock.stamp().utc_ms
        vote = Vote(actor=actor, ruling=ruling, reason=reason, start=start, end=end, at_ms=now)
        after = review.cast(
            found, vote, spoof_reviewers=policy.appeal.spoof_reviewers, barred=barred
        )
        number = len(after.votes)
        key = await self._keys.ensure(found.learner_id, Realm.PERSON)
        words = key.seal(_WORDS, reason.encode())
        data = {
            "review": found.id,
            "actor": actor,
            "ruling": str(ruling),
            "reason_sha256": _digest(reason),
            "start": after.votes[-1].start,
            "end": after.votes[-1].end,
            "state": str(after.state),
        }
        entry = _entry(
            after, f"vote:{found.id}:{number}", data, context, kind="review_vote", at_ms=now
        )

        async def job(tx: Transaction) -> None:
            if not await rows.update_review(tx.connection, after, was=found.state):
                raise _overtaken()
            await rows.insert_vote(tx.connection, found.id, number, after.votes[-1], words)
            await tx.append([entry])

        await self._database.write(job)
        return replace(after, votes=(*after.votes[:-1], replace(after.votes[-1], reason=reason)))

    async def judges_of(self, found: Review) -> frozenset[str]:
        """Name who decided about the interval of an appeal before it was made."""
        if found.kind is not ReviewKind.APPEAL or found.session_id is None:
            return frozenset()
        return frozenset(
            vote.actor
            for other in await self.of_session(found.session_id)
            if other.id != found.id and _overlap(other, found.start or 0, found.end or 0)
            for vote in other.votes
        )

    # --- carrying out ----------------------------------------------------------------------

    async def unapplied(self) -> list[Review]:
        """List decided reviews whose decision was not carried out yet."""
        async with self._database.read() as connection:
            return await rows.read_reviews(
                connection, reviews.c.state == "decided", reviews.c.applied_ms.is_(None)
            )

    async def mark_applied(self, review_id: str) -> None:
        """Note that a decision was carried out."""
        now = self._clock.stamp().utc_ms

        async def job(tx: Transaction) -> None:
            await rows.mark_applied(tx.connection, review_id, now)

        await self._database.write(job)


def _made(review_id: str, policy: Policy, now: int, **given: Any) -> Review:
    answer_by, decide_by = review.deadlines(policy, now)
    blank: dict[str, Any] = {
        "session_id": None,
        "other_learner_id": None,
        "template_version": None,
        "start": None,
        "end": None,
        "spoof": False,
        "opened_by": review.BY_RULE,
    }
    return Review(
        id=review_id,
        opened_ms=now,
        answer_by_ms=answer_by,
        decide_by_ms=decide_by,
        **{**blank, **given},
    )


def _opened(made: Review, context: Context, *, text: str | None = None) -> NewEntry:
    data = {
        "review": made.id,
        "kind": str(made.kind),
        "learner": made.learner_id,
        "other_learner": made.other_learner_id,
        "template_version": made.template_version,
        "start": made.start,
        "end": made.end,
        "spoof": made.spoof,
        "opened_by": made.opened_by,
        "answer_by_ms": made.answer_by_ms,
        "decide_by_ms": made.decide_by_ms,
        "statement_sha256": None if text is None else _digest(text),
    }
    return _entry(
        made, f"review:{made.id}", data, context, kind="review_opened", at_ms=made.opened_ms
    )


def _entry(
    about: Review, key: str, data: Mapping[str, Any], context: Context, *, kind: str, at_ms: int
) -> NewEntry:
    return ledger.entry(
        subject=about.session_id or about.learner_id,
        key=key,
        kind=kind,
        at_ms=at_ms,
        context=context,
        reason=about.cause,
        data=data,
    )


def _rule_id(session_id: str, question: Question) -> str:
    return _id(session_id, str(question.kind), str(question.start))


def _id(*parts: str) -> str:
    """Name a review after what it asks about: asked twice it is one."""
    return f"rev_{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:20]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _overlap(other: Review, start: int, end: int) -> bool:
    if other.start is None or other.end is None:
        return False
    return other.start < end and start < other.end


async def _require_room(connection: AsyncConnection, session_id: str, start: int, end: int) -> None:
    """Raise Conflict where a session takes no appeal about [start, end)."""
    other = await rows.find_appeal(connection, session_id, start, end)
    if other is not None:
        raise Conflict(
            f"There is an appeal about this time already ({other}).",
            remedy="See GET /v1/me/appeals for where it stands.",
        )
    if await rows.count_open_appeals(connection, session_id) >= MOST_OPEN_APPEALS:
        raise Conflict(
            f"{MOST_OPEN_APPEALS} appeals about this session wait for a decision already.",
            remedy="Wait until one is decided.",
        )


def _overtaken() -> Conflict:
    return Conflict(
        "Somebody else has worked on this review meanwhile.", remedy="Read it again, then decide."
    )


__all__ = ["Reviews", "Words"]
