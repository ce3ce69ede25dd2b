"""The only importer of openvino: sessions on a CPU from the same ONNX files.

In float32, or in bfloat16 where that is asked for and the processor computes in it: half the time,
at numbers of 8 bits. docs/adr/0023-bfloat16.md

Importing openvino reports the import to Google Analytics and leaves an identifier in the home
directory, through the package `openvino_telemetry` that comes with it. That package is made
impossible to import first; openvino does without. docs/adr/0006-no-telemetry.md
"""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import onnx
from google.protobuf.message import DecodeError

from verifier.errors import ModelError, ModelTooLarge, ProviderUnavailable
from verifier.models.backend import does_not_fit

if TYPE_CHECKING:
    from types import ModuleType

    from verifier.models.network import Tensor
    from verifier.models.pixels import Pixels
    from verifier.models.weights import Weights

NAME: Final = "OpenVINO CPU"
Precision: TypeAlias = Literal["f32", "bf16"]
STEPS: Final = (1, 4)
"""Batch sizes that run. Each is a graph of its own: on the default pack with two workers these two
take 471 MB and 3.4 s to load, (1, 2, 4, 8) 761 MB and 11 s, and a CPU gains little by batching."""
SHAPES: Final = 8
"""Shapes of pictures that get a graph of their own: looks and close looks at landscape and portrait
frames of one shape, alone and by four. Each costs a detector 0.1 s once and some 10 MB."""
_TYPES: Final = {"f32": "tensor(float)", "f16": "tensor(float16)", "u8": "tensor(uint8)"}
"""openvino's names of types to onnxruntime's, which `Network` knows."""
_REMEDY: Final = (
    "pip install 'benren[openvino]' (the image has it where it was built with --build-arg"
    " OPENVINO=yes), or set the provider to cpu."
)


