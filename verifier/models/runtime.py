"""Weights in, networks out: on the provider asked for, bounded in batches and threads.

What was asked for is what runs. Whoever uses OpenCV beside this calls ``cv2.setNumThreads(1)``: two
thread pools on the same processors only wait for each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from verifier.errors import ConfigurationError, InferenceFailed, ModelTooLarge
from verifier.models.backend import GPU_LADDER, LADDER, Backend, Engine, does_not_fit
from verifier.models.network import Network
from verifier.models.openvino import OpenVino
from verifier.models.ort import OnnxRuntime
from verifier.models.processors import available_processors

if TYPE_CHECKING:
    from verifier.models.weights import Weights

__all__ = ["GPU_LADDER", "LADDER", "Network", "Provider", "Runtime"]

Provider: TypeAlias = Literal["cpu", "openvino", "cuda"]

MAX_STEP: Final = 1024
"""No ladder goes beyond: a batch is held in memory several times."""


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

        Raises `ProviderUnavailable` where the provider is not installed, `InstallationError` where
        there is no onnxruntime, `ConfigurationError` for a wrong argument.
        """
        engine = _known(provider)
        self._ladder = None if ladder is None else _checked_ladder(ladder)
        self.threads: Final = available_processors() if threads is None else threads
        if self.threads < 1:
            raise ConfigurationError(f"threads is {threads}: at least one is needed.")
        if memory_limit_mb is not None and (engine != "cuda" or memory_limit_mb < 1):
            raise ConfigurationError(
                f"memory_limit_mb={memory_limit_mb} with provider {provider!r} has no effect.",
                remedy="Give a positive number with provider 'cuda', or leave it out.",
            )
        self._memory_limit_mb = memory_limit_mb
        self._warm_up = warm_up
        self._backend = self._start(engine)

    @property
    def provider(self) -> str:
        """What runs, as the engine calls it."""
        return self._backend.name

    @property
    def ladder(self) -> tuple[int, ...]:
        """Batch sizes that run."""
        return self._backend.ladder if self._ladder is None else self._ladder

    @property
    def version(self) -> str:
        """Of the installed engine."""
        return self._backend.version

    def load(self, weights: Weights) -> Network:
        """Make a network of `weights`; its digest stays that of the file.

        Raises `ProviderUnavailable` where it would run on something else than was asked for,
        `ModelTooLarge` where it does not fit into the device's memory, `ModelError` where the
        engine cannot read the file or it has not exactly one input, `InferenceFailed` where the
        warm-up fails or gives NaN or infinity.
        """
        return self._load_on(self._backend, weights)

    def _start(self, engine: Engine) -> Backend:
        if engine == "openvino":
            workers = max(1, available_processors() // self.threads)
            return OpenVino(threads=self.threads, workers=workers)
        return OnnxRuntime(engine, threads=self.threads, memory_limit_mb=self._memory_limit_mb)

    def _load_on(self, backend: Backend, weights: Weights) -> Network:
        network = Network(
            backend.open(weights),
            weights,
            provider=backend.name,
            ladder=backend.ladder if self._ladder is None else self._ladder,
            pads=backend.pads,
            failures=backend.failures,
        )
        if self._warm_up:
            _warm_up(network, backend)
        return network


def _warm_up(network: Network, backend: Backend) -> None:
    try:
        network.warm_up()
    except InferenceFailed as failure:
        if does_not_fit(failure):
            raise ModelTooLarge(
                f"{network.name} does not fit into the memory of {backend.name} in batches of"
                f" {network.ladder}: {failure}",
                remedy=backend.memory_remedy,
            ) from failure
        raise


def _known(provider: str) -> Provider:
    for known in get_args(Provider):
        if provider == known:
            found: Provider = known
            return found
    raise ConfigurationError(
        f"There is no provider {provider!r}.", remedy=f"Choose of {', '.join(get_args(Provider))}."
    )


def _checked_ladder(ladder: Sequence[int]) -> tuple[int, ...]:
    steps = tuple(ladder)
    if not steps or steps[0] < 1 or steps[-1] > MAX_STEP or sorted(set(steps)) != list(steps):
        raise ConfigurationError(
            f"The batch ladder {steps} is not a rising row of numbers in 1..{MAX_STEP}."
        )
    return steps
