"""What an inference engine must offer so that `verifier.models.runtime` can run networks on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from verifier.models.network import Session
    from verifier.models.pixels import Pixels
    from verifier.models.weights import Weights

Engine: TypeAlias = Literal["cpu", "openvino", "cuda", "openvino-bf16", "cuda-fp16"]
"""What can run a network; `cpu`, `cuda` and `cuda-fp16` are onnxruntime's."""
Provider: TypeAlias = Literal["cpu", "openvino", "cuda", "openvino-bf16", "cuda-fp16", "auto"]
"""An `Engine`, or for each network the exact one that is measured to be the fastest here."""
EXACT: Final[tuple[Engine, ...]] = ("cpu", "openvino", "cuda")
"""Those that compute in float32, as the thresholds were measured: `auto` chooses among them."""

GPU: Final[frozenset[Provider]] = frozenset({"cuda", "cuda-fp16"})
"""Those that run on a GPU, and nowhere else."""

LADDER: Final = (1, 2, 4, 8)
"""Batch sizes that run on a CPU; beyond 8 it loses (DESIGN, facts measured)."""
GPU_LADDER: Final = (1, 2, 4, 8, 16, 32)
"""Batch sizes that run on a GPU, where batching is everything; few, for each holds memory."""


class Backend(Protocol):
    """One engine on one device; it opens sessions there and nowhere else."""

    @property
    def name(self) -> str:
        """What runs, as `Network.provider` and /version show it."""
        ...

    @property
    def version(self) -> str:
        """Of the installed engine."""
        ...

    @property
    def ladder(self) -> tuple[int, ...]:
        """Batch sizes that run unless the caller asks for others."""
        ...

    @property
    def pads(self) -> bool:
        """Whether a remainder is padded to the next step instead of split into smaller ones."""
        ...

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """What its sessions raise."""
        ...

    @property
    def memory_remedy(self) -> str:
        """What to do where a model does not fit into the memory of the device."""
        ...

    def open(self, weights: Weights, pixels: Pixels | None = None) -> Session:
        """Make a session of the bytes of `weights`.

        Where `pixels` say how the file wants its input, the session may take uint8 pictures.
        Raises `ProviderUnavailable` where it would not run on this device, `ModelTooLarge` where
        it does not fit, `ModelDeviates` where it would not give the numbers of the file,
        `ModelError` where the engine cannot read it.
        """
        ...


def on_gpu(provider: str) -> bool:
    """Tell whether what runs a network, by its name, is a GPU."""
    return provider.startswith("CUDA")


_NO_ROOM: Final = (
    "out of memory",
    "bad_alloc",
    "failed to allocate memory",
    "is smaller than requested bytes",  # of onnxruntime's arena, where gpu_mem_limit is reached
    "status_alloc_failed",  # cuDNN's and cuBLAS's
    "cudaerrormemoryallocation",
    "insufficient memory",  # OpenCV's
)


def does_not_fit(failure: BaseException) -> bool:
    """Tell whether an error says that memory ran out; engines share no type for it."""
    told = str(failure).lower()
    return isinstance(failure, MemoryError) or any(words in told for words in _NO_ROOM)
