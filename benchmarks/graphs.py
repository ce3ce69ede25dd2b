"""Graphs as they come, for peers and for counting: plain sessions, and graphs of one fixed size."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import onnx

from verifier.errors import ModelError

PROVIDERS: Final = ("CPUExecutionProvider",)


def plain_options() -> Any:
    """Give onnxruntime's defaults, but for one thread."""
    import onnxruntime  # noqa: PLC0415 - one of two extras

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return options


def plain_session(content: bytes) -> Any:
    """Open a graph as it comes."""
    import onnxruntime  # noqa: PLC0415

    return onnxruntime.InferenceSession(content, plain_options(), providers=list(PROVIDERS))


def fixed_graph(content: bytes, shape: Sequence[int]) -> bytes:
    """Fix the input of a graph to `shape` and fold what is constant then, for ``cv2.dnn``."""
    import onnxruntime  # noqa: PLC0415

    model = onnx.ModelProto.FromString(content)
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    given = [value for value in graph.input if value.name not in constants]
    if len(given) != 1:
        raise ModelError(f"The graph {graph.name} has {len(given)} inputs, expected one.")
    dimensions = given[0].type.tensor_type.shape.dim
    if len(dimensions) != len(shape):
        raise ModelError(f"The graph {graph.name} takes {len(dimensions)} axes, got {len(shape)}.")
    for dimension, size in zip(dimensions, shape, strict=True):
        dimension.ClearField("dim_param")
        dimension.dim_value = size
    # What the file says of other sizes belongs to the input it was exported with.
    del graph.value_info[:]
    for result in graph.output:
        result.type.tensor_type.ClearField("shape")
    options = plain_options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory(prefix="benren-graph-") as folder:
        target = Path(folder) / "fixed.onnx"
        options.optimized_model_filepath = str(target)
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=list(PROVIDERS))
        return target.read_bytes()
