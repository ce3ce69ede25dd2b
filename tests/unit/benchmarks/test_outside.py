"""The processor time of a check outside the networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.outside import BATCH, outside_networks_ms
from verifier.models.network import Network

if TYPE_CHECKING:
    from collections.abc import Sequence


class _Bench:
    """Spends 2 s outside and 5 s in a network for each frame, by a clock of its own."""

    def __init__(self, frames: int) -> None:
        self.jpegs = [b"jpeg"] * frames
        self.now = 0.0
        self.checked = 0
        self.fails = False

    def batch(self, _: int, size: int) -> list[bytes]:
        """Give so many frames."""
        return [b"jpeg"] * size

    def check(self, jpegs: Sequence[bytes]) -> None:
        """Work outside, and in the network."""
        self.checked += len(jpegs)
        self.now += 2.0 * len(jpegs)
        network: Any = object.__new__(Network)
        network.run(jpegs)

    def run(self, _: Network, batch: Sequence[bytes]) -> tuple[()]:
        """Stand for the network."""
        self.now += 5.0 * len(batch)
        if self.fails:
            raise RuntimeError("broken")
        return ()


def _in_place_of_networks(bench: _Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(self: Network, batch: Sequence[bytes]) -> tuple[()]:
        return bench.run(self, batch)

    monkeypatch.setattr(Network, "run", run)


@pytest.mark.parametrize(("frames", "batches"), [(3, 1), (8, 1), (20, 3)])
def test_what_the_networks_take_is_not_counted(
    monkeypatch: pytest.MonkeyPatch, frames: int, batches: int
) -> None:
    """Two of seven seconds per frame remain, in every round; the first one only warms up."""
    bench = _Bench(frames)
    _in_place_of_networks(bench, monkeypatch)
    found = outside_networks_ms(bench, 3, clock=lambda: bench.now)  # type: ignore[arg-type]
    assert found == (2_000.0,) * 3
    assert bench.checked == 4 * batches * BATCH


def test_networks_run_as_before_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a check fails."""
    bench = _Bench(1)
    _in_place_of_networks(bench, monkeypatch)
    before = Network.run
    outside_networks_ms(bench, 1, clock=lambda: bench.now)  # type: ignore[arg-type]
    assert Network.run is before
    bench.fails = True
    with pytest.raises(RuntimeError, match="broken"):
        outside_networks_ms(bench, 1, clock=lambda: bench.now)  # type: ignore[arg-type]
    assert Network.run is before
