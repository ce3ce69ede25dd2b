"""The time that one request has, over all of its steps."""

from __future__ import annotations

import asyncio


class Deadline:
    """A moment of the running event loop by which a request is to be answered."""

    def __init__(self, limit_s: float) -> None:
        """Let `limit_s` seconds begin now."""
        self._loop = asyncio.get_running_loop()
        self._at = self._loop.time() + limit_s

    @property
    def left_s(self) -> float:
        """Seconds that are left for the next step; zero or less where none are."""
        return self._at - self._loop.time()
