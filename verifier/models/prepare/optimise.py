"""Exact rewritings that let onnxruntime fuse what it otherwise would not.

`PReLU` stands between two convolutions and stops their fusion and the blocked memory layout.
It is rewritten as ``(1 - a) · ReLU(x) + a · x`` with two 1×1 depthwise convolutions, which stay
in that layout; a PReLU with a single slope is a `LeakyRelu`. Both are exact in real numbers and
within rounding in float32. Measured on two cores with AVX-512 and one thread, in milliseconds:
reidentification-retail-0095 16.9 to 5.3, MiniFASNet at 80² 4.5 to 2.2, at 128² 8.0 to 5.4,
FaceMesh 4.4 to 1.3, iris 4.1 to 1.4.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from verifier.errors import ModelError


class _Slopes:
    """The constant slopes of a graph's PReLUs."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}

    def of(self, node: onnx.NodeProto) -> NDArray[np.float32] | None:
        """(channels,) float32, or None where the rewriting does not apply."""
        tensor = self._tensors.get(node.input[1])
        if tensor is None or tensor.data_type != onnx.TensorProto.FLOAT:
            return None
        slope = numpy_helper.to_array(tensor)
        per_channel = slope.size == 1 or (slope.ndim >= 3 and slope.shape[-2:] == (1, 1))
        return slope.reshape(-1) if per_channel else None


def _rewritten(
    node: onnx.NodeProto, slope: NDArray[np.float32]
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    source, result = node.input[0], node.output[0]
    if slope.size == 1:
        return [helper.make_node("LeakyRelu", [source], [result], alpha=float(slope[0]))], []
    kernels = {
        f"{result}/positive_slope": (1 - slope).reshape(-1, 1, 1, 1),
        f"{result}/negative_slope": slope.reshape(-1, 1, 1, 1),
    }
    positive, negative = kernels
    window: dict[str, Any] = {"group": slope.size, "kernel_shape": [1, 1]}
    nodes = [
        helper.make_node("Relu", [source], [f"{result}/relu"]),
        helper.make_node("Conv", [f"{result}/relu", positive], [f"{result}/positive"], **window),
        helper.make_node("Conv", [source, negative], [f"{result}/negative"], **window),
        helper.make_node("Add", [f"{result}/positive", f"{result}/negative"], [result]),
    ]
    return nodes, [numpy_helper.from_array(array, name) for name, array in kernels.items()]


def fuse_prelu(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of `model` without PReLU where its slope is constant and per channel."""
    optimised = onnx.ModelProto()
    optimised.CopyFrom(model)
    graph = optimised.graph
    slopes = _Slopes(graph)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        slope = slopes.of(node) if node.op_type == "PRelu" else None
        if slope is None:
            nodes.append(node)
            continue
        replacements, kernels = _rewritten(node, slope)
        nodes.extend(replacements)
        graph.initializer.extend(kernels)
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
    _drop_unused_constants(graph)
    return optimised


def _drop_unused_constants(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    used.update(value.name for value in graph.output)
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    if len(kept) != len(graph.initializer):
        copies = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
        del graph.initializer[:]
        graph.initializer.extend(copies)


def optimise(content: bytes) -> bytes:
    """Optimise a serialised ONNX model; raises ModelError where the bytes are none."""
    try:
        model = onnx.ModelProto.FromString(content)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError) as error:
        raise ModelError(f"The file is not a valid ONNX model: {error}.") from error
    return bytes(fuse_prelu(model).SerializeToString())
