"""The engine that is measured: production's own, with a memory for crops already embedded."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from verifier.models.embedder import Embedder
from verifier.models.packs import load_pack
from verifier.models.runtime import Runtime
from verifier.models.store import Store
from verifier.pipeline.engine import Engine
from verifier.pipeline.profile import load_profile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from verifier.types import Image

MAX_REMEMBERED = 20_000
"""Vectors kept: 40 MB at 512 numbers."""


class RememberingEmbedder(Embedder):
    """Embeds each crop once: all pairs of n photographs need n inferences, not n squared."""

    def __init__(self, inner: Embedder) -> None:
        super().__init__(inner.network, inner.contract)
        self._vectors: dict[bytes, NDArray[np.float32]] = {}

    def embed(self, crops: Image | Sequence[Image]) -> NDArray[np.float32]:
        """Give the vectors (B, d), from memory where these very pixels came before."""
        keys = [hashlib.blake2b(crop.tobytes(), digest_size=16).digest() for crop in crops]
        new = {key: crop for key, crop in zip(keys, crops, strict=True) if key not in self._vectors}
        if len(self._vectors) + len(new) > MAX_REMEMBERED:
            self._vectors = {key: self._vectors[key] for key in keys if key in self._vectors}
        if new:
            for key, vector in zip(new, super().embed(list(new.values())), strict=True):
                self._vectors[key] = vector
        return np.stack([self._vectors[key] for key in keys])


def measured_engine(
    pack: str, profile: str | None = None, *, threads: int = 1, store: Store | None = None
) -> Engine:
    """Load the engine of `pack` under a threshold profile, for one process and one thread."""
    loaded = load_pack(pack, store or Store.default(), Runtime("cpu", threads=threads))
    remembering = replace(loaded, embedder=RememberingEmbedder(loaded.embedder))
    return Engine(remembering, load_profile(profile))
