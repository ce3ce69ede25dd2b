"""What the streams of one session have shown so far, and callbacks that keep no stream alive."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import ParamSpec, TypeVar
from weakref import WeakMethod

from verifier.errors import StreamGone
from verifier.streaming.replay import ReplayWatch

P = ParamSpec("P")
R = TypeVar("R")


class Memory:
    """Goes on with the session: a stream that is opened anew begins with that of the one before.

    Otherwise whoever opens another one every two minutes may play the same two minutes for ever,
    and no alarm would outlive its stream.
    """

    def __init__(self, earlier: bytes = b"") -> None:
        """`earlier`: fingerprints of earlier sessions, one after the other. Raises BadRequest."""
        self.replays = ReplayWatch(earlier)
        self._bytes: OrderedDict[bytes, None] = OrderedDict()

    def shows(self, digest: bytes, most: int) -> None:
        """Note bytes that were seen with a face; of so many the newest are remembered."""
        self._bytes[digest] = None
        self._bytes.move_to_end(digest)
        while len(self._bytes) > most:
            self._bytes.popitem(last=False)

    def has_shown(self, digest: bytes) -> bool:
        """Tell whether these bytes were seen with a face."""
        return digest in self._bytes


def loosely(method: Callable[P, R]) -> Callable[P, R]:
    """Make a callback of a bound method that does not keep its object alive.

    A stream that hands one to its own parts would be freed by a rare full collection only. The
    callback raises StreamGone where the object is gone.
    """
    found = WeakMethod(method)

    def call(*given: P.args, **named: P.kwargs) -> R:
        alive = found()
        if alive is None:
            raise StreamGone(remedy="Ask the session tracker for a new stream.")
        return alive(*given, **named)

    return call
