"""The live ways of a device: frames over a WebSocket or over WebRTC, cues back.

Made by `StudySession.socket` and `StudySession.peer`; uploads are `StudySession.push_frame`. aiortc
is imported only where WebRTC is used.
"""

from __future__ import annotations

import asyncio
import contextlib
import fractions
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Self

import cv2
import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from benren.problems import ServiceUnreachable, UnexpectedAnswer
from verifier.errors import BadRequest, StreamGone, StreamTakenOver, Unauthorised
from verifier.streaming.cues import Cue
from verifier.streaming.framing import FramedPicture, pack
from verifier.streaming.ways import End

if TYPE_CHECKING:
    from aiortc import RTCPeerConnection

_CUES_KEPT: Final = 256
_CLOCK: Final = 90_000  # RTP, RFC 3551, 5: of video


class _Cues:
    """Cues that were pushed, the newest `_CUES_KEPT` of them."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Cue] = asyncio.Queue()
        self.latest: Cue | None = None
        """The newest one, pushed or not."""

    def put(self, cue: Cue) -> None:
        self.latest = cue
        if cue.seq is None:
            if self._queue.qsize() >= _CUES_KEPT:
                self._queue.get_nowait()
            self._queue.put_nowait(cue)

    async def get(self) -> Cue:
        """Wait for the next pushed one."""
        return await self._queue.get()


class SocketWay:
    """Frames over a WebSocket: each is answered by its cue."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._seq = 0
        self._answers: dict[int, asyncio.Future[Cue]] = {}
        self._reader = asyncio.create_task(self._read(), name="cues")
        self.cues = _Cues()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, url: str, token: str) -> AsyncIterator[Self]:
        """Connect, and close in the end. Raises ServiceUnreachable."""
        try:
            connection = await connect(
                url.replace("http", "ws", 1),
                subprotocols=["benren.v1", f"token.{token}"],  # type: ignore[list-item]
                compression=None,
                proxy=None,
            )
        except (OSError, InvalidHandshake, TimeoutError) as error:
            raise ServiceUnreachable(f"No WebSocket at {url}: {error}.") from error
        way = cls(connection)
        try:
            yield way
        finally:
            await connection.close()
            await asyncio.gather(way._reader, return_exceptions=True)

    async def send(self, picture: bytes, *, captured_utc_ms: int | None = None) -> Cue:
        """Send one JPEG, PNG or WebP picture, and wait for its cue.

        A picture that is no sample is told by the cue, not by an exception. Raises StreamGone or
        Unauthorised where the service has ended the connection, ServiceUnreachable where it broke.
        """
        self._seq += 1
        answer: asyncio.Future[Cue] = asyncio.get_running_loop().create_future()
        self._answers[self._seq] = answer
        frame = FramedPicture(seq=self._seq, data=picture, captured_utc_ms=captured_utc_ms)
        try:
            await self._connection.send(pack(frame))
        except ConnectionClosed:
            await asyncio.gather(self._reader, return_exceptions=True)
        if self._reader.done() and not answer.done():
            answer.set_exception(_over(self._connection))
        return await answer

    async def _read(self) -> None:
        try:
            async for message in self._connection:
                cue = _cue(message)
                self.cues.put(cue)
                answer = self._answers.pop(cue.seq, None) if cue.seq is not None else None
                if answer is not None and not answer.done():
                    answer.set_result(cue)
        except ConnectionClosed:
            pass
        finally:
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(_over(self._connection))