class OpenVino:
    """openvino on the CPU."""

    ladder: Final = STEPS
    pads: Final = False
    failures: Final[tuple[type[Exception], ...]] = (RuntimeError, ValueError, TypeError)
    memory_remedy: Final = "Use fewer workers or a shorter batch ladder, or give it more memory."

    def __init__(self, *, threads: int, workers: int, precision: Precision = "f32") -> None:
        """Start it; `threads` work within one inference, `workers` inferences run at a time.

        Raises `ProviderUnavailable` where openvino is not installed or has no CPU device, and
        where the processor does not compute in the `precision`: it would be slower than float32.
        """
        self.name: Final = NAME if precision == "f32" else f"{NAME} {precision}"
        self._ov = import_openvino()
        self._core = self._ov.Core()
        self._settings = {
            "INFERENCE_NUM_THREADS": threads * workers,
            "NUM_STREAMS": workers,
            # Else it takes bfloat16 wherever the processor has it, and nobody would know.
            "INFERENCE_PRECISION_HINT": precision,
        }
        if "CPU" not in self._core.available_devices:
            raise ProviderUnavailable(
                f"openvino {self.version} has no CPU device on this machine.", remedy=_REMEDY
            )
        if precision == "bf16" and "BF16" not in self._core.get_property(
            "CPU", "OPTIMIZATION_CAPABILITIES"
        ):
            raise ProviderUnavailable(
                "This processor does not compute in bfloat16 (avx512_bf16 or amx_bf16).",
                remedy="Set the provider to openvino or cpu: the same networks in float32.",
            )

    @property
    def version(self) -> str:
        """Of the installed openvino."""
        return str(self._ov.__version__)

    def open(self, weights: Weights, pixels: Pixels | None = None) -> OpenVinoSession:
        """Make a session (see `Backend.open`); the bytes, and no file, go to openvino.

        The graph is the original, and takes numbers whatever `pixels` say: openvino fuses PReLU by
        itself, and is slower on what `verifier.models.prepare.optimise` makes for onnxruntime.
        """
        inputs, outputs = self._names(weights)
        try:
            model = self._core.read_model(weights.content)
            session = OpenVinoSession(self._core, model, self._settings, inputs, outputs)
        except self.failures as failure:
            if does_not_fit(failure):
                raise ModelTooLarge(
                    f"{weights.name} does not fit into memory: {failure}",
                    remedy=self.memory_remedy,
                ) from failure
            raise self._refusal(weights, failure) from failure
        return session

    def _names(self, weights: Weights) -> tuple[list[str], list[str]]:
        """Read what the file calls inputs and outputs: openvino merges names of one tensor."""
        try:
            graph = onnx.ModelProto.FromString(weights.content).graph
        except DecodeError as failure:
            raise self._refusal(weights, failure) from failure
        constants = {tensor.name for tensor in graph.initializer}
        inputs = [value.name for value in graph.input if value.name not in constants]
        return inputs, [value.name for value in graph.output]

    def _refusal(self, weights: Weights, failure: Exception) -> ModelError:
        return ModelError(
            f"openvino {self.version} cannot load {weights.path}: {failure}",
            remedy="Give it an intact ONNX file that this version of openvino supports.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An input or output as onnxruntime describes one."""

    name: str
    type: str
    shape: list[int | None]


class OpenVinoSession:
    """One network; may run in several threads at once, each with requests of its own.

    A graph for one shape is up to a third faster than one for all, at half the time for a detector.
    Where only the batch is open every batch size is compiled for itself (so `Runtime` warms up its
    ladder). Where height or width is open too there would be no end to it: the first `SHAPES` get a
    graph of their own, and one takes all further sizes.
    """

    def __init__(
        self,
        core: Any,
        model: Any,
        settings: dict[str, Any],
        inputs: list[str],
        outputs: list[str],
    ) -> None:
        self._core = core
        self._model = model
        self._settings = settings
        self._compiled: dict[tuple[int, ...] | None, Any] = {}
        self._compiling = threading.Lock()
        self._requests = threading.local()
        self._inputs = [_described(_port(model.inputs, name), name) for name in inputs]
        self._outputs = [_described(_port(model.outputs, name), name) for name in outputs]
        # On what the file fixes altogether the same graph serves as on what leaves a size open.
        shape = self._inputs[0].shape if len(self._inputs) == 1 else []
        self._open = bool(shape) and None in shape
        self._by_batch = self._open and None not in shape[1:]
        if not self._by_batch:
            self._compile(None)

    def get_inputs(self) -> list[Port]:
        """Describe the inputs."""
        return list(self._inputs)

    def get_outputs(self) -> list[Port]:
        """Describe the outputs, in the order of the file."""
        return list(self._outputs)

    def run(self, outputs: None, feed: dict[str, Tensor]) -> list[Tensor]:
        """Compute all outputs; they are copies, which the next run leaves alone."""
        (batch,) = feed.values()
        request, results = self._request(self._graph_for(batch.shape))
        found = request.infer([batch], share_inputs=True, share_outputs=False)
        return [found[result] for result in results]

    def _graph_for(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Say which graph runs a shape: its own, or None for the one that takes any."""
        if not self._open:
            return None
        if self._by_batch or shape in self._compiled or len(self._compiled) <= SHAPES:
            return shape
        return None

    def _request(self, shape: tuple[int, ...] | None) -> tuple[Any, list[Any]]:
        """Give this thread's request for a graph: a request serves one thread at a time."""
        own: dict[tuple[int, ...] | None, tuple[Any, list[Any]]]
        own = self._requests.__dict__.setdefault("own", {})
        if shape not in own:
            compiled = self._compile(shape)
            results = [_port(compiled.outputs, output.name) for output in self._outputs]
            own[shape] = (compiled.create_infer_request(), results)
        return own[shape]

    def _compile(self, shape: tuple[int, ...] | None) -> Any:
        with self._compiling:
            if shape not in self._compiled:
                model = self._model
                if shape is not None:
                    model = model.clone()
                    model.reshape(list(shape))
                self._compiled[shape] = self._core.compile_model(model, "CPU", self._settings)
            return self._compiled[shape]


def import_openvino() -> ModuleType:
    """Import it without its telemetry. Raises `ProviderUnavailable` where it is missing."""
    if "openvino" not in sys.modules:
        # None makes every import of it an ImportError, which openvino is prepared for.
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        import openvino  # noqa: PLC0415 - a missing extra gets a remedy, not a traceback
    except ImportError as missing:
        raise ProviderUnavailable(
            f"openvino was asked for, but it is not installed or does not load: {missing}.",
            remedy=_REMEDY,
        ) from missing
    module: ModuleType = openvino
    return module


def _port(ports: Any, name: str) -> Any:
    found = [port for port in ports if name in port.names]
    if not found:
        raise ValueError(f"it has nothing called {name!r}")
    return found[0]


def _described(port: Any, name: str) -> Port:
    kind = port.element_type.get_type_name()
    shape = [size.get_length() if size.is_static else None for size in port.partial_shape]
    return Port(name=name, type=_TYPES.get(kind, kind), shape=shape)
