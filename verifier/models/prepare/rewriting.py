"""What is done to a graph before it runs: which steps, in which order, and how far they may be off.

The same bytes and steps give the same bytes. `Rewriting.key` names the result before it is there.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Final

import onnx
from google.protobuf.message import DecodeError

from verifier.errors import ModelError
from verifier.models.pixels import Pixels
from verifier.models.prepare.channels import pad_channels
from verifier.models.prepare.fold import fold_pixels
from verifier.models.prepare.half import to_half
from verifier.models.prepare.optimise import fuse_prelu

EXACT: Final = 1e-4
"""Of the largest number of an output, or of 1: how far float32 may be off its original. Thresholds
are told to three digits; what was measured is below 1e-5."""
HALF: Final = 2e-2
"""The same of float16, whose numbers have 11 bits."""
_STEPS: Final = ("channels.py", "fold.py", "half.py", "optimise.py", "rewriting.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewriting:
    """The steps; without any the graph stays as it is."""

    blocks: bool = False
    """PReLU and odd widths go, for onnxruntime's blocked layout on a CPU; no shape changes."""
    pixels: Pixels | None = None
    """Pictures go in, which the graph normalises so by itself."""
    half: bool = False
    """float16 inside."""

    @property
    def tolerance(self) -> float:
        """How far the result may be off: of the largest number of an output, or of 1."""
        return HALF if self.half else EXACT

    def key(self, sha256: str, engine: str) -> str:
        """Name what becomes of the file with this digest, proven by `engine`: 64 hex digits.

        It changes with the code of the steps and with the version of onnx too.
        """
        told = {"original": sha256, "steps": asdict(self), "by": version(), "engine": engine}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def apply(self, content: bytes) -> bytes:
        """Rewrite a serialised model; gives `content` itself where there is nothing to do.

        Raises `ModelError` where the bytes are no model, or one to which a step does not apply.
        """
        try:
            model = onnx.ModelProto.FromString(content)
            onnx.checker.check_model(model)
        except (DecodeError, onnx.checker.ValidationError) as error:
            raise ModelError(f"The file is not a valid ONNX model: {error}.") from error
        rewritten = fuse_prelu(pad_channels(model)) if self.blocks else model
        if self.pixels is not None:
            rewritten = fold_pixels(rewritten, self.pixels)
        if self.half:
            rewritten = to_half(rewritten)
        return content if rewritten is model else bytes(rewritten.SerializeToString())


@cache
def version() -> str:
    """Name the code of the steps: the digest of its files and the version of onnx."""
    folder = Path(__file__).parent
    code = hashlib.sha256()
    for name in _STEPS:
        code.update((folder / name).read_bytes())
    return f"{code.hexdigest()} onnx {onnx.__version__}"
