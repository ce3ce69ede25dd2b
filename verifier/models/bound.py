"""Sessions with bound inputs and outputs: device memory of a batch size is taken once and kept.

For CUDA, where each ``run`` else allocates on the device and copies through fresh buffers; on a CPU
it gains about a microsecond (docs/adr/0007-no-io-binding-on-cpu.md).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from verifier.errors import InferenceFailed

if TYPE_CHECKING:
    from types import ModuleType

    from verifier.models.network import Tensor

MAX_SHAPES: Final = 64
"""The ladder of six steps times ten sizes of pictures that a detector meets: three of them for VGA
frames of both orientations, two for each further shape of frames. The oldest goes."""
TOLERANCE: Final = 1e-4
"""Of the largest number of an output, or of 1: how far a bound run may be from a plain one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slot:
    """What a run of one shape needs; it serves one thread."""

    binding: Any
    given: Any
    """The input on the device; the binding holds the outputs."""


class BoundSession:
    """An onnxruntime session, bound; may run in several threads, each on memory of its own.

    So a warm-up on each thread that will serve (`verifier.models.lanes`) takes all that is needed.
    """

    def __init__(self, session: Any, ort: ModuleType, *, device: str) -> None:
        """Wrap `session`, whose inputs and outputs shall lie on `device`: ``cuda`` or ``cpu``."""
        self._session = session
        self._ort = ort
        self._device = device
        self._free: OrderedDict[tuple[int, ...], dict[int, _Slot]] = OrderedDict()
        """Shape, then thread: what is not running."""
        self._lock = threading.Lock()

    def get_inputs(self) -> list[Any]:
        """Describe the inputs."""
        return list(self._session.get_inputs())

    def get_outputs(self) -> list[Any]:
        """Describe the outputs."""
        return list(self._session.get_outputs())

    def run(self, outputs: None, feed: dict[str, Tensor]) -> list[Tensor]:
        """Compute all outputs; they are copies in the host's memory.

        The first run of a shape in a thread runs plainly as well, for the sizes of its outputs, and
        raises `InferenceFailed` where the bound run gives other numbers.
        """
        ((name, batch),) = feed.items()
        slot = self._take(batch.shape)
        if slot is not None:
            found = self._run(slot, batch)
        else:
            expected = self._session.run(outputs, feed)
            slot = self._bind(name, batch, expected)
            found = self._run(slot, batch)
            _require_same(expected, found, batch.shape)
        self._give_back(batch.shape, slot)  # not after a failure: its memory is then in doubt
        return found

    def _take(self, shape: tuple[int, ...]) -> _Slot | None:
        with self._lock:
            return self._free.get(shape, {}).pop(threading.get_ident(), None)

    def _give_back(self, shape: tuple[int, ...], slot: _Slot) -> None:
        with self._lock:
            self._free.setdefault(shape, {})[threading.get_ident()] = slot
            self._free.move_to_end(shape)
            if len(self._free) > MAX_SHAPES:
                self._free.popitem(last=False)

    def _run(self, slot: _Slot, batch: Tensor) -> list[Tensor]:
        slot.given.update_inplace(batch)
        self._session.run_with_iobinding(slot.binding)
        return [np.array(output) for output in slot.binding.copy_outputs_to_cpu()]

    def _bind(self, name: str, batch: Tensor, outputs: list[Tensor]) -> _Slot:
        binding = self._session.io_binding()
        given = self._empty(batch)
        binding.bind_ortvalue_input(name, given)
        for described, output in zip(self._session.get_outputs(), outputs, strict=True):
            binding.bind_ortvalue_output(described.name, self._empty(output))
        return _Slot(binding=binding, given=given)

    def _empty(self, like: Tensor) -> Any:
        return self._ort.OrtValue.ortvalue_from_shape_and_type(
            like.shape, like.dtype.type, self._device, 0
        )


def _require_same(expected: list[Tensor], found: list[Tensor], shape: tuple[int, ...]) -> None:
    for plain, bound in zip(expected, found, strict=True):
        scale = max(1.0, float(np.abs(plain).max(initial=0)))
        # Not-a-number is the network's own matter, and noticed where its outputs are checked.
        if not np.allclose(plain / scale, bound / scale, rtol=0, atol=TOLERANCE, equal_nan=True):
            raise InferenceFailed(
                f"A run with bound memory gave other numbers than a plain one on {shape}."
            )
