"""Asks the verifier for checks, and sees to it that their answers come in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from session_tracker.events import SystemFault
from session_tracker.live import Asked, Live
from session_tracker.turns import Turns
from verifier.errors import BenrenError, Overloaded, StreamGone
from verifier.types import ChallengeRequest, CheckRequest, StreamEvent, StreamVerifier

_log = logging.getLogger("benren.tracker")
_CHECK_TRIES: Final = 2
_CHECK_WITHIN_S: Final = 30.0
"""A check is answered, and its event handed over, within this (real time), or it failed."""
_PATIENCE_S: Final = 15.0
"""So long (real time) a check that finds the verifier's queue full is asked for again: where the
jam lasts longer the service is at fault, and says so."""


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
        """Have a check made; a verifier that fails twice is a fault of the service.

        So is a challenge for which the stream is gone; a silent check is asked for again. A
        verifier without room is asked for `_PATIENCE_S` before that counts as failing.
        """
        began = max(self._turns.axis.now(), asked.shown_at)
        stream_id = live.stream_id
        if stream_id is None:
            await self._not_shown(live, asked, began)
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
        attempt = 1
        patience_until = asyncio.get_running_loop().time() + _PATIENCE_S
        while attempt <= _CHECK_TRIES:
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
                await self._not_shown(live, asked, began)
                return
            except (BenrenError, TimeoutError) as error:
                _log.warning("check %s, attempt %d: %r", asked.check_id, attempt, error)
                pause_s = error.retry_after_s if isinstance(error, Overloaded) else None
                if pause_s and asyncio.get_running_loop().time() + pause_s <= patience_until:
                    await asyncio.sleep(pause_s)  # a jam passes
                else:
                    attempt += 1
            else:
                return
        async with self._turns.fresh(live):
            await self._fail(live, asked, began)

    async def _not_shown(self, live: Live, asked: Asked, began: int) -> None:
        """Take a challenge back for which there is no stream, unless another took its place."""
        async with self._turns.fresh(live):
            if asked.turns and live.machine.challenged_at == asked.shown_at:
                await self._fail(live, asked, began)

    async def _fail(self, live: Live, asked: Asked, began: int) -> None:
        """Note that the service could not make a check."""
        turn = self._turns.turn(live)
        turn.take(SystemFault(key=f"fault:{asked.check_id}", t=began, end=max(turn.now, began)))
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
