"""A rewritten graph against its original: the same pictures through both, or it does not run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from verifier.errors import InferenceFailed, ModelDeviates
from verifier.models.backend import does_not_fit
from verifier.models.network import noise
from verifier.models.prepare.crops import Portrait, crops
from verifier.models.selection import deviation, row_shape

if TYPE_CHECKING:
    from verifier.models.network import Network, Tensor
    from verifier.models.pixels import Pixels

REMEDY: Final = (
    "Install the locked versions of onnx and of the engine; in place of cuda-fp16 set the provider"
    " to cuda. Where neither helps, this file cannot be used with this version of Benren."
)
ROWS: Final = 4
"""Of noise, for networks that take no pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a comparison found."""

    network: str
    provider: str
    deviation: float
    """Largest difference, of the largest number of an output or of 1."""
    tolerance: float
    on: str
    """What went through both graphs."""

    def told(self) -> str:
        """Say it in one line."""
        return f"off by {self.deviation:.0e} of {self.tolerance:.0e} on {self.on}"


def prove(
    original: Network,
    rewritten: Network,
    *,
    pixels: Pixels | None,
    portraits: Sequence[Portrait],
    tolerance: float,
) -> Proof:
    """Run both on crops of `portraits`, or on noise where the network takes no `pixels`.

    Raises `ModelDeviates` where the rewritten one fails or is further off than `tolerance`, of the
    largest number of an output or of 1, and `InferenceFailed` where the original fails.
    """
    if pixels is None:
        given = noise((ROWS, *row_shape(original)), original.dtype)
        expected, found = original.run(given), _run(rewritten, given)
        on = f"{len(given)} rows of noise"
    else:
        shape = row_shape(original)
        height, width = shape[:2] if pixels.nhwc else shape[1:]
        pictures = crops(portraits, height, width)
        expected = original.run(pixels.batch(original, pictures))
        found = _run(rewritten, pixels.batch(rewritten, pictures))
        on = f"{len(pictures)} crops of {', '.join(dict.fromkeys(p.about for p in portraits))}"
    off = deviation(found, expected)
    if not off <= tolerance:
        raise ModelDeviates(
            f"The rewritten graph of {original.name} is off its original by {off:.2g} on {on},"
            f" more than {tolerance:g}, on {original.provider}.",
            remedy=REMEDY,
        )
    return Proof(
        network=original.name,
        provider=original.provider,
        deviation=off,
        tolerance=tolerance,
        on=on,
    )


def _run(network: Network, batch: Tensor) -> tuple[Tensor, ...]:
    """Run the rewritten graph, of which NaN is no failure of the machine."""
    try:
        return network.run(batch)
    except InferenceFailed as failure:
        if does_not_fit(failure):
            raise
        raise ModelDeviates(
            f"The rewritten graph of {network.name} fails where its original does not: {failure}",
            remedy=REMEDY,
        ) from failure