class PeerWay:
    """Frames over WebRTC, as a video of few frames: no answer to each, cues where they change."""

    def __init__(self, connection: RTCPeerConnection) -> None:
        from aiortc import VideoStreamTrack  # noqa: PLC0415

        self._connection = connection
        self._pictures: asyncio.Queue[Any] = asyncio.Queue(4)
        self.cues = _Cues()
        self._open = asyncio.Event()
        self.closed = asyncio.Event()
        """Set once the connection is over."""
        source = self

        class Camera(VideoStreamTrack):
            """Shows what is sent, when it is sent."""

            async def recv(self) -> Any:
                return await source._pictures.get()

        connection.addTrack(Camera())
        self._channel = connection.createDataChannel("benren")
        self.ended: End | None = None
        """Why the service ended it, where it said so."""
        self._channel.on("message", self._on_message)
        self._channel.on("close", self.closed.set)
        connection.on("connectionstatechange", self._on_state)
        self._began = asyncio.get_running_loop().time()

    def _on_message(self, message: str | bytes) -> None:
        self.ended = _end(message)
        if self.ended is None:
            self.cues.put(_cue(message))
        else:
            self.closed.set()

    def _on_state(self) -> None:
        if self._connection.connectionState == "connected":
            self._open.set()
        elif self._connection.connectionState in ("failed", "closed"):
            self.closed.set()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        ask: Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]],
        ice_servers: list[Mapping[str, Any]],
        *,
        connect_s: float = 15.0,
    ) -> AsyncIterator[Self]:
        """Offer (`ask` posts the offer and gives the answer), connect, and close in the end.

        Raises ServiceUnreachable where no connection comes about.
        """
        from aiortc import (  # noqa: PLC0415
            RTCConfiguration,
            RTCIceServer,
            RTCPeerConnection,
            RTCSessionDescription,
        )

        servers = [RTCIceServer(**server) for server in ice_servers]
        connection = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        try:
            way = cls(connection)
            await connection.setLocalDescription(await connection.createOffer())
            answer = await ask({"sdp": connection.localDescription.sdp, "type": "offer"})
            await connection.setRemoteDescription(
                RTCSessionDescription(sdp=str(answer["sdp"]), type="answer")
            )
            try:
                async with asyncio.timeout(connect_s):
                    await way._open.wait()
            except TimeoutError as error:
                raise ServiceUnreachable("No WebRTC connection came about.") from error
            yield way
        finally:
            await connection.close()

    async def send(self, picture: bytes) -> None:
        """Show one JPEG, PNG or WebP picture; it is taken in where the stream wants one."""
        from av import VideoFrame  # noqa: PLC0415

        pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
        if pixels is None:
            raise BadRequest("This is no picture.", remedy="Send JPEG, PNG or WebP.")
        height, width = pixels.shape[0] & ~1, pixels.shape[1] & ~1
        even = np.ascontiguousarray(pixels[:height, :width], dtype=np.uint8)
        frame = VideoFrame.from_ndarray(even, format="bgr24")
        elapsed_s = asyncio.get_running_loop().time() - self._began
        frame.pts = int(elapsed_s * _CLOCK)
        frame.time_base = fractions.Fraction(1, _CLOCK)
        await self._pictures.put(frame)


def _cue(message: str | bytes) -> Cue:
    try:
        return Cue.from_json(json.loads(message))
    except (KeyError, TypeError, ValueError) as error:
        raise UnexpectedAnswer(f"This is not a cue: {error!r}.") from error


def _end(message: str | bytes) -> End | None:
    """Read why a connection ends, where that is what a message says."""
    try:
        said = json.loads(message)
        return End(said["end"]) if isinstance(said, dict) and "end" in said else None
    except (TypeError, ValueError) as error:
        raise UnexpectedAnswer(f"This says no reason: {error!r}.") from error


def _over(connection: ClientConnection) -> Exception:
    """Say why a WebSocket is over."""
    code, reason = connection.close_code, connection.close_reason or ""
    if code == End.UNAUTHORISED:
        return Unauthorised(f"The connection was refused: {reason}.")
    if code == End.TAKEN_OVER:
        return StreamTakenOver(f"The connection has ended: {reason}.")
    if code in set(End):
        return StreamGone(f"The connection has ended: {reason}.")
    return ServiceUnreachable(f"The connection broke (code {code}).")
