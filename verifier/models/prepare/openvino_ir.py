"""OpenVINO IR (version 10 or 11, XML + BIN) to ONNX, for the operators that face networks use.

The XML lists layers and edges; constants lie in the BIN by offset and size, float16 behind
`Convert` layers. Layers come in topological order and keep it. Source of the format: OpenVINO's
documentation of *IR* and its operation set 1. Nothing of the files is ever executed; the XML
parser refuses document type declarations, so that no entity can be expanded.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from verifier.errors import ModelError

ELEMENT_TYPES: dict[str, np.dtype[Any]] = {
    "f16": np.dtype("<f2"),
    "f32": np.dtype("<f4"),
}
OPSET = 13
IR_VERSION = 8


@dataclass(frozen=True, slots=True)
class _Layer:
    id: int
    type: str
    data: dict[str, str]
    inputs: tuple[int, ...]
    """Ids of the producing layers, in port order."""


def _ints(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part.strip()]


def _parse(xml: bytes) -> list[_Layer]:
    if b"<!DOCTYPE" in xml or b"<!ENTITY" in xml:
        raise ModelError("The IR file declares a document type; a model file never does.")
    try:
        root = ET.fromstring(xml)  # noqa: S314 - declarations are refused above
    except ET.ParseError as error:
        raise ModelError(f"The IR file is not well-formed XML: {error}.") from error
    layers, edges = root.find("layers"), root.find("edges")
    if root.tag != "net" or layers is None or edges is None:
        raise ModelError("The XML file is not an OpenVINO IR: <net>, <layers> or <edges> missing.")
    sources: dict[int, list[tuple[int, int]]] = {}
    for edge in edges:
        sources.setdefault(int(edge.attrib["to-layer"]), []).append(
            (int(edge.attrib["to-port"]), int(edge.attrib["from-layer"]))
        )
    parsed = []
    for layer in layers:
        data = layer.find("data")
        number = int(layer.attrib["id"])
        parsed.append(
            _Layer(
                id=number,
                type=layer.attrib["type"],
                data=dict(data.attrib) if data is not None else {},
                inputs=tuple(source for _, source in sorted(sources.get(number, []))),
            )
        )
    return parsed


def _constant(layer: _Layer, weights: bytes) -> NDArray[np.float32]:
    kind = layer.data["element_type"]
    if kind not in ELEMENT_TYPES:
        raise ModelError(f"Constant of layer {layer.id} has element type {kind}, not f16 or f32.")
    dtype = ELEMENT_TYPES[kind]
    shape = _ints(layer.data["shape"])
    start, size = int(layer.data["offset"]), int(layer.data["size"])
    if size != int(np.prod(shape)) * dtype.itemsize or start < 0 or start + size > len(weights):
        raise ModelError(
            f"Constant of layer {layer.id} asks for bytes {start} to {start + size} "
            f"of a {len(weights)}-byte file, for shape {shape}."
        )
    array = np.frombuffer(weights, dtype, count=int(np.prod(shape)), offset=start)
    return array.reshape(shape).astype(np.float32)


class _Builder:
    def __init__(self, weights: bytes) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.constants: dict[int, NDArray[np.float32]] = {}
        self.names: dict[int, str] = {}
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    def tensor(self, layer: _Layer, array: NDArray[np.float32]) -> str:
        name = f"c{layer.id}_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def operand(self, layer: _Layer, index: int) -> str:
        source = layer.inputs[index]
        if source in self.constants:
            return self.tensor(layer, self.constants[source])
        return self.names[source]

    def emit(self, layer: _Layer, op: str, inputs: list[str], **attributes: Any) -> None:
        name = f"t{layer.id}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        self.names[layer.id] = name


def _parameter(builder: _Builder, layer: _Layer) -> None:
    shape: list[int | str] = ["N", *_ints(layer.data["shape"])[1:]]
    builder.names[layer.id] = "data"
    builder.inputs.append(helper.make_tensor_value_info("data", TensorProto.FLOAT, shape))


def _result(builder: _Builder, layer: _Layer) -> None:
    builder.names[layer.id] = builder.names[layer.inputs[0]]


def _binary(op: str) -> Callable[[_Builder, _Layer], None]:
    def emit(builder: _Builder, layer: _Layer) -> None:
        if layer.data.get("auto_broadcast", "numpy") != "numpy":
            raise ModelError(f"Layer {layer.id}: broadcasting other than numpy's is not supported.")
        builder.emit(layer, op, [builder.operand(layer, 0), builder.operand(layer, 1)])

    return emit


def _sigmoid(builder: _Builder, layer: _Layer) -> None:
    builder.emit(layer, "Sigmoid", [builder.operand(layer, 0)])


def _explicit_pads(layer: _Layer) -> list[int]:
    if layer.data.get("auto_pad", "explicit") != "explicit":
        raise ModelError(f"Layer {layer.id}: only explicit padding is supported.")
    return _ints(layer.data["pads_begin"]) + _ints(layer.data["pads_end"])


def _convolution(builder: _Builder, layer: _Layer) -> None:
    weights = builder.constants.get(layer.inputs[1])
    if weights is None:
        raise ModelError(f"Layer {layer.id}: the weights of a convolution have to be constant.")
    group = 1
    if layer.type == "GroupConvolution":  # (G, out/G, in/G, kh, kw) -> (out, in/G, kh, kw)
        group = weights.shape[0]
        weights = weights.reshape(group * weights.shape[1], *weights.shape[2:])
    data = builder.operand(layer, 0)
    builder.emit(
        layer,
        "Conv",
        [data, builder.tensor(layer, weights)],
        group=group,
        pads=_explicit_pads(layer),
        strides=_ints(layer.data["strides"]),
        dilations=_ints(layer.data["dilations"]),
    )


def _prelu(builder: _Builder, layer: _Layer) -> None:
    slope = builder.constants.get(layer.inputs[1])
    if slope is None:
        raise ModelError(f"Layer {layer.id}: the slope of a PReLU has to be constant.")
    data = builder.operand(layer, 0)
    builder.emit(layer, "PRelu", [data, builder.tensor(layer, slope.reshape(-1, 1, 1))])


def _average_pool(builder: _Builder, layer: _Layer) -> None:
    if layer.data.get("rounding_type", "floor") != "floor":
        raise ModelError(f"Layer {layer.id}: pooling rounds down here, not up.")
    builder.emit(
        layer,
        "AveragePool",
        [builder.operand(layer, 0)],
        kernel_shape=_ints(layer.data["kernel"]),
        pads=_explicit_pads(layer),
        strides=_ints(layer.data["strides"]),
        count_include_pad=0 if layer.data["exclude-pad"] == "true" else 1,
    )


_OPERATIONS: dict[str, Callable[[_Builder, _Layer], None]] = {
    "Parameter": _parameter,
    "Result": _result,
    "Add": _binary("Add"),
    "Multiply": _binary("Mul"),
    "Sigmoid": _sigmoid,
    "Convolution": _convolution,
    "GroupConvolution": _convolution,
    "PReLU": _prelu,
    "AvgPool": _average_pool,
}


def convert(xml: bytes, weights: bytes, *, output_shape: tuple[int, ...]) -> onnx.ModelProto:
    """Turn an IR into ONNX with a dynamic batch axis.

    `output_shape` is that of one sample of the single result, without the batch axis.
    Raises ModelError on anything that is not a whole, supported IR.
    """
    builder = _Builder(weights)
    try:
        for layer in _parse(xml):
            if layer.type == "Const":
                builder.constants[layer.id] = _constant(layer, weights)
            elif layer.type == "Convert" and layer.inputs[0] in builder.constants:
                if layer.data["destination_type"] != "f32":
                    raise ModelError(f"Layer {layer.id} converts to something else than f32.")
                builder.constants[layer.id] = builder.constants[layer.inputs[0]]
            elif layer.type in _OPERATIONS:
                _OPERATIONS[layer.type](builder, layer)
                if layer.type == "Result":
                    builder.outputs.append(
                        helper.make_tensor_value_info(
                            builder.names[layer.id], TensorProto.FLOAT, ["N", *output_shape]
                        )
                    )
            else:
                raise ModelError(f"Layer {layer.id} is a {layer.type}, which is not supported.")
    except (KeyError, IndexError, ValueError) as error:
        raise ModelError(f"The IR file is incomplete or contradicts itself: {error!r}.") from error
    graph = helper.make_graph(
        builder.nodes, "g", builder.inputs, builder.outputs, builder.initializers
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    return model
