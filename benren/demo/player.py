"""Plays the lessons of the whole cast through the HTTP API, on one clock that is moved by hand.

No rule is skipped and no route knows of the clock: before time moves on, everything that is due
has been done, so that compressed time is as fair to the services as real time would be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from benren.client import BenrenClient
from benren.demo.album import Album
from benren.demo.cast import LESSON_S, Role, camera_of
from benren.demo.device import Device, Films
from benren.demo.outcome import Mark, Outcome, Span, VoidSpan
from benren.demo.poses import PoseStudio
from verifier.clock import ManualClock

_TICK_MS = 1_000
"""Frames and reports fall on whole seconds, so that learners share the work of a moment."""
SESSION_ENDED = "session_ended"
"""Why a cheat's seconds after the end of his session do not count: nobody heard of them."""


class Player:
    """Enrols the cast, plays the lesson, and asks the tracker what came of it."""

    def __init__(
        self,
        client: BenrenClient,
        clock: ManualClock,
        album: Album,
        *,
        studio: PoseStudio,
        settled: Callable[[], Awaitable[None]],
    ) -> None:
        """`settled` returns once the services have nothing left to do at this instant."""
        self._client = client
        self._clock = clock
        self._album = album
        self._studio = studio
        self._settled = settled

    async def play(
        self, roles: Sequence[Role], progress: Callable[[int], None] = lambda _: None
    ) -> list[Outcome]:
        """Play the lesson of every role side by side; `progress` is told each second."""
        devices = await asyncio.gather(*(self.admit(role) for role in roles))
        began_ms = self._clock.stamp().utc_ms
        await self.study(devices, progress)
        return [await self._outcome(device, began_ms) for device in devices]

    async def study(
        self, devices: Sequence[Device], progress: Callable[[int], None] = lambda _: None
    ) -> None:
        """Let devices whose sessions are open study side by side, to the end of the lesson."""
        for second in range(LESSON_S + 1):
            if second:
                self._clock.advance(_TICK_MS)
            await self._settled()
            await asyncio.gather(*(device.act(second) for device in devices))
            await self._settled()
            progress(second)
        await asyncio.gather(*(device.leave() for device in devices))
        await self._settled()

    async def admit(self, role: Role, camera: Films | None = None) -> Device:
        """Register, enrol, record the consent, and open the session.

        Without a `camera` it shows what the script says.
        """
        learner_id = await self._client.register(
            category="principal",
            track="initial",
            industry="furniture",
            business_ref=f"demo-{role.key.replace('_', '-')}",
        )
        face = await self._client.enrol(learner_id, self._album.people[role.learner].id_photo)
        await self._client.put_template(learner_id, face.template, provenance="id_photo")
        await self._client.approve(learner_id, reason="a demonstration")
        if camera is None:
            camera = await asyncio.to_thread(camera_of, role, self._album, self._studio)
        device = Device(
            role,
            camera,
            self._client,
            self._clock,
            learner_id=learner_id,
            consent_id=await self._client.give_consent(learner_id, text_version="demo-2026-11"),
        )
        await device.open()
        return device

    async def _outcome(self, device: Device, began_ms: int) -> Outcome:
        stories = [await self._client.explain(session) for session in device.sessions]
        void = [span for story in stories for span in _void(story, began_ms)]
        ended_s = max(_second(story["end_ms"], began_ms) for story in stories)
        if device.role.cheats and ended_s < LESSON_S:
            void.append(VoidSpan(start_s=ended_s, end_s=LESSON_S, reason=SESSION_ENDED))
        return Outcome(
            role=device.role,
            learner_id=device.learner_id,
            sessions=tuple(device.sessions),
            watched_s=device.watched_s,
            credited=tuple(span for story in stories for span in _credited(story, began_ms)),
            void=tuple(void),
            marks=tuple(mark for story in stories for mark in _marks(story, began_ms)),
            state=device.state,
            challenged=tuple(span for story in stories for span in _challenged(story, began_ms)),
            thumbnails=tuple(device.thumbnails),
            frames_sent=device.frames,
            frames_refused=dict(device.refused),
        )


def _second(utc_ms: int, began_ms: int) -> float:
    return (utc_ms - began_ms) / 1_000


def _credited(story: Mapping[str, Any], began_ms: int) -> list[Span]:
    return [
        (_second(span["start_ms"], began_ms), _second(span["end_ms"], began_ms))
        for span in story["credited"]
    ]


def _void(story: Mapping[str, Any], began_ms: int) -> list[VoidSpan]:
    return [
        VoidSpan(
            start_s=_second(span["start_ms"], began_ms),
            end_s=_second(span["end_ms"], began_ms),
            reason=span["reason"],
        )
        for span in story["void"]
    ]


def _challenged(story: Mapping[str, Any], began_ms: int) -> list[Span]:
    """Give the time from each challenge to the moment when the player might run again."""
    spans, since = [], None
    for fact in story["facts"]:
        at_s = _second(fact["at_ms"], began_ms)
        if fact["kind"] == "challenged" and since is None:
            since = at_s
        elif fact["kind"] in ("resumed", "paused", "suspended", "closed") and since is not None:
            spans.append((since, at_s))
            since = None
    return spans


def _marks(story: Mapping[str, Any], began_ms: int) -> list[Mark]:
    return [
        Mark(
            at_s=_second(fact["at_ms"], began_ms),
            kind=fact["kind"],
            outcome=fact["data"]["outcome"],
            cause=fact["data"].get("cause", ""),
        )
        for fact in story["facts"]
        if fact["kind"] in ("identity", "check")
    ]
