"""TensorFlow.js graph models to ONNX: a tiny network against numpy, the real ones by digest."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from verifier.errors import ModelError
from verifier.models.prepare import tfjs


def _text(value: str) -> dict[str, Any]:
    return {"s": base64.b64encode(value.encode()).decode()}


def _ints(*values: int) -> dict[str, Any]:
    return {"list": {"i": [str(value) for value in values]}}


def _tiny(*, fused: tuple[str, ...] = ("BiasAdd", "Prelu")) -> tuple[bytes, bytes]:
    """A 4×4×1 picture, 3×3 SAME convolution with stride 2 to two channels, flattened."""
    kernel = np.arange(18, dtype="<f2").reshape(3, 3, 1, 2)
    bias, slope = np.array([1, -300], "<f4"), np.array([0.5, 0.25], "<f4").reshape(1, 1, 2)
    window = {
        "strides": _ints(1, 2, 2, 1),
        "dilations": _ints(1, 1, 1, 1),
        "padding": _text("SAME"),
        "fused_ops": {"list": {"s": [_text(name)["s"] for name in fused]}},
    }
    size = {"shape": {"dim": [{"size": str(n)} for n in (-1, 4, 4, 1)]}}
    nodes = [
        {"name": "x", "op": "Placeholder", "attr": {"shape": size}},
        {"name": "c", "op": "_FusedConv2D", "input": ["x", "w", "b", "s"], "attr": window},
        {"name": "r", "op": "Reshape", "input": ["c", "t"]},
        {"name": "Identity", "op": "Identity", "input": ["r"]},
    ]
    weights = [
        {
            "name": "w",
            "shape": [3, 3, 1, 2],
            "dtype": "float32",
            "quantization": {"dtype": "float16"},
        },
        {"name": "b", "shape": [2], "dtype": "float32"},
        {"name": "s", "shape": [1, 1, 2], "dtype": "float32"},
        {"name": "t", "shape": [2], "dtype": "int32"},
    ]
    document = {"modelTopology": {"node": nodes}, "weightsManifest": [{"weights": weights}]}
    data = b"".join(
        [kernel.tobytes(), bias.tobytes(), slope.tobytes(), np.array([-1, 8], "<i4").tobytes()]
    )
    return json.dumps(document).encode(), data


def _by_hand(x: np.ndarray) -> np.ndarray:
    """The same in numpy, channels last: SAME padding puts the odd pixel at the end."""
    kernel = np.arange(18, dtype=np.float32).reshape(3, 3, 1, 2)
    padded = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
    out = np.zeros((len(x), 2, 2, 2), np.float32)
    for row in range(2):
        for column in range(2):
            patch = padded[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            out[:, row, column] = np.einsum("nhwc,hwco->no", patch, kernel)
    out += np.array([1, -300], np.float32)
    return np.where(out < 0, out * np.array([0.5, 0.25], np.float32), out).reshape(len(x), 8)


def test_a_tiny_network_computes_what_its_graph_says() -> None:
    """Asymmetric padding, float16 weights, fused PReLU and the order of a reshape are right."""
    model = tfjs.convert(*_tiny(), graph_name="tiny", outputs={"Identity": "y"})
    x = np.random.default_rng(1).normal(size=(3, 4, 4, 1)).astype(np.float32) * 5
    (y,) = ReferenceEvaluator(model).run(None, {"input": x})
    np.testing.assert_allclose(y, _by_hand(x), rtol=1e-5)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda text, data: (text.replace(b'"Reshape"', b'"Softmax"'), data), "Softmax"),
        (lambda text, data: (text, data[:-1]), "cut off"),
        (lambda text, data: (text, data + b"x"), "bytes"),
        (lambda text, data: (text[:-5], data), "incomplete"),
        (lambda text, data: (b"[]", data), "incomplete"),
        (lambda text, data: (text.replace(b'"float16"', b'"uint8"'), data), "uint8"),
    ],
)
def test_what_is_not_a_whole_graph_model_is_refused(spoil, reason) -> None:
    """Unknown operators, cut or surplus weights and damage each get their own reason."""
    text, data = spoil(*_tiny())
    with pytest.raises(ModelError, match=reason):
        tfjs.convert(text, data, graph_name="tiny", outputs={"Identity": "y"})


def test_unknown_fused_operations_are_refused() -> None:
    """A fused activation that is not known would be left out in silence otherwise."""
    with pytest.raises(ModelError, match="Relu6"):
        tfjs.convert(*_tiny(fused=("BiasAdd", "Relu6")), graph_name="t", outputs={"Identity": "y"})


@pytest.mark.models
@pytest.mark.parametrize(
    ("name", "graph", "outputs", "digest"),
    [
        (
            "facemesh",
            "mediapipe_facemesh",
            {"Identity_2": "landmarks", "Identity_1": "face_flag", "Identity": "contours"},
            "89bc4c80e092f4c0d62e65111426d0aa61127a6c6e6bc44af97c74b44fd83c17",
        ),
        (
            "iris",
            "mediapipe_iris",
            {"Identity": "eye_iris"},
            "aa16efc7cbc1277c5a83949a5f7119d24e20a3f960816d445475da3a7d295bd9",
        ),
    ],
)
def test_the_meshes_equal_their_pinned_digests(
    pack_dir: Path, name, graph, outputs, digest
) -> None:
    """The conversion of the real graph models gives the manifest's files byte for byte."""
    source = pack_dir / "upstream" / name
    model = tfjs.convert(
        source.with_suffix(".json").read_bytes(),
        source.with_suffix(".bin").read_bytes(),
        graph_name=graph,
        outputs=outputs,
    )
    assert hashlib.sha256(model.SerializeToString()).hexdigest() == digest
