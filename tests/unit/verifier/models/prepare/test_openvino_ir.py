"""OpenVINO IR to ONNX: a tiny network against numpy, the real one against its pinned digest."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from verifier.errors import ModelError
from verifier.models.prepare import openvino_ir


def _layer(number: int, kind: str, data: str = "") -> str:
    return f'<layer id="{number}" name="l{number}" type="{kind}" version="opset1">{data}</layer>'


def _edge(source: int, target: int, port: int) -> str:
    return f'<edge from-layer="{source}" from-port="0" to-layer="{target}" to-port="{port}"/>'


def _tiny() -> tuple[bytes, bytes]:
    """Data × 2 + bias, PReLU with slope 0.5; the constants are float16."""
    weights = np.array([2, 10, -10, 0.5], "<f2").tobytes()
    layers = [
        _layer(0, "Parameter", '<data shape="1,2,1,1" element_type="f32"/>'),
        _layer(1, "Const", '<data element_type="f16" shape="1" offset="0" size="2"/>'),
        _layer(2, "Convert", '<data destination_type="f32"/>'),
        _layer(3, "Multiply", '<data auto_broadcast="numpy"/>'),
        _layer(4, "Const", '<data element_type="f16" shape="1,2,1,1" offset="2" size="4"/>'),
        _layer(5, "Add", '<data auto_broadcast="numpy"/>'),
        _layer(6, "Const", '<data element_type="f16" shape="1" offset="6" size="2"/>'),
        _layer(7, "PReLU"),
        _layer(8, "Result"),
    ]
    wires = [(1, 2, 0), (0, 3, 0), (2, 3, 1), (3, 5, 0), (4, 5, 1), (5, 7, 0), (6, 7, 1), (7, 8, 0)]
    edges = "".join(_edge(*wire) for wire in wires)
    xml = (
        f'<net name="t" version="11"><layers>{"".join(layers)}</layers><edges>{edges}</edges></net>'
    )
    return xml.encode(), weights


def test_a_tiny_network_computes_what_its_ir_says() -> None:
    """Multiply, Add and PReLU with float16 constants equal the same in numpy, for any batch."""
    model = openvino_ir.convert(*_tiny(), output_shape=(2, 1, 1))
    x = np.array([[1, 2], [3, -4], [-50, 50]], np.float32).reshape(3, 2, 1, 1)
    (y,) = ReferenceEvaluator(model).run(None, {"data": x})
    expected = x * 2 + np.array([10, -10], np.float32).reshape(1, 2, 1, 1)
    np.testing.assert_allclose(y, np.where(expected < 0, 0.5 * expected, expected))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda xml, data: (xml.replace(b"PReLU", b"Mish"), data), "Mish"),
        (lambda xml, data: (xml, data[:-2]), "byte"),
        (lambda xml, data: (b"<!DOCTYPE x>" + xml, data), "document type"),
        (lambda xml, data: (xml[:-20], data), "well-formed"),
        (lambda xml, data: (xml.replace(b'offset="2"', b'offset="-2"'), data), "bytes"),
        (lambda xml, data: (b"<html></html>", data), "not an OpenVINO IR"),
        (lambda xml, data: (xml.replace(b'shape="1,2,1,1" offset', b"offset"), data), "incomplete"),
    ],
)
def test_what_is_not_a_whole_supported_ir_is_refused(spoil, reason) -> None:
    """Unknown layers, cut weights, declarations and damage each get their own reason."""
    xml, data = spoil(*_tiny())
    with pytest.raises(ModelError, match=reason):
        openvino_ir.convert(xml, data, output_shape=(2, 1, 1))


@pytest.mark.models
def test_the_embedder_equals_its_pinned_digest(pack_dir: Path) -> None:
    """The conversion of the real IR gives the manifest's file byte for byte."""
    source = pack_dir / "upstream" / "face-reidentification-retail-0095"
    model = openvino_ir.convert(
        source.with_suffix(".xml").read_bytes(),
        source.with_suffix(".bin").read_bytes(),
        output_shape=(256, 1, 1),
    )
    assert hashlib.sha256(model.SerializeToString()).hexdigest() == (
        "ddff604b90975860f9442a5dbfbdc3bd6e716591f7e97dd401ab969c97cd8531"
    )
