"""What sessions come to: credit derived, settled anew where it changed, certified where due."""

from __future__ import annotations

import asyncio
from typing import TypeGuard
from weakref import WeakValueDictionary

from session_tracker.certification import Certification
from session_tracker.enrolment import Registry
from session_tracker.events import Fact
from session_tracker.live import Live
from session_tracker.machine import LIVE_STATES, Machine
from session_tracker.records import Course, Totals
from session_tracker.settle_all import Graded
from session_tracker.settlement import CourseCredit, Settlement
from session_tracker.shown import FRESH_MS
from session_tracker.turn import Turn
from session_tracker.turns import Turns
from session_tracker.views import SessionView, totals_of, view_of


class Grading:
    """Derives credit, with the sessions in memory as they stand."""

    def __init__(
        self,
        turns: Turns,
        *,
        settlement: Settlement,
        certification: Certification,
        registry: Registry,
    ) -> None:
        self._turns = turns
        self._settlement = settlement
        self._certification = certification
        self._registry = registry
        self._grading: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def grade(self, course: Course, settlement: Settlement | None = None) -> Graded:
        """Settle anew what has changed, revoke and certify what is due; one at a time.

        Where it is done for everybody, by a `settlement` that keeps nothing.
        """
        lock = self._grading.setdefault(course.learner_id, asyncio.Lock())
        async with lock:
            state = await self.course_credit(course, settlement)
            context = self._turns.context(state.policy)
            regraded = await self._settlement.regrade(state, context)
            if await self._certification.revoke_void(state, context):
                revoked = state.certificate_number
                return Graded(state=state, regraded=regraded, revoked=revoked)
            certified = await self._certification.certify(state, context)
            return Graded(state=state, regraded=regraded, certified=certified)

    async def grade_all(self, learner_id: str) -> None:
        """Settle anew what a decision about the learner changes in his courses."""
        for course in await self._registry.courses(learner_id):
            await self.grade(course)

    async def course_credit(
        self, course: Course, settlement: Settlement | None = None
    ) -> CourseCredit:
        """Derive a learner's credit in a course, now."""
        return await (settlement or self._settlement).course_credit(
            course, now_ms=self._turns.axis.now(), running=self._running(course)
        )

    def _running(self, course: Course) -> dict[str, tuple[Fact, ...]]:
        """Give the facts of the sessions of a course that are in memory."""
        return {
            live.id: tuple(live.facts.values())
            for live in self._turns.sessions.of(course.learner_id)
            if live.course == course and not live.stale
        }

    async def view(self, live: Live, turn: Turn) -> SessionView:
        """Show a session that is held as it will stand once `turn` is durable."""
        now = self._turns.axis.now()
        totals = live.totals
        if turn.changes_what_is_shown or not _will_do(totals, turn.machine, now):
            facts = {**live.facts, **{fact.key: fact for fact in turn.facts}}
            totals = turn.totals = await self._totals(live, tuple(facts.values()), now)
        return view_of(live.id, turn.machine, turn.suspended, totals, live.policy, now=now)

    async def seen(self, live: Live) -> SessionView:
        """Show a session as it stands to somebody who does not hold it, and must not wait for it.

        While a look or a check is being written down the session is held: whoever had to wait then
        would know of it.
        """
        shown = self._glance(live)
        if shown is not None:
            return shown
        async with live.showing:
            shown = self._glance(live)
            if shown is not None:
                return shown
            now, changes = self._turns.axis.now(), live.changes
            machine, suspended = live.machine, live.suspended
            totals = await self._totals(live, tuple(live.facts.values()), now)
            if live.changes == changes:
                live.totals = totals
        return view_of(live.id, machine, suspended, totals, live.policy, now=now)

    def _glance(self, live: Live) -> SessionView | None:
        """Show a session where nothing has to be derived."""
        now, totals = self._turns.axis.now(), live.totals
        if not _will_do(totals, live.machine, now):
            return None
        return view_of(live.id, live.machine, live.suspended, totals, live.policy, now=now)

    async def _totals(self, live: Live, facts: tuple[Fact, ...], now: int) -> Totals:
        state = await self._settlement.course_credit(
            live.course,
            now_ms=now,
            running={**self._running(live.course), live.id: facts},
            glance=live.record.settled_ms is None,
        )
        return totals_of(live.id, state, now=now)


def _will_do(totals: Totals | None, machine: Machine, now: int) -> TypeGuard[Totals]:
    """Tell whether what was derived last may be shown yet."""
    if totals is None:
        return False
    return machine.state not in LIVE_STATES or now - totals.derived_ms < FRESH_MS
