"""Graph rewritings: the same numbers, fewer obstacles."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from verifier.errors import ModelError
from verifier.models.prepare.rewriting import Rewriting

optimise = Rewriting(blocks=True).apply

REAL = [
    "face_reidentification_retail_0095",
    "minifasnet_v2_80x80_scale2.7",
    "minifasnet_v1se_80x80_scale4.0",
    "minifasnet_v2se_128x128_pad1.5",
    "facemesh",
    "iris",
]


def _prelu(slope: np.ndarray, *, constant: bool = True) -> bytes:
    weights = np.random.default_rng(2).normal(size=(4, 3, 3, 3)).astype(np.float32)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])]
    initializers = [numpy_helper.from_array(weights, "w")]
    if constant:
        initializers.append(numpy_helper.from_array(slope.astype(np.float32), "s"))
    else:
        inputs.append(helper.make_tensor_value_info("s", TensorProto.FLOAT, list(slope.shape)))
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("PRelu", ["c", "s"], ["y"]),
        ],
        "g",
        inputs,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4, 8, 8])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model.SerializeToString()


def _run(content: bytes, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, feed)


def _operators(content: bytes) -> list[str]:
    return [node.op_type for node in onnx.ModelProto.FromString(content).graph.node]


@pytest.mark.parametrize(
    "slope",
    [
        np.array([0.25, -0.5, 1.0, 0.0]).reshape(4, 1, 1),
        np.array([0.1, 0.2, 0.3, 3.0]).reshape(1, 4, 1, 1),
        np.array([0.25]).reshape(1, 1, 1),
    ],
)
def test_prelu_goes_and_the_numbers_stay(slope: np.ndarray) -> None:
    """Per-channel and single slopes are rewritten; negative inputs give the same results."""
    original = _prelu(slope)
    optimised = optimise(original)
    assert "PRelu" not in _operators(optimised)
    x = np.random.default_rng(3).normal(size=(2, 3, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(
        _run(optimised, {"x": x})[0], _run(original, {"x": x})[0], rtol=1e-5, atol=1e-5
    )


def test_what_cannot_be_rewritten_exactly_stays() -> None:
    """A slope that is an input, or differs from pixel to pixel, is left alone."""
    assert "PRelu" in _operators(optimise(_prelu(np.ones((4, 1, 1)), constant=False)))
    assert "PRelu" in _operators(optimise(_prelu(np.ones((4, 8, 8)))))


def test_optimising_twice_changes_nothing() -> None:
    """The rewriting is idempotent and deterministic."""
    once = optimise(_prelu(np.full((4, 1, 1), 0.25)))
    assert optimise(once) == once


def test_bytes_that_are_no_model_are_refused() -> None:
    """A text file is not an ONNX model, and the error says so."""
    with pytest.raises(ModelError, match="not a valid ONNX"):
        optimise(b"not a model")


@pytest.mark.models
@pytest.mark.parametrize("name", REAL)
def test_the_real_networks_keep_their_answers(pack_dir: Path, name: str) -> None:
    """Each network of the pack gives the same outputs within 1e-5 of their range."""
    original = (pack_dir / "open" / f"{name}.onnx").read_bytes()
    value = onnx.ModelProto.FromString(original).graph.input[0]
    shape = [dim.dim_value or 3 for dim in value.type.tensor_type.shape.dim]
    scale = 255 if "minifasnet_v2_" in name or "v1se" in name or "reid" in name else 1
    x = np.random.default_rng(4).uniform(0, scale, shape).astype(np.float32)
    optimised = optimise(original)
    assert "PRelu" not in _operators(optimised)
    pairs = zip(_run(optimised, {value.name: x}), _run(original, {value.name: x}), strict=True)
    for ours, theirs in pairs:
        span = max(float(np.abs(theirs).max()), 1.0)
        assert float(np.abs(ours - theirs).max()) <= 1e-5 * span
