"""The challenges of one stream, one at a time: begun, fed with frames, ended by them or by time."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from verifier.clock import Clock, Stamp
from verifier.errors import BenrenError
from verifier.pipeline.ports import Priority
from verifier.pipeline.quality import COVERS
from verifier.streaming.active import ActiveCheck, Outcome
from verifier.streaming.challenge import Keep, Sight
from verifier.streaming.cues import CueBoard
from verifier.streaming.ports import Inference
from verifier.streaming.window import Sample
from verifier.types import ChallengeRequest, Evidence, Face, Frame, Verdict

if TYPE_CHECKING:
    from verifier.types import Vector

_log = logging.getLogger(__name__)


class Challenges:
    """Shows challenges of one stream on its board; `end` is told what each came to."""

    def __init__(
        self,
        *,
        inference: Inference,
        reference: Vector,
        identify: Callable[[Sequence[Evidence]], Verdict],
        passive_vote: bool,
        clock: Clock,
        cues: CueBoard,
        end: Callable[[ActiveCheck, Outcome], None],
        remembered: int,
        owner: str = "",
    ) -> None:
        """`owner` takes turns with others for inference: the session."""
        self._inference = inference
        self._owner = owner
        self._reference = reference
        self._identify = identify
        self._passive_vote = passive_vote
        self._clock = clock
        self._cues = cues
        self._end = end
        self._remembered = remembered
        self._known: OrderedDict[str, None] = OrderedDict()
        self._timer: asyncio.Task[None] | None = None
        self.active: ActiveCheck | None = None
        """The one that is shown."""

    def knows(self, check_id: str) -> bool:
        """Tell whether a challenge was begun before; an id is single-use."""
        return check_id in self._known

    def begin(self, request: ChallengeRequest, before: tuple[Verdict, Stamp] | None) -> None:
        """Show a challenge; the one that is shown ends as it stands.

        `before`: what the frames that are there already say of the identity, and since when.
        """
        self._known[request.check_id] = None
        while len(self._known) > self._remembered:
            self._known.popitem(last=False)
        if self.active is not None:
            self._conclude(self.active)
        active = ActiveCheck(
            request,
            began=self._clock.stamp(),
            judge=self._identify,
            passive_vote=self._passive_vote,
        )
        if before is not None:
            active.foresee(*before)
        self.active = active
        self._go_on(active)
        if self.active is active:
            self._timer = asyncio.create_task(self._watch(active), name="stream challenge")

    async def take(self, sample: Sample, frame: Frame, face: Face | None) -> None:
        """Take in a frame of the stream and the face that is followed in it.

        Where it cannot be looked at, it is as if it had not come.
        """
        active = self.active
        if active is None:
            return
        try:
            await self._take(active, sample, frame, face)
        except BenrenError as error:
            _log.warning("a frame of a challenge was not looked at: %s", error)
        if self.active is active:
            self._go_on(active)

    def close(self) -> None:
        """Show nothing any more, and forget the face; no event follows."""
        self.active = None
        self._reference = np.zeros_like(self._reference)
        self._cues.show(None)
        if self._timer is not None:
            self._timer.cancel()

    async def stop(self) -> None:
        """End everything in hand. For the end of the process."""
        self.close()
        if self._timer is not None:
            await asyncio.gather(self._timer, return_exceptions=True)

    async def _take(
        self, active: ActiveCheck, sample: Sample, frame: Frame, face: Face | None
    ) -> None:
        pose = None
        if face is not None:
            (pose,) = await self._inference.poses(
                [frame], [face], priority=Priority.INTERACTIVE, owner=self._owner
            )
        seen = Sight(
            at_ms=sample.stamp.monotonic_ms,
            track=0 if face is None else sample.track,
            pose=pose,
            clear=not set(sample.presence.reasons) - COVERS,
        )
        keep = active.look(seen)
        if face is None or keep is Keep.NOTHING:
            return
        (evidence,) = await self._inference.assess(
            [frame],
            faces=[(face,)],
            references=[self._reference],
            liveness=keep is Keep.STRAIGHT,
            priority=Priority.INTERACTIVE,
            owner=self._owner,
        )
        active.hear(keep, evidence, sample.stamp)

    def _go_on(self, active: ActiveCheck) -> None:
        """Show what comes next, or end the challenge."""
        if active.over:
            self._conclude(active)
        else:
            self._cues.show(active.prompt)

    def _conclude(self, active: ActiveCheck) -> None:
        self.active = None
        self._cues.show(None)
        if self._timer is not None and self._timer is not asyncio.current_task():
            self._timer.cancel()
        self._timer = None
        self._end(active, active.outcome())

    async def _watch(self, active: ActiveCheck) -> None:
        """End a challenge in time, frames or none."""
        while self.active is active:
            await self._clock.sleep_until(active.deadline_ms)
            if self.active is active:
                active.expire(self._clock.stamp().monotonic_ms)
                self._go_on(active)
