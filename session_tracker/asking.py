"""Asks the verifier for checks, and sees to it that their answers come in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from session_tracker.events import SystemFault
from session_tracker.live import Asked, Live
from session_tracker.turns import Turns
from verifier.errors import BenrenError, StreamGone
from verifier.types import ChallengeRequest, CheckRequest, StreamEvent, StreamVerifier

_log = logging.getLogger("benren.tracker")
_CHECK_TRIES: Final = 2
_CHECK_WITHIN_S: Final = 30.0
"""A check is answered, and its event handed over, within this (real time), or it failed."""


class Asking:
    """What the tracker wants of the verifier for a session that runs."""

    def __init__(
        self,
        turns: Turns,
        verifier: StreamVerifier,
        sink: Callable[[StreamEvent], Awaitable[None]],
    ) -> None:
        """`sink` takes events in."""
        self._turns = turns
        self._verifier = verifier
        self._sink = sink

    async def carry_out(self, live: Live, asked: Asked) -> None:
        """Have a check made; a verifier that fails twice is a fault of the service."""
        began = self._turns.axis.now()
        stream_id = live.stream_id
        if stream_id is None:
            return
        not_before = None if asked.not_before is None else self._turns.axis.stamp(asked.not_before)
        request = CheckRequest(
            check_id=asked.check_id, not_before=not_before, awaited=asked.awaited
        )
        rules = live.policy.checks
        challenge = ChallengeRequest(
            check_id=asked.check_id,
            turns=asked.turns,
            window_ms=rules.challenge_window_s(asked.turns) * 1_000,
            attempts=1 + rules.answer_retries,
            not_before=not_before,
        )
        for attempt in range(1, _CHECK_TRIES + 1):
            try:
                async with asyncio.timeout(_CHECK_WITHIN_S):
                    if asked.turns:
                        # Its answer takes as long as the learner does, and comes as an event.
                        await self._verifier.challenge(stream_id, challenge)
                        return
                    event = await self._verifier.check(stream_id, request)
                    await self._handed_over(live, event)
            except StreamGone:
                if live.stream_id == stream_id:
                    live.stream_id = None
                return
            except (BenrenError, TimeoutError) as error:
                _log.warning("check %s, attempt %d: %r", asked.check_id, attempt, error)
            else:
                return
        async with self._turns.fresh(live):
            turn = self._turns.turn(live)
            key = f"fault:{asked.check_id}"
            turn.take(SystemFault(key=key, t=began, end=turn.now))
            await self._turns.commit(live, turn)

    async def _handed_over(self, live: Live, event: StreamEvent) -> None:
        """See to it that the event of a check is taken in, after those before it."""
        while True:
            stream = live.streams[event.stream_id]
            if event.event_id <= stream.last_event_id or not live.open:
                return
            if event.event_id == stream.last_event_id + 1:
                await self._sink(event)
                return
            await live.progress.wait()

    async def expect_identity(self, live: Live) -> None:
        """Have the next sample looked at closely: the session begins or goes on with it."""
        if live.stream_id is not None:
            try:
                await self._verifier.resume(live.stream_id)
            except StreamGone:
                live.stream_id = None

    async def close_stream(self, stream_id: str, *, taken_over: bool = False) -> None:
        """Close a stream; one that cannot be closed expires by itself."""
        try:
            await self._verifier.close_stream(stream_id, taken_over=taken_over)
        except BenrenError as error:
            _log.warning("stream %s could not be closed: %s", stream_id, error)
