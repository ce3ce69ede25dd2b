"""The checks of one stream: judged on what is there already, each answered once.

A check neither waits for frames nor makes them wait, and its event is handed to the tracker in
the background, so that the tracker may ask for a check while it takes an event. The event's `at`
is when its newest judged frame arrived: events of checks may lie before older ids in time.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from verifier.clock import Clock, Stamp
from verifier.pipeline.ports import Priority
from verifier.streaming.eventlog import EventLog
from verifier.streaming.gaze import Gaze
from verifier.streaming.judging import Judging
from verifier.streaming.looks import answered
from verifier.streaming.record import Record
from verifier.streaming.thumbnails import thumbnail
from verifier.streaming.view import View
from verifier.types import CheckRequest, Decision, PresencePolicy, Reason, StreamEvent


class Checks:
    """Answers checks; the same id gets the first answer again."""

    def __init__(
        self,
        *,
        policy: PresencePolicy,
        clock: Clock,
        view: View,
        judging: Judging,
        gaze: Gaze,
        record: Record,
        log: EventLog,
        require_open: Callable[[], None],
        remembered: int,
    ) -> None:
        """`require_open` raises where the stream was closed; so many answers are remembered."""
        self._policy = policy
        self._clock = clock
        self._view = view
        self._judging = judging
        self._gaze = gaze
        self._record = record
        self._log = log
        self._require_open = require_open
        self._remembered = remembered
        self._answers: OrderedDict[str, asyncio.Future[StreamEvent]] = OrderedDict()

    async def check(self, request: CheckRequest) -> StreamEvent:
        """Judge what is there. Raises StreamGone, StorageError and what inference raises."""
        answer: asyncio.Future[StreamEvent] | None = self._answers.get(request.check_id)
        if answer is None:
            answer = asyncio.create_task(self._look_back(request), name="stream check")
            self._answers[request.check_id] = answer
            answer.add_done_callback(lambda done: self._settle(request.check_id, done))
        return await asyncio.shield(answer)

    def drop_pictures_taken(self) -> None:
        """Remember answers without their picture, once the event that bears it has been taken."""
        for check_id, answer in self._answers.items():
            if not answer.done() or answer.cancelled() or answer.exception() is not None:
                continue
            event = answer.result()
            if event.picture and event.event_id <= self._log.taken_id:
                bare: asyncio.Future[StreamEvent] = asyncio.get_running_loop().create_future()
                bare.set_result(replace(event, picture=b""))
                self._answers[check_id] = bare

    async def stop(self) -> None:
        """End everything in hand. For the end of the process."""
        open_ones = [answer for answer in self._answers.values() if not answer.done()]
        for answer in open_ones:
            answer.cancel()
        await asyncio.gather(*open_ones, return_exceptions=True)

    async def _look_back(self, request: CheckRequest) -> StreamEvent:
        self._log.require_room()
        now = self._clock.stamp()
        chosen = self._view.chosen(
            self._policy.check_frames, now=now, not_before=request.not_before
        )
        await answered()
        if not chosen:
            event = self._empty(request, now)
            self._log.deliver_in_background()
            return event
        priority = Priority.INTERACTIVE if request.awaited else Priority.BULK
        evidence = await self._judging.evidence_of(chosen, priority)
        self._require_open()
        verdict = self._judging.verdict(evidence)
        failed = verdict.decision is not Decision.MATCH
        if not failed:
            self._gaze.learn([sample.seq for sample in chosen])
        picture = b""
        if failed and self._policy.pictures:
            picture = await asyncio.to_thread(thumbnail, chosen[-1].data)
            self._require_open()
        event = self._record.check(request.check_id, chosen, verdict, picture=picture)
        self._log.deliver_in_background()
        return event

    def _empty(self, request: CheckRequest, now: Stamp) -> StreamEvent:
        """Answer a check for which no frame of the track in view was there."""
        newest = self._view.window.newest
        recent = newest is not None and now.ms_since(newest.stamp) <= self._policy.window_ms
        nobody = recent and self._view.track.box is None
        reason = Reason.NO_FACE if nobody else Reason.TOO_FEW_FRAMES
        return self._record.empty_check(request.check_id, self._view, at=now, reason=reason)

    def _settle(self, check_id: str, answer: asyncio.Future[StreamEvent]) -> None:
        """Forget a failure, and keep the memory bounded."""
        if answer.cancelled() or answer.exception() is not None:
            self._answers.pop(check_id, None)
        while len(self._answers) > self._remembered:
            self._answers.popitem(last=False)
