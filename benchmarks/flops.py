"""Count the floating-point operations of a network from its graph, layer by layer.

A multiplication and an addition are two. Convolutions, Gemm and MatMul are counted, which is 97 %
and more of these networks; activations, additions and normalisations are not. Sizes come from
ONNX's shape inference, after the input was given one size and what is constant then was folded; a
graph whose sizes remain open all the same is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TypeAlias

import onnx
from onnx import shape_inference

from benchmarks.graphs import fixed_graph
from verifier.errors import ModelError

Shape: TypeAlias = tuple[int, ...]


def count_flops(content: bytes, shape: Sequence[int]) -> int:
    """Count the operations of one run on an input of `shape`, batch axis included.

    Raises ModelError where a counted layer has a size that shape inference cannot tell.
    """
    folded = onnx.ModelProto.FromString(fixed_graph(content, shape))
    del folded.graph.value_info[:]
    model = shape_inference.infer_shapes(folded, data_prop=True)
    shapes = _shapes(model.graph)
    return sum(_of_node(node, shapes) for node in model.graph.node)


def _shapes(graph: onnx.GraphProto) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {t.name: tuple(t.dims) for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            value = next((a.t for a in node.attribute if a.name == "value"), None)
            if value is not None:
                shapes[node.output[0]] = tuple(value.dims)
    for info in (*graph.value_info, *graph.input, *graph.output):
        shapes.setdefault(info.name, tuple(d.dim_value for d in info.type.tensor_type.shape.dim))
    return shapes


def _of_node(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int:
    if node.op_type == "Conv":
        weights, result = _known(node.input[1], shapes, node), _known(node.output[0], shapes, node)
        return 2 * prod(result) * prod(weights[1:])
    if node.op_type == "MatMul":
        left, result = _known(node.input[0], shapes, node), _known(node.output[0], shapes, node)
        return 2 * prod(result) * left[-1]
    if node.op_type == "Gemm":
        left = _known(node.input[0], shapes, node)
        flipped = any(a.name == "transA" and a.i for a in node.attribute)
        return 2 * prod(_known(node.output[0], shapes, node)) * left[0 if flipped else 1]
    return 0


def _known(name: str, shapes: Mapping[str, Shape], node: onnx.NodeProto) -> Shape:
    shape = shapes.get(name, ())
    if not shape or not all(size > 0 for size in shape):
        raise ModelError(f"The size of {name} of {node.op_type} {node.name} cannot be told.")
    return shape
