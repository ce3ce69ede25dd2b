"""Encoded frames: when one is whole, where decoding can begin, what is dropped undecoded."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import av
import numpy as np
import pytest
import simplejpeg
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtp import RtpPacket

from verifier.streaming.video import (
    PromptJitterBuffer,
    Track,
    VideoLimits,
    is_key_frame,
    picture_of,
)

VP8 = RTCRtpCodecParameters(mimeType="video/VP8", clockRate=90_000)
KEY, DELTA = b"\x00" + bytes(20), b"\x01" + bytes(20)


def packet(seq: int, timestamp: int, data: bytes, *, marker: bool = False) -> RtpPacket:
    """One RTP packet whose payload has been parsed."""
    made: Any = RtpPacket(sequence_number=seq, timestamp=timestamp, marker=int(marker))
    made._data = data
    return made


def test_a_frame_is_given_with_its_last_packet() -> None:
    """The marker ends it; out of order, it waits for what is missing."""
    buffer = PromptJitterBuffer(capacity=16, is_video=True)
    assert buffer.add(packet(1, 100, b"a"))[1] is None
    _, frame = buffer.add(packet(2, 100, b"b", marker=True))
    assert frame is not None
    assert (frame.data, frame.timestamp) == (b"ab", 100)
    assert buffer.add(packet(4, 200, b"d", marker=True))[1] is None
    _, frame = buffer.add(packet(3, 200, b"c"))
    assert frame is not None
    assert frame.data == b"cd"
    assert buffer.add(packet(6, 300, b"f"))[1] is None


def test_frames_without_a_marker_are_given_as_before() -> None:
    """A sender that sets none is served with the next frame."""
    buffer = PromptJitterBuffer(capacity=16, is_video=True)
    assert buffer.add(packet(1, 100, b"a"))[1] is None
    _, frame = buffer.add(packet(2, 200, b"b"))
    assert frame is not None
    assert frame.data == b"a"


def test_key_frames_are_known() -> None:
    """By the first bit of VP8, by the kinds of units of H264."""
    assert is_key_frame("VP8", KEY)
    assert not is_key_frame("VP8", DELTA)
    assert not is_key_frame("VP8", b"")
    delta, idr = b"\x00\x00\x00\x01\x41abc", b"\x00\x00\x00\x01\x65abc"
    assert is_key_frame("H264", b"\x00\x00\x00\x01\x67ab" + idr)
    assert is_key_frame("H264", delta + idr)
    assert not is_key_frame("H264", delta)
    assert not is_key_frame("H264", b"\x00\x00\x01")


@pytest.mark.parametrize("light", [16, 90, 235])
def test_a_picture_has_the_colours_of_its_frame(light: int) -> None:
    """Pixels and copy are the frame's within a few levels; the digest is that of its planes."""
    pixels = np.full((120, 160, 3), light, np.uint8)
    pixels[40:80, 40:80] = (200, 100, 50)
    frame = av.VideoFrame.from_ndarray(pixels, format="bgr24").reformat(format="yuv420p")
    picture = picture_of(frame)
    assert np.abs(picture.frame.pixels[60, 60].astype(int) - (200, 100, 50)).max() <= 5
    assert abs(int(picture.frame.pixels[10, 10, 0]) - light) <= 3
    copy = simplejpeg.decode_jpeg(picture.jpeg, colorspace="BGR")
    assert np.abs(copy.astype(int) - picture.frame.pixels).mean() <= 3
    assert picture.frame.digest == picture_of(frame).frame.digest
    pixels[0, 0] = 0
    other = av.VideoFrame.from_ndarray(pixels, format="bgr24")
    assert picture_of(other).frame.digest != picture.frame.digest


class Sender:
    """A track without a network: frames go where aiortc would put them for its decoder."""

    def __init__(self, limits: VideoLimits) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.receiver: Any = self.connection.addTransceiver("video").receiver
        self.executor = ThreadPoolExecutor(1)
        self.track = Track(
            self.receiver, executor=self.executor, wanted=lambda: True, limits=limits
        )

    @property
    def please(self) -> bool:
        """Whether a key frame is asked for."""
        return bool(self.receiver._RTCRtpReceiver__decoder_error.is_set())

    def send(self, data: bytes | None) -> None:
        """Hand over one encoded frame, or the end."""
        item = None if data is None else (VP8, JitterFrame(data=data, timestamp=0))
        self.receiver._RTCRtpReceiver__decoder_queue.put(item)

    async def close(self) -> None:
        """Free everything."""
        await self.connection.close()
        self.executor.shutdown()


async def test_aiortc_is_still_as_this_module_knows_it() -> None:
    """The names inside that are replaced exist: an update of aiortc that moves them is noticed."""
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    receiver = connection.addTransceiver("video").receiver
    assert isinstance(receiver, RTCRtpReceiver)
    for name in ("jitter_buffer", "decoder_queue", "decoder_error"):
        assert hasattr(receiver, f"_RTCRtpReceiver__{name}")
    await connection.close()


async def test_decoding_begins_with_a_key_frame() -> None:
    """What comes before is dropped, and a key frame is asked for."""
    sender = Sender(VideoLimits())
    sender.send(DELTA)
    assert sender.please
    assert len(sender.track._waiting) == 0
    sender.send(KEY)
    sender.send(DELTA)
    assert len(sender.track._waiting) == 2
    await sender.close()


async def test_too_many_are_dropped_up_to_the_next_key_frame() -> None:
    """After the allowance nothing is taken until there is some again, then from a key frame on."""
    sender = Sender(VideoLimits(frames_at_once=5, frames_per_s=50.0, reopen_frames=3))
    sender.send(KEY)
    for _ in range(20):
        sender.send(DELTA)
    assert len(sender.track._waiting) == 5
    sender.send(KEY)
    assert len(sender.track._waiting) == 5
    await asyncio.sleep(0.1)
    sender.send(DELTA)
    assert sender.please
    sender.send(KEY)
    sender.send(DELTA)
    assert len(sender.track._waiting) == 7
    await sender.close()


async def test_what_waits_and_its_size_are_bounded() -> None:
    """A decoder that is behind, and a frame of many megabytes."""
    sender = Sender(VideoLimits(frames_at_once=100, waiting_frames=3, frame_bytes=1_000))
    sender.send(b"\x00" * 2_000)
    assert len(sender.track._waiting) == 0
    for _ in range(10):
        sender.send(KEY)
    assert len(sender.track._waiting) == 3
    await sender.close()


async def test_garbage_does_not_end_a_track_and_the_end_does() -> None:
    """A frame that cannot be decoded asks for a key frame; the sender's end is heard."""
    sender = Sender(VideoLimits())
    waiting = asyncio.create_task(sender.track.next_picture())
    sender.send(KEY)
    await asyncio.sleep(0.1)
    assert not waiting.done()
    sender.send(DELTA)
    assert sender.please
    sender.send(None)
    assert await waiting is None
    await sender.close()
