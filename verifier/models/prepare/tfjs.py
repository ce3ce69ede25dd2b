"""TensorFlow.js graph models (JSON + BIN) to ONNX, for the operators of FaceMesh and iris.

The JSON holds the topology (node definitions, attribute strings in base64) and a weights
manifest; weights follow one another in the BIN, float16-quantised ones are widened. Outside the
network stays NHWC, inside it becomes NCHW. `SAME` padding is asymmetric (TensorFlow puts the odd
pixel at the end) and is written out; an NHWC transpose stands before a reshape of a tensor that
is larger than 1×1, where the order of elements matters. Nothing of the files is executed.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from verifier.errors import ModelError

OPSET = 13
IR_VERSION = 8
_DTYPES: dict[str, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "int32": np.dtype("<i4"),
    "float16": np.dtype("<f2"),
}


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A value inside the graph; `spatial` is (height, width), None once flattened."""

    name: str
    channels: int
    spatial: tuple[int, int] | None


def _weights(manifest: list[dict[str, Any]], data: bytes) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    offset = 0
    for group in manifest:
        for entry in group["weights"]:
            stored = entry.get("quantization", {}).get("dtype", entry["dtype"])
            if stored not in _DTYPES:
                raise ModelError(f"Weight {entry['name']} is stored as {stored}.")
            count = int(np.prod(entry["shape"], dtype=np.int64))
            size = count * _DTYPES[stored].itemsize
            if offset + size > len(data):
                raise ModelError(
                    f"Weight {entry['name']} ends at byte {offset + size} of a "
                    f"{len(data)}-byte file: the download was cut off."
                )
            array = np.frombuffer(data, _DTYPES[stored], count=count, offset=offset)
            arrays[entry["name"]] = array.reshape(entry["shape"]).astype(_DTYPES[entry["dtype"]])
            offset += size
    if offset != len(data):
        raise ModelError(f"The weights use {offset} of {len(data)} bytes.")
    return arrays


def _strings(node: Mapping[str, Any], attribute: str) -> list[str]:
    value = node["attr"][attribute]
    raw = [value["s"]] if "s" in value else value["list"].get("s", [])
    return [base64.b64decode(text).decode() for text in raw]


def _pair(node: Mapping[str, Any], attribute: str) -> list[int]:
    """Height and width of a TensorFlow (1, height, width, 1) attribute."""
    return [int(value) for value in node["attr"][attribute]["list"]["i"]][1:3]


