"""What is kept of the store's answers: the least recently used goes when it weighs too much."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Kept(Generic[K, V]):
    """A memory of bounded weight."""

    def __init__(self, most: int, weigh: Callable[[V], int]) -> None:
        """Hold values that weigh at most `most` together."""
        self._most = most
        self._weigh = weigh
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self.weight = 0

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: K) -> V | None:
        """Give a value, which counts as used."""
        found = self._values.get(key)
        if found is None:
            return None
        self._values.move_to_end(key)
        return found[0]

    def keep(self, key: K, value: V) -> None:
        """Keep a value and let go of the oldest as need be; what is too heavy is not kept."""
        self.forget(key)
        weight = self._weigh(value)
        if weight > self._most:
            return
        self._values[key] = (value, weight)
        self.weight += weight
        while self.weight > self._most:
            _, (_, gone) = self._values.popitem(last=False)
            self.weight -= gone

    def forget(self, key: K) -> None:
        """Let go of a value."""
        found = self._values.pop(key, None)
        if found is not None:
            self.weight -= found[1]
