"""Face embedding networks: aligned crops in, normalised vectors out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from verifier.errors import InferenceFailed
from verifier.models.pixels import Pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from verifier.models.runtime import Network
    from verifier.types import Image, Points

ARCFACE_TEMPLATE = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
"""Landmarks in a 112 x 112 crop: InsightFace ``face_align.arcface_dst`` (Deng et al. 2019)."""
REIDENTIFICATION_TEMPLATE = (
    (0.31556875, 0.461574107),
    (0.682622917, 0.461574107),
    (0.5002625, 0.640505357),
    (0.349471875, 0.824691964),
    (0.653436458, 0.823250893),
)
"""Landmarks as a fraction of the crop: Open Model Zoo, face-reidentification-retail-0095."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedderContract:
    """What a network expects of its crops."""

    side: int
    """Height and width of a crop, px."""
    template: tuple[tuple[float, float], ...]
    """Where the five landmarks lie in the crop, px, in the order of `Face.landmarks`."""
    rgb: bool
    """Whether the channels are turned from BGR to RGB."""
    mean: float
    """Taken off every value of 0..255 first."""
    scale: float
    """Every value is multiplied by it then."""

    @property
    def pixels(self) -> Pixels:
        """What becomes of the pixels of a crop."""
        return Pixels(rgb=self.rgb, mean=self.mean, scale=self.scale)


ARCFACE = EmbedderContract(
    side=112, template=ARCFACE_TEMPLATE, rgb=True, mean=127.5, scale=1 / 127.5
)
"""EdgeFace, MobileFaceNet and the recognisers of InsightFace packs."""
REIDENTIFICATION = EmbedderContract(
    side=128,
    template=tuple((128 * x, 128 * y) for x, y in REIDENTIFICATION_TEMPLATE),
    rgb=False,
    mean=0.0,
    scale=1.0,
)
"""face-reidentification-retail-0095."""
CONTRACTS = {"arcface": ARCFACE, "reidentification": REIDENTIFICATION}
"""Contracts by the name that a manifest uses."""

LEAST_NORM = 1e-6
"""A shorter raw vector has no direction."""


class Embedder:
    """One embedding network with its contract; without state, safe to share between threads."""

    def __init__(self, network: Network, contract: EmbedderContract):
        self.network = network
        """What computes; :meth:`embed` is the way to ask it."""
        self.contract = contract
        template: Points = np.asarray(contract.template, dtype=np.float32)
        template.setflags(write=False)
        self.template = template
        """(5, 2) float32, px of the crop."""
        self.side = contract.side
        """Height and width of a crop, px."""

    @property
    def id(self) -> str:
        """``name@sha256`` of the network: templates are bound to it."""
        return self.network.id

    @property
    def name(self) -> str:
        """The name without the digest: what threshold profiles are keyed by."""
        return self.id.partition("@")[0]

    def embed(self, crops: Image | Sequence[Image]) -> NDArray[np.float32]:
        """Turn (B, side, side, 3) uint8 BGR crops into (B, d) float32 vectors of length 1.

        Raises ValueError for crops of another shape or dtype, `InferenceFailed` where the network
        fails or a vector has no direction.
        """
        pictures = list(crops)
        expected = (self.side, self.side, 3)
        for crop in pictures:
            if crop.shape != expected or crop.dtype != np.uint8:
                raise ValueError(f"expected {expected} uint8, got {crop.shape} {crop.dtype}")
        raw = self.network.run(self.contract.pixels.batch(self.network, pictures))[0]
        vectors = np.asarray(raw, dtype=np.float32).reshape(len(pictures), -1)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.all(np.isfinite(norms)) or np.any(norms < LEAST_NORM):
            raise InferenceFailed(f"{self.id} gave a vector without a direction.")
        return np.asarray(vectors / norms, dtype=np.float32)
