"""Video of one WebRTC track: encoded frames in, now and then a picture out; the rest costs little.

aiortc decodes every frame in a thread of its own and queues what nobody takes. Here its receiver
is tamed instead: complete encoded frames are caught before its decoder, kept within bounds and
decoded in a pool that all tracks share; only the newest decoded frame of a batch becomes pixels,
and only when the stream wants a sample. What exceeds the rate is dropped *undecoded*, up to the
next key frame, for which the sender is asked. Names with two underscores belong to aiortc; the
tests against the real one tell when they change.
"""

from __future__ import annotations

import asyncio
import hashlib
import queue
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import av
import cv2
import numpy as np
import simplejpeg
from aiortc.jitterbuffer import JitterBuffer, JitterFrame

from verifier.types import Frame

if TYPE_CHECKING:
    from aiortc import RTCRtpReceiver
    from aiortc.rtcrtpparameters import RTCRtpCodecParameters
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame

JPEG_QUALITY: Final = 92
"""Of the copy that is kept for checks: above what phones use for their pictures."""
_DECODERS: Final = {"VP8": "libvpx", "H264": "h264"}
_START_CODE: Final = b"\x00\x00\x01"
_H264_KEY_UNITS: Final = {5, 7}  # H.264, table 7-1: slice of an IDR picture, parameter set


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoLimits:
    """Bounds of one track."""

    frames_per_s: float = 5.0
    """Decoded on the average: a challenge's four, and a little. What senders wish to give above
    it costs them, and us, a key frame per second."""
    frames_at_once: int = 60
    """Decoded without a break: the fast start, before the sender has lowered its rate."""
    reopen_frames: int = 5
    """After too many, so many have to be allowed again before the next is taken."""
    waiting_frames: int = 60
    """Encoded frames that wait for the decoder."""
    frame_bytes: int = 2 * 1024 * 1024
    """Of one encoded frame."""
    pixels: int = 1_920 * 1_080
    """Of a decoded frame; the decoder refuses what is larger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A video frame for the pipeline, and what is kept of it."""

    frame: Frame
    """Its digest is the SHA-256 of the planes as decoded (I420)."""
    jpeg: bytes


class PromptJitterBuffer(JitterBuffer):
    """Gives a frame as soon as its last packet is there (RTP marker), not with the next frame.

    At one frame in five seconds the difference is five seconds.
    """

    def _remove_frame(self, sequence_number: int) -> JitterFrame | None:
        frame = super()._remove_frame(sequence_number)
        if frame is not None or self._origin is None:
            return frame
        packets: list[Any] = []
        for count in range(self.capacity):
            packet: Any = self._packets[(self._origin + count) % self.capacity]
            if packet is None or (packets and packet.timestamp != packets[0].timestamp):
                return None
            packets.append(packet)
            if packet.marker:
                self.remove(count + 1)
                data = b"".join(packet._data for packet in packets)
                return JitterFrame(data=data, timestamp=packets[0].timestamp)
        return None


