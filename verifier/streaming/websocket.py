"""Frames over a WebSocket: a small header, then the picture; every frame gets its cue.

A binary message is one frame (`framing`). Text messages of ours are cues, as JSON: one for each
frame, and with `seq` null when a challenge begins, goes on or ends. A frame that is no sample gets
a cue with `accepted` false and the advice why.

Everything is bounded: the messages by the server that frames them, their rate, the frames in work,
the cues that wait to be read, the time to read one, and the time without a frame.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from verifier.errors import BenrenError, StreamGone, StreamTakenOver, Unauthorised
from verifier.streaming.advice import Advice, FrameReceipt, advise_on
from verifier.streaming.cues import Cue
from verifier.streaming.framing import FramedPicture, unpack
from verifier.streaming.hub import StreamHub
from verifier.streaming.line import Line
from verifier.streaming.ways import End

_log = logging.getLogger(__name__)

SUBPROTOCOL: Final = "benren.v1"
TOKEN_PREFIX: Final = "token."  # noqa: S105 - how a token is announced, no secret


class Socket(Protocol):
    """What is needed of a WebSocket that has been accepted."""

    async def receive(self) -> bytes | str | None:
        """Give the next message, or None at the end."""
        ...

    async def send(self, text: str) -> None:
        """Send a text message; waits while the peer does not read."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """Close the connection."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketLimits:
    """Bounds of one connection."""

    frames_at_once: int = 8
    """In work or waiting; one more is answered `newer_frame` unseen."""
    cues_waiting: int = 64
    """Not yet read by the device; one more ends the connection."""
    read_s: float = 10.0
    """The device takes a cue within this time, or the connection ends."""
    excess_frames: int = 100
    """Frames above the allowed rate before the connection ends; forgiven at the allowed rate."""
    idle_s: float = 120.0
    """A connection without a frame for so long ends."""


def token_of(subprotocols: list[str]) -> str:
    """Find the client token among the subprotocols that the device offers, or give ``""``."""
    for one in subprotocols:
        if one.startswith(TOKEN_PREFIX):
            return one.removeprefix(TOKEN_PREFIX)
    return ""


async def serve(
    hub: StreamHub, stream_id: str, token: str, socket: Socket, limits: SocketLimits | None = None
) -> None:
    """Carry frames and cues until either side ends."""
    connection = _Connection(socket, limits if limits is not None else SocketLimits())
    try:
        line = hub.enter(stream_id, token, connection.end)
    except BenrenError as error:
        await socket.close(_refused(error), error.detail[:100])
        return
    try:
        await connection.run(line, frames_per_s=hub.limits.frames_per_s)
    finally:
        line.leave()


class _Connection:
    """One accepted WebSocket."""

    def __init__(self, socket: Socket, limits: SocketLimits) -> None:
        self._socket = socket
        self._limits = limits
        self._outbox: asyncio.Queue[str] = asyncio.Queue(limits.cues_waiting)
        self._ended: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self._frames: set[asyncio.Task[None]] = set()

    def end(self, why: End) -> None:
        """Have the connection end; the first reason counts."""
        if not self._ended.done():
            self._ended.set_result(why)

    async def run(self, line: Line, *, frames_per_s: int) -> None:
        """Read, answer and push until the end, and leave nothing behind."""
        listener: Callable[[Cue], None] = self._say
        line.cues.listen(listener)
        if line.cues.prompt is not None:
            self._say(line.cues.now())
        reader = asyncio.create_task(self._read(line, _Allowance(frames_per_s, self._limits)))
        writer = asyncio.create_task(self._write())
        try:
            ways_to_end: set[asyncio.Future[Any]] = {reader, writer, self._ended}
            await asyncio.wait(ways_to_end, return_when=asyncio.FIRST_COMPLETED)
        finally:
            line.cues.forget(listener)
            tasks = [reader, writer, *self._frames]
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        if self._ended.done():
            with contextlib.suppress(Exception):  # the peer may be gone already
                async with asyncio.timeout(self._limits.read_s):
                    await self._socket.close(self._ended.result(), _REASONS[self._ended.result()])
        for result in results[:2]:
            if isinstance(result, Exception):
                raise result

    async def _read(self, line: Line, allowance: _Allowance) -> None:
        while True:
            try:
                async with asyncio.timeout(self._limits.idle_s):
                    message = await self._socket.receive()
            except TimeoutError:
                return self.end(End.IDLE)
            if message is None:
                return None
            frame = unpack(message) if isinstance(message, bytes) else None
            if frame is None:
                return self.end(End.BAD_MESSAGE)
            if not allowance.take():
                return self.end(End.FLOODED)
            if len(self._frames) >= self._limits.frames_at_once:
                self._refuse(line, frame.seq, Advice.NEWER_FRAME)
                continue
            task = asyncio.create_task(self._take(line, frame))
            self._frames.add(task)
            task.add_done_callback(self._taken)

    async def _take(self, line: Line, frame: FramedPicture) -> None:
        try:
            cue = await line.push(
                seq=frame.seq, data=frame.data, captured_utc_ms=frame.captured_utc_ms
            )
        except StreamGone as error:
            self.end(_refused(error))
        except BenrenError as error:
            self._refuse(line, frame.seq, advise_on(error))
        else:
            self._say(cue)

    def _taken(self, task: asyncio.Task[None]) -> None:
        self._frames.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a frame was not taken", exc_info=task.exception())
            self.end(End.UNAVAILABLE)

    def _refuse(self, line: Line, seq: int, advice: Advice) -> None:
        self._say(line.cues.answer(FrameReceipt(seq=seq, accepted=False, advice=advice)))

    def _say(self, cue: Cue) -> None:
        try:
            self._outbox.put_nowait(json.dumps(cue.as_json(), separators=(",", ":")))
        except asyncio.QueueFull:
            self.end(End.NOT_READ)

    async def _write(self) -> None:
        while True:
            text = await self._outbox.get()
            try:
                async with asyncio.timeout(self._limits.read_s):
                    await self._socket.send(text)
            except TimeoutError:
                return self.end(End.NOT_READ)


class _Allowance:
    """Counts the frames above the allowed rate, on the loop's own clock."""

    def __init__(self, frames_per_s: int, limits: SocketLimits) -> None:
        self._per_s = frames_per_s
        self._most = float(frames_per_s + limits.excess_frames)
        self._level = self._most
        self._loop = asyncio.get_running_loop()
        self._at = self._loop.time()

    def take(self) -> bool:
        """Count one frame; False where the device floods us."""
        now = self._loop.time()
        self._level = min(self._most, self._level + (now - self._at) * self._per_s) - 1
        self._at = now
        return self._level >= 0


def _refused(error: BenrenError) -> End:
    """Give the close code that says why a way cannot go on."""
    if isinstance(error, StreamTakenOver):
        return End.TAKEN_OVER
    return End.UNAUTHORISED if isinstance(error, Unauthorised) else End.GONE


_REASONS: Final = {
    End.TAKEN_OVER: "another way in has taken over",
    End.BAD_MESSAGE: "not a frame",
    End.UNAUTHORISED: "the client token is not good for this stream",
    End.IDLE: "no frame came for too long",
    End.GONE: "the stream is closed or was lost",
    End.TOO_LARGE: "larger than allowed",
    End.FLOODED: "far more frames than allowed",
    End.NOT_READ: "cues were not read",
    End.UNAVAILABLE: "come back later",
}
