"""One learner's device in the demo: it films, reports playback, and obeys, or does not.

It knows the services by their client only. Where the script says that somebody cheats, his player
is a manipulated one that runs on whatever it is told.
"""

from __future__ import annotations

import asyncio
import random
from typing import Protocol

import cv2
import numpy as np

from benren.client import BenrenClient, SessionStatus, StudySession
from benren.demo.cast import LESSON_S, Role, Sitter
from benren.demo.outcome import Thumbnail
from verifier.clock import Clock
from verifier.errors import BenrenError, Conflict, ImageUnreadable, StreamGone

PROGRAMME = "demo"
MEDIUM = "lesson-1"
THUMBNAILS = 10
"""Pictures of one lesson that go into the report."""
_THUMBNAIL_PX = 120
CHALLENGED_S = 1
"""Between two frames while a challenge is shown: lessons are played second by second."""
_LOOK_S = 5
"""How often a player that stands still asks whether it may go on."""


class Films(Protocol):
    """A camera, as a device uses it."""

    def frame(self, n: int, t_s: float) -> bytes:
        """Take the `n`-th frame at `t_s` seconds of the lesson, as a JPEG."""
        ...

    def told(self, turn: str | None, t_s: float) -> None:
        """Pass on what the screen asks for; None: nothing any more."""
        ...


class Device:
    """A device during one lesson; the player calls `act` once for every second."""

    def __init__(
        self,
        role: Role,
        camera: Films,
        client: BenrenClient,
        clock: Clock,
        *,
        learner_id: str,
        consent_id: str,
    ) -> None:
        self.role = role
        self.learner_id = learner_id
        self.consent_id = consent_id
        self.sessions: list[str] = []
        """Ids, in order: a session that was ended may be followed by another."""
        self.watched_s = 0
        self.frames = 0
        self.refused: dict[str, int] = {}
        """Code -> frames that the verifier did not take as samples."""
        self.thumbnails: list[Thumbnail] = []
        self.state = "created"
        self._camera = camera
        self._client = client
        self._clock = clock
        self._dice = random.Random(role.seed)  # noqa: S311 - jitter of a simulation, no secret
        self._session: StudySession | None = None
        self._next_frame_s = self._dice.randrange(0, 4)
        self._next_report_s = 0
        self._playing = False
        self._media_ms = 0
        self._reported_ms = 0
        self._last_s = 0
        self._asked: str | None = None
        """Where the screen asks to turn; None: no challenge is shown."""

    async def open(self, second: int = 0) -> None:
        """Open a session, and go on in the medium where the last one was seen to be."""
        self._session = await self._client.open_session(
            learner_id=self.learner_id,
            consent_id=self.consent_id,
            programme=PROGRAMME,
            media=[MEDIUM],
        )
        self.sessions.append(self._session.id)
        self._media_ms, self._playing = self._reported_ms, False
        self._next_report_s = second

    async def act(self, second: int) -> None:
        """Do what is due at this second of the lesson."""
        if self._playing:
            self._media_ms += (second - self._last_s) * 1_000
            self.watched_s += second - self._last_s
        self._last_s = second
        if self._session is None and self._learner_is_there(second):
            await self.open(second)
        if self._next_frame_s <= second < LESSON_S:
            await self._film(second)
            calm = self._dice.choice((4, 5, 6))
            self._next_frame_s = second + (calm if self._asked is None else CHALLENGED_S)
        if second >= self._next_report_s or second == LESSON_S:
            await self._report(second)

    async def leave(self) -> None:
        """End the session for the learner."""
        if self._session is not None:
            self.state = (await self._session.close()).state

    def _learner_is_there(self, second: int) -> bool:
        """Tell whether the learner himself sits there: he would open another session."""
        return any(
            stay.start_s <= second < stay.end_s and stay.sitter is Sitter.LEARNER
            for stay in self.role.stays
        )

    async def _film(self, second: int) -> None:
        picture = await asyncio.to_thread(self._camera.frame, self.frames, float(second))
        if second * THUMBNAILS >= len(self.thumbnails) * LESSON_S:
            self.thumbnails.append(Thumbnail(at_s=second, jpeg=_thumbnail(picture)))
        self.frames += 1
        if self._session is None:
            return
        try:
            receipt = await self._session.push_frame(
                picture, captured_utc_ms=self._clock.stamp().utc_ms
            )
        except (Conflict, StreamGone):
            await self._lose()
        except BenrenError as error:
            self._count(error.code)
        else:
            if not receipt.accepted:
                self._count(receipt.advice.value)
            shown = receipt.challenge
            self._hear(None if shown is None else shown.turn.value, second)

    def _hear(self, turn: str | None, second: int) -> None:
        """Show on the screen what is asked for; whoever sits there sees it."""
        if turn is not None or self._asked is not None:
            self._camera.told(turn, float(second))
        self._asked = turn

    async def _report(self, second: int) -> None:
        session = self._session
        if session is None:
            return
        wants = self._wants(session.status, second)
        try:
            status = await self._say(session, playing=wants)
            if self._wants(status, second) != wants:
                wants = not wants
                status = await self._say(session, playing=wants)
        except Conflict:
            await self._lose()
            return
        self._playing = wants
        self.state = status.state
        steady = wants and status.play
        self._next_report_s = second + (status.report_every_s if steady else _LOOK_S)

    def _wants(self, status: SessionStatus, second: int) -> bool:
        return second < LESSON_S and (self.role.cheats or status.play)

    async def _say(self, session: StudySession, *, playing: bool) -> SessionStatus:
        status = await session.report(
            media_id=MEDIUM,
            media_ms=self._media_ms,
            playing=playing,
            interaction=self._dice.random() < 0.2,
            client_utc_ms=self._clock.stamp().utc_ms,
        )
        self._reported_ms = self._media_ms
        return status

    async def _lose(self) -> None:
        """Note that the session was ended by the tracker; a cheat's player runs on."""
        self._hear(None, self._last_s)
        if self._session is not None:
            self.state = (await self._session.look()).state
            self._session = None
        self._playing = self._playing and self.role.cheats

    def _count(self, code: str) -> None:
        self.refused[code] = self.refused.get(code, 0) + 1


def _thumbnail(jpeg: bytes) -> bytes:
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise ImageUnreadable("The camera's own picture cannot be read.")
    scale = _THUMBNAIL_PX / picture.shape[0]
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 72])
    return bytes(data)