class Track:
    """The video of one receiver. `wanted` says whether a picture is due; `show` takes it.

    `show` is awaited before the next batch is decoded: what comes meanwhile waits, encoded, and the
    newest of it is the next picture.
    """

    def __init__(
        self,
        receiver: RTCRtpReceiver,
        *,
        executor: Executor,
        wanted: Callable[[], bool],
        limits: VideoLimits,
    ) -> None:
        """Take over from aiortc's own decoder; must be called before the receiver starts."""
        self.receiver = receiver
        self._executor = executor
        self._wanted = wanted
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[str, JitterFrame]] = deque()
        self._news = asyncio.Event()
        self._allowance = float(limits.frames_at_once)
        self._at = self._loop.time()
        self._needs_key = True
        self._codec = ""
        self._decoder: VideoCodecContext | None = None
        self.ended = False
        """Whether the sender has ended the track."""
        self.too_large = False
        """Whether a frame came that is larger than allowed."""
        self.received = 0
        """Complete encoded frames."""
        self.decoded = 0
        """Frames that were decoded."""
        inside: Any = receiver
        inside._RTCRtpReceiver__jitter_buffer = PromptJitterBuffer(capacity=512, is_video=True)
        inside._RTCRtpReceiver__decoder_queue = _Catcher(self._take)
        self._key_frame_please: Callable[[], None] = inside._RTCRtpReceiver__decoder_error.set

    async def next_picture(self) -> Picture | None:
        """Wait for the next picture that is wanted; None where the track is over."""
        while True:
            await self._news.wait()
            self._news.clear()
            if self.ended or self.too_large:
                return None
            batch = [*self._waiting]
            self._waiting.clear()
            if not batch:
                continue
            picture = await self._loop.run_in_executor(self._executor, self._decode, batch)
            if picture is not None:
                return picture

    def _take(self, codec: RTCRtpCodecParameters | None, encoded: JitterFrame | None) -> None:
        """Take an encoded frame from aiortc, on the event loop."""
        if codec is None or encoded is None:
            self.ended = True
            self._news.set()
            return
        self.received += 1
        if not self._is_taken(codec.name, encoded.data):
            return
        self._waiting.append((codec.name, encoded))
        self._news.set()

    def _is_taken(self, codec: str, data: bytes) -> bool:
        limits = self._limits
        now = self._loop.time()
        earned = (now - self._at) * limits.frames_per_s
        self._allowance = min(float(limits.frames_at_once), self._allowance + earned)
        self._at = now
        if codec not in _DECODERS or len(data) > limits.frame_bytes:
            return False
        if self._needs_key:
            if self._allowance < min(limits.reopen_frames, limits.frames_at_once):
                return False
            if not is_key_frame(codec, data):
                self._key_frame_please()
                return False
            self._needs_key = False
        if self._allowance < 1 or len(self._waiting) >= limits.waiting_frames:
            self._needs_key = True
            return False
        self._allowance -= 1
        return True

    def _decode(self, batch: list[tuple[str, JitterFrame]]) -> Picture | None:
        """Decode a batch and make the newest frame a picture, where one is wanted."""
        newest: VideoFrame | None = None
        for codec, encoded in batch:
            packet = av.Packet(encoded.data)
            packet.pts = encoded.timestamp
            try:
                for frame in self._context(codec).decode(packet):
                    newest = frame
                    self.decoded += 1
            except av.FFmpegError:
                self._decoder = None
                self._needs_key = True
        if newest is None:
            return None
        if newest.width * newest.height > self._limits.pixels:
            self.too_large = True
            self._loop.call_soon_threadsafe(self._news.set)
            return None
        return picture_of(newest) if self._wanted() else None

    def _context(self, codec: str) -> VideoCodecContext:
        if self._decoder is None or self._codec != codec:
            decoder: Any = av.CodecContext.create(_DECODERS[codec], "r")
            decoder.options = {"max_pixels": str(self._limits.pixels)}
            decoder.thread_count = 1
            self._codec, self._decoder = codec, decoder
        return self._decoder


class _Catcher(queue.Queue[Any]):
    """Stands where aiortc puts encoded frames for its decoder; lets only the end pass."""

    def __init__(self, take: Callable[[Any, Any], None]) -> None:
        super().__init__()
        self._take_frame = take

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Take a frame; hand on the end, which stops aiortc's thread."""
        if item is None:
            self._take_frame(None, None)
            super().put(item, block, timeout)
        else:
            self._take_frame(*item)


def is_key_frame(codec: str, data: bytes) -> bool:
    """Tell whether decoding can begin with this frame."""
    if codec == "VP8":
        return len(data) > 0 and not data[0] & 1  # RFC 6386, 9.1
    at = data.find(_START_CODE)
    while 0 <= at < len(data) - 3:
        if data[at + 3] & 0x1F in _H264_KEY_UNITS:
            return True
        at = data.find(_START_CODE, at + 3)
    return False


def picture_of(video: VideoFrame) -> Picture:
    """Make pixels of a decoded frame (BT.601, limited range), and the copy that is kept."""
    if video.format.name != "yuv420p":
        video = video.reformat(format="yuv420p")
    planes = video.to_ndarray()
    pixels = np.ascontiguousarray(cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_I420), dtype=np.uint8)
    pixels.setflags(write=False)
    digest = hashlib.sha256(planes.tobytes()).hexdigest()
    jpeg: bytes = simplejpeg.encode_jpeg(pixels, quality=JPEG_QUALITY, colorspace="BGR")
    return Picture(frame=Frame(pixels=pixels, digest=digest), jpeg=jpeg)
