"""One model file in memory: the bytes that were hashed are the bytes that run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The content of one ONNX file together with its proven digest."""

    name: str
    """The file's name without its suffix: ``yunet_n_dynamic``."""
    path: Path
    """Where it was read from; for messages only, nothing reads it again."""
    sha256: str
    """64 hex digits, of `content`."""
    content: bytes = field(repr=False)

    @classmethod
    def of(cls, path: Path, content: bytes) -> Weights:
        """Wrap `content`, which was read from `path`, and hash it."""
        digest = hashlib.sha256(content).hexdigest()
        return cls(name=path.stem, path=path, sha256=digest, content=content)

    @property
    def id(self) -> str:
        """``name@sha256``, as it stands in templates and verdicts."""
        return f"{self.name}@{self.sha256}"
