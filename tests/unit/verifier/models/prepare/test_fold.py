"""Pictures go in, and the numbers are those of the normalised ones, to the very border."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from verifier.errors import ModelError
from verifier.models.pixels import Pixels
from verifier.models.prepare.fold import fold_pixels

WAYS = [
    Pixels(rgb=rgb, mean=mean, scale=scale)
    for rgb, mean, scale in (
        (False, 0.0, 1.0),
        (True, 0.0, 1 / 255),
        (True, 127.5, 1 / 127.5),
        (False, 104.25, 1 / 57),
    )
]
PADDED: dict[str, Any] = {"pads": [1, 1, 1, 1]}


def network(
    nodes: list[onnx.NodeProto],
    *,
    nhwc: bool = False,
    bias: bool = True,
    shape: list[int | str] | None = None,
    kind: int = TensorProto.FLOAT,
    ir_version: int = 8,
) -> onnx.ModelProto:
    """A graph from `x` to `y`, with weights `w` (5, 3, 3, 3) and a bias `b`."""
    random = np.random.default_rng(3)
    arrays = {"w": random.normal(size=(5, 3, 3, 3))}
    if bias:
        arrays["b"] = random.normal(size=5)
    constants = [numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items()]
    given = shape or (["N", 7, 9, 3] if nhwc else ["N", 3, 7, 9])
    inputs = [helper.make_tensor_value_info("x", kind, given)]
    if ir_version < 4:
        inputs += [
            helper.make_tensor_value_info(one.name, TensorProto.FLOAT, list(one.dims))
            for one in constants
        ]
    graph = helper.make_graph(
        nodes,
        "g",
        inputs,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", "C", "P", "Q"])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = ir_version
    return model


def convolution(source: str = "x", *, bias: bool = True, **attributes: Any) -> onnx.NodeProto:
    """The first convolution."""
    return helper.make_node("Conv", [source, "w", *(["b"] if bias else [])], ["y"], **attributes)


def pictures() -> np.ndarray:
    """Noise with white and black borders, where a wrong padding shows."""
    given = np.random.default_rng(4).integers(0, 256, (2, 7, 9, 3), np.uint8)
    given[0, 0], given[0, -1], given[1, :, 0], given[1, :, -1] = 255, 0, 255, 0
    return given


def run(model: onnx.ModelProto, batch: np.ndarray) -> np.ndarray:
    """The first output."""
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found: np.ndarray = session.run(None, {"x": batch})[0]
    return found


def operators(model: onnx.ModelProto) -> set[str]:
    """What the graph is made of, without constants."""
    return {node.op_type for node in model.graph.node} - {"Constant"}


def require_same(model: onnx.ModelProto, pixels: Pixels) -> onnx.ModelProto:
    """Fold, compare on all pixels to rounding, and give the folded graph."""
    folded = fold_pixels(model, pixels)
    expected = run(model, pixels.blob(pictures()))
    span = float(np.abs(expected).max())
    np.testing.assert_allclose(run(folded, pictures()), expected, atol=1e-5 * span, rtol=0)
    return folded


@pytest.mark.parametrize("pixels", WAYS)
@pytest.mark.parametrize("bias", [True, False])
def test_without_padding_all_goes_into_weights_and_bias(pixels: Pixels, bias: bool) -> None:
    """Nothing is left to do at run time but to turn bytes into numbers."""
    folded = require_same(network([convolution(bias=bias)], bias=bias), pixels)
    assert operators(folded) == {"Transpose", "Cast", "Conv"}


@pytest.mark.parametrize("pixels", WAYS)
@pytest.mark.parametrize("padding", [PADDED, {"auto_pad": "SAME_UPPER"}, {"pads": [0, 0, 0, 1]}])
def test_padding_stands_for_the_mean(pixels: Pixels, padding: dict[str, Any]) -> None:
    """Borders are exact: a mean is taken off before zeros are put around."""
    folded = require_same(network([convolution(**padding)]), pixels)
    assert operators(folded) - {"Sub"} == {"Transpose", "Cast", "Conv"}
    assert ("Sub" in operators(folded)) == (pixels.mean != 0)


def test_channels_last_go_in_as_they_are() -> None:
    """A file that turns NHWC by itself gets no second turn."""
    pixels = Pixels(rgb=True, mean=0.0, scale=1 / 255, nhwc=True)
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        convolution("t", **PADDED),
    ]
    folded = require_same(network(nodes, nhwc=True), pixels)
    assert [n.op_type for n in folded.graph.node] == ["Cast", "Transpose", "Conv"]


@pytest.mark.parametrize("pixels", [*WAYS, Pixels(rgb=True, mean=9.0, scale=0.5, nhwc=True)])
def test_where_no_convolution_comes_first_the_steps_do(pixels: Pixels) -> None:
    """A graph that begins with something else is normalised in front of it."""
    nodes = [helper.make_node("Abs", ["x"], ["y"])]
    folded = require_same(network(nodes, nhwc=pixels.nhwc), pixels)
    assert ("Gather" in operators(folded)) == pixels.rgb


def test_weights_that_others_read_stay() -> None:
    """Two convolutions with the same weights are not scaled twice, nor one of them wrongly."""
    second = helper.make_node("Conv", ["x", "w"], ["z"])
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        second,
        helper.make_node("Add", ["c", "z"], ["y"]),
    ]
    require_same(network(nodes, bias=False), WAYS[2])


def test_a_result_that_is_read_elsewhere_keeps_its_numbers() -> None:
    """Where something else reads the picture too, no weights take the scale."""
    nodes = [
        convolution(),
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[1, 2, 3]),
    ]
    nodes[0].output[0] = "c"
    nodes.append(helper.make_node("Add", ["c", "m"], ["y"]))
    require_same(network(nodes), WAYS[1])


def test_old_files_list_constants_among_the_inputs() -> None:
    """Before IR version 4 they had to; what is added needs no input, and one input is left."""
    folded = require_same(network([convolution()], ir_version=3), WAYS[2])
    assert [value.name for value in folded.graph.input] == ["x"]


def test_height_and_width_move_with_the_channels() -> None:
    """The shape that the graph states is that of the pictures; open sizes stay open."""
    model = network([convolution()], shape=["N", 3, "H", 9])
    dims = fold_pixels(model, WAYS[0]).graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in dims] == ["N", "H", 9, 3]


@pytest.mark.parametrize(
    "arguments",
    [{"shape": ["N", 1, 7, 9]}, {"shape": ["N", 3]}, {"kind": TensorProto.FLOAT16}, {"nhwc": True}],
)
def test_what_takes_no_picture_is_refused(arguments: dict[str, Any]) -> None:
    """Grey pictures, rows, other numbers, channels elsewhere."""
    with pytest.raises(ModelError, match="three channels"):
        fold_pixels(network([convolution()], **arguments), WAYS[0])
