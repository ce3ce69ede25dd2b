"""The live way into a stream: at most one, and a newer one takes over from the older.

Every way counts its frames anew, since a device that changes its way (WebRTC fails, so a WebSocket;
the socket fails, so uploads) cannot know how far the server had counted. HTTP uploads have no
connection: the first one after another way begins a way of its own, and ends the other.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum


class End(IntEnum):
    """Why a way ends, as WebSocket close codes (RFC 6455, 7.4.2: 4000-4999 are for us)."""

    TAKEN_OVER = 4001
    """Another way was opened; whoever hears this does not come back by himself."""
    BAD_MESSAGE = 4400
    """What came is no frame."""
    UNAUTHORISED = 4401
    """The token is not good for this stream."""
    IDLE = 4408
    """No frame came for too long."""
    GONE = 4410
    """The stream is closed or was lost: ask the session tracker for another."""
    TOO_LARGE = 4413
    """Messages, or pictures, are larger than allowed."""
    FLOODED = 4429
    """Far more frames came than allowed."""
    NOT_READ = 4430
    """Our messages were not read."""
    UNAVAILABLE = 4503
    """The verifier is at its limits, or shutting down: come back later."""


class Way:
    """One way in; `end` is called at most once, by the stream, where it is to end."""

    def __init__(self, end: Callable[[End], None] = lambda _: None) -> None:
        self._end = end
        self._ended = False
        self.offset = 0
        """What is added to its numbers to give those of the stream."""

    def end(self, why: End) -> None:
        """Have the way end; the transport closes itself."""
        if not self._ended:
            self._ended = True
            self._end(why)
