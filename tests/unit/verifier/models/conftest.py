"""Tiny ONNX graphs, and runtimes that are quick to make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from verifier.models.runtime import Runtime
from verifier.models.weights import Weights

Shape: TypeAlias = Sequence[int | str]
Graph: TypeAlias = Callable[..., Weights]


def build(
    nodes: Sequence[NodeProto],
    shape: Shape = ("N", 3),
    outputs: Sequence[tuple[str, Shape]] = (("y", ("N", 3)),),
    *,
    constants: Sequence[TensorProto] = (),
    extra_inputs: Sequence[str] = (),
    kind: int = TensorProto.FLOAT,
    name: str = "tiny",
) -> Weights:
    """A graph from input `x` of `shape` through `nodes` to `outputs`, as weights."""
    inputs = [helper.make_tensor_value_info("x", kind, list(shape))]
    inputs += [helper.make_tensor_value_info(more, kind, list(shape)) for more in extra_inputs]
    graph = helper.make_graph(
        list(nodes),
        name,
        inputs,
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, list(s)) for out, s in outputs],
        list(constants),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return Weights.of(Path(f"/nowhere/{name}.onnx"), model.SerializeToString())


@pytest.fixture
def graph() -> Graph:
    """The builder above; `helper.make_node` makes its nodes."""
    return build


@pytest.fixture
def doubling() -> Weights:
    """(N, 3) -> twice that, and its sum per row (N, 1)."""
    import numpy as np

    return build(
        [
            helper.make_node("Add", ["x", "x"], ["y"]),
            helper.make_node("ReduceSum", ["x", "axis"], ["s"], keepdims=1),
        ],
        outputs=[("y", ("N", 3)), ("s", ("N", 1))],
        constants=[numpy_helper.from_array(np.array([1], np.int64), "axis")],
        name="doubling",
    )


@pytest.fixture
def rooting() -> Weights:
    """(N, 3) -> square roots, so that negative numbers give NaN."""
    return build([helper.make_node("Sqrt", ["x"], ["y"])], name="rooting")


@pytest.fixture
def runtime() -> Runtime:
    """One thread, no warm-up."""
    return Runtime(threads=1, warm_up=False)
