"""Normalisation folded into the first convolution, so that uint8 pictures go in.

A batch of bytes is a quarter of one of float32, which counts where it is copied to a GPU; on a CPU
it saves 1 to 18 % of a network's time (docs/adr/0024-bytes-in-and-float16.md). Scale and order of
colours go into the weights. A mean goes into the bias where the convolution does not pad; where it
does, the zeros of the border stand for the mean, so it is subtracted before (a padding with the
mean would cost as much). Where no convolution comes first, the same steps stand at the beginning
of the graph. All of it is exact in real numbers, at the borders too.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from verifier.errors import ModelError
from verifier.models.pixels import Pixels
from verifier.models.prepare.optimise import own_constants

_TO_NCHW: Final = [0, 3, 1, 2]
_BGR_TO_RGB: Final = [2, 1, 0]


def fold_pixels(model: onnx.ModelProto, pixels: Pixels) -> onnx.ModelProto:
    """Return a copy of `model` that takes (batch, H, W, 3) uint8 BGR and gives the same numbers.

    The input keeps its name. Raises `ModelError` where it is no float32 picture of three channels.
    """
    folded = onnx.ModelProto()
    folded.CopyFrom(model)
    own_constants(folded)
    _Folding(folded.graph, pixels).fold()
    return folded


class _Folding:
    def __init__(self, graph: onnx.GraphProto, pixels: Pixels) -> None:
        self._graph = graph
        self._pixels = pixels
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._uses = Counter(name for node in graph.node for name in node.input)
        self._uses.update(value.name for value in graph.output)
        self._input = self._picture()
        self._name = self._input.name
        self._added: list[onnx.NodeProto] = []

    def fold(self) -> None:
        """Change the graph."""
        numbers = f"{self._name}/numbers"
        convolution = self._first_convolution()
        for node in self._graph.node:
            for index, name in enumerate(node.input):
                if name == self._name:
                    node.input[index] = numbers
        bytes_first = self._name
        if not self._pixels.nhwc:
            bytes_first = self._add("Transpose", [bytes_first], "nchw", perm=_TO_NCHW)
        left = self._pixels if convolution is None else self._into_weights(convolution)
        last = self._add("Cast", [bytes_first], "float", to=TensorProto.FLOAT)
        if left.mean:
            last = self._add("Sub", [last, self._constant("mean", left.mean)], "centred")
        if left.scale != 1:
            last = self._add("Mul", [last, self._constant("scale", left.scale)], "scaled")
        if left.rgb:
            order = self._constant("order", np.array(_BGR_TO_RGB, np.int64))
            last = self._add("Gather", [last, order], "rgb", axis=3 if left.nhwc else 1)
        self._added[-1].output[0] = numbers
        self._write()

    def _picture(self) -> onnx.ValueInfoProto:
        """Find the one input and check that it is what `pixels` say."""
        inputs: list[onnx.ValueInfoProto] = list(self._graph.input)
        kind = inputs[0].type.tensor_type if len(inputs) == 1 else None
        channels = 3 if self._pixels.nhwc else 1
        if (
            kind is None
            or kind.elem_type != TensorProto.FLOAT
            or len(kind.shape.dim) != 4
            or kind.shape.dim[channels].dim_value not in {0, 3}
        ):
            raise ModelError(
                "The graph does not take one float32 picture of three channels"
                f" ({'N, H, W, 3' if self._pixels.nhwc else 'N, 3, H, W'}).",
                remedy="Use the file that the manifest names.",
            )
        return inputs[0]

    def _first_convolution(self) -> onnx.NodeProto | None:
        """Find the convolution that alone reads the picture, and whose weights may be changed."""
        node = self._reader(self._name)
        if self._pixels.nhwc:
            turned = node is not None and node.op_type == "Transpose"
            if node is None or not turned or _integers(node, "perm") != _TO_NCHW:
                return None
            node = self._reader(node.output[0])
        if node is None or node.op_type != "Conv" or _integers(node, "group") not in ([], [1]):
            return None
        return node if self._own(node.input[1]) else None

    def _reader(self, name: str) -> onnx.NodeProto | None:
        if self._uses[name] != 1:
            return None
        return next((node for node in self._graph.node if name in node.input), None)

    def _own(self, name: str) -> bool:
        """Whether a constant is float32 and read once."""
        tensor = self._constants.get(name)
        return (
            tensor is not None and tensor.data_type == TensorProto.FLOAT and self._uses[name] == 1
        )

    def _into_weights(self, node: onnx.NodeProto) -> Pixels:
        """Change the weights, and the bias where that is right; gives what is left to do."""
        tensor = self._constants[node.input[1]]
        weights = numpy_helper.to_array(tensor).astype(np.float64) * self._pixels.scale
        mean = self._pixels.mean
        if mean and self._takes_bias(node):
            self._shift_bias(node, -mean * weights.sum(axis=(1, 2, 3)))
            mean = 0.0
        if self._pixels.rgb:
            weights = weights[:, _BGR_TO_RGB]
        changed = np.ascontiguousarray(weights, dtype=np.float32)
        tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))
        return Pixels(rgb=False, mean=mean, scale=1.0, nhwc=self._pixels.nhwc)

    def _takes_bias(self, node: onnx.NodeProto) -> bool:
        automatic = [a.s for a in node.attribute if a.name == "auto_pad"]
        pads = any(_integers(node, "pads")) or automatic not in ([], [b"NOTSET"], [b"VALID"])
        return not pads and (len(node.input) < 3 or self._own(node.input[2]))

    def _shift_bias(self, node: onnx.NodeProto, shift: NDArray[np.float64]) -> None:
        if len(node.input) < 3:
            name = f"{node.output[0]}/bias"
            node.input.append(name)
            self._graph.initializer.append(numpy_helper.from_array(shift.astype(np.float32), name))
            return
        tensor = self._constants[node.input[2]]
        bias = (numpy_helper.to_array(tensor) + shift).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(bias, tensor.name))

    def _add(self, kind: str, inputs: list[str], what: str, **attributes: Any) -> str:
        name = f"{self._name}/{what}"
        self._added.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def _constant(self, what: str, value: float | NDArray[np.int64]) -> str:
        array = value if isinstance(value, np.ndarray) else np.array(value, np.float32)
        name = f"{self._name}/{what}"
        tensor = numpy_helper.from_array(array, name)
        # A node, not an initialiser: files before IR version 4 want those among the inputs.
        self._added.append(helper.make_node("Constant", [], [name], name=name, value=tensor))
        return name

    def _write(self) -> None:
        kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in self._graph.node]
        del self._graph.node[:]
        self._graph.node.extend([*self._added, *kept])
        kind = self._input.type.tensor_type
        kind.elem_type = TensorProto.UINT8
        if not self._pixels.nhwc:
            batch, _, height, width = (
                onnx.TensorShapeProto.Dimension.FromString(dim.SerializeToString())
                for dim in kind.shape.dim
            )
            three = onnx.TensorShapeProto.Dimension(dim_value=3)
            del kind.shape.dim[:]
            kind.shape.dim.extend([batch, height, width, three])


def _integers(node: onnx.NodeProto, name: str) -> list[int]:
    """Read an attribute of integers; an absent one is empty."""
    for attribute in node.attribute:
        if attribute.name == name:
            return list(attribute.ints) or [attribute.i]
    return []
