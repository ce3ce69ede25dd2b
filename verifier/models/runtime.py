"""The only importer of onnxruntime: strict about providers, bounded in batches and threads.

What was asked for is what runs: ``InferenceSession`` quietly takes the CPU where the CUDA provider
does not load, so the provider that a session reports is compared with the one that was asked for.
Whoever uses OpenCV beside this calls ``cv2.setNumThreads(1)``: two thread pools on the same
processors only wait for each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from verifier.errors import (
    ConfigurationError,
    InstallationError,
    ModelError,
    ProviderUnavailable,
)
from verifier.models.network import Network
from verifier.models.prepare.optimise import optimise
from verifier.models.processors import available_processors

if TYPE_CHECKING:
    from types import ModuleType

    from verifier.models.weights import Weights

__all__ = ["GPU_LADDER", "LADDER", "Network", "Provider", "Runtime"]

Provider: TypeAlias = Literal["cpu", "cuda"]

LADDER: Final = (1, 2, 4, 8)
"""Batch sizes that run on a CPU; beyond 8 it loses (DESIGN, facts measured)."""
GPU_LADDER: Final = (1, 2, 4, 8, 16, 32)
"""Batch sizes that run on a GPU, where batching is everything; few, for each holds memory."""
MAX_STEP: Final = 1024
"""No ladder goes beyond: a batch is held in memory several times."""

_CPU: Final = "CPUExecutionProvider"
_CUDA: Final = "CUDAExecutionProvider"
_PROVIDERS: Final[dict[str, str]] = {"cpu": _CPU, "cuda": _CUDA}


class Runtime:
    """Turns weights into networks that run on one provider."""

    def __init__(
        self,
        provider: Provider = "cpu",
        *,
        threads: int | None = None,
        ladder: Sequence[int] | None = None,
        memory_limit_mb: int | None = None,
        warm_up: bool = True,
    ) -> None:
        """Check that `provider` is there; nothing ever replaces it by another.

        `threads` work within one inference on a CPU, by default as many as the processors granted
        to this process; with several workers give each one thread. `ladder` holds the batch sizes
        that run, rising; by default `LADDER` or `GPU_LADDER`. `memory_limit_mb` is the largest GPU
        arena of one network in MiB, for ``cuda`` only. `warm_up` runs each step of the ladder once
        at loading, so that the first request neither waits for it nor is the first to learn that a
        network does not work here.

        Raises `ProviderUnavailable` where the installed onnxruntime does not offer `provider`,
        `InstallationError` where there is none, `ConfigurationError` for a wrong argument.
        """
        self.provider: Final = _known_provider(provider)
        """onnxruntime's name of the provider."""
        default = LADDER if self.provider == _CPU else GPU_LADDER
        self.ladder: Final = _checked_ladder(default if ladder is None else ladder)
        self.threads: Final = available_processors() if threads is None else threads
        if self.threads < 1:
            raise ConfigurationError(f"threads is {threads}: at least one is needed.")
        if memory_limit_mb is not None and (self.provider != _CUDA or memory_limit_mb < 1):
            raise ConfigurationError(
                f"memory_limit_mb={memory_limit_mb} with provider {provider!r} has no effect.",
                remedy="Give a positive number with provider 'cuda', or leave it out.",
            )
        self._memory_limit_mb = memory_limit_mb
        self._warm_up = warm_up
        self._ort = _onnxruntime()
        self._failures = _failures(self._ort)
        self._require_provider()

    @property
    def version(self) -> str:
        """Of the installed onnxruntime."""
        return str(self._ort.__version__)

    def load(self, weights: Weights) -> Network:
        """Make a network of `weights`; its bytes, and no file, go to onnxruntime.

        On a CPU the graph is first rewritten so that onnxruntime can fuse it: the same numbers
        within rounding, up to three times as fast. The digest stays that of the original.
        Raises `ProviderUnavailable` where the session would run on something else than was asked
        for, `ModelError` where onnxruntime cannot read the file or it has not exactly one input,
        `InferenceFailed` where the warm-up fails or gives NaN or infinity.
        """
        network = Network(
            self._session(weights),
            weights,
            provider=self.provider,
            ladder=self.ladder,
            # Batching gains a CPU little (DESIGN), so rows of padding are lost time there; a GPU
            # would rather compute a few rows for nothing than start once more.
            pads=self.provider != _CPU,
            failures=self._failures,
        )
        if self._warm_up:
            network.warm_up()
        return network

    def _require_provider(self) -> None:
        offered = self._ort.get_available_providers()
        if self.provider not in offered:
            raise ProviderUnavailable(
                f"{self.provider} was asked for, but the installed onnxruntime {self.version}"
                f" offers only {', '.join(offered)}.",
                remedy=_remedy(self.provider),
            )
        if self.provider == _CUDA:
            self._ort.preload_dlls()  # finds the CUDA and cuDNN wheels; must precede any session

    def _session(self, weights: Weights) -> Any:
        content = self._optimised(weights)
        try:
            session = self._ort.InferenceSession(
                content,
                self._options(),
                providers=[self._provider_with_options()],
                enable_fallback=0,  # else an error of the provider prints and retries on the CPU
            )
        except self._failures as failure:
            raise self._refusal(weights, failure) from failure
        running = session.get_providers()[0]
        if running != self.provider:
            raise ProviderUnavailable(
                f"{self.provider} was asked for, but {weights.name} would run on {running}.",
                remedy=_remedy(self.provider),
            )
        return session

    def _optimised(self, weights: Weights) -> bytes:
        if self.provider != _CPU:
            return weights.content
        try:
            return optimise(weights.content)
        except ModelError as refused:
            raise self._refusal(weights, refused) from refused

    def _refusal(self, weights: Weights, failure: Exception) -> ModelError:
        if self.provider != _CPU and "provider" in str(failure).lower():
            return ProviderUnavailable(
                f"{weights.name} does not start on {self.provider}: {failure}",
                remedy=_remedy(self.provider),
            )
        return ModelError(
            f"onnxruntime {self.version} cannot load {weights.path}: {failure}",
            remedy="Give it an intact ONNX file that this version of onnxruntime supports.",
        )

    def _options(self) -> Any:
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.execution_mode = self._ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3  # errors: what matters is raised, the rest is noise
        # Spinning threads burn the processors that other workers need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return options

    def _provider_with_options(self) -> tuple[str, dict[str, str]]:
        if self.provider == _CPU:
            return self.provider, {}
        values = {
            # An exhaustive search would stall the first frame of every new picture size.
            "cudnn_conv_algo_search": "HEURISTIC",
            # Thresholds were measured in plain float32, TF32 has ten bits of mantissa.
            "use_tf32": "0",
        }
        if self._memory_limit_mb is not None:
            values["gpu_mem_limit"] = str(self._memory_limit_mb * 2**20)
            values["arena_extend_strategy"] = "kSameAsRequested"
        return self.provider, values


