"""What stands between the pixels of a picture and the numbers that a network was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from verifier.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from verifier.models.manifest import InputContract
    from verifier.models.network import Network
    from verifier.types import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """How a file wants its input: ``(x - mean) * scale`` of x in 0..255."""

    rgb: bool
    """Whether the channels are turned from BGR to RGB."""
    mean: float
    """Taken off every value first."""
    scale: float
    """Every value is multiplied by it then."""
    nhwc: bool = False
    """Whether the channels come last in the file's input."""

    @classmethod
    def of(cls, given: InputContract) -> Pixels:
        """Read them from the manifest."""
        return cls(
            rgb=given.colour == "RGB",
            mean=given.mean,
            scale=1 / given.divisor,
            nhwc=given.layout == "NHWC",
        )

    def batch(self, network: Network, pictures: Image | Sequence[Image]) -> NDArray[Any]:
        """Make what `network` takes of (B, H, W, 3) uint8 BGR: that itself, or `blob` of it.

        Raises ValueError for pictures of several shapes, `ModelError` where the graph was made for
        pixels of another kind.
        """
        if network.pixels is None:
            return self.blob(pictures)
        if network.pixels != self:
            raise ModelError(
                f"{network.id} was prepared for {network.pixels}, but is to be given {self}.",
                remedy="Load it with the contract that the manifest names.",
            )
        return np.ascontiguousarray(pictures)

    def blob(self, pictures: Image | Sequence[Image]) -> NDArray[np.float32]:
        """Normalise (B, H, W, 3) uint8 BGR: (B, 3, H, W) float32, or (B, H, W, 3) with `nhwc`."""
        if not self.nhwc:
            blob = cv2.dnn.blobFromImages(
                list(pictures), self.scale, mean=(self.mean,) * 3, swapRB=self.rgb
            )
            return np.asarray(blob, dtype=np.float32)
        stacked = np.stack(list(pictures))
        numbers = np.asarray(stacked[..., ::-1] if self.rgb else stacked, dtype=np.float32)
        return (numbers - np.float32(self.mean)) / np.float32(1 / self.scale)
