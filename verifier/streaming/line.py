"""A live way into a stream, as its transport holds it: frames go in, cues come out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verifier.streaming.cues import Cue, CueBoard
from verifier.streaming.stream import Stream
from verifier.streaming.ways import Way
from verifier.types import Frame

if TYPE_CHECKING:
    from verifier.streaming.hub import StreamHub


class Line:
    """One live way in, as its transport holds it; made by `StreamHub.enter`."""

    def __init__(self, hub: StreamHub, stream: Stream, way: Way) -> None:
        self._hub = hub
        self._stream = stream
        self._way = way

    @property
    def cues(self) -> CueBoard:
        """What the device is to be told."""
        return self._stream.cues

    async def push(
        self,
        *,
        seq: int,
        data: bytes,
        frame: Frame | None = None,
        captured_utc_ms: int | None = None,
    ) -> Cue:
        """Take a picture, or a video frame with the JPEG copy that is kept of it.

        Raises what `StreamHub.push_frame` does; StreamGone where another way took over.
        """
        return await self._hub.take(
            self._stream,
            seq=seq,
            data=data,
            way=self._way,
            frame=frame,
            captured_utc_ms=captured_utc_ms,
        )

    def leave(self) -> None:
        """Say that the way is over; leaving twice is fine."""
        self._stream.leave(self._way)