def _onnxruntime() -> ModuleType:
    try:
        import onnxruntime  # noqa: PLC0415 - a missing extra gets a remedy, not a traceback
    except ImportError as missing:
        raise InstallationError(
            f"onnxruntime is not installed or does not load: {missing}.",
            remedy="Install exactly one: pip install 'benren[cpu]' or pip install 'benren[gpu]'.",
        ) from missing
    module: ModuleType = onnxruntime
    return module


def _failures(ort: ModuleType) -> tuple[type[Exception], ...]:
    """Collect what onnxruntime raises; its exceptions share no base class of their own."""
    state = vars(ort.capi.onnxruntime_pybind11_state).values()
    own = [kind for kind in state if isinstance(kind, type) and issubclass(kind, Exception)]
    return (RuntimeError, ValueError, *own)


def _known_provider(provider: str) -> str:
    if provider not in _PROVIDERS:
        raise ConfigurationError(
            f"There is no provider {provider!r}.", remedy=f"Choose of {', '.join(_PROVIDERS)}."
        )
    return _PROVIDERS[provider]


def _checked_ladder(ladder: Sequence[int]) -> tuple[int, ...]:
    steps = tuple(ladder)
    if not steps or steps[0] < 1 or steps[-1] > MAX_STEP or sorted(set(steps)) != list(steps):
        raise ConfigurationError(
            f"The batch ladder {steps} is not a rising row of numbers in 1..{MAX_STEP}."
        )
    return steps


def _remedy(provider: str) -> str:
    if provider == _CUDA:
        return (
            "Check the NVIDIA driver with nvidia-smi and that only onnxruntime-gpu is installed"
            " (pip uninstall onnxruntime; pip install 'benren[gpu]'), or set the provider to cpu."
        )
    return "Install onnxruntime again: pip install --force-reinstall 'benren[cpu]'."
