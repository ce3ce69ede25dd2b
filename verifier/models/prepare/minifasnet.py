"""MiniFASNet state dictionaries to ONNX: the structure is read off the names of the weights.

Blocks: convolution, batch normalisation, PReLU; depthwise residual units of three such (the last
without PReLU), some with a squeeze-and-excitation unit; then a linear layer, batch normalisation
and a second linear layer on 512 features. Batch normalisation is folded into the convolution
before it, in float64 and rounded once, so that every machine makes the same bytes. PyTorch's
exporter folds in float32 with the square root of its machine's vector library: the file that was
prepared that way (first digest of the manifest) differs in the last bit of some folded weights
and in nothing else; nodes and values are named as the exporter names them.
Source of the structure: minivision-ai/Silent-Face-Anti-Spoofing, `src/model_lib/MiniFASNet.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from verifier.errors import ModelError

OPSET = 17
IR_VERSION = 8
BN_EPSILON = 1e-5  # torch.nn.BatchNorm2d's default
BN_MOMENTUM = 0.9  # 1 - torch's 0.1, as ONNX counts it
SIDE = 80
CLASSES = 3
# The units that halve the picture; all others keep its size.
STRIDE_TWO = ("conv1", "conv_23.conv_dw", "conv_34.conv_dw", "conv_45.conv_dw")
# Where the exporter's counter for unnamed values stood; fixed by the length of the network.
FIRST_VALUE = {49: 560, 55: 620}
EXPORTER = ("pytorch", "2.13.0")


class _Builder:
    def __init__(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.state = {name.removeprefix("module."): array for name, array in state.items()}
        self.convolutions = sum(1 for array in self.state.values() if array.ndim == 4)
        if self.convolutions not in FIRST_VALUE:
            raise ModelError(
                f"{self.convolutions} convolutions: neither MiniFASNetV2 (49) nor V1SE (55)."
            )
        self.first = FIRST_VALUE[self.convolutions]
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.slopes: list[onnx.TensorProto] = []
        self.tail: list[onnx.TensorProto] = []

    def emit(self, path: str, op: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{path}/{op}"
        output = f"{name}_output_0"
        self.nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    def folded(self, conv: str, norm: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weights and bias of a convolution with the batch normalisation behind it folded in."""
        state = self.state
        variance, gamma, beta, mean = (
            state[f"{norm}.{part}"].astype(np.float64)
            for part in ("running_var", "weight", "bias", "running_mean")
        )
        scale = gamma / np.sqrt(variance + BN_EPSILON)
        weights = state[f"{conv}.weight"] * scale[:, None, None, None]
        bias = beta - mean * scale
        return weights.astype(np.float32), bias.astype(np.float32)

    def convolution(self, source: str, path: str, unit: str, conv: str, norm: str) -> str:
        weights, bias = self.folded(conv, norm)
        number = self.first + 3 * (len(self.weights) // 2)
        names = [f"onnx::Conv_{number}", f"onnx::Conv_{number + 1}"]
        for name, array in zip(names, (weights, bias), strict=True):
            self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        kernel = list(weights.shape[2:])
        pad = 1 if kernel == [3, 3] else 0
        stride = 2 if unit in STRIDE_TWO else 1
        depthwise = weights.shape[1] == 1
        return self.emit(
            path,
            "Conv",
            [source, *names],
            dilations=[1, 1],
            group=weights.shape[0] if depthwise else 1,
            kernel_shape=kernel,
            pads=[pad] * 4,
            strides=[stride, stride],
        )

    def block(self, source: str, unit: str, path: str) -> str:
        """Convolution, batch normalisation and, where it has one, PReLU."""
        value = self.convolution(source, f"{path}/conv", unit, f"{unit}.conv", f"{unit}.bn")
        if f"{unit}.prelu.weight" not in self.state:
            return value
        number = self.first + 3 * self.convolutions - 1 + len(self.slopes)
        name = f"onnx::PRelu_{number}"
        slope = self.state[f"{unit}.prelu.weight"].reshape(-1, 1, 1)
        self.slopes.append(numpy_helper.from_array(np.ascontiguousarray(slope), name))
        return self.emit(f"{path}/prelu", "PRelu", [value, name])

    def depthwise_unit(self, source: str, unit: str, path: str, *, residual: bool) -> str:
        value = source
        for part in ("conv", "conv_dw", "project"):
            value = self.block(value, f"{unit}.{part}", f"{path}/{part}")
        if f"{unit}.se_module.fc1.weight" in self.state:
            value = self.squeeze_excite(value, f"{unit}.se_module", f"{path}/se_module")
        return self.emit(path, "Add", [source, value]) if residual else value

    def squeeze_excite(self, source: str, unit: str, path: str) -> str:
        value = self.emit(f"{path}/avg_pool", "GlobalAveragePool", [source])
        value = self.convolution(value, f"{path}/fc1", unit, f"{unit}.fc1", f"{unit}.bn1")
        value = self.emit(f"{path}/relu", "Relu", [value])
        value = self.convolution(value, f"{path}/fc2", unit, f"{unit}.fc2", f"{unit}.bn2")
        value = self.emit(f"{path}/sigmoid", "Sigmoid", [value])
        return self.emit(path, "Mul", [source, value])

    def residual_stage(self, source: str, stage: str) -> str:
        value, index = source, 0
        while f"{stage}.model.{index}.conv.conv.weight" in self.state:
            unit, path = f"{stage}.model.{index}", f"/{stage}/model/model.{index}"
            value = self.depthwise_unit(value, unit, path, residual=True)
            index += 1
        if index == 0:
            raise ModelError(f"Stage {stage} has no units.")
        return value

    def _constant(self, name: str, output: str, value: NDArray[np.int64]) -> str:
        tensor = numpy_helper.from_array(value)
        self.nodes.append(helper.make_node("Constant", [], [output], name=name, value=tensor))
        return output

    def flatten(self, source: str) -> str:
        """(N, 512, 1, 1) -> (N, 512), as `view(size(0), -1)` is exported."""
        path = "/conv_6_flatten"
        shape = self.emit(path, "Shape", [source])
        zero = self._constant(
            f"{path}/Constant", f"{path}/Constant_output_0", np.array(0, np.int64)
        )
        batch = self.emit(path, "Gather", [shape, zero], axis=0)
        axes = self._constant(
            f"Constant_{len(self.nodes) + 3}",
            f"onnx::Unsqueeze_{self.first - 12}",
            np.array([0], np.int64),
        )
        batch = self.emit(path, "Unsqueeze", [batch, axes])
        rest = self._constant(
            f"{path}/Constant_1", f"{path}/Constant_1_output_0", np.array([-1], np.int64)
        )
        target = self.emit(path, "Concat", [batch, rest], axis=0)
        return self.emit(path, "Reshape", [source, target], allowzero=0)

    def linear(self, source: str, layer: str, offset: int) -> str:
        number = self.first + 3 * self.convolutions + len(self.slopes) + offset
        name = f"onnx::MatMul_{number}"
        turned = np.ascontiguousarray(self.state[f"{layer}.weight"].T)
        self.tail.append(numpy_helper.from_array(turned, name))
        return self.emit(f"/{layer}", "MatMul", [source, name])


def convert(state: Mapping[str, NDArray[Any]]) -> onnx.ModelProto:
    """Build MiniFASNetV2 or V1SE from its state dictionary.

    Input ``x`` (N, 3, 80, 80) float32 BGR 0..255, output ``y`` (N, 3) logits, class 1 = live.
    Raises ModelError where a weight is missing or of a wrong shape.
    """
    try:
        builder = _Builder(state)
        norm = _body(builder)
    except (KeyError, ValueError, IndexError) as error:
        raise ModelError(f"The state dictionary is not a MiniFASNet: {error!r}.") from error
    graph = helper.make_graph(
        builder.nodes,
        "main_graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", CLASSES])],
        [*norm, *builder.weights, *builder.slopes, *builder.tail],
    )
    model = helper.make_model(
        graph,
        producer_name=EXPORTER[0],
        producer_version=EXPORTER[1],
        opset_imports=[onnx.OperatorSetIdProto(version=OPSET)],
    )
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    return model


