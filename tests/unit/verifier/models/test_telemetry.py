"""Nothing that we load may report to others or mark the machine."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

SILENCED = {"ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "CI", "GITHUB_ACTIONS", "TF_BUILD"}
"""What would silence onnxruntime even if we forgot to."""
RUN = """
import sys
from pathlib import Path
import numpy as np
from verifier.models.runtime import Runtime
from verifier.models.weights import Weights
content = Path(sys.argv[1]).read_bytes()
weights = Weights(name="twice", path=Path(sys.argv[1]), sha256="0" * 64, content=content)
(result,) = Runtime(sys.argv[2]).load(weights).run(np.ones((1, 3), np.float32))
print(result.sum())
"""


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """Path of a tiny network."""
    shape = ["N", 3]
    node = helper.make_node("Add", ["x", "x"], ["y"])
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    model = helper.make_model(
        helper.make_graph([node], "twice", [value[0]], [value[1]]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    path = tmp_path / "twice.onnx"
    onnx.save(model, path)
    return path


WITH_OPENVINO = pytest.param(
    "openvino",
    marks=pytest.mark.skipif(
        importlib.util.find_spec("openvino") is None,
        reason="the extra openvino is not installed",
    ),
)


@pytest.mark.parametrize("provider", ["cpu", WITH_OPENVINO])
def test_an_inference_leaves_no_identifier_behind(
    provider: str, graph: Path, tmp_path: Path
) -> None:
    """Before they send anything, onnxruntime and openvino write an id and a queue of reports."""
    home = tmp_path / "home"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if name not in SILENCED}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(graph), provider],
        env=environment | {"HOME": str(home), "XDG_CACHE_HOME": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "6.0"
    assert [str(path) for path in home.rglob("*") if path.is_file()] == []
