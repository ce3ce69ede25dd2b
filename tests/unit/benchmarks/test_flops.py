"""Counting operations: by hand on tiny graphs, and on graphs whose sizes are open."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.flops import count_flops
from verifier.errors import ModelError


def _model(
    nodes: list[object], shape: list[object], weights: dict[str, tuple[int, ...]], result: str
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(result, TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.ones(size, dtype=np.float32), name)
            for name, size in weights.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def test_a_convolution_is_counted_by_its_result() -> None:
    """4 output channels of 6 x 6, each of 3 x 3 x 2 products: two operations a product."""
    conv = helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[3, 3])
    content = _model([conv], ["n", 2, 8, 8], {"w": (4, 2, 3, 3)}, "y")
    assert count_flops(content, (1, 2, 8, 8)) == 2 * (4 * 6 * 6) * (2 * 3 * 3)
    assert count_flops(content, (3, 2, 8, 8)) == 3 * count_flops(content, (1, 2, 8, 8))


def test_a_depthwise_convolution_is_counted_by_its_group() -> None:
    """Each channel sees only itself."""
    conv = helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[3, 3], group=4)
    content = _model([conv], ["n", 4, 8, 8], {"w": (4, 1, 3, 3)}, "y")
    assert count_flops(content, (1, 4, 8, 8)) == 2 * (4 * 6 * 6) * (3 * 3)


def test_matrix_products_are_counted() -> None:
    """MatMul and Gemm: rows times columns times the common length."""
    matmul = helper.make_node("MatMul", ["x", "w"], ["y"])
    content = _model([matmul], ["n", 5, 8], {"w": (8, 3)}, "y")
    assert count_flops(content, (2, 5, 8)) == 2 * (2 * 5 * 3) * 8
    gemm = helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)
    content = _model([gemm], ["n", 8], {"w": (3, 8)}, "y")
    assert count_flops(content, (4, 8)) == 2 * (4 * 3) * 8


def test_sizes_that_the_graph_computes_are_followed() -> None:
    """A reshape to a shape that is computed from the input does not hide what comes after it."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["b"], axis=0),
        helper.make_node("Concat", ["b", "rest"], ["t"], axis=0),
        helper.make_node("Reshape", ["x", "t"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.array([0], dtype=np.int64), "zero"),
            numpy_helper.from_array(np.array([8], dtype=np.int64), "rest"),
            numpy_helper.from_array(np.ones((8, 3), dtype=np.float32), "w"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    assert count_flops(bytes(model.SerializeToString()), (2, 2, 4)) == 2 * (2 * 3) * 8


def test_activations_are_not_counted() -> None:
    """Only products count."""
    content = _model([helper.make_node("Relu", ["x"], ["y"])], ["n", 8], {}, "y")
    assert count_flops(content, (1, 8)) == 0


def test_a_wrong_number_of_axes_is_refused() -> None:
    """The message names both numbers."""
    content = _model([helper.make_node("Relu", ["x"], ["y"])], ["n", 8], {}, "y")
    with pytest.raises(ModelError, match="takes 2 axes, got 4"):
        count_flops(content, (1, 3, 8, 8))


@pytest.mark.models
def test_known_networks_have_known_sizes(model_store: object) -> None:
    """The authors publish 0.081 GFLOP for MiniFASNet at 80 x 80; EdgeFace computes its sizes."""
    from verifier.models.store import Store

    assert isinstance(model_store, Store)
    content = model_store.find("minifasnet_v2_80x80_scale2.7").content
    flops = count_flops(content, (1, 3, 80, 80))
    assert flops == pytest.approx(81.4e6, rel=0.01)
    content = model_store.find("edgeface_xs").content
    assert count_flops(content, (1, 3, 112, 112)) > 100e6