class _Builder:
    def __init__(self, weights: dict[str, NDArray[Any]], outputs: Mapping[str, str]) -> None:
        self.weights = weights
        self.outputs = outputs
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.tensors: dict[str, _Tensor] = {}
        self.results: dict[str, tuple[str, int]] = {}
        self.counter = 0

    def fresh(self, kind: str) -> str:
        self.counter += 1
        return f"{kind}_{self.counter}"

    def constant(self, kind: str, array: NDArray[Any]) -> str:
        name = self.fresh(kind)
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def emit(self, kind: str, op: str, inputs: list[str], **attributes: Any) -> str:
        name = self.fresh(kind)
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def placeholder(self, node: Mapping[str, Any]) -> list[int]:
        sizes = [int(dim["size"]) for dim in node["attr"]["shape"]["shape"]["dim"]]
        name = self.emit("nchw", "Transpose", ["input"], perm=[0, 3, 1, 2])
        self.tensors[node["name"]] = _Tensor(name, sizes[3], (sizes[1], sizes[2]))
        return sizes[1:]

    def _window(
        self, node: Mapping[str, Any], source: _Tensor, kernel: list[int]
    ) -> tuple[list[int], list[int], tuple[int, int]]:
        """Strides, ONNX pads and the resulting (height, width)."""
        if source.spatial is None:
            raise ModelError(f"{node['name']} works on a flattened tensor.")
        strides = _pair(node, "strides")
        padding = _strings(node, "padding")[0]
        pads = [0, 0, 0, 0]
        out = [0, 0]
        for axis, size in enumerate(source.spatial):
            if padding == "SAME":
                out[axis] = -(-size // strides[axis])
                total = max((out[axis] - 1) * strides[axis] + kernel[axis] - size, 0)
                pads[axis], pads[axis + 2] = total // 2, total - total // 2
            elif padding == "VALID":
                out[axis] = (size - kernel[axis]) // strides[axis] + 1
            else:
                raise ModelError(f"{node['name']}: padding {padding} is not supported.")
        return strides, pads, (out[0], out[1])

    def convolution(self, node: Mapping[str, Any], *, depthwise: bool) -> None:
        source = self.tensors[node["input"][0]]
        weights = self.weights[node["input"][1]]
        kernel = list(weights.shape[:2])
        if _pair(node, "dilations") != [1, 1]:
            raise ModelError(f"{node['name']}: dilations other than 1 are not supported.")
        if depthwise:  # (kh, kw, in, multiplier) -> (in × multiplier, 1, kh, kw)
            group = weights.shape[2]
            turned = weights.transpose(2, 3, 0, 1).reshape(-1, 1, *kernel)
        else:  # (kh, kw, in, out) -> (out, in, kh, kw)
            group, turned = 1, weights.transpose(3, 2, 0, 1)
        fused = [] if depthwise else _strings(node, "fused_ops")
        if fused not in ([], ["BiasAdd"], ["BiasAdd", "Prelu"]):
            raise ModelError(f"{node['name']}: fused operations {fused} are not supported.")
        strides, pads, spatial = self._window(node, source, kernel)
        inputs = [source.name, self.constant("w", turned)]
        if fused:
            inputs.append(self.constant("b", self.weights[node["input"][2]]))
        name = self.emit(
            "conv",
            "Conv",
            inputs,
            group=group,
            kernel_shape=kernel,
            strides=strides,
            pads=pads,
            dilations=[1, 1],
        )
        if len(fused) == 2:
            name = self._prelu(name, node["input"][3])
        self.tensors[node["name"]] = _Tensor(name, turned.shape[0], spatial)

    def _prelu(self, source: str, weight: str) -> str:
        slope = self.constant("slope", self.weights[weight].reshape(-1, 1, 1))
        return self.emit("prelu", "PRelu", [source, slope])

    def prelu(self, node: Mapping[str, Any]) -> None:
        source = self.tensors[node["input"][0]]
        name = self._prelu(source.name, node["input"][1])
        self.tensors[node["name"]] = _Tensor(name, source.channels, source.spatial)

    def add(self, node: Mapping[str, Any]) -> None:
        left, right = (self.tensors[name] for name in node["input"])
        name = self.emit("add", "Add", [left.name, right.name])
        self.tensors[node["name"]] = _Tensor(name, left.channels, left.spatial)

    def max_pool(self, node: Mapping[str, Any]) -> None:
        source = self.tensors[node["input"][0]]
        kernel = _pair(node, "ksize")
        strides, pads, spatial = self._window(node, source, kernel)
        name = self.emit(
            "maxpool", "MaxPool", [source.name], kernel_shape=kernel, strides=strides, pads=pads
        )
        self.tensors[node["name"]] = _Tensor(name, source.channels, spatial)

    def pad(self, node: Mapping[str, Any]) -> None:
        source = self.tensors[node["input"][0]]
        (n0, n1), (h0, h1), (w0, w1), (c0, c1) = self.weights[node["input"][1]].tolist()
        if source.spatial is None:
            raise ModelError(f"{node['name']} pads a flattened tensor.")
        pads = self.constant("pads", np.array([n0, c0, h0, w0, n1, c1, h1, w1], np.int64))
        name = self.emit("pad", "Pad", [source.name, pads], mode="constant")
        height, width = source.spatial
        self.tensors[node["name"]] = _Tensor(
            name, source.channels + c0 + c1, (height + h0 + h1, width + w0 + w1)
        )

    def sigmoid(self, node: Mapping[str, Any]) -> None:
        source = self.tensors[node["input"][0]]
        name = self.emit("sigmoid", "Sigmoid", [source.name])
        self.tensors[node["name"]] = _Tensor(name, source.channels, source.spatial)

    def concat(self, node: Mapping[str, Any]) -> None:
        *names, axis = node["input"]
        if int(self.weights[axis]) not in (3, -1):
            raise ModelError(f"{node['name']}: only channels can be joined.")
        parts = [self.tensors[name] for name in names]
        name = self.emit("concat", "Concat", [part.name for part in parts], axis=1)
        channels = sum(part.channels for part in parts)
        self.tensors[node["name"]] = _Tensor(name, channels, parts[0].spatial)

    def _flatten(self, source: _Tensor, shape: list[int]) -> _Tensor:
        if source.spatial is None:
            raise ModelError(f"{source.name} is flattened twice.")
        name = source.name
        if source.spatial != (1, 1):
            name = self.emit("nhwc", "Transpose", [name], perm=[0, 2, 3, 1])
        target = self.constant("shape", np.array(shape, np.int64))
        length = source.channels * source.spatial[0] * source.spatial[1]
        return _Tensor(self.emit("reshape", "Reshape", [name, target]), length, None)

    def reshape(self, node: Mapping[str, Any]) -> None:
        shape = [int(value) for value in self.weights[node["input"][1]].tolist()]
        self.tensors[node["name"]] = self._flatten(self.tensors[node["input"][0]], shape)

    def identity(self, node: Mapping[str, Any]) -> None:
        """Give the public name to the node behind a result of the graph."""
        source = self.tensors[node["input"][0]]
        if source.spatial is not None:
            source = self._flatten(source, [-1, source.channels])
        public = self.outputs[node["name"]]
        producer = next(n for n in self.nodes if n.output[0] == source.name)
        producer.output[0] = public
        self.results[public] = (public, source.channels)


def convert(
    topology: bytes, data: bytes, *, graph_name: str, outputs: Mapping[str, str]
) -> onnx.ModelProto:
    """Turn a TensorFlow.js graph model into ONNX with a dynamic batch axis.

    `outputs` maps the graph's Identity nodes to public names, in the order of the results.
    Raises ModelError on anything that is not a whole, supported graph model.
    """
    try:
        document = json.loads(topology)
        builder = _Builder(_weights(document["weightsManifest"], data), outputs)
        size = _walk(builder, document["modelTopology"]["node"])
        results = [builder.results[public] for public in outputs.values()]
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise ModelError(f"The graph model is incomplete: {error!r}.") from error
    graph = helper.make_graph(
        builder.nodes,
        graph_name,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", *size])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", k]) for n, k in results],
        builder.initializers,
    )
    model = helper.make_model(
        graph, producer_name="tfjs2onnx", opset_imports=[helper.make_opsetid("", OPSET)]
    )
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    return model


def _walk(builder: _Builder, nodes: list[dict[str, Any]]) -> list[int]:
    """Emit every node in the file's order; return the input's (height, width, channels)."""
    size: list[int] = []
    operations = {
        "DepthwiseConv2dNative": lambda node: builder.convolution(node, depthwise=True),
        "_FusedConv2D": lambda node: builder.convolution(node, depthwise=False),
        "Prelu": builder.prelu,
        "AddV2": builder.add,
        "MaxPool": builder.max_pool,
        "Pad": builder.pad,
        "Sigmoid": builder.sigmoid,
        "ConcatV2": builder.concat,
        "Reshape": builder.reshape,
        "Identity": builder.identity,
    }
    for node in nodes:
        if node["op"] == "Const":
            continue
        if node["op"] == "Placeholder":
            size = builder.placeholder(node)
        elif node["op"] in operations:
            operations[node["op"]](node)
        else:
            raise ModelError(f"{node['name']} is a {node['op']}, which is not supported.")
    return size