def _body(builder: _Builder) -> list[onnx.TensorProto]:
    """Emit the whole network; return the tensors of the last batch normalisation."""
    value = builder.block("x", "conv1", "/conv1")
    value = builder.block(value, "conv2_dw", "/conv2_dw")
    for stage, unit in (("conv_3", "conv_23"), ("conv_4", "conv_34"), ("conv_5", "conv_45")):
        value = builder.depthwise_unit(value, unit, f"/{unit}", residual=False)
        value = builder.residual_stage(value, stage)
    value = builder.block(value, "conv_6_sep", "/conv_6_sep")
    value = builder.block(value, "conv_6_dw", "/conv_6_dw")
    value = builder.linear(builder.flatten(value), "linear", 0)
    parts = ("weight", "bias", "running_mean", "running_var")
    norm = [
        numpy_helper.from_array(np.ascontiguousarray(builder.state[f"bn.{part}"]), f"bn.{part}")
        for part in parts
    ]
    value = builder.emit(
        "/bn",
        "BatchNormalization",
        [value, *(tensor.name for tensor in norm)],
        epsilon=BN_EPSILON,
        momentum=BN_MOMENTUM,
        training_mode=0,
    )
    builder.linear(value, "prob", 1)
    builder.nodes[-1].output[0] = "y"
    return norm
