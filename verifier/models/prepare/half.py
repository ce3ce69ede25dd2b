"""float16 inside a graph, float32 where numbers are delicate and at both ends.

What multiplies matrices (`LEADERS`) runs in float16, and what merely follows it (`FOLLOWERS`), so
that nothing is cast to and fro between two convolutions. Everything else stays in float32: sums
over many values, roots, quotients, exponentials and all that normalises. Weights that float16
cannot hold within `LOSS` stay too. With onnx and numpy alone.
"""

from __future__ import annotations

from collections.abc import Callable, MutableSequence
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from verifier.errors import ModelError
from verifier.models.prepare.optimise import drop_unused_constants, own_constants

LEADERS: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""What a GPU computes on tensor cores, with sums in float32."""
FOLLOWERS: Final = frozenset(
    (
        *("Add", "Mul", "Relu", "LeakyRelu", "PRelu", "MaxPool", "AveragePool"),
        *("Concat", "Flatten", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"),
    )
)
"""Exact, or of one rounding, in float16."""
LOSS: Final = 2.0**-10
"""Of the norm of a constant: the most that rounding it to float16 may take away. The 10 bits of its
mantissa take 2^-12 in the mean; more is lost only by numbers below 6e-5 or beyond 65 504."""


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of `model` that computes in float16; inputs and outputs keep their types.

    Raises `ModelError` for a graph with graphs inside (loops, branches).
    """
    if any(a.type == onnx.AttributeProto.GRAPH for n in model.graph.node for a in n.attribute):
        raise ModelError(
            "The graph has loops or branches, which are not converted to float16.",
            remedy="Set the provider to cuda: the same network in float32.",
        )
    converted = onnx.ModelProto()
    converted.CopyFrom(model)
    own_constants(converted)
    _Conversion(converted).convert()
    return converted


class _Conversion:
    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._constants = _constants(self._graph)
        self._floats = _floats(model)
        self._halves: dict[str, str] = {}
        """Values by their names in float32, of those there in float16."""
        self._only_half: set[str] = set()
        """Those of them that nothing gives in float32."""
        self._nodes: list[onnx.NodeProto] = []
        self._added: list[onnx.TensorProto] = []

    def convert(self) -> None:
        """Change the graph."""
        for original in self._graph.node:
            node = onnx.NodeProto.FromString(original.SerializeToString())
            if self._goes_half(node):
                self._rename(node.input, self._half)
                self._rename(node.output, self._given_half)
            else:
                for name in node.input:
                    self._give_float(name)
            self._nodes.append(node)
        for value in self._graph.output:
            self._give_float(value.name)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        self._graph.initializer.extend(self._added)
        del self._graph.value_info[:]  # the types noted there are the old ones
        drop_unused_constants(self._graph)

    def _goes_half(self, node: onnx.NodeProto) -> bool:
        inputs = [name for name in node.input if name in self._floats]
        if node.op_type in FOLLOWERS:
            if not any(name in self._halves and name not in self._constants for name in inputs):
                return False
        elif node.op_type not in LEADERS or not inputs:
            return False
        return all(name in self._floats for name in node.output) and not any(
            _loses(self._constants[name]) for name in inputs if name in self._constants
        )

    def _rename(self, names: MutableSequence[str], other: Callable[[str], str]) -> None:
        for index, name in enumerate(names):
            if name in self._floats:
                names[index] = other(name)

    def _given_half(self, name: str) -> str:
        """Name the float16 output in the place of `name`."""
        self._halves[name] = f"{name}/half"
        self._only_half.add(name)
        return self._halves[name]

    def _half(self, name: str) -> str:
        """Name the float16 of an input, which is made where it is not there."""
        if name not in self._halves:
            half = f"{name}/half"
            self._halves[name] = half
            if name in self._constants:
                array = numpy_helper.to_array(self._constants[name]).astype(np.float16)
                self._added.append(numpy_helper.from_array(array, half))
            else:
                self._nodes.append(_cast(name, half, TensorProto.FLOAT16))
        return self._halves[name]

    def _give_float(self, name: str) -> None:
        """See that `name` is there in float32."""
        if name in self._only_half:
            self._only_half.remove(name)
            self._nodes.append(_cast(self._halves[name], name, TensorProto.FLOAT))


def _cast(name: str, result: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [name], [result], name=f"{result}/cast", to=kind)


def _constants(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """Collect float32 constants, be they initialisers or nodes."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            found.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
    return {name: one for name, one in found.items() if one.data_type == TensorProto.FLOAT}


def _floats(model: onnx.ModelProto) -> set[str]:
    """Name all values that are float32, as far as onnx can infer it."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = [*graph.input, *graph.value_info, *graph.output]
    found = {v.name for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    return found | set(_constants(graph))


def _loses(tensor: onnx.TensorProto) -> bool:
    """Tell whether float16 loses more than `LOSS` of a constant."""
    array = numpy_helper.to_array(tensor).astype(np.float64)
    with np.errstate(over="ignore"):
        kept = array.astype(np.float16).astype(np.float64)
    lost = float(np.linalg.norm(kept - array))
    return not lost <= LOSS * float(np.linalg.norm(array))
