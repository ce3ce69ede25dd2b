"""Padding channels: whole blocks, the same numbers, and hands off what it does not know."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from verifier.models.prepare.channels import BLOCK, pad_channels


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def _network(*, tail: str = "Relu", last: int = 16) -> onnx.ModelProto:
    """3 → 13 channels, depthwise, squeeze-and-excitation with a residual, then to `last`."""
    weights = {
        "w1": _random(13, 3, 3, 3),
        "b1": _random(13),
        "s1": _random(13, 1, 1),
        "wd": _random(13, 1, 3, 3),
        "we": _random(13, 13, 1, 1),
        "w2": _random(last, 13, 1, 1),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1] * 4),
        helper.make_node("PRelu", ["c1", "s1"], ["p1"]),
        helper.make_node("Conv", ["p1", "wd"], ["d1"], pads=[1] * 4, group=13),
        helper.make_node("GlobalAveragePool", ["d1"], ["g1"]),
        helper.make_node("Conv", ["g1", "we"], ["e1"]),
        helper.make_node("Sigmoid", ["e1"], ["e2"]),
        helper.make_node("Mul", ["d1", "e2"], ["m1"]),
        helper.make_node("Add", ["p1", "m1"], ["a1"]),
        helper.make_node("Conv", ["a1", "w2"], ["c2"]),
        helper.make_node(tail, ["c2"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def _run(model: onnx.ModelProto) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": _random(2, 3, 8, 8)})[0]


def test_every_width_becomes_whole_blocks_and_the_numbers_stay() -> None:
    """A residual network with odd widths gives the same results on padded channels."""
    model = _network()
    padded = pad_channels(model)
    shapes = {t.name: tuple(t.dims) for t in padded.graph.initializer}
    assert shapes["w1"] == (BLOCK, 3, 3, 3)
    assert shapes["wd"] == (BLOCK, 1, 3, 3)
    assert shapes["w2"] == (16, BLOCK, 1, 1)
    np.testing.assert_allclose(_run(padded), _run(model), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("model", [_network(tail="Softmax", last=13), _network(last=13)])
def test_a_graph_that_would_show_the_padding_is_left_alone(model: onnx.ModelProto) -> None:
    """An unknown operator behind odd widths, or an odd output, means: nothing is changed."""
    assert pad_channels(model) is model


def test_whole_widths_are_left_alone() -> None:
    """Where every width is whole already, the very same model comes back."""
    model = _network()
    once = pad_channels(model)
    assert pad_channels(once) is once


def test_the_original_is_not_touched() -> None:
    """Padding works on a copy."""
    model = _network()
    before = model.SerializeToString()
    pad_channels(model)
    assert model.SerializeToString() == before
