"""Asking at full and at half load."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from benchmarks.half_load import Asker


class _Batcher:
    """Answers after a while; notes how many ask at a time."""

    def __init__(self, wait_s: float) -> None:
        self.wait_s = wait_s
        self.asked = 0
        self.at_once = 0
        self._now = 0

    async def assess(
        self, frames: list[object], *, references: list[object], owner: str
    ) -> list[object]:
        """Take one frame with one reference, of a caller who is told from others."""
        assert len(frames) == len(references) == 1
        assert owner
        self.asked += 1
        self._now += 1
        self.at_once = max(self.at_once, self._now)
        await asyncio.sleep(self.wait_s)
        self._now -= 1
        return list(frames)

    def judge(self, evidence: list[object], _: object) -> None:
        """Judge what was assessed."""
        assert evidence == ["frame"]


def _asker(batcher: _Batcher) -> Asker:
    bench = SimpleNamespace(reference="reference")
    return Asker(bench, ["frame"], batcher)  # type: ignore[arg-type,list-item]


async def test_full_load_keeps_every_caller_busy() -> None:
    """Four callers, never more, never fewer for long; the rate is what was answered."""
    batcher = _Batcher(0.005)
    per_s = await _asker(batcher).at_full_load(4, 0.1)
    assert batcher.at_once == 4
    assert 0 < per_s <= batcher.asked / 0.1


async def test_arrivals_come_by_chance_at_the_rate_asked_for() -> None:
    """About two hundred a second; each waits at least as long as the work takes."""
    batcher = _Batcher(0.01)
    waits = await _asker(batcher).at_rate(200, 0.25)
    assert len(waits) == batcher.asked
    assert 20 <= batcher.asked <= 90
    assert min(waits) >= 9


async def test_there_is_always_one_arrival() -> None:
    """Even where the time is shorter than the gap: a result, not an empty list."""
    assert len(await _asker(_Batcher(0.0)).at_rate(50, 0.0)) == 1


async def test_a_failure_is_not_a_short_wait() -> None:
    """What the batcher raises ends the measurement."""

    class _Broken(_Batcher):
        async def assess(self, *_: object, **__: object) -> list[object]:
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        await _asker(_Broken(0.0)).at_rate(50, 0.01)
