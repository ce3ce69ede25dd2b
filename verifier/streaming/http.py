"""Frames over plain HTTP: one upload, one frame (`StreamHub.push_frame`), or a burst of a few.

A burst is for networks that come and go: its frames are taken in order, each as if it had come by
itself, and each gets its cue. All of them *arrived* when the burst did.
"""

from __future__ import annotations

from verifier.errors import BenrenError, StreamGone
from verifier.streaming.advice import FrameReceipt, advise_on
from verifier.streaming.cues import Cue
from verifier.streaming.framing import unpack_burst
from verifier.streaming.hub import StreamHub


async def push_burst(hub: StreamHub, stream_id: str, token: str, body: bytes) -> list[Cue]:
    """Take a burst of at most as many frames as may come at once.

    Raises StreamGone, Unauthorised, BadRequest; what is wrong with one frame is told by its cue.
    """
    stream = hub.admit(stream_id, token)
    cues: list[Cue] = []
    for frame in unpack_burst(body, most=hub.limits.frames_per_s):
        try:
            cue = await hub.take(
                stream, seq=frame.seq, data=frame.data, captured_utc_ms=frame.captured_utc_ms
            )
        except StreamGone:
            raise
        except BenrenError as error:
            receipt = FrameReceipt(seq=frame.seq, accepted=False, advice=advise_on(error))
            cue = stream.cues.answer(receipt)
        cues.append(cue)
    return cues
