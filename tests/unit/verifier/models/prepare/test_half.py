"""float16 where it is harmless, float32 where it is not and at both ends."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from verifier.errors import ModelError
from verifier.models.prepare.half import to_half

HALF = TensorProto.FLOAT16


def network(nodes: list[onnx.NodeProto], **arrays: np.ndarray) -> onnx.ModelProto:
    """A graph from `x` (N, 4, 8, 8) to `y`."""
    constants = {
        "w": np.random.default_rng(5).normal(size=(4, 4, 3, 3)) / 6,
        "b": np.linspace(-1, 1, 4),
        **arrays,
    }
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", "C", "P", "Q"])],
        [numpy_helper.from_array(a.astype(np.float32), name) for name, a in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def convolution(source: str, result: str, weights: str = "w") -> onnx.NodeProto:
    """3 x 3, padded."""
    return helper.make_node("Conv", [source, weights, "b"], [result], pads=[1] * 4)


def run(model: onnx.ModelProto) -> np.ndarray:
    """The output for noise."""
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    batch = np.random.default_rng(6).normal(size=(2, 4, 8, 8)).astype(np.float32)
    found: np.ndarray = session.run(None, {"x": batch})[0]
    return found


def types(model: onnx.ModelProto) -> dict[str, int]:
    """Operator -> the type of its first output, as onnx infers it; casts are left out."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    known = {
        value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.output)
    }
    return {n.op_type: known[n.output[0]] for n in graph.node if n.op_type != "Cast"}


def casts(model: onnx.ModelProto) -> int:
    """How often numbers change their type."""
    return sum(node.op_type == "Cast" for node in model.graph.node)


def test_what_follows_a_convolution_stays_in_float16() -> None:
    """One cast goes in and one comes out, whatever lies between two convolutions."""
    nodes = [
        convolution("x", "c"),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Add", ["r", "c"], ["a"]),
        convolution("a", "y"),
    ]
    model = network(nodes)
    half = to_half(model)
    assert set(types(half).values()) == {HALF}
    assert casts(half) == 2
    expected = run(model)
    found = run(half)
    assert found.dtype == np.float32
    assert 0 < np.abs(found - expected).max() <= 1e-2 * np.abs(expected).max()


def test_delicate_sums_stay_in_float32() -> None:
    """What normalises keeps its numbers; only what multiplies matrices is halved."""
    nodes = [
        convolution("x", "c"),
        helper.make_node("Softmax", ["c"], ["s"], axis=1),
        helper.make_node("ReduceMean", ["s"], ["m"], axes=[1]),
        helper.make_node("Div", ["s", "m"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["y"]),
    ]
    found = types(to_half(network(nodes)))
    assert found.pop("Conv") == HALF
    assert set(found.values()) == {TensorProto.FLOAT}


def test_what_follows_nothing_in_float16_is_left_alone() -> None:
    """A graph without products of matrices is not changed at all."""
    model = network([helper.make_node("Relu", ["x"], ["y"])])
    assert casts(to_half(model)) == 0


@pytest.mark.parametrize("factor", [1e-7, 1e6])
def test_weights_that_float16_cannot_hold_stay(factor: float) -> None:
    """Below 6e-8 there is nothing, beyond 65 504 infinity: such a layer runs in float32."""
    weights = np.random.default_rng(7).normal(size=(4, 4, 3, 3)) * factor
    nodes = [convolution("x", "y", "v")]
    half = to_half(network(nodes, v=weights))
    assert types(half)["Conv"] == TensorProto.FLOAT
    np.testing.assert_array_equal(run(half), run(network(nodes, v=weights)))


def test_a_value_that_two_kinds_read_is_cast_once() -> None:
    """A result in float16 that delicate work and an output want is cast back a single time."""
    nodes = [
        convolution("x", "c"),
        helper.make_node("Softmax", ["c"], ["s"], axis=1),
        helper.make_node("Sqrt", ["s"], ["q"]),
        helper.make_node("Exp", ["c"], ["e"]),
        helper.make_node("Sub", ["q", "e"], ["y"]),
    ]
    assert casts(to_half(network(nodes))) == 2


def test_constants_of_the_original_go() -> None:
    """Halved weights replace their originals, they do not stand beside them."""
    half = to_half(network([convolution("x", "y")]))
    assert {tensor.data_type for tensor in half.graph.initializer} == {HALF}


def test_constant_nodes_are_halved_too() -> None:
    """Weights that stand in the graph as nodes are weights."""
    weights = np.random.default_rng(8).normal(size=(4, 4, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Constant", [], ["v"], value=numpy_helper.from_array(weights, "v")),
        convolution("x", "y", "v"),
    ]
    half = to_half(network(nodes))
    assert casts(half) == 2
    assert types(half)["Conv"] == HALF


def test_graphs_within_graphs_are_refused() -> None:
    """A branch reads values by name from outside, which would not be there any more."""
    inner = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["z"])],
        "inner",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
    )
    true = numpy_helper.from_array(np.array(True), "true")
    nodes = [
        helper.make_node("Constant", [], ["t"], value=true),
        helper.make_node("If", ["t"], ["y"], then_branch=inner, else_branch=inner),
    ]
    with pytest.raises(ModelError, match="loops or branches") as caught:
        to_half(network(nodes))
    assert "cuda" in caught.value.remedy
