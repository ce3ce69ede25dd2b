"""One network ready to run: the batch ladder, and checks of what goes in and what comes out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import numpy as np

from verifier.errors import InferenceFailed, ModelError, ModelTooLarge, OutOfMemory
from verifier.models.backend import does_not_fit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from verifier.models.lanes import Lanes
    from verifier.models.pixels import Pixels
    from verifier.models.weights import Weights

    Tensor: TypeAlias = NDArray[Any]
    """(batch, ...) of whatever dtype the network states."""

_log = logging.getLogger("benren.models")

_DTYPES: Final[dict[str, type[np.generic]]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}
_FREE: Final = 32
"""What an open height or width is set to where nobody says: YuNet and SCRFD take multiples of 32.
No picture has it, so a network that is to serve is warmed up on the sizes that it will get."""


class Session(Protocol):
    """What a network needs of a session: onnxruntime's, or one that looks like it."""

    def get_inputs(self) -> list[Any]:
        """Describe the inputs, each with ``name``, ``type`` and ``shape``."""
        ...

    def get_outputs(self) -> list[Any]:
        """Describe the outputs, each with ``name``."""
        ...

    def run(self, outputs: None, feed: dict[str, Tensor]) -> list[Tensor]:
        """Compute all outputs."""
        ...


class Network:
    """Runs batches of any length; may be called from several threads at once."""

    def __init__(
        self,
        session: Session,
        weights: Weights,
        *,
        provider: str,
        ladder: tuple[int, ...],
        pads: bool,
        failures: tuple[type[Exception], ...],
        memory_remedy: str,
        lanes: Lanes | None = None,
        pixels: Pixels | None = None,
    ) -> None:
        """Wrap `session`; `failures` is what its ``run`` may raise.

        `memory_remedy` is what to do where there is no room for its batches. `pixels` is what the
        graph does with pixels where it takes them (uint8). With `pads` a
        remainder goes into the next larger step of the ladder, else into smaller ones (see `plan`).
        With `lanes` only these run it, and rows of several callers share a batch.
        """
        given = _only_input(session, weights)
        self._session = session
        self._input_name = given.name
        self._pads = pads
        self._failures: Final[tuple[type[Exception], ...]] = (*failures, MemoryError)
        self._memory_remedy = memory_remedy
        self._lanes = lanes
        self.id: Final = weights.id
        """``name@sha256``."""
        self.name: Final = weights.name
        self.sha256: Final = weights.sha256
        self.provider: Final = provider
        """onnxruntime's name of what it runs on."""
        self.dtype: Final = np.dtype(_DTYPES[given.type])
        """Of the input."""
        self.pixels: Final = pixels if self.dtype == np.uint8 else None
        """What the graph itself does with pixels; None where it takes numbers."""
        self.input_shape: Final[tuple[int | None, ...]] = tuple(
            size if isinstance(size, int) and size > 0 else None for size in given.shape
        )
        """With the batch axis; None where the network leaves a size open."""
        self.output_names: Final[tuple[str, ...]] = tuple(o.name for o in session.get_outputs())
        fixed = self.input_shape[0]
        self.ladder: Final = ladder if fixed is None else (fixed,)
        """Batch sizes that run: those asked for, or the one that the file itself fixes."""

    @property
    def open_sizes(self) -> int:
        """How many sizes after the batch axis the file leaves open."""
        return self.input_shape[1:].count(None)

    def run(self, batch: Tensor) -> tuple[Tensor, ...]:
        """Compute all outputs, in the order of `output_names`, each (b, ...).

        `batch` is (b, ...) as `input_shape` and `dtype` say, with any b, 0 included. Where a file
        fixes the batch to 1 and leaves the batch axis out of an output (SCRFD does), that output
        gets one. Raises `InferenceFailed` where shape or dtype is wrong, where the engine fails,
        and where NaN or infinity comes out, `OutOfMemory` where it says that memory ran out. What
        the engine said stands in the log, and is the error's cause: it is not for callers.
        """
        self._check(batch)
        if len(batch) == 0:
            nothing = np.zeros((1, *batch.shape[1:]), batch.dtype)
            return tuple(output[:0] for output in self._asked(nothing))
        return self._finite(self._asked(batch))

    def warm_up(self, *sizes: int) -> None:
        """Run every step of the ladder once; `sizes` fill the open axes after the batch axis.

        With lanes every one runs each step, all at the same time, as they may in service. Raises
        `ModelTooLarge` where memory runs out, and what `run` raises.
        """
        if sizes and len(sizes) != self.open_sizes:
            raise ValueError(f"{self.name} leaves {self.open_sizes} sizes open, got {sizes}")
        filling = iter(sizes or (_FREE,) * self.open_sizes)
        shape = [next(filling) if size is None else size for size in self.input_shape[1:]]
        try:
            for step in self.ladder:
                self._try(noise((step, *shape), self.dtype))
        except OutOfMemory as failure:
            raise ModelTooLarge(
                f"{self.name} does not fit into the memory of {self.provider} in batches of"
                f" {self.ladder}: {failure.__cause__}",
                remedy=self._memory_remedy,
            ) from failure

    def _check(self, batch: Tensor) -> None:
        fits = batch.ndim == len(self.input_shape) and all(
            expected is None or expected == actual
            for expected, actual in zip(self.input_shape[1:], batch.shape[1:], strict=True)
        )
        if not fits or batch.dtype != self.dtype:
            sizes = ", ".join("any" if size is None else str(size) for size in self.input_shape[1:])
            raise InferenceFailed(
                f"{self.name} expects (batch, {sizes}) {self.dtype},"
                f" but was given {batch.shape} {batch.dtype}."
            )

    def _try(self, batch: Tensor) -> None:
        """Run a batch, on all lanes at once where there are any."""
        if self._lanes is None:
            self.run(batch)
        else:
            self._lanes.on_each(lambda: self._finite(self._infer(batch)))

    def _asked(self, batch: Tensor) -> tuple[Tensor, ...]:
        """Run at least one row here, or ask the lanes for it."""
        if self._lanes is None:
            return self._infer(batch)
        most = self.ladder[-1]
        key = (id(self), batch.shape[1:])
        return _joined(
            [
                self._lanes.run(key, batch[at : at + most], most=most, infer=self._infer)
                for at in range(0, len(batch), most)
            ]
        )

    def _infer(self, batch: Tensor) -> tuple[Tensor, ...]:
        """Run at least one row on this thread, in steps of the ladder."""
        parts: list[tuple[Tensor, ...]] = []
        start = 0
        for step in plan(len(batch), self.ladder, pad=self._pads):
            parts.append(self._run_step(batch[start : start + step], step))
            start += step
        return _joined(parts)

    def _run_step(self, rows: Tensor, step: int) -> tuple[Tensor, ...]:
        """Run at most `step` rows as exactly `step`; the last row, a real one, is the padding."""
        missing = step - len(rows)
        full = np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)]) if missing else rows
        try:
            outputs = self._session.run(None, {self._input_name: np.ascontiguousarray(full)})
        except self._failures as failure:
            _log.error("%s failed on %s", self.name, full.shape, exc_info=failure)
            if does_not_fit(failure):
                told = f"There was no memory for {self.name} on {full.shape}."
                raise OutOfMemory(told) from failure
            raise InferenceFailed(f"{self.name} failed on {full.shape}.") from failure
        return tuple(self._checked(output, step, len(rows)) for output in outputs)

    def _checked(self, output: Tensor, step: int, rows: int) -> Tensor:
        if step == 1 and output.shape[:1] != (1,):
            output = output[np.newaxis]
        if output.shape[:1] != (step,):
            raise InferenceFailed(
                f"{self.name} answered {output.shape} to a batch of {step}: no batch axis."
            )
        return output[:rows]

    def _finite(self, outputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        for output in outputs:
            if output.dtype.kind == "f" and not np.isfinite(output).all():
                raise InferenceFailed(f"{self.name} gave NaN or infinity.")
        return outputs


def _joined(parts: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Put the rows of several runs together, output by output."""
    if len(parts) == 1:
        return parts[0]
    return tuple(np.concatenate(outputs) for outputs in zip(*parts, strict=True))


def noise(shape: Sequence[int], dtype: np.dtype[Any]) -> Tensor:
    """Draw the same numbers each time: 0..255 for pixels, else 0..1."""
    random = np.random.default_rng(0)
    if dtype == np.uint8:
        return random.integers(0, 256, shape, np.uint8)
    return random.random(shape, np.float32).astype(dtype)


def plan(rows: int, ladder: tuple[int, ...], *, pad: bool) -> list[int]:
    """List the steps of `ladder` that together hold `rows` >= 1 rows.

    With `pad` the remainder after full last steps goes into the smallest step that holds it;
    without, it is broken into smaller steps and only what is below the first step is padded:
    7 rows on (1, 2, 4, 8) run as 8, or as 4, 2 and 1.
    """
    steps: list[int] = []
    while rows > 0:
        if pad:
            step = next((step for step in ladder if step >= rows), ladder[-1])
        else:
            step = max((step for step in ladder if step <= rows), default=ladder[0])
        steps.append(step)
        rows -= step
    return steps


def _only_input(session: Session, weights: Weights) -> Any:
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise ModelError(
            f"{weights.path} has {len(inputs)} inputs, expected one.",
            remedy="Use a network that maps one tensor to one or more.",
        )
    if inputs[0].type not in _DTYPES or not inputs[0].shape:
        raise ModelError(
            f"{weights.path} takes {inputs[0].type} of shape {inputs[0].shape},"
            f" expected a batch of one of {', '.join(_DTYPES)}.",
            remedy="Export the network with a batch axis and such an input.",
        )
    return inputs[0]
