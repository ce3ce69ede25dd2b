"""Weights in, networks out: on the provider asked for, bounded in batches and threads.

What was asked for is what runs. Whoever uses OpenCV beside this calls ``cv2.setNumThreads(1)``: two
thread pools on the same processors only wait for each other.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, get_args

from verifier.errors import (
    ConfigurationError,
    InferenceFailed,
    ModelError,
    ProviderUnavailable,
)
from verifier.models.backend import (
    EXACT,
    GPU,
    GPU_LADDER,
    LADDER,
    Backend,
    Engine,
    Provider,
    on_gpu,
)
from verifier.models.lanes import LANES, Lanes
from verifier.models.network import Network
from verifier.models.openvino import OpenVino, Precision
from verifier.models.ort import OnnxRuntime
from verifier.models.prepared import PreparedGraphs
from verifier.models.processors import available_processors
from verifier.models.selection import Choice, choose, filling

if TYPE_CHECKING:
    from verifier.models.pixels import Pixels
    from verifier.models.weights import Weights

__all__ = ["GPU_LADDER", "LADDER", "Network", "Provider", "Runtime"]

_log = logging.getLogger("benren.models")

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
        lanes: int = LANES,
        graphs: PreparedGraphs | None = None,
        takes_pictures: bool = True,
        rewrites: bool = True,
    ) -> None:
        """Check that `provider` is there; nothing ever replaces it by another.

        With ``auto`` each network runs on the fastest of the installed engines, as measured when it
        is loaded (see `verifier.models.selection`); `choices` and the log tell which and why. What
        is installed but does not run a network is told in a warning.

        `threads` work within one inference on a CPU, by default as many as the processors granted
        to this process; with several workers give each one thread. `ladder` holds the batch sizes
        that run, rising; by default `LADDER` or `GPU_LADDER`. `memory_limit_mb` is the largest GPU
        arena of one network in MiB, where CUDA may run. `warm_up` runs each step of the ladder once
        at loading, so that the first request neither waits for it nor is the first to learn that a
        network does not work here. A network of open height and width (a detector) is left to
        whoever knows its sizes (`engine.Engine.warm_up`): every size costs memory of its own.
        `lanes` threads, and no others, run what is on a GPU (`verifier.models.lanes`); the warm-up
        runs on all of them at once.

        `graphs` is where onnxruntime's rewritten graphs are kept and what they are proven on, by
        default `PreparedGraphs.default`. With `takes_pictures` its graphs normalise pixels
        themselves where `load` is told how. Without `rewrites` files run on it as they are, for
        comparisons.

        Raises `ProviderUnavailable` where the provider is not installed, `InstallationError` where
        there is no onnxruntime, `ConfigurationError` for a wrong argument.
        """
        known = _known(provider)
        self._ladder = None if ladder is None else _checked_ladder(ladder)
        self.threads: Final = available_processors() if threads is None else threads
        if self.threads < 1:
            raise ConfigurationError(f"threads is {threads}: at least one is needed.")
        if memory_limit_mb is not None and (known not in {*GPU, "auto"} or memory_limit_mb < 1):
            raise ConfigurationError(
                f"memory_limit_mb={memory_limit_mb} with provider {provider!r} has no effect.",
                remedy="Give a positive number with provider 'cuda', or leave it out.",
            )
        self._memory_limit_mb = memory_limit_mb
        self._warm_up = warm_up
        self._lanes = Lanes(lanes)
        self._graphs = PreparedGraphs.default() if graphs is None else graphs
        self._takes_pictures = takes_pictures
        self._rewrites = rewrites
        self._choices: list[Choice] = []
        self._measures: Final = known == "auto"
        self._backends = self._installed() if known == "auto" else [self._start(known)]

    @property
    def provider(self) -> str:
        """What runs, as the engine calls it; with ``auto`` what runs of what was loaded so far."""
        if not self._measures:
            return self._backends[0].name
        return ", ".join(["auto", *sorted({choice.provider for choice in self._choices})])

    @property
    def choices(self) -> tuple[Choice, ...]:
        """With ``auto``: of every network loaded what was measured and chosen."""
        return tuple(self._choices)

    @property
    def ladder(self) -> tuple[int, ...]:
        """Batch sizes that run; with ``auto`` those of a CPU, `Network.ladder` tells its own."""
        return self._backends[0].ladder if self._ladder is None else self._ladder

    @property
    def version(self) -> str:
        """Of the installed engine; with ``auto`` of onnxruntime."""
        return self._backends[0].version

    def load(self, weights: Weights, pixels: Pixels | None = None) -> Network:
        """Make a network of `weights`; its digest stays that of the file.

        `pixels` say how the file wants its input; who runs it asks `Pixels.batch` what to give.
        Raises `ProviderUnavailable` where it would run on something else than was asked for,
        `ModelTooLarge` where it does not fit into the device's memory, `ModelError` where the
        engine cannot read the file or it has not exactly one input, `InferenceFailed` where the
        warm-up fails or gives NaN or infinity, `ModelDeviates` where a rewritten graph gives other
        numbers than the file.
        """
        if self._measures:
            return self._fastest(weights, pixels)
        return self._load_on(self._backends[0], weights, pixels)

    def _installed(self) -> list[Backend]:
        """Start every engine that is there, onnxruntime on the CPU first: it always has to be."""
        backends = [self._start("cpu")]
        for engine in EXACT[1:]:
            try:
                backends.append(self._start(engine))
            except ProviderUnavailable as absent:
                _log.info("auto: without %s: %s", engine, absent)
        return backends

    def _fastest(self, weights: Weights, pixels: Pixels | None) -> Network:
        candidates: list[Network] = []
        failures: list[ModelError | InferenceFailed] = []
        refused: list[str] = []
        for backend in self._backends:
            try:
                network = self._load_on(backend, weights, pixels)
                if self._warm_up and network.open_sizes:
                    network.warm_up(*filling(network.open_sizes))
                candidates.append(network)
            except (ModelError, InferenceFailed) as failure:
                why = failure.__cause__ or failure  # what the engine said: this is the operator's
                _log.warning("auto: %s does not run %s: %s", backend.name, weights.name, why)
                failures.append(failure)
                refused.append(f"{backend.name}: {why}")
        if not candidates:
            raise failures[0]
        chosen, choice = choose(candidates, pixels=pixels, refused=refused)
        self._choices.append(choice)
        _log.info("auto: %s", choice.told())
        return chosen

    def _start(self, engine: Engine) -> Backend:
        if engine == "openvino" or engine == "openvino-bf16":  # noqa: PLR1714 - mypy narrows this
            workers = max(1, available_processors() // self.threads)
            precision: Precision = "bf16" if engine == "openvino-bf16" else "f32"
            return OpenVino(threads=self.threads, workers=workers, precision=precision)
        return OnnxRuntime(
            engine,
            threads=self.threads,
            memory_limit_mb=self._memory_limit_mb,
            graphs=self._graphs,
            takes_pictures=self._takes_pictures,
            rewrites=self._rewrites,
        )

    def _load_on(self, backend: Backend, weights: Weights, pixels: Pixels | None) -> Network:
        network = Network(
            backend.open(weights, pixels),
            weights,
            provider=backend.name,
            ladder=backend.ladder if self._ladder is None else self._ladder,
            pads=backend.pads,
            failures=backend.failures,
            memory_remedy=backend.memory_remedy,
            lanes=self._lanes if on_gpu(backend.name) else None,
            pixels=pixels,
        )
        if self._warm_up and not network.open_sizes:
            network.warm_up()
        return network


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
